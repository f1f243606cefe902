"""Validate a certificate path to a DANE trust anchor (RFC 5280 section 6 as far as RFC 7671 section 5.2 asks).

`cryptography` has a path verifier, but its WebPKI profile refuses what RFC 7671 accepts: private CAs without the
profile's extensions, a CN without a subjectAltName, version 1 roots, and bare keys. So paths are built here, over its
signature checks. Checked: signatures, dates of everything below the anchor and of the anchor where it is a
certificate, CA flag, key usage, path length, name constraints, and unknown critical extensions. Not checked:
revocation and certificate transparency (RFC 7671 section 4.2, RFC 7672 section 4).
Each function returns None when a path stands, else one sentence that says why none does.
"""

import ipaddress
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography import exceptions, x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from delivery.names import presented_names

Key = Any  # any of cryptography's public keys

MAX_PATHS = 64  # signature checks for one record: bounds what a hostile chain costs
MIN_RSA_BITS = 1024
_WEAK_HASHES = (hashes.MD5,)
_KNOWN_CRITICAL = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.INHIBIT_ANY_POLICY,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
    },
)


class _Budget:
    """Counts signature checks, so that crossing issuers cannot make us search for ever."""

    def __init__(self) -> None:
        self.left = MAX_PATHS

    def spend(self) -> bool:
        self.left -= 1
        return self.left >= 0


def to_certificate(
    chain: Sequence[x509.Certificate | None],
    anchor: x509.Certificate,
    now: datetime,
    *,
    own_constraints: bool,
) -> str | None:
    """Find a valid path from the leaf (the first of the chain) to an anchor given as a certificate.

    `own_constraints` is true where the record selects the whole certificate, whose dates and constraints then
    bind (RFC 7672 section 3.1.2); a record that selects the key alone still names a CA, whose constraints we honour
    as they are at hand.
    """
    leaf = chain[0]
    if leaf is None:
        return "the server's certificate cannot be read"
    if leaf == anchor:
        return _self_anchored(leaf, now)
    fault = _dates(anchor, now, "the trust anchor") or _is_ca(anchor, "the trust anchor", strict=own_constraints)
    if fault:
        return fault
    return _search(chain, [leaf], anchor.subject, _key(anchor), now, anchor=anchor)


def to_key(chain: Sequence[x509.Certificate | None], key: Key, now: datetime) -> str | None:
    """Find a valid path from the leaf to a bare key: its topmost certificate is signed by the key (RFC 7671 5.2.3)."""
    leaf = chain[0]
    if leaf is None:
        return "the server's certificate cannot be read"
    return _search(chain, [leaf], None, key, now, anchor=None)


def _self_anchored(leaf: x509.Certificate, now: datetime) -> str | None:
    """A leaf that is its own anchor must be a CA that signed itself (RFC 7671 section 5.2)."""
    if _is_ca(leaf, "the server's certificate", strict=True):
        return "the record names the server's own certificate, which is no CA: usage 3 is the one for that"
    if leaf.subject != leaf.issuer or not _signed_by(leaf, _key(leaf), _Budget()):
        return "the record names the server's own certificate, which did not sign itself"
    return _dates(leaf, now, "the server's certificate") or _usable_in_path(leaf, "the server's certificate")


def _search(
    chain: Sequence[x509.Certificate | None],
    start: list[x509.Certificate],
    issuer: x509.Name | None,
    key: Key,
    now: datetime,
    *,
    anchor: x509.Certificate | None,
) -> str | None:
    budget = _Budget()
    others = [certificate for certificate in chain[1:] if certificate is not None]
    faults: list[str] = []
    stack = [start]
    while stack:
        path = stack.pop()
        top = path[-1]
        if (issuer is None or top.issuer == issuer) and _signed_by(top, key, budget):
            fault = _check(path, anchor, now)
            if fault is None:
                return None
            faults.append(fault)
        for candidate in others:
            if candidate in path or candidate == anchor or candidate.subject != top.issuer:
                continue
            if _signed_by(top, _key(candidate), budget):
                stack.append([*path, candidate])
        if budget.left < 0:
            faults.append(f"more than {MAX_PATHS} signatures would have to be checked")
            break
    if faults:
        return faults[0]
    return "no path of signatures leads from the server's certificate to the trust anchor"


def _check(path: list[x509.Certificate], anchor: x509.Certificate | None, now: datetime) -> str | None:
    """Check a path whose signatures stand, leaf first, without the anchor."""
    fault = _server_purpose(path[0])
    if fault:
        return fault
    for depth, certificate in enumerate(path):
        what = "the server's certificate" if depth == 0 else f"the intermediate {certificate.subject.rfc4514_string()}"
        fault = _dates(certificate, now, what) or _usable_in_path(certificate, what)
        if fault is None and depth > 0:
            fault = _is_ca(certificate, what, strict=True) or _path_length(certificate, path[1:depth], what)
        if fault:
            return fault
    issuers = path[1:] if anchor is None else [*path[1:], anchor]
    if anchor is not None:
        fault = _path_length(anchor, path[1:], "the trust anchor") or _unknown_critical(anchor, "the trust anchor")
        if fault:
            return fault
    for issuer in issuers:
        fault = _name_constraints(issuer, path[0])
        if fault:
            return fault
    return None


def _key(certificate: x509.Certificate) -> Key:
    try:
        return certificate.public_key()
    except Exception:  # noqa: BLE001 - unsupported keys raise many kinds; none of them can have signed anything for us
        return None


def _signed_by(certificate: x509.Certificate, key: Key, budget: _Budget) -> bool:
    if not budget.spend():
        return False
    try:
        return _verify(certificate, key)
    except (exceptions.InvalidSignature, exceptions.UnsupportedAlgorithm, ValueError, TypeError):
        return False


def _verify(certificate: x509.Certificate, key: Key) -> bool:
    signature, signed = certificate.signature, certificate.tbs_certificate_bytes
    digest = certificate.signature_hash_algorithm
    if isinstance(digest, _WEAK_HASHES):
        return False
    match key:
        case rsa.RSAPublicKey() if digest is not None and key.key_size >= MIN_RSA_BITS:
            parameters = certificate.signature_algorithm_parameters
            scheme = parameters if isinstance(parameters, padding.PSS | padding.PKCS1v15) else padding.PKCS1v15()
            key.verify(signature, signed, scheme, digest)
        case ec.EllipticCurvePublicKey() if digest is not None:
            key.verify(signature, signed, ec.ECDSA(digest))
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            key.verify(signature, signed)
        case dsa.DSAPublicKey() if digest is not None:
            key.verify(signature, signed, digest)
        case _:
            return False
    return True


def _dates(certificate: x509.Certificate, now: datetime, what: str) -> str | None:
    if now < certificate.not_valid_before_utc:
        return f"{what} is not valid before {certificate.not_valid_before_utc:%Y-%m-%dT%H:%MZ}"
    if now > certificate.not_valid_after_utc:
        return f"{what} expired at {certificate.not_valid_after_utc:%Y-%m-%dT%H:%MZ}"
    return None


def _extensions(certificate: x509.Certificate) -> x509.Extensions | None:
    try:
        return certificate.extensions
    except ValueError:
        return None


def _usable_in_path(certificate: x509.Certificate, what: str) -> str | None:
    if _extensions(certificate) is None:
        return f"{what} has extensions that cannot be read"
    return _unknown_critical(certificate, what)


def _unknown_critical(certificate: x509.Certificate, what: str) -> str | None:
    extensions = _extensions(certificate)
    if extensions is None:
        return f"{what} has extensions that cannot be read"
    for extension in extensions:
        if extension.critical and extension.oid not in _KNOWN_CRITICAL:
            return f"{what} has the unknown critical extension {extension.oid.dotted_string}"
    return None


def _is_ca(certificate: x509.Certificate, what: str, *, strict: bool) -> str | None:
    """Say why a certificate may not issue others. A version 1 certificate may only where it is the anchor itself."""
    extensions = _extensions(certificate)
    if extensions is None:
        return f"{what} has extensions that cannot be read"
    constraints = _value(extensions, x509.BasicConstraints)
    if constraints is not None and not constraints.ca:
        return f"{what} is no CA"
    is_anchor = what == "the trust anchor"
    if constraints is None and not (is_anchor and (certificate.version is x509.Version.v1 or not strict)):
        return f"{what} is no CA (it has no basic constraints)"
    usage = _value(extensions, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return f"{what} may not sign certificates (key usage)"
    return None


def _server_purpose(leaf: x509.Certificate) -> str | None:
    """An extended key usage, where there is one, must include TLS servers (RFC 5280 section 4.2.1.12)."""
    extensions = _extensions(leaf)
    usage = None if extensions is None else _value(extensions, x509.ExtendedKeyUsage)
    allowed = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    if usage is None or any(purpose in allowed for purpose in usage):
        return None
    return "the server's certificate is not for TLS servers (extended key usage)"


def _path_length(certificate: x509.Certificate, below: Sequence[x509.Certificate], what: str) -> str | None:
    extensions = _extensions(certificate)
    constraints = None if extensions is None else _value(extensions, x509.BasicConstraints)
    if constraints is None or constraints.path_length is None:
        return None
    counted = sum(1 for other in below if other.subject != other.issuer)
    if counted > constraints.path_length:
        return f"{what} allows {constraints.path_length} intermediates below it, and there are {counted}"
    return None


def _value(extensions: x509.Extensions, kind: Any) -> Any:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name_constraints(issuer: x509.Certificate, leaf: x509.Certificate) -> str | None:
    extensions = _extensions(issuer)
    constraints = None if extensions is None else _value(extensions, x509.NameConstraints)
    if constraints is None:
        return None
    who = issuer.subject.rfc4514_string()
    try:
        names = presented_names(leaf)
        san = _value(leaf.extensions, x509.SubjectAlternativeName)
        addresses = list(san.get_values_for_type(x509.IPAddress)) if san is not None else []
    except ValueError:
        return "the names in the server's certificate cannot be read"
    for name in names:
        if not _permitted(name, constraints, x509.DNSName, _within_domain):
            return f"the name constraints of {who} do not allow {name}"
    for address in addresses:
        if not _permitted(address, constraints, x509.IPAddress, _within_network):
            return f"the name constraints of {who} do not allow {address}"
    return None


def _permitted(name: Any, constraints: x509.NameConstraints, kind: Any, within: Any) -> bool:
    permitted = [tree.value for tree in constraints.permitted_subtrees or () if isinstance(tree, kind)]
    excluded = [tree.value for tree in constraints.excluded_subtrees or () if isinstance(tree, kind)]
    if any(within(name, tree) for tree in excluded):
        return False
    return not permitted or any(within(name, tree) for tree in permitted)


def _within_domain(name: str, tree: str) -> bool:
    name, tree = name.lower().removesuffix("."), tree.lower().removesuffix(".").removeprefix(".")
    return not tree or name == tree or name.endswith(f".{tree}")


def _within_network(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    tree: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> bool:
    return address in tree
