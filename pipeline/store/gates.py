"""What all workers share about reaching hosts: circuits, connections by site, allowances, and what is suspended.

A circuit is what is known of an address that could not be reached, and tells nothing of what a policy asks for there.
Every change is one Lua script, by the clock of Redis. Raises `StoreUnavailable` and `StoreFull`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.store.codec import decode, encode
from pipeline.store.connection import run_script, store_errors
from stages.message import Address
from stages.pattern import Pattern

_LUA = Path(__file__).parent / "lua"
_pattern = lru_cache(Pattern.parse)
REMEMBERED = 60.0  # seconds after mail was last put aside for it that an ended suspension is looked after
MOST = 1000  # addresses in trouble that a process keeps in mind; beyond that it asks about each


class Kind(StrEnum):
    """What is suspended: mail to a destination by its name, to a site by the name of a best host, or of a sender."""

    DESTINATION = "destination"
    SITE = "site"
    SENDER = "sender"


@dataclass(frozen=True, slots=True)
class Suspension:
    """Mail that waits in place until an operator resumes it. `name`: host name, *.name, or a pattern of senders."""

    kind: Kind
    name: str
    reason: str = ""
    owner: str = ""
    added: datetime | None = None
    expires: datetime | None = None

    @property
    def id(self) -> str:
        """Give the name by which it is kept."""
        return f"{self.kind}:{self.name}"

    @property
    def list(self) -> str:
        """Give the list, among those of the ledger, in which mail of a suspended sender waits."""
        return f"suspended:{self.id}"

    def is_live(self, now: datetime) -> bool:
        """Tell whether it still counts."""
        return self.expires is None or now < self.expires

    def names_host(self, name: str) -> bool:
        """Tell whether a destination or host of this name is meant."""
        return name.endswith(self.name[1:]) if self.name.startswith("*.") else name == self.name

    def names_sender(self, sender: Address | None) -> bool:
        """Tell whether mail of this sender is meant; "<>" is the null sender."""
        if sender is None or self.name == "<>":
            return sender is None and self.name == "<>"
        return _pattern(self.name).matches(sender)


@dataclass(frozen=True, slots=True)
class Pauses:
    """How circuits open: the first pause, which doubles up to the longest, and how many refusals in a row it takes."""

    first: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(minutes=30)
    jitter: float = 0.1
    refusals: int = 3


@dataclass(frozen=True, slots=True)
class Shut:
    """An address in an open circuit. `tried`: somebody knocks right now, and `until` is when that must be over."""

    since: datetime
    until: datetime
    trouble: str
    text: str
    tried: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """A circuit that was opened, for the first time or anew (`pauses` of them so far)."""

    since: datetime
    until: datetime
    pauses: int


@dataclass(frozen=True, slots=True)
class Board:
    """What a worker looks at before it asks: what is suspended, and what is in trouble (None: many).

    `doors` are addresses, `parked` destinations whose certificates did not match.
    """

    suspensions: tuple[Suspension, ...]
    doors: frozenset[str] | None
    parked: frozenset[str] | None = frozenset()


class GateStore:
    """Circuits, seats, allowances and suspensions in Redis."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._prefix = prefix
        shared = (_LUA / "places.lua").read_bytes()
        self._scripts = {
            path.stem: redis.register_script(shared + path.read_bytes()) for path in (_LUA / "gates").glob("*.lua")
        }

    async def _run(self, script: str, *args: object) -> Any:
        return await run_script(self._redis, self._scripts[script], self._prefix, *args)

    async def board(self) -> Board:
        """Fetch what is suspended and which addresses are in trouble."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hgetall(f"{self._prefix}suspensions")
                pipe.zrange(f"{self._prefix}circuits", 0, MOST)
                pipe.zrange(f"{self._prefix}mismatches", 0, MOST)
                rows, doors, parked = await pipe.execute()
        return Board(_suspensions(rows), _few(doors), _few(parked))

    # Circuits

    async def knock(self, door: str, token: str, lease: timedelta, pauses: Pauses) -> Shut | bool:
        """Ask whether to knock: True as the probe of an open circuit, False where none is open, else why not."""
        answer, *more = await self._run("knock", door, token, _ms(lease), _ms(pauses.longest))
        if not more:
            return bool(answer == b"probe")
        since, until, trouble, text = more
        return Shut(_moment(since), _moment(until), trouble.decode(), text.decode(), tried=answer == b"tried")

    async def failed(
        self, door: str, token: str, pauses: Pauses, needed: int, trouble: str, text: str, *, chance: float
    ) -> Opened | None:
        """Note a failure; returns the circuit if that opened it."""
        factor = 1 + pauses.jitter * (2 * chance - 1)
        first, longest = _ms(pauses.first), _ms(pauses.longest)
        opened, *more = await self._run("fail", door, token, first, longest, factor, needed, trouble, text)
        return Opened(_moment(more[0]), _moment(more[1]), int(more[2])) if opened else None

    async def mended(self, door: str) -> datetime | None:
        """Close the circuit of an address; tells since when it was open, if it was."""
        since = await self._run("mend", door)
        return _moment(since) if since else None

    async def shut(self, doors: Sequence[str]) -> list[Shut | None]:
        """Look which of some addresses are left alone now, without asking to knock."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for door in doors:
                    pipe.hmget(f"{self._prefix}circuit:{door}", "since", "until", "trouble", "text")
                rows = await pipe.execute()
        return [
            None
            if until is None
            else Shut(_moment(since), _moment(until), trouble.decode(), text.decode(), tried=False)
            for since, until, trouble, text in rows
        ]

    async def ease(self) -> int:
        """Let the pauses of all open circuits be over, so that the next delivery to each address is its probe.

        No destination is left alone for its certificates any longer.
        """
        return int(await self._run("ease"))

    # Connections by site, and allowances

    async def seat(self, site: str, token: str, destination: str, limit: int, lease: timedelta) -> bool:
        """Take one of the connections of a site; who gets none is told of by `unseat` when one is free."""
        return bool(await self._run("seat", site, token, destination, limit, _ms(lease)))

    async def stay(self, site: str, token: str, lease: timedelta) -> None:
        """Prolong a seat that is still ours."""
        await self._run("stay", site, token, _ms(lease))

    async def unseat(self, site: str, token: str, limit: int) -> list[str]:
        """Give a connection of a site back; returns the destinations that may have one now."""
        return [name.decode() for name in await self._run("unseat", site, token, limit)]

    async def draw(self, destination: str, wanted: int, rate: float, longest: timedelta) -> tuple[int, timedelta]:
        """Draw messages from the allowance of a destination (a negative number gives some back).

        Returns how many may go, and after which wait; none where that would be longer than `longest`.
        """
        burst = max(1, int(rate))
        drawn, wait = await self._run("draw", destination, wanted, 1000 / rate, burst, _ms(longest))
        return int(drawn), timedelta(milliseconds=int(wait))

    # Suspensions

    async def suspend(self, suspension: Suspension) -> bool:
        """Keep a suspension; returns False if it replaced one."""
        with store_errors():
            kept = encode(Suspension, suspension)
            return bool(await self._redis.hset(f"{self._prefix}suspensions", suspension.id, kept))

    async def lift(self, suspension: Suspension) -> bool:
        """End a suspension; what waits for it is found by `waiting` and `let_go`. Returns False if there was none."""
        with store_errors():
            return bool(await self._redis.hdel(f"{self._prefix}suspensions", suspension.id))

    async def wait(self, suspension: Suspension, destination: str) -> None:
        """Note that a destination waits for the end of a suspension."""
        with store_errors():
            await self._redis.sadd(f"{self._prefix}waits:{suspension.id}", destination)

    async def keep(self, suspension: Suspension) -> None:
        """Note that mail is about to be put aside for a suspension, so that `forgotten` finds it whatever happens."""
        with store_errors():
            await self._redis.zadd(f"{self._prefix}suspended", {suspension.id: time.time()})

    async def forgotten(self, now: datetime) -> list[Suspension]:
        """Give the suspensions that are over, or ended while mail was put aside for them; their mail is to go on."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hgetall(f"{self._prefix}suspensions")
                pipe.zrange(f"{self._prefix}suspended", 0, -1)
                pipe.zremrangebyscore(f"{self._prefix}suspended", "-inf", time.time() - REMEMBERED)
                rows, kept, _ = await pipe.execute()
        known = {one.id: one for one in _suspensions(rows)}
        ended = {one.id: one for one in known.values() if not one.is_live(now)}
        for name in kept:
            kind, _, rest = name.decode().partition(":")
            if name.decode() not in known:
                ended[name.decode()] = Suspension(Kind(kind), rest)
        return list(ended.values())

    async def waiting(self, suspension: Suspension) -> tuple[str, ...]:
        """List the destinations that were found to wait for the end of a suspension."""
        with store_errors():
            return tuple(
                sorted(one.decode() for one in await self._redis.smembers(f"{self._prefix}waits:{suspension.id}"))
            )

    async def counts(self, suspension: Suspension) -> int:
        """Count the groups that wait for the end of a suspension."""
        destinations = await self.waiting(suspension)
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.llen(f"{self._prefix}{suspension.list}")
                for destination in destinations:
                    pipe.llen(f"{self._prefix}ready:{destination}")
                return sum(await pipe.execute())

    async def let_go(self, suspension: Suspension, first: str) -> list[str]:
        """Let what waited for a suspension go on; returns the nudges to send (`first`: the first stage)."""
        destinations = await self.waiting(suspension)
        with store_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(f"{self._prefix}waits:{suspension.id}")
                for destination in destinations:
                    pipe.delete(f"{self._prefix}nudge:to:{destination}")
                await pipe.execute()
        nudges = [f"to:{destination}" for destination in destinations]
        moved, nudge = 1, 0
        while moved:
            moved, wanted = await self._run("resume", suspension.list, 500, first)
            nudge = nudge or wanted
        return [first, *nudges] if nudge else nudges


def _few(names: list[bytes]) -> frozenset[str] | None:
    return frozenset(name.decode() for name in names) if len(names) <= MOST else None


def _suspensions(rows: dict[bytes, bytes]) -> tuple[Suspension, ...]:
    return tuple(decode(Suspension, rows[name]) for name in sorted(rows))


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)


def _moment(milliseconds: int | bytes) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, tz=UTC)
