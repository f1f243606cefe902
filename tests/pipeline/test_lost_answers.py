"""Answers of Redis that get lost on their way: what was done is done once, and whoever asks again is told of it."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.store.changes import Changes, Committed
from pipeline.store.connection import StoreUnavailable, connect
from pipeline.store.gates import GateStore
from pipeline.store.ledger import Ledger
from stages.message import MessageId, State
from tests.delivery.mailhost import Script
from tests.delivery.test_courier import CLEAR, hosts, plan
from tests.pipeline.losing import LosingWay, losing_way
from tests.pipeline.test_content import bodies_in, names
from tests.pipeline.test_ledger import KEY, LEASE, message, passes
from tests.pipeline.yard import Yard, logged

COMMIT = b'"settled":'  # what only commits say


@pytest.fixture
async def way(redis: Any, redis_url: str) -> AsyncIterator[LosingWay]:
    """Give a way to an empty Redis."""
    async with losing_way(redis_url) as made:
        yield made


@pytest.fixture
async def client(way: LosingWay) -> AsyncIterator[Any]:
    """Give a client, as the pipeline has it, over that way."""
    made = connect(way.url)
    yield made
    await made.aclose()


def delivered() -> Changes:
    """Make what is written when both recipients have their mail."""
    changes = Changes(settled=2)
    for recipient in message().recipients:
        changes.put(replace(recipient, state=State.DELIVERED))
    return changes


async def test_a_commit_whose_answer_is_lost_is_answered_once_more(way: LosingWay, client: Any) -> None:
    """SMTP-57: the client asks again by itself, and is told what the first answer said: no lease was lost."""
    ledger = Ledger(client)
    await ledger.accept(message(), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    way.lose(COMMIT)
    changes = Changes()
    changes.to_ready(KEY, "M1/0,1")
    assert await ledger.commit("t", "M1/0,1", changes) == Committed(2, (f"to:{KEY}",))
    await ledger.claim(f"ready:{KEY}", "u", 1, LEASE)
    way.lose(COMMIT)
    assert await ledger.commit("u", "M1/0,1", delivered()) == Committed(0, ())
    assert way.lost == 2
    assert await ledger.counts() == {"messages": 0, "scheduled": 0, "held": 0, "claims": 0, "destinations": 1}


async def test_what_others_did_meanwhile_does_not_change_the_answer(way: LosingWay, client: Any) -> None:
    """The message was open when the first commit was made, so whoever settled the rest of it has ended it, and alone."""
    ledger = Ledger(client)
    await ledger.accept(message(), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    changes = Changes()
    changes.to_ready(KEY, "M1/0")
    changes.to_ready(KEY, "M1/1")
    await ledger.commit("t", "M1/0,1", changes)
    await ledger.claim(f"ready:{KEY}", "a", 1, LEASE)
    await ledger.claim(f"ready:{KEY}", "b", 1, LEASE)
    first = Changes(settled=1)
    way.lose(COMMIT, 2)  # as often as the client asks by itself
    with pytest.raises(StoreUnavailable):
        await ledger.commit("a", "M1/0", first)
    assert await ledger.commit("b", "M1/1", Changes(settled=1)) == Committed(0, ())
    assert await ledger.commit("a", "M1/0", first) == Committed(1, ())


async def test_a_lost_lease_stays_lost(redis: Any) -> None:
    """DSN-21: one who writes the same as whoever has the work now, or who had it before, is still told that it is not his."""
    ledger = Ledger(redis)
    await ledger.accept(message(), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    again = Changes()
    again.aside("place:route", "M1/0,1")
    assert await ledger.commit("t", "M1/0,1", again) is not None
    await ledger.claim("place:route", "t", 1, LEASE)  # the same token has it once more, and loses it
    await passes(redis, LEASE)
    await ledger.reap()
    twin = Changes()
    twin.aside("place:route", "M1/0,1")
    assert await ledger.commit("t", "M1/0,1", twin) is None
    await ledger.claim("place:route", "fast", 1, LEASE)
    assert await ledger.commit("fast", "M1/0,1", delivered()) is not None
    assert await ledger.commit("t", "M1/0,1", delivered()) is None


async def test_content_elsewhere_goes_though_the_answer_was_lost(way: LosingWay, client: Any, tmp_path: Path) -> None:
    """Whoever asks again is told when the message was accepted, by which its content is found and deleted."""
    bodies = bodies_in((tmp_path / "content").as_uri(), client)
    await bodies.bind()
    try:
        ledger = Ledger(client, bodies=bodies)
        await ledger.accept(message(), b"x")
        await ledger.claim("place:route", "t", 1, LEASE)
        assert len(await names(ledger)) == 1
        way.lose(COMMIT)
        assert await ledger.commit("t", "M1/0,1", delivered()) == Committed(0, ())
        assert await names(ledger) == []
    finally:
        await bodies.aclose()


async def test_a_place_is_not_in_its_own_way(redis: Any) -> None:
    """A connection of a destination or a site that asks again for its place, as its answer got lost, has it."""
    ledger, gates = Ledger(redis), GateStore(redis)
    for _ in range(2):
        assert await ledger.open_slot(KEY, "t", 1, LEASE) == 1
        assert await gates.seat("mx", "t", KEY, 1, LEASE)
    assert await ledger.open_slot(KEY, "other", 1, LEASE) == 0
    assert not await gates.seat("mx", "other", KEY, 1, LEASE)


@pytest.mark.parametrize("times", [1, 3], ids=["the client asks again", "the worker asks again as well"])
async def test_a_delivery_whose_commit_is_not_answered_is_done_once(
    way: LosingWay, client: Any, tmp_path: Path, times: int
) -> None:
    """SMTP-57: the host has it once, and the log says that the message is done, and of no lost lease."""
    with logged(tmp_path / "log.jsonl") as path:
        yard = Yard(client, path)
        async with hosts(Script()) as running:
            to = plan(running, CLEAR)
            await yard.ready(to, "M1")
            way.lose(COMMIT, times)
            with suppress(StoreUnavailable):  # what else the connection asked for may be lost with it
                await yard.job(to)
            await yard.job(to)
            assert [len(seen.contents) for seen in running[0].seen] == [1]
        assert way.lost == times
        assert [event["message"] for event in yard.events("message.done")] == ["M1"]
        assert yard.events("lease.lost") == []
        assert await yard.places("M1") == ["delivered"]
        stored = await yard.ledger.stored(MessageId("M1"))
        assert stored is not None
        assert stored.open == 0
        assert timedelta(0) < timedelta(milliseconds=await client.pttl("dp:msg:M1")) <= timedelta(minutes=10)
