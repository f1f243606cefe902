"""Worker processes: each runs one Dramatiq worker, and a supervisor replaces those that die.

`python -m pipeline.worker` is one process; `Workers` starts several and keeps their number. SIGTERM and SIGINT let
running transactions finish (Dramatiq's shutdown), a second signal ends at once. A worker killed without warning
loses nothing: its leases run out and the clock gives the work back.
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import log, meter

NOT_STARTED = 127  # the status of a process that could not be started, as shells say it
ALLOCATOR = {"MALLOC_ARENA_MAX": "2"}  # glibc sets memory aside for each thread, and nearly all work is done in one
WORKER_TIMEOUT_MS = 1000  # how long a consumer waits for a wake-up before it looks by itself


@dataclass(frozen=True, slots=True)
class WorkSettings:
    """How many processes, threads in each, and which queues (none: those of all stages).

    `grace`: seconds that each has to end. Two thirds of them are for transactions under way; then those that are left
    are broken off and give their work back.
    """

    processes: int = 1
    threads: int = 16
    queues: tuple[str, ...] = ()
    config: Path | None = None
    grace: float = 30.0
    environ: dict[str, str] = field(default_factory=dict)


class Workers:
    """Runs worker processes and starts a new one for each that ends by itself."""

    def __init__(self, settings: WorkSettings) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.processes: dict[int, asyncio.subprocess.Process] = {}

    async def start(self) -> None:
        """Start them all."""
        self._tasks = [asyncio.create_task(self._keep(slot)) for slot in range(self._settings.processes)]

    async def _spawn(self) -> asyncio.subprocess.Process:
        settings = self._settings
        environ = {**ALLOCATOR, **os.environ, **settings.environ, "DANEPIPE_WORKER": str(os.getpid())}
        if settings.config is not None:
            environ["DANEPIPE_CONFIG"] = str(settings.config)
        arguments = ["--threads", str(settings.threads), "--grace", f"{settings.grace * 2 / 3:g}"]
        arguments += [f"--queue={queue}" for queue in settings.queues]
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pipeline.worker", *arguments, env=environ, start_new_session=True,
        )  # fmt: skip

    async def _keep(self, slot: int) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            loop = asyncio.get_running_loop()
            began = loop.time()
            try:
                process = self.processes[slot] = await self._spawn()
                status = await process.wait()
                meter.gone(process.pid)
            except OSError:  # no memory, no process left: that may pass
                status = NOT_STARTED
            if self._stopping.is_set():
                return
            log.emit("process.died", level="error", worker=slot, status=status)
            pause = 0.1 if loop.time() - began > 30 else min(pause * 2, 10.0)
            await asyncio.sleep(pause)

    async def stop(self) -> None:
        """Ask all to finish; kill those that have not after the grace period."""
        self._stopping.set()
        running = [process for process in self.processes.values() if process.returncode is None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._settings.grace):
                await asyncio.gather(*(process.wait() for process in running))
        except TimeoutError:
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def settle() -> None:
    """Tell the garbage collector that what was imported stays, and to look for cycles less often.

    Messages make many objects and no cycles; looking through all of them again and again costs a tenth of the work.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def stand_back(nice: int) -> None:
    """Let others of this machine have the processor first: mail that comes in is kept at once, and sent a little later.

    Linux shares its time among sessions before it looks at `nice`, and a worker is a session of its own, so both are
    told (sched(7), "The autogroup feature").
    """
    os.nice(nice)
    with contextlib.suppress(OSError):  # no such feature, or it is not ours to set
        Path("/proc/self/autogroup").write_text(str(nice), encoding="ascii")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one worker process until a signal ends it."""
    import argparse  # noqa: PLC0415 - only this entry point parses arguments

    parser = argparse.ArgumentParser(prog="python -m pipeline.worker", description="One danepipe worker process.")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--queue", action="append", default=[])
    # for transactions under way; less than the grace of a supervisor
    parser.add_argument("--grace", type=float, default=20.0)
    options = parser.parse_args(arguments)

    from dramatiq import Worker  # noqa: PLC0415 - importing the actors reads the configuration
    from dramatiq.middleware import MiddlewareError  # noqa: PLC0415

    from pipeline import actors  # noqa: PLC0415

    stand_back(actors.config.work.nice)
    if meter.DIRECTORY in os.environ:
        meter.begin("work")
        actors.broker.emit_after("process_boot")  # where Dramatiq's own counting begins
    settle()
    actors.process.grace = options.grace
    worker = Worker(
        actors.broker,
        queues=set(options.queue) or None,
        worker_threads=options.threads,
        worker_timeout=WORKER_TIMEOUT_MS,
    )
    ended = threading.Event()

    def finish(_number: int, _frame: object) -> None:
        if ended.is_set():
            os._exit(1)  # the second signal: end at once, the leases will be taken back
        ended.set()
        actors.process.ended.set()

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGINT, finish)
    supervisor = int(os.environ.get("DANEPIPE_WORKER") or os.getppid())

    def watch() -> None:
        while os.getppid() == supervisor:
            ended.wait(1.0)
        ended.set()  # nobody else would end us, and the start may be waiting for a Redis that is gone as well
        actors.process.ended.set()

    if "DANEPIPE_WORKER" in os.environ:
        threading.Thread(target=watch, name="supervisor", daemon=True).start()
    try:
        worker.start()
    except MiddlewareError as error:
        sys.stderr.write(f"danepipe: {error}\n")
        return 1
    try:
        while not ended.wait(1.0):
            pass
    finally:
        worker.stop(timeout=int(options.grace * 1000))
        actors.broker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
