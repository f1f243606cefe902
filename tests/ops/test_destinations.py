"""Destinations as an operator sees them, on a real Redis: what waits, how it goes, and what is in the way."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from ops.bench.fill import fill, filling
from ops.destinations import Destinations, Standstill
from pipeline.config import load
from pipeline.spine import Spine
from pipeline.store.changes import Changes, group_of, number_of
from pipeline.store.gates import Kind, Pauses, Suspension
from pipeline.store.pulse import COUNTED, Beat, PulseStore, Trouble
from pipeline.store.rollover import Parked, RolloverStore
from stages.destination import Destination
from stages.message import State
from stages.plan import Plan
from stages.reason import Reason
from tests.pipeline.test_ledger import message

LEASE = timedelta(minutes=1)
SOON = datetime.now(UTC).replace(microsecond=0)
WHY = Reason("deliver", "smtp.connect", "4.4.1", "mx.down.example: connection refused", {"host": "mx.down.example"})


def key(name: str) -> str:
    """Name a destination as the ledger does."""
    return f"mx:{name}:25:dane"


@pytest.fixture
async def spine(redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Spine]:
    """Give what a command opens, on an empty Redis."""
    monkeypatch.chdir(tmp_path)
    assert await redis.dbsize() == 0
    config = load(None, {"DANEPIPE_HOSTNAME": "mail.example.org", "DANEPIPE_REDIS__URL": redis_url})
    async with Spine.open(config) as made:
        yield made


async def put(spine: Spine, identifier: str, name: str, due: datetime | None = None) -> None:
    """Keep a message that is ready for a destination, or waits for its next try there."""
    made = message(identifier, 1)
    (one,) = made.recipients
    group = group_of(made.id, [number_of(one.id)])
    await spine.ledger.accept(made, b"x")
    await spine.ledger.claim("place:route", "t", 1, LEASE)
    changes = Changes()
    if due is None:
        changes.to_ready(key(name), group)
    else:
        changes.put(replace(one, state=State.DEFERRED, attempts=1, last_attempt=due, next_attempt=due, reason=WHY))
        changes.later(group, due, key(name))
    assert await spine.ledger.commit("t", group, changes) is not None


def soon(minutes: float = 30) -> datetime:
    """Give a time to come."""
    return SOON + timedelta(minutes=minutes)


async def test_what_is_in_the_way(spine: Spine) -> None:
    """Each destination says what keeps its mail, until when, and why it was put off."""
    now = datetime.now(UTC)
    for name in ("suspended", "parked", "down", "retry"):
        await put(spine, f"M{name}", f"{name}.example", soon())
    await put(spine, "Mflow", "flow.example")
    beat = Beat(security="dane")
    beat.counts[COUNTED.index("dane")] = 50
    trouble = Trouble("smtp.rcpt_deferred", "450 later", "mx.flow.example", now)
    down = Beat(trouble=trouble, door="192.0.2.1|25")
    beats = {key("flow.example"): beat, key("down.example"): down, key("idle.example"): Beat(trouble=trouble)}
    await PulseStore(spine.redis).add({}, beats, now)
    await spine.gates.suspend(Suspension(Kind.DESTINATION, "suspended.example", expires=soon(5)))
    plan = Plan(Destination.parse(key("parked.example")), (), (), now, now)
    await RolloverStore(spine.redis).park(key("parked.example"), Parked(plan, (), now, soon(9), 1), now)
    await spine.gates.failed("192.0.2.1|25", "t", Pauses(), 1, "smtp.connect", "refused", chance=0.5)
    rows = {row.name.removesuffix(".example"): row for row in await Destinations(spine).foremost()}
    assert {name: row.state for name, row in rows.items()} == {
        "suspended": Standstill.SUSPENDED,
        "parked": Standstill.PARKED,
        "down": Standstill.CIRCUIT,
        "retry": Standstill.RETRY,
        "flow": Standstill.FLOWING,
        "idle": Standstill.IDLE,
    }
    assert [(rows[name].ready, rows[name].deferred) for name in ("flow", "retry", "idle")] == [(1, 0), (0, 1), (0, 0)]
    assert rows["flow"].rate > 5
    assert rows["flow"].security == "dane"
    assert rows["suspended"].until == soon(5)
    assert rows["parked"].until == soon(9)
    assert rows["retry"].next_try == soon()
    told = rows["retry"].error  # by the mail itself, since the pulse knows nothing of it
    assert told is not None
    assert (told.code, told.text, told.host) == ("smtp.connect", WHY.text, "mx.down.example")
    assert rows["down"].error == trouble
    assert rows["flow"].values()["state"] == "flowing"


async def test_all_are_walked_in_pages(spine: Spine) -> None:
    """Put off first, most first; then ready; then those that mail went to: each once, whatever the size of a page."""
    number = 0
    for name, deferred, ready in (("a", 1, 0), ("b", 3, 1), ("c", 2, 0), ("d", 0, 2), ("e", 0, 1)):
        for due in [soon()] * deferred + [None] * ready:
            number += 1
            await put(spine, f"M{number}", f"{name}.example", due)
    beats = {key(f"{name}.example"): Beat() for name in "bdf"}
    await PulseStore(spine.redis).add({}, beats, datetime.now(UTC))
    for limit in (1, 2, 100):
        found: list[Any] = []
        cursor, begun = "", False
        while cursor or not begun:
            begun = True
            rows, cursor = await Destinations(spine).page(cursor, limit)
            found += rows
        names = [row.name[0] for row in found]
        assert names[:3] == ["b", "c", "a"]
        assert sorted(names[3:5]) == ["d", "e"]
        assert names[5:] == ["f"]
        assert [row.backlog for row in found[:3]] == [4, 2, 1]
    for wrong in ("x", "deferred x", "held 3"):
        with pytest.raises(ValueError, match="is no cursor"):
            await Destinations(spine).page(wrong)


async def test_one_is_found_and_seen_in_full(spine: Spine) -> None:
    """A part of a name finds it, whatever signs are in that; all that waits there has its reason."""
    await put(spine, "M1", "one.example", soon())
    await put(spine, "M2", "one.example")
    await put(spine, "M3", "other.example", soon())
    view = Destinations(spine)
    assert [row.name for row in await view.sought("ONE.")] == ["one.example"]
    assert [row.name for row in await view.sought("*")] == []
    assert len(await view.sought("e")) == 2
    detail = await view.detail(key("one.example"))
    assert detail is not None
    assert [(one["id"], one["state"], one["code"]) for one in detail.waiting] == [
        ("M2/0", "queued", ""),
        ("M1/0", "deferred", "smtp.connect"),
    ]
    assert detail.plan is None
    assert await view.detail("no destination") is None


async def test_an_operator_and_the_clock_keep_the_numbers_right(spine: Spine) -> None:
    """What is moved by hand, or becomes due, is no longer among what waits for its next try."""
    for number in range(3):
        await put(spine, f"M{number}", "one.example", soon(number + 1))
    stored = await spine.ledger.stored(message("M0").id)
    assert stored is not None
    (one,) = stored.message.recipients
    assert await spine.ledger.move(replace(one, state=State.HELD), "held", soon()) == "moved"
    (row,) = await Destinations(spine).rows([key("one.example")])
    assert (row.deferred, row.next_try) == (2, soon(2))
    assert (await spine.ledger.due(soon(60)))[0] == 2
    (row,) = await Destinations(spine).rows([key("one.example")])
    assert (row.deferred, row.next_try) == (0, None)
    assert await spine.redis.exists("dp:deferred") == 0


async def test_a_large_queue_holds_up_nobody(spine: Spine, redis_url: str) -> None:
    """With fifty thousand destinations, no look at a page, at the foremost or for a name keeps Redis for long."""
    with SyncRedis.from_url(redis_url) as client:
        fill(client, filling(100_000, 50_000, 10))
        client.config_set("slowlog-log-slower-than", 10_000)  # microseconds
        client.slowlog_reset()
        view = Destinations(spine)
        began = time.monotonic()
        rows, cursor = await view.page("", 100)
        assert [row.deferred for row in rows] == [2] * 100
        assert cursor == "deferred 100"
        assert len((await view.page("deferred 49900", 100))[0]) == 100
        assert len(await view.foremost(200)) == 200
        assert [row.name for row in await view.sought("d00049999")] == ["d00049999.example"]
        assert time.monotonic() - began < 10
        assert client.slowlog_get() == []
