"""Destinations as an operator sees them: what waits for each, how fast it goes, how safely, and what is in the way.

Joins what the ledger, the gates and the pulse know, a page at a time; a page costs Redis the same however long the
queue is. `page` walks all destinations that there are, `foremost` gives those worth a look now, `sought` those whose
name holds a text, and `detail` all about one. Texts are as others gave them: whoever shows them makes them inert.
Raises `StoreUnavailable`.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from ops.bound import grouped
from ops.hands import describe
from pipeline.hands import Handed
from pipeline.spine import Spine, utc_now
from pipeline.store.backlog import BacklogStore, Standing
from pipeline.store.codec import CodecError, decode
from pipeline.store.gates import Kind, Shut, Suspension
from pipeline.store.pulse import COUNTED, Pulse, PulseStore, Trouble
from pipeline.store.rollover import RolloverStore
from stages.destination import Destination
from stages.message import Recipient
from stages.plan import Plan

SCANNED = 2000  # destinations with mail that is ready, among which the fullest are looked for
_ORDER = ("deferred", "ready", "seen")  # in which `page` walks


class Standstill(StrEnum):
    """What mail to a destination does, or is kept by; the first that holds."""

    SUSPENDED = "suspended"
    PARKED = "parked for DANE"
    CIRCUIT = "circuit open"
    FLOWING = "flowing"
    RETRY = "waiting for retry"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Row:
    """One destination. `rate`: recipients delivered a minute; `troubles` the same, put off or failed.

    `until`: when what keeps the mail is over, if that is known; `next_try`: when the first of what was put off is due.
    """

    destination: str
    name: str
    ready: int
    deferred: int
    rate: float
    troubles: float
    security: str
    state: Standstill
    error: Trouble | None
    next_try: datetime | None
    until: datetime | None
    seen: datetime | None

    @property
    def backlog(self) -> int:
        """Count the groups that wait."""
        return self.ready + self.deferred

    def values(self) -> dict[str, Any]:
        """Give it as plain values, for JSON."""
        error = self.error
        return {
            "destination": self.destination, "name": self.name, "backlog": self.backlog, "ready": self.ready,
            "deferred": self.deferred, "per_minute": round(self.rate, 2),
            "troubles_per_minute": round(self.troubles, 2), "security": self.security, "state": str(self.state),
            "error": None if error is None else {
                "code": error.code, "text": error.text, "host": error.host, "at": _when(error.at),
            },
            "next_try": _when(self.next_try), "until": _when(self.until), "last_seen": _when(self.seen),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Detail:
    """All about one destination: the plan in use if there is one, its addresses in trouble, and mail that waits.

    `waiting` has a row for each group: its first recipient as `queue list` has it, and how many go `together`.
    """

    row: Row
    pulse: Pulse
    suspension: Suspension | None
    plan: Plan | None
    shut: dict[str, Shut]  # by address
    waiting: list[dict[str, Any]]


class Destinations:
    """Looks at what a spine stands on."""

    def __init__(self, spine: Spine) -> None:
        self._spine = spine
        prefix = spine.ledger.prefix
        self._backlog = BacklogStore(spine.redis, prefix=prefix)
        self._pulse = PulseStore(spine.redis, prefix=prefix)
        self._rollover = RolloverStore(spine.redis, prefix=prefix)

    async def page(self, cursor: str = "", limit: int = 100) -> tuple[list[Row], str]:
        """Give some destinations and where to go on; the cursor is empty after the last.

        First come those with mail that was put off, most first, then others with mail that is ready, then those without
        any that mail went to lately. What changes meanwhile may make one come twice, or not at all.
        """
        phase, _, place = (cursor or "deferred 0").partition(" ")
        if phase not in _ORDER or not re.fullmatch("[0-9]{1,18}", place):  # more is no number to Redis
            raise ValueError(f"{cursor!r} is no cursor of a page of destinations")
        start = int(place)
        if phase == "deferred":
            names = await self._backlog.longest(start, limit)
            following = f"deferred {start + limit}" if len(names) == limit else "ready 0"
            return await self.rows(names), following
        if phase == "ready":
            on, found = await self._backlog.ready(start, limit)
            standings = await self._backlog.of(found)
            names = [one.destination for one in standings if one.ready and not one.deferred]
            return await self.rows(names), f"ready {on}" if on else "seen 0"
        found = await self._pulse.destinations(start, limit)
        names = [one.destination for one in await self._backlog.of(found) if not one.ready and not one.deferred]
        return await self.rows(names), f"seen {start + limit}" if len(found) == limit else ""

    async def foremost(self, most: int = 200) -> list[Row]:
        """Give those with the most mail that was put off, with the most that is ready, and those seen last."""
        scanned: list[str] = []
        cursor = 0
        while True:
            cursor, found = await self._backlog.ready(cursor, 500)
            scanned += found
            if not cursor or len(scanned) >= SCANNED:
                break
        names = [
            *await self._backlog.longest(0, most),
            *await self._backlog.busiest(scanned, most),
            *await self._pulse.destinations(0, most),
        ]
        return await self.rows(list(dict.fromkeys(names)))

    async def sought(self, text: str, most: int = 200) -> list[Row]:
        """Give destinations whose name holds a text."""
        names: dict[str, None] = {}
        async for name in self._backlog.sought(text.lower()):
            names[name] = None
            if len(names) == most:
                break
        return await self.rows(list(names))

    async def rows(self, names: Sequence[str]) -> list[Row]:
        """Join what is known of some destinations, in a few trips however many they are."""
        names = [name for name in names if _parsed(name) is not None]
        if not names:
            return []
        now = utc_now()
        standings, pulses, board, marked = await asyncio.gather(
            self._backlog.of(names), self._pulse.of(names), self._spine.gates.board(), self._backlog.parked(names)
        )
        live = [one for one in board.suspensions if one.is_live(now)]
        sites = [(one, frozenset(await self._spine.gates.waiting(one))) for one in live if one.kind is Kind.SITE]
        parked = {
            name: known.until
            for name, known in zip(marked, await asyncio.gather(*map(self._rollover.parked, marked)), strict=True)
            if known is not None and known.until > now
        }
        doors = [pulse.door for pulse in pulses if pulse.door]
        shut = dict(zip(doors, await self._spine.gates.shut(doors), strict=True)) if doors else {}
        told = await self._told(standings, pulses)
        return [
            _joined(standing, pulse, _halt(standing.destination, live, sites), parked, shut.get(pulse.door), told, now)
            for standing, pulse in zip(standings, pulses, strict=True)
        ]

    async def _told(self, standings: Sequence[Standing], pulses: Sequence[Pulse]) -> dict[str, Trouble]:
        """Read why mail waits from the mail itself, where the pulse does not remember it any longer."""
        asked = [one for one, pulse in zip(standings, pulses, strict=True) if one.first and pulse.trouble is None]
        if not asked:
            return {}
        told: dict[str, Trouble] = {}
        for one, row in zip(asked, await self._backlog.first_of([one.first for one in asked]), strict=True):
            try:
                recipient = None if row is None else decode(Recipient, row)
            except CodecError:  # as another version writes it
                continue
            if recipient is not None and recipient.reason is not None and recipient.last_attempt is not None:
                why = recipient.reason
                host = why.remote or str(why.facts.get("host", ""))
                told[one.destination] = Trouble(why.code, why.text[:200], host, recipient.last_attempt)
        return told

    async def detail(self, name: str, limit: int = 50, start: int = 0) -> Detail | None:
        """Give all about one destination, with its mail from a place on; None for a name that can be none."""
        rows = await self.rows([name])
        if not rows:
            return None
        now = utc_now()
        (pulse,) = await self._pulse.of([name])
        board = await self._spine.gates.board()
        live = [one for one in board.suspensions if one.is_live(now)]
        sites = [(one, frozenset(await self._spine.gates.waiting(one))) for one in live if one.kind is Kind.SITE]
        plan = await self._plan(name)
        port = Destination.parse(name).port
        addresses = [] if plan is None else [address for host in plan.hosts for address in host.addresses]
        doors = list(dict.fromkeys([*(f"{address}|{port}" for address in addresses), *filter(None, [pulse.door])]))
        found = zip(doors, await self._spine.gates.shut(doors) if doors else [], strict=True)
        return Detail(
            rows[0], pulse, _halt(name, live, sites), plan,
            {door.rpartition("|")[0]: one for door, one in found if one is not None},
            await self._waiting(name, limit, start),
        )  # fmt: skip

    async def _plan(self, name: str) -> Plan | None:
        """Give the plan in use; None between two of them, as one lasts for a minute at most."""
        stage = self._spine.line.destinations[-1].name
        payload = await self._spine.ledger.handed(stage, name)
        if payload is None:
            return None
        try:
            return decode(Handed, payload).planned.plan
        except CodecError:  # as another version writes it
            return None

    async def _waiting(self, name: str, limit: int, start: int) -> list[dict[str, Any]]:
        waiting = await grouped(self._spine, await self._backlog.waiting(name, limit, start))
        return [{**describe(stored, found[0]), "together": len(found)} for stored, found in waiting if found]


def _parsed(name: str) -> Destination | None:
    try:
        return Destination.parse(name)
    except ValueError:
        return None


def _halt(
    name: str, live: Sequence[Suspension], sites: Sequence[tuple[Suspension, frozenset[str]]]
) -> Suspension | None:
    """Find what suspends a destination."""
    host = Destination.parse(name).name
    for one in live:
        if one.kind is Kind.DESTINATION and one.names_host(host):
            return one
    return next((one for one, waiting in sites if name in waiting), None)


def _joined(
    standing: Standing, pulse: Pulse, halt: Suspension | None, parked: dict[str, datetime], shut: Shut | None,
    told: dict[str, Trouble], now: datetime,
) -> Row:  # fmt: skip
    name = standing.destination
    rate = pulse.rate(now)
    until: datetime | None = None
    if halt is not None:
        state, until = Standstill.SUSPENDED, halt.expires
    elif name in parked:
        state, until = Standstill.PARKED, parked[name]
    elif shut is not None and shut.until > now:
        state, until = Standstill.CIRCUIT, shut.until
    elif standing.ready or rate:
        state = Standstill.FLOWING
    else:
        state = Standstill.RETRY if standing.deferred else Standstill.IDLE
    return Row(
        name, Destination.parse(name).name, standing.ready, standing.deferred, rate,
        pulse.rate(now, COUNTED[-2:]), pulse.security, state, pulse.trouble or told.get(name),
        standing.next_try, until, pulse.seen,
    )  # fmt: skip


def _when(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment is not None else None
