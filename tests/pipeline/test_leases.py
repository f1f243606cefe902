"""Leases rest on the clock of Redis: no host's own clock, and no time in which Redis was away, takes work from the living."""

from datetime import timedelta
from typing import Any

import pytest

from pipeline.leases import Lease, LeaseOver
from pipeline.store.changes import Changes, Watch
from pipeline.store.ledger import Ledger
from tests.pipeline.test_ledger import KEY, LEASE, message, passes

HOUR = 3_600_000


@pytest.fixture
async def ledger(redis: Any) -> Ledger:
    """Give a ledger with a message that a worker has."""
    made = Ledger(redis)
    await made.accept(message(), b"x")
    await made.claim("place:route", "t", 1, LEASE)
    return made


async def _ends_in(ledger: Ledger) -> timedelta:
    seconds, microseconds = await ledger.redis.time()
    return timedelta(milliseconds=await ledger.redis.zscore("dp:claims", "t") - seconds * 1000 - microseconds / 1000)


async def test_a_lease_ends_by_the_clock_of_redis(ledger: Ledger) -> None:
    """SMTP-50: a lease is a duration, so that hosts whose clocks differ agree when it ends."""
    assert LEASE * 0.9 < await _ends_in(ledger) <= LEASE


async def test_who_comes_back_to_redis_grants_one_lease_more(ledger: Ledger) -> None:
    """SMTP-57: while Redis was away nobody could prolong, so work is taken back only from those who then do not."""
    watch = Watch()
    await passes(ledger.redis, 2 * LEASE)
    assert await ledger.reap(LEASE, watch) == []
    assert await ledger.reap(LEASE, watch) == []
    watch.seen -= LEASE // timedelta(milliseconds=1)  # nobody looked for a minute, as when Redis stood still
    watch.hold = 0
    assert await ledger.reap(LEASE, watch) == []
    watch.hold = watch.seen
    assert await ledger.reap(LEASE, watch) == [("t", "place:route", 1)]


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forwards", "backwards"])
async def test_a_clock_of_redis_that_is_set_takes_no_work_away(ledger: Ledger, jump: int) -> None:
    """Work stays with the living where Redis' clock is set by an hour, and comes back from the dead within two leases."""
    watch = Watch()
    await ledger.reap(LEASE, watch)
    watch.seen -= jump  # as those see it who looked before the clock was set
    watch.hold -= jump
    await passes(ledger.redis, timedelta(milliseconds=jump))
    assert await ledger.reap(LEASE, watch) == []
    assert await _ends_in(ledger) <= LEASE
    await ledger.extend("t", LEASE)
    watch.hold = watch.seen
    assert await ledger.reap(LEASE, watch) == []
    await passes(ledger.redis, LEASE)
    assert await ledger.reap(LEASE, watch) == [("t", "place:route", 1)]


async def test_a_slot_of_the_dead_frees_itself_though_the_clock_is_put_back(ledger: Ledger) -> None:
    """SMTP-38: a clock of Redis that is put back an hour does not keep a destination closed for an hour."""
    assert await ledger.open_slot(KEY, "dead", 1, LEASE)
    await passes(ledger.redis, timedelta(hours=-1))
    assert not await ledger.open_slot(KEY, "new", 1, LEASE)
    await passes(ledger.redis, LEASE)
    assert await ledger.open_slot(KEY, "new", 1, LEASE)


async def test_a_nudge_is_not_believed_for_an_hour(ledger: Ledger) -> None:
    """A nudge that got lost, marked as on its way before the clock was put back, is sent again by the sweep (SMTP-50)."""
    changes = Changes()
    changes.to_ready(KEY, "M1/0,1")
    await ledger.commit("t", "M1/0,1", changes)
    await ledger.accept(message("M2"), b"x")
    assert await ledger.waiting_places(["route"]) == []
    for name in ("route", f"to:{KEY}"):
        await ledger.redis.pexpire(f"dp:nudge:{name}", HOUR)
    assert await ledger.waiting_places(["route"]) == ["route", f"to:{KEY}"]
    assert await ledger.waiting_places(["route"]) == []


async def test_a_connection_learns_whether_its_mail_is_still_its_own(ledger: Ledger) -> None:
    """SMTP-57: who was too slow between taking mail and connecting has lost it, and does not deliver what it had taken."""
    assert await ledger.open_slot(KEY, "t", 5, LEASE) == 2
    assert await ledger.extend("t", LEASE, KEY)
    await passes(ledger.redis, LEASE)
    await ledger.reap()
    assert await ledger.open_slot(KEY, "t", 5, LEASE) == 1
    assert not await ledger.extend("t", LEASE, KEY)
    assert await ledger.open_slot(KEY, "u", 1, LEASE) == 0


def test_a_worker_knows_when_its_lease_may_be_over() -> None:
    """SMTP-57: a lease counts from when it was asked for, and who is not sure of it does not send the final dot."""
    lease = Lease("t", LEASE)
    lease.check()
    lease.given(lease.asked() - LEASE.total_seconds())
    with pytest.raises(LeaseOver):
        lease.check()
    lease.given(lease.asked())
    lease.check()
