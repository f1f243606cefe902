"""The pressure at the door: replies wait while room runs short, and new mail is put off while there is none.

Three things run out: places in the queue, the memory of Redis, and the disks that grow with the mail. Each has a zone
before its limit. In it (`slowed`) the reply to a message waits the longer the less is left, up to a second, so that
clients slow down by themselves; at the limit (`full`) `take` raises `StoreFull`, which is 452 4.3.1 over SMTP. Nobody
has to open the door again: a quarter of the zone must be free for `full` to end, and a quarter more than the zone for
`slowed`, so that neither comes and goes with each message. Each change is told by the event `accept.pressure`.

A look costs one round trip and a call for each disk, four times a second at most for each process and never for each
message: in between the room is reckoned. Raises `StoreFull` and `StoreUnavailable`.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from enum import IntEnum
from math import inf
from pathlib import Path

from pipeline import log
from pipeline.backpressure import Backpressure
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.headroom import Reading

AGE = 0.25  # seconds after which there is another look
STALE = 1.0  # seconds after which mail waits for its outcome
LONGEST = 1.0  # seconds that a reply waits just before the limit
SHARE = 10  # the zone of a limit is a tenth of it, where no setting says otherwise
MARGIN = 0.25  # of the zone: how far the room must grow past the point where a state began, for it to end


class State(IntEnum):
    """What new mail meets, from best to worst."""

    OPEN = 0
    SLOWED = 1
    FULL = 2


_LEVELS = {State.OPEN: "info", State.SLOWED: "warning", State.FULL: "error"}


class Gauge:
    """One thing that runs out. `left` is what new mail may still use, and `zone` how little makes replies wait."""

    def __init__(self, cause: str) -> None:
        self.cause = cause
        self.left: float = inf
        self.zone: float = 1.0
        self.ends = True  # False: past its zone it makes replies wait, and never refuses
        self.text = ""
        self.state = State.OPEN

    @property
    def level(self) -> float:
        """Tell how far into its zone it is: at 0 replies begin to wait, at 1 nothing is left."""
        return 1 - self.left / self.zone

    def read(self, left: float, zone: float, text: str) -> None:
        """Take what a look found, and judge it."""
        self.left, self.zone, self.text = left, max(zone, 1.0), text
        level = self.level
        if self.ends and (left <= 0 or (self.state is State.FULL and level > 1 - MARGIN)):
            self.state = State.FULL
        elif level > 0 or (self.state is not State.OPEN and level > -MARGIN):
            self.state = State.SLOWED
        else:
            self.state = State.OPEN

    def gives(self, amount: int) -> bool:
        """Tell whether there is room for so much."""
        if not self.ends:
            return True
        if self.left < amount <= self.zone * MARGIN:
            self.state = State.FULL  # what is larger, others may still find room beside
        return self.state is not State.FULL and self.left >= amount


class Pressure:
    """The door's view of the room that is left, of one process. `close` ends it."""

    def __init__(
        self,
        settings: Backpressure,
        read: Callable[[], Awaitable[Reading]],
        disks: Sequence[Path] = (),
        clock: Callable[[], float] = time.monotonic,
        *,
        in_redis: bool = True,
    ) -> None:
        self._settings = settings
        self._in_redis = in_redis  # the content, too: elsewhere it takes no memory there
        self._read = read
        self._disks = tuple(dict.fromkeys(disks)) if settings.min_disk_free else ()
        self._clock = clock
        self._seen = -inf
        self._queue, self._memory, self._disk = Gauge("queue"), Gauge("memory"), Gauge("disk")
        self._gauges = (self._queue, self._memory, self._disk)
        self._worst = self._queue
        self._looking: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self.state = State.OPEN

    async def take(self, size: int) -> float:
        """Ask for room for one message of so many octets; gives the seconds for which its reply is to wait."""
        age = self._clock() - self._seen
        if age >= AGE:
            looking = self._look()
            if age >= STALE:
                await asyncio.shield(looking)
        amounts = (1, size if self._in_redis else 0, size)
        for gauge, amount in zip(self._gauges, amounts, strict=True):
            if not gauge.gives(amount):
                self._tell()
                raise StoreFull(gauge.text)
        for gauge, amount in zip(self._gauges, amounts, strict=True):
            gauge.left -= amount
        if self.state is State.OPEN:
            return 0.0
        return LONGEST * min(max(0.0, *(gauge.level for gauge in self._gauges)), 1.0)

    async def close(self) -> None:
        """Look no more."""
        tasks = [task for task in (self._looking, self._watching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _look(self) -> "asyncio.Task[None]":
        """Begin to look, or give the look that is under way: many clients ask at the same time."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_at_all())
            # one that failed is begun again, by those who wait for it
            self._looking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._looking

    async def _look_at_all(self) -> None:
        reading = await self._read()
        self._seen = self._clock()
        self._read_queue(reading.messages)
        self._read_memory(reading)
        self._read_disks()
        self._tell()

    def _read_queue(self, messages: int) -> None:
        most, slow = self._settings.max_queue, self._settings.slow_queue
        self._queue.ends = most > 0
        if most:
            text = f"the queue holds {messages} messages, and backpressure.max_queue is {most}"
            self._queue.read(most - messages, most - slow if slow else most / SHARE, text)
        elif slow:
            text = f"the queue holds {messages} messages, and backpressure.slow_queue is {slow}"
            self._queue.read(2 * slow - messages, slow, text)

    def _read_memory(self, reading: Reading) -> None:
        bounds = [bound for bound in (reading.bound, self._settings.max_memory) if bound]
        bound = min(bounds, default=0)
        text = f"{reading.used} octets of Redis' memory are in use, and new mail may fill {bound}"
        self._memory.read(bound - reading.used if bound else inf, bound / SHARE, text)

    def _read_disks(self) -> None:
        least = self._settings.min_disk_free
        left, where = inf, Path()
        for directory in self._disks:
            # a place that is not there, or not ours to look at, has no say: whoever writes to it hears of it
            with contextlib.suppress(FileNotFoundError, PermissionError):
                disk = os.statvfs(directory)
                left, where = min((left, where), (disk.f_bavail * disk.f_frsize, directory))
        text = f"{left:.0f} octets are free on the disk of {where}, and backpressure.min_disk_free is {least}"
        self._disk.read(left - least, least, text)

    def _tell(self) -> None:
        """Log the state if it is another one, and see to it that its end is noticed when no mail comes."""
        worst = max(self._gauges, key=lambda gauge: gauge.state)
        if worst.state is self.state:
            return
        if worst.state is not State.OPEN:
            self._worst = worst
        self.state = worst.state
        cause = self._worst  # at the end: what it was that ran out
        log.emit(
            "accept.pressure", level=_LEVELS[self.state], state=self.state.name.lower(), cause=cause.cause,
            text=cause.text,
        )  # fmt: skip
        if self.state is not State.OPEN and (self._watching is None or self._watching.done()):
            self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while self.state is not State.OPEN:
            await asyncio.sleep(STALE)
            with contextlib.suppress(StoreUnavailable):  # who brings mail hears of it, and so does the clock
                await asyncio.shield(self._look())
