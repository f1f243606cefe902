"""A worker that is asked to end in the middle of a delivery ends within bounds, and leaves the mail to others at once."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.embedded import EmbeddedRedis
from pipeline.spine import Spine
from pipeline.worker import Workers, WorkSettings
from tests.journeys.test_kill import write_config
from tests.journeys.test_redis_away import ROOT, mail
from tests.needs import free_port, redis_server

SHORT = 15.0  # seconds: more than a worker takes that may wait for one or ten, and less than it would wait by itself


@dataclass
class Scene:
    """A message for a host that never greets, and what the ledger says of it."""

    config: Path
    port: int
    began: asyncio.Event
    spine: Spine

    async def given_back(self) -> bool:
        """Tell whether the message lies where any worker would take it from, and nobody has a lease."""
        claims = (await self.spine.ledger.counts())["claims"]
        return (claims, await self.spine.ledger.backlog(f"host:[127.0.0.1]:{self.port}:may")) == (0, 1)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Run Redis and that host, with leases that do not run out."""
    redis_server()
    port, began, over = free_port(), asyncio.Event(), asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began.set()
        await over.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", port)
    path = write_config(tmp_path, port)
    path.write_text(path.read_text().replace('lease = "5s"', 'lease = "1h"'))
    redis = EmbeddedRedis(tmp_path)
    await redis.start()
    try:
        async with Spine.open(load(path, {})) as spine:
            await spine.submit(mail("waits"))
            yield Scene(path, port, began, spine)
    finally:
        over.set()
        server.close()
        await redis.stop()


async def test_a_worker_that_ends_gives_its_leases_back(scene: Scene) -> None:
    """SMTP-50: a host that never greets holds nobody up; the lease is given back, not left to run out.

    It is waited for as long as `--grace` says, and no longer.
    """
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pipeline.worker", "--threads", "4", "--grace", "1",
        env={**os.environ, "DANEPIPE_CONFIG": str(scene.config), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    async with asyncio.timeout(30):
        await scene.began.wait()
    async with asyncio.timeout(SHORT):
        worker.send_signal(signal.SIGTERM)
        assert await worker.wait() == 0
    assert await scene.given_back()


async def test_workers_end_by_themselves_before_they_are_killed(scene: Scene) -> None:
    """SMTP-50: what a supervisor grants is more than it tells its workers to wait, so that each gives its leases back."""
    workers = Workers(WorkSettings(processes=1, threads=4, config=scene.config, grace=SHORT))
    await workers.start()
    async with asyncio.timeout(30):
        await scene.began.wait()
    await workers.stop()
    assert [process.returncode for process in workers.processes.values()] == [0]
    assert await scene.given_back()
