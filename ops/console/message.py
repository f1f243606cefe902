"""The page of one message: its recipients, its story, its header, and an operator's hand on it.

What cannot be taken back (`bounce`, `drop`) is asked about first, with the number of recipients and who gets a report;
it is done to no more than were named there. The text of a message is private: who reads it is an event.
"""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from ops.cli.suspend import Halted
from ops.console import letter
from ops.console.messages import row
from ops.console.page import Answer, Call, Refused
from ops.console.story import standings, story_of
from ops.hands import HANDS, Hand, NotThere, Outcome, act, stored_of
from pipeline import log
from pipeline.spine import utc_now
from pipeline.store.changes import Stored
from pipeline.store.content import ContentGone
from stages import bounce
from stages.contract import NoticeKind, Owed
from stages.message import FINAL, MessageId, Recipient
from stages.verdict import Proceed

PAGE = 100  # recipients
CONFIRMED = frozenset({"bounce", "drop"})
_DONE = {
    "retry": "set free for another try", "hold": "held", "release": "released", "bounce": "returned to the sender",
    "drop": "dropped",
}  # fmt: skip
_LONGEST = 500  # characters of a reason
_NAMED = 20  # recipients that a question names


def _named(call: Call) -> MessageId:
    name = call.path("id")
    if not re.fullmatch(r"[0-9A-Z]{1,40}", name):
        raise Refused(404, "This is no id of a message.")
    return MessageId(name)


async def show(call: Call) -> Answer:
    """Show one message, from the ledger and the log."""
    message = _named(call)
    stored = await call.spine.ledger.stored(message)
    story = await story_of(call, message, stored, call.query("log"))
    if stored is None and not story.events and not story.cursor:
        both = f"Neither the queue nor the log knows message {message}."
        alone = f"The queue does not know message {message}, and there is no log to look into. {story.fault}"
        raise Refused(404, alone if story.fault else both)
    values = {
        "title": f"Message {message}", "message": message, "stored": stored, "story": story, "rows": [], "total": 0,
        "next": "", "settled": standings(story.events) if stored is None else [], "head": _head(story.events),
        "fields": [], "no_fields": "", "left": 0,
    }  # fmt: skip
    return values if stored is None else {**values, **await _waiting(call, stored)}


def _head(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Give the event that says how a message came; empty if the log does not have it."""
    return next((one for one in events if one.get("event") == "message.accepted"), {})


async def _waiting(call: Call, stored: Stored) -> dict[str, Any]:
    people = stored.message.recipients
    start = int(call.cursor) if re.fullmatch(r"[0-9]{1,6}", call.cursor) else 0
    halted = await Halted.fetch(call.spine, utc_now())
    fields, why = await _fields(call, stored)
    return {
        "rows": [row(stored, one, halted) for one in people[start : start + PAGE]], "total": len(people),
        "left": stored.open, "next": str(start + PAGE) if start + PAGE < len(people) else "",
        "fields": fields, "no_fields": why,
    }  # fmt: skip


async def _fields(call: Call, stored: Stored) -> tuple[list[tuple[str, str]], str]:
    """Read the header, or say why there is none."""
    if stored.message.envelope.content.size > letter.LARGEST:
        return [], "The message is too large to be looked into here."
    try:
        fields = letter.fields(await call.spine.ledger.content(stored.message))
    except KeyError:
        return [], "The message is settled: its content is not kept any more."
    except ContentGone as gone:
        return [], f"The content is lost: {gone}."
    return fields, "" if fields else "The header names neither author, subject nor date."


async def content(call: Call) -> Answer:
    """Show the first lines of a message, and write down who read them."""
    message = _named(call)
    stored = await stored_of(call.spine, message)
    if stored.message.envelope.content.size > letter.LARGEST:
        raise Refused(413, f"The message is too large to be shown here: danepipe queue show --content {message}.")
    try:
        octets = await call.spine.ledger.content(stored.message)
    except KeyError as error:
        raise NotThere(f"Message {message} is settled: its content is not kept any more.") from error
    except ContentGone as gone:
        raise Refused(404, f"The content is lost: {gone}.") from gone
    log.emit("content.shown", message=message, who=call.who)
    return {
        "title": f"Content of {message}", "message": message, "text": letter.beginning(octets), "size": len(octets)
    }  # fmt: skip


async def do(call: Call) -> Answer:
    """Do what an operator asks, to the recipients that are named, or to the whole message."""
    message, form = _named(call), call.form
    hand = next((one for one in HANDS if one.name == form.text("do")), None)
    if hand is None:
        raise Refused(422, "This is nothing that can be done to a message.")
    reason = form.text("reason")
    if not reason.isprintable() or len(reason) > _LONGEST:
        raise Refused(422, f"A reason is one line of at most {_LONGEST} characters that can be printed.")
    targets = tuple(dict.fromkeys(one for field in form.all("to") for one in field.split()))
    if any(not re.fullmatch(rf"{message}/[0-9]{{1,6}}(\+[0-9]{{1,6}})?", one) for one in targets):
        raise Refused(422, "A recipient that is named is none of this message.")
    stored = await stored_of(call.spine, message)
    meant = _meant(stored, targets)
    if hand.name in CONFIRMED and meant and form.text("confirm") != "yes":
        return _question(stored, hand, meant, reason, targets)
    if hand.name in CONFIRMED and form.text("count") != str(len(meant)):
        raise Refused(409, "Some of these recipients are settled meanwhile. Nothing was done: look again.")
    came: list[Outcome] = []

    async def each() -> AsyncIterator[tuple[Stored, Recipient]]:
        for one in meant:
            yield stored, one

    await act(call.spine, hand, each(), came.append, why=reason, who=call.who)
    return call.go(f"/messages/{message}", *_said(hand, came))


def _meant(stored: Stored, targets: Sequence[str]) -> list[Recipient]:
    """Give the open recipients that are meant: those named, or all."""
    if unknown := set(targets) - {str(one.id) for one in stored.message.recipients}:
        raise NotThere(f"Message {stored.message.id} has no recipient {min(unknown)}.")
    meant = [one for one in stored.message.recipients if not targets or one.id in targets]
    return [one for one in meant if one.state not in FINAL]


def _question(
    stored: Stored, hand: Hand, meant: Sequence[Recipient], reason: str, targets: Sequence[str]
) -> dict[str, Any]:
    """Say what would be done, and who would be told."""
    notes = _reports(stored, meant) if hand.notice else ["Nobody is told: there is no report to the sender."]
    fields = {"do": hand.name, "reason": reason, "to": " ".join(targets), "count": str(len(meant))}
    return {
        "title": f"{hand.name.capitalize()} {stored.message.id}?", "message": stored.message.id, "hand": hand,
        "meant": meant[:_NAMED], "count": len(meant), "notes": notes, "fields": fields, "reason": reason,
    }  # fmt: skip


def _reports(stored: Stored, meant: Sequence[Recipient]) -> list[str]:
    """Say by the stage that will rule on it who gets a report about whom."""
    owed = Owed(NoticeKind.FAILED, replace(stored.message, recipients=tuple(meant)))
    return [
        f"{len(one.recipients)} of {len(meant)}: {one.reason.text if one.reason else ''}"
        if not isinstance(one, Proceed) or len(one.recipients) < len(meant)
        else f"A report goes to {stored.message.envelope.sender}."
        for one in bounce.decide(owed, {}, utc_now())
    ]


def _said(hand: Hand, came: Sequence[Outcome]) -> tuple[str, str]:
    """Tell what came of it, and of what kind that is."""
    moved = sum(one.outcome == "moved" for one in came)
    parts = [f"{moved} recipient{'s' if moved != 1 else ''} {_DONE[hand.name]}"] if moved else []
    others: dict[str, int] = {}
    for one in came:
        if one.outcome != "moved":
            others[one.text] = others.get(one.text, 0) + 1
    parts += [f"{count} left alone ({text})" for text, count in others.items()]
    return f"{'; '.join(parts) or 'Nothing was left to do'}.", "good" if moved and not others else "warn"
