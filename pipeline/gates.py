"""Gates: what keeps a destination job from a host before it connects, and at what pace mail goes through.

Circuits: an address that could not be reached is left alone for a while by all workers, then tried by one (RFC 5321
section 4.5.4.1). They know of reachability alone: whatever an address showed of TLS to one destination says nothing to
another. Suspensions are an operator's. What stands in Redis is fetched at most once a second; nothing is asked for a
message as long as nothing is suspended, in trouble or limited. Raises `StoreUnavailable` and `StoreFull`.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import monotonic

from pipeline import log
from pipeline.parking import Parking
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.gates import Board, GateStore, Kind, Pauses, Suspension
from stages.destination import Destination
from stages.message import Address
from stages.plan import Plan
from stages.policy import Limits

FRESH = 1.0  # seconds for which the board is believed
HUSHED = timedelta(seconds=60)  # for which a destination that waits is not looked at again by itself
TRIED = timedelta(seconds=2)  # the same while another job knocks at its hosts


def site_of(plan: Plan) -> str:
    """Name the site of a plan: the first by name of its best hosts, so that whoever shares them shares the site."""
    best = min((host.preference for host in plan.hosts), default=0)
    return min((host.name for host in plan.hosts if host.preference == best), default=plan.destination.name)


@dataclass(frozen=True, slots=True)
class Setting:
    """What gates go by. `patience`: how long a try of an address may take, to its greeting."""

    pauses: Pauses = field(default_factory=Pauses)
    patience: timedelta = timedelta(minutes=6)
    lease: timedelta = timedelta(seconds=60)


class Gates:
    """What one process knows of them."""

    def __init__(
        self, store: GateStore, setting: Setting, now: Callable[[], datetime], chance: Callable[[], float],
        hush: Callable[[str, timedelta], Awaitable[None]], parking: Parking | None = None,
    ) -> None:  # fmt: skip
        self.store = store
        self.setting = setting
        self.chance = chance
        self.parking = parking
        self.standing: Counter[str] = Counter()  # sessions of this process at each address
        self.now = now
        self._hush = hush
        self._board = Board((), frozenset())
        self._read = 0.0

    async def look(self, *, afresh: bool = False) -> Board:
        """Give what is suspended and in trouble, at most a second old."""
        before, now = self._read, monotonic()
        if afresh or not before or now - before > FRESH:
            if before:
                self._read = now  # meanwhile the others go by what was read before
            try:
                self._board, self._read = await self.store.board(), now
            except BaseException:
                self._read = before
                raise
        return self._board

    def troubled(self, name: str) -> bool:
        """Tell whether an address may be in trouble, by what is known here."""
        return self._board.doors is None or name in self._board.doors

    def note(self, name: str) -> None:
        """Remember that an address is in trouble before the board says so."""
        if self._board.doors is not None:
            self._board = replace(self._board, doors=self._board.doors | {name})

    def parked(self, key: str) -> bool:
        """Tell whether a destination may be parked for its certificates, by what is known here."""
        return self._board.parked is None or key in self._board.parked

    def note_parked(self, key: str, *, parked: bool) -> None:
        """Remember that a destination is parked, or is no more, before the board says so."""
        if self._board.parked is not None:
            known = self._board.parked - {key}
            self._board = replace(self._board, parked=known | {key} if parked else known)

    # Suspensions

    async def halted(self, key: str, plan: Plan | None = None) -> bool:
        """Tell whether a destination is suspended, or a best host of its plan. If so, it is left alone for a while."""
        if self._halting(await self.look(), key, plan) is None:
            return False
        suspension = self._halting(await self.look(afresh=True), key, plan)  # what was resumed counts at once
        if suspension is None:
            return False
        await self.store.wait(suspension, key)
        wait = HUSHED if suspension.expires is None else min(HUSHED, suspension.expires - self.now())
        await self._hush(f"to:{key}", max(wait, timedelta(seconds=1)))
        return True

    def _halting(self, board: Board, key: str, plan: Plan | None) -> Suspension | None:
        now = self.now()
        for one in board.suspensions:
            if one.is_live(now) and (
                (one.kind is Kind.DESTINATION and one.names_host(Destination.parse(key).name))
                or (one.kind is Kind.SITE and plan is not None and _sits_at(plan, one))
            ):
                return one
        return None

    def sender(self, sender: Address | None) -> Suspension | None:
        """Find the suspension of a sender, by the board as it was last seen."""
        now = self.now()
        for one in self._board.suspensions:
            if one.kind is Kind.SENDER and one.is_live(now) and one.names_sender(sender):
                return one
        return None

    async def confirmed(self, sender: Address | None) -> Suspension | None:
        """Find the suspension of a sender as it stands now, before mail is put aside for it."""
        await self.look(afresh=True)
        suspension = self.sender(sender)
        if suspension is not None:
            await self.store.keep(suspension)
        return suspension

    # Ways to hosts

    async def hush(self, key: str, duration: timedelta) -> None:
        """Leave a destination alone for a while."""
        await self._hush(f"to:{key}", duration)

    @asynccontextmanager
    async def seated(
        self, plan: Plan, token: str, limits: Limits, nudge: Callable[[Sequence[str]], Awaitable[None]]
    ) -> AsyncIterator[bool]:
        """Hold one of the connections that the site of a plan may have; gives False where all are taken.

        `nudge` is told of the destinations that may have the connection when it is given back.
        """
        limit, site, lease = limits.site_connections, site_of(plan), self.setting.lease
        if limit is None:
            yield True
            return
        if not await self.store.seat(site, token, plan.destination.key, limit, lease):
            yield False
            return

        async def prolong() -> None:
            while True:
                await asyncio.sleep(lease.total_seconds() / 3)
                try:
                    await self.store.stay(site, token, lease)
                except (StoreFull, StoreUnavailable) as error:  # it may still be ours when Redis is back
                    log.emit("redis.unavailable", level="error", text=str(error))

        task = asyncio.create_task(prolong())
        try:
            yield True
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if waiting := await self.store.unseat(site, token, limit):
                await nudge(waiting)


def _sits_at(plan: Plan, suspension: Suspension) -> bool:
    best = min((host.preference for host in plan.hosts), default=0)
    return any(suspension.names_host(host.name) for host in plan.hosts if host.preference == best)
