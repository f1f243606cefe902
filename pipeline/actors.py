"""One Dramatiq actor and one queue for each stage of the line: `dramatiq pipeline.actors`, or `danepipe work`.

The configuration is the file that DANEPIPE_CONFIG names, else the usual places. An actor's message carries ids only
and says "look here"; running it twice, late, or after somebody else did the work changes nothing.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.middleware import Middleware, MiddlewareError

from pipeline import log, meter
from pipeline.broker import make_broker
from pipeline.config import load
from pipeline.crew import Crew
from pipeline.line import build
from pipeline.nudges import Nudger, Together
from pipeline.outfit import resolver_of, runner_of
from pipeline.parking import Parking, Places
from pipeline.pulse import counting
from pipeline.runner import Runner, StageBroke
from pipeline.selftests import keep_testing
from pipeline.spine import Spine, redis_url
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.selftests import SelfTestStore
from pipeline.store.shared_trips import TRIP
from stages.contract import Level, Stage

GRACE = 20.0  # seconds for transactions under way; less than what supervisors give
LAST_WORDS = 3.0  # seconds for jobs that are broken off at the end
_named = os.environ.get("DANEPIPE_CONFIG")
config = load(Path(_named) if _named else None, os.environ)
line = build(config.pipeline.stages)


class WorkerProcess(Middleware):
    """Opens what the actors work with on the event loop of the worker, and closes it after the last of them."""

    def __init__(self) -> None:
        self._stack: contextlib.AsyncExitStack | None = None
        self._checks: asyncio.Task[None] | None = None
        self._runner: Runner | None = None
        self._crew: Crew | None = None
        self._parking: asyncio.Task[None] | None = None
        self._queues: frozenset[str] | None = None
        self._until = 0.0
        self.grace = GRACE
        self.ended = threading.Event()  # whoever ends the worker sets it, so that a start that waits ends too

    @property
    def runner(self) -> Runner:
        """Give the runner. Raises RuntimeError outside a running worker."""
        if self._runner is None:
            raise RuntimeError("actors run only inside a worker: danepipe work, or dramatiq pipeline.actors")
        return self._runner

    @property
    def crew(self) -> Crew:
        """Give the crew. Raises RuntimeError outside a running worker."""
        if self._crew is None:
            raise RuntimeError("actors run only inside a worker: danepipe work, or dramatiq pipeline.actors")
        return self._crew

    def _runs(self, stage: Stage) -> bool:
        return self._queues is None or stage.name in self._queues

    def before_worker_boot(self, broker: Any, worker: Any) -> None:  # noqa: ARG002 - Dramatiq's signature
        """Open, before any thread takes a job; a Redis that is away is waited for.

        Raises `MiddlewareError`, which ends the start, for what waiting does not mend.
        """
        self._queues = frozenset(worker.consumer_whitelist) if worker.consumer_whitelist else None
        told = False
        while not self.ended.is_set():
            try:
                self._on_loop(self._open())
            except (StoreUnavailable, StoreFull) as error:
                if not told:
                    log.emit("redis.unavailable", level="error", text=str(error))
                told = True
                self.ended.wait(1.0)
            except Exception as error:
                raise MiddlewareError(f"the worker cannot start: {error}") from error
            else:
                return

    def before_worker_shutdown(self, broker: Any, worker: Any) -> None:  # noqa: ARG002 - Dramatiq's signature
        """Take no more jobs, and let those that run take nothing new."""
        broker.rest()
        self._until = time.monotonic() + self.grace
        if self._runner is not None:
            self._runner.end()

    def after_worker_shutdown(self, broker: Any, worker: Any) -> None:  # noqa: ARG002 - Dramatiq's signature
        """Close; "after" events run in reverse order, so the event loop still runs."""
        self._on_loop(self._close())

    @staticmethod
    def _on_loop(coroutine: Any) -> None:
        thread = get_event_loop_thread()
        if thread is None:
            raise RuntimeError("the AsyncIO middleware must come before this one")
        thread.run_coroutine(coroutine)

    async def _open(self) -> None:
        log.configure(role="work", file=config.log.file, level=config.log.level, form=config.log.format)
        nudges = Together(Nudger(redis_url(config), line, broker).send)
        async with contextlib.AsyncExitStack() as stack:
            spine = await stack.enter_async_context(Spine.open(config, nudges.nudge))
            await stack.enter_async_context(counting(spine.redis, spine.ledger.prefix))
            resolver = resolver_of(spine)
            stack.push_async_callback(resolver.aclose)
            places = Places(config.work.destinations)
            parking = Parking(spine.ledger, places)
            self._runner = runner_of(spine, resolver, self._runs, parking)
            self._crew = Crew(self._runner, places, config.dns.retry, _again)
            self._parking = asyncio.create_task(parking.run())
            self._checks = asyncio.create_task(keep_testing(resolver, config, SelfTestStore(spine.redis)))
            self._stack = stack.pop_all()
        log.emit("process.started")

    async def _close(self) -> None:
        if self._crew is not None:
            await self._crew.finish(max(0.0, self._until - time.monotonic()))
        running = {task for task in asyncio.all_tasks() if task.get_name() != TRIP} - {asyncio.current_task()}
        for task in running:  # jobs whose time is over, and the checks of the resolver
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=LAST_WORDS)  # they give their leases back
        if self._stack is not None:
            await self._stack.aclose()
        log.emit("process.stopped")


process = WorkerProcess()
broker = make_broker(redis_url(config), process, *meter.middleware())


def _place_actor(stage: Stage) -> Callable[[], Any]:
    async def run() -> None:
        broken: StageBroke | None = None
        more = True
        while more and not process.runner.ending:
            try:
                more = await process.runner.run_place(stage)
            except StageBroke as error:  # what broke it was set aside: the others first
                broken = error
        if broken is not None:
            raise broken
        if more:  # nobody else would look before the nudge counts as lost
            await _enqueue(broker.get_actor(stage.name).message(), [stage.name])

    return run


def _destination_actor(stage: Stage) -> Callable[..., Any]:
    async def run(destinations: list[str], tried: int = 0) -> None:
        await process.crew.take(stage, destinations, tried)

    return run


async def _again(stage: Stage, keys: Sequence[str], tried: int, pause: timedelta) -> None:
    """Bring a destination job back after a while."""
    message = broker.get_actor(stage.name).message(list(keys), tried)
    await _enqueue(message, [f"to:{key}" for key in keys], pause)


async def _enqueue(message: Any, names: Sequence[str], pause: timedelta = timedelta(0)) -> None:
    """Have somebody run a job after a while. A failure is logged: the sweep of the clock makes it good."""
    try:
        await asyncio.to_thread(broker.enqueue, message, delay=int(pause.total_seconds() * 1000) or None)
    except Exception as error:  # noqa: BLE001 - whatever the broker raises, the mail is in the ledger
        log.emit("nudge.failed", level="warning", names=list(names), error=repr(error))


for _stage in line.stages:
    _make = _destination_actor if _stage.level is Level.DESTINATION else _place_actor
    dramatiq.actor(
        actor_name=_stage.name,
        queue_name=_stage.name,
        throws=(),
        broker=broker,
    )(_make(_stage))

__all__ = ["broker", "line", "process"]
