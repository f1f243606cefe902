"""A Redis client whose commands share round trips.

What is asked for in one turn of the event loop, and what comes while earlier commands are on their way, is sent as
one pipeline: one write, one read and, as Redis answers a pipeline after one flush of its log, one write to the disk.
Commands keep their order only within what one task awaits, as with any client. A connection that is lost fails every
command that was on its way over it, each with the error that it would have had alone.
"""

import asyncio
from collections import deque
from typing import Any

from redis.asyncio import Redis

LANES = 2  # pipelines on their way at a time: one large body must not hold up the commit of another message
TRIP = "redis-trip"  # name of the tasks that carry commands: who cancels all others should let these arrive
MOST = 500  # commands of one pipeline, so that its replies stay small in memory


class SharedTrips(Redis):
    """`redis.asyncio.Redis` with the same methods, for one event loop."""

    def __init__(self, *args: Any, **parameters: Any) -> None:
        super().__init__(*args, **parameters)
        self._waiting: deque[tuple[tuple[Any, ...], dict[str, Any], asyncio.Future[Any]]] = deque()
        self._open = 0  # lanes; not the number of tasks, which are done a turn of the loop after they ended
        self._lanes: set[asyncio.Task[None]] = set()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command with whatever else is asked for now; returns and raises what `Redis` does."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((args, options, future))
        if self._open < LANES:
            self._open += 1
            lane = asyncio.create_task(self._run(), name=TRIP)
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._trip()
        finally:
            self._open -= 1

    async def _trip(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
        pipe = self.pipeline(transaction=False)
        for args, options, _ in batch:
            pipe.execute_command(*args, **options)  # only notes it
        try:
            results: list[Any] = await pipe.execute(raise_on_error=False)
        except BaseException as error:
            for _, _, future in batch:
                if not future.done():
                    future.set_exception(error) if isinstance(error, Exception) else future.cancel()
            if not isinstance(error, Exception):
                raise
            return
        for (_, _, future), result in zip(batch, results, strict=True):
            if future.done():  # who asked has gone
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
