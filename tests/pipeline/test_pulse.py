"""The pulse on a real Redis: what happens now, summed over processes, at next to no cost and within bounds."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from pipeline import log, pulse
from pipeline.pulse import Counter, Teller, counting, security_of
from pipeline.store.backlog import BacklogStore
from pipeline.store.connection import StoreUnavailable, connect
from pipeline.store.pulse import COUNTED, KEPT, MOST, RING, SLOT, STANDS, Beat, PulseStore
from stages.message import State
from tests.delivery.mailhost import DROP, Script
from tests.delivery.test_courier import CLEAR, dane, good, hosts, plan
from tests.needs import free_port
from tests.pipeline.test_metrics import ATTEMPT, VERDICT
from tests.pipeline.yard import Yard, logged
from tests.stopwatch import processor_seconds

KEY = "mx:example.com:25:dane"
NOW = datetime(2026, 11, 23, 12, 0, 3, tzinfo=UTC)


@pytest.fixture
def store(redis: Redis) -> PulseStore:
    """Give the sums of an empty Redis."""
    return PulseStore(redis)


def one(counts: dict[str, int], **changes: Any) -> Beat:
    """Make what a process has counted of a destination."""
    beat = Beat(**changes)
    for word, number in counts.items():
        beat.counts[COUNTED.index(word)] = number
    return beat


async def test_what_is_shown_is_what_happened(redis: Redis, tmp_path: Path) -> None:
    """Mail that real hosts take, and mail that meets a dead one, is seen with its security, trouble and backlog."""
    with logged(tmp_path / "log.jsonl") as path:
        yard, store = Yard(redis, path), PulseStore(redis)
        async with counting(redis, "dp:"), hosts(good()) as alive, hosts(Script(greeting=DROP)) as dead:
            to, away = plan(alive, dane()), plan(dead, CLEAR)
            await yard.ready(to, "M1", "M2")
            await yard.job(to)
            await yard.ready(away, "M3", "M4", "M5")
            await yard.job(away)
        now = datetime.now(UTC)
        summed: dict[str, int] = {}
        for slot in await store.totals(now - timedelta(minutes=1), now):
            for word, number in slot.counts.items():
                summed[word] = summed.get(word, 0) + number
        assert summed == {"dane": 2, "deferred": 3}
        names = await store.destinations()
        assert sorted(names) == sorted([to.destination.key, away.destination.key])
        fine, bad = await store.of([to.destination.key, away.destination.key])
        assert (fine.security, fine.trouble) == ("dane", None)
        assert fine.rate(now) == pytest.approx(2 / 4, rel=0.3)
        assert bad.trouble is not None
        assert bad.trouble.code == "smtp.lost"
        assert bad.trouble.host
        assert bad.door.startswith("127.0.0.")
        assert bad.rate(now, ["deferred"]) > 0 == bad.rate(now)
        (standing,) = await BacklogStore(redis).of([away.destination.key])
        assert (standing.ready, standing.deferred) == (0, 3)
        first, _ = await yard.recipient(standing.first.partition("/")[0])
        assert first.state is State.DEFERRED
        assert standing.next_try is not None
        assert first.next_attempt is not None
        assert abs(standing.next_try - first.next_attempt) < timedelta(milliseconds=2)


async def test_processes_are_summed_up(store: PulseStore) -> None:
    """Two that tell of the same time add to each other, and the last trouble and security are the newest."""
    slot = int(NOW.timestamp()) // SLOT
    await store.add({slot: {"dane": 2, "accepted": 5}}, {KEY: one({"dane": 2}, security="dane")}, NOW)
    await store.add({slot: {"dane": 1}}, {KEY: one({"clear": 1, "deferred": 4}, security="clear", door="a|25")}, NOW)
    *_, last = await store.totals(NOW - timedelta(seconds=20), NOW)
    assert last.counts == {"dane": 3, "accepted": 5}
    (known,) = await store.of([KEY])
    assert [counts for _, counts in known.minutes] == [{"dane": 2, "clear": 1, "deferred": 4}]
    assert (known.security, known.door, known.trouble) == ("clear", "a|25", None)
    assert known.seen == NOW


async def test_minutes_go_round(store: PulseStore) -> None:
    """A destination keeps its last minutes and nothing older, however long mail goes to it."""
    for minute in range(3 * RING):
        await store.add({}, {KEY: one({"dane": minute + 1})}, NOW + timedelta(minutes=minute))
    (known,) = await store.of([KEY])
    assert [counts["dane"] for _, counts in known.minutes] == list(range(2 * RING + 1, 3 * RING + 1))
    latest = NOW + timedelta(minutes=3 * RING - 1, seconds=27)
    assert known.rate(latest) == pytest.approx((30 + 29 + 28 + 27 + 26) / 4.5)
    assert known.rate(latest + timedelta(minutes=30)) == 0


async def test_memory_is_bounded(store: PulseStore, redis: Redis) -> None:
    """Of more destinations than there is room for, those that mail went to last are kept, and everything has an end."""
    for start in range(0, MOST + 500, 1000):
        beats = {f"mx:d{number}.example:25:dane": one({"dane": 1}) for number in range(start, start + 1000)}
        await store.add({start: {"dane": 1000}}, beats, NOW + timedelta(seconds=start / 1000))
    assert await redis.zcard("dp:pulse:seen") == MOST
    keys = [key async for key in redis.scan_iter("dp:pulse:to:*", count=1000)]
    assert len(keys) == MOST
    assert await redis.exists("dp:pulse:to:mx:d0.example:25:dane") == 0
    assert 0 < await redis.ttl(keys[0]) <= 86400
    assert 0 < await redis.ttl("dp:pulse:0") <= KEPT.total_seconds() + 60


async def test_a_redis_that_forgot_the_script_is_told_all_the_same(store: PulseStore, redis: Redis) -> None:
    """A Redis that was started again knows no scripts: everything is added, and once."""
    for _ in range(2):
        await redis.script_flush()
        await store.add({7: {"dane": 1}}, {KEY: one({"dane": 1})}, NOW)
    assert await redis.hgetall("dp:pulse:7") == {b"dane": b"2"}
    (known,) = await store.of([KEY])
    assert [counts for _, counts in known.minutes] == [{"dane": 2}]


async def test_sums_wait_while_redis_is_away(redis: Redis) -> None:
    """What could not be told is told later, under the time at which it was counted."""
    counter, moments = Counter(), iter([NOW.timestamp(), NOW.timestamp() + SLOT, NOW.timestamp() + 2 * SLOT])
    away = connect(f"redis://127.0.0.1:{free_port()}")
    for last in (False, False, True):
        counter.count("message.accepted", {})
        counter.count("stage.verdict", {**VERDICT, "verdict": "defer", "text": "x" * 1000, "remote": "mx.example"})
        teller = Teller(counter, PulseStore(redis if last else away), lambda: next(moments))
        if last:
            await teller.tell()
        else:
            with pytest.raises(StoreUnavailable):
                await teller.tell()
    await away.aclose()
    slots = await PulseStore(redis).totals(NOW, NOW + timedelta(seconds=2 * SLOT))
    assert [slot.counts for slot in slots] == [{"accepted": 1, "deferred": 1}] * 3
    (known,) = await PulseStore(redis).of([KEY])
    assert [counts for _, counts in known.minutes] == [{"deferred": 3}]
    assert known.trouble is not None
    assert (known.trouble.host, len(known.trouble.text)) == ("mx.example", pulse.LONGEST)


async def test_what_waits_is_bounded() -> None:
    """A Redis that stays away fills nobody's memory: the oldest slots go, and further destinations are only totals."""
    counter = Counter()
    for slot in range(pulse.WAITING + 10):
        counter.count("message.accepted", {})
        counter.put_back(*counter.taken(slot * SLOT))
    for number in range(pulse.MOST + 10):
        counter.count("stage.verdict", {**VERDICT, "destination": f"mx:d{number}.example:25:dane"})
    counter.put_back(*counter.taken((pulse.WAITING + 9) * SLOT))
    slots, beats = counter.taken(0)
    assert len(beats) == pulse.MOST
    assert sorted(slots) == list(range(10, pulse.WAITING + 10))


async def test_what_is_amiss_is_told_while_it_lasts(redis: Redis) -> None:
    """A resolver that fails and a lack of room are known to whoever looks, until they are over or nobody says so."""
    counter, store = Counter(), PulseStore(redis)
    teller = Teller(counter, store)
    counter.count("resolver.suspended", {"text": "mail that DANE concerns waits"})
    counter.count("accept.pressure", {"state": "slowed", "text": "Redis is 80% full"})
    await teller.tell()
    known = {"resolver": "mail that DANE concerns waits", "pressure": "slowed: Redis is 80% full"}
    assert await store.alerts() == known
    counter.count("resolver.restored", {"text": "answers count again"})
    counter.count("accept.pressure", {"state": "open", "text": ""})
    assert counter.alerts() == {}
    assert all([0 < await redis.ttl(f"dp:pulse:alert:{kind}") <= STANDS for kind in known])


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"security": "dane"}, "dane"),
        ({"security": "dane-host-only"}, "dane-host-only"),
        ({"security": "verified"}, "verify"),
        ({"security": "none"}, "clear"),
        ({"security": "encrypted", "demand": "encrypt"}, "encrypt"),
        ({"security": "encrypted", "demand": "dane"}, "encrypt"),
        ({"security": "encrypted", "demand": "dane", "audit_failure": "dane.mismatch"}, "opportunistic"),
        ({"security": "encrypted", "demand": "may"}, "opportunistic"),
        ({}, "other"),
    ],
)
def test_security_has_the_words_of_the_report(facts: dict[str, str], word: str) -> None:
    """What protected a delivery has one name, in the report and here."""
    assert security_of(facts) == word


def test_only_what_settles_or_defers_is_counted() -> None:
    """A verdict that passes mail on, a report and what is dropped are no delivery; an event of another kind is none."""
    counter = Counter()
    for event, changes in (
        ("stage.verdict", {"verdict": "proceed", "code": "resolve.planned"}),
        ("stage.verdict", {"code": "bounce.owed", "stage": "bounce"}),
        ("stage.verdict", {"code": "route.copy_rule_gone", "stage": "route", "destination": ""}),
        ("stage.verdict", {"verdict": "refuse", "code": "smtp.rcpt_refused", "recipients": ["a@x", "b@x"]}),
        ("stage.verdict", {"verdict": "defer", "code": "route.x", "stage": "route", "destination": ""}),
        ("message.done", {}),
    ):
        counter.count(event, {**VERDICT, **changes})
    slots, beats = counter.taken(0)
    assert slots == {0: {"dropped": 1, "failed": 2, "deferred": 1}}
    assert list(beats) == [KEY]


def test_nothing_is_counted_after_the_end() -> None:
    """Several may count at a time, and each ends by itself."""
    first, second = Counter(), Counter()
    log.counted_by(first.count)
    log.counted_by(second.count)
    log.emit("stage.verdict", level="debug", **VERDICT)
    log.counted_no_more(first.count)
    log.emit("stage.verdict", level="debug", **VERDICT)
    log.counted_no_more(second.count)
    log.emit("stage.verdict", level="debug", **VERDICT)
    assert [counter.taken(0)[0] for counter in (first, second)] == [{0: {"dane": 1}}, {0: {"dane": 2}}]


def test_counting_costs_next_to_nothing() -> None:
    """All that is counted of a message takes a few microseconds at most, of the millisecond that a message takes."""
    counter, rounds = Counter(), 5000
    proceed = {**VERDICT, "verdict": "proceed"}

    def count() -> None:
        for _ in range(rounds):
            counter.count("message.accepted", {})
            for _ in range(3):
                counter.count("stage.verdict", proceed)
            counter.count("delivery.attempt", ATTEMPT)
            counter.count("stage.verdict", VERDICT)
            counter.count("message.done", {})

    assert processor_seconds(count, tries=5) / rounds < 0.00001


def test_it_needs_no_prometheus() -> None:
    """Without figures for Prometheus nothing of their library is imported."""
    program = "import sys, pipeline.pulse; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
