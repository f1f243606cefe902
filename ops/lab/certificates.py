"""Keys and certificates of the lab: one CA, one leaf for each host, and TLSA data made from them.

Keys are ECDSA P-256, made anew for each lab. `CertificateAuthority.issue` writes the PEM chain of a host and gives what
TLSA records need; `tlsa_data` computes a record's data (RFC 6698 section 2.1).
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ops.lab.scenario import Certificate, Subject, Tlsa

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a host shows: the PEM file of chain and key, and the certificates that its TLSA records may be of."""

    pem: Path
    subjects: dict[Subject, x509.Certificate]


class CertificateAuthority:
    """The CA of a lab. Files go to `directory`; `now` is when everything that is valid is valid."""

    def __init__(self, directory: Path, now: datetime) -> None:
        self._directory = directory
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "danepipe lab CA")])
        key_id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self.certificate = (
            self._builder(self._name, self._name, self._key.public_key(), now - 30 * _DAY, now + 30 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
            .add_extension(key_id, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.path = directory / "ca.pem"
        self.path.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        self._next = self._leaf("next.lab", Certificate(self_signed=True))[0]
        self._other = self._leaf("other.lab", Certificate(self_signed=True))[0]

    @staticmethod
    def _builder(
        subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start: datetime, end: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start.astimezone(UTC))
            .not_valid_after(end.astimezone(UTC))
        )

    def _leaf(self, name: str, wanted: Certificate) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, signer = (subject, key) if wanted.self_signed else (self._name, self._key)
        end = self._now - _DAY if wanted.expired else self._now + 30 * _DAY
        builder = (
            self._builder(subject, issuer, key.public_key(), self._now - 20 * _DAY, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
        )  # fmt: skip
        return builder.sign(signer, hashes.SHA256()), key

    def issue(self, host: str, wanted: Certificate) -> Identity:
        """Make the certificate of a host (a name without a final dot) and write its chain and key."""
        leaf, key = self._leaf(wanted.name.rstrip(".") or host, wanted)
        chain = [leaf]
        if wanted.sends_ca and not wanted.self_signed:
            chain.append(self.certificate)
        pem = b"".join(one.public_bytes(Encoding.PEM) for one in chain)
        path = self._directory / f"{host}.pem"
        path.write_bytes(pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        subjects = {
            Subject.LEAF: leaf,
            Subject.CA: self.certificate,
            Subject.NEXT: self._next,
            Subject.OTHER: self._other,
        }
        return Identity(path, subjects)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=ca, crl_sign=ca, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def tlsa_data(record: Tlsa, identity: Identity) -> bytes:
    """Compute the data of a TLSA record for a host (RFC 6698 section 2.1)."""
    if record.data is not None:
        return record.data
    certificate = identity.subjects[record.of]
    if record.selector == 0:
        selected = certificate.public_bytes(Encoding.DER)
    else:
        selected = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    match record.mtype:
        case 0:
            return selected
        case 1:
            return hashlib.sha256(selected).digest()
        case _:
            return hashlib.sha512(selected).digest()
