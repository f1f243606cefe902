"""What was asked with an idempotency key: for a day, the same request again is answered and not done again.

The ids of the messages are kept before the first of them is: whoever takes up a request that broke off gives the
ledger the same ids, which keeps each once. `dp:once:NAME` holds what was asked, `dp:once-now:NAME` that somebody is at
it now. Raises `StoreUnavailable` and `StoreFull`.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pipeline.store.codec import decode, encode
from pipeline.store.connection import store_errors
from stages.message import MessageId

KEPT = timedelta(days=1)
AT_IT = timedelta(minutes=2)  # after which a request that broke off may be taken up by its next try


@dataclass(frozen=True, slots=True)
class Asked:
    """A digest of the request, the ids of its messages, and whether all of them are kept."""

    digest: str
    messages: tuple[MessageId, ...]
    done: bool = False


class IdempotencyStore:
    """The requests of a day that have a key."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._prefix = f"{prefix}once"

    async def claim(self, name: str) -> bool:
        """Begin to work at a request; returns False if somebody does."""
        with store_errors():
            return bool(await self._redis.set(f"{self._prefix}-now:{name}", b"", nx=True, px=AT_IT))

    async def release(self, name: str) -> None:
        """Work at it no more. Should it be another's turn by now: both have the same ids, so nothing happens twice."""
        with store_errors():
            await self._redis.delete(f"{self._prefix}-now:{name}")

    async def ask(self, name: str, asked: Asked) -> Asked:
        """Keep what is asked, and give what was asked first under this name."""
        with store_errors():
            if await self._redis.set(f"{self._prefix}:{name}", encode(Asked, asked), nx=True, px=KEPT):
                return asked
            row = await self._redis.get(f"{self._prefix}:{name}")
        return asked if row is None else decode(Asked, row)  # None: its day ended in between

    async def done(self, name: str, asked: Asked) -> None:
        """Keep that all messages of it are kept."""
        with store_errors():
            row = encode(Asked, Asked(asked.digest, asked.messages, done=True))
            await self._redis.set(f"{self._prefix}:{name}", row, xx=True, keepttl=True)

    async def forget(self, name: str) -> None:
        """Forget a request of which nothing came, so that it may be mended and asked again."""
        with store_errors():
            await self._redis.delete(f"{self._prefix}:{name}")
