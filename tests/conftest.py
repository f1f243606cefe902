"""What tests of several floors share: a real Redis of their own."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from pipeline.embedded import EmbeddedRedis, NoRedis, find_redis


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run one Redis with the durability that mail needs, for all tests; each test uses keys of its own or flushes."""
    try:
        binary = find_redis()
    except NoRedis as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    directory: Path = tmp_path_factory.mktemp("redis")
    server = EmbeddedRedis(directory, binary=binary)
    with asyncio.Runner() as runner:
        runner.run(server.start())
        yield server.url
        runner.run(server.stop())


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """Give an empty Redis."""
    client = Redis.from_url(redis_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def unique() -> str:
    """Give a name that no other test has."""
    return secrets.token_hex(6)
