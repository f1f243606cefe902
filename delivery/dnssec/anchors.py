"""Trust anchors: the keys that are believed without proof, and the names below which nothing is to be proven."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import dns.name
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS


@dataclass(frozen=True, slots=True)
class Anchor:
    """What is believed about one zone's keys without proof."""

    zone: dns.name.Name
    ds: tuple[DS, ...] = ()
    keys: tuple[DNSKEY, ...] = ()

    def digests(self) -> tuple[DS, ...]:
        """Give the anchor as DS records only: those it has, and one with SHA-256 for each key."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Anchors:
    """All anchors, by zone; `negative`: names below which nothing is validated, each until a moment (RFC 7646)."""

    zones: Mapping[dns.name.Name, Anchor]
    negative: Mapping[dns.name.Name, datetime] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "Anchors":
        """Read DS and DNSKEY records as they stand in a zone file. Raises ValueError that names the line."""
        raise NotImplementedError

    def closest(self, name: dns.name.Name) -> tuple[Anchor, ...]:
        """List the anchors at or above a name, the closest first."""
        raise NotImplementedError

    def distrusted(self, name: dns.name.Name, now: datetime) -> dns.name.Name | None:
        """Give the closest negative anchor at or above a name that is still in force, if there is one."""
        raise NotImplementedError
