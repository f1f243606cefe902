"""Limits of a site and of a rate on a real Redis and real servers: they hold over all workers, and cost next to nothing."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load
from pipeline.gates import site_of
from pipeline.parking import Parking, Places
from pipeline.store.gates import GateStore, Pauses
from pipeline.store.ledger import Ledger
from stages.destination import Destination, RouteKind
from stages.plan import Host, Plan
from tests.delivery.mailhost import DROP, SILENCE, MailHost, Script
from tests.delivery.test_courier import CLEAR, hosts, plan
from tests.pipeline.yard import Yard, limited, logged
from tests.stages.make import NOW

LEASE = timedelta(minutes=1)
MINUTE = 1 / 60  # messages a second


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Let events go to a file."""
    with logged(tmp_path / "log.jsonl") as file:
        yield file


def names(count: int, first: int = 1) -> list[str]:
    """Name messages."""
    return [f"M{number}" for number in range(first, first + count)]


def of_domain(given: Plan, domain: str) -> Plan:
    """Make the plan of another domain with the same hosts."""
    return replace(given, destination=Destination(RouteKind.MX, domain, given.destination.port))


async def at_rcpt(host: MailHost) -> None:
    """Wait until a host has been asked about a recipient."""
    async with asyncio.timeout(10):
        while not any(seen.commands("RCPT") for seen in host.seen):  # noqa: ASYNC110 - the far end tells nobody
            await asyncio.sleep(0.01)


def test_a_site_is_the_first_of_the_best_hosts() -> None:
    """Hosts of equal preference come in any order; whoever shares them has the same site all the same."""
    hosts_ = tuple(Host(name, at, ("192.0.2.1",), CLEAR) for name, at in (("b.mx", 10), ("a.mx", 10), ("0.mx", 20)))
    made = Plan(Destination(RouteKind.MX, "example.com", 25), hosts_, (), NOW, NOW)
    assert site_of(made) == site_of(replace(made, hosts=hosts_[::-1])) == "a.mx"
    assert site_of(replace(made, hosts=())) == "example.com"


async def test_destinations_of_a_site_share_its_connections_and_nothing_else(redis: Any, path: Path) -> None:
    """`limits.site_connections`: the second domain of a host waits in line and is called; each has its own connection."""
    first, second = (Yard(redis, path, policy=limited(site_connections=1)) for _ in range(2))
    script = Script(replies={"RCPT": SILENCE})
    async with hosts(script) as running:
        one = plan(running, CLEAR)
        other = of_domain(one, "other.example")
        await first.ready(one, "M1")
        await second.ready(other, "M2")
        job = asyncio.create_task(first.job(one))
        await at_rcpt(running[0])
        await second.job(other)
        assert len(running[0].seen) == 1
        assert await second.places("M2") == [f"ready:{other.destination.key}"]
        await job
        assert first.nudges == [f"deliver:to:{other.destination.key}"]
        script.replies.clear()
        await second.job(other)
        assert len(running[0].seen) == 2
        assert await second.places("M2") == ["delivered"]
    assert not [key for key in await redis.keys("dp:*") if key.startswith((b"dp:site", b"dp:line"))]


async def test_seats_of_the_dead_become_free_and_the_line_is_kept(redis: Any) -> None:
    """A worker that died holds its seat until its lease is over; who waited longest is called first."""
    store = GateStore(redis)
    assert await store.seat("mx", "a", "one", 1, LEASE)
    for destination in ("two", "three", "two"):
        assert not await store.seat("mx", "b", destination, 1, LEASE)
    await store.stay("mx", "a", LEASE)
    await store.stay("mx", "stranger", LEASE)
    assert await store.unseat("mx", "stranger", 1) == []
    await redis.zincrby("dp:site:mx", -LEASE.total_seconds() * 1000 - 1, "a")
    assert await store.seat("mx", "c", "three", 1, LEASE)
    assert await store.unseat("mx", "c", 2) == ["two"]


async def test_an_allowance_fills_at_its_rate(redis: Any) -> None:
    """A burst at most at once, then one by one; who comes next is told when, and holds that place."""
    store, hour = GateStore(redis), timedelta(hours=1)
    assert await store.draw("d", 10, 5, hour) == (5, timedelta(0))
    drawn, wait = await store.draw("d", 10, 5, hour)
    assert drawn == 1
    assert timedelta(0) < wait <= timedelta(seconds=0.2)
    assert await store.draw("slow", 10, MINUTE, hour) == (1, timedelta(0))
    for number in (1, 2):
        drawn, wait = await store.draw("slow", 10, MINUTE, hour)
        assert drawn == 1
        assert timedelta(seconds=60 * number - 30) < wait <= timedelta(seconds=60 * number)
    drawn, wait = await store.draw("slow", 1, MINUTE, timedelta(seconds=1))
    assert drawn == 0
    assert wait > timedelta(minutes=2)
    await store.draw("slow", -3, MINUTE, hour)
    assert await store.draw("slow", 1, MINUTE, hour) == (1, timedelta(0))
    assert 0 < await redis.pttl("dp:rate:slow") < 70_000


async def test_a_rate_holds_over_all_workers(redis: Any, path: Path) -> None:
    """`limits.rate`: two workers send together what one may; the rest stays in place and is looked at later."""
    workers = [Yard(redis, path, policy=limited(rate=MINUTE)) for _ in range(2)]
    async with hosts(Script()) as running:
        to = plan(running, CLEAR)
        await workers[0].ready(to, *names(3))
        for worker in workers:
            await worker.job(to)
    assert sum(len(seen.contents) for seen in running[0].seen) == 1
    assert len(running[0].seen) == 1  # nobody connects without an allowance
    assert await workers[0].places(*names(3)) == ["delivered", *[f"ready:{to.destination.key}"] * 2]
    assert [worker.nudges for worker in workers] == [[], []]
    assert await redis.pttl(f"dp:nudge:to:{to.destination.key}") > 20_000


async def test_a_connection_waits_for_its_allowance(redis: Any, path: Path) -> None:
    """Beyond the burst, messages go over the same connection at the rate."""
    yard = Yard(redis, path, policy=limited(rate=10))
    async with hosts(Script()) as running:
        to = plan(running, CLEAR)
        await yard.ready(to, *names(14))
        await yard.job(to)
    assert await yard.places(*names(14)) == ["delivered"] * 14
    assert len(running[0].seen) == 1
    when = [datetime.fromisoformat(one["timestamp"]) for one in yard.events("delivery.attempt")]
    assert when[-1] - when[0] >= timedelta(seconds=0.3)


async def test_limits_cost_a_trip_for_a_hand_and_none_where_they_are_not_set(redis: Any, path: Path) -> None:
    """Twenty messages are two hands: two draws more, and two trips for the seat."""

    async def scripts(yard: Yard, domain: str) -> int:
        async with hosts(Script()) as running:
            to = of_domain(plan(running, CLEAR), domain)
            await yard.ready(to, *(f"{domain}{name}" for name in names(20)))
            before = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
            await yard.job(to)
            return int((await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]) - int(before)

    await scripts(Yard(redis, path), "warm.example")
    plain = await scripts(Yard(redis, path), "plain.example")
    assert await scripts(Yard(redis, path, policy=limited(rate=1000)), "paced.example") == plain + 2
    assert await scripts(Yard(redis, path, policy=limited(site_connections=9)), "seated.example") == plain + 2


async def test_who_waits_for_an_allowance_holds_no_place(redis: Any, path: Path) -> None:
    """Jobs for other destinations go on meanwhile, and an end is not waited out."""
    yard = Yard(redis, path)
    places = Places(1)
    parking = Parking(yard.ledger, places)
    await places.take()
    waiting = asyncio.create_task(parking.pause(600))
    async with asyncio.timeout(10):
        await places.take()
        parking.end()
        await waiting


def test_limits_differ_for_some_domains(tmp_path: Path) -> None:
    """`[[destination]]` may bound a rate or a site that others do not."""
    file = tmp_path / "danepipe.toml"
    file.write_text(
        "[limits]\nsite_connections = 40\n"
        '[[destination]]\ndomain = "slow.example"\nlimits = { rate = 0.5, site_connections = 2 }\n'
    )
    policies = [
        load(file, {}).policy_for(Destination(RouteKind.MX, name, 25)) for name in ("a.example", "slow.example")
    ]
    assert [(one.limits.rate, one.limits.site_connections) for one in policies] == [(None, 40), (0.5, 2)]


@pytest.mark.parametrize(("greeting", "idle"), [("220 mail.test ESMTP", 0.2), (DROP, 25.0)])
async def test_only_a_connection_that_stands_waits_for_mail(redis: Any, path: Path, greeting: str, idle: float) -> None:
    """`limits.idle`: a connection waits so long and no longer; where no host could be reached, nothing is waited for.

    So mail that comes later, or that an operator releases, is tried, and not judged by a try that was before it.
    """
    parking = Parking(Ledger(redis))
    policy = limited(idle=timedelta(seconds=idle))
    yard = Yard(redis, path, policy=policy, pauses=Pauses(timedelta(0)), parking=parking)
    listening = asyncio.create_task(parking.run())
    async with asyncio.timeout(10), hosts(Script(greeting=greeting)) as running:
        while not parking._listening:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        to = plan(running, CLEAR)
        await yard.ready(to, "M1")
        await yard.job(to)
        await yard.ready(to, "M2")
        await yard.job(to)
        assert len(running[0].seen) == 2
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
