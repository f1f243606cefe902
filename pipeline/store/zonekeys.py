"""Keys of DNS zones shared by all workers, each set until its proof ends, and only with those who prove by the same.

Errors are raised to the resolver, which goes on without: `StoreUnavailable`, `StoreFull`, and `CodecError` for what
this version has not written, which is thrown away.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from delivery.zonekeys import ZoneKeys
from pipeline.store.codec import CodecError, decode, encode
from pipeline.store.connection import store_errors


class SharedZoneKeys:
    """The keys behind those that each process keeps."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._prefix = f"{prefix}zone:"

    async def get(self, binding: str, zones: Sequence[str]) -> Sequence[ZoneKeys]:
        """Fetch the keys of those of the zones that have some here."""
        names = [self._key(binding, zone) for zone in zones]
        with store_errors():
            values: list[bytes | None] = await self._redis.mget(names)
        found = []
        for name, value in zip(names, values, strict=True):
            try:
                found += [] if value is None else [decode(ZoneKeys, value)]
            except CodecError:
                with store_errors():
                    await self._redis.unlink(name)
                raise
        return found

    async def put(self, binding: str, keys: ZoneKeys) -> None:
        """Keep the keys of a zone until they expire."""
        left = int((keys.expires - datetime.now(UTC)).total_seconds() * 1000)
        if left <= 0:
            return
        with store_errors():
            await self._redis.set(self._key(binding, keys.zone), encode(ZoneKeys, keys), px=left)

    async def clear(self) -> None:
        """Throw all keys away, whatever they were proven by."""
        with store_errors():
            names = [name async for name in self._redis.scan_iter(f"{self._prefix}*", count=1000)]
            for start in range(0, len(names), 1000):
                await self._redis.unlink(*names[start : start + 1000])

    def _key(self, binding: str, zone: str) -> str:
        return f"{self._prefix}{binding}:{zone}"
