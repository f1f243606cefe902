"""The first page: how much waits and for what, whether room runs short, and what happens each second.

What it costs is the same however much waits.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from ops.console.page import Answer, Call
from ops.console.rates import MAIL, TROUBLE, lately, minutes
from ops.console.rendering import number, octets, span
from pipeline.accept.pressure import SHARE
from pipeline.config import Config
from pipeline.spine import utc_now
from pipeline.store.census import Census, take
from pipeline.store.selftests import SelfTest, SelfTestStore

_TESTS = "/resolvers"
NEAR = 1 - 1 / SHARE  # share of a limit from which on new mail waits


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: its name, its value, what to say of it, and its kind (good, warn, bad or none)."""

    name: str
    value: str
    note: str = ""
    kind: str = ""
    href: str = ""


def _room(name: str, used: float, limit: float, shown: str) -> Figure:
    """Give how much of something is used. Without a limit nothing runs short."""
    if not limit:
        return Figure(name, shown, "no limit")
    share = used / limit
    return Figure(name, shown, f"{share:.0%} of the limit", "bad" if share >= 1 else "warn" if share >= NEAR else "")


def figures(config: Config, census: Census) -> list[Figure]:
    """Make the figures of the page."""
    age = utc_now() - census.oldest if census.oldest else timedelta(0)
    overdue = "warn" if age > config.queue.lifetime else ""
    held, parked = census.queue_held, census.destinations_parked
    bound = census.redis_memory_limit_bytes
    most = config.backpressure.max_memory
    limit = min(bound or most, most or bound)
    messages, circuits = census.queue_messages, census.circuits_open
    since = "since it was accepted" if census.oldest else ""
    return [
        _room("Messages waiting", messages, config.backpressure.max_queue, number(messages)),
        Figure("Oldest", span(age) if census.oldest else "none", since, overdue),
        Figure("For a later try", number(census.queue_scheduled), "groups of recipients"),
        Figure("Held", number(held), "groups of recipients", "warn" if held else ""),
        Figure("Destinations", number(census.queue_destinations), "with mail ready to go"),
        Figure("Circuits open", number(circuits), "addresses left alone", "warn" if circuits else ""),
        Figure("Certificates differ", number(parked), "destinations left alone", "bad" if parked else ""),
        Figure("Suspensions", number(census.suspensions), "by operators", "warn" if census.suspensions else ""),
        Figure("Exclusions", number(census.exclusions), "added while running"),
        _room("Memory of Redis", census.redis_memory_bytes, limit, octets(census.redis_memory_bytes)),
    ]


def told(tests: Sequence[SelfTest]) -> Figure:
    """Say what the workers believe of DNS."""
    waiting = [one for one in tests if one.suspended]
    if not tests:
        return Figure("Resolvers", "unknown", "no worker has told", "warn", _TESTS)
    if waiting:
        return Figure("Resolvers", "fail", f"{len(waiting)} of {len(tests)} workers: mail waits", "bad", _TESTS)
    weak = any(not verdict.passed for one in tests for verdict in one.verdicts)
    value, kind = ("one fails", "warn") if weak else ("pass", "good")
    return Figure("Resolvers", value, f"in {len(tests)} workers", kind, _TESTS)


async def show(call: Call) -> Answer:
    """Show what there is."""
    now = utc_now()
    census, tests, slots = await asyncio.gather(
        take(call.spine.redis, call.spine.ledger.prefix), SelfTestStore(call.spine.redis).entries(now), lately(call)
    )
    lines = {"mail": MAIL, "trouble": TROUBLE}
    return {
        "figures": [told(tests), *figures(call.config, census)],
        "lines": lines,
        "minutes": {name: minutes(slots, some) for name, some in lines.items()},
    }
