"""`danepipe queue`: what waits, why, and an operator's hand on it.

A target is a message id or one recipient of it (`ID/0`); `--domain` and `--all` name many. A recipient that a worker
holds at this moment is left alone and reported as busy; the exit status is 1 if anything asked for was not done.
"""

from typing import Any

import click
import orjson

from ops.cli.run import Fault, configuration, run, spine_of
from ops.cli.suspend import Halted, resume, suspend, suspensions
from ops.hands import (
    HANDS,
    Hand,
    Outcome,
    a_label,
    act,
    describe,
    every_message,
    head,
    still_open,
    stored_of,
    wanted,
)
from pipeline.spine import utc_now
from pipeline.store.content import ContentGone
from stages.message import FINAL, State


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
            async for stored in every_message(spine, only or ""):
                for recipient in still_open(stored):
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
            stored = await stored_of(spine, message)
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
                click.echo(orjson.dumps({**head(stored), "recipients": rows}, option=orjson.OPT_INDENT_2).decode())
                return
            for key, value in head(stored).items():
                click.echo(f"{key + ':':<12}{value}")
            for row in rows:
                click.echo("")
                for key, value in row.items():
                    if value not in ("", None) and key not in {"message", "sender"}:
                        click.echo(f"  {key + ':':<15}{value}")

    run(work(), config)


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
                told = _Told(hand, single=bool(targets))
                chosen = wanted(spine, targets, _a_label(domain) if domain else "", everything=everything)
                await act(spine, hand, chosen, told, why=reason)
            if not told.found:
                click.echo("nothing in the queue fits", err=True)
            return told.fine

        if not run(work(), config):
            context.exit(1)

    return command


for _hand in HANDS:
    queue.add_command(_command(_hand))
for _other in (suspend, resume, suspensions):
    queue.add_command(_other)


class _Told:
    """Prints what came of it for each recipient, and keeps whether all that was asked for was done."""

    def __init__(self, hand: Hand, *, single: bool) -> None:
        self._hand = hand
        self._single = single
        self.found, self.fine = 0, True

    def __call__(self, came: Outcome) -> None:
        """Print one."""
        self.found += 1
        name = f"{came.recipient.id} {came.recipient.address}"
        if came.outcome == "moved":
            click.echo(f"{name}: {self._hand.name}")
        elif came.outcome != "unfit" or self._single:
            click.echo(f"{name}: {came.text}", err=True)
            self.fine = False


def _a_label(domain: str) -> str:
    try:
        return a_label(domain)
    except ValueError as error:
        raise Fault(f"--domain {error}") from error


def _line(row: dict[str, Any]) -> str:
    later = f", next {row['next_attempt']}" if row["next_attempt"] else ""
    why = f": {row['code']} {row['reason']}" if row["code"] else ""
    halted = f", suspended ({row['suspended']})" if row["suspended"] else ""
    return f"{row['id']} {row['state']}{later}{halted} {row['sender']} -> {row['recipient']}{why}"
