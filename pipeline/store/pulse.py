"""What happens now, summed over all processes: counts of the last hour, and of each destination that mail went to.

`dp:pulse:<slot>` holds the counts of ten seconds and lasts an hour. `dp:pulse:to:<destination>` holds a ring of ten
minutes, the last security and the last trouble; it lasts for a day after mail last went there, and there are `MOST` of
them, listed in the sorted set `dp:pulse:seen` by when that was. `dp:pulse:alert:<kind>` says what is amiss in some
process, as long as one repeats it. Nothing rests on any of this: it is there to be shown.
Slots and minutes go by the clocks of those who count. Raises `StoreUnavailable` and `StoreFull`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson
from redis.exceptions import NoScriptError

from pipeline.store.connection import store_errors

SLOT = 10  # seconds that are counted together
KEPT = timedelta(hours=1)  # for which slots are kept
RING = 10  # minutes that are kept of a destination
RATED = 5  # of these, the last ones that a rate is taken from
REMEMBERED = timedelta(days=1)  # for which a destination is kept after its last mail
MOST = 20_000  # destinations: 20 MB if mail went to all of them in each of the last minutes
DELIVERED = ("dane", "dane-host-only", "verify", "encrypt", "opportunistic", "clear", "other")
COUNTED = (*DELIVERED, "deferred", "failed")  # of a destination, in the order in which a ring holds them
ALERTS = ("resolver", "pressure")
STANDS = 15  # seconds for which an alert stands that nobody repeats
_SCRIPT = Path(__file__).parent / "lua" / "pulse" / "add.lua"
_AT_ONCE = 100  # destinations of one script, so that nobody waits for it


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why mail to a destination was put off or failed last: the code and text of the verdict, the host, and when."""

    code: str
    text: str
    host: str
    at: datetime


@dataclass(slots=True)
class Beat:
    """What one process has counted of a destination since it last told: numbers of recipients, as in `COUNTED`.

    `door`: the address that could not be reached, as circuits name it.
    """

    counts: list[int] = field(default_factory=lambda: [0] * len(COUNTED))
    security: str = ""
    trouble: Trouble | None = None
    door: str = ""


@dataclass(frozen=True, slots=True)
class Slot:
    """What happened in the `SLOT` seconds from `at`: recipients by word, and messages under "accepted"."""

    at: datetime
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Pulse:
    """What is known of a destination. `minutes`: the counts of each minute of the ring that has some, oldest first."""

    destination: str
    seen: datetime | None = None
    minutes: tuple[tuple[datetime, Mapping[str, int]], ...] = ()
    security: str = ""
    trouble: Trouble | None = None
    door: str = ""

    def rate(self, now: datetime, words: Iterable[str] = DELIVERED) -> float:
        """Give recipients a minute, over the last minutes up to now."""
        wanted = frozenset(words)
        first = now.replace(second=0, microsecond=0) - timedelta(minutes=RATED - 1)
        total = sum(
            sum(n for word, n in counts.items() if word in wanted) for at, counts in self.minutes if at >= first
        )
        return total / max((now - first) / timedelta(minutes=1), 1.0)


class PulseStore:
    """The sums in Redis."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._prefix = f"{prefix}pulse:"
        self._root = prefix
        self._script = redis.register_script(_SCRIPT.read_bytes())

    async def add(
        self, slots: Mapping[int, Mapping[str, int]], beats: Mapping[str, Beat], now: datetime,
        alerts: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """Add what one process has counted, in one trip; slots are numbered by their start over `SLOT`.

        `alerts`: what is amiss in that process, by kind; it stands until nobody has said so for a while.
        """
        with store_errors():
            try:
                await self._add(slots, beats, now, alerts, by_name=True)
            except NoScriptError:  # nothing was added to any destination, and all slots were: see there
                await self._add({}, beats, now, {}, by_name=False)

    async def _add(
        self, slots: Mapping[int, Mapping[str, int]], beats: Mapping[str, Beat], now: datetime,
        alerts: Mapping[str, str], *, by_name: bool,
    ) -> None:  # fmt: skip
        async with self._redis.pipeline(transaction=False) as pipe:
            for kind, text in alerts.items():
                pipe.set(f"{self._prefix}alert:{kind}", text, ex=STANDS)
            for slot, counts in slots.items():
                for word, number in counts.items():
                    pipe.hincrby(f"{self._prefix}{slot}", word, number)
                pipe.expire(f"{self._prefix}{slot}", KEPT + timedelta(minutes=1))
            moment = int(now.timestamp())
            head = (self._root, moment, moment // 60, RING, int(REMEMBERED.total_seconds()), MOST)
            how = ("EVALSHA", self._script.sha) if by_name else ("EVAL", self._script.script)
            rows = [(key, *_written(beat)) for key, beat in beats.items()]
            for first in range(0, len(rows), _AT_ONCE):
                some = rows[first : first + _AT_ONCE]
                pipe.execute_command(*how, 0, *head, *(value for row in some for value in row))
            await pipe.execute()

    async def totals(self, since: datetime, until: datetime) -> list[Slot]:
        """Give the slots of a period, at most those of the last hour, oldest first; those without mail are empty."""
        last = int(until.timestamp()) // SLOT
        first = max(int(since.timestamp()) // SLOT, last - int(KEPT.total_seconds()) // SLOT)
        numbers = range(first, last + 1)
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for number in numbers:
                    pipe.hgetall(f"{self._prefix}{number}")
                rows = await pipe.execute()
        return [
            Slot(datetime.fromtimestamp(number * SLOT, UTC), {word.decode(): int(n) for word, n in row.items()})
            for number, row in zip(numbers, rows, strict=True)
        ]

    async def alerts(self) -> dict[str, str]:
        """Tell what is amiss in some process now, by kind, in the words of the last one that said so."""
        with store_errors():
            texts = await self._redis.mget([f"{self._prefix}alert:{kind}" for kind in ALERTS])
        return {kind: text.decode() for kind, text in zip(ALERTS, texts, strict=True) if text is not None}

    async def destinations(self, start: int = 0, limit: int = 100) -> list[str]:
        """Name destinations, those that mail went to last first, from a place in that order on."""
        with store_errors():
            names = await self._redis.zrevrange(f"{self._prefix}seen", start, start + limit - 1)
        return [name.decode() for name in names]

    async def of(self, destinations: Sequence[str]) -> list[Pulse]:
        """Give what is known of some destinations, in one trip; little of those that mail did not go to for long."""
        if not destinations:
            return []
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zmscore(f"{self._prefix}seen", destinations)
                for one in destinations:
                    pipe.hgetall(f"{self._prefix}to:{one}")
                seen, *rows = await pipe.execute()
        return [_read(name, at, row) for name, at, row in zip(destinations, seen, rows, strict=True)]


def _written(beat: Beat) -> tuple[str, str, bytes, str]:
    trouble = beat.trouble
    text = b"" if trouble is None else orjson.dumps([trouble.code, trouble.text, trouble.host, trouble.at.timestamp()])
    return " ".join(map(str, beat.counts)), beat.security, text, beat.door


def _read(destination: str, seen: float | None, row: Mapping[bytes, bytes]) -> Pulse:
    minutes = []
    for name, value in row.items():
        if name[:1] == b"m":
            minute, *counts = map(int, value.split())
            known = {word: n for word, n in zip(COUNTED, counts, strict=False) if n}  # another version has others
            minutes.append((datetime.fromtimestamp(minute * 60, UTC), known))
    trouble = None
    if row.get(b"trouble"):
        code, text, host, at = orjson.loads(row[b"trouble"])
        trouble = Trouble(code, text, host, datetime.fromtimestamp(at, UTC))
    return Pulse(
        destination,
        None if seen is None else datetime.fromtimestamp(seen, UTC),
        tuple(sorted(minutes, key=lambda one: one[0])),
        row.get(b"security", b"").decode(),
        trouble,
        row.get(b"door", b"").decode(),
    )
