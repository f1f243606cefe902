"""The pressure at the door: when replies wait, when mail is put off, and that the door opens again by itself."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import log
from pipeline.accept.pressure import AGE, STALE, Pressure, State
from pipeline.backpressure import Backpressure
from pipeline.config import load
from pipeline.spine import Spine
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.headroom import Reading, read
from tests.journeys.test_redis_away import mail

QUEUE = Backpressure(max_queue=1000, min_disk_free=0)


class World:
    """Redis and the time, as a test wants them."""

    def __init__(self) -> None:
        self.reading = Reading(messages=0, used=0, bound=0)
        self.looks = 0
        self.now = 0.0
        self.away = False

    async def read(self) -> Reading:
        """Look at Redis."""
        self.looks += 1
        if self.away:
            raise StoreUnavailable("away")
        return self.reading

    def clock(self) -> float:
        """Tell the time."""
        return self.now

    async def at(self, pressure: Pressure, size: int = 100, **changes: int) -> float:
        """Take one message when Redis is like this, and was not looked at for long."""
        self.reading = replace(self.reading, **changes)
        self.now += STALE
        return await pressure.take(size)


@asynccontextmanager
async def door(settings: Backpressure, *disks: Path) -> AsyncIterator[tuple[World, Pressure]]:
    """Give a world and its door."""
    world = World()
    pressure = Pressure(settings, world.read, disks, world.clock)
    try:
        yield world, pressure
    finally:
        await pressure.close()


def told(path: Path) -> list[tuple[str, str, str]]:
    """Give level, state and cause of each change that was logged."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(one["level"], one["state"], one["cause"]) for one in lines if one["event"] == "accept.pressure"]


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Path]:
    """Let events go to a file for the length of a test."""
    path = tmp_path / "log.jsonl"
    before = (log._output.stream, log._output.threshold, log._output.role)
    handlers = logging.getLogger().handlers
    log.configure(role="accept", file=path)
    yield path
    log._output.stream.close()
    log._output.stream, log._output.threshold, log._output.role = before
    logging.getLogger().handlers = handlers


async def test_replies_wait_the_longer_the_less_is_left() -> None:
    """SUB-31: no wait below the zone, in it a wait that grows, at the limit a refusal that names the setting."""
    async with door(QUEUE) as (world, pressure):
        waits = [await world.at(pressure, messages=number) for number in (0, 899, 910, 950, 990, 999)]
        assert waits[:2] == [0.0, 0.0]
        assert waits[2:] == sorted(waits[2:])
        assert waits[2] == pytest.approx(0.11)
        assert waits[-1] == 1.0
        with pytest.raises(StoreFull, match=r"1000 messages, and backpressure\.max_queue is 1000"):
            await world.at(pressure, messages=1000)


async def test_nothing_comes_and_goes_with_each_message(logged: Path) -> None:
    """A state ends only once the room has grown by a quarter of the zone, and each change is told once."""
    async with door(QUEUE) as (world, pressure):
        found = []
        for messages in (890, 905, 895, 905, 1000, 999, 990, 976, 975, 990, 880, 876, 875, 890):
            with suppress(StoreFull):
                await world.at(pressure, messages=messages)
            found.append(pressure.state.name[0])
        assert "".join(found) == "OSSSFFFFSSSSOO"
    log._writer.flush()
    assert told(logged) == [
        ("warning", "slowed", "queue"), ("error", "full", "queue"), ("warning", "slowed", "queue"),
        ("info", "open", "queue"),
    ]  # fmt: skip


async def test_the_room_is_reckoned_between_two_looks() -> None:
    """One look serves all clients that ask at once, and the messages taken since count against the limit."""
    async with door(Backpressure(max_queue=10, min_disk_free=0)) as (world, pressure):
        outcomes = await asyncio.gather(*(pressure.take(1) for _ in range(15)), return_exceptions=True)
        assert [isinstance(one, StoreFull) for one in outcomes] == [False] * 10 + [True] * 5
        assert world.looks == 1
        world.now += AGE / 2
        with pytest.raises(StoreFull):
            await pressure.take(1)
        assert world.looks == 1


async def test_mail_does_not_wait_for_the_next_look() -> None:
    """While mail flows, a look goes on beside it; after a silence mail waits for what is true now."""
    async with door(QUEUE) as (world, pressure):
        await pressure.take(1)
        world.reading = Reading(messages=2000, used=0, bound=0)
        world.now += AGE
        assert await pressure.take(1) == 0.0
        for _ in range(3):  # turns of the event loop
            await asyncio.sleep(0)
        with pytest.raises(StoreFull):
            await pressure.take(1)
        world.reading = Reading(messages=0, used=0, bound=0)
        world.now += STALE
        assert await pressure.take(1) == 0.0


async def test_a_redis_that_is_away_is_none_that_is_full() -> None:
    """SUB-30: whoever waits for a look that fails hears why, and the next one looks again."""
    async with door(QUEUE) as (world, pressure):
        world.away = True
        outcomes = await asyncio.gather(*(pressure.take(1) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in outcomes] == [StoreUnavailable] * 3
        world.away = False
        assert await pressure.take(1) == 0.0


async def test_memory_that_mail_may_fill() -> None:
    """The setting and what `maxmemory` leaves both count; a message too large for what is left harms no smaller one."""
    settings = Backpressure(max_memory="1M", min_disk_free=0)
    async with door(settings) as (world, pressure):
        assert await world.at(pressure, used=900_000, bound=10 << 20) == 0.0
        assert await world.at(pressure, used=1_000_000, bound=10 << 20) > 0
        with pytest.raises(
            StoreFull, match="1000000 octets of Redis' memory are in use, and new mail may fill 1048576"
        ):
            await pressure.take(60_000)
        assert pressure.state is State.SLOWED
        await pressure.take(1000)
        with pytest.raises(StoreFull, match="may fill 500000"):
            await world.at(pressure, used=600_000, bound=500_000)
        assert await world.at(pressure, used=600_000, bound=0) == 0.0


async def test_content_elsewhere_takes_no_memory_of_redis() -> None:
    """A message larger than the memory that is left is taken where its content goes to files; not where Redis keeps it."""
    world = World()
    world.reading = Reading(messages=0, used=0, bound=1_000_000)
    for in_redis in (False, True):
        pressure = Pressure(QUEUE, world.read, (), world.clock, in_redis=in_redis)
        if in_redis:
            with pytest.raises(StoreFull, match="Redis' memory"):
                await pressure.take(2_000_000)
        else:
            assert [await pressure.take(2_000_000) for _ in range(3)] == [0.0] * 3
        assert pressure.state is State.OPEN
        await pressure.close()


async def test_a_queue_without_an_end_slows_and_never_refuses() -> None:
    """`max_queue = 0`: replies wait from `slow_queue` on, up to a second; without both nothing is asked of the queue."""
    async with door(Backpressure(max_queue=0, slow_queue=100, min_disk_free=0)) as (world, pressure):
        assert [await world.at(pressure, messages=number) for number in (99, 150, 10_000)] == [
            0.0, pytest.approx(0.5, abs=0.02), 1.0,
        ]  # fmt: skip
    async with door(Backpressure(max_queue=0, min_disk_free=0)) as (world, pressure):
        assert await world.at(pressure, messages=10**9) == 0.0


async def test_disks_that_grow_with_the_mail(tmp_path: Path) -> None:
    """Twice the room that is kept free is where replies begin to wait; a place that is not there has no say."""
    disk = os.statvfs(tmp_path)
    free = disk.f_bavail * disk.f_frsize
    cases = {free // 4: State.OPEN, free * 2 // 3: State.SLOWED, free * 2: State.FULL}
    for least, wanted in cases.items():
        async with door(Backpressure(min_disk_free=least), tmp_path, tmp_path / "absent") as (world, pressure):
            with suppress(StoreFull):
                await world.at(pressure)
            assert pressure.state is wanted
    async with door(Backpressure(min_disk_free=free * 2), tmp_path) as (world, pressure):
        with pytest.raises(StoreFull, match=f"free on the disk of {tmp_path}, and backpressure.min_disk_free is"):
            await world.at(pressure)
    async with door(Backpressure(min_disk_free=free * 2), tmp_path / "absent") as (world, pressure):
        assert await world.at(pressure) == 0.0


async def test_the_end_is_told_when_no_mail_comes(logged: Path) -> None:
    """The door looks by itself while it is not open, also past a Redis that is away for a while."""
    async with door(QUEUE) as (world, pressure):
        with pytest.raises(StoreFull):
            await world.at(pressure, messages=1000)
        world.away = True
        async with asyncio.timeout(10):
            while world.looks < 2:  # noqa: ASYNC110 - the door's own task sets no event
                await asyncio.sleep(0.01)
            world.away = False
            world.reading = Reading(messages=0, used=0, bound=0)
            while pressure.state is not State.OPEN:  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.01)
    log._writer.flush()
    assert told(logged)[-1] == ("info", "open", "queue")


async def test_redis_is_read_as_it_is(redis: Any) -> None:
    """Messages are those of the ledger; of `maxmemory` a tenth, and 16 MB at least, stays free for old mail."""
    for bound, wanted in ((0, 0), (1 << 30, (1 << 30) - (1 << 30) // 10), (20 << 20, 10 << 20)):
        await redis.config_set("maxmemory", bound)
        found = await read(redis, "dp:")
        assert (found.messages, found.bound) == (0, wanted)
        assert found.used > 0
    await redis.config_set("maxmemory", 0)
    await redis.zadd("dp:messages", {"a": 1, "b": 2})
    assert (await read(redis, "dp:")).messages == 2


async def test_the_way_in_asks_for_room(redis: Any, redis_url: str, tmp_path: Path) -> None:
    """SUB-31 (RFC 5321 4.2.5): at the limit nothing is half kept, and mail that was settled makes room again."""
    assert await redis.dbsize() == 0
    config = tmp_path / "danepipe.toml"
    config.write_text(f'[redis]\nurl = "{redis_url}"\n[backpressure]\nmax_queue = 3\nslow_queue = 2\n')

    async def nudge(_names: object) -> None:
        """Nobody works here."""

    async with Spine.open(load(config, {}), nudge) as spine:
        for number in range(3):
            await spine.submit(mail(str(number)))
        with pytest.raises(StoreFull, match=r"backpressure\.max_queue is 3"):
            await spine.submit(mail("one too many"))
        assert await redis.zcard("dp:messages") == 3
        await redis.zremrangebyrank("dp:messages", 0, 1)
        async with asyncio.timeout(10):
            while True:
                try:
                    await spine.submit(mail("after"))
                except StoreFull:
                    await asyncio.sleep(0.01)
                    continue
                break
        assert await redis.zcard("dp:messages") == 2
