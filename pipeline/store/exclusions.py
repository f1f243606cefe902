"""Exclusions that change while danepipe runs: kept in Redis beside those of the configuration file.

Every worker reads them again within a second, so a change needs no restart. Entries of the configuration that are to
last until their domain passes DANE end here too: when they did is kept beside. Raises `StoreUnavailable`.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import WatchError

from pipeline.store.codec import decode, encode
from pipeline.store.connection import store_errors
from stages.exclude import Exclusion


class ExclusionStore:
    """The run-time list, keyed by the normalised pattern."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._key = f"{prefix}exclusions"
        self._ended = f"{prefix}exclusions-ended"

    async def entries(self) -> tuple[Exclusion, ...]:
        """List the exclusions in the order of their patterns, expired ones included."""
        with store_errors():
            rows = await self._redis.hgetall(self._key)
        return tuple(decode(Exclusion, rows[pattern]) for pattern in sorted(rows))

    async def beside(self, configured: Iterable[Exclusion]) -> tuple[Exclusion, ...]:
        """List the exclusions of the configuration, with the ends that they came to, and then those kept here."""
        configured = tuple(configured)
        ended: dict[bytes, bytes] = {}
        if any(entry.until_passing for entry in configured):
            with store_errors():
                ended = await self._redis.hgetall(self._ended)
        return (*(_with_end(entry, ended) for entry in configured), *await self.entries())

    async def end(self, entry: Exclusion, now: datetime) -> bool:
        """End an entry that its domain needs no longer; False if it is another one by now."""
        if entry.origin == "configuration":
            with store_errors():
                await self._redis.hset(self._ended, _mark(entry), now.isoformat())
            return True
        with store_errors():
            async with self._redis.pipeline() as pipe:
                await pipe.watch(self._key)
                if await pipe.hget(self._key, entry.pattern) != encode(Exclusion, entry):
                    return False
                pipe.multi()
                pipe.hdel(self._key, entry.pattern)
                try:
                    await pipe.execute()
                except WatchError:
                    return False  # somebody changed the list: the next turn finds what is there then
        return True

    async def add(self, exclusion: Exclusion) -> bool:
        """Keep an exclusion; returns False if it replaced one of the same pattern."""
        with store_errors():
            return bool(await self._redis.hset(self._key, exclusion.pattern, encode(Exclusion, exclusion)))

    async def remove(self, pattern: str) -> bool:
        """Drop an exclusion; returns False if there was none of that pattern."""
        with store_errors():
            return bool(await self._redis.hdel(self._key, pattern))


def _mark(entry: Exclusion) -> bytes:
    """Name an entry of the configuration as it is written: one that is written anew counts again."""
    return encode(Exclusion, entry)


def _with_end(entry: Exclusion, ended: dict[bytes, bytes]) -> Exclusion:
    at = ended.get(_mark(entry)) if entry.until_passing else None
    if at is None:
        return entry
    end = datetime.fromisoformat(at.decode()).astimezone(UTC)
    return replace(entry, expires=end if entry.expires is None else min(end, entry.expires))
