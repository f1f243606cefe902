"""What caches may still hold, told from what was seen of a host's records over time."""

from datetime import UTC, datetime, timedelta

import pytest

from stages.publishing import GAP, MOST, UNKNOWN, Held, Published, held_until, observe
from stages.records import TLSA

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
OLD, NEW = TLSA(3, 1, 1, bytes(32)), TLSA(3, 1, 1, bytes(31) + b"\x01")
BOTH = (OLD, NEW)


def fits_new(records: tuple[TLSA, ...]) -> bool:
    """Tell whether the new key matches some records."""
    return not records or NEW in records


def watched(*looks: tuple[timedelta, tuple[TLSA, ...]], ttl: timedelta = HOUR) -> tuple[Published, ...]:
    """Look at a host so long before NOW, and see these records."""
    seen: tuple[Published, ...] = ()
    for before, records in looks:
        seen = observe(seen, records, ttl, NOW - before)
    return seen


def test_a_rollover_waits_for_the_ttl_after_the_change() -> None:
    """The old set may be in caches for its TTL after the new one was first seen (RFC 7671 section 8.1)."""
    seen = watched((40 * MINUTE, (OLD,)), (30 * MINUTE, BOTH), (MINUTE, BOTH))
    assert held_until(seen, fits_new, NOW) == (Held(NOW + 30 * MINUTE, (OLD,)),)
    assert held_until(seen, fits_new, NOW + 30 * MINUTE) == ()


def test_what_fits_every_set_need_not_wait() -> None:
    """The key that is in use all along is good at any time, and so is any key where no records were."""
    seen = watched((40 * MINUTE, (OLD,)), (MINUTE, BOTH))
    assert held_until(seen, lambda records: OLD in records, NOW) == ()
    assert held_until(watched((40 * MINUTE, ()), (MINUTE, (NEW,))), fits_new, NOW) == ()


def test_the_first_look_counts_as_the_change() -> None:
    """Where nobody looked before, what was there is unknown, and may be held for as long as the set that is there."""
    seen = watched((MINUTE, (NEW,)))
    assert held_until(seen, fits_new, NOW) == (Held(NOW + 59 * MINUTE, assumed=True),)
    assert held_until(seen, fits_new, NOW + 59 * MINUTE) == ()
    nothing = watched((MINUTE, ()))
    assert held_until(nothing, fits_new, NOW) == (Held(NOW - MINUTE + UNKNOWN, assumed=True),)
    assert held_until((), fits_new, NOW) == ()


def test_the_word_of_the_operator_replaces_the_first_look() -> None:
    """Who says when the records were changed need not have watched; the TTL is waited for all the same."""
    seen = watched((timedelta(0), (NEW,)))
    assert held_until(seen, fits_new, NOW, NOW - 2 * HOUR) == ()
    assert held_until(seen, fits_new, NOW, NOW - 20 * MINUTE) == (Held(NOW + 40 * MINUTE, assumed=True),)
    changed = watched((30 * MINUTE, (OLD,)), (MINUTE, BOTH))
    assert held_until(changed, fits_new, NOW, NOW - 20 * MINUTE) == (Held(NOW + 40 * MINUTE, (OLD,)),)


def test_after_a_gap_nothing_is_known() -> None:
    """What was not looked at for longer than its TTL and an hour may have been something else in between."""
    whole = watched((3 * HOUR, (NEW,)), (2 * HOUR, (NEW,)), (HOUR, (NEW,)), (timedelta(0), (NEW,)))
    assert held_until(whole, fits_new, NOW) == ()
    gap = watched((3 * HOUR, (NEW,)), (timedelta(0), (NEW,)))
    assert held_until(gap, fits_new, NOW) == (Held(NOW + HOUR, assumed=True),)
    short = watched((GAP, (NEW,)), (timedelta(0), (NEW,)), ttl=MINUTE)
    assert held_until(short, fits_new, NOW) == ()


def test_sets_that_come_back_are_remembered() -> None:
    """Of a set that was put back, the one in between is held; its order of records means nothing."""
    seen = watched((20 * MINUTE, BOTH), (10 * MINUTE, (OLD,)), (5 * MINUTE, (NEW, OLD)))
    assert held_until(seen, fits_new, NOW) == (Held(NOW + 55 * MINUTE, (OLD,)),)


def test_what_no_cache_can_hold_is_forgotten() -> None:
    """A history grows neither with time nor with changes."""
    seen = watched((timedelta(days=2), (OLD,)), (timedelta(0), (NEW,)))
    assert len(seen) == 2
    assert len(observe(seen, (NEW,), HOUR, NOW + 2 * HOUR)) == 2  # a gap: the same set, seen anew
    assert len(observe(seen, (NEW,), HOUR, NOW + HOUR)) == 1
    many = watched(*((minute * MINUTE, (TLSA(3, 1, 1, bytes([minute])),)) for minute in range(40, 0, -1)))
    assert len(many) == MOST + 1


@pytest.mark.parametrize("ttl", [MINUTE, HOUR])
def test_the_longest_ttl_that_was_seen_counts(ttl: timedelta) -> None:
    """A TTL that was shortened with the set unchanged is still the old one in caches."""
    seen = observe(watched((10 * MINUTE, (OLD,)), ttl=HOUR), (OLD,), ttl, NOW - MINUTE)
    assert seen[-1].ttl == HOUR
