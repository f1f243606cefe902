"""What a denial of existence is made of and what comes of it, and the rules that NSEC and NSEC3 have in common.

A record that matches a name lists the types that are there, but not each record may speak for each type: the zone
above a cut knows of the DS records there and of nothing else, and the zone below knows of all but those. Only records
whose signatures have been verified come here. Nothing is raised, whatever stands in them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import dns.name
import dns.rdatatype
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3

BOGUS, MISSING = 6, 12  # info-codes of RFC 8914: the records contradict the answer, or do not suffice


@dataclass(frozen=True, slots=True)
class Denial:
    """A record whose signature has been verified, and that was not expanded from a wildcard."""

    owner: dns.name.Name
    rdata: NSEC | NSEC3
    signer: dns.name.Name
    expires: datetime


@dataclass(frozen=True, slots=True)
class Proven:
    """The records prove it. `secure` is false if they leave room for unsigned data, so that the answer is insecure."""

    secure: bool
    text: str


@dataclass(frozen=True, slots=True)
class Unproven:
    """The records do not prove it: why, in one line, and the matching info-code of RFC 8914."""

    why: str
    code: int = MISSING


def has(rdata: NSEC | NSEC3, rdtype: int) -> bool:
    """Tell whether the type bit maps name a type (RFC 4034 section 4.1.2)."""
    window, bit = divmod(rdtype, 256)
    octets: bytes = dict(rdata.windows).get(window, b"")
    return bit // 8 < len(octets) and bool(octets[bit // 8] & 0x80 >> bit % 8)


def types(rdata: NSEC | NSEC3) -> Iterator[int]:
    """Give the types that the bit maps name, one after another."""
    for window, octets in rdata.windows:
        for place, octet in enumerate(octets):
            yield from (window * 256 + place * 8 + bit for bit in range(8) if octet & 0x80 >> bit)


def is_cut(rdata: NSEC | NSEC3) -> bool:
    """Tell whether a record is from above a zone cut: an "ancestor delegation" (RFC 6840 section 4.1)."""
    return has(rdata, dns.rdatatype.NS) and not has(rdata, dns.rdatatype.SOA)


def leads_away(rdata: NSEC | NSEC3) -> bool:
    """Tell whether what is below the name is not for the zone to deny: a cut, or a DNAME (RFC 6840 section 4.1)."""
    return is_cut(rdata) or has(rdata, dns.rdatatype.DNAME)


def objection(rdata: NSEC | NSEC3, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> str:
    """Say why a record that matches a name does not prove that a type is missing there; empty if it does."""
    for present in (rdtype, dns.rdatatype.CNAME):  # RFC 6840 section 4.3: an alias answers for every type
        if has(rdata, present):
            return f"{name} has {dns.rdatatype.to_text(present)} records"
    if rdtype != dns.rdatatype.DS:
        return f"{name} is delegated, and the zone above knows only of DS records there" if is_cut(rdata) else ""
    if has(rdata, dns.rdatatype.SOA) and name != dns.name.root:  # RFC 4035 appendix B.8; nothing is above the root
        return f"the record of {name} is its own, and DS records stand in the zone above"
    return ""


def cut_without_ds(rdata: NSEC | NSEC3, cut: dns.name.Name) -> Proven | Unproven | None:
    """Read a record that matches a name: a cut without DS records, neither, or None if no cut is there.

    RFC 6840 section 4.4: NS has to be there, DS and SOA must not. A name without NS is no cut, so that the keys of the
    zone hold below it.
    """
    if has(rdata, dns.rdatatype.SOA):
        return Unproven(f"the record of {cut} is its own, and DS records stand in the zone above", BOGUS)
    if has(rdata, dns.rdatatype.DS):
        return Unproven(f"{cut} has DS records", BOGUS)
    if has(rdata, dns.rdatatype.NS):
        return Proven(secure=True, text=f"{cut} is delegated without DS records")
    return None


def wildcard_at(encloser: dns.name.Name) -> dns.name.Name:
    """Give the wildcard right below a name that has another one below it, so that there is room for the label."""
    return dns.name.Name((b"*", *encloser.labels))
