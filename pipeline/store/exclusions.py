"""Exclusions that change while danepipe runs: kept in Redis beside those of the configuration file.

Every worker reads them again within a second, so a change needs no restart. Raises `StoreUnavailable`.
"""

from typing import Any

from pipeline.store.codec import decode, encode
from pipeline.store.connection import store_errors
from stages.exclude import Exclusion


class ExclusionStore:
    """The run-time list, keyed by the normalised pattern."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._key = f"{prefix}exclusions"

    async def entries(self) -> tuple[Exclusion, ...]:
        """List the exclusions in the order of their patterns, expired ones included."""
        with store_errors():
            rows = await self._redis.hgetall(self._key)
        return tuple(decode(Exclusion, rows[pattern]) for pattern in sorted(rows))

    async def add(self, exclusion: Exclusion) -> bool:
        """Keep an exclusion; returns False if it replaced one of the same pattern."""
        with store_errors():
            return bool(await self._redis.hset(self._key, exclusion.pattern, encode(Exclusion, exclusion)))

    async def remove(self, pattern: str) -> bool:
        """Drop an exclusion; returns False if there was none of that pattern."""
        with store_errors():
            return bool(await self._redis.hdel(self._key, pattern))
