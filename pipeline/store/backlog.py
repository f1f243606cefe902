"""What waits for each destination: found in pages, so that a queue of a million is looked at without holding up mail.

Mail that is ready to go stands in the list of its destination, and is counted there. Mail that waits for its next try
is in an index that the ledger keeps (`index` in `lua/places.lua`): exact in number, and in the order in which it is
due. Groups are counted: the recipients of one message that go together. Held mail belongs to no destination here, and
mail that another version of the program has put off is in no index until its next try. Raises `StoreUnavailable`.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.store.connection import store_errors

_STEP = 1000  # names that Redis looks at in one turn of a search: well below a millisecond


@dataclass(frozen=True, slots=True)
class Standing:
    """What waits for a destination: groups that are ready, and those put off, with the first of these and its time."""

    destination: str
    ready: int
    deferred: int
    first: str = ""
    next_try: datetime | None = None


class BacklogStore:
    """Reads what the ledger writes."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._prefix = prefix

    async def longest(self, start: int, limit: int) -> list[str]:
        """Name destinations by how much was put off for them, most first, from a place in that order on."""
        with store_errors():
            names = await self._redis.zrevrange(f"{self._prefix}deferred", start, start + limit - 1)
        return [name.decode() for name in names]

    async def ready(self, cursor: int = 0, count: int = 200) -> tuple[int, list[str]]:
        """Name some of the destinations with mail that is ready to go; the cursor is 0 again after the last."""
        with store_errors():
            cursor, names = await self._redis.sscan(f"{self._prefix}destinations", cursor, count=count)
        return int(cursor), [name.decode() for name in names]

    async def busiest(self, names: Sequence[str], limit: int) -> list[str]:
        """Of some destinations, name those with the most mail that is ready, and none without."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.llen(f"{self._prefix}ready:{name}")
                counts = await pipe.execute()
        some = sorted(((n, name) for n, name in zip(counts, names, strict=True) if n), reverse=True)
        return [name for _, name in some[:limit]]

    async def sought(self, text: str) -> AsyncIterator[str]:
        """Find the destinations whose name holds a text, with those that mail went to lately; some come twice."""
        pattern = "*" + "".join(f"\\{one}" if one in "*?[]^\\" else one for one in text) + "*"
        for scan, key in (
            (self._redis.zscan, "deferred"), (self._redis.sscan, "destinations"), (self._redis.zscan, "pulse:seen"),
        ):  # fmt: skip
            cursor = 0
            while True:
                with store_errors():
                    cursor, found = await scan(f"{self._prefix}{key}", cursor, match=pattern, count=_STEP)
                for one in found:
                    yield (one[0] if isinstance(one, tuple) else one).decode()
                if not cursor:
                    break

    async def of(self, destinations: Sequence[str]) -> list[Standing]:
        """Count what waits for each of some destinations, in one trip."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for name in destinations:
                    pipe.llen(f"{self._prefix}ready:{name}")
                    pipe.zcard(f"{self._prefix}deferred:{name}")
                    pipe.zrange(f"{self._prefix}deferred:{name}", 0, 0, withscores=True)
                flat = await pipe.execute()
        found = []
        for name, ready, deferred, first in zip(destinations, flat[::3], flat[1::3], flat[2::3], strict=True):
            group, at = (first[0][0].decode(), datetime.fromtimestamp(first[0][1] / 1000, UTC)) if first else ("", None)
            found.append(Standing(name, int(ready), int(deferred), group, at))
        return found

    async def waiting(self, destination: str, limit: int = 50, start: int = 0) -> list[str]:
        """Name groups that wait for a destination, from a place on: those that are ready, then those due first."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.llen(f"{self._prefix}ready:{destination}")
                pipe.lrange(f"{self._prefix}ready:{destination}", start, start + limit - 1)
                ready, groups = await pipe.execute()
            if len(groups) < limit:
                first = max(0, start - ready)
                last = first + limit - len(groups) - 1
                groups += await self._redis.zrange(f"{self._prefix}deferred:{destination}", first, last)
        return [group.decode() for group in groups]

    async def all_of(self, destination: str) -> AsyncIterator[list[str]]:
        """Give every group that waits for a destination, some at a time, whatever happens to them meanwhile.

        Those that are ready are noted before the first is given. One that is put off again meanwhile may come twice.
        """
        ready, end = f"{self._prefix}ready:{destination}", -1
        steps: list[list[bytes]] = []
        while True:  # counted from the end, places stay what they are while workers take from the beginning
            with store_errors():
                found = await self._redis.lrange(ready, end - _STEP + 1, end)
            if not found:
                break
            steps.append(found)
            end -= len(found)
        while steps:
            yield [group.decode() for group in steps.pop()]
        cursor = 0
        while True:
            with store_errors():
                cursor, scored = await self._redis.zscan(f"{self._prefix}deferred:{destination}", cursor, count=_STEP)
            yield [group.decode() for group, _ in scored]
            if not cursor:
                return

    async def held(self) -> AsyncIterator[list[str]]:
        """Give every group that an operator or a stage holds, some at a time."""
        cursor = 0
        while True:
            cursor, found = await self.held_from(cursor, _STEP)
            yield found
            if not cursor:
                return

    async def held_from(self, cursor: int, count: int) -> tuple[int, list[str]]:
        """Give some of the groups that are held; the cursor is 0 again after the last."""
        with store_errors():
            cursor, found = await self._redis.hscan(f"{self._prefix}held", cursor, count=count)
        return int(cursor), [group.decode() for group in found]

    async def first_of(self, groups: Sequence[str]) -> list[bytes | None]:
        """Fetch the first recipient of each group, as it is kept; None where it has gone meanwhile."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for group in groups:
                    message, _, numbers = group.partition("/")
                    pipe.hget(f"{self._prefix}msg:{message}", f"r:{numbers.partition(',')[0]}")
                found: list[bytes | None] = await pipe.execute()
        return found

    async def parked(self, destinations: Sequence[str]) -> frozenset[str]:
        """Tell which of some destinations are, or were of late, left alone since their certificates did not match."""
        with store_errors():
            scores = await self._redis.zmscore(f"{self._prefix}mismatches", destinations) if destinations else []
        return frozenset(name for name, score in zip(destinations, scores, strict=True) if score is not None)
