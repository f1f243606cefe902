"""Run danepipe's commands in this process, away from the machine's own configuration."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result
from playwright.async_api import Browser
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from ops.cli import main
from pipeline import log
from pipeline.store.ledger import Ledger
from tests.browser import chromium
from tests.ops.console_site import Site, running

T = TypeVar("T")

Run = Callable[..., Result]
WithLedger = Callable[[Callable[[Ledger], Awaitable[Any]]], Any]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty working directory and an environment without our variables."""
    for name in [name for name in os.environ if name.startswith("DANEPIPE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DANEPIPE_HOSTNAME", "mail.example.org")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(place: Path) -> Iterator[Run]:
    """Give `cli(*arguments, input=..., environ...)`; variables are given without their prefix: REDIS__URL=..."""
    handlers = logging.getLogger().handlers

    def run(*arguments: str, input: bytes = b"", **environ: str) -> Result:  # noqa: A002 - CliRunner's word
        variables = {f"DANEPIPE_{name}": value for name, value in environ.items()}
        result = CliRunner().invoke(main, arguments, input=input, env=variables)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    yield run
    log.configure(role="test", level="info")
    log._output.stream = sys.stderr
    logging.getLogger().handlers = handlers


@pytest.fixture
def kept(redis_url: str, cli: Run) -> Run:
    """Give `cli` on an empty Redis that keeps mail."""
    with Redis.from_url(redis_url) as client:
        client.flushall()

    def run(*arguments: str, input: bytes = b"", **environ: str) -> Result:  # noqa: A002 - see above
        return cli(*arguments, input=input, REDIS__URL=redis_url, **environ)

    return run


@pytest.fixture
def ledger(redis_url: str) -> WithLedger:
    """Give `ledger(work)`, which runs `work(ledger)` on the Redis of the commands and gives its result."""

    def run(work: Callable[[Ledger], Awaitable[T]]) -> T:
        async def connected() -> T:
            client = AsyncRedis.from_url(redis_url)
            try:
                return await work(Ledger(client))
            finally:
                await client.aclose()

        return asyncio.run(connected())

    return run


@pytest.fixture(scope="module")
def console(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run one web console for all tests of a module."""
    with running(tmp_path_factory.mktemp("console"), redis_url) as one:
        yield one


@pytest.fixture
def site(console: Site) -> Site:
    """Give the web console, on an empty Redis without users."""
    with Redis.from_url(console.redis_url) as client:
        client.flushall()
    return console


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Run a browser."""
    async with chromium() as one:
        yield one
