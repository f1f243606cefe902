"""Commands that share round trips on a real Redis: each gets its own answer, fault or cancellation, and none is left."""

import asyncio
from typing import Any

import pytest
import redis.exceptions

from pipeline.store.connection import connect
from pipeline.store.shared_trips import LANES


async def test_each_command_gets_its_own_answer(redis: Any, redis_url: str) -> None:
    """Many at a time, among them one that fails: the fault is that one's alone, and all others are answered."""
    client = connect(redis_url)
    try:
        await redis.rpush("list", "x")
        results = await asyncio.gather(
            *(client.set(f"k{number}", number) for number in range(1000)), client.get("list"), return_exceptions=True
        )
        assert isinstance(results.pop(), redis_error())
        assert results == [True] * 1000
        assert [int(await client.get(f"k{number}")) for number in (0, 500, 999)] == [0, 500, 999]
    finally:
        await client.aclose()


async def test_they_share_round_trips(redis: Any, redis_url: str) -> None:
    """A thousand commands of one turn need no more connections than there are lanes, and few reads of Redis."""
    client = connect(redis_url)
    try:
        before = int((await redis.info("stats"))["total_connections_received"])
        await asyncio.gather(*(client.incr("n") for _ in range(1000)))
        assert int((await redis.info("stats"))["total_connections_received"]) - before <= LANES
        assert int(await client.get("n")) == 1000
    finally:
        await client.aclose()


async def test_none_is_left_when_a_lane_has_just_ended(redis_url: str) -> None:
    """A command that comes in the very turn in which the last trip ends is sent, and not left to a lane that is over."""
    client = connect(redis_url)
    try:
        async with asyncio.timeout(60):
            for _ in range(300):
                await asyncio.gather(*(chain(client, 3) for _ in range(LANES + 1)))
    finally:
        await client.aclose()


async def chain(client: Any, length: int) -> None:
    """Ask one thing right after the other."""
    for _ in range(length):
        await client.ping()


async def test_one_that_is_cancelled_takes_no_other_along(redis: Any, redis_url: str) -> None:
    """Who gives up waiting leaves the answers of the others where they belong, also those of the same trip."""
    client = connect(redis_url)
    try:
        first = asyncio.create_task(client.blpop(["list"], 30))
        beside = asyncio.create_task(client.get("list-of-none"))
        await waits(redis)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert sorted(await asyncio.gather(*(client.incr("b") for _ in range(5)))) == [1, 2, 3, 4, 5]
        await redis.rpush("list", "x")  # what nobody waits for any more is read and dropped
        assert await beside is None
    finally:
        await client.aclose()


async def test_a_lost_connection_fails_all_that_was_on_its_way(redis: Any, redis_url: str) -> None:
    """Redis going away is told to each command, and the next ones work again as soon as it is back."""
    client = connect(redis_url)
    try:
        blocked = asyncio.create_task(client.blpop(["nothing"], 30))
        await waits(redis)
        await redis.client_kill_filter(_type="normal", skipme=True)
        await waits(redis)  # it is tried once more
        await redis.client_kill_filter(_type="normal", skipme=True)
        with pytest.raises((redis_connection_error(), OSError)):
            await blocked
        assert await client.ping()
    finally:
        await client.aclose()


async def waits(redis: Any) -> None:
    """Wait until Redis holds a command that blocks."""
    async with asyncio.timeout(60):
        while not any(one["cmd"] == "blpop" for one in await redis.client_list()):
            await redis.ping()


def redis_error() -> type[Exception]:
    """Give the class of what Redis answers with an error (the fixture has the name of the package)."""
    return redis.exceptions.ResponseError


def redis_connection_error() -> type[Exception]:
    """Give the class of a lost connection."""
    return redis.exceptions.ConnectionError
