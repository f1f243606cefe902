"""The page of messages: what waits in the queue, and which messages the log tells of; a bounded part at a time.

The log is searched in a thread, newest part first, and the page says how far back it looked.
"""

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from ops.cli.suspend import Halted
from ops.console import walk
from ops.console.page import Answer, Call, Refused
from ops.hands import a_label
from ops.logfile import Looked, Replaced, is_cursor, newest, source
from ops.search import Found, Wanted, find
from pipeline.spine import utc_now
from pipeline.store.changes import Stored
from stages.message import FINAL, MessageId, Recipient, State

KINDS = {"": "Recipient, domain or id", "sender": "Sender", "message-id": "Message-ID (in the log)"}
STATES = tuple(str(state) for state in State if state not in FINAL)
_KEPT = ("q", "by", "state", "since", "until", "in", "whole")
_LONGEST = 1000  # characters of what is looked for
_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_ID = re.compile(r"([0-9A-Z]{12,40})(/[0-9]{1,6}(\+[0-9]{1,6})?)?")
searches = asyncio.Semaphore(2)  # of the log, at a time


async def show(call: Call) -> Answer:
    """Show what waits, or what was found."""
    asked = {name: call.query(name) for name in _KEPT}
    if len(asked["q"]) > _LONGEST or asked["by"] not in KINDS or asked["state"] not in {"", *STATES}:
        raise Refused(422, "This is no search as the form sends it.")
    named = _ID.fullmatch(asked["q"]) if not asked["by"] else None
    if named:
        return call.go(f"/messages/{named[1]}")
    wanted = _wanted(asked)
    in_log = asked["in"] == "log" or bool(wanted.message_id)
    file, nowhere = source(call.config)
    values: dict[str, Any] = {
        "asked": asked, "kept": {name: text for name, text in asked.items() if text}, "kinds": KINDS,
        "states": [(one, one) for one in STATES], "nowhere": nowhere, "in_log": in_log, "rows": [], "seen": None,
        "found": [], "looked": None, "waits": {}, "next": "",
    }  # fmt: skip
    if not in_log:
        return {**values, **await _queue(call, asked, wanted)}
    if file is None:
        return values
    return {**values, **await _log(call, file, wanted)}


def _wanted(asked: Mapping[str, str]) -> Wanted:
    """Read what is looked for. Raises `Refused`."""
    text, since, until = asked["q"], _moment(asked["since"], _FIRST), _moment(asked["until"], _LAST)
    if asked["by"] == "sender":
        return Wanted(since, until, sender=text)
    if asked["by"] == "message-id" or text.startswith("<"):
        return Wanted(since, until, message_id=text)
    if "@" in text.strip("@"):
        return Wanted(since, until, recipient=text)
    try:
        return Wanted(since, until, domain=a_label(text.strip("@")) if text else "")
    except ValueError as error:
        raise Refused(422, f"This is neither an address, nor a domain, nor an id: {error}") from error


def _moment(text: str, default: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(text) if text else default
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(422, f"{text!r} is no time such as 2026-11-20T12:00.") from None


async def _queue(call: Call, asked: Mapping[str, str], wanted: Wanted) -> Mapping[str, Any]:
    if call.cursor and not walk.is_cursor(call.cursor):
        raise Refused(422, "There is no such page of this list.")
    sought = walk.Sought(
        wanted.recipient, wanted.domain, wanted.sender, asked["state"],
        None if wanted.since == _FIRST else wanted.since, None if wanted.until == _LAST else wanted.until,
        bool(asked["whole"]),
    )  # fmt: skip
    seen = await walk.look(call.spine, sought, call.cursor)
    halted = await Halted.fetch(call.spine, utc_now())
    rows = [row(stored, one, halted) for stored, one in seen.rows]
    return {"rows": rows, "seen": seen, "next": seen.cursor}


def row(stored: Stored, recipient: Recipient, halted: Halted) -> dict[str, Any]:
    """Give what a list says of a recipient."""
    return {
        "message": stored.message.id, "sender": stored.message.envelope.sender or "<>",
        "accepted": stored.message.envelope.accepted, "one": recipient, "kind": kind_of(recipient.state),
        "where": stored.places[recipient.id], "suspended": halted.why(stored, recipient),
    }  # fmt: skip


def kind_of(state: State) -> str:
    """Give the kind of badge that a state has."""
    match state:
        case State.DEFERRED | State.HELD:
            return "warn"
        case State.FAILED:
            return "bad"
        case State.DELIVERED | State.RELAYED:
            return "good"
        case _:
            return "dim"


async def _log(call: Call, file: Path, wanted: Wanted) -> Mapping[str, Any]:
    if call.cursor and not is_cursor(call.cursor):
        raise Refused(422, "There is no such page of this list.")
    async with call.turn(searches):
        try:
            looked = await asyncio.to_thread(newest, file, wanted, call.cursor)
        except Replaced as error:
            raise Refused(409, f"{str(error).capitalize()}.") from error
        except OSError as error:
            raise Refused(503, f"The log cannot be read: {error.strerror or error}.") from error
    found = told(looked, wanted)
    names = [MessageId(one.message) for one in found]
    stored = await call.spine.ledger.all_stored(names)
    waits = {one.message.id: one.open for one in stored if one is not None}
    return {"found": found, "looked": looked, "waits": waits, "next": looked.cursor}


def told(looked: Looked, wanted: Wanted) -> list[Found]:
    """Make messages of events, the newest first."""
    known: dict[str, Found] = {}
    find((orjson.dumps(event).decode() for event in reversed(looked.events)), wanted, known)
    return sorted(known.values(), key=lambda one: (one.first, one.message), reverse=True)
