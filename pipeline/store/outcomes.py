"""What became of recipients, for webhooks: a bounded stream that commits add to, and how far each webhook has come.

Nothing here is written unless a webhook is configured. `dp:outcomes` holds the last `KEPT` outcomes, `dp:webhook:NAME`
how far one has come, `dp:webhook-turn:NAME` which process posts for it now, and `dp:webhook-failed` what was put aside.
A webhook that falls behind by more than `KEPT` misses some, as nothing may wait for it; the numbers tell how many.
Raises `StoreUnavailable` and `StoreFull`.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipeline.store.codec import decode, encode
from pipeline.store.connection import store_errors
from stages.message import Recipient

KEPT = 50_000  # outcomes: about 50 MB
ASIDE = 10_000  # requests that were put aside; older ones go
TURN = timedelta(minutes=1)  # after which another process takes over from one that died


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a recipient: where it stands in the stream, its number, and the recipient as it was then."""

    place: str
    number: int
    recipient: Recipient


@dataclass(frozen=True, slots=True)
class Told:
    """How far a webhook has come, and since when the request that is next is tried in vain."""

    place: str = "0-0"
    number: int = 0
    failing: datetime | None = None


@dataclass(frozen=True, slots=True)
class Aside:
    """A request that was put aside: for which webhook, its body, why, and when."""

    url: str
    body: str
    why: str
    at: datetime


class OutcomeStore:
    """The stream, and what concerns each webhook."""

    def __init__(self, redis: Any, *, prefix: str = "dp:") -> None:
        self._redis = redis
        self._stream = f"{prefix}outcomes"
        self._webhook = f"{prefix}webhook:"
        self._turn = f"{prefix}webhook-turn:"
        self._aside = f"{prefix}webhook-failed"

    async def take_turn(self, name: str, process: str) -> bool:
        """Tell whether this process is the one that posts for a webhook; then it is for `TURN` more."""
        key = f"{self._turn}{name}"
        with store_errors():
            if await self._redis.set(key, process, nx=True, px=TURN):
                return True
            if await self._redis.get(key) != process.encode():
                return False
            return bool(await self._redis.pexpire(key, TURN))

    async def leave(self, name: str) -> None:
        """Let another process post."""
        with store_errors():
            await self._redis.delete(f"{self._turn}{name}")

    async def told(self, name: str) -> Told:
        """Tell how far a webhook has come."""
        with store_errors():
            row = await self._redis.get(f"{self._webhook}{name}")
        return Told() if row is None else decode(Told, row)

    async def tell(self, name: str, told: Told) -> None:
        """Keep how far a webhook has come."""
        with store_errors():
            await self._redis.set(f"{self._webhook}{name}", encode(Told, told))

    async def after(self, place: str, count: int) -> list[Outcome]:
        """Give the outcomes after a place, oldest first."""
        with store_errors():
            found = await self._redis.xread({self._stream: place}, count=count)
        rows = (found[0][1] if isinstance(found, list) else next(iter(found.values()))[0]) if found else []
        return [
            Outcome(place.decode(), int(row[b"number"]), decode(Recipient, row[b"recipient"])) for place, row in rows
        ]

    async def put_aside(self, aside: Aside) -> None:
        """Keep a request that is not tried any more."""
        with store_errors():
            await self._redis.xadd(self._aside, {"json": encode(Aside, aside)}, maxlen=ASIDE, approximate=True)

    async def aside(self) -> AsyncIterator[tuple[str, Aside]]:
        """List what was put aside, oldest first, each with its id."""
        last = "-"
        while True:
            with store_errors():
                rows = await self._redis.xrange(self._aside, min=last, count=100)
            for place, row in rows:
                if place.decode() != last:
                    yield place.decode(), decode(Aside, row[b"json"])
            if len(rows) < 2:
                return
            last = rows[-1][0].decode()

    async def forget(self, place: str) -> None:
        """Forget one that was put aside."""
        with store_errors():
            await self._redis.xdel(self._aside, place)
