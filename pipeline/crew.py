"""The crew: destination jobs of one worker process, many at a time on its event loop.

A Dramatiq thread is held only until each destination that a nudge names has got one of the places, so that a host
that answers slowly holds no thread; when all places are taken, threads wait, and Dramatiq takes no more than it can
hold. A nudge is done with as soon as its jobs have begun: mail that a dead worker leaves behind is found by its lease
and by the sweep, never by the nudge.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from pipeline import log
from pipeline.desk import StageBroke
from pipeline.parking import Places
from pipeline.runner import Runner, TransientLookup
from pipeline.store.connection import StoreFull, StoreUnavailable
from stages.contract import Stage

HUSHED = timedelta(seconds=2)  # for which a destination is left alone beyond the pause before its next try
LONGEST = timedelta(minutes=1)  # pause before a job comes back over which a stage broke

Again = Callable[[Stage, Sequence[str], int, timedelta], Awaitable[None]]


class Crew:
    """Runs destination jobs; `again` brings a job back later, with the number of tries that it has had."""

    def __init__(self, runner: Runner, places: Places, patience: Sequence[timedelta], again: Again) -> None:
        self._runner = runner
        self._places = places
        self._patience = tuple(patience)
        self._again = again
        self._jobs: set[asyncio.Task[None]] = set()

    async def take(self, stage: Stage, keys: Sequence[str], tried: int) -> None:
        """Begin a job for each destination, as places become free. A crew that is to end hands them back."""
        for number, key in enumerate(keys):
            await self._places.take()
            if self._runner.ending:
                self._places.leave()
                await self._again(stage, keys[number:], tried, timedelta(0))
                return
            job = asyncio.create_task(self._run(stage, key, tried))
            self._jobs.add(job)
            job.add_done_callback(self._done)

    def _done(self, job: "asyncio.Task[None]") -> None:
        self._jobs.discard(job)
        self._places.leave()

    async def _run(self, stage: Stage, key: str, tried: int) -> None:
        last = tried >= len(self._patience)
        try:
            await self._runner.run_destination(stage, key, last_try=last)
        except TransientLookup:
            pause = self._patience[tried]
            await self._runner.ledger.hush(f"to:{key}", pause + HUSHED)
            await self._again(stage, [key], tried + 1, pause)
        except StageBroke:  # logged where it broke, and what broke it was set aside: the others are not to wait for it
            await self._again(stage, [key], tried, min(timedelta(seconds=2 ** min(tried, 6)), LONGEST))
        except (StoreFull, StoreUnavailable) as error:  # what is left lying comes back by its lease and the sweep
            log.emit("redis.unavailable", level="error", text=str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours, which must not end in silence
            log.emit("stage.error", level="error", stage=stage.name, group=key, error=repr(error))

    async def finish(self, seconds: float) -> None:
        """Wait for the jobs that run, then break off what is left; they give their leases back."""
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=seconds)
        for job in self._jobs:
            job.cancel()
