"""A certificate and TLSA records that do not match: most often one of them was just changed (RFC 7671 section 8).

Before a mismatch counts, DNS is asked again past every cache. What comes of that is a plan like any other: where it
demands what was demanded before, the mismatch counts; where it demands something else, that is tried instead. A
destination all of whose hosts mismatch is then left alone until the TTL of the records is over, as before that nothing
new is to be learned from the same caches, and for growing pauses after that. Where policy refuses mail for a mismatch,
what was seen holds for one short pause only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from stages.attempt import HostAttempt
from stages.plan import DaneDemand, Demand, Plan, Trouble
from stages.policy import OnFailure, Policy
from stages.refusal import failures

LEAST = timedelta(seconds=30)  # between two askings for one destination, however short its TTL
FAILED = timedelta(seconds=5)  # the same after a lookup error, as long as the resolver keeps one
LOOKUPS = frozenset({Trouble.LOOKUP_MX, Trouble.LOOKUP_ADDRESS, Trouble.LOOKUP_TLSA, Trouble.SUSPENDED})
MOST = timedelta(hours=1)  # for which a TTL is waited for: a certificate may be put right at any time


@dataclass(frozen=True, slots=True)
class Rest:
    """How long a destination is left alone after a try: the first pause, which doubles up to the longest."""

    first: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(minutes=30)


def same_demand(one: Demand, other: Demand) -> bool:
    """Tell whether two demands ask for the same; the order of records in a DNS answer means nothing (RFC 2181 5)."""
    if isinstance(one, DaneDemand) and isinstance(other, DaneDemand):
        one = replace(one, records=tuple(sorted(one.records, key=str)))
        other = replace(other, records=tuple(sorted(other.records, key=str)))
    return one == other


def same_hosts(one: Plan, other: Plan) -> bool:
    """Tell whether two plans demand the same of the same hosts, wherever these stand and in whatever order."""
    mine = {host.name: host.demand for host in one.hosts}
    others = {host.name: host.demand for host in other.hosts}
    return mine.keys() == others.keys() and all(same_demand(mine[name], others[name]) for name in mine)


def records_end(plan: Plan) -> datetime:
    """Give the end of the TTL of the TLSA records of a plan, the first one; without any, that of the plan."""
    ends = [host.demand.expires for host in plan.hosts if isinstance(host.demand, DaneDemand)]
    return min((end for end in ends if end is not None), default=plan.expires)


def rests_on_error(plan: Plan) -> bool:
    """Tell whether some answer of a plan is a lookup error, which may pass within seconds."""
    return any(host.trouble in LOOKUPS for host in plan.skipped)


def holds_until(plan: Plan, now: datetime) -> datetime:
    """Say until when a plan that was made past every cache is not to be made so again.

    One that rests on a lookup error tells nothing of the domain: mail must not wait for it longer than for the error.
    """
    if rests_on_error(plan):
        return now + FAILED
    return max(records_end(plan), now + LEAST)


def is_settled(plan: Plan, tried: Sequence[HostAttempt]) -> bool:
    """Tell whether every host of a destination failed, and each by a mismatch."""
    found = failures(plan, tried)
    return bool(found) and all(failure.trouble is Trouble.MISMATCH for failure in found)


def rests_until(plan: Plan, policy: Policy, rest: Rest, pauses: int, now: datetime) -> datetime:
    """Say until when a destination is left alone whose hosts all mismatch, after so many pauses before."""
    if policy.dane.on_mismatch is OnFailure.BOUNCE:
        return now + rest.first
    pause = min(rest.first * (1 << min(pauses, 20)), rest.longest)
    return max(now + pause, min(records_end(plan), now + MOST))
