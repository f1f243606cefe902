"""Authenticated denial of existence: what the NSEC or NSEC3 records of an answer prove (RFC 4035 section 5.4).

There is one function for each thing that an answer may leave to be proven. Each takes the records whose signatures
were verified, ignores those that another zone signed or that lie outside of the zone, and needs a whole proof of one
kind, NSEC or NSEC3. Names are absolute. Raises `BudgetExceeded` when the hashes cost too much, and nothing else.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import dns.name
import dns.rdatatype

from delivery.dnssec import nsec, nsec3
from delivery.dnssec.limits import Budget, Rules
from delivery.dnssec.proofs import BOGUS, Denial, Proven, Unproven

__all__ = ["Denial", "Proven", "Unproven", "no_closer_match", "no_ds", "nodata", "nxdomain"]

_Outcome = TypeVar("_Outcome", bound=Proven | Unproven | None)


def nxdomain(
    name: dns.name.Name, zone: dns.name.Name, denials: Sequence[Denial], rules: Rules, budget: Budget
) -> Proven | Unproven:
    """Prove that a name does not exist, nor a wildcard that would stand in for it; then nothing is below it either.

    Raises `BudgetExceeded`.
    """
    if not name.is_subdomain(zone):
        return _outside(name, zone)
    return _prove(
        nsec.gaps(zone, denials),
        lambda gaps: nsec.nxdomain(name, gaps),
        lambda: nsec3.chain(zone, denials, rules, budget),
        lambda chain: nsec3.nxdomain(name, chain),
    )


def nodata(
    name: dns.name.Name,
    rdtype: dns.rdatatype.RdataType,
    zone: dns.name.Name,
    denials: Sequence[Denial],
    rules: Rules,
    budget: Budget,
) -> Proven | Unproven:
    """Prove that a name has no records of a type, and is no alias; also where a wildcard stands in for it.

    A DS question is answered above the cut: the zone that begins at the name proves nothing. Raises `BudgetExceeded`.
    """
    if not name.is_subdomain(zone):
        return _outside(name, zone)
    if rdtype == dns.rdatatype.DS and name == zone != dns.name.root:
        return _own_ds(zone)
    return _prove(
        nsec.gaps(zone, denials),
        lambda gaps: nsec.nodata(name, rdtype, gaps),
        lambda: nsec3.chain(zone, denials, rules, budget),
        lambda chain: nsec3.nodata(name, rdtype, chain),
    )


def no_closer_match(
    name: dns.name.Name,
    wildcard: dns.name.Name,
    zone: dns.name.Name,
    denials: Sequence[Denial],
    rules: Rules,
    budget: Budget,
) -> Proven | Unproven:
    """Prove that an answer was made from the right wildcard, given with its asterisk: no name is closer.

    Raises `BudgetExceeded`.
    """
    if not wildcard.is_wild() or not wildcard.parent().is_subdomain(zone):
        return _outside(wildcard, zone)
    encloser = wildcard.parent()
    if name == encloser or not name.is_subdomain(encloser):
        return Unproven(f"{wildcard} does not stand in for {name}", BOGUS)
    return _prove(
        nsec.gaps(zone, denials),
        lambda gaps: nsec.no_closer_match(name, wildcard, gaps),
        lambda: nsec3.chain(zone, denials, rules, budget),
        lambda chain: nsec3.no_closer_match(name, wildcard, chain),
    )


def no_ds(
    cut: dns.name.Name, zone: dns.name.Name, denials: Sequence[Denial], rules: Rules, budget: Budget
) -> Proven | Unproven | None:
    """Prove that the chain of trust ends at a cut: it is, or may be, delegated without DS records.

    None: the name is there and is no cut, so that the keys of the zone hold below it. A name that does not exist is
    no cut either, but that is for `nxdomain` and `nodata` to prove. Raises `BudgetExceeded`.
    """
    if not cut.is_subdomain(zone):
        return _outside(cut, zone)
    if cut == zone:
        return _own_ds(zone)
    return _prove(
        nsec.gaps(zone, denials),
        lambda gaps: nsec.no_ds(cut, gaps),
        lambda: nsec3.chain(zone, denials, rules, budget),
        lambda chain: nsec3.no_ds(cut, chain),
    )


def _prove(
    gaps: tuple[nsec.Gap, ...],
    by_nsec: Callable[[tuple[nsec.Gap, ...]], _Outcome],
    hashed: Callable[[], nsec3.Chain | Proven | Unproven],
    by_nsec3: Callable[[nsec3.Chain], _Outcome],
) -> _Outcome | Proven | Unproven:
    """Try the NSEC records first, which cost no hash; what they say goes if neither kind proves anything."""
    outcome = by_nsec(gaps)
    if not isinstance(outcome, Unproven):
        return outcome
    chain = hashed()
    other = by_nsec3(chain) if isinstance(chain, nsec3.Chain) else chain
    return outcome if gaps and isinstance(other, Unproven) else other


def _outside(name: dns.name.Name, zone: dns.name.Name) -> Unproven:
    return Unproven(f"{name} is not in the zone {zone}", BOGUS)


def _own_ds(zone: dns.name.Name) -> Unproven:
    return Unproven(f"DS records of {zone} stand in the zone above, which alone can deny them", BOGUS)
