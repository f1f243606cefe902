"""`danepipe queue`: what waits, why, and an operator's hand on it.

A target is a message id or one recipient of it (`ID/0`); `--domain` and `--all` name many. A recipient that a worker
holds at this moment is left alone and reported as busy; the exit status is 1 if anything asked for was not done.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import click
import orjson

from ops.cli.run import Fault, configuration, run, spine_of
from ops.cli.suspend import Halted, resume, suspend, suspensions
from pipeline import log
from pipeline.config import a_label_pattern
from pipeline.spine import Spine, utc_now
from pipeline.store.changes import Stored
from pipeline.store.content import ContentGone
from stages.contract import NoticeKind, Owed
from stages.message import FINAL, MessageId, Recipient, State
from stages.reason import Reason


@click.group()
def queue() -> None:
    """Look at mail that waits, and act on it."""


@queue.command("list")
@click.option(
    "--state", type=click.Choice([str(s) for s in State if s not in FINAL]), help="Only recipients like this."
)
@click.option("--domain", help="Only recipients of this domain.")
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="Most lines.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def list_(context: click.Context, state: str | None, domain: str | None, limit: int, *, as_json: bool) -> None:
    """List recipients whose mail is not settled, oldest mail first."""
    config, only = configuration(context), domain and _a_label(domain)

    async def work() -> None:
        shown = 0
        async with spine_of(config, "queue") as spine:
            halted = await Halted.fetch(spine, utc_now())
            async for stored in _everything(spine, only or ""):
                for recipient in _open(stored):
                    if (state and recipient.state != state) or (only and recipient.address.domain != only):
                        continue
                    row = {**describe(stored, recipient), "suspended": halted.why(stored, recipient)}
                    click.echo(orjson.dumps(row).decode() if as_json else _line(row))
                    shown += 1
                    if shown == limit:
                        click.echo(f"(more: only {limit} shown, see --limit)", err=True)
                        return
            if not as_json:
                counts = {**await spine.ledger.counts(), **({"suspended": halted.count} if halted.count else {})}
                click.echo(", ".join(f"{name} {number}" for name, number in counts.items()), err=True)

    run(work(), config)


@queue.command()
@click.argument("message")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--content", is_flag=True, help="Print the message itself.")
@click.pass_context
def show(context: click.Context, message: str, *, as_json: bool, content: bool) -> None:
    """Show one message with each recipient."""
    config = configuration(context)

    async def work() -> None:
        async with spine_of(config, "queue") as spine:
            stored = await _stored(spine, message)
            if content:
                try:
                    octets = await spine.ledger.content(stored.message)
                except KeyError:
                    raise Fault(f"{message} is settled: its content is not kept any more") from None
                except ContentGone as gone:
                    raise Fault(f"{gone}: bring it back, or return or drop the message") from None
                click.echo(octets, nl=False)
                return
            halted = await Halted.fetch(spine, utc_now())
            rows = [
                {**describe(stored, recipient), "suspended": halted.why(stored, recipient)}
                for recipient in stored.message.recipients
            ]
            if as_json:
                click.echo(orjson.dumps({**_head(stored), "recipients": rows}, option=orjson.OPT_INDENT_2).decode())
                return
            for key, value in _head(stored).items():
                click.echo(f"{key + ':':<12}{value}")
            for row in rows:
                click.echo("")
                for key, value in row.items():
                    if value not in ("", None) and key not in {"message", "sender"}:
                        click.echo(f"  {key + ':':<15}{value}")

    run(work(), config)


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
_HELP = {
    "retry": "Try mail again now, from the first stage.",
    "hold": "Keep mail back until it is released.",
    "release": "Let held mail go on.",
    "bounce": "Return mail to its sender with a report.",
    "drop": "Throw mail away without a report.",
}


def _command(hand: Hand) -> click.Command:
    @click.command(hand.name, help=f"{_HELP[hand.name]} TARGET is a message id, or one recipient of it: ID/0.")
    @click.argument("targets", metavar="[TARGET]...", nargs=-1)
    @click.option("--domain", help="All recipients of this domain.")
    @click.option("--all", "everything", is_flag=True, help="All recipients in the queue.")
    @click.option("--reason", default="", help="Why; stands in the log and in a report.")
    @click.pass_context
    def command(
        context: click.Context, targets: tuple[str, ...], domain: str | None, reason: str, *, everything: bool
    ) -> None:
        if not targets and not domain and not everything:
            raise click.UsageError("name a message id, --domain or --all")
        config = configuration(context)

        async def work() -> bool:
            async with spine_of(config, "queue") as spine:
                wanted = _wanted(spine, targets, domain, everything=everything)
                return await _act(spine, hand, wanted, reason, single=bool(targets))

        if not run(work(), config):
            context.exit(1)

    return command


for _hand in HANDS:
    queue.add_command(_command(_hand))
for _other in (suspend, resume, suspensions):
    queue.add_command(_other)


async def _act(
    spine: Spine, hand: Hand, wanted: AsyncIterator[tuple[Stored, Recipient]], why: str, *, single: bool
) -> bool:
    """Do it to each, say what came of it, and tell whether all was done."""
    found, done, fine, eased = 0, 0, True, False
    async for stored, recipient in wanted:
        found += 1
        if not hand.wants(recipient):
            if single:
                click.echo(f"{recipient.id} {recipient.address}: {hand.instead}", err=True)
                fine = False
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
            outcome=outcome, reason=why,
        )  # fmt: skip
        if outcome == "moved":
            done += 1
            click.echo(f"{recipient.id} {recipient.address}: {hand.name}")
        else:
            fine = False
            said = {"busy": "is being worked on, try again in a moment", "settled": "is settled already"}
            click.echo(f"{recipient.id} {recipient.address}: {said.get(outcome, outcome)}", err=True)
    if done and (hand.notice or hand.target == "route"):
        await spine.nudge([(spine.line.notices if hand.notice else spine.line.first).name])
    if not found:
        click.echo("nothing in the queue fits", err=True)
    return fine


async def _wanted(
    spine: Spine, targets: tuple[str, ...], domain: str | None, *, everything: bool
) -> AsyncIterator[tuple[Stored, Recipient]]:
    only = domain and _a_label(domain)
    named: list[tuple[Stored, Recipient]] = []
    for target in targets:
        stored = await _stored(spine, target)
        chosen = [one for one in stored.message.recipients if "/" not in target or one.id == target]
        if not chosen:
            raise Fault(f"message {stored.message.id} has no recipient {target}")
        for recipient in chosen:
            if recipient.state in FINAL and "/" not in target and len(chosen) > 1:
                continue  # of a whole message, only what is open is meant
            named.append((stored, recipient))
    for one in named:  # all of them are there, or nothing is done
        yield one
    if only or everything:
        begun = utc_now()
        async for stored in _everything(
            spine, "" if everything else only or ""
        ):  # acting changes what is there, which pages bear
            if stored.message.envelope.accepted > begun:  # such as reports that this very command has made
                return
            for recipient in _open(stored):
                if everything or recipient.address.domain == only:
                    yield stored, recipient


def _a_label(domain: str) -> str:
    try:
        return a_label_pattern(f"*@{domain}").removeprefix("*@").lower()
    except ValueError as error:
        raise Fault(f"--domain {domain!r} is no domain name: {error}") from error


async def _stored(spine: Spine, target: str) -> Stored:
    identifier = MessageId(target.partition("/")[0])
    stored = await spine.ledger.stored(identifier)
    if stored is None:
        raise Fault(f"there is no message {identifier} (settled mail is forgotten after ten minutes)")
    return stored


async def _everything(spine: Spine, domain: str = "") -> AsyncIterator[Stored]:
    cursor = ""
    while True:
        page, cursor = await spine.ledger.page(cursor, domain=domain)
        for stored in page:
            yield stored
        if not cursor:
            return


def _open(stored: Stored) -> list[Recipient]:
    return [recipient for recipient in stored.message.recipients if recipient.state not in FINAL]


def _head(stored: Stored) -> dict[str, Any]:
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


def _line(row: dict[str, Any]) -> str:
    later = f", next {row['next_attempt']}" if row["next_attempt"] else ""
    why = f": {row['code']} {row['reason']}" if row["code"] else ""
    halted = f", suspended ({row['suspended']})" if row["suspended"] else ""
    return f"{row['id']} {row['state']}{later}{halted} {row['sender']} -> {row['recipient']}{why}"
