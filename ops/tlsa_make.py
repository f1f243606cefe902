"""Make TLSA records from certificates and keys, as files have them or as a host serves them.

`records_of` gives `3 1 1` of the leaf, and `2 1 1` of the highest certificate of the chain of which `delivery.matcher`
says that it would match (RFC 7672 section 3.1): a record that no sender could match is never given. `read_chain` and
`read_key` take PEM or DER, and raise `Unreadable` with a sentence for anything else.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from delivery.der import DerError, public_key_info
from delivery.matcher import Match, match
from stages.dane import tlsa_question
from stages.records import TLSA, MatchingType, Selector, Usage

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_CERTIFICATES = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE"})
_SEQUENCE = 0x30


class Unreadable(ValueError):  # noqa: N818 - it says what a file is
    """A file holds no certificate or key that can be read; the text is a sentence without the name of the file."""


@dataclass(frozen=True, slots=True)
class Made:
    """A record with what it is of, and for notes a sentence without a record."""

    of: str
    record: TLSA | None = None


def read_chain(data: bytes) -> tuple[bytes, ...]:
    """Read certificates, DER, in the order of the file; keys beside them are passed over."""
    blocks = _BLOCK.findall(data)
    if not blocks and data[:1] == bytes([_SEQUENCE]):
        chain: tuple[bytes, ...] = (data,)
    else:
        chain = tuple(_decoded(body) for label, body in blocks if label in _CERTIFICATES)
    if not chain:
        raise Unreadable("there is no certificate in it, neither PEM nor DER")
    for number, certificate in enumerate(chain, 1):
        try:
            public_key_info(certificate)
        except DerError as error:
            raise Unreadable(f"certificate {number} in it cannot be read: {error}") from error
    return chain


def read_key(data: bytes) -> bytes:
    """Read a public key (SubjectPublicKeyInfo) from a certificate, a request, a public key or a private one."""
    blocks = dict(reversed(_BLOCK.findall(data)))
    if _CERTIFICATES & blocks.keys() or not blocks:
        try:
            return public_key_info(read_chain(data)[0])
        except Unreadable:
            if blocks or data[:1] != bytes([_SEQUENCE]):
                raise Unreadable("there is no certificate and no key in it, neither PEM nor DER") from None
    try:
        return _public(data, pem=bool(blocks))
    except TypeError:
        raise Unreadable("the private key in it is encrypted: give its public key, certificate or request") from None
    except Exception as error:
        raise Unreadable(f"the key in it cannot be read: {error}") from error


def _public(data: bytes, *, pem: bool) -> bytes:
    """Try what a file with a key may be. Raises what the library raises for the last of them; TypeError: encrypted."""
    request = x509.load_pem_x509_csr if pem else x509.load_der_x509_csr
    public = serialization.load_pem_public_key if pem else serialization.load_der_public_key
    private = serialization.load_pem_private_key if pem else serialization.load_der_private_key
    try:
        return _written(request(data).public_key())
    except ValueError:  # no request
        try:
            return _written(public(data))
        except ValueError:  # no public key
            return _written(private(data, None).public_key())


def _written(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _decoded(body: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise Unreadable(f"a certificate in it is no PEM: {error}") from error


def of_key(key: bytes) -> TLSA:
    """Make the `3 1 1` record of a public key."""
    return TLSA(Usage.DANE_EE, Selector.SPKI, MatchingType.SHA2_256, hashlib.sha256(key).digest())


def records_of(chain: Sequence[bytes], host: str, now: datetime) -> tuple[Made, ...]:
    """Make the records of a chain, leaf first, as a host would send it."""
    return Made("the key of the certificate", of_key(public_key_info(chain[0]))), _of_authority(chain, host, now)


def _of_authority(chain: Sequence[bytes], host: str, now: datetime) -> Made:
    why = "no issuer is sent with the certificate"
    for depth in range(len(chain) - 1, 0, -1):
        digest = hashlib.sha256(public_key_info(chain[depth])).digest()
        record = TLSA(Usage.DANE_TA, Selector.SPKI, MatchingType.SHA2_256, digest)
        outcome = match(chain, (record,), (host,), now)
        if isinstance(outcome, Match):
            return Made(f"the key of {_subject(chain[depth])}, which the host must go on sending", record)
        why = outcome.reasons[0][1]
    return Made(f"no 2 1 1: {why}")


def _subject(certificate: bytes) -> str:
    return x509.load_der_x509_certificate(certificate).subject.rfc4514_string() or "the issuer"


def zone_line(host: str, port: int, record: TLSA) -> str:
    """Write a record as a zone file has it (RFC 6698 section 2.2)."""
    return f"{tlsa_question(port, host).name}. IN TLSA {record}"
