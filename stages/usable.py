"""Which TLSA records are usable, and which of the usable ones count.

Usable: usage DANE-TA(2) or DANE-EE(3) as policy allows, a known selector, a matching type that policy accepts, and
data that can be what they claim: a digest of the right length, or well-formed DER (RFC 6698 section 4.1, RFC 7671
section 9). Digest agility then keeps, for each usage and selector, full data and the strongest digest type only.
"""

from collections.abc import Sequence

from stages.records import TLSA, MatchingType, Selector, Usage

_DIGEST_LENGTH = {int(MatchingType.SHA2_256): 32, int(MatchingType.SHA2_512): 64}
_SEQUENCE = 0x30
_LONG_FORM = 0x80


def why_unusable(record: TLSA, usages: Sequence[int] = (3, 2), digests: Sequence[int] = (2, 1)) -> str | None:
    """Say why a record is unusable, or None if it is usable (RFC 7672 section 3.1, RFC 6698 section 4.1)."""
    if record.usage in {int(Usage.PKIX_TA), int(Usage.PKIX_EE)}:
        return f"usage {record.usage} is not used with SMTP (RFC 7672 section 3.1.3)"
    if record.usage not in {int(Usage.DANE_TA), int(Usage.DANE_EE)}:
        return f"usage {record.usage} is unassigned"
    if record.usage not in usages:
        return f"usage {record.usage} is switched off by policy"
    if record.selector not in {int(Selector.CERT), int(Selector.SPKI)}:
        return f"selector {record.selector} is unassigned"
    if record.mtype == MatchingType.FULL:
        return None if _is_der_sequence(record.data) else "the data are not one DER structure"
    length = _DIGEST_LENGTH.get(record.mtype)
    if length is None:
        return f"matching type {record.mtype} is unassigned"
    if record.mtype not in digests:
        return f"matching type {record.mtype} is switched off by policy"
    if len(record.data) != length:
        return f"the digest has {len(record.data)} octets, expected {length}"
    return None


def agile(records: Sequence[TLSA], digests: Sequence[int] = (2, 1)) -> tuple[TLSA, ...]:
    """Keep full data and the strongest digest type of each usage and selector (RFC 7671 section 9).

    `records` are usable ones; `digests` names the matching types from the strongest to the weakest.
    """
    strength = {mtype: rank for rank, mtype in enumerate(digests)}
    best: dict[tuple[int, int], int] = {}
    for record in records:
        if record.mtype in strength:
            kind = (record.usage, record.selector)
            best[kind] = min(best.get(kind, len(digests)), strength[record.mtype])
    return tuple(
        record
        for record in records
        if record.mtype == MatchingType.FULL or strength.get(record.mtype) == best.get((record.usage, record.selector))
    )


def _is_der_sequence(data: bytes) -> bool:
    """Tell whether the octets are exactly one DER SEQUENCE, as certificates and public key infos are."""
    if len(data) < 2 or data[0] != _SEQUENCE:
        return False
    length, start = data[1], 2
    if length & _LONG_FORM:
        octets = length & ~_LONG_FORM
        if not 1 <= octets <= 4 or len(data) < 2 + octets or data[2] == 0:
            return False
        length, start = int.from_bytes(data[2 : 2 + octets]), 2 + octets
        if length < _LONG_FORM:
            return False
    return len(data) == start + length
