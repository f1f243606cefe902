"""Keep child processes running: start again what ends by itself, and end all when asked.

`Keeper` is for one process, `OnDemand` for one that is there only while its socket is used. A child that ends is logged
(`process.died`) and started again after a pause that grows up to ten seconds while it keeps ending. Children run in
sessions of their own, so that a Ctrl-C reaches the supervisor alone and the order of the end is its decision. `Stop`
counts the signals: the first asks, the second insists.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from pipeline import log, meter
from pipeline.worker import NOT_STARTED

LONGEST_PAUSE = 10.0
STEADY = 30.0  # seconds after which a child that ends is no longer one that keeps ending


class Stop:
    """SIGINT and SIGTERM as events; `asked` after the first, `insisted` after the second."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def _signal(self) -> None:
        (self.insisted if self.asked.is_set() else self.asked).set()


class Keeper:
    """Keeps one process running from `start` to `stop`. `inherited` are open files that it gets, by their numbers."""

    def __init__(
        self, name: str, command: Sequence[str], environ: Mapping[str, str], inherited: Sequence[int] = ()
    ) -> None:
        self.name = name
        self._command = tuple(command)
        # the child ends by itself when its supervisor is gone
        self._environ = {**os.environ, **environ, "DANEPIPE_WORKER": str(os.getpid())}
        self._inherited = tuple(inherited)
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.process: asyncio.subprocess.Process | None = None

    def start(self) -> None:
        """Start it."""
        self._task = asyncio.create_task(self._keep())

    async def _wanted(self) -> None:
        """Wait until the process is to run: a keeper wants it at once."""

    def _died(self, status: int) -> bool:  # noqa: ARG002 - a keeper takes every end for a death
        """Tell whether an end with that status was none that the process chose."""
        return True

    async def _keep(self) -> None:
        loop, pause = asyncio.get_running_loop(), 0.1
        while not self._ending.is_set():
            await self._wanted()
            began = loop.time()
            try:
                self.process = await asyncio.create_subprocess_exec(
                    *self._command, env=self._environ, start_new_session=True, pass_fds=self._inherited,
                )  # fmt: skip
                status = await self.process.wait()
                meter.gone(self.process.pid)
            except OSError:  # no memory, no process left: that may pass
                status = NOT_STARTED
            if self._ending.is_set():
                return
            if self._died(status):
                log.emit("process.died", level="error", worker=self.name, status=status)
                pause = 0.1 if loop.time() - began > STEADY else min(pause * 2, LONGEST_PAUSE)
                await asyncio.sleep(pause)

    async def stop(self, grace: float) -> None:
        """Ask it to end, and kill it when the grace period (in seconds) is over."""
        self._ending.set()
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            try:
                async with asyncio.timeout(grace):
                    await self.process.wait()
            except TimeoutError:
                self.kill()
                await self.process.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def kill(self) -> None:
        """End it at once."""
        self._ending.set()
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()


class OnDemand(Keeper):
    """Listens on a socket, and keeps a process on it only while it is used: it ends with status 0 when it is not.

    Who connects meanwhile waits in the queue of the socket, which the process gets as an open file.
    """

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], opened: socket.socket) -> None:
        super().__init__(name, [*command, "--socket", str(opened.fileno())], environ, (opened.fileno(),))
        self._opened = opened

    async def _wanted(self) -> None:
        loop, asked = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._opened, asked.set)
        try:
            await asked.wait()
        finally:
            loop.remove_reader(self._opened)

    def _died(self, status: int) -> bool:
        return status != 0


def is_supervised() -> bool:
    """Tell whether a supervisor started this process."""
    return os.environ.get("DANEPIPE_WORKER") == str(os.getppid())


async def supervisor_gone() -> None:
    """Return when the process that started us is gone; never for a process that nobody supervises."""
    if not os.environ.get("DANEPIPE_WORKER"):
        await asyncio.Event().wait()
    while is_supervised():  # noqa: ASYNC110 - the system tells nobody of this
        await asyncio.sleep(1.0)
