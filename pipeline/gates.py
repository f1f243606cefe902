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

from delivery.courier import Door, doors_of
from pipeline import log
from pipeline.parking import Parking
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.gates import Board, GateStore, Kind, Pauses, Shut, Suspension
from stages.attempt import HostAttempt
from stages.destination import Destination
from stages.message import Address
from stages.plan import Plan, Trouble
from stages.policy import Limits

LONGEST = timedelta(seconds=30)  # for which a connection waits for its allowance
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
        if afresh or not self._read or monotonic() - self._read > FRESH:
            self._board, self._read = await self.store.board(), monotonic()
        return self._board

    def troubled(self, name: str) -> bool:
        """Tell whether an address may be in trouble, by what is known here."""
        return self._board.doors is None or name in self._board.doors

    def note(self, name: str) -> None:
        """Remember that an address is in trouble before the board says so."""
        if self._board.doors is not None:
            self._board = replace(self._board, doors=self._board.doors | {name})

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

    def walk(self, token: str) -> "Walk":
        """Begin the walk of one job along the hosts of a plan."""
        return Walk(self, token)

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


class Walk:
    """The lookout of one job: whom it may knock at, and what it hears. While connecting, it holds no place for jobs."""

    def __init__(self, gates: Gates, token: str) -> None:
        self._gates = gates
        self._token = token
        self._let: set[str] = set()  # asked for already, and may be knocked at
        self._out = False

    async def barred_all(self, plan: Plan) -> tuple[HostAttempt, ...] | None:
        """Give what stands for tries at all addresses of a plan if none may be knocked at; None if one may.

        Where somebody knocks at one of them right now, the tuple is empty: soon there will be more to say.
        """
        if not self._gates.setting.pauses.first:
            return None
        await self._gates.look()
        shut: list[HostAttempt] = []
        tried = False
        for door in doors_of(plan):
            answer = await self._ask(door)
            if answer is None:
                self._let.add(_name(door))
                return None
            tried = tried or answer.tried
            shut.append(_instead(door, answer))
        return () if tried else tuple(shut) or None

    async def barred(self, door: Door) -> HostAttempt | None:
        """Give what stands for a try at an address in an open circuit; None to knock."""
        if _name(door) in self._let:
            self._let.discard(_name(door))
        elif (answer := await self._ask(door)) is not None:
            return _instead(door, answer)
        self._out = self._gates.parking is not None and self._gates.parking.step_out()
        return None

    def end(self) -> None:
        """Have a place for jobs again, however the connecting ended."""
        if self._out and self._gates.parking is not None:
            self._gates.parking.step_in()
        self._out = False

    async def _ask(self, door: Door) -> Shut | None:
        gates, name = self._gates, _name(door)
        if not gates.setting.pauses.first or not gates.troubled(name):
            return None
        answer = await gates.store.knock(name, self._token, gates.setting.patience, gates.setting.pauses)
        return answer if isinstance(answer, Shut) else None

    async def knocked(self, door: Door, attempt: HostAttempt) -> None:
        """Open the circuit of an address that could not be reached, and close that of one that could.

        A host that turns us away while others of our sessions stand there has enough of us, and is not down.
        """
        self.end()
        gates, name = self._gates, _name(door)
        if attempt.trouble is None:
            gates.standing[name] += 1
        busy = attempt.reply is not None and gates.standing[name] > 0
        if not gates.setting.pauses.first or attempt.reached is None:
            return
        if attempt.reached or busy:
            if gates.troubled(name) and (since := await gates.store.mended(name)) is not None:
                log.emit("circuit.closed", host=door.host, address=door.address, port=door.port, since=since)
            return
        pauses = gates.setting.pauses
        needed = 1 if attempt.reply is None else pauses.refusals
        opened = await gates.store.failed(
            name, self._token, pauses, needed, str(attempt.trouble), attempt.text, chance=gates.chance()
        )
        gates.note(name)
        if opened is not None:
            log.emit(
                "circuit.opened", level="warning", host=door.host, address=door.address, port=door.port,
                since=opened.since, until=opened.until, pauses=opened.pauses, code=str(attempt.trouble),
                text=attempt.text,
            )  # fmt: skip

    def left(self, door: Door) -> None:
        """Forget a session that is over."""
        name = _name(door)
        self._gates.standing[name] -= 1
        if self._gates.standing[name] <= 0:
            del self._gates.standing[name]


class Pace:
    """The allowance of one job at a destination: how many messages may go, and when. `over`: it had to give up."""

    def __init__(self, gates: Gates | None, key: str, rate: float | None) -> None:
        self._gates = gates
        self._key = key
        self._rate = rate
        self._left = 0
        self.over = False

    async def go(self, wanted: int, until: datetime | None) -> bool:
        """Wait until a message may go; False if that is not to be waited for. Asks for `wanted` of them at a time."""
        if self._rate is None or self._gates is None:
            return True
        if not self._left:
            longest = LONGEST if until is None else min(LONGEST, until - self._gates.now())
            drawn, wait = await self._gates.store.draw(self._key, wanted, self._rate, max(longest, timedelta(0)))
            if not drawn:
                self.over = True
                await self._gates.hush(self._key, min(wait, HUSHED))
                return False
            self._left = drawn
            if wait and self._gates.parking is not None:
                await self._gates.parking.pause(wait.total_seconds())
            elif wait:
                await asyncio.sleep(wait.total_seconds())
        self._left -= 1
        return True

    async def end(self) -> None:
        """Give back what was not used."""
        if self._left and self._rate is not None and self._gates is not None:
            await self._gates.store.draw(self._key, -self._left, self._rate, timedelta(0))


def _name(door: Door) -> str:
    return f"{door.address}|{door.port}"


def _sits_at(plan: Plan, suspension: Suspension) -> bool:
    best = min((host.preference for host in plan.hosts), default=0)
    return any(suspension.names_host(host.name) for host in plan.hosts if host.preference == best)


def _instead(door: Door, shut: Shut) -> HostAttempt:
    """Give what stands for a try: the trouble that the address was in when it was last tried."""
    later = "and is being tried now" if shut.tried else f"next try at {shut.until:%Y-%m-%d %H:%M:%S} UTC"
    text = f"known to be down since {shut.since:%Y-%m-%d %H:%M:%S} UTC, {later}: {shut.text}"
    return HostAttempt(door.host, door.address, door.port, door.demand.kind, Trouble(shut.trouble), text)
