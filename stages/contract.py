"""Stage: the shape that every stage has.

A stage takes one type of item, wants facts of named types, and rules with `decide(item, facts, now) -> verdicts`.
`facts` maps each wanted type to a value that a gatherer fetched (entry-point group `danepipe.facts`). The `gives` of
a `Proceed` is an item of the type that the stage declares, about exactly the recipients it names. A stage of level
MESSAGE rules over the recipients of one message, one of level DESTINATION over those of a ready queue.
The line is an ordered list of stages in which each `takes` equals the `gives` before it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from stages.destination import Destination, Route
from stages.message import Message, RecipientId
from stages.plan import Plan
from stages.verdict import Verdict

Facts = Mapping[type, Any]


class Level(StrEnum):
    """What a stage works on: one message, the due recipients of one destination, or a notice that may be owed."""

    MESSAGE = "message"
    DESTINATION = "destination"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Stage:
    """A named decision. Raises nothing for bad mail: an exception out of `decide` is a fault of ours."""

    name: str
    level: Level
    takes: type
    wants: tuple[type, ...]
    gives: type
    decide: Callable[[Any, Facts, datetime], tuple[Verdict, ...]]


@dataclass(frozen=True, slots=True)
class CopyLeg:
    """A second destination that a `copy` rule adds for a recipient, without touching the first."""

    rule: str
    of: RecipientId
    route: Route


@dataclass(frozen=True, slots=True)
class Routed:
    """A message whose recipients have their routes; given by `route`, taken by `exclude`.

    Each of `copies` becomes a recipient of its own before `exclude` sees the item.
    """

    message: Message
    routes: Mapping[RecipientId, Route]
    copies: tuple[CopyLeg, ...] = ()


@dataclass(frozen=True, slots=True)
class Consigned:
    """A message whose recipients have their destinations; given by `exclude`: from here each goes to a ready queue."""

    message: Message
    destinations: Mapping[RecipientId, Destination]


@dataclass(frozen=True, slots=True)
class Consignment:
    """Due messages of one destination, each with its recipients there; taken by `resolve`."""

    destination: Destination
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Planned:
    """Due messages of one destination with the plan for it; given by `resolve`, taken by `deliver`."""

    plan: Plan
    messages: tuple[Message, ...]


class NoticeKind(StrEnum):
    """The action that a report tells of (RFC 3464 section 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"


@dataclass(frozen=True, slots=True)
class Owed:
    """Recipients of one message about whom a notice may be owed; taken by `bounce`. Each bears its reason."""

    kind: NoticeKind
    message: Message


@dataclass(frozen=True, slots=True)
class Notice:
    """A report to write and send to the sender about the entitled recipients; given by `bounce`.

    `return_full`: return the whole message and not only its header (RFC 3461 section 6.2).
    """

    kind: NoticeKind
    message: Message
    return_full: bool


Item = Message | Routed | Consigned | Consignment | Planned | Owed | Notice
