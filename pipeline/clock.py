"""The clock: moves due mail to the first stage, takes work back from the dead, and nudges whatever stands still.

Any number of clocks may run; each step is one atomic script. Nothing is lost while none runs: mail only waits. Beside
that it looks after our own domains (`pipeline.watch`) and after those excluded from DANE (`pipeline.recheck`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from pipeline import log, meter
from pipeline.broker import NAMESPACE, jobs_of
from pipeline.recheck import ExclusionWatch
from pipeline.spine import Spine
from pipeline.store.changes import Watch
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.jobs import revive
from pipeline.watch import OwnWatch
from stages.contract import Stage

TICK = timedelta(milliseconds=500)
SWEEP = timedelta(seconds=5)
SPARED = 20  # a sweep over very many destinations is followed by so many times its length without one


class Clock:
    """Runs until it is cancelled or `stop` is set."""

    def __init__(self, spine: Spine, now: Callable[[], datetime], *, tick: timedelta = TICK) -> None:
        self._spine = spine
        self._now = now
        self._tick = tick.total_seconds()
        self._swept: datetime | None = None
        self._pause = SWEEP
        self._watch = Watch()
        self._bodies: asyncio.Task[None] | None = None
        self._own = OwnWatch(spine, now)
        self._looking: asyncio.Task[None] | None = None
        self._excluded = ExclusionWatch(spine, now)
        self._trying: asyncio.Task[None] | None = None
        self._away = False

    async def run(self, stop: asyncio.Event) -> None:
        """Tick until `stop` is set. Redis being away is waited out."""
        counting = asyncio.create_task(meter.keep_counting(self._spine))
        try:
            await self._tick_until(stop)
        finally:
            beside = [task for task in (counting, self._bodies, self._looking, self._trying) if task is not None]
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _tick_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.step()
            except (StoreUnavailable, StoreFull) as error:
                if not self._away:
                    log.emit("redis.unavailable", level="error", text=str(error))
                self._away = True
            else:
                if self._away:
                    log.emit("redis.restored")
                self._away = False
            await _wait(stop.wait(), self._tick)

    async def step(self) -> None:
        """Do what is due now."""
        ledger = self._spine.ledger
        now = self._now()
        nudge = False
        moved = 1
        while moved:
            moved, wanted = await ledger.due(now)
            nudge = nudge or wanted
        if nudge:
            await self._spine.nudge([ledger.first])
        back = set[str]()
        for token, place, groups in await ledger.reap(self._spine.config.work.lease, self._watch):
            if not token.startswith("aside:"):  # these rested and come back as agreed
                log.emit("lease.reaped", level="warning", token=token, place=place, groups=groups)
            back.add(place)
        if back:
            await self._spine.nudge(await ledger.waiting(sorted(back)))
        if self._swept is None or not timedelta(0) <= now - self._swept < self._pause:  # a clock may be put back
            self._swept, began = now, time.monotonic()
            stages, jobs = [stage.name for stage in self._places()], jobs_of(self._spine.line.destinations[0].name)
            await self._spine.nudge(await ledger.waiting_places(stages, jobs))
            self._pause = max(SWEEP, timedelta(seconds=SPARED * (time.monotonic() - began)))
            await revive(ledger.redis, NAMESPACE, [stage.name for stage in self._spine.line.stages], now)
            await self._let_go(now)
            if ledger.bodies is not None and (self._bodies is None or self._bodies.done()):
                # beside the rest, as the list may be long
                self._bodies = asyncio.create_task(ledger.bodies.sweep())
        if (self._looking is None or self._looking.done()) and self._own.is_due(now):
            self._looking = asyncio.create_task(self._own.look())
        if (self._trying is None or self._trying.done()) and self._excluded.is_due(now):
            self._trying = asyncio.create_task(self._excluded.look())

    async def _let_go(self, now: datetime) -> None:
        """Let mail go on whose suspension is over, and what was put aside while somebody resumed it."""
        gates = self._spine.gates
        for one in await gates.forgotten(now):
            if await gates.lift(one):
                log.emit(
                    "queue.action", action="expire", target=f"{one.kind} {one.name}", outcome="moved",
                    reason=one.reason, owner=one.owner, expires=str(one.expires),
                )  # fmt: skip
            await self._spine.nudge(await gates.let_go(one, self._spine.line.first.name))

    def _places(self) -> tuple[Stage, ...]:
        return (*self._spine.line.messages, self._spine.line.notices)


async def _wait(what: Awaitable[object], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await what
    except TimeoutError:
        return
