"""Who fetches what: a gatherer for each type of fact that stages want.

Gatherers come from the entry-point group `danepipe.facts`, ours like anybody's: each entry is a function that takes a
`Context` and returns a `Gatherer`. A gatherer that fails raises; that is a fault of ours and no verdict.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import entry_points
from typing import Any

from delivery.resolver import Resolver
from delivery.survey import survey
from pipeline.config import Config
from pipeline.store.exclusions import ExclusionStore
from stages.contract import Consignment, Planned
from stages.destination import Destination
from stages.exclude import Exclusions
from stages.policy import Policy
from stages.resolve import Survey
from stages.route import RouteTable

FACTS = "danepipe.facts"


@dataclass(frozen=True, slots=True)
class Context:
    """What gatherers may use. `chance` gives random numbers in [0, 1), `now` the time."""

    config: Config
    resolver: Resolver
    exclusions: ExclusionStore
    now: Callable[[], datetime]
    chance: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Gatherer:
    """Fetches facts of one type for an item."""

    gives: type
    gather: Callable[[Any], Awaitable[Any]]


def route_table(context: Context) -> Gatherer:
    """Give the configured rules."""
    table = context.config.route_table()

    async def gather(_item: object) -> RouteTable:
        return table

    return Gatherer(RouteTable, gather)


def exclusions(context: Context) -> Gatherer:
    """Give the exclusions of the configuration and those kept in Redis, at most a second old."""
    configured = context.config.exclusions()
    kept: list[Any] = [None, None]

    async def gather(_item: object) -> Exclusions:
        now = context.now()
        if kept[0] is None or now - kept[0] > timedelta(seconds=1):
            kept[1] = Exclusions((*configured, *await context.exclusions.entries()))
            kept[0] = now
        return kept[1]  # type: ignore[no-any-return]

    return Gatherer(Exclusions, gather)


def policy(context: Context) -> Gatherer:
    """Give the policy of a destination."""
    made: dict[Destination, Policy] = {}

    async def gather(item: object) -> Policy:
        destination = destination_of(item)
        if destination not in made:
            if len(made) > 100_000:
                made.clear()
            made[destination] = context.config.policy_for(destination)
        return made[destination]

    return Gatherer(Policy, gather)


def surveys(context: Context) -> Gatherer:
    """Ask DNS everything that stage `resolve` wants to know of a destination."""

    async def gather(item: object) -> Survey:
        destination = destination_of(item)
        chance = context.chance()
        return await survey(destination, context.config.policy_for(destination), context.resolver, context.now, chance)

    return Gatherer(Survey, gather)


def destination_of(item: object) -> Destination:
    """Give the destination that an item of a destination stage is about. Raises TypeError for other items."""
    if isinstance(item, Consignment):
        return item.destination
    if isinstance(item, Planned):
        return item.plan.destination
    raise TypeError(f"{type(item).__name__} has no destination")


def gatherers(context: Context) -> Mapping[type, Gatherer]:
    """Make every registered gatherer. Raises TypeError for an entry that gives something else or what another gives."""
    made: dict[type, Gatherer] = {}
    for entry in entry_points(group=FACTS):
        gatherer = entry.load()(context)
        if not isinstance(gatherer, Gatherer):
            raise TypeError(f"entry point {entry.name!r} in group {FACTS} gave {gatherer!r}, expected a Gatherer")
        if gatherer.gives in made:
            raise TypeError(f"two entries of group {FACTS} give {gatherer.gives.__name__}")
        made[gatherer.gives] = gatherer
    return made
