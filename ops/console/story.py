"""What happened to one message, moment by moment: from the log, and from the ledger where the log does not tell.

The sentences are those of `danepipe trace`. Without a log file the ledger still knows how a waiting message came, and
how the last try for each recipient ended.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from ops.console.messages import searches
from ops.console.page import Call, Refused
from ops.logfile import SLACK, Bounds, Event, Looked, Replaced, begins, is_cursor, onwards, source
from ops.search import moment_of
from ops.trace import concerns, sentences
from pipeline.spine import utc_now
from pipeline.store.changes import Stored
from stages.message import MessageId, Recipient

MOST = 300  # events of a page
_RAW = 20_000  # characters of an event as it stands in the log
_TIME = 8  # characters of an id that tell its time (`pipeline.spine.new_id`)
_AGES = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Moment:
    """One event: when, which part it is of, what it says, how good that is (good, warn, bad or none), all of it."""

    at: datetime | None
    part: str
    kind: str
    text: str
    more: tuple[str, ...]
    raw: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a settled recipient came to, as the log has it."""

    address: str
    word: str
    kind: str
    code: str
    text: str
    remote: str
    reply: str


@dataclass(slots=True)
class Story:
    """All that was found. `since`: when the log begins, if that was too late; `reached`, `cursor`: as in `Looked`."""

    moments: list[Moment] = field(default_factory=list)
    events: tuple[Event, ...] = ()
    source: str = "log"
    reached: datetime | None = None
    since: datetime | None = None
    cursor: str = ""
    fault: str = ""


async def story_of(call: Call, message: MessageId, stored: Stored | None, cursor: str = "") -> Story:
    """Tell it. Raises `Refused` for a cursor that is none, or of another file."""
    if cursor and not is_cursor(cursor):
        raise Refused(422, "There is no such part of the log.")
    story = Story()
    path, nowhere = source(call.config)
    came = stored.message.envelope.accepted if stored is not None else time_of(message)
    if path is None:
        story.fault = f"{nowhere} So of settled messages nothing is known here."
    else:
        try:
            async with call.turn(searches):
                looked, start = await asyncio.to_thread(_read, path, message, came, cursor)
            story.events, story.reached, story.cursor = looked.events, looked.reached, looked.cursor
            story.since = start if came is not None and start is not None and start > came + SLACK else None
        except Replaced as error:
            raise Refused(409, f"{str(error).capitalize()}.") from error
        except OSError as error:
            story.fault = f"The log cannot be read: {error.strerror or error}."
    if not story.events and stored is not None and not cursor:
        story.source, story.events = "ledger", tuple(_remembered(stored))
    story.moments = [_moment(event, message) for event in story.events]
    return story


def time_of(message: MessageId) -> datetime | None:
    """Read when a message came from its id; None for an id that tells no likely time."""
    try:
        moment = datetime.fromtimestamp(int(message[:_TIME], 36) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if len(message) == 2 * _TIME and abs(utc_now() - moment) < _AGES else None


def _read(path: Any, message: MessageId, came: datetime | None, cursor: str) -> tuple[Looked, datetime | None]:
    since = came or datetime(1, 1, 1, tzinfo=UTC)
    looked = onwards(
        path, message, lambda event: concerns(event, message), since, cursor, Bounds(most=MOST),
        lambda event: event.get("event") == "message.done",
    )  # fmt: skip
    events = tuple(sorted(looked.events, key=lambda event: str(event.get("timestamp", ""))))
    return Looked(events, looked.reached, looked.cursor), begins(path)


def _remembered(stored: Stored) -> list[Event]:
    """Make events of what the ledger knows."""
    message = stored.message
    envelope, people = message.envelope, message.recipients
    made: list[Event] = [{
        "timestamp": envelope.accepted.isoformat(), "event": "message.accepted", "message": message.id,
        "source": envelope.origin.source, "peer": envelope.origin.peer, "size": envelope.content.size,
        "sender": str(envelope.sender) if envelope.sender else "", "recipients": [str(one.address) for one in people],
    }]  # fmt: skip
    alike: dict[tuple[Any, ...], list[Recipient]] = {}
    for one in people:
        if one.reason is not None:
            key = (one.last_attempt, one.state, one.reason.code, one.reason.text, one.reason.reply)
            alike.setdefault(key, []).append(one)
    for some in list(alike.values())[:MOST]:
        one = some[0]
        if one.reason is not None:
            why = one.reason
            made.append({
                "timestamp": one.last_attempt.isoformat() if one.last_attempt else "", "event": "stage.verdict",
                "message": message.id, "stage": why.stage, "verdict": _VERDICTS.get(str(one.state), "done"),
                "recipients": [str(each.address) for each in some], "code": why.code, "status": why.status,
                "text": why.text, "remote": why.remote, "reply": why.reply, "facts": dict(why.facts),
            })  # fmt: skip
    return sorted(made, key=lambda event: event["timestamp"] or "9")


_VERDICTS = {"queued": "defer", "deferred": "defer", "held": "defer", "failed": "refuse"}


def _moment(event: Event, message: MessageId) -> Moment:
    first, *more = sentences(event, message)
    raw = orjson.dumps(event, option=orjson.OPT_INDENT_2).decode()
    part = str(event.get("stage") or "") or str(event.get("event", "")).partition(".")[0]
    first = first.removeprefix(f"{part}: ")
    cut = f"{raw[:_RAW]}\n..." if len(raw) > _RAW else raw
    return Moment(moment_of(event), part, _kind(event), first, tuple(more), cut)


def _kind(event: Event) -> str:
    match event.get("event"):
        case "stage.verdict":
            return _kind_of_verdict(event)
        case "delivery.attempt":
            return "good" if event.get("outcome") == "session" else "warn"
        case "stage.error":
            return "bad"
        case "bounce.sent" | "queue.action" | "lease.lost" | "dane.asked_again":
            return "warn"
        case "message.done":
            return "good"
        case _:
            return ""


def _kind_of_verdict(event: Event) -> str:
    match event.get("verdict"):
        case "refuse":
            return "bad"
        case "defer":
            return "warn"
        case "done" if str(event.get("status")).startswith("2") and event.get("stage") != "bounce":
            return "good"
        case _:
            return ""


def standings(events: Sequence[Event]) -> list[Standing]:
    """Tell where each recipient came to, by the last verdict about it."""
    last: dict[str, Standing] = {}
    for event in events:
        people = [str(one) for one in event.get("recipients") or ()]
        if event.get("event") == "message.accepted":
            last = {one: Standing(one, "unknown", "dim", "", "", "", "") for one in people} | last
        elif event.get("event") == "stage.verdict" and event.get("stage") != "bounce":
            words = {"proceed": "went on", "defer": "waited", "refuse": "refused", "done": "settled"}
            word = words.get(str(event.get("verdict")), str(event.get("verdict")))
            told = [str(event.get(name) or "") for name in ("code", "text", "remote", "reply")]
            last |= {one: Standing(one, word, _kind_of_verdict(event) or "dim", *told) for one in people}
    return list(last.values())
