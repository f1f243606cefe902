"""What was seen of our own hosts: their TLSA record sets over time, and what was last told of each domain.

`dp:tlsa:HOST:PORT` holds the sets of a host by `stages.publishing`, `dp:tlsa-told` what the log last said of a domain,
and `dp:tlsa-look` whose turn it is to look, so that of several clocks one does. Raises `StoreUnavailable` and
`StoreFull`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from redis.exceptions import WatchError

from pipeline.store.codec import decode, encode
from pipeline.store.connection import store_errors
from stages.publishing import Published, observe
from stages.records import TLSA

KEPT = timedelta(days=30)  # after the last look, or a TTL if that is longer


@dataclass(frozen=True, slots=True)
class History:
    """The sets of one host, the current one last."""

    sets: tuple[Published, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What was last told of a domain: each host with the code of what was found there (none: all is well), and when."""

    codes: tuple[str, ...]
    at: datetime


class PublishedStore:
    """The history of our own hosts."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._prefix = f"{prefix}tlsa"

    async def observe(
        self, host: str, port: int, records: Sequence[TLSA], ttl: timedelta, now: datetime
    ) -> tuple[Published, ...]:
        """Keep a look at a host, and give all that is known of it now."""
        key = f"{self._prefix}:{host}:{port}"
        with store_errors():
            while True:
                async with self._redis.pipeline() as pipe:
                    await pipe.watch(key)
                    found = await pipe.get(key)
                    before = History() if found is None else decode(History, found)
                    made = History(observe(before.sets, records, ttl, now))
                    pipe.multi()
                    pipe.set(key, encode(History, made), px=max(KEPT, 2 * ttl))
                    try:
                        await pipe.execute()
                    except WatchError:
                        continue  # somebody else looked at the same time
                    return made.sets

    async def claim(self, interval: timedelta) -> bool:
        """Tell whether it is this process's turn to look; then it is nobody else's until the interval is over."""
        with store_errors():
            return bool(await self._redis.set(f"{self._prefix}-look", b"", nx=True, px=interval))

    async def told(self, domain: str) -> Told | None:
        """Give what was last told of a domain."""
        with store_errors():
            found = await self._redis.hget(f"{self._prefix}-told", domain)
        return None if found is None else decode(Told, found)

    async def tell(self, domain: str, told: Told) -> None:
        """Keep what is told of a domain."""
        with store_errors():
            await self._redis.hset(f"{self._prefix}-told", domain, encode(Told, told))
