"""Redis is away when a worker starts, and goes away in the middle: work waits and goes on, and nothing is lost."""

import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from pipeline.accept.address import parse_address
from pipeline.accept.door import RecipientRequest, StoreUnavailable, Submission
from pipeline.clock import Clock
from pipeline.config import load
from pipeline.embedded import EmbeddedRedis
from pipeline.spine import Spine, utc_now
from pipeline.worker import Workers, WorkSettings
from stages.message import Origin
from tests.journeys.test_kill import Sink, settled, until, write_config
from tests.needs import free_port, redis_server

ROOT = Path(__file__).parents[2]


def _events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def test_work_waits_for_redis_and_goes_on(tmp_path: Path) -> None:
    """SMTP-50, SUB-30: a worker that starts before Redis waits for it; one that loses Redis takes up its work again."""
    redis_server()
    sink, port = Sink(), free_port()
    controller = Controller(sink, hostname="127.0.0.1", port=port)
    controller.start()
    path = write_config(tmp_path, port)
    config = load(path, {})
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pipeline.worker", "--threads", "4",
        env={**os.environ, "DANEPIPE_CONFIG": str(path), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    redis = EmbeddedRedis(tmp_path)
    try:
        log = tmp_path / "log.jsonl"
        await until(lambda: any(event["event"] == "redis.unavailable" for event in _events(log)), 30)
        await redis.start()
        async with Spine.open(config) as spine:
            stop = asyncio.Event()
            clock = asyncio.create_task(Clock(spine, utc_now).run(stop))
            await spine.submit(mail("before"))
            await until(lambda: "before" in sink.taken, 30)
            os.kill(redis.pid, signal.SIGKILL)
            await until(lambda: _is_gone(redis), 10)
            try:
                await spine.submit(mail("refused"))
            except StoreUnavailable:
                refused = True
            else:
                refused = False
            assert refused
            await redis.start()
            await spine.submit(mail("after"))
            await until(lambda: "after" in sink.taken, 60)
            assert await settled(spine) == 0
            stop.set()
            await clock
    finally:
        worker.terminate()
        await worker.wait()
        await redis.stop()
        controller.stop()
    assert dict(sink.taken) == {"before": 1, "after": 1}


def _is_gone(redis: EmbeddedRedis) -> bool:
    try:
        os.kill(redis.pid, 0)
    except ProcessLookupError:
        return True
    return False


def mail(subject: str) -> Submission:
    """Make a message that its Subject names."""
    return Submission(
        sender=parse_address("sender@sender.example"),
        recipients=(RecipientRequest(parse_address("user@far.example")),),
        origin=Origin("send"),
        content=f"Subject: {subject}\r\n\r\nbody\r\n".encode(),
    )


class Unlucky(Sink):
    """A mail host that takes a message while the sender's Redis dies, and answers long after that is back."""

    def __init__(self, redis: EmbeddedRedis) -> None:
        super().__init__()
        self.redis = redis
        self.began = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.may_answer = threading.Event()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Kill, and wait."""
        os.kill(self.redis.pid, signal.SIGKILL)
        self.loop.call_soon_threadsafe(self.began.set)
        await asyncio.to_thread(self.may_answer.wait)
        return await super().handle_DATA(server, session, envelope)


@pytest.mark.parametrize("answers", ["while Redis is away", "long after it is back"])
async def test_redis_away_in_the_middle_of_a_delivery_makes_no_duplicate(tmp_path: Path, answers: str) -> None:
    """SMTP-57: the reply of the host is waited for under the lease, and recorded once Redis is there again."""
    redis_server()
    redis, port = EmbeddedRedis(tmp_path), free_port()
    sink = Unlucky(redis)
    controller = Controller(sink, hostname="127.0.0.1", port=port)
    controller.start()
    path = write_config(tmp_path, port)
    config = load(path, {})
    await redis.start()
    workers = Workers(WorkSettings(processes=1, threads=4, config=path))
    await workers.start()
    try:
        async with Spine.open(config) as spine:
            stop = asyncio.Event()
            clock = asyncio.create_task(Clock(spine, utc_now).run(stop))
            await spine.submit(mail("once"))
            async with asyncio.timeout(30):
                await sink.began.wait()
            await redis.ended()
            if answers == "while Redis is away":
                sink.may_answer.set()
                await until(lambda: sink.taken, 10)
            back = sink.loop.time() + 2.0  # longer than a lease goes without being prolonged
            await until(lambda: sink.loop.time() > back, 10)
            await redis.start()
            if answers == "long after it is back":
                (token,) = await spine.redis.zrange("dp:claims", 0, -1)
                before = await spine.redis.zscore("dp:claims", token)
                async with asyncio.timeout(30):  # until the lease that it had when Redis died would be over
                    while (await spine.redis.zscore("dp:claims", token)) < before + 5000:  # noqa: ASYNC110 - as `until`
                        await asyncio.sleep(0.1)
                sink.may_answer.set()
            assert await settled(spine) == 0
            stop.set()
            await clock
    finally:
        sink.may_answer.set()
        await workers.stop()
        await redis.stop()
        controller.stop()
    assert dict(sink.taken) == {"once": 1}
