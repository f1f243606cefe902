"""A danepipe whose parts can be hurt one by one: a Redis of its own, the listener, the clock and two workers.

A part that dies is started again at once, as a supervisor would. `Pipe.open` runs it all in a directory until the
block ends. What ends by itself, without having been killed here, is remembered in `crashed`: that is a fault of ours.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit

from ops.bench.stand import closed_port
from pipeline.config import load
from pipeline.embedded import EmbeddedRedis
from pipeline.spine import Spine

START = 60.0  # seconds for a part to start
STOP = 20.0  # seconds for a part to end
LEASE = 5.0  # seconds, the shortest that danepipe allows

Condition = Callable[[], bool] | Callable[[], Awaitable[bool]]


async def until(condition: Condition, seconds: float, what: str) -> None:
    """Look again and again until something is so. Raises RuntimeError if it never is."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        if asyncio.get_running_loop().time() > end:
            raise RuntimeError(f"gave up waiting: {what}")
        await asyncio.sleep(0.05)


class Part:
    """One process, kept running."""

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], output: Path) -> None:
        self.name = name
        self._command = tuple(command)
        self.environ = dict(environ)
        self._output = output
        self._ending = False
        self._killed: set[int] = set()
        self._task: asyncio.Task[None] | None = None
        self.process: asyncio.subprocess.Process | None = None
        self.crashed: list[int] = []  # statuses of ends that nobody asked for

    async def start(self) -> None:
        """Start it, and keep it."""
        self._ending = False
        await self._spawn()
        self._task = asyncio.create_task(self._keep())

    async def _spawn(self) -> asyncio.subprocess.Process:
        with self._output.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *self._command, env=self.environ, stdout=output, stderr=output, start_new_session=True
            )
        return self.process

    async def _keep(self) -> None:
        process = self.process
        while process is not None:
            status = await process.wait()
            if self._ending:
                return
            if process.pid not in self._killed:
                self.crashed.append(status)
                await asyncio.sleep(0.5)
            process = await self._spawn()

    @property
    def pid(self) -> int:
        """Give its process id. Raises RuntimeError if it does not run."""
        if self.process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: one that kills is remembered as asked for."""
        process = self.process
        if process is not None and process.returncode is None:
            if number is signal.SIGKILL:
                self._killed.add(process.pid)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def stop(self) -> None:
        """End it for good."""
        self._ending = True
        if self.process is None:
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), STOP)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.process.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class Pipe:
    """The parts, by name: "accept", "clock", "work1", "work2"; and Redis."""

    def __init__(self, directory: Path, port: int, settings: Mapping[str, Any]) -> None:
        self.port = port
        self.directory = directory
        self.log = directory / "danepipe.log"
        self.config = directory / "danepipe.toml"
        own: dict[str, Any] = {
            "listen": {"smtp": f"127.0.0.1:{port}"},
            "store": {"dir": str(directory / "var")},
            "log": {"file": str(self.log), "level": "info", "format": "json"},
            "work": {"lease": f"{LEASE:.0f}s", "threads": 4},
        }
        for key, value in settings.items():
            own[key] = {**own[key], **value} if key in own else value
        self.config.write_text(tomlkit.dumps(own), encoding="utf-8")
        self.redis = EmbeddedRedis(directory / "var")
        environ = {name: value for name, value in os.environ.items() if not name.startswith("DANEPIPE_")}
        environ |= {"DANEPIPE_CONFIG": str(self.config), "DANEPIPE_WORKER": str(os.getpid())}
        ours, worker = [sys.executable, "-m", "ops.cli"], [sys.executable, "-m", "pipeline.worker", "--threads", "4"]
        commands = {"accept": [*ours, "accept"], "clock": [*ours, "clock"], "work1": worker, "work2": worker}
        self.parts = {
            name: Part(name, command, environ, directory / f"{name}.err") for name, command in commands.items()
        }

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, directory: Path, settings: Mapping[str, Any], environ: Mapping[str, Mapping[str, str]] | None = None
    ) -> AsyncIterator["Pipe"]:  # fmt: skip
        """Run all parts until the block ends; `environ` adds variables to single parts."""
        (directory / "var").mkdir(parents=True, exist_ok=True)
        pipe = cls(directory, closed_port(), settings)
        given = environ or {}
        with _environment(given.get("redis", {})):
            await pipe.redis.start()
        try:
            for name, part in pipe.parts.items():
                part.environ |= given.get(name, {})
                await part.start()
            await until(pipe.listening, START, "the listener does not start")
            yield pipe
        finally:
            await asyncio.gather(*(part.stop() for part in pipe.parts.values()))
            await pipe.redis.stop()

    async def listening(self) -> bool:
        """Tell whether the listener takes connections."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def kill_redis(self) -> None:
        """Kill Redis and start it again from its append-only file."""
        os.kill(self.redis.pid, signal.SIGKILL)
        await self.redis.ended()
        await self.redis.start()

    @contextlib.asynccontextmanager
    async def spine(self) -> AsyncIterator[Spine]:
        """Look into the store, beside danepipe."""
        async with Spine.open(load(self.config, {})) as spine:
            yield spine

    async def command(self, *arguments: str) -> bool:
        """Run a command of danepipe; tells whether it did all that was asked. Raises RuntimeError if it breaks."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops.cli", "--config", str(self.config), *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        if process.returncode not in {0, 1}:
            raise RuntimeError(f"danepipe {' '.join(arguments)}: {said.decode(errors='replace')}")
        return process.returncode == 0

    def events(self, *names: str) -> Iterator[dict[str, Any]]:
        """Give the events of these names so far."""
        if self.log.exists():
            for line in self.log.read_text(encoding="utf-8").splitlines():
                if any(f'"event":"{name}"' in line for name in names) and line.endswith("}"):
                    yield json.loads(line)

    def crashes(self) -> list[str]:
        """Say which parts ended that nobody had killed."""
        return [f"{part.name} ended with status {status}" for part in self.parts.values() for status in part.crashed]


@contextlib.contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    """Let what is started within have these variables."""
    os.environ.update(more)
    try:
        yield
    finally:
        for name in more:
            del os.environ[name]
