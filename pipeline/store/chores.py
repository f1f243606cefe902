"""What an operator has begun for all mail of a destination, and how far that is, for whoever looks.

`dp:chore:<destination>` holds the last one; whoever is at it repeats it, and it lasts for an hour after that. Nothing
rests on it: it is there to be shown. Raises `StoreUnavailable` and `StoreFull`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipeline.store.codec import CodecError, decode, encode
from pipeline.store.connection import store_errors

_KEPT = timedelta(hours=1)
SILENT = timedelta(seconds=15)  # after which nobody is at a chore that did not end


@dataclass(frozen=True, slots=True)
class Chore:
    """One action over many recipients.

    `named`: how many there were to be (0: not counted); `counts`: what came of them, by outcome; `cut`: it was broken
    off, and what was not done is not done; `told`: when it was written last.
    """

    action: str
    who: str
    named: int
    begun: datetime
    told: datetime
    counts: Mapping[str, int]
    ended: datetime | None = None
    cut: bool = False

    @property
    def done(self) -> int:
        """Count the recipients that it came to."""
        return sum(self.counts.values())

    def is_under_way(self, now: datetime) -> bool:
        """Tell whether somebody is at it."""
        return self.ended is None and now - self.told < SILENT


class ChoreStore:
    """The last chore of each destination."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._prefix = f"{prefix}chore:"

    async def tell(self, destination: str, chore: Chore) -> None:
        """Keep how far it is."""
        with store_errors():
            await self._redis.set(f"{self._prefix}{destination}", encode(Chore, chore), ex=_KEPT)

    async def of(self, destination: str) -> Chore | None:
        """Give the last one, if there was any of late."""
        with store_errors():
            value = await self._redis.get(f"{self._prefix}{destination}")
        try:
            return None if value is None else decode(Chore, value)
        except CodecError:  # as another version writes it
            return None
