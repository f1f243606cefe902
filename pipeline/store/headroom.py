"""How full Redis is: the messages in the ledger, and the memory in use beside what new mail may fill of it.

A Redis that new mail has filled to the brim takes no job and no lease either: nothing would ever leave it again. So a
part of `maxmemory` is kept free for the work on old mail, which needs some too. A Redis without `maxmemory` has no brim
that it could tell of. Raises `StoreUnavailable`.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from pipeline.store.connection import store_errors

SHARE = 10  # one part in ten of maxmemory is kept free
LEAST = 16 << 20  # octets that are kept free at least, or half of a smaller maxmemory: connections need them


@dataclass(frozen=True, slots=True)
class Reading:
    """Messages in the ledger, octets of memory in use, and those that new mail may fill (0: Redis has no bound)."""

    messages: int
    used: int
    bound: int


async def read(redis: Any, prefix: str) -> Reading:
    """Look at Redis, in one round trip."""
    with store_errors():
        memory, messages = await asyncio.gather(redis.info("memory"), redis.zcard(f"{prefix}messages"))
    most = int(memory.get("maxmemory", 0))
    bound = most - max(most // SHARE, min(LEAST, most // 2))
    return Reading(int(messages), int(memory["used_memory"]), bound)
