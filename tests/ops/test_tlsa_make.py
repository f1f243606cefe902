"""TLSA records made from files, beside what cryptography and OpenSSL compute of the same."""

import asyncio
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from ops.tlsa_make import Unreadable, of_key, read_chain, read_key, records_of, zone_line
from stages.records import TLSA
from tests.delivery.certificates import authority, leaf
from tests.needs import program

HOST = "mx.example.com"
NOW = datetime.now(UTC)


def test_records_of_a_chain_are_as_cryptography_has_them() -> None:
    """`3 1 1` is the SHA-256 of the leaf's key and `2 1 1` that of its issuer's (RFC 7672 section 3.1)."""
    made = leaf(HOST)
    own, issuer = records_of(read_chain(made.pem.read_bytes()), HOST, NOW)
    assert own.record == made.tlsa(3, 1, 1)
    assert issuer.record == authority().tlsa(2, 1, 1)
    assert zone_line(HOST, 25, made.tlsa()) == f"_25._tcp.{HOST}. IN TLSA 3 1 1 {made.tlsa().data.hex()}"


async def test_records_are_as_openssl_has_them() -> None:
    """OpenSSL takes the key out of the certificate and digests it: the same octets come out."""
    command, made = program("openssl"), leaf(HOST)
    shell = f"'{command}' x509 -in '{made.pem}' -noout -pubkey | '{command}' pkey -pubin -outform DER"
    process = await asyncio.create_subprocess_shell(
        f"{shell} | '{command}' dgst -sha256 -r", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    (own, _) = records_of(read_chain(made.pem.read_bytes()), HOST, NOW)
    assert own.record is not None
    assert own.record.data.hex() == out.decode().split()[0]


def test_a_record_that_could_not_match_is_not_made() -> None:
    """`2 1 1` needs the issuer in the chain, and the name of the host in the certificate (DANE-58, DANE-62)."""
    made = leaf(HOST)
    (_, alone) = records_of((made.der,), HOST, NOW)
    assert (alone.record, alone.of) == (None, "no 2 1 1: no issuer is sent with the certificate")
    (_, other) = records_of(read_chain(made.pem.read_bytes()), "mx.example.org", NOW)
    assert other.record is None
    assert "expected mx.example.org" in other.of


def test_certificates_are_read_as_pem_and_der() -> None:
    """DER is one certificate; of PEM every one counts, and keys beside them are passed over."""
    made = leaf(HOST)
    assert read_chain(made.der) == (made.der,)
    chain = read_chain(made.pem.read_bytes())
    assert chain == tuple(one.public_bytes(Encoding.DER) for one in made.chain)


def test_the_next_key_is_read_in_every_form() -> None:
    """A certificate, a request, a public key and a private one all give the same record, PEM or DER."""
    made = leaf("next.example.com")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "next.example.com")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(made.key, hashes.SHA256())
    public = made.key.public_key()
    for form in (Encoding.PEM, Encoding.DER):
        for octets in (
            made.certificate.public_bytes(form),
            request.public_bytes(form),
            public.public_bytes(form, PublicFormat.SubjectPublicKeyInfo),
            made.key.private_bytes(form, PrivateFormat.PKCS8, NoEncryption()),
        ):
            assert of_key(read_key(octets)) == made.tlsa(3, 1, 1)


def test_openssl_key_files_with_parameters_are_read() -> None:
    """Older key files have a block of curve parameters before the key; it is not the key."""
    made = leaf("next.example.com")
    key = made.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert of_key(read_key(parameters + key)) == made.tlsa(3, 1, 1)


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (b"", "no certificate in it"),
        (b"nonsense", "no certificate in it"),
        (b"-----BEGIN CERTIFICATE-----\n***\n-----END CERTIFICATE-----\n", "no PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 in it cannot be read"),
        (b"\x30\x03\x02\x01\x05", "certificate 1 in it cannot be read"),
    ],
)
def test_a_file_without_certificate_is_told_of(octets: bytes, says: str) -> None:
    """What is wrong with a file is said in a sentence, and nothing else is raised."""
    with pytest.raises(Unreadable, match=says):
        read_chain(octets)


def test_a_file_without_key_is_told_of() -> None:
    """An encrypted key cannot be read without its passphrase, and nobody is asked for one."""
    made = leaf(HOST)
    encrypted = made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    with pytest.raises(Unreadable, match="encrypted"):
        read_key(encrypted)
    for octets in (b"", b"nonsense"):
        with pytest.raises(Unreadable, match="no certificate and no key"):
            read_key(octets)
    for octets in (b"\x30\x00", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"):
        with pytest.raises(Unreadable, match="cannot be read"):
            read_key(octets)


def test_the_digest_is_over_the_octets_of_the_certificate(tmp_path: Path) -> None:
    """The key is cut out of the file as it stands there, not written anew."""
    made = leaf(HOST)
    path = tmp_path / "one.der"
    path.write_bytes(made.der)
    spki = made.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert spki in made.der
    (own, _) = records_of(read_chain(path.read_bytes()), HOST, NOW)
    assert own.record == TLSA(3, 1, 1, hashlib.sha256(spki).digest())
