"""Who fetches what: a gatherer for each type of fact that stages want.

Gatherers come from the entry-point group `danepipe.facts`, ours like anybody's: each entry is a function that takes a
`Context` and returns a `Gatherer`. A gatherer that fails raises; that is a fault of ours and no verdict. What keeps
gatherers from being made, or leaves a stage without a fact it wants, is a `LineError` with a sentence.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import entry_points
from typing import Any

from delivery.resolver import Resolver
from delivery.survey import survey
from pipeline.config import Config
from pipeline.line import LineError
from pipeline.store.exclusions import ExclusionStore
from stages.attempt import Attempt
from stages.contract import Consignment, Planned, Stage
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
            kept[1] = Exclusions(await context.exclusions.beside(configured))
            kept[0] = now
        return kept[1]  # type: ignore[no-any-return]

    return Gatherer(Exclusions, gather)


def policy(context: Context) -> Gatherer:
    """Give the policy of a destination."""

    async def gather(item: object) -> Policy:
        return context.config.policy_for(destination_of(item))

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


def gatherers(context: Context, stages: Iterable[Stage] = ()) -> Mapping[type, Gatherer]:
    """Make every registered gatherer, and see that the stages get what they want.

    Raises `LineError` for an entry that cannot be loaded or made, gives something else or what another gives, and for a
    stage that wants what nobody gives.
    """
    made: dict[type, Gatherer] = {}
    for entry in entry_points(group=FACTS):
        try:
            gatherer = entry.load()(context)
        except Exception as error:  # whatever an installed package does
            raise LineError(f"gatherer {entry.name!r} cannot be made from {entry.value}: {error!r}") from error
        if not isinstance(gatherer, Gatherer):
            raise LineError(f"entry point {entry.name!r} in group {FACTS} gave {gatherer!r}, expected a Gatherer")
        if gatherer.gives in made:
            raise LineError(f"two entries of group {FACTS} give {gatherer.gives.__name__}: remove one of them")
        made[gatherer.gives] = gatherer
    for stage in stages:
        for wanted in stage.wants:
            if wanted not in made and wanted is not Attempt:  # what happened on the wire is no fact to be fetched
                raise LineError(
                    f"stage {stage.name!r} wants {wanted.__name__}, which no entry of group {FACTS} gives: "
                    "install the package that gathers it"
                )
    return made
