"""What goes into the ledger and what comes out of it: groups, changes, and messages as they stand.

Groups are the unit that moves: "<message>/<n>,<n>" names recipients of one message.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import orjson

from pipeline.store.codec import encode
from stages.contract import NoticeKind, Owed
from stages.message import Message, MessageId, Recipient, RecipientId, State


def group_of(message: MessageId, numbers: Iterable[str]) -> str:
    """Name some recipients of one message, in the form that lists and the schedule hold."""
    return f"{message}/{','.join(numbers)}"


def number_of(recipient: RecipientId) -> str:
    """Give the part of a recipient id after the message: "0", or "0+1" for a copy."""
    return recipient.partition("/")[2]


def milliseconds(moment: datetime) -> int:
    """Give a moment as Redis keeps it."""
    return int(moment.timestamp() * 1000)


def duration(span: timedelta) -> int:
    """Give a duration as Redis keeps it, in milliseconds."""
    return int(span.total_seconds() * 1000)


OUTCOMES = frozenset({State.DELIVERED, State.RELAYED, State.FAILED, State.DEFERRED})


@dataclass(slots=True)
class Changes:
    """What one commit writes: recipients as they stand now, what is settled, and where the rest goes on.

    `number` tells it from all others of this process, so that one that is made again, because its answer got lost, is
    known for what it is.
    """

    recipients: dict[str, bytes] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    settled: int = 0
    push: list[dict[str, Any]] = field(default_factory=list)
    schedule: list[dict[str, Any]] = field(default_factory=list)
    held: list[dict[str, Any]] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)
    owed: dict[NoticeKind, list[Owed]] = field(default_factory=dict)
    outcomes: list[str] = field(default_factory=list)  # numbers of recipients of whom webhooks may be told
    number: int = field(default_factory=count().__next__, compare=False)

    def add(self, other: "Changes") -> None:
        """Take over what other stages have written for the same group."""
        self.recipients |= other.recipients
        self.added += other.added
        self.settled += other.settled
        self.push += other.push
        self.schedule += other.schedule
        self.held += other.held
        self.forget += other.forget
        self.outcomes += other.outcomes
        for kind, owed in other.owed.items():
            self.owed.setdefault(kind, []).extend(owed)

    def put(self, recipient: Recipient) -> None:
        """Keep a recipient as it stands now."""
        number = number_of(recipient.id)
        self.recipients[number] = encode(Recipient, recipient)
        if recipient.state in OUTCOMES:
            self.outcomes.append(number)

    def to_place(self, stage: str, group: str, payload: bytes) -> None:
        """Hand a group over to a message-level stage, with the item it takes."""
        self.push.append({
            "list": f"place:{stage}", "group": group, "nudge": stage,
            "payload": payload.decode(), "into": f"item:{stage}",
        })  # fmt: skip

    def to_ready(self, destination: str, group: str) -> None:
        """Put a group into the ready queue of a destination."""
        self.push.append(
            {"list": f"ready:{destination}", "group": group, "nudge": f"to:{destination}"},
        )

    def aside(self, list_: str, group: str) -> None:
        """Put a group into a list that nobody works on."""
        self.push.append({"list": list_, "group": group})

    def owe(self, owed: Owed) -> None:
        """Record that a notice may be owed; the message is kept until stage `bounce` has ruled.

        What one commit owes of a kind becomes one notice about all its recipients (RFC 3461 section 5.2.8).
        """
        self.owed.setdefault(owed.kind, []).append(owed)

    def later(self, group: str, at: datetime, destination: str = "") -> None:
        """Schedule a group, which waits for its next try at a destination, if it has come so far."""
        self.schedule.append({
            "group": group, "at": milliseconds(at), **({"to": destination} if destination else {}),
        })  # fmt: skip

    def hold(self, group: str, at: datetime) -> None:
        """Keep a group back until an operator releases it."""
        self.held.append({"group": group, "at": milliseconds(at)})

    def json(self, notices: str, tell: int = 0) -> bytes:
        """Write the form that the script reads.

        `notices` is the stage that rules on what is owed; `tell` how many outcomes are kept for webhooks (0: none).
        """
        owed = [
            {
                "list": f"place:{notices}", "group": owed_group(one), "nudge": notices, "owed": True,
                "payload": encode(Owed, one).decode(), "into": f"item:{notices}",
            }
            for one in map(_together, self.owed.values())
        ]  # fmt: skip
        return orjson.dumps(
            {
                "number": str(self.number),
                "recipients": {number: value.decode() for number, value in self.recipients.items()},
                "added": self.added,
                "settled": self.settled,
                "push": [*self.push, *owed],
                "schedule": self.schedule,
                "hold": self.held,
                "forget": self.forget,
                **({"tell": tell, "outcomes": list(dict.fromkeys(self.outcomes))} if tell else {}),
            },
        )


def _together(owed: Sequence[Owed]) -> Owed:
    last = owed[-1]
    recipients = tuple(recipient for one in owed for recipient in one.message.recipients)
    return replace(last, message=replace(last.message, recipients=recipients))


def owed_group(owed: Owed) -> str:
    """Name a notice owed: the group it is about and the kind of notice."""
    numbers = (number_of(recipient.id) for recipient in owed.message.recipients)
    return f"{group_of(owed.message.id, numbers)}!{owed.kind}"


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit led to: open recipients and notices of the message, and the places that want a nudge."""

    open: int
    nudges: tuple[str, ...]


Row = Sequence[bytes | None]


@dataclass(frozen=True, slots=True)
class Call:
    """Whom to call besides taking: the nudge that asks for one more worker, wanted if the list is long.

    For a destination, only while fewer than `connections` are open. `wait`: if there is nothing, have mail that comes
    within so many seconds wake the caller (see `Ledger.parked`).
    """

    helper: str = ""
    connections: int = 0
    wait: float = 0.0


NOBODY = Call()


@dataclass(slots=True)
class Watch:
    """What one who takes back work remembers, in ms of Redis' clock: the last look, and before when nothing ends."""

    seen: int = 0
    hold: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """Groups with what they were taken with, how many are left in the list, and whether one more worker is wanted.

    `parked`: there was none, and mail that comes wakes the caller.
    """

    groups: list[tuple[str, Row]]
    left: int = 0
    more: bool = False
    parked: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as the ledger has it, with where each recipient stands ("schedule", "ready:<destination>", ...)."""

    message: Message
    places: Mapping[str, str]
    open: int
