"""What the last self-test of each worker said of its resolvers, for whoever asks: nothing rests on it.

`dp:selftests` holds the outcome of each worker by its host and process. A worker that ends takes its own away; that of
one that was killed counts no longer after `KEPT`, and is removed by the next that tells. Raises `StoreUnavailable` and
`StoreFull`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipeline.store.codec import CodecError, decode, encode
from pipeline.store.connection import store_errors

KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a self-test found at one resolver: whether its answers count, by which source, and each canary."""

    resolver: str
    source: str
    passed: bool
    text: str
    canaries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SelfTest:
    """The last self-test of one worker, when it ended, and why mail that DANE concerns waits (empty: it does not)."""

    worker: str
    at: datetime
    suspended: str
    verdicts: tuple[Verdict, ...]


class SelfTestStore:
    """The last self-tests of all workers."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._key = f"{prefix}selftests"

    async def tell(self, test: SelfTest) -> None:
        """Keep the outcome of a worker in place of its last one, and forget workers that are gone."""
        gone = [one.worker for one in await self._all() if test.at - one.at > KEPT]
        with store_errors():
            await self._redis.hset(self._key, test.worker, encode(SelfTest, test))
            if gone:
                await self._redis.hdel(self._key, *gone)

    async def forget(self, worker: str) -> None:
        """Take the outcome of a worker away, which ends."""
        with store_errors():
            await self._redis.hdel(self._key, worker)

    async def entries(self, now: datetime) -> tuple[SelfTest, ...]:
        """List the outcomes in the order of the workers."""
        return tuple(sorted((one for one in await self._all() if now - one.at <= KEPT), key=lambda one: one.worker))

    async def _all(self) -> Sequence[SelfTest]:
        with store_errors():
            rows = await self._redis.hvals(self._key)
        found = []
        for row in rows:
            try:
                found.append(decode(SelfTest, row))
            except CodecError:  # of another version: that worker tells again soon, or is gone
                continue
        return found
