"""Worker processes die without warning while mail flows: every message still arrives, and few arrive twice."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from pipeline.accept.address import parse_address
from pipeline.accept.door import RecipientRequest, Submission
from pipeline.clock import Clock
from pipeline.config import Config, load
from pipeline.embedded import EmbeddedRedis
from pipeline.spine import Spine, utc_now
from pipeline.worker import Workers, WorkSettings
from stages.message import Origin
from tests.needs import free_port, redis_server
from tests.pipeline.s3 import BUCKET, s3_service, settings

MESSAGES = 500
KILLS = 20
THREADS = 8


class Sink:
    """A mail host that takes everything, and counts what it has answered with 250."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Count a message by its Subject."""
        self.taken[BytesParser().parsebytes(envelope.content, headersonly=True)["Subject"]] += 1
        return "250 2.0.0 taken"


def write_config(directory: Path, port: int, content: str = "redis") -> Path:
    """Write a configuration that sends everything to a mail host on loopback."""
    path = directory / "danepipe.toml"
    path.write_text(
        f"""
        hostname = "sender.example"
        [store]
        dir = "{directory}"
        content = "{content}"
        [dns]
        servers = ["127.0.0.1@9"]
        timeout = "200ms"
        [work]
        lease = "5s"
        fair_share = 10
        [log]
        file = "{directory / "log.jsonl"}"
        [[route]]
        action = "host"
        host = "[127.0.0.1]"
        port = {port}
        tls = "may"
        """
    )
    return path


@asynccontextmanager
async def _pipe(directory: Path, port: int, content: str) -> AsyncIterator[tuple[Config, Path]]:
    path = write_config(directory, port, content)
    redis = EmbeddedRedis(directory)
    await redis.start()
    try:
        yield load(path, {}), path
    finally:
        await redis.stop()


async def until(condition: Any, seconds: float) -> None:
    """Wait until a condition of the far end holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the far end has no event to wait for
            await asyncio.sleep(0.05)


@pytest.fixture
def content(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give an empty place for content, of the kind asked for."""
    if request.param != "s3":
        yield "redis" if request.param == "redis" else (tmp_path / "content").as_uri()
        return
    with s3_service() as port:
        for name, value in settings(port).items():
            monkeypatch.setenv(name, value)
        yield f"s3://{BUCKET}/danepipe"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("content", ["redis", "file", "s3"], indirect=True)
async def test_twenty_workers_die_and_nothing_is_lost(tmp_path: Path, content: str) -> None:
    """SIGKILL twenty times during 500 messages: each arrives; extra copies only of what had been answered with 250.

    It is the same with content in files and in an S3 service, and a sweep leaves none of it.
    """
    redis_server()
    sink = Sink()
    port = free_port()
    controller = Controller(sink, hostname="127.0.0.1", port=port)
    controller.start()
    chance = random.Random(1)
    try:
        async with _pipe(tmp_path, port, content) as (config, path), Spine.open(config) as spine:
            stop = asyncio.Event()
            clock = asyncio.create_task(Clock(spine, utc_now).run(stop))
            workers = Workers(WorkSettings(processes=2, threads=THREADS, config=path))
            await workers.start()
            sender = parse_address("sender@sender.example")
            for number in range(MESSAGES):
                await spine.submit(
                    Submission(
                        sender=sender,
                        recipients=(RecipientRequest(parse_address(f"user{number}@far.example")),),
                        origin=Origin("command"),
                        content=f"Subject: {number}\r\n\r\nbody\r\n".encode(),
                    )
                )
            for kill in range(KILLS):
                wanted = MESSAGES * kill // (KILLS + 1)
                await until(lambda wanted=wanted: len(sink.taken) >= wanted, 60)
                running = [process for process in workers.processes.values() if process.returncode is None]
                chance.choice(running).send_signal(signal.SIGKILL)
            await until(lambda: len(sink.taken) == MESSAGES, 120)
            left = await settled(spine)
            stop.set()
            await clock
            await workers.stop()
            bodies = await _bodies(spine)
    finally:
        controller.stop()
    assert left == 0
    assert bodies == []
    assert set(sink.taken) == {str(number) for number in range(MESSAGES)}
    twice = sum(count - 1 for count in sink.taken.values())
    assert twice <= KILLS * THREADS  # at most what a killed process was about to commit


async def _bodies(spine: Spine) -> list[str]:
    """Sweep, and list the bodies that are left outside Redis."""
    bodies, any_age = spine.ledger.bodies, timedelta(seconds=-5)
    if bodies is None:
        return []
    await spine.redis.delete("dp:content:swept")
    await bodies.sweep(any_age)
    return [name async for names in bodies._store.older(any_age) for name in names]


async def settled(spine: Spine) -> int:
    """Wait until no recipient is open, and give how many messages are."""
    async with asyncio.timeout(60):
        while True:
            page, _ = await spine.ledger.page(count=2 * MESSAGES)
            left = sum(1 for stored in page if stored.open)
            if not left:
                return left
            await asyncio.sleep(0.2)
