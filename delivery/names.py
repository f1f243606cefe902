"""Compare reference identifiers with the names in a certificate (RFC 7672 section 3.2.3, RFC 6125 section 6.4).

If the certificate has a DNS-ID, only DNS-IDs count; the CN is looked at only without any. A wildcard is the whole
first label and stands for one label, or for several where local policy says so.
"""

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID


def presented_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """List the names that count: all DNS-IDs, else the CN. Raises ValueError for names that cannot be read."""
    try:
        extension = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    except x509.ExtensionNotFound:
        dns: list[str] = []
    else:
        value = extension.value
        dns = value.get_values_for_type(x509.DNSName) if isinstance(value, x509.SubjectAlternativeName) else []
    if dns:
        return tuple(dns)
    return tuple(str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME))


def _plain(name: str) -> str:
    return name[:-1].lower() if name.endswith(".") else name.lower()


def matches(presented: str, reference: str, *, multilabel: bool = False) -> bool:
    """Tell whether a name in a certificate covers a reference identifier; both are A-labels, in any case."""
    if not presented or any(ord(c) <= 32 or ord(c) >= 127 for c in presented):
        return False
    presented, reference = _plain(presented), _plain(reference)
    if "*" not in presented:
        return presented == reference
    first, _, rest = presented.partition(".")
    if first != "*" or not rest or "*" in rest or "." not in rest:
        return False
    if not reference.endswith(f".{rest}"):
        return False
    covered = reference[: -len(rest) - 1]
    return bool(covered) and (multilabel or "." not in covered)


def covers(presented: tuple[str, ...], references: tuple[str, ...], *, multilabel: bool = False) -> str | None:
    """Give the first reference identifier that any presented name covers, or None."""
    for reference in references:
        if any(matches(name, reference, multilabel=multilabel) for name in presented):
            return reference
    return None
