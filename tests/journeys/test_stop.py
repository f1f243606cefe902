"""A worker that is asked to end in the middle of a delivery ends within bounds, and leaves the mail to others at once."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from pipeline.config import load
from pipeline.embedded import EmbeddedRedis
from pipeline.spine import Spine
from tests.journeys.test_kill import write_config
from tests.journeys.test_redis_away import ROOT, mail
from tests.needs import free_port, redis_server


async def test_a_worker_that_ends_gives_its_leases_back(tmp_path: Path) -> None:
    """SMTP-50: a host that never greets holds nobody up; the lease is given back, not left to run out."""
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
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "pipeline.worker", "--threads", "4", "--grace", "1",
                env={**os.environ, "DANEPIPE_CONFIG": str(path), "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
            async with asyncio.timeout(30):
                await began.wait()
                worker.send_signal(signal.SIGTERM)
                assert await worker.wait() == 0
            assert (await spine.ledger.counts())["claims"] == 0
            assert await spine.ledger.backlog(f"host:[127.0.0.1]:{port}:may") == 1
    finally:
        over.set()
        server.close()
        await redis.stop()
