"""The walk of one job to the hosts of a plan: which addresses it may knock at, what it hears, and at what pace it goes.

What all workers know of addresses are circuits (see `pipeline.gates`): an address that could not be reached is left
alone for a while, then tried by one (RFC 5321 section 4.5.4.1). Raises `StoreUnavailable` and `StoreFull`.
"""

import asyncio
from datetime import datetime, timedelta

from delivery.courier import Door, doors_of
from pipeline import log
from pipeline.gates import HUSHED, Gates
from pipeline.store.gates import Shut
from stages.attempt import HostAttempt
from stages.plan import Plan, Trouble

LONGEST = timedelta(seconds=30)  # for which a connection waits for its allowance
BRIEF = timedelta(seconds=10)  # for which a job that has not begun to connect keeps others from trying a host


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
            answer = await self._ask(door, BRIEF)
            if not isinstance(answer, Shut):
                if not answer:
                    self._let.add(_name(door))
                return None
            tried = tried or answer.tried
            shut.append(_instead(door, answer))
        return () if tried else tuple(shut) or None

    async def barred(self, door: Door) -> HostAttempt | None:
        """Give what stands for a try at an address in an open circuit; None to knock."""
        if _name(door) in self._let:
            self._let.discard(_name(door))
        elif isinstance(answer := await self._ask(door, self._gates.setting.patience), Shut):
            return _instead(door, answer)
        self._out = self._gates.parking is not None and self._gates.parking.step_out()
        return None

    def end(self) -> None:
        """Have a place for jobs again, however the connecting ended."""
        if self._out and self._gates.parking is not None:
            self._gates.parking.step_in()
        self._out = False

    async def _ask(self, door: Door, lease: timedelta) -> Shut | bool:
        gates, name = self._gates, _name(door)
        if not gates.setting.pauses.first or not gates.troubled(name):
            return False
        return await gates.store.knock(name, self._token, lease, gates.setting.pauses)

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


def _instead(door: Door, shut: Shut) -> HostAttempt:
    """Give what stands for a try: the trouble that the address was in when it was last tried."""
    later = "and is being tried now" if shut.tried else f"next try at {shut.until:%Y-%m-%d %H:%M:%S} UTC"
    text = f"known to be down since {shut.since:%Y-%m-%d %H:%M:%S} UTC, {later}: {shut.text}"
    return HostAttempt(door.host, door.address, door.port, door.demand.kind, Trouble(shut.trouble), text)
