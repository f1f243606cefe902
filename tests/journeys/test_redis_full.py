"""Redis is full: new mail is refused for now, and what was taken before still goes out."""

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

from aiosmtpd.controller import Controller
from redis.asyncio import Redis

from pipeline.clock import Clock
from pipeline.config import load
from pipeline.embedded import EmbeddedRedis
from pipeline.spine import Spine, utc_now
from pipeline.store.connection import StoreFull
from pipeline.worker import Workers, WorkSettings
from tests.journeys.test_kill import Sink, settled, until, write_config
from tests.journeys.test_redis_away import mail
from tests.needs import free_port, redis_server

ROOM = 10_000_000  # octets


async def test_a_full_redis_drains(tmp_path: Path) -> None:
    """SUB-31: the door says "full" while there is memory left to work with, so that workers can empty the queue."""
    redis_server()
    sink, port = Sink(), free_port()
    controller = Controller(sink, hostname="127.0.0.1", port=port)
    controller.start()
    path = write_config(tmp_path, port)
    redis = EmbeddedRedis(tmp_path)
    await redis.start()
    client = Redis.from_url(redis.url)
    await client.config_set("maxmemory", (await client.info("memory"))["used_memory"] + ROOM)
    await client.aclose()
    workers = Workers(WorkSettings(processes=1, threads=4, config=path))
    try:
        async with Spine.open(load(path, {})) as spine:
            taken = await _fill(spine)
            stop = asyncio.Event()
            clock = asyncio.create_task(Clock(spine, utc_now).run(stop))
            await workers.start()
            await until(lambda: len(sink.taken) == taken, 60)
            assert await settled(spine) == 0
            await _open_again(spine)
            await until(lambda: "after" in sink.taken, 30)
            stop.set()
            await clock
    finally:
        await workers.stop()
        await redis.stop()
        controller.stop()
    assert set(sink.taken.values()) == {1}


async def _open_again(spine: Spine) -> None:
    """Send one more, as soon as the door has noticed that there is room."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(StoreFull):
                await spine.submit(mail("after"))
                return
            await spine.ledger.counts()


async def _fill(spine: Spine) -> int:
    """Send until the door is closed; give the number of messages taken."""
    large = b"".join(b"%064d\r\n" % line for line in range(1000))
    for number in range(1000):
        one = mail(str(number))
        try:
            await spine.submit(replace(one, content=one.content + large))
        except StoreFull:
            return number
    raise AssertionError("the door never closed")
