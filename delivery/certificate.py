"""Read a certificate as a whole, or not at all.

The library reads names, extensions and keys only when they are asked for, and raises errors of many kinds then: for a
repeated extension, a name in a broken encoding, an unknown form of name. What a server sends must never surface as a
fault of ours in the middle of a decision, so all of it is read here, once.
"""

from cryptography import x509


def load_certificate(data: bytes) -> x509.Certificate:
    """Load a certificate (DER) whose names, dates and extensions can all be read. Raises ValueError for any other."""
    try:
        certificate = x509.load_der_x509_certificate(data)
        _ = (certificate.subject, certificate.issuer, certificate.extensions, certificate.version)
        _ = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    except Exception as error:
        raise ValueError(f"a certificate that cannot be read: {error}") from error
    return certificate
