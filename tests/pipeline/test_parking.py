"""Connections that wait for mail, on a real Redis: the word that some has come is heard whenever it comes."""

import asyncio
from typing import Any

from pipeline.parking import Parking
from pipeline.store.changes import Call, Changes
from pipeline.store.ledger import Ledger
from tests.journeys.test_kill import until
from tests.pipeline.test_ledger import KEY, LEASE, message


async def mail_comes(ledger: Ledger) -> None:
    """Put a message into the ready queue at which somebody waits, for whom alone there is a word."""
    await ledger.accept(message(), b"x")
    await ledger.claim("place:route", "u", 1, LEASE)
    changes = Changes()
    changes.to_ready(KEY, "M1/0,1")
    committed = await ledger.commit("u", "M1/0,1", changes)
    assert committed is not None
    assert committed.nudges == ()


async def parked(ledger: Ledger) -> bool:
    """Ask for mail of which there is none; tells whether what comes wakes us."""
    return (await ledger.take(f"ready:{KEY}", "t", 1, LEASE, call=Call(wait=600))).parked


async def test_a_word_that_comes_before_the_wait_is_heard(redis: Any) -> None:
    """Redis knows that a connection waits before that one does: mail that comes in between is sent at once.

    Nobody else is nudged for it, so it would lie there for the whole of the wait.
    """
    ledger = Ledger(redis)
    parking = Parking(ledger)
    listening = asyncio.create_task(parking.run())
    try:
        await until(lambda: parking.worth(KEY), 10)
        with parking.ready("t") as word:
            assert await parked(ledger)
            await mail_comes(ledger)
            await until(word.is_set, 10)
            async with asyncio.timeout(10):
                assert await parking.wait(word, KEY, "t", 600)
        assert await ledger.claim(f"ready:{KEY}", "t", 1, LEASE) == ["M1/0,1"]
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_a_word_that_is_lost_costs_the_rest_of_the_wait(redis: Any) -> None:
    """Whoever has heard nothing looks into the queue once more before leaving, and then nobody is said to wait."""
    ledger = Ledger(redis)
    deaf = Parking(ledger)  # it does not listen
    with deaf.ready("t") as word:
        assert await parked(ledger)
        assert not await deaf.wait(word, KEY, "t", 0.01)
        assert await parked(ledger)  # as nobody else is any more
        await mail_comes(ledger)
        assert await deaf.wait(word, KEY, "t", 0.01)
