"""What was proven of zones: kept by each process, and the keys of zones shared with others.

A key set is shared as it was proven, until its records or signatures end, or those of a zone above it, and under a name
made from the trust anchors and rules by which it was proven: where others are in force, nobody sees it. What comes back
unreadable, or such as would never have been kept, is told and is as if it were not there, so that the zone is proven
from the anchors. Only keys are shared, and never that a zone is insecure.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import islice
from typing import Any, Protocol, cast

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from delivery.dnssec.anchors import Anchors, upwards
from delivery.dnssec.limits import Rules
from delivery.dnssec.replies import Link, Status, Zone
from delivery.dnssec.signatures import Keys, serves
from delivery.dnssec.zones import FOREVER
from delivery.responses import text_of

MAX_ZONES = 100_000  # names of which the zone is kept
MAX_WANTED = 64  # names looked for at once: whoever answers can name as many zones as they like
_FORM = "1"  # of what is shared; another one for another meaning


@dataclass(frozen=True, slots=True)
class ZoneKeys:
    """The keys that were proven for a zone, in wire form, with the steps of the proof."""

    zone: str
    keys: tuple[bytes, ...]
    expires: datetime
    links: tuple[Link, ...]


class SharedKeys(Protocol):
    """Keys of zones, shared by processes. Errors it raises are told of, and zones are proven without it.

    `binding` is what the keys were proven by.
    """

    async def get(self, binding: str, zones: Sequence[str]) -> Sequence[ZoneKeys]:
        """Fetch the keys of those of the zones that have some here."""

    async def put(self, binding: str, keys: ZoneKeys) -> None:
        """Keep the keys of a zone until they expire."""

    async def clear(self) -> None:
        """Throw all away."""


class Known(OrderedDict[dns.name.Name, Zone]):
    """What was proven of zones; the oldest is dropped when there are too many. `fresh` are zones to be shared."""

    def __init__(self) -> None:
        super().__init__()
        self.fresh: list[Zone] = []

    def __setitem__(self, name: dns.name.Name, zone: Zone) -> None:
        self.load(name, zone)
        if zone.keys and zone.name == name:
            self.fresh.append(zone)

    def load(self, name: dns.name.Name, zone: Zone) -> None:
        """Keep what need not be shared."""
        super().__setitem__(name, zone)
        if len(self) > MAX_ZONES:
            self.popitem(last=False)


class Zones:
    """The zones that a process knows of, with those of others behind them."""

    def __init__(
        self,
        shared: SharedKeys | None,
        anchors: Anchors,
        rules: Rules,
        on_event: Callable[[str, Mapping[str, Any]], None],
    ) -> None:
        self.known = Known()
        self._shared = shared
        self._rules = rules
        self._binding = binding(anchors, rules)
        self._tell = on_event

    async def fetch(self, names: Iterable[dns.name.Name], now: datetime) -> None:
        """Take over the keys of zones at and above some names, as far as others have them."""
        if self._shared is None:
            return
        unknown = dict.fromkeys(above for name in names for above in upwards(name) if not self._is_known(above, now))
        wanted = {text_of(name): name for name in islice(unknown, MAX_WANTED)}
        try:
            for found in await self._shared.get(self._binding, tuple(wanted)) if wanted else ():
                self.known.load(wanted[found.zone], read(found, self._rules, now))
        except Exception as error:  # noqa: BLE001 - whatever is shared, zones can be proven
            self._tell("resolver.cache", {"text": f"shared keys of zones cannot be read: {error!r}"})

    def beyond(self, names: Iterable[dns.name.Name], moment: datetime) -> dict[dns.name.Name, Zone]:
        """Give what is known of some names and those above them for longer than until a moment."""
        above = (above for name in names for above in upwards(name))
        return {name: self.known[name] for name in above if self._is_known(name, moment)}

    def _is_known(self, name: dns.name.Name, moment: datetime) -> bool:
        zone = self.known.get(name)
        return zone is not None and zone.expires > moment

    def keep(self, zones: Mapping[dns.name.Name, Zone]) -> None:
        """Keep what was proven of zones, apart from what is kept already."""
        for name, zone in zones.items():
            if self.known.get(name) is not zone:
                self.known[name] = zone

    async def share(self) -> None:
        """Share the keys that were proven since the last time."""
        fresh, self.known.fresh = self.known.fresh, []
        if self._shared is None:
            return
        try:
            for zone in fresh:
                await self._shared.put(self._binding, written(zone))
        except Exception as error:  # noqa: BLE001 - see above
            self._tell("resolver.cache", {"text": f"keys of zones cannot be shared: {error!r}"})

    async def forget(self) -> None:
        """Forget all zones, for other processes, too."""
        self.known.clear()
        self.known.fresh.clear()
        if self._shared is None:
            return
        try:
            await self._shared.clear()
        except Exception as error:  # noqa: BLE001 - see above
            self._tell("resolver.cache", {"text": f"shared keys of zones cannot be cleared: {error!r}"})


def binding(anchors: Anchors, rules: Rules) -> str:
    """Give a name to all that a proof rests on beside records: trust anchors, negative ones, rules."""
    lines = [f"form {_FORM}"]
    lines += sorted(
        f"anchor {text_of(zone)} {rdata.to_text()}"
        for zone, anchor in anchors.zones.items()
        for rdata in (*anchor.ds, *anchor.keys)
    )
    lines += sorted(f"negative {text_of(name)} {until.isoformat()}" for name, until in anchors.negative.items())
    for one in fields(rules):
        value = getattr(rules, one.name)
        lines.append(f"rule {one.name} {sorted(value) if isinstance(value, frozenset) else value}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def written(zone: Zone) -> ZoneKeys:
    """Write what is to be shared of a secure zone."""
    return ZoneKeys(text_of(zone.name), tuple(key.to_wire() for key in zone.keys), zone.expires, zone.links)


def read(shared: ZoneKeys, rules: Rules, now: datetime) -> Zone:
    """Read a zone. Raises ValueError for what no proof would have left there."""
    if not now < shared.expires <= now + FOREVER + rules.skew:
        raise ValueError(f"the keys of {shared.zone} end at {shared.expires}, which is over or too far away")
    try:
        name = dns.name.from_text(shared.zone)
        keys = Keys(map(_key, shared.keys))
    except dns.exception.DNSException as error:
        raise ValueError(f"the keys of {shared.zone} are no keys: {error!r}") from error
    if not keys or not all(map(serves, keys)):
        raise ValueError(f"the keys of {shared.zone} are none that sign zones")
    if any(link.status is not Status.SECURE for link in shared.links):
        raise ValueError(f"the keys of {shared.zone} were not proven")
    return Zone(name, Status.SECURE, shared.expires, keys, shared.links)


def _key(wire: bytes) -> DNSKEY:
    return cast(DNSKEY, dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.DNSKEY, wire, 0, len(wire)))
