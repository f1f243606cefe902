"""What the console does for many recipients at once, beside the requests: a hundred thousand take minutes.

One is done at a time for each destination. How far it is stands in Redis, where each page sees it. When the process
ends meanwhile, what is not done is simply not done, and waits as it did before.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from ops.hands import Hand, Outcome, act
from pipeline import log
from pipeline.spine import Spine, utc_now
from pipeline.store.changes import Stored
from pipeline.store.chores import Chore, ChoreStore
from pipeline.store.connection import StoreFull, StoreUnavailable
from stages.message import Recipient

Found = AsyncIterator[tuple[Stored, Recipient]]
PATIENCE = 0.15  # seconds that a request waits for the end: most chores are for a few recipients
_GRACE = 3.0  # seconds for the recipient that a chore is at, after those for requests under way
_EACH = 1.0  # seconds after which it is told anew how far it is


class UnderWay(Exception):  # noqa: N818 - a state of the world, not a fault in the program
    """Something else is being done for this destination."""


class Chores:
    """The chores of this process."""

    def __init__(self, spine: Spine) -> None:
        self._spine = spine
        self._store = ChoreStore(spine.redis, prefix=spine.ledger.prefix)
        self._under_way: dict[str, asyncio.Task[Chore]] = {}
        self._ends = False

    @property
    def is_busy(self) -> bool:
        """Tell whether anything is under way."""
        return bool(self._under_way)

    async def begin(self, destination: str, hand: Hand, found: Found, chore: Chore, why: str = "") -> Chore:
        """Begin one, and give how it stands after a moment. It comes to no more than the `named` recipients.

        Raises `UnderWay` where another one is, for the same destination.
        """
        if destination in self._under_way:
            raise UnderWay(destination)
        # marked as under way before anything is awaited
        task = asyncio.create_task(self._work(destination, hand, found, chore, why))
        self._under_way[destination] = task
        task.add_done_callback(lambda _: self._under_way.pop(destination, None))
        ended, _ = await asyncio.wait({task}, timeout=PATIENCE)
        return task.result() if ended else chore

    def end(self) -> None:
        """Break off what is under way, after the recipient that it is at."""
        self._ends = True

    async def stop(self) -> None:
        """Wait until all of it is broken off."""
        self.end()
        if not self._under_way:
            return
        _, late = await asyncio.wait(self._under_way.values(), timeout=_GRACE)
        for task in late:  # Redis does not answer
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _work(self, destination: str, hand: Hand, found: Found, chore: Chore, why: str) -> Chore:
        counts: dict[str, int] = {}
        cut = False

        def tell(came: Outcome) -> None:
            counts[came.outcome] = counts.get(came.outcome, 0) + 1

        def now(*, ended: bool = False) -> Chore:
            moment = utc_now()
            return replace(chore, told=moment, counts=dict(counts), ended=moment if ended else None, cut=cut)

        async def each() -> Found:
            nonlocal cut
            told, number = time.monotonic(), 0
            async for one in found:
                cut = self._ends
                if cut or number == chore.named > 0:
                    return
                number += 1
                if time.monotonic() - told > _EACH:
                    await self._store.tell(destination, now())
                    told = time.monotonic()
                yield one

        try:
            await self._store.tell(destination, chore)
            await act(self._spine, hand, each(), tell, why=why, who=chore.who)
        except (StoreUnavailable, StoreFull) as error:
            cut = True
            log.emit("redis.unavailable", level="error", text=str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours: the page says that it was broken off
            cut = True
            log.emit("stage.error", level="error", stage="console", group=destination, error=repr(error))
        last = now(ended=True)
        try:
            await self._store.tell(destination, last)
        except (StoreUnavailable, StoreFull) as error:  # then its silence says so
            log.emit("redis.unavailable", level="error", text=str(error))
        return last
