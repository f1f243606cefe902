"""Denial of existence against small zones made at random: whole chains prove what is true, and no part of one more.

A zone is a few names with their types. From it come its NSEC chain and its NSEC3 chain, and the truth about any name.
"""

import base64
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from hypothesis import given
from hypothesis import strategies as st

from delivery.dnssec.denial import Denial, Proven, Unproven
from delivery.dnssec.limits import BudgetExceeded, Rules
from tests.delivery.dnssec.records import EXPIRES, Asked, name, record, verdict

APEX = name("example")
LABELS = ["*", "a", "b", "Z", r"\000", r"\255"]
KINDS = ["A", "MX", "CNAME", "NS", "NS DS", "DNAME", "A TLSA"]
PATHS = st.lists(st.sampled_from(LABELS), min_size=1, max_size=3).map(lambda labels: ".".join([*labels, "example"]))
RULES = Rules(nsec3_hashes=1000)

Types = Mapping[dns.name.Name, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Zone:
    """The truth: the authoritative names of a zone with their types, those without any included."""

    names: Types

    def leads_away(self, at: dns.name.Name) -> bool:
        """Tell whether a cut or a DNAME is above a name, so that it is not for the zone to deny."""
        return any(
            at != owner and at.is_subdomain(owner) and types & {"NS", "DNAME"}
            for owner, types in self.names.items()
            if owner != APEX
        )

    def encloser(self, at: dns.name.Name) -> dns.name.Name:
        """Give the closest name that exists, at or above a name."""
        while at not in self.names:
            at = at.parent()
        return at

    def stand_in(self, at: dns.name.Name) -> dns.name.Name:
        """Give the name whose types answer: the name itself or the wildcard."""
        return at if at in self.names else dns.name.Name((b"*", *self.encloser(at).labels))

    def nxdomain(self, at: dns.name.Name) -> bool:
        """Tell whether the answer is a name error."""
        return not self.leads_away(at) and self.stand_in(at) not in self.names

    def nodata(self, at: dns.name.Name, rdtype: str) -> bool:
        """Tell whether the answer is empty, and from this zone."""
        types = self.names.get(self.stand_in(at))
        if types is None or self.leads_away(at) or types & {rdtype, "CNAME"} or (rdtype == "DS" and at == APEX):
            return False
        return rdtype == "DS" or "SOA" in types or "NS" not in types

    def no_ds(self, at: dns.name.Name) -> str:
        """Say what there is at a name: an insecure cut (`secure`, by its proof), no cut, or something else (`bogus`)."""
        if at not in self.names or at == APEX or "DS" in self.names[at]:
            return "bogus"
        return "secure" if "NS" in self.names[at] else "no cut"

    def nsec(self) -> list[Denial]:
        """Make the NSEC chain; names without types have no record."""
        owners = sorted(owner for owner, types in self.names.items() if types)
        return [
            record(f"{owner} NSEC {after} {' '.join(sorted(self.names[owner]))}")
            for owner, after in pairwise([*owners, APEX])
        ]

    def nsec3(self, flags: int) -> list[Denial]:
        """Make the NSEC3 chain, with one iteration."""
        hashed = {dns.dnssec.nsec3_hash(owner, "ab", 1, 1): types for owner, types in self.names.items()}
        owners = sorted(hashed)
        return [
            record(f"{owner}.example. NSEC3 1 {flags} 1 ab {after} {' '.join(sorted(hashed[owner]))}")
            for owner, after in pairwise([*owners, owners[0]])
        ]


@st.composite
def zones(draw: st.DrawFn) -> Zone:
    """Draw a zone without anything below its cuts and DNAMEs, and without wildcards that lead away."""
    names: dict[dns.name.Name, frozenset[str]] = {APEX: frozenset({"SOA", "NS", "MX"})}
    drawn = draw(st.dictionaries(PATHS.map(name), st.sampled_from(KINDS), max_size=6))
    for owner in sorted(drawn):  # what is above comes first
        types = frozenset(drawn[owner].split())
        ambiguous = b"*" in owner.labels and types & {"NS", "DNAME"}  # RFC 4592 section 4.2: not for anyone to rely on
        if not Zone(names).leads_away(owner) and not ambiguous:
            names[owner] = types
    for owner in list(names):
        for length in range(len(APEX), len(owner)):
            names.setdefault(owner.split(length)[1], frozenset())
    return Zone(names)


def expected(truth: bool) -> str:  # noqa: FBT001 - the truth is what it is about
    """Write a truth as what a whole proof of it comes to."""
    return "secure" if truth else "bogus"


@given(zones(), PATHS, st.sampled_from(["A", "DS", "TLSA"]))
def test_a_whole_chain_proves_what_is_true_and_nothing_else(zone: Zone, at: str, rdtype: str) -> None:
    """SEC-34 to SEC-41 and SEC-48 to SEC-54: both kinds of chain prove each denial exactly where it is true."""
    for denials in (zone.nsec(), zone.nsec3(0)):
        answer = Asked(denials, rules=RULES)
        assert verdict(answer.nxdomain(at)) == expected(zone.nxdomain(name(at)))
        assert verdict(answer.nodata(at, rdtype)) == expected(zone.nodata(name(at), rdtype))
        assert verdict(answer.no_ds(at)) == zone.no_ds(name(at))
        stands_in = zone.stand_in(name(at))
        if name(at) not in zone.names and stands_in in zone.names and not zone.leads_away(name(at)):
            assert verdict(answer.no_closer_match(at, stands_in.to_text())) == "secure"


@given(zones(), PATHS, st.sampled_from(["A", "DS", "TLSA"]), st.data())
def test_a_part_of_a_chain_proves_nothing_that_is_not_true(
    zone: Zone, at: str, rdtype: str, data: st.DataObject
) -> None:
    """Whatever an attacker leaves out of an answer, or adds of the same zone, makes no false proof."""
    whole = data.draw(st.sampled_from([zone.nsec(), zone.nsec3(0), [*zone.nsec(), *zone.nsec3(0)]]))
    answer = Asked(data.draw(st.lists(st.sampled_from(whole))), rules=RULES)
    assert verdict(answer.nxdomain(at)) in {"bogus", expected(zone.nxdomain(name(at)))}
    assert verdict(answer.nodata(at, rdtype)) in {"bogus", expected(zone.nodata(name(at), rdtype))}
    assert verdict(answer.no_ds(at)) in {"bogus", zone.no_ds(name(at))}
    for wildcard in (owner for owner in zone.names if owner.is_wild()):
        right = name(at) not in zone.names and zone.stand_in(name(at)) == wildcard
        assert verdict(answer.no_closer_match(at, wildcard.to_text())) in {"bogus", expected(right)}


@given(zones(), PATHS, st.sampled_from(["A", "DS", "TLSA"]))
def test_opt_out_makes_insecure_and_never_more(zone: Zone, at: str, rdtype: str) -> None:
    """SEC-17, SEC-52, SEC-55: with opt-out everywhere, what is secure rests on the record of the very name."""
    answer = Asked(zone.nsec3(1), rules=RULES)
    there = name(at) in zone.names
    assert verdict(answer.nxdomain(at)) == ("insecure" if zone.nxdomain(name(at)) else "bogus")
    assert verdict(answer.nodata(at, rdtype)) in ({"secure", "bogus"} if there else {"insecure", "bogus"})
    assert verdict(answer.no_ds(at)) in ({zone.no_ds(name(at))} if there else {"insecure", "bogus"})


WINDOWS = st.dictionaries(st.integers(0, 255), st.binary(min_size=1, max_size=32).filter(lambda octets: octets[-1] > 0))
NAMES = st.lists(st.binary(min_size=1, max_size=40), max_size=4).map(lambda labels: dns.name.Name([*labels, b""]))
NEARBY = st.one_of(NAMES, PATHS.map(name), st.just(dns.name.root), st.just(APEX))
HASHED = st.binary(min_size=20, max_size=20).map(lambda octets: dns.name.Name([_label(octets), b"example", b""]))
SMALL = st.integers(0, 3)


def _label(octets: bytes) -> bytes:
    return base64.b32hexencode(octets).lower()


def _read(rdtype: dns.rdatatype.RdataType, wire: bytes) -> Any:
    return dns.rdata.from_wire(dns.rdataclass.IN, rdtype, wire, 0, len(wire))


@st.composite
def denials(draw: st.DrawFn) -> Denial:
    """Draw any record that can be read from the wire, mostly one that has to do with the zone."""
    windows = sorted(draw(WINDOWS).items())
    bitmaps = b"".join(bytes([window, len(octets)]) + octets for window, octets in windows)
    if draw(st.booleans()):
        plain = _read(dns.rdatatype.NSEC, draw(NEARBY).to_digestable() + bitmaps)
        return Denial(draw(NEARBY), plain, draw(st.sampled_from([APEX, dns.name.root])), EXPIRES)
    salt = draw(st.sampled_from([b"", b"ab", b"\0" * 255]))
    following = draw(st.one_of(st.binary(min_size=20, max_size=20), st.binary(min_size=1, max_size=255)))
    iterations = draw(st.one_of(SMALL, st.integers(0, 65535)))
    fixed = struct.pack("!BBHB", draw(SMALL), draw(SMALL), iterations, len(salt))
    hashed = _read(dns.rdatatype.NSEC3, fixed + salt + bytes([len(following)]) + following + bitmaps)
    return Denial(draw(st.one_of(HASHED, NEARBY)), hashed, APEX, EXPIRES)


@given(st.lists(denials(), max_size=5), NEARBY, NEARBY, st.integers(0, 65535), st.booleans())
def test_whatever_the_records_are_nothing_else_is_raised(
    found: list[Denial],
    at: dns.name.Name,
    other: dns.name.Name,
    rdtype: int,
    root: bool,  # noqa: FBT001
) -> None:
    """SEC-60, SEC-61: any records give a verdict for any name, or the budget ends it."""
    answer = Asked(found, "." if root else "example")
    text, kind = at.to_text(), dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rdtype))
    asks: list[Callable[[], Proven | Unproven | None]] = [
        lambda: answer.nxdomain(text),
        lambda: answer.nodata(text, kind),
        lambda: answer.no_ds(text),
        lambda: answer.no_closer_match(text, other.to_text()),
    ]
    for ask in asks:
        try:
            assert verdict(ask()) in {"secure", "insecure", "bogus", "no cut"}
        except BudgetExceeded as error:
            assert "hashes" in str(error)  # noqa: PT017 - it may come, and need not
