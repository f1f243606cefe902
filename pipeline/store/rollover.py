"""What all workers share of destinations whose certificates do not match: what was asked again, and who is left alone.

Raises `StoreUnavailable` and `StoreFull`; `CodecError` for what another version wrote is treated as if nothing stood.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pipeline.store.codec import CodecError, decode, encode
from pipeline.store.connection import store_errors
from stages.answer import Question
from stages.attempt import HostAttempt
from stages.plan import Plan

FORGOTTEN = timedelta(hours=6)  # after its pause is over, a destination that nobody tried is forgotten
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """The plan that came of asking again past every cache, and what was asked for it."""

    plan: Plan
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Parked:
    """A destination that is left alone: what its hosts showed, by which plan, and how many pauses there were."""

    plan: Plan
    hosts: tuple[HostAttempt, ...]
    since: datetime
    until: datetime
    pauses: int


class RolloverStore:
    """Keys `asked:`, `mismatch:` and `probe:` of destinations, and the sorted set `mismatches` of their names."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._prefix = prefix

    async def _read(self, kind: type[T], key: str) -> tuple[bool, T | None]:
        with store_errors():
            value: bytes | None = await self._redis.get(f"{self._prefix}{key}")
        if not value:
            return value is not None, None
        try:
            return True, decode(kind, value)
        except CodecError:  # as another version writes it
            return False, None

    async def asked(self, destination: str) -> tuple[bool, Asked | None]:
        """Tell whether it was asked, and what came of it; None while somebody asks."""
        return await self._read(Asked, f"asked:{destination}")

    async def claim(self, destination: str, lasts: timedelta) -> bool:
        """Take it upon oneself to ask."""
        with store_errors():
            return bool(await self._redis.set(f"{self._prefix}asked:{destination}", b"", nx=True, px=_ms(lasts)))

    async def answered(self, destination: str, asked: Asked, lasts: timedelta) -> None:
        """Keep what came of it, so that nobody asks for so long."""
        with store_errors():
            await self._redis.set(f"{self._prefix}asked:{destination}", encode(Asked, asked), px=_ms(lasts))

    async def unclaim(self, destination: str) -> None:
        """Let somebody else ask."""
        with store_errors():
            await self._redis.delete(f"{self._prefix}asked:{destination}")

    async def parked(self, destination: str) -> Parked | None:
        """Give what is known of a destination that is, or was, left alone."""
        return (await self._read(Parked, f"mismatch:{destination}"))[1]

    async def park(self, destination: str, parked: Parked, now: datetime) -> None:
        """Leave a destination alone."""
        lasts = parked.until - now + FORGOTTEN
        with store_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.set(f"{self._prefix}mismatch:{destination}", encode(Parked, parked), px=_ms(lasts))
                pipe.delete(f"{self._prefix}probe:{destination}")
                pipe.zremrangebyscore(f"{self._prefix}mismatches", "-inf", now.timestamp())
                pipe.zadd(f"{self._prefix}mismatches", {destination: (now + lasts).timestamp()})
                await pipe.execute()

    async def release(self, destination: str) -> bool:
        """Forget that a destination was left alone; tells whether it was."""
        with store_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(f"{self._prefix}mismatch:{destination}")
                pipe.delete(f"{self._prefix}probe:{destination}")
                pipe.zrem(f"{self._prefix}mismatches", destination)
                done: Sequence[int] = await pipe.execute()
        return bool(done[0])

    async def probe(self, destination: str, token: str, lasts: timedelta) -> bool:
        """Be the one that tries a destination after its pause; False if somebody else does."""
        with store_errors():
            key = f"{self._prefix}probe:{destination}"
            return bool(await self._redis.set(key, token.encode(), nx=True, px=_ms(lasts)))

    async def probed(self, destination: str, token: str) -> None:
        """Be done with trying, whatever came of it; nothing happens where somebody else tries."""
        key = f"{self._prefix}probe:{destination}"
        with store_errors():
            if await self._redis.get(key) == token.encode():
                await self._redis.delete(key)


def _ms(duration: timedelta) -> int:
    return max(1, round(duration.total_seconds() * 1000))
