"""`dramatiq pipeline.actors` does the work, as people who know Dramatiq expect, and ends as it is told to."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller

from pipeline.config import load
from pipeline.embedded import EmbeddedRedis
from pipeline.spine import Spine
from tests.journeys.test_kill import Sink, settled, until, write_config
from tests.journeys.test_redis_away import ROOT, mail
from tests.needs import free_port, redis_server

COMMAND = (sys.executable, "-m", "dramatiq", "pipeline.actors", "--processes", "1", "--threads", "4")


@pytest.mark.parametrize("whole_group", [False, True], ids=["the master", "every process"])
async def test_dramatiq_delivers_and_ends(tmp_path: Path, whole_group: bool) -> None:  # noqa: FBT001 - two ways to stop
    """Mail goes through all stages; SIGTERM ends it, also where every process gets it, and so a worker gets it twice."""
    redis_server()
    sink, port = Sink(), free_port()
    controller = Controller(sink, hostname="127.0.0.1", port=port)
    controller.start()
    path = write_config(tmp_path, port)
    redis = EmbeddedRedis(tmp_path)
    await redis.start()
    dramatiq = await asyncio.create_subprocess_exec(
        *COMMAND, start_new_session=True, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "DANEPIPE_CONFIG": str(path), "PYTHONPATH": str(ROOT)}, cwd=tmp_path,
    )  # fmt: skip
    try:
        async with Spine.open(load(path, {})) as spine:
            await spine.submit(mail("one"))
            await until(lambda: "one" in sink.taken, 60)
            assert await settled(spine) == 0
            if whole_group:
                os.killpg(dramatiq.pid, signal.SIGTERM)
            else:
                dramatiq.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                status = await dramatiq.wait()
            assert whole_group or status == 0
            with pytest.raises(ProcessLookupError):
                os.killpg(dramatiq.pid, 0)  # no worker is left behind
    finally:
        if dramatiq.returncode is None:
            os.killpg(dramatiq.pid, signal.SIGKILL)
            await dramatiq.wait()
        await redis.stop()
        controller.stop()
