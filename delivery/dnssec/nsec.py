"""Denial of existence by NSEC records: gaps between names in canonical order (RFC 4035 section 5.4, RFC 6840 4.1).

A record says that nothing is between its owner and the next name; the last one of a zone points back to the apex. A
gap that ends below a name shows that the name is there, without records of its own. Minimal gaps (RFC 4470) are gaps
like others, and compact denial (RFC 9824) is a record of the very name that lacks the type. The callers see to it that
the names asked for are in the zone. Nothing is raised, whatever stands in the records.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dns.name
import dns.rdatatype
from dns.rdtypes.ANY.NSEC import NSEC

from delivery.dnssec.proofs import (
    BOGUS,
    Denial,
    Proven,
    Unproven,
    cut_without_ds,
    leads_away,
    objection,
    types,
    wildcard_at,
)

_NXNAME = 128  # RFC 9824: the name of this record does not exist
_ALWAYS = frozenset({int(dns.rdatatype.NSEC), int(dns.rdatatype.RRSIG)})  # RFC 4035 section 5.4: their bits say nothing


@dataclass(frozen=True, slots=True)
class Gap:
    """One NSEC record of a zone: nothing is between its owner and the next name."""

    zone: dns.name.Name
    owner: dns.name.Name
    next: dns.name.Name
    rdata: NSEC

    def _covers(self, name: dns.name.Name) -> bool:
        if name <= self.owner or (name.is_subdomain(self.owner) and leads_away(self.rdata)):
            return False
        last = self.next <= self.owner
        return bool(self.next == self.zone if last else name < self.next)

    def is_empty(self, name: dns.name.Name) -> bool:
        """Tell whether a name is there only because others are below it."""
        return self._covers(name) and self.next.is_subdomain(name)

    def encloser(self, name: dns.name.Name) -> dns.name.Name | None:
        """Give the closest encloser of a name that does not exist; None if this record does not show that."""
        if not self._covers(name) or self.next.is_subdomain(name):
            return None
        # Both ends of the gap are there, hence all that is above them.
        return name.split(max(name.fullcompare(end)[2] for end in (self.owner, self.next)))[1]


def gaps(zone: dns.name.Name, denials: Iterable[Denial]) -> tuple[Gap, ...]:
    """Take the NSEC records that a zone itself has signed, and that lie in it with both ends."""
    return tuple(
        Gap(zone, denial.owner, denial.rdata.next, denial.rdata)
        for denial in denials
        if isinstance(denial.rdata, NSEC)
        and denial.signer == zone
        and denial.owner.is_subdomain(zone)
        and denial.rdata.next.is_subdomain(zone)
    )


def nxdomain(name: dns.name.Name, records: Sequence[Gap]) -> Proven | Unproven:
    """Prove that a name does not exist, and no wildcard that would stand in for it (RFC 4035 section 5.4)."""
    if any(gap.owner == name and _says_nxname(gap.rdata) for gap in records):
        return Proven(secure=True, text=f"the NSEC record of {name} says that the name does not exist")
    missing = f"no NSEC record shows that {name} does not exist"
    for encloser in _enclosers(name, records):
        wildcard = wildcard_at(encloser)
        if _enclosers(wildcard, records):
            return Proven(secure=True, text=f"NSEC records show that neither {name} nor {wildcard} exists")
        missing = f"no NSEC record shows that {wildcard} does not exist"
    return Unproven(missing)


def nodata(name: dns.name.Name, rdtype: dns.rdatatype.RdataType, records: Sequence[Gap]) -> Proven | Unproven:
    """Prove that a name, or the wildcard that stands in for it, lacks a type (RFC 4035 section 5.4)."""
    outcome = _lacks(name, rdtype, records)
    for encloser in _enclosers(name, records):
        outcome = outcome or _lacks(wildcard_at(encloser), rdtype, records)
    return outcome or Unproven(f"no NSEC record shows that {name} has no {dns.rdatatype.to_text(rdtype)} records")


def no_closer_match(name: dns.name.Name, wildcard: dns.name.Name, records: Sequence[Gap]) -> Proven | Unproven:
    """Prove that a wildcard was the right one to expand: no name is closer (RFC 4035 section 5.3.4)."""
    if wildcard.parent() in _enclosers(name, records):
        return Proven(secure=True, text=f"an NSEC record shows that no name is closer to {name} than {wildcard}")
    return Unproven(f"no NSEC record shows that no name is closer to {name} than {wildcard}")


def no_ds(cut: dns.name.Name, records: Sequence[Gap]) -> Proven | Unproven | None:
    """Prove that a cut has no DS records (RFC 6840 section 4.4); None if the name is there and is no cut."""
    for gap in records:
        if gap.owner == cut:
            return cut_without_ds(gap.rdata, cut)
        if gap.is_empty(cut):
            return None
    return Unproven(f"no NSEC record shows that {cut} has no DS records")


def _enclosers(name: dns.name.Name, records: Sequence[Gap]) -> list[dns.name.Name]:
    found = (gap.encloser(name) for gap in records)
    return [encloser for encloser in found if encloser is not None]


def _lacks(name: dns.name.Name, rdtype: dns.rdatatype.RdataType, records: Sequence[Gap]) -> Proven | Unproven | None:
    """Judge by the records of one name alone; None if there are none."""
    outcome: Unproven | None = None
    shown = dns.rdatatype.to_text(rdtype)
    for gap in records:
        if gap.owner == name:
            why = f"{name} has {shown} records" if rdtype in _ALWAYS else objection(gap.rdata, name, rdtype)
            if not why:
                return Proven(secure=True, text=f"the NSEC record of {name} lists no {shown} records")
            outcome = Unproven(why, BOGUS)
        elif gap.is_empty(name):
            return Proven(secure=True, text=f"an NSEC record shows that {name} has names below it and no records")
    return outcome


def _says_nxname(rdata: NSEC) -> bool:
    """Tell whether a record of compact denial says that its name does not exist: beside that, no type may be there."""
    listed = set()
    for rdtype in types(rdata):
        if rdtype not in {*_ALWAYS, _NXNAME}:
            return False
        listed.add(rdtype)
    return _NXNAME in listed
