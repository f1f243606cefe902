"""Tell whether a certificate chain satisfies TLSA records (RFC 7671 section 5, RFC 7672 section 3).

`match` is one function without I/O: DER certificates as the server sent them, records, reference names and the time
go in, and `Match | Mismatch | Unusable` comes out, with the reason record by record. It raises nothing, whatever
octets come in. DANE-EE compares the leaf alone, without names and dates. DANE-TA builds a path from the leaf, over the
certificates in any order, to the trust anchor that a record names, and then asks for names, dates and constraints.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from delivery import path
from delivery.certificate import load_certificate
from delivery.der import DerError, public_key_info
from delivery.names import covers, presented_names
from stages.records import TLSA, MatchingType, Selector, Usage
from stages.usable import agile, why_unusable

MAX_CHAIN = 20  # certificates; bounds path building (TLS-14)
MAX_OCTETS = 262_144  # of a whole chain


@dataclass(frozen=True, slots=True)
class MatchOptions:
    """Local policy: usages in use, digest types from the strongest on, wildcards over several labels."""

    usages: tuple[int, ...] = (3, 2)
    digests: tuple[int, ...] = (2, 1)
    wildcard_multilabel: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """`record` matched the certificate at `depth` (0 is the leaf; len(chain) is an anchor that was not sent).

    `name` is the reference identifier that the leaf covers, empty for DANE-EE, which has no name check.
    """

    record: TLSA
    depth: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """No record matched; `reasons` says why not, for each record in the order given."""

    reasons: tuple[tuple[TLSA, str], ...]

    def __str__(self) -> str:
        """Give one line."""
        return "; ".join(f"{_short(record)}: {reason}" for record, reason in self.reasons)


@dataclass(frozen=True, slots=True)
class Unusable:
    """No record is usable: TLS is required and nobody can be authenticated; `reasons` says why each is not."""

    reasons: tuple[tuple[TLSA, str], ...]

    def __str__(self) -> str:
        """Give one line."""
        return "; ".join(f"{_short(record)}: {reason}" for record, reason in self.reasons)


def match(
    chain: Sequence[bytes],
    records: Sequence[TLSA],
    names: Sequence[str],
    now: datetime,
    options: MatchOptions | None = None,
) -> Match | Mismatch | Unusable:
    """Match a chain (leaf first) against records; `names` begins with the base domain, `now` is aware."""
    options = options or MatchOptions()
    faults = [(record, _why_unusable(record, options)) for record in records]
    usable = [record for record, fault in faults if fault is None]
    if not usable:
        return Unusable(tuple((record, fault) for record, fault in faults if fault is not None))
    kept = agile(usable, options.digests)
    certificates = tuple(chain)
    trouble = _bounds(certificates)
    reasons: list[tuple[TLSA, str]] = []
    for record, fault in faults:
        if fault is not None:
            reasons.append((record, f"unusable: {fault}"))
        elif record not in kept:
            reasons.append(
                (record, "passed over: a stronger digest of the same kind is published (RFC 7671 section 9)")
            )
        elif trouble:
            reasons.append((record, trouble))
        else:
            check = _end_entity if record.usage == Usage.DANE_EE else _trust_anchor
            outcome = check(certificates, record, tuple(names), now, options)
            if isinstance(outcome, Match):
                return outcome
            reasons.append((record, outcome))
    return Mismatch(tuple(reasons))


def _bounds(chain: tuple[bytes, ...]) -> str:
    if not chain:
        return "the server sent no certificate"
    if len(chain) > MAX_CHAIN:
        return f"the server sent {len(chain)} certificates, more than {MAX_CHAIN}"
    size = sum(map(len, chain))
    if size > MAX_OCTETS:
        return f"the server sent {size} octets of certificates, more than {MAX_OCTETS}"
    return ""


def _why_unusable(record: TLSA, options: MatchOptions) -> str | None:
    fault = why_unusable(record, options.usages, options.digests)
    if fault is not None or record.mtype != MatchingType.FULL:
        return fault
    if record.selector == Selector.SPKI:
        return None if _load_key(record.data) is not None else "the data are no public key that we can read"
    if _is_certificate(record.data):
        return None
    try:  # an end entity's full certificate is compared by its octets, even where a strict parser refuses it
        public_key_info(record.data)
    except DerError as error:
        return f"the data are no certificate: {error}"
    return None if record.usage == Usage.DANE_EE else "the data are no certificate that we can read"


def _is_certificate(data: bytes) -> bool:
    """Tell whether the data are a certificate at all, be it one that can be of no use for a path."""
    try:
        x509.load_der_x509_certificate(data)
    except (ValueError, x509.InvalidVersion):
        return False
    return True


def _load(data: bytes) -> x509.Certificate | None:
    try:
        return load_certificate(data)
    except ValueError:
        return None


def _load_key(data: bytes) -> path.Key | None:
    try:
        return serialization.load_der_public_key(data)
    except Exception:  # noqa: BLE001 - unsupported curves and odd parameters raise many kinds; all mean "not readable"
        return None


def _selected(certificate: bytes, selector: int) -> bytes | None:
    if selector == Selector.CERT:
        return certificate
    try:
        return public_key_info(certificate)
    except DerError:
        return None


_DIGESTS: dict[int, Callable[[bytes], bytes]] = {
    int(MatchingType.FULL): lambda data: data,
    int(MatchingType.SHA2_256): lambda data: hashlib.sha256(data).digest(),
    int(MatchingType.SHA2_512): lambda data: hashlib.sha512(data).digest(),
}


def _equals(certificate: bytes, record: TLSA) -> bool:
    selected = _selected(certificate, record.selector)
    return selected is not None and _DIGESTS[record.mtype](selected) == record.data


def _end_entity(
    chain: tuple[bytes, ...],
    record: TLSA,
    _names: tuple[str, ...],
    _now: datetime,
    _options: MatchOptions,
) -> Match | str:
    """Compare the leaf: no names, no dates, nothing else of the chain (RFC 7672 section 3.1.1)."""
    if _equals(chain[0], record):
        return Match(record, 0)
    selected = _selected(chain[0], record.selector)
    if selected is None:
        return "the server's certificate cannot be read"
    what = "certificate" if record.selector == Selector.CERT else "public key"
    digest = _DIGESTS[record.mtype](selected).hex() if record.mtype else hashlib.sha256(selected).hexdigest()
    elsewhere = [depth for depth, other in enumerate(chain[1:], 1) if _equals(other, record)]
    hint = f"; it matches certificate {elsewhere[0]} of the chain, which only usage 2 may" if elsewhere else ""
    return f"the server's {what} is {digest}{hint}"


def _trust_anchor(
    chain: tuple[bytes, ...],
    record: TLSA,
    names: tuple[str, ...],
    now: datetime,
    options: MatchOptions,
) -> Match | str:
    """Find a valid path from the leaf to the anchor that the record names (RFC 7671 section 5.2)."""
    loaded = [_load(data) for data in chain]
    leaf = loaded[0]
    if leaf is None:
        return "the server's certificate cannot be read"
    found = _anchored(chain, loaded, record, now)
    if isinstance(found, str):
        return found
    try:
        presented = presented_names(leaf)
    except ValueError as error:
        return f"the names in the server's certificate cannot be read: {error}"
    name = covers(presented, names, multilabel=options.wildcard_multilabel)
    if name is None:
        return f"the certificate is for {', '.join(presented) or 'no name'}, expected {' or '.join(names)}"
    return Match(record, found, name)


def _anchored(
    chain: tuple[bytes, ...],
    loaded: list[x509.Certificate | None],
    record: TLSA,
    now: datetime,
) -> int | str:
    """Give the depth of the anchor to which a valid path leads, or why there is none."""
    anchors = [depth for depth, data in enumerate(chain) if loaded[depth] is not None and _equals(data, record)]
    faults: list[str] = []
    for depth in anchors:
        certificate = loaded[depth]
        if certificate is None:
            continue
        fault = path.to_certificate(loaded, certificate, now, own_constraints=record.selector == Selector.CERT)
        if fault is None:
            return depth
        faults.append(fault)
    if anchors:
        return faults[0]
    if record.mtype != MatchingType.FULL:
        return "no certificate in the chain matches: the server must send the trust anchor that the record names"
    if record.selector == Selector.CERT:
        anchor = _load(record.data)
        fault = "the record's certificate cannot be read"
        if anchor is not None:
            fault = path.to_certificate(loaded, anchor, now, own_constraints=True) or ""
    else:
        key = _load_key(record.data)
        fault = "the record's key cannot be read" if key is None else path.to_key(loaded, key, now) or ""
    return fault or len(chain)


def _short(record: TLSA) -> str:
    return f"{record.usage} {record.selector} {record.mtype} {record.data.hex()[:16]}..."
