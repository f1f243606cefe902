"""Keep a part of Redis' memory free of new mail, so that the work on old mail, which needs some too, can go on.

A Redis that new mail has filled to the brim takes no job and no lease either: nothing would ever leave it again. So
the door closes earlier, with `StoreFull`, and opens again as mail is settled. A Redis without `maxmemory` has no brim
that it could tell of.
"""

import time
from collections.abc import Callable
from typing import Any

from pipeline.store.connection import StoreFull, store_errors

SHARE = 10  # one part in ten of maxmemory is kept free
LEAST = 16 << 20  # octets that are kept free at least, or half of a smaller maxmemory: connections need them
AGE = 0.25  # seconds for which a reading counts


class Headroom:
    """The door's look at the memory of Redis, of one process."""

    def __init__(self, redis: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock = clock
        self._read = float("-inf")
        self._used = 0
        self._bound = 0

    async def take(self, size: int) -> None:
        """Ask for room for so many octets of new mail. Raises `StoreFull`, `StoreUnavailable`."""
        if self._clock() - self._read >= AGE:
            with store_errors():
                memory = await self._redis.info("memory")
            self._read = self._clock()
            self._used = int(memory["used_memory"])
            most = int(memory.get("maxmemory", 0))
            self._bound = most - max(most // SHARE, min(LEAST, most // 2))
        if self._bound and self._used + size > self._bound:
            raise StoreFull(f"{self._used} octets of Redis' memory are in use, and new mail may fill {self._bound}")
        self._used += size
