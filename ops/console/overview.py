"""The first page: how much waits and for what, whether room runs short, and what happens each second.

What it costs is the same however much waits.
"""

from dataclasses import dataclass
from datetime import timedelta

from ops.console.page import Answer, Call
from ops.console.rendering import number, octets, span
from pipeline.config import Config
from pipeline.spine import utc_now
from pipeline.store.census import Census, take

NEAR = 0.9  # share of a limit from which on new mail waits (pipeline.accept.pressure)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: its name, its value, what to say of it, and its kind (good, warn, bad or none)."""

    name: str
    value: str
    note: str = ""
    kind: str = ""


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


async def show(call: Call) -> Answer:
    """Show what there is."""
    census = await take(call.spine.redis, call.spine.ledger.prefix)
    return {"figures": figures(call.config, census)}
