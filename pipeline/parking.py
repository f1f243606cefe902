"""Parking: a connection that has nothing more to send waits a little for mail that comes, instead of being closed.

Mail that is put into the ready queue of a destination where a connection waits wakes that one, over a channel of
Redis, and nobody else is nudged. A word that is lost costs the rest of the wait and never a message: who leaves looks
into the queue once more. A connection that waits holds its place among the connections of the destination, but none
among the jobs of its process; and only a destination that this process has served before is worth the wait.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.ledger import Ledger

OUT = 500  # jobs of one process that hold no place while they connect; beyond that they do
MOST = 50  # connections of one process that wait at a time, about 80 KB each
KNOWN = 10_000  # destinations of which a process remembers that it has served them
RETRY = 0.5  # seconds before the channel is opened again


class Places:
    """Places for jobs of one process, first come, first served."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Take a place, waiting for one."""
        if self._free > 0:
            self._free -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # it was given and cannot be used
                self.leave()
            raise

    def take_back(self) -> None:
        """Take a place without waiting, which may be one too many: whoever waited with a connection goes first."""
        self._free -= 1

    def leave(self) -> None:
        """Give a place back."""
        self._free += 1
        while self._free > 0 and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self._free -= 1
                waiter.set_result(None)


class Parking:
    """The connections of one process that wait."""

    def __init__(self, ledger: Ledger, places: Places | None = None) -> None:
        self._ledger = ledger
        self._places = places
        self._parked: dict[str, asyncio.Event] = {}
        self._known: OrderedDict[str, None] = OrderedDict()
        self._listening = False
        self._ending = asyncio.Event()
        self._out = 0

    async def run(self) -> None:
        """Listen to the channel until cancelled. Redis being away is waited out."""
        while True:
            try:
                async for token in self._ledger.parked():
                    self._listening = True
                    if token in self._parked:
                        self._parked[token].set()
            except (StoreUnavailable, StoreFull):
                self._listening = False
                await asyncio.sleep(RETRY)

    def end(self) -> None:
        """Let nobody wait any more."""
        self._ending.set()
        self._listening = False
        for event in self._parked.values():
            event.set()

    def worth(self, key: str) -> bool:
        """Tell whether to wait for mail to a destination, and remember it."""
        before = key in self._known
        self._known[key] = None
        self._known.move_to_end(key)
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return before and self._listening and len(self._parked) < MOST

    def step_out(self) -> bool:
        """Hold no place among the jobs of the process until `step_in`; False if too many do so."""
        if self._places is None or self._out >= OUT:
            return False
        self._out += 1
        self._places.leave()
        return True

    def step_in(self) -> None:
        """Take the place back."""
        self._out -= 1
        if self._places is not None:
            self._places.take_back()

    async def pause(self, seconds: float) -> None:
        """Hold no place among the jobs of the process for a while, unless it is to end."""
        with self._out_of_place(), suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()

    @contextmanager
    def _out_of_place(self) -> Iterator[None]:
        if self._places is not None:
            self._places.leave()
        try:
            yield
        finally:
            if self._places is not None:
                self._places.take_back()

    @contextmanager
    def ready(self, token: str) -> Iterator[asyncio.Event]:
        """Be ready for the word, which may come before the answer of Redis that says that we wait."""
        event = self._parked[token] = asyncio.Event()
        try:
            yield event
        finally:
            del self._parked[token]

    async def wait(self, event: asyncio.Event, key: str, token: str, seconds: float) -> bool:
        """Wait until mail comes, which Redis knows already; tells whether there may be some.

        Raises `StoreUnavailable`, `StoreFull`.
        """
        with self._out_of_place():
            try:
                async with asyncio.timeout(seconds):
                    await event.wait()
            except TimeoutError:
                return await self._ledger.unpark(key, token)
            return True
