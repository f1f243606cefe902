"""Workers are restarted one after the other while mail flows: each message arrives once, and hardly any later than usual."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from itertools import count
from pathlib import Path

import aiosmtplib
import pytest

from ops.cli.listeners import listener_settings
from pipeline.accept.smtp import Listener
from pipeline.clock import Clock
from pipeline.config import load
from pipeline.embedded import EmbeddedRedis
from pipeline.spine import Spine, utc_now
from tests.delivery.mailhost import MailHost, Script, mailhost
from tests.journeys.test_fair_shares import SLACK, first_events, write_config
from tests.journeys.test_kill import until
from tests.needs import free_port, redis_server
from tests.ops.command_line import PATIENCE
from tests.pipeline.yard import logged

ROOT = Path(__file__).parents[2]
PAUSE = 0.03  # seconds between two messages
USUAL = 100  # messages before the first restart, by which it is known what is usual
RESTARTS = 2  # of each worker
LATER = 2.0  # seconds by which a message may be later than the latest of the usual ones


def _config(directory: Path, hosts: dict[str, MailHost]) -> Path:
    listener = f'[listen]\nsmtp = "127.0.0.1:{free_port()}"\n'
    return write_config(directory, {name: host.port for name, host in hosts.items()}, listener)


class _Worker:
    """A `danepipe work` with one process."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._log = config.parent / "log.jsonl"
        self._process: asyncio.subprocess.Process | None = None

    def _started(self) -> int:
        return self._log.read_bytes().count(b'"event":"process.started"') if self._log.exists() else 0

    async def start(self) -> None:
        """Start it, and wait until it works."""
        before = self._started()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops.cli", "--config", str(self._config), "work", "--processes", "1",
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        await until(lambda: self._started() > before, 30)

    async def stop(self) -> None:
        """Ask it to end, and wait for that as long as it may take. Fails unless it ends well."""
        assert self._process is not None
        self._process.terminate()
        async with asyncio.timeout(PATIENCE["work"].total_seconds()):
            assert await self._process.wait() == 0


@asynccontextmanager
async def _danepipe(path: Path) -> AsyncIterator[tuple[int, list[_Worker]]]:
    """Run Redis, a listener, a clock and two workers; gives the port of the listener, and the workers."""
    config = load(path, {})
    redis = EmbeddedRedis(path.parent)
    await redis.start()
    try:
        async with Spine.open(config) as spine:
            stop = asyncio.Event()
            clock = asyncio.create_task(Clock(spine, utc_now).run(stop))
            listener = Listener(listener_settings(config), spine.submit)
            await listener.start()
            workers = [_Worker(path) for _ in range(2)]
            for worker in workers:
                await worker.start()
            yield listener.port, workers
            for worker in workers:
                await worker.stop()
            await listener.close()
            stop.set()
            await clock
    finally:
        await redis.stop()


def _arrived(hosts: dict[str, MailHost]) -> Counter[bytes]:
    """Count the copies of each message that hosts have taken, by its Subject."""
    contents = [content for host in hosts.values() for seen in host.seen for content in seen.contents]
    return Counter(content.partition(b"Subject: ")[2].partition(b"\r\n")[0] for content in contents)


def _seconds(log: Path) -> list[float]:
    """Tell how long each message took from being accepted to being done, in the order of acceptance."""
    accepted, done = first_events(log, "message.accepted"), first_events(log, "message.done")
    in_order: list[tuple[datetime, str]] = sorted((at, name) for name, at in accepted.items())
    return [(done[name] - at).total_seconds() for at, name in in_order]


@pytest.mark.timeout(240)
async def test_workers_restarted_in_turn_lose_delay_and_double_nothing(tmp_path: Path) -> None:
    """SMTP-57: SIGTERM to each of two workers, twice, under a steady load through the listener, and each ends with 0.

    A host that thinks about each command is in the middle of a transaction whenever one ends. What a worker has been told
    to look at, and does not as it ends, others look at now, and not when the sweep of the clock takes the word for lost.
    """
    redis_server()
    scripts = {"a": Script(), "b": Script(), "c": Script(), "slow": Script(stall=0.08)}
    async with AsyncExitStack() as stack:
        hosts = {name: await stack.enter_async_context(mailhost(script)) for name, script in scripts.items()}
        log = tmp_path / "log.jsonl"
        over, sent = asyncio.Event(), count()
        accepted: list[bytes] = []

        async def load(port: int) -> None:
            names = ["a", "b", "c"] * 5 + ["slow"]  # as much as one connection to it carries
            async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
                while not over.is_set():
                    number = next(sent)
                    to, subject = f"user@{names[number % len(names)]}.example", f"number {number}"
                    await client.sendmail("me@sender.example", [to], f"Subject: {subject}\r\n\r\nx\r\n".encode())
                    accepted.append(subject.encode())
                    await asyncio.sleep(PAUSE)

        stack.enter_context(logged(log))
        async with _danepipe(_config(tmp_path, hosts)) as (port, workers):
            mail = asyncio.create_task(load(port))
            try:
                await until(lambda: len(accepted) >= USUAL, 60)
                for _ in range(RESTARTS):
                    for worker in workers:
                        await worker.stop()
                        await worker.start()
            finally:
                over.set()
                await mail
            await until(lambda: len(first_events(log, "message.done")) >= len(accepted), 60)
        assert _arrived(hosts) == Counter(accepted)
        assert b'"lease.lost"' not in log.read_bytes()
        seconds = _seconds(log)
        assert max(seconds) < max(seconds[:USUAL]) + LATER + SLACK.total_seconds()
