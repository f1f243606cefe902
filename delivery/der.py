"""Read just enough DER to find the public key in a certificate that a strict parser refuses.

DANE-EE(3) asks nothing of a certificate but its octets or its SubjectPublicKeyInfo (RFC 7672 section 3.1.1), so an
odd serial number or extension must not keep a key from being compared. Raises `DerError` and nothing else.
"""

_VERSION_TAG = 0xA0
_SEQUENCE = 0x30


class DerError(ValueError):
    """The octets are not the structure that was looked for."""


def element(data: bytes, start: int) -> tuple[int, int, int]:
    """Give tag, start of content and end of the element at `start`. Raises `DerError`."""
    if start + 2 > len(data):
        raise DerError("the structure ends early")
    tag, length, content = data[start], data[start + 1], start + 2
    if length & 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 4 or content + octets > len(data):
            raise DerError("a length that is no DER length")
        length = int.from_bytes(data[content : content + octets])
        content += octets
    if content + length > len(data):
        raise DerError("an element reaches beyond the end")
    return tag, content, content + length


def public_key_info(certificate: bytes) -> bytes:
    """Cut the SubjectPublicKeyInfo out of a certificate (RFC 5280 section 4.1). Raises `DerError`."""
    tag, inside, _ = element(certificate, 0)
    if tag != _SEQUENCE:
        raise DerError("a certificate is a SEQUENCE")
    tag, at, end = element(certificate, inside)
    if tag != _SEQUENCE:
        raise DerError("a TBSCertificate is a SEQUENCE")
    tag, _, after = element(certificate, at)
    if tag == _VERSION_TAG:  # version is optional and comes first
        at = after
    for _ in range(5):  # serial number, signature algorithm, issuer, validity, subject
        _, _, at = element(certificate, at)
        if at >= end:
            raise DerError("the TBSCertificate has no public key")
    tag, _, after = element(certificate, at)
    if tag != _SEQUENCE or after > end:
        raise DerError("the public key is not a SEQUENCE")
    return certificate[at:after]
