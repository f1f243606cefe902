"""Certificates for tests, made once a session: an authority, and leaves for names, as files, DER and TLSA records."""

import atexit
import hashlib
import shutil
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stages.records import TLSA

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key; `chain` is what a server sends, leaf first."""

    certificate: x509.Certificate
    key: Key
    chain: tuple[x509.Certificate, ...]
    pem: Path

    @property
    def der(self) -> bytes:
        """Give the certificate in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def tlsa(self, usage: int = 3, selector: int = 1, mtype: int = 1) -> TLSA:
        """Make a TLSA record that names this certificate."""
        data = self.der
        if selector == 1:
            data = self.key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        digests = {0: data, 1: hashlib.sha256(data).digest(), 2: hashlib.sha512(data).digest()}
        return TLSA(usage, selector, mtype, digests[mtype])

    def server(self, *, maximum: ssl.TLSVersion | None = None, minimum: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Make a context for a server that shows this chain."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem)
        if maximum is not None:
            context.maximum_version = maximum
        if minimum is not None:
            context.minimum_version = minimum
        return context


@cache
def authority() -> Certificate:
    """Give the authority that signs leaves."""
    return _make("Test CA", (), None)


@cache
def leaf(*names: str, expired: bool = False, alone: bool = False) -> Certificate:
    """Give a leaf for names, signed by the authority, which is sent with it unless `alone`."""
    return _make(names[0] if names else "nobody", names, authority(), expired=expired, alone=alone)


def _make(
    common: str, names: Sequence[str], issuer: Certificate | None, *, expired: bool = False, alone: bool = False
) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now - timedelta(days=1) if expired else now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is None:
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        builder = builder.add_extension(usage, critical=True)
    else:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        if names:
            san = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(san, critical=False)
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    chain = (certificate,) if issuer is None or alone else (certificate, *issuer.chain)
    directory = Path(mkdtemp(prefix="danepipe-cert-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    pem = directory / "chain.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)
    )
    return Certificate(certificate, key, chain, pem)
