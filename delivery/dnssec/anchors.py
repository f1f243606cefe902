"""Trust anchors: the keys that are believed without proof, and the names below which nothing is validated.

An anchor file has DS or DNSKEY records as they stand in a zone file, at least one (RFC 4035 section 4.4). `ROOT` is
what IANA publishes for the root. An anchor that could never serve is refused when it is read and not ignored: left
alone with it, the zone would count as insecure, and everything below it too. Of the file that unbound-anchor keeps,
keys in their hold-down time and keys that are gone are passed over (RFC 5011 section 4.2).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

import dns.exception
import dns.name
import dns.rdata
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS

from delivery.dnssec.limits import DEFAULT, Rules

_STATE = re.compile(r";;state=(\d)")
_BELIEVED = {"2", "3"}  # VALID and MISSING
_FORM = "expected a record like '. IN DS 20326 8 2 E06D...' or '. IN DNSKEY 257 3 8 AwEA...'"


@dataclass(frozen=True, slots=True)
class Anchor:
    """What is believed about the keys of one zone: digests, keys, or both."""

    zone: dns.name.Name
    ds: tuple[DS, ...] = ()
    keys: tuple[DNSKEY, ...] = ()


@dataclass(frozen=True, slots=True)
class Anchors:
    """All anchors, by zone. `negative`: names at and below which nothing is validated, each until a moment."""

    zones: Mapping[dns.name.Name, Anchor]
    negative: Mapping[dns.name.Name, datetime] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, rules: Rules = DEFAULT) -> "Anchors":
        """Read the text of an anchor file. Raises ValueError that names the line and says what would be right."""
        zones: dict[dns.name.Name, Anchor] = {}
        for number, record in _records(text):
            try:
                zone, rdata = _read(record)
                _check(rdata, rules)
            except ValueError as error:
                raise ValueError(f"trust anchors, line {number}: {error}") from error
            old = zones.get(zone, Anchor(zone))
            if isinstance(rdata, DS):
                zones[zone] = Anchor(zone, (*old.ds, rdata), old.keys)
            else:
                zones[zone] = Anchor(zone, old.ds, (*old.keys, rdata))
        if not zones:
            raise ValueError(f"trust anchors: there is no record; {_FORM}")
        return cls(zones)

    def closest(self, name: dns.name.Name) -> tuple[Anchor, ...]:
        """List the anchors at or above a name, the closest first."""
        return tuple(self.zones[above] for above in upwards(name) if above in self.zones)

    def in_force(self, now: datetime) -> dict[str, datetime]:
        """Give the negative anchors in force, by name as people write it."""
        found = {name.to_text(omit_final_dot=True).lower(): until for name, until in self.negative.items()}
        return {name: until for name, until in found.items() if now < until}

    def negative_for(self, name: dns.name.Name, now: datetime) -> dns.name.Name | None:
        """Give the closest negative anchor at or above a name that is in force.

        An anchor that is closer to the name than the negative one is the exception from it: None then.
        """
        for above in upwards(name):
            until = self.negative.get(above)
            if until is not None and now < until:
                return above
            if above in self.zones:
                return None
        return None


def check_anchors(anchors: Anchors, rules: Rules) -> None:
    """Raise ValueError for an anchor that could never be of use by these rules."""
    for zone, anchor in anchors.zones.items():
        rdatas: tuple[DS | DNSKEY, ...] = (*anchor.ds, *anchor.keys)
        for rdata in rdatas:
            try:
                _check(rdata, rules)
            except ValueError as error:
                raise ValueError(f"the trust anchor of {zone} cannot be used: {error}") from error


def upwards(name: dns.name.Name) -> Iterator[dns.name.Name]:
    """Give a name and all above it, the root last."""
    for start in range(len(name)):
        yield dns.name.Name(name.labels[start:])


def _records(text: str) -> Iterator[tuple[int, str]]:
    """Give each record as one line, with the number of its first; comments and parentheses are taken away."""
    parts: list[str] = []
    first, depth = 0, 0
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition(";")[0]
        state = _STATE.search(line)
        if not content.strip() or (state is not None and state[1] not in _BELIEVED):
            continue
        first = first if parts else number
        parts.append(content)
        depth += content.count("(") - content.count(")")
        if depth <= 0:
            yield first, re.sub(r"[()]", " ", " ".join(parts))
            parts, depth = [], 0
    if parts:
        raise ValueError(f"trust anchors, line {first}: a parenthesis is not closed; expected one ')' for each '('")


def _read(record: str) -> tuple[dns.name.Name, DS | DNSKEY]:
    owner, *rest = record.split()
    while rest and (rest[0].isdigit() or rest[0].upper() == "IN"):  # TTL and class, in either order
        del rest[0]
    if not rest or rest[0].upper() not in {"DS", "DNSKEY"}:
        raise ValueError(_FORM)
    try:
        rdata = dns.rdata.from_text("IN", rest[0], " ".join(rest[1:]))
        zone = dns.name.from_text(owner)
    except dns.exception.DNSException as error:
        raise ValueError(f"{error}; {_FORM}") from error
    return zone, cast("DS | DNSKEY", rdata)


def _check(rdata: DS | DNSKEY, rules: Rules) -> None:
    """Raise ValueError for a record that could never be of use as an anchor."""
    if rdata.algorithm not in rules.algorithms:
        raise ValueError(f"algorithm {int(rdata.algorithm)} is not supported; supported: {sorted(rules.algorithms)}")
    if isinstance(rdata, DS):
        if rdata.digest_type not in rules.digests:
            kind = int(rdata.digest_type)
            raise ValueError(f"digest type {kind} is not supported; supported: {sorted(rules.digests)}")
    elif rdata.flags & 0x0180 != 0x0100 or rdata.protocol != 3:  # RFC 4034 section 2.1, RFC 5011 section 2.1
        raise ValueError("a key with these flags or protocol signs no zone; expected flags 257 or 256, protocol 3")


ROOT = Anchors.parse("""
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D ; KSK-2017
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16 ; KSK-2024
""")
