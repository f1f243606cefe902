"""DNS answers shared by all workers: answers only, for their own lifetime, and never a decision.

An error here costs a question and nothing else, so it is reported by raising `StoreUnavailable` to the resolver,
which goes on without.
"""

from datetime import UTC, datetime
from typing import Any

from pipeline.store.codec import decode, encode
from pipeline.store.connection import store_errors
from stages.answer import Absent, Answer, Failed, Found, Question

_KINDS: dict[bytes, type] = {b"found": Found, b"absent": Absent, b"failed": Failed}


class SharedAnswers:
    """The second-level cache of the resolver."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._prefix = f"{prefix}dns:"

    async def get(self, question: Question) -> Answer | None:
        """Fetch an answer that has not expired."""
        with store_errors():
            value: bytes | None = await self._redis.get(f"{self._prefix}{question}")
        if value is None:
            return None
        kind, _, text = value.partition(b" ")
        answer: Answer = decode(_KINDS[kind], text)
        return answer

    async def put(self, answer: Answer) -> None:
        """Keep an answer until it expires."""
        left = int((answer.expires - datetime.now(UTC)).total_seconds() * 1000)
        if left <= 0:
            return
        value = answer.kind.encode() + b" " + encode(type(answer), answer)
        with store_errors():
            await self._redis.set(f"{self._prefix}{answer.question}", value, px=left)

    async def clear(self) -> None:
        """Throw all answers away: the resolver they came from turned out to be wrong."""
        with store_errors():
            keys = [key async for key in self._redis.scan_iter(f"{self._prefix}*", count=1000)]
            for start in range(0, len(keys), 1000):
                await self._redis.unlink(*keys[start : start + 1000])
