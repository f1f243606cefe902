"""The order of the stages: an explicit list that a reader can check, and that is checked before anything runs.

Stages come from the entry-point group `danepipe.stages`, ours like anybody's; only those that the list names are
loaded. `build` raises `LineError` with a sentence for an unknown name, a stage named or provided twice, one that cannot
be loaded, types that do not chain, or a missing end.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points

from stages.attempt import Attempt
from stages.contract import Consigned, Consignment, Level, Notice, Owed, Planned, Stage
from stages.message import Message

STAGES = "danepipe.stages"


class LineError(Exception):
    """The configured line cannot work; the text says which stage and why."""


@dataclass(frozen=True, slots=True)
class Line:
    """Message stages in order, destination stages in order, and the stage that rules on notices."""

    messages: tuple[Stage, ...]
    destinations: tuple[Stage, ...]
    notices: Stage

    @property
    def stages(self) -> tuple[Stage, ...]:
        """List all stages in order."""
        return (*self.messages, *self.destinations, self.notices)

    @property
    def first(self) -> Stage:
        """Give the stage that accepted mail and due retries enter."""
        return self.messages[0]

    def after(self, stage: Stage) -> Stage | None:
        """Give the next stage of the same level, or None at its end."""
        row = self.messages if stage.level is Level.MESSAGE else self.destinations
        place = row.index(stage) + 1
        return row[place] if place < len(row) else None


def registered(names: Collection[str] | None = None) -> dict[str, Stage]:
    """Load the registered stages of these names (None: all). Raises `LineError` for what is no stage of its name."""
    found: dict[str, Stage] = {}
    for entry in entry_points(group=STAGES):
        if names is not None and entry.name not in names:
            continue
        try:
            stage = entry.load()
        except Exception as error:  # whatever an installed package does when it is imported
            raise LineError(f"stage {entry.name!r} cannot be loaded from {entry.value}: {error!r}") from error
        if not isinstance(stage, Stage):
            raise LineError(
                f"entry point {entry.name!r} in group {STAGES} is {stage!r}, expected a stages.contract.Stage"
            )
        if stage.name != entry.name:
            raise LineError(f"entry point {entry.name!r} in group {STAGES} holds a stage named {stage.name!r}")
        if found.get(entry.name, stage) is not stage:
            raise LineError(f"two installed packages provide a stage {entry.name!r}: remove one of them")
        found[entry.name] = stage
    return found


def build(names: Sequence[str], known: Mapping[str, Stage] | None = None) -> Line:
    """Check the configured order and make the line. Raises `LineError`."""
    known = registered(names) if known is None else known
    for name in names:
        if name not in known:
            offered = sorted({*known, *entry_points(group=STAGES).names})
            near = difflib.get_close_matches(name, offered, 1)
            hint = f", did you mean {near[0]!r}?" if near else f"; known stages: {', '.join(offered)}"
            raise LineError(f"pipeline.stages names {name!r}, which no installed package provides{hint}")
        if list(names).count(name) > 1:
            raise LineError(f"pipeline.stages names {name!r} more than once")
    stages = [known[name] for name in names]
    levels = [stage.level for stage in stages]
    if levels != sorted(levels, key=[Level.MESSAGE, Level.DESTINATION, Level.NOTICE].index):
        raise LineError(
            "pipeline.stages must hold message stages first, then destination stages, then the notice stage"
        )
    messages = tuple(stage for stage in stages if stage.level is Level.MESSAGE)
    destinations = tuple(stage for stage in stages if stage.level is Level.DESTINATION)
    notices = [stage for stage in stages if stage.level is Level.NOTICE]
    _chain(messages, Message, Consigned, "message")
    _chain(destinations, Consignment, None, "destination")
    _deliverable(destinations)
    if len(notices) != 1 or notices[0].takes is not Owed or notices[0].gives is not Notice:
        raise LineError("pipeline.stages must end in one stage that takes Owed and gives Notice, such as 'bounce'")
    return Line(messages, destinations, notices[0])


def _chain(row: Sequence[Stage], first: type, last: type | None, level: str) -> None:
    if not row:
        raise LineError(f"pipeline.stages has no {level} stage")
    wanted = first
    for before, stage in zip((None, *row), row, strict=False):
        if stage.takes is not wanted:
            giver = f"{before.name!r} gives" if before else "it is handed"
            raise LineError(
                f"stage {stage.name!r} takes {stage.takes.__name__}, but {giver} {wanted.__name__}: "
                "stages must stand in an order in which the types chain",
            )
        wanted = stage.gives
    if last is not None and wanted is not last:
        raise LineError(f"the last {level} stage {row[-1].name!r} gives {wanted.__name__}, expected {last.__name__}")


def _deliverable(row: Sequence[Stage]) -> None:
    """See that plans are what destination stages hand on, and that the last one of them alone delivers."""
    for stage in row:
        if stage.gives is not Planned:
            raise LineError(
                f"destination stage {stage.name!r} gives {stage.gives.__name__}, expected Planned: "
                "only a plan is handed on for a ready queue"
            )
        if (Attempt in stage.wants) is not (stage is row[-1]):
            raise LineError(
                f"destination stage {stage.name!r} stands wrong: the last one, and no other, must want an Attempt, "
                "as 'deliver' does"
            )
