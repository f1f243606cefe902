"""Denial of existence by NSEC3 records: gaps between hashes of names (RFC 5155 section 8).

What exists above a name is found by hashing one ancestor after another, and each hash is counted before it is made
(CVE-2023-50868). A record with the opt-out flag leaves room for delegations that are not signed: a proof that rests on
it is insecure (RFC 5155 section 9.2). So is every proof of a zone that wants more iterations than the rules allow
(RFC 9276 section 3.2), or over the budget if those say so, and then nothing is hashed at all. The callers see to it
that the names asked for are in the zone. Raises `BudgetExceeded`, and nothing else, whatever stands in the records.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import dns.name
import dns.rdatatype
from dns.rdtypes.ANY.NSEC3 import NSEC3

from delivery.dnssec.limits import Budget, BudgetExceeded, Rules
from delivery.dnssec.proofs import (
    BOGUS,
    Denial,
    Proven,
    Unproven,
    cut_without_ds,
    leads_away,
    objection,
    wildcard_at,
)

_SHA1, _LENGTH = 1, 20  # the only hash algorithm there is, and the octets of its hash (RFC 5155 section 11)
_OPT_OUT = 1


@dataclass(frozen=True, slots=True)
class Encloser:
    """A closest encloser proof: the encloser, and the record that covers the name one label longer."""

    name: dns.name.Name
    cover: NSEC3

    def proven(self, text: str) -> Proven:
        """Say what is proven with it: not securely if the name may be an unsigned delegation."""
        secure = not self.cover.flags & _OPT_OUT
        return Proven(secure, text if secure else f"{text}, but an opt-out span leaves room for unsigned delegations")


@dataclass(frozen=True, slots=True)
class Chain:
    """The NSEC3 records of one zone, by the hash in the owner name; all have the same salt and iterations."""

    zone: dns.name.Name
    records: Mapping[bytes, NSEC3]
    salt: bytes
    iterations: int
    budget: Budget
    _known: dict[dns.name.Name, bytes] = field(default_factory=dict)

    def _hash(self, name: dns.name.Name) -> bytes:
        """Hash a name (RFC 5155 section 5). Raises `BudgetExceeded`."""
        if name not in self._known:
            self.budget.hash(self.iterations)
            digest = name.to_digestable()
            for _ in range(self.iterations + 1):
                digest = hashlib.sha1(digest + self.salt, usedforsecurity=False).digest()
            self._known[name] = digest
        return self._known[name]

    def match(self, name: dns.name.Name) -> NSEC3 | None:
        """Give the record of a name. Raises `BudgetExceeded`."""
        return self.records.get(self._hash(name))

    def cover(self, name: dns.name.Name) -> NSEC3 | None:
        """Give a record that shows that a name has no record. Raises `BudgetExceeded`."""
        wanted = self._hash(name)
        for owner, rdata in self.records.items():
            last = rdata.next <= owner  # goes on at the lowest hash (RFC 5155 section 3.1.7)
            if (wanted > owner or wanted < rdata.next) if last else owner < wanted < rdata.next:
                return rdata
        return None

    def encloser(self, name: dns.name.Name) -> Encloser | Unproven:
        """Prove that a name does not exist, by its closest encloser (RFC 5155 section 8.3)."""
        closer: dns.name.Name | None = None
        for length in range(len(name), len(self.zone) - 1, -1):
            at = name.split(length)[1]
            found = self.match(at)
            if found is None:
                closer = at
                continue
            if closer is None:
                return Unproven(f"an NSEC3 record shows that {name} exists", BOGUS)
            if leads_away(found):
                return Unproven(f"{at} is delegated or has DNAME records, so its zone denies nothing below", BOGUS)
            cover = self.cover(closer)
            if cover is None:
                return Unproven(f"no NSEC3 record shows that {closer} does not exist")
            return Encloser(at, cover)
        return Unproven(f"no NSEC3 record shows which name above {name} exists")


def chain(zone: dns.name.Name, denials: Iterable[Denial], rules: Rules, budget: Budget) -> Chain | Proven | Unproven:
    """Take the NSEC3 records of a zone that can be used, or say what they come to without a look at any hash.

    Ignored are unknown hash algorithms and flags (RFC 5155 sections 8.1 and 8.2), and owners that are not a hash right
    below the zone. Salt and iterations that differ prove nothing (RFC 5155 section 8.2).

    Raises `BudgetExceeded` for more iterations than the rules allow, if those want an error.
    """
    records: dict[bytes, NSEC3] = {}
    kinds: set[tuple[bytes, int]] = set()
    for denial in denials:
        owner = _owner(denial.owner, zone)
        if isinstance(denial.rdata, NSEC3) and denial.signer == zone and _usable(denial.rdata) and owner:
            records[owner] = denial.rdata
            kinds.add((denial.rdata.salt, denial.rdata.iterations))
    if not records:
        return Unproven(f"no NSEC or NSEC3 record of {zone} that can be used came with the answer")
    if len(kinds) > 1:
        return Unproven(f"the NSEC3 records of {zone} differ in salt or iterations", BOGUS)
    [(salt, iterations)] = kinds
    if iterations > rules.nsec3_iterations:
        most = rules.nsec3_iterations
        text = f"the NSEC3 records of {zone} have {iterations} iterations, more than {most} (EDE 27)"
        if rules.nsec3_over_limit == "error":
            raise BudgetExceeded(text)
        return Proven(secure=False, text=text)
    return Chain(zone, records, salt, iterations, budget)


def nxdomain(name: dns.name.Name, records: Chain) -> Proven | Unproven:
    """Prove that a name does not exist, and no wildcard that would stand in for it (RFC 5155 section 8.4)."""
    found = records.encloser(name)
    if isinstance(found, Unproven):
        return found
    wildcard = wildcard_at(found.name)
    if records.cover(wildcard) is None:
        return Unproven(f"no NSEC3 record shows that {wildcard} does not exist")
    return found.proven(f"NSEC3 records show that neither {name} nor {wildcard} exists")


def nodata(name: dns.name.Name, rdtype: dns.rdatatype.RdataType, records: Chain) -> Proven | Unproven:
    """Prove that a name, or the wildcard that stands in for it, lacks a type (RFC 5155 sections 8.5 to 8.7).

    In an opt-out span nothing is known of any type, not only of DS: the name may be an unsigned delegation, or have
    one below it, for which there need be no record either.
    """
    shown = dns.rdatatype.to_text(rdtype)
    here = records.match(name)
    if here is not None:
        why = objection(here, name, rdtype)
        return Unproven(why, BOGUS) if why else Proven(secure=True, text=f"the NSEC3 record of {name} lists no {shown}")
    found = records.encloser(name)
    if isinstance(found, Unproven):
        return found
    wildcard = wildcard_at(found.name)
    there = records.match(wildcard)
    if there is not None:
        why = objection(there, wildcard, rdtype)
        text = f"NSEC3 records show that {name} does not exist, and that {wildcard} lists no {shown}"
        return Unproven(why, BOGUS) if why else found.proven(text)
    if found.cover.flags & _OPT_OUT:
        return found.proven(f"NSEC3 records show that {name} has no signed records")
    return Unproven(f"no NSEC3 record shows that {name} or {wildcard} has no {shown} records")


def no_closer_match(name: dns.name.Name, wildcard: dns.name.Name, records: Chain) -> Proven | Unproven:
    """Prove that a wildcard was the right one to expand: no name is closer (RFC 5155 section 8.8)."""
    encloser = wildcard.parent()
    closer = name.split(len(encloser) + 1)[1]
    cover = records.cover(closer)
    if cover is None:
        return Unproven(f"no NSEC3 record shows that {closer} does not exist")
    text = f"an NSEC3 record shows that no name is closer to {name} than {wildcard}"
    return Encloser(encloser, cover).proven(text)


def no_ds(cut: dns.name.Name, records: Chain) -> Proven | Unproven | None:
    """Prove that a cut has no DS records (RFC 5155 section 8.9); None if the name is there and is no cut."""
    here = records.match(cut)
    if here is not None:
        return cut_without_ds(here, cut)
    found = records.encloser(cut)
    if isinstance(found, Unproven):
        return found
    if found.cover.flags & _OPT_OUT:
        return found.proven(f"NSEC3 records show that {cut} is not delegated with DS records")
    return Unproven(f"NSEC3 records show that {cut} does not exist, with no room for an unsigned delegation", BOGUS)


def _usable(rdata: NSEC3) -> bool:
    return rdata.algorithm == _SHA1 and rdata.flags in {0, _OPT_OUT} and len(rdata.next) == _LENGTH


def _owner(owner: dns.name.Name, zone: dns.name.Name) -> bytes | None:
    """Give the hash that is the first label of an owner name; None if there is none (RFC 5155 section 3)."""
    if len(owner) != len(zone) + 1 or not owner.is_subdomain(zone):
        return None
    try:
        hashed = base64.b32hexdecode(owner.labels[0], casefold=True)
    except binascii.Error:
        return None
    return hashed if len(hashed) == _LENGTH else None
