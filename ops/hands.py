"""What an operator does with mail that waits: retry, hold, release, bounce and drop, by command or over HTTP.

`wanted` finds the recipients that are meant, and `act` does it to each, says what came of it, and writes an event for
each (`queue.action`). A recipient that a worker holds at this moment is left alone and reported as busy. Raises
`NotThere` for a message or recipient that the queue does not have, before anything is done, and `StoreUnavailable`.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pipeline import log
from pipeline.config import a_label_pattern
from pipeline.spine import Spine, utc_now
from pipeline.store.changes import Stored
from stages.contract import NoticeKind, Owed
from stages.message import FINAL, MessageId, Recipient, State
from stages.reason import Reason


class NotThere(Exception):  # noqa: N818 - a state of the world, not a fault in the program
    """The queue has no such message, or the message no such recipient."""


@dataclass(frozen=True, slots=True)
class Hand:
    """One thing that an operator can do: which recipients it is for, where they go, and what they become."""

    name: str
    target: str
    wants: Callable[[Recipient], bool]
    becomes: Callable[[Recipient, str, datetime], Recipient]
    instead: str  # what to say of a recipient it is not for
    notice: bool = False


def _again(recipient: Recipient, _why: str, _now: datetime) -> Recipient:
    return replace(recipient, state=State.QUEUED, next_attempt=None)


def _held(recipient: Recipient, why: str, _now: datetime) -> Recipient:
    reason = Reason("queue", "queue.held", "4.7.0", why or "held by an operator")
    return replace(recipient, state=State.HELD, next_attempt=None, reason=reason)


def _failed(recipient: Recipient, why: str, now: datetime) -> Recipient:
    facts = {"before": f"{recipient.reason.code}: {recipient.reason.text}"} if recipient.reason else {}
    reason = Reason("queue", "queue.bounced", "5.0.0", why or "returned by the administrator of this server", facts)
    return replace(recipient, state=State.FAILED, next_attempt=None, reason=reason, last_attempt=now)


def _dropped(recipient: Recipient, why: str, _now: datetime) -> Recipient:
    reason = Reason("queue", "queue.dropped", "5.0.0", why or "dropped by an operator, without a report")
    return replace(recipient, state=State.DROPPED, next_attempt=None, reason=reason)


HANDS = (
    Hand("retry", "route", lambda r: r.state is not State.HELD, _again, "is held: release it"),
    Hand("hold", "held", lambda r: r.state is not State.HELD, _held, "is held already"),
    Hand("release", "route", lambda r: r.state is State.HELD, _again, "is not held"),
    Hand("bounce", "failed", lambda _: True, _failed, "", notice=True),
    Hand("drop", "dropped", lambda _: True, _dropped, ""),
)
_SAID = {"busy": "is being worked on, try again in a moment", "settled": "is settled already"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it for one recipient: `moved`, `busy`, `settled`, `unknown` or `unfit`, and what to say of it."""

    recipient: Recipient
    outcome: str
    text: str = ""


async def act(
    spine: Spine,
    hand: Hand,
    wanted: AsyncIterator[tuple[Stored, Recipient]],
    tell: Callable[[Outcome], None],
    *,
    why: str = "",
    who: str = "",
) -> None:
    """Do it to each, and tell what came of it. `who` is the name of the token, over HTTP."""
    done, eased = 0, False
    async for stored, recipient in wanted:
        if not hand.wants(recipient):
            tell(Outcome(recipient, "unfit", hand.instead))
            continue
        if not eased and hand.target == "route":
            await spine.gates.ease()  # who asks for a try means one, whatever is known of the hosts
            eased = True
        now = utc_now()
        after = hand.becomes(recipient, why, now)
        owed = Owed(NoticeKind.FAILED, replace(stored.message, recipients=(after,))) if hand.notice else None
        outcome = await spine.ledger.move(after, hand.target, now, owed)
        log.emit(
            "queue.action", action=hand.name, message=stored.message.id, recipient=str(recipient.address),
            outcome=outcome, reason=why, **({"who": who} if who else {}),
        )  # fmt: skip
        done += outcome == "moved"
        tell(Outcome(recipient, outcome, _SAID.get(outcome, "" if outcome == "moved" else outcome)))
    if done and (hand.notice or hand.target == "route"):
        await spine.nudge([(spine.line.notices if hand.notice else spine.line.first).name])


async def wanted(
    spine: Spine, targets: tuple[str, ...], domain: str = "", *, everything: bool = False
) -> AsyncIterator[tuple[Stored, Recipient]]:
    """Find the recipients of the messages (`ID`), the recipients (`ID/0`), the domain (in A-labels), or all."""
    named: list[tuple[Stored, Recipient]] = []
    for target in targets:
        stored = await stored_of(spine, target)
        chosen = [one for one in stored.message.recipients if "/" not in target or one.id == target]
        if not chosen:
            raise NotThere(f"message {stored.message.id} has no recipient {target}")
        for recipient in chosen:
            if recipient.state in FINAL and "/" not in target and len(chosen) > 1:
                continue  # of a whole message, only what is open is meant
            named.append((stored, recipient))
    for one in named:  # all of them are there, or nothing is done
        yield one
    if domain or everything:
        begun = utc_now()
        # acting changes what is there, which pages bear
        async for stored in every_message(spine, "" if everything else domain):
            if stored.message.envelope.accepted > begun:  # such as reports that this very action has made
                return
            for recipient in still_open(stored):
                if everything or recipient.address.domain == domain:
                    yield stored, recipient


def a_label(domain: str) -> str:
    """Write a domain in A-labels. Raises ValueError for what is none."""
    try:
        return a_label_pattern(f"*@{domain}").removeprefix("*@").lower()
    except ValueError as error:
        raise ValueError(f"{domain!r} is no domain name: {error}") from error


async def stored_of(spine: Spine, target: str) -> Stored:
    """Fetch the message of a target. Raises `NotThere`."""
    identifier = MessageId(target.partition("/")[0])
    stored = await spine.ledger.stored(identifier)
    if stored is None:
        raise NotThere(f"there is no message {identifier} (settled mail is forgotten after ten minutes)")
    return stored


async def every_message(spine: Spine, domain: str = "") -> AsyncIterator[Stored]:
    """Give all messages, oldest first; with a domain, most that have no recipient there are left out."""
    cursor = ""
    while True:
        page, cursor = await spine.ledger.page(cursor, domain=domain)
        for stored in page:
            yield stored
        if not cursor:
            return


def still_open(stored: Stored) -> list[Recipient]:
    """Give the recipients that are not settled."""
    return [recipient for recipient in stored.message.recipients if recipient.state not in FINAL]


def head(stored: Stored) -> dict[str, Any]:
    """Give what an operator asks about a message, as plain values."""
    envelope = stored.message.envelope
    return {
        "message": stored.message.id,
        "sender": str(envelope.sender) if envelope.sender else "<>",
        "accepted": _when(envelope.accepted),
        "source": " ".join(filter(None, (envelope.origin.source, envelope.origin.peer))),
        "size": envelope.content.size,
    }


def describe(stored: Stored, recipient: Recipient) -> dict[str, Any]:
    """Give what an operator asks about a recipient, as plain values."""
    envelope, reason = stored.message.envelope, recipient.reason
    return {
        "message": stored.message.id,
        "id": recipient.id,
        "sender": str(envelope.sender) if envelope.sender else "<>",
        "recipient": str(recipient.address),
        "state": str(recipient.state),
        "where": stored.places[recipient.id],
        "attempts": recipient.attempts,
        "accepted": _when(envelope.accepted),
        "last_attempt": _when(recipient.last_attempt),
        "next_attempt": _when(recipient.next_attempt),
        "code": reason.code if reason else "",
        "status": reason.status if reason else "",
        "reason": reason.text if reason else "",
        "remote": reason.remote if reason else "",
        "reply": reason.reply if reason else "",
        "copy_rule": recipient.copy_rule,
    }


def _when(moment: datetime | None) -> str:
    return moment.isoformat(timespec="seconds") if moment is not None else ""
