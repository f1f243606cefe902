"""What tests of several floors share: a real Redis of their own."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from pipeline.embedded import EmbeddedRedis
from tests.needs import redis_server


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run one Redis with the durability that mail needs, for all tests; each test uses keys of its own or flushes."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"), binary=redis_server())
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
