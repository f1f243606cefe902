"""What was found of excluded domains that were tried with DANE, and entries of the configuration that ended by it.

`dp:rechecks` holds the last try of each pattern, `dp:exclusions-ended` when entries of the configuration ended, and
`dp:recheck-turn` whose turn it is, so that of several clocks one tries. Raises `StoreUnavailable` and `StoreFull`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipeline.store.codec import decode, encode
from pipeline.store.connection import store_errors


@dataclass(frozen=True, slots=True)
class Tried:
    """One try: when, whether DANE would pass, and what stood in the way."""

    at: datetime
    passes: bool
    text: str


class RecheckStore:
    """The last tries."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._tries = f"{prefix}rechecks"
        self._turn = f"{prefix}recheck-turn"

    async def claim(self, pause: timedelta) -> bool:
        """Tell whether it is this process's turn to try; then it is nobody else's until the pause is over."""
        with store_errors():
            return bool(await self._redis.set(self._turn, b"", nx=True, px=pause))

    async def tries(self) -> dict[str, Tried]:
        """Give the last try of each pattern."""
        with store_errors():
            rows = await self._redis.hgetall(self._tries)
        return {pattern.decode(): decode(Tried, row) for pattern, row in rows.items()}

    async def keep(self, pattern: str, tried: Tried) -> None:
        """Keep a try."""
        with store_errors():
            await self._redis.hset(self._tries, pattern, encode(Tried, tried))

    async def forget(self, patterns: Collection[str]) -> None:
        """Forget the tries of patterns that are excluded no longer."""
        if patterns:
            with store_errors():
                await self._redis.hdel(self._tries, *patterns)
