"""How much there is of everything, for the figures that the clock gives: one look, which costs the same however full.

Raises `StoreUnavailable`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.store.connection import store_errors


@dataclass(frozen=True, slots=True)
class Census:
    """Counts, named as their figures. `oldest`: when the oldest message was accepted. A limit of 0 is none."""

    queue_messages: int
    queue_scheduled: int
    queue_held: int
    queue_destinations: int
    circuits_open: int
    destinations_parked: int
    suspensions: int
    exclusions: int
    oldest: datetime | None
    redis_memory_bytes: int
    redis_memory_limit_bytes: int


async def take(redis: Any, prefix: str) -> Census:
    """Look, in one round trip."""
    with store_errors():
        async with redis.pipeline(transaction=False) as pipe:
            pipe.zcard(f"{prefix}messages")
            pipe.zcard(f"{prefix}schedule")
            pipe.hlen(f"{prefix}held")
            pipe.scard(f"{prefix}destinations")
            pipe.zcard(f"{prefix}circuits")
            pipe.zcard(f"{prefix}mismatches")
            pipe.hlen(f"{prefix}suspensions")
            pipe.hlen(f"{prefix}exclusions")
            pipe.zrange(f"{prefix}messages", 0, 0, withscores=True)
            pipe.info("memory")
            *counts, first, memory = await pipe.execute()
    messages, scheduled, held, destinations, circuits, parked, suspensions, exclusions = (int(one) for one in counts)
    return Census(
        queue_messages=messages,
        queue_scheduled=scheduled,
        queue_held=held,
        queue_destinations=destinations,
        circuits_open=circuits,
        destinations_parked=parked,
        suspensions=suspensions,
        exclusions=exclusions,
        oldest=datetime.fromtimestamp(first[0][1] / 1000, tz=UTC) if first else None,
        redis_memory_bytes=int(memory["used_memory"]),
        redis_memory_limit_bytes=int(memory.get("maxmemory", 0)),
    )
