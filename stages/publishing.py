"""Which TLSA record sets of a host may still be in somebody's cache, told from what was seen of them over time.

`observe` keeps the sets seen, `held_until` says until when a cache may hold one that a certificate does not match: a
set that was replaced is held for its TTL after the moment at which another was first seen, and what stood there before
the first look is unknown, so that look counts as the change (RFC 7671 section 8.1). An empty set is "no records", which
demand nothing of a certificate. Both are pure; `stages.dane` knows nothing of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from stages.records import TLSA

GAP = timedelta(hours=1)  # without a look for longer than that, or than the TTL, nobody knows what was there
UNKNOWN = timedelta(days=1)  # the TTL of what may have been there before there was nothing
MOST = 20  # sets kept of a host: who changes them more often within a TTL has other worries


@dataclass(frozen=True, slots=True)
class Published:
    """A record set as it was seen: its whole TTL, when first and last, and when another was first seen in its place."""

    records: tuple[TLSA, ...]
    ttl: timedelta
    first: datetime
    last: datetime
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A cache may hold `records` until `until`. `assumed`: they are not known, nobody looked before."""

    until: datetime
    records: tuple[TLSA, ...] = ()
    assumed: bool = False


def observe(seen: Sequence[Published], records: Sequence[TLSA], ttl: timedelta, now: datetime) -> tuple[Published, ...]:
    """Add a look at a host to what was seen, and forget what no cache can hold any more; the current set comes last.

    A set that was not looked at for too long counts as new: another may have been there in between.
    """
    wanted = tuple(sorted(set(records), key=str))
    first, before = now, []
    for one in seen:
        if one.records == wanted and one.ended is None and now - one.last <= max(one.ttl, ttl, GAP):
            first, ttl = one.first, max(one.ttl, ttl)
        else:
            before.append(one if one.ended is not None else replace(one, ended=now))
    kept = [one for one in before if one.ended is not None and one.ended + max(one.ttl, ttl) > now]
    return (*kept[-MOST:], Published(wanted, ttl, first, now))


def held_until(
    seen: Sequence[Published], fits: Callable[[tuple[TLSA, ...]], bool], now: datetime, since: datetime | None = None
) -> tuple[Held, ...]:
    """Tell what caches may still hold that does not fit; nothing at all if a certificate fits all of it.

    `since` is when the current set was published, by the word of whoever did; else it is the first look at it.
    """
    if not seen:
        return ()
    *before, current = seen
    held = []
    for one in before:
        ended = one.ended if one.ended is not None else current.first
        changed = min(ended, since) if since is not None else ended
        if changed + one.ttl > now and not fits(one.records):
            held.append(Held(changed + one.ttl, one.records))
    changed = since if since is not None else current.first
    known = any(_until(one, current) for one in before)
    ttl = current.ttl if current.records else UNKNOWN  # what was there before has a TTL that nobody knows
    if not known and changed + ttl > now:
        held.append(Held(changed + ttl, assumed=True))
    return tuple(held)


def _until(one: Published, current: Published) -> bool:
    """Tell whether a set was there until the current one came, as far as looks at short intervals can tell."""
    return one.ended == current.first and one.ended - one.last <= max(one.ttl, current.ttl, GAP)
