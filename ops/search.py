"""Which messages a log holds, for those who do not know the id: by recipient, domain, Message-ID or time.

`find` looks at the two kinds of events that name recipients, acceptance and verdict, so that a message is also found in
a log that begins after it came. All that is asked for must hold of one event.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from pipeline.values import moment

MARKS = ('"message.accepted"', '"stage.verdict"')


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; empty texts say nothing. `since` and `until` bound the time of the event."""

    since: datetime
    until: datetime
    recipient: str = ""
    domain: str = ""
    message_id: str = ""
    sender: str = ""

    def fits(self, event: Mapping[str, Any]) -> bool:
        """Tell whether an event is one that is looked for."""
        if self.message_id and bare(str(event.get("message_id", ""))) != bare(self.message_id):
            return False
        if self.sender and str(event.get("sender", "")).lower() != self.sender.lower():
            return False
        people = [str(one).lower() for one in event.get("recipients") or ()]
        if self.recipient and self.recipient.lower() not in people:
            return False
        if self.domain and self.domain.lower() not in {one.rpartition("@")[2] for one in people}:
            return False
        at = moment_of(event)
        return at is not None and self.since <= at < self.until


@dataclass(slots=True)
class Found:
    """A message: when it was first named, by whom it is, for whom, and the last verdict that says what became of it."""

    message: str
    first: str
    sender: str = ""
    recipients: tuple[str, ...] = ()
    message_id: str = ""
    last: str = ""

    @property
    def line(self) -> str:
        """Give all of it in a line."""
        shown = ", ".join(self.recipients[:3]) + (" ..." if len(self.recipients) > 3 else "")
        when = self.first[:19].replace("T", " ")
        parts = [when, self.message, f"{self.sender or '<>'} -> {shown}", self.message_id, self.last]
        return "  ".join(part for part in parts if part)


def find(lines: Iterable[str], wanted: Wanted, known: dict[str, Found]) -> None:
    """Add the messages that log lines tell of to those that are known."""
    for line in lines:
        if not any(mark in line for mark in MARKS):  # cheaper than reading every line of a large log
            continue
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if not isinstance(event, dict) or not event.get("message"):
            continue
        message = str(event["message"])
        if message in known:
            _learn(known[message], event)
        elif wanted.fits(event):
            known[message] = Found(message, str(event.get("timestamp", "")))
            _learn(known[message], event)


def _learn(found: Found, event: Mapping[str, Any]) -> None:
    people = map(str, event.get("recipients") or ())
    found.recipients = tuple(dict.fromkeys((*found.recipients, *people)))
    if event.get("event") == "message.accepted":
        found.sender = str(event.get("sender", ""))
        found.message_id = str(event.get("message_id", ""))
    elif not found.last or not (event.get("verdict") == "proceed" or str(event.get("code")).startswith("bounce.")):
        found.last = f"{event.get('stage')}: {event.get('verdict')} {event.get('code')}"


def bare(text: str) -> str:
    """Give a Message-ID without the brackets around it."""
    return text.strip().removeprefix("<").removesuffix(">")


def moment_of(event: Mapping[str, Any]) -> datetime | None:
    """Give the time of an event; None where it has none that can be read."""
    try:
        return moment(datetime.fromisoformat(str(event.get("timestamp", ""))))
    except ValueError:
        return None
