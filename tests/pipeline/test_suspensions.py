"""Suspensions on a real Redis and real servers: mail waits where it is, untried, until it is resumed or their time is over."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.clock import Clock
from pipeline.config import load
from pipeline.line import build
from pipeline.spine import Spine
from pipeline.store.changes import Changes
from pipeline.store.gates import Kind, Suspension
from stages.destination import Destination, RouteKind
from stages.message import Address
from stages.plan import Plan
from tests.delivery.mailhost import SILENCE, Script
from tests.delivery.test_courier import CLEAR, hosts, plan
from tests.pipeline.test_limits import of_domain
from tests.pipeline.yard import Yard, logged, utc_now

DOMAIN = Suspension(Kind.DESTINATION, "example.com")
SITE = Suspension(Kind.SITE, "mx1.example.com")
SENDER = Suspension(Kind.SENDER, "*@bulk.example")


@pytest.fixture
def yard(redis: Any, tmp_path: Path) -> Iterator[Yard]:
    """Give a worker process."""
    with logged(tmp_path / "log.jsonl") as path:
        yield Yard(redis, path)


@dataclass
class Ticking:
    """A clock on the Redis of a yard, with the nudges that it sent."""

    yard: Yard
    nudges: list[str] = field(default_factory=list)

    async def step(self, later: timedelta = timedelta(0)) -> None:
        """Do what is due at a time."""

        async def nudge(names: Sequence[str]) -> None:
            self.nudges += names

        config = load(None, {"DANEPIPE_HOSTNAME": "mail.example.org"})
        spine = Spine(config, self.yard.redis, build(config.pipeline.stages), nudge)
        await Clock(spine, lambda: utc_now() + later).step()


async def untried(yard: Yard, to: Plan, name: str) -> bool:
    """Tell whether a message waits in its ready queue without an attempt, and its destination is left alone."""
    recipient, place = await yard.recipient(name)
    left = await yard.redis.pttl(f"dp:nudge:to:{to.destination.key}")
    return (recipient.attempts, place) == (0, f"ready:{to.destination.key}") and left > 30_000


@pytest.mark.parametrize("suspension", [DOMAIN, SITE, Suspension(Kind.SITE, "*.example.com")], ids=lambda s: s.id)
async def test_mail_to_what_is_suspended_waits_in_place(yard: Yard, suspension: Suspension) -> None:
    """By the name of the destination or of its best host: nothing is connected, no attempt counted; resumed, it goes."""
    async with hosts(Script()) as running:
        to = plan(running, CLEAR)
        await yard.store.suspend(suspension)
        await yard.ready(to, "M1")
        await yard.job(to)
        assert await untried(yard, to, "M1")
        assert await yard.store.counts(suspension) == 1
        assert running[0].seen == []
        assert await yard.store.lift(suspension)
        assert await yard.store.let_go(suspension, "route") == [f"to:{to.destination.key}"]
        assert await yard.redis.pttl(f"dp:nudge:to:{to.destination.key}") < 0
        await yard.job(to)  # within the second for which a process believes what it has read
        assert await yard.places("M1") == ["delivered"]
    assert not await yard.store.lift(suspension)


async def test_a_suspended_destination_is_not_even_resolved(yard: Yard) -> None:
    """The stages before stop as well, so that a failure of DNS counts no attempt either."""
    async with hosts(Script()) as running:
        to = plan(running, CLEAR)
        await yard.store.suspend(DOMAIN)
        await yard.ready(to, "M1")
        resolve = yard.runner._tools.line.destinations[0]
        await yard.runner.run_destination(resolve, to.destination.key, last_try=True)
        assert await untried(yard, to, "M1")


async def test_a_site_stops_whoever_has_its_host_as_a_best_one_and_nobody_else(yard: Yard) -> None:
    """Mail of another domain with that host waits; where the host is only second best, mail goes."""
    async with hosts(Script(), Script()) as running:
        first, second = (plan([host], CLEAR) for host in running)
        other = of_domain(first, "other.example")
        backup = of_domain(plan(running[::-1], CLEAR), "backup.example")
        await yard.store.suspend(Suspension(Kind.SITE, "mx1.example.com"))
        await yard.ready(other, "M1")
        await yard.job(other)
        assert await untried(yard, other, "M1")
        assert {host.name for host in second.hosts} == {"mx1.example.com"}
        renamed = [host.name for host in backup.hosts]
        assert renamed == ["mx1.example.com", "mx2.example.com"]
        await yard.store.lift(SITE)
        await yard.store.suspend(Suspension(Kind.SITE, "mx2.example.com"))
        await yard.ready(backup, "M2")
        await yard.job(backup)
        assert await yard.places("M2") == ["delivered"]


async def test_a_running_job_stops_at_the_next_hand(yard: Yard) -> None:
    """What a connection has in hand is finished; what is in the queue stays there."""
    script = Script(replies={"RCPT": ["250 fine", SILENCE, "250 fine"]})
    async with hosts(script) as running:
        to = plan(running, CLEAR)
        await yard.ready(to, *(f"M{number}" for number in range(1, 16)))
        job = asyncio.create_task(yard.job(to))
        async with asyncio.timeout(10):
            while script.used.get("RCPT", 0) < 2:  # noqa: ASYNC110 - the far end tells nobody
                await asyncio.sleep(0.01)
        await yard.store.suspend(DOMAIN)
        yard.gates._read = 0.0  # a second later
        await job
    assert await yard.places("M1", "M2", "M10") == ["delivered"] * 3
    assert await yard.places("M11", "M15") == [f"ready:{to.destination.key}"] * 2


async def test_mail_of_a_suspended_sender_is_put_aside_and_comes_back_at_the_first_stage(yard: Yard) -> None:
    """Others pass it; its attempts are not counted, and once resumed it takes its way from the beginning."""
    async with hosts(Script()) as running:
        to = plan(running, CLEAR)
        await yard.store.suspend(SENDER)
        await yard.gates.look()
        await yard.ready(to, "M1", sender="news@bulk.example")
        await yard.ready(to, "M2")
        await yard.job(to)
        assert await yard.places("M1", "M2") == ["suspended:sender:*@bulk.example", "delivered"]
        assert (await yard.recipient("M1"))[0].attempts == 0
        assert await yard.store.counts(SENDER) == 1
        assert await yard.store.lift(SENDER)
        assert await yard.store.let_go(SENDER, "route") == ["route"]
        assert await yard.places("M1") == ["place:route"]
        assert await yard.ledger.claim("place:route", "t", 5, timedelta(minutes=1)) == ["M1/0"]


async def test_time_ends_a_suspension(yard: Yard) -> None:
    """The clock lets mail go whose suspension is over, and says so; who is suspended for good stays."""
    ends = utc_now() + timedelta(hours=1)
    for_a_while = Suspension(Kind.SENDER, SENDER.name, "complaints", "postmaster", utc_now(), ends)
    async with hosts(Script()) as running:
        to = plan(running, CLEAR)
        for suspension in (for_a_while, Suspension(Kind.DESTINATION, "example.com", expires=ends)):
            await yard.store.suspend(suspension)
        await yard.ready(to, "M1", sender="news@bulk.example")
        await yard.job(to)
        await yard.store.lift(DOMAIN)
        await yard.store.let_go(DOMAIN, "route")
        await yard.job(to)
        clock = Ticking(yard)
        await clock.step()
        assert await yard.places("M1") == [f"suspended:{SENDER.id}"]
        await yard.store.suspend(SITE)
        await clock.step(timedelta(hours=2))
    assert await yard.places("M1") == ["place:route"]
    assert clock.nudges == ["route"]
    assert (await yard.store.board()).suspensions == (SITE,)
    (event,) = yard.events("queue.action")
    assert (event["action"], event["target"], event["reason"]) == ("expire", "sender *@bulk.example", "complaints")


async def test_mail_put_aside_while_somebody_resumed_is_found(yard: Yard) -> None:
    """A worker that saw the suspension a moment before it was lifted loses nothing: the clock looks after its list."""
    async with hosts(Script()) as running:
        to = plan(running, CLEAR)
        await yard.ready(to, "M1", sender="news@bulk.example")
    await yard.store.suspend(SENDER)
    await yard.ledger.claim(f"ready:{to.destination.key}", "t", 1, timedelta(minutes=1))
    seen = await yard.gates.confirmed(Address("news", "bulk.example", "news@bulk.example"))
    assert seen == SENDER
    await yard.store.lift(SENDER)
    assert await yard.store.let_go(SENDER, "route") == []
    changes = Changes()
    changes.aside(seen.list, "M1/0")
    await yard.ledger.commit("t", "M1/0", changes)
    assert await yard.places("M1") == [f"suspended:{SENDER.id}"]
    await Ticking(yard).step()
    assert await yard.places("M1") == ["place:route"]


@pytest.mark.parametrize(
    ("name", "sender", "meant"),
    [
        ("<>", None, True),
        ("*@bulk.example", None, False),
        ("<>", Address("a", "bulk.example", "a@bulk.example"), False),
        ("*@bulk.example", Address("a", "bulk.example", "a@bulk.example"), True),
        ("b@bulk.example", Address("a", "bulk.example", "a@bulk.example"), False),
        ("*@*.bulk.example", Address("a", "x.bulk.example", "a@x.bulk.example"), True),
    ],
)
def test_whom_a_suspension_of_senders_means(name: str, sender: Address | None, *, meant: bool) -> None:
    """Patterns are those of exclusions; the null sender has a name of its own."""
    assert Suspension(Kind.SENDER, name).names_sender(sender) is meant


def test_whom_a_suspension_of_destinations_means() -> None:
    """A name means itself, a star all names below it."""
    assert Suspension(Kind.DESTINATION, "example.com").names_host(Destination(RouteKind.MX, "example.com", 25).name)
    assert not Suspension(Kind.DESTINATION, "example.com").names_host("a.example.com")
    assert Suspension(Kind.DESTINATION, "*.example.com").names_host("a.example.com")
    assert not Suspension(Kind.DESTINATION, "*.example.com").names_host("example.com")
