"""Whose turn it is: one slice of validation for each turn of the event loop, the least costly question first.

Between two slices the loop reads sockets and sees to everything else, and whoever has used less of the processor goes
before those who have used more, so that questions about zones that are made to be costly do not hold up the others (RFC
4035 section 5.4). Among equals the first to come is the first to go. How long a slice is, those who cut it decide. An
ordinary question waits for nobody: a turn costs a round of the loop, which is as much as checking a signature.
"""

import asyncio
import time
from heapq import heappop, heappush
from itertools import count

ORDINARY = 0.002  # seconds of the processor that an ordinary question uses, whose chain has to be proven, too


class Turns:
    """All who want a turn on one event loop."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = count()
        self._taken = False  # somebody has this turn of the loop

    async def come(self, used: float) -> None:
        """Wait for a turn, having used so many seconds of the processor."""
        loop = asyncio.get_running_loop()
        if not self._taken:
            self._taken = True
            loop.call_soon(self._next, loop)
            return
        place = loop.create_future()
        heappush(self._waiting, (used, next(self._number), place))
        await place

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give the next turn of the loop to whoever waits for one."""
        while self._waiting:
            place = heappop(self._waiting)[2]
            if not place.done():  # else whoever waited has gone away
                place.set_result(None)
                loop.call_soon(self._next, loop)
                return
        self._taken = False


class Slices:
    """The slices of one question: `async with` it around each of them. Nothing in a slice may wait."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._began = 0.0
        self._paused = False
        self.used = 0.0  # seconds of the processor, so far

    def pause(self) -> None:
        """Let others go before the next slice, however little was used so far: nothing came between it and the last."""
        self._paused = True

    async def __aenter__(self) -> None:
        """Wait for a turn, after a pause or where more was used than is ordinary."""
        if self._paused or self.used >= ORDINARY:
            self._paused = False
            await self._turns.come(self.used)
        self._began = time.thread_time()

    async def __aexit__(self, *_error: object) -> None:
        """Count what was used."""
        self.used += time.thread_time() - self._began
