"""Circuits on a real Redis and real servers: dead hosts are remembered by all workers, and mail keeps its own time."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from delivery.courier import doors_of
from delivery.settings import SmtpSettings
from pipeline.config import ConfigError, load
from pipeline.parking import Parking, Places
from pipeline.runner import Limits
from pipeline.store.gates import GateStore, Opened, Pauses, Shut
from pipeline.store.ledger import Ledger
from pipeline.walk import Walk
from stages.message import State
from stages.plan import Plan
from tests.delivery.certificates import leaf
from tests.delivery.mailhost import DROP, SILENCE, MailHost, Script, unanswered
from tests.delivery.test_courier import CLEAR, QUICK, dane, hosts, plan
from tests.pipeline.yard import RETRY, Yard, logged, utc_now

DOOR = "192.0.2.1|25"
PAUSES = Pauses(jitter=0.0)


@pytest.fixture
def yard(redis: Any, tmp_path: Path) -> Iterator[Yard]:
    """Give a worker process."""
    with logged(tmp_path / "log.jsonl") as path:
        yield Yard(redis, path)


def names(count: int, first: int = 1) -> list[str]:
    """Name messages."""
    return [f"M{number}" for number in range(first, first + count)]


async def until_seen(host: MailHost, count: int) -> None:
    """Wait until a host has had so many connections."""
    async with asyncio.timeout(10):
        while len(host.seen) < count:  # noqa: ASYNC110 - the far end tells nobody
            await asyncio.sleep(0.01)


async def test_a_whole_queue_costs_one_try_of_a_dead_host(yard: Yard) -> None:
    """SMTP-17 (RFC 5321 4.5.4.1): the first job finds the host dead; what is left is deferred at once, unconnected.

    Each message has its attempt, its reason and its next try by its own schedule, as if it had been tried.
    """
    yard.runner._deliverer._tools.limits = Limits(fair_share=5, batch=8)
    async with hosts(Script(greeting=DROP)) as running:
        to = plan(running, CLEAR)
        await yard.ready(to, *names(30))
        await yard.job(to)
        assert set(yard.nudges) == {f"deliver:to:{to.destination.key}"}
        await yard.job(to)
    assert len(running[0].seen) == 1
    assert await yard.places(*names(30)) == ["schedule"] * 30
    for name, known in (("M1", False), ("M30", True)):
        recipient, _ = await yard.recipient(name)
        assert (recipient.state, recipient.attempts) == (State.DEFERRED, 1)
        assert recipient.next_attempt is not None
        assert recipient.last_attempt is not None
        assert RETRY <= recipient.next_attempt - recipient.last_attempt < RETRY + timedelta(seconds=5)
        assert recipient.reason is not None
        assert recipient.reason.code == "smtp.lost"
        assert ("known to be down since" in recipient.reason.text) == known
    (opened,) = yard.events("circuit.opened")
    assert (opened["address"], opened["port"], opened["pauses"], opened["code"]) == (
        running[0].address, running[0].port, 1, "smtp.lost",
    )  # fmt: skip
    assert len(yard.events("stage.verdict")) == 30
    assert len(yard.events("delivery.attempt")) == 5  # for each message of the job that tried; the others tried nothing


async def test_a_host_in_a_circuit_is_passed_over(yard: Yard) -> None:
    """SMTP-17: another worker goes straight to the next MX, and its log says why."""
    async with hosts(Script(greeting=DROP), Script()) as running:
        to = plan(running, CLEAR)
        await yard.ready(to, "M1")
        await yard.job(to)
        other = Yard(yard.redis, yard.file)
        await other.ready(to, "M2")
        await other.job(to)
    assert [len(host.seen) for host in running] == [1, 2]
    assert await yard.places("M1", "M2") == ["delivered", "delivered"]
    passed = [one for one in yard.events("delivery.attempt") if one["message"] == "M2"]
    assert [one["host"] for one in passed] == ["mx1.example.com", "mx2.example.com"]
    assert "known to be down since" in passed[0]["text"]
    assert "next try at" in passed[0]["text"]


async def test_one_probe_opens_the_way_for_all(yard: Yard) -> None:
    """When the pause is over one job knocks, mail of the others waits in place; the next pause is twice as long.

    Once the host greets, the circuit is closed and everything goes.
    """
    script = Script(greeting=DROP)
    async with hosts(script) as running:
        to = plan(running, CLEAR)
        await yard.ready(to, "M1")
        await yard.job(to)
        await yard.store.ease()
        script.greeting = SILENCE
        await yard.ready(to, "M2")
        probe = asyncio.create_task(yard.job(to))
        await until_seen(running[0], 2)
        await yard.ready(to, "M3", "M4")
        await yard.job(to)
        assert await yard.places("M3", "M4") == [f"ready:{to.destination.key}"] * 2
        assert await yard.redis.pttl(f"dp:nudge:to:{to.destination.key}") > 0
        await probe
        first, second = yard.events("circuit.opened")
        assert (first["pauses"], second["pauses"], second["code"]) == (1, 2, "smtp.timeout")
        assert len(running[0].seen) == 2
        await yard.job(to)
        assert await yard.places("M2", "M3", "M4") == ["schedule"] * 3
        script.greeting = "220 back"
        await yard.store.ease()
        await yard.ready(to, "M5")
        await yard.job(to)
        assert await yard.places("M5") == ["delivered"]
    (closed,) = yard.events("circuit.closed")
    assert closed["since"] == first["since"] == second["since"]
    assert await yard.redis.keys("dp:circuit*") == []


@pytest.mark.parametrize(
    ("greeting", "tries", "opened"),
    [
        ("421 4.3.2 closing", 2, 0),
        ("421 4.3.2 closing", 3, 1),
        ("450 4.7.1 later", 3, 1),
        ("554 5.7.1 go away", 3, 0),
        (DROP, 1, 1),
        (SILENCE, 1, 1),
        ("999 what", 3, 0),
    ],
)
async def test_what_begins_a_pause(yard: Yard, greeting: str, tries: int, opened: int) -> None:
    """SMTP-16, SMTP-17: silence and a lost connection at once, greetings of 4yz after three in a row, 5yz never."""
    async with hosts(Script(greeting=greeting)) as running:
        to = plan(running, CLEAR)
        for number in range(tries):
            await yard.ready(to, f"M{number}")
            await yard.job(to)
    assert len(running[0].seen) == tries
    assert len(yard.events("circuit.opened")) == opened


async def test_a_refused_connection_begins_a_pause_and_a_fault_of_ours_does_not(yard: Yard) -> None:
    """SMTP-17: where nobody listens is a dead host; an address of ours that does not exist says nothing of theirs."""
    async with hosts(None, Script()) as running:
        to = plan(running[:1], CLEAR)
        other = Yard(yard.redis, yard.file, settings=SmtpSettings("here.example", ("192.0.2.77",), timeouts=QUICK))
        await other.ready(to, "M1")
        await other.job(to)
        assert yard.events("circuit.opened") == []
        await yard.ready(to, "M2")
        await yard.job(to)
    (opened,) = yard.events("circuit.opened")
    assert opened["code"] == "smtp.connect"


async def test_what_tls_showed_is_no_matter_of_circuits(yard: Yard) -> None:
    """RFC 7672 2.2: a certificate that does not match at one destination says nothing to another at the same address."""
    async with hosts(Script(context=leaf("other.example").server())) as running:
        to = plan(running, dane())
        await yard.ready(to, "M1")
        await yard.job(to)
        recipient, _ = await yard.recipient("M1")
        assert recipient.reason is not None
        assert recipient.reason.code == "dane.mismatch"
        assert await yard.redis.keys("dp:circuit*") == []
        await yard.ready(plan(running, CLEAR), "M2")
        await yard.job(plan(running, CLEAR))
    assert await yard.places("M2") == ["delivered"]


async def test_a_greeting_closes_a_circuit_whatever_tls_shows(yard: Yard) -> None:
    """A probe whose certificate does not match has reached the host all the same."""
    script = Script(context=leaf("other.example").server(), greeting=DROP)
    async with hosts(script) as running:
        to = plan(running, dane())
        await yard.ready(to, "M1")
        await yard.job(to)
        await yard.store.ease()
        script.greeting = "220 here"
        await yard.ready(to, "M2")
        await yard.job(to)
    assert len(yard.events("circuit.closed")) == 1


async def test_a_host_that_has_enough_of_us_is_not_down(yard: Yard) -> None:
    """A host that refuses more sessions with 421 while others of ours stand there keeps getting mail over those."""
    script = Script(replies={"RCPT": SILENCE})
    async with hosts(script) as running:
        to = plan(running, CLEAR)
        await yard.ready(to, "M1")
        standing = asyncio.create_task(yard.job(to))
        async with asyncio.timeout(10):
            while not running[0].seen or not running[0].seen[0].commands("RCPT"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        script.greeting = "421 4.7.0 too many"
        for number in range(2, 6):
            await yard.ready(to, f"M{number}")
            walk = Walk(yard.gates, f"token{number}")
            assert await walk.barred_all(to) is None
            await yard.job(to)
        await standing
    assert yard.events("circuit.opened") == []


async def test_mail_that_is_too_old_is_returned_from_a_circuit(yard: Yard) -> None:
    """SMTP-52, SMTP-53: being passed over counts as an attempt, so the lifetime ends for a dead host, too."""
    async with hosts(Script(greeting=DROP)) as running:
        to = plan(running, CLEAR)
        await yard.ready(to, "M1")
        await yard.job(to)
        await yard.ready(to, "M2", accepted=utc_now() - timedelta(days=6))
        await yard.job(to)
    recipient, _ = await yard.recipient("M2")
    assert recipient.state is State.FAILED
    assert recipient.reason is not None
    assert "known to be down" in recipient.reason.text
    assert await yard.redis.llen("dp:place:bounce") == 1


async def test_without_trouble_nothing_is_asked_for_a_message(yard: Yard) -> None:
    """What stands in Redis is fetched once a second and not for a message, nor for a job."""
    async with hosts(Script()) as running:
        to = plan(running, CLEAR)
        await yard.ready(to, "M0")
        await yard.job(to)
        before = await yard.redis.info("commandstats")
        await yard.ready(to, *names(3))
        yard.gates._read += 60  # the board is believed for as long as this takes
        await yard.job(to)
        after = await yard.redis.info("commandstats")
    for command in ("hgetall", "zrange"):
        name = f"cmdstat_{command}"
        assert after.get(name, {}).get("calls") == before.get(name, {}).get("calls")
    assert await yard.places(*names(3)) == ["delivered"] * 3


async def test_pauses_double_up_to_the_longest(redis: Any) -> None:
    """The pauses of the settings, one after the other, with the share of chance on top."""
    store = GateStore(redis)
    pauses = replace(PAUSES, first=timedelta(seconds=30), longest=timedelta(minutes=3))
    lasted = []
    for number in range(5):
        before = utc_now()
        opened = await store.failed(DOOR, f"t{number}", pauses, 1, "smtp.connect", "refused", chance=0.5)
        assert isinstance(opened, Opened)
        lasted.append(round((opened.until - before).total_seconds()))
        await store.ease()
        assert await store.knock(DOOR, f"t{number + 1}", timedelta(minutes=1), pauses) is True
    assert lasted == [30, 60, 120, 180, 180]
    other = replace(pauses, jitter=0.5)
    before = utc_now()
    opened = await store.failed("192.0.2.2|25", "t", other, 1, "smtp.connect", "refused", chance=0.0)
    assert opened is not None
    assert round((opened.until - before).total_seconds()) == 15


async def test_only_the_probe_has_news_of_an_open_circuit(redis: Any) -> None:
    """Ten jobs that found a host dead at the same time make one pause, and a prober that died is replaced."""
    store = GateStore(redis)
    assert await store.knock(DOOR, "a", timedelta(minutes=1), PAUSES) is False
    assert await store.failed(DOOR, "a", PAUSES, 1, "smtp.connect", "refused", chance=0.5) is not None
    assert await store.failed(DOOR, "b", PAUSES, 1, "smtp.connect", "refused", chance=0.5) is None
    await store.ease()
    assert await store.knock(DOOR, "a", timedelta(minutes=1), PAUSES) is True
    answer = await store.knock(DOOR, "b", timedelta(minutes=1), PAUSES)
    assert isinstance(answer, Shut)
    assert answer.tried
    await redis.hset(f"dp:circuit:{DOOR}", "ends", 1)
    assert await store.knock(DOOR, "b", timedelta(minutes=1), PAUSES) is True
    assert await store.failed(DOOR, "a", PAUSES, 1, "smtp.connect", "refused", chance=0.5) is None
    assert await store.mended(DOOR) is not None
    assert await store.mended(DOOR) is None


async def test_a_pause_of_nothing_switches_circuits_off(redis: Any, tmp_path: Path) -> None:
    """`circuit.pause = "0s"`: every job tries anew."""
    with logged(tmp_path / "log.jsonl") as path:
        yard = Yard(redis, path, pauses=Pauses(timedelta(0)))
        async with hosts(Script(greeting=DROP)) as running:
            to: Plan = plan(running, CLEAR)
            for name in names(2):
                await yard.ready(to, name)
                await yard.job(to)
        assert len(running[0].seen) == 2


async def test_a_probe_that_does_not_begin_keeps_others_back_for_a_moment_only(yard: Yard) -> None:
    """A job that was let in and found no connection free leaves the probe to another within seconds, not minutes."""
    async with hosts(Script(greeting=DROP)) as running:
        to = plan(running, CLEAR)
        await yard.ready(to, "M1")
        await yard.job(to)
        await yard.store.ease()
        walk = Walk(yard.gates, "a")
        assert await walk.barred_all(to) is None
        assert await Walk(yard.gates, "b").barred_all(to) == ()
        key = f"dp:circuit:{running[0].address}|{running[0].port}"
        brief = int(await yard.redis.hget(key, "ends"))
        (door,) = doors_of(to)
        assert await walk.barred(door) is None
        assert int(await yard.redis.hget(key, "ends")) > brief + 60_000


async def test_who_connects_holds_no_place_for_jobs(redis: Any, tmp_path: Path) -> None:
    """A host that never answers keeps no job of another destination from its place, and the place is taken back."""
    with logged(tmp_path / "log.jsonl") as path, unanswered() as port:
        places = Places(1)
        yard = Yard(redis, path, parking=Parking(Ledger(redis), places))
        to = plan([MailHost("127.0.0.1", port, Script())], CLEAR)
        await yard.ready(to, "M1")
        await places.take()
        job = asyncio.create_task(yard.job(to))
        async with asyncio.timeout(10):
            await places.take()
        places.leave()
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert await yard.places("M1") == [f"ready:{to.destination.key}"]
        free = asyncio.create_task(places.take())
        await asyncio.gather(yard.redis.ping())
        assert not free.done()
        places.leave()
        await free


def test_the_longest_pause_is_no_shorter_than_the_first(tmp_path: Path) -> None:
    """A configuration that contradicts itself is refused; one that does not is what circuits go by."""
    file = tmp_path / "danepipe.toml"
    file.write_text('[circuit]\npause = "1m"\nlongest = "30s"\n')
    with pytest.raises(ConfigError, match="longest \\(30s\\) is shorter than pause \\(1m\\)"):
        load(file, {})
    file.write_text('[circuit]\npause = "1m"\nrefusals = 5\n[smtp]\nconnect_timeout = "10s"\n')
    setting = load(file, {}).gates()
    assert setting.pauses == Pauses(timedelta(minutes=1), timedelta(minutes=30), 0.1, 5)
    assert setting.patience == timedelta(minutes=5, seconds=20)
