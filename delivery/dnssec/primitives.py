"""Check one signature over some octets with one key, as RFC 3110, 5702, 6605 and 8080 write both.

The octets of both come from whoever answered. They are measured before they are computed with: RSA keys of a size
that no standard allows, or with an exponent that is there to cost time, fit nothing, and no more does a point that is
not on its curve or a signature of the wrong length. Nothing is raised.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512, HashAlgorithm
from dns.rdtypes.ANY.DNSKEY import DNSKEY

_LONGEST = 4096  # bits of an RSA modulus (RFC 5702 sections 2.1 and 2.2)
_KEPT = 1024  # keys of each kind that are read once and remembered, since most zones are asked for more than once
_EXPONENT = 64  # bits of an RSA exponent: the time of a check grows with them


def fits(key: DNSKEY, signature: bytes, octets: bytes) -> bool:
    """Tell whether a signature over some octets was made with a key, of one of the `ALGORITHMS`."""
    try:
        _CHECKS[int(key.algorithm)](key.key, signature, octets)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def _rsa(hashed: HashAlgorithm, shortest: int, key: bytes, signature: bytes, octets: bytes) -> None:
    """Check RSA with PKCS #1 version 1.5."""
    _rsa_key(shortest, key).verify(signature, octets, padding.PKCS1v15(), hashed)


@lru_cache(_KEPT)
def _rsa_key(shortest: int, key: bytes) -> rsa.RSAPublicKey:
    """Read a key: a length of one octet or three, exponent, modulus (RFC 3110)."""
    start, length = (3, int.from_bytes(key[1:3], "big")) if key[:1] == b"\0" else (1, int.from_bytes(key[:1], "big"))
    exponent = int.from_bytes(key[start : start + length], "big")
    modulus = int.from_bytes(key[start + length :], "big")
    if not shortest <= modulus.bit_length() <= _LONGEST or exponent.bit_length() > _EXPONENT:
        raise ValueError
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _ecdsa(curve: ec.EllipticCurve, hashed: HashAlgorithm, key: bytes, signature: bytes, octets: bytes) -> None:
    """Check ECDSA; key and signature are two numbers each, both as long as the curve's (RFC 6605 section 4)."""
    size = curve.key_size // 8
    if len(signature) != 2 * size:
        raise ValueError
    pair = encode_dss_signature(int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))
    _point(curve, key).verify(pair, octets, ec.ECDSA(hashed))


@lru_cache(_KEPT)
def _point(curve: ec.EllipticCurve, key: bytes) -> ec.EllipticCurvePublicKey:
    """Read a key, which is measured on the way."""
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\4" + key)


def _ed25519(key: bytes, signature: bytes, octets: bytes) -> None:
    _ed25519_key(key).verify(signature, octets)


def _ed448(key: bytes, signature: bytes, octets: bytes) -> None:
    _ed448_key(key).verify(signature, octets)


_ed25519_key = lru_cache(_KEPT)(ed25519.Ed25519PublicKey.from_public_bytes)
_ed448_key = lru_cache(_KEPT)(ed448.Ed448PublicKey.from_public_bytes)


_CHECKS: Mapping[int, Callable[[bytes, bytes, bytes], None]] = {
    5: partial(_rsa, SHA1(), 512),  # noqa: S303 - as weak as it is, the zone chose it and the rules allow it
    7: partial(_rsa, SHA1(), 512),  # noqa: S303
    8: partial(_rsa, SHA256(), 512),
    10: partial(_rsa, SHA512(), 1024),
    13: partial(_ecdsa, ec.SECP256R1(), SHA256()),
    14: partial(_ecdsa, ec.SECP384R1(), SHA384()),
    15: _ed25519,
    16: _ed448,
}
