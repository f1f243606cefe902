"""A flood, a host that thinks long about each command and one that does not answer hold up no mail for another."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.accept.address import parse_address
from pipeline.accept.door import RecipientRequest, Submission
from pipeline.clock import Clock
from pipeline.config import load
from pipeline.embedded import EmbeddedRedis
from pipeline.spine import Spine, utc_now
from pipeline.worker import Workers, WorkSettings
from stages.message import MessageId, Origin
from tests.delivery.mailhost import MailHost, Script, mailhost, unanswered
from tests.journeys.test_kill import until
from tests.needs import redis_server

FLOOD, SLOW, DEAD, OTHERS = 3000, 300, 300, 10
MORE = """
        [smtp]
        connect_timeout = "20s"
        [work]
        processes = 1
"""
BOUND = timedelta(seconds=1)
SLACK = timedelta(seconds=4)  # of the worst one on a machine that does other things as well


def write_config(directory: Path, ports: dict[str, int], more: str) -> Path:
    """Write a configuration with a host of its own for each domain, and whatever more there is to be said."""
    routes = "".join(
        f"""
        [[route]]
        recipient = ["*@{name}.example"]
        action = "host"
        host = "[127.0.0.1]"
        port = {port}
        tls = "may"
        """
        for name, port in ports.items()
    )
    path = directory / "danepipe.toml"
    path.write_text(
        f"""
        hostname = "sender.example"
        [store]
        dir = "{directory}"
        [dns]
        servers = ["127.0.0.1@9"]
        timeout = "200ms"
        [log]
        file = "{directory / "log.jsonl"}"
        {more}
        {routes}
        """
    )
    return path


@asynccontextmanager
async def _danepipe(path: Path) -> AsyncIterator[Spine]:
    """Run Redis, a clock and one worker process."""
    config = load(path, {})
    redis = EmbeddedRedis(path.parent)
    await redis.start()
    try:
        async with Spine.open(config) as spine:
            stop = asyncio.Event()
            clock = asyncio.create_task(Clock(spine, utc_now).run(stop))
            workers = Workers(WorkSettings(processes=1, threads=config.work.threads, config=path, grace=5))
            await workers.start()
            yield spine
            stop.set()
            await clock
            await workers.stop()
    finally:
        await redis.stop()


async def _send(spine: Spine, domain: str, count: int) -> list[MessageId]:
    sender = parse_address("sender@sender.example")
    to = (RecipientRequest(parse_address(f"user@{domain}.example")),)
    mail = Submission(sender=sender, recipients=to, origin=Origin("command"), content=b"Subject: x\r\n\r\nbody\r\n")
    return await asyncio.gather(*(spine.submit(mail) for _ in range(count)))


def _taken(host: MailHost) -> int:
    return sum(len(seen.contents) for seen in host.seen)


def first_events(log: Path, event: str) -> dict[str, datetime]:
    """Tell when each message had its first event of a kind."""
    found: dict[str, datetime] = {}
    for text in log.read_bytes().rpartition(b"\n")[0].splitlines():
        line: dict[str, Any] = json.loads(text)
        if line["event"] == event:
            found.setdefault(line["message"], datetime.fromisoformat(line["timestamp"]))
    return found


@pytest.mark.timeout(240)
async def test_mail_for_one_host_does_not_wait_for_that_of_others(tmp_path: Path) -> None:
    """While 3000 messages go to one host, one stalls for two seconds a command and one never answers, others go at once.

    From being accepted to being done; all three are still at work when the last of the others is done.
    """
    redis_server()
    with unanswered() as silent:
        async with mailhost(Script()) as flood, mailhost(Script(stall=2.0)) as slow, mailhost(Script()) as other:
            ports = {"flood": flood.port, "slow": slow.port, "dead": silent, "other": other.port}
            async with _danepipe(write_config(tmp_path, ports, MORE)) as spine:
                await _send(spine, "dead", DEAD)
                await _send(spine, "slow", SLOW)
                await until(lambda: slow.seen, 30)
                accepted = {}
                async with asyncio.TaskGroup() as group:
                    group.create_task(_send(spine, "flood", FLOOD))
                    await until(lambda: _taken(flood) >= 100, 60)
                    for number in range(OTHERS):
                        began = utc_now()
                        (identifier,) = await _send(spine, "other", 1)
                        accepted[identifier] = began
                        await until(lambda number=number: _taken(other) > number, 60)
                    left = FLOOD - _taken(flood)
                assert left > 0
                assert _taken(slow) < SLOW
                assert await spine.ledger.backlog(f"host:[127.0.0.1]:{silent}:may") > 0
                await until(lambda: _taken(flood) == FLOOD, 120)
                log = tmp_path / "log.jsonl"
                await until(lambda: accepted.keys() <= first_events(log, "message.done").keys(), 30)
    done = first_events(tmp_path / "log.jsonl", "message.done")
    waits = sorted(done[name] - began for name, began in accepted.items())
    assert waits[len(waits) // 2] < BOUND
    assert waits[-1] < BOUND + SLACK
