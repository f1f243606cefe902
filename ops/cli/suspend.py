"""`danepipe queue suspend` and `resume`: let mail to a destination or a host, or of a sender, wait where it is.

Suspended mail is not tried and has no attempts counted, while its lifetime goes on. Every worker follows within a
second; what is suspended stands in Redis and lasts until it is resumed or its time is over.
"""

from collections.abc import Callable
from datetime import datetime

import click
import orjson

from ops import entries
from ops.cli.exclude import end
from ops.cli.run import Fault, configuration, run, spine_of
from ops.entries import suspension_name, suspension_row
from pipeline.spine import Spine, utc_now
from pipeline.store.changes import Stored
from pipeline.store.gates import Kind, Suspension
from stages.destination import Destination
from stages.message import Recipient

_KINDS = click.Choice([str(kind) for kind in Kind])


def _named(kind: str, name: str) -> tuple[Kind, str]:
    """Read what is meant. Raises `Fault`."""
    wanted = Kind(kind)
    try:
        return wanted, suspension_name(wanted, name)
    except ValueError as error:
        raise Fault(str(error)) from error


@click.command()
@click.argument("kind", type=_KINDS)
@click.argument("name")
@click.option("--reason", default="", help="Why.")
@click.option("--owner", default="", help="Who asked for it.")
@click.option("--expires", help="Day, time or duration, after which mail goes on by itself.")
@click.pass_context
def suspend(context: click.Context, kind: str, name: str, reason: str, owner: str, expires: str | None) -> None:
    """Let mail wait in place. NAME is a domain or host, *.NAME all below it; of a sender an address or *@DOMAIN."""
    config = configuration(context)
    now = utc_now()
    entry = Suspension(*_named(kind, name), reason, owner, now, end(expires, now))

    async def work() -> None:
        async with spine_of(config, "queue") as spine:
            new = await entries.suspend(spine, entry)
        click.echo(f"{line(entry)}: {'suspended' if new else 'replaced'}")

    run(work(), config)


@click.command()
@click.argument("kind", type=_KINDS)
@click.argument("name")
@click.pass_context
def resume(context: click.Context, kind: str, name: str) -> None:
    """Let suspended mail go on at once."""
    config = configuration(context)
    entry = Suspension(*_named(kind, name))

    async def work() -> None:
        async with spine_of(config, "queue") as spine:
            if not await entries.resume(spine, entry):
                raise Fault(f"{entry.kind} {entry.name} is not suspended")
        click.echo(f"{entry.kind} {entry.name}: resumed")

    run(work(), config)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def suspensions(context: click.Context, *, as_json: bool) -> None:
    """List what is suspended, with how many groups of recipients were found to wait for it."""
    config = configuration(context)

    async def work() -> list[tuple[Suspension, int]]:
        async with spine_of(config, "queue") as spine:
            return [(entry, await spine.gates.counts(entry)) for entry in (await spine.gates.board()).suspensions]

    for entry, waiting in run(work(), config):
        if as_json:
            click.echo(orjson.dumps({**suspension_row(entry), "waiting": waiting}).decode())
        else:
            click.echo(f"{line(entry)}: {waiting} waiting")


def line(entry: Suspension) -> str:
    """Say in a line what is suspended, until when, and why."""
    parts = [str(entry.kind), entry.name]
    parts += [f"until {entry.expires.isoformat(timespec='minutes')}"] if entry.expires else []
    parts += [f"owner {entry.owner}"] if entry.owner else []
    parts += [f"- {entry.reason}"] if entry.reason else []
    return " ".join(parts)


class Halted:
    """Tells of a recipient whether it waits for the end of a suspension."""

    def __init__(self, known: list[tuple[Suspension, frozenset[str], int]]) -> None:
        self._known = known

    @classmethod
    async def fetch(cls, spine: Spine, now: datetime) -> "Halted":
        """Look what is suspended now, and who was found to wait for it."""
        known = []
        for entry in (await spine.gates.board()).suspensions:
            if entry.is_live(now):
                waiting = frozenset(await spine.gates.waiting(entry))
                known.append((entry, waiting, await spine.gates.counts(entry)))
        return cls(known)

    @property
    def count(self) -> int:
        """Count the groups that were found to wait."""
        return sum(count for _, _, count in self._known)

    def why(self, stored: Stored, recipient: Recipient) -> str:
        """Say which suspension a recipient waits for; empty if it waits for none."""
        where, _, key = stored.places[recipient.id].partition(":")
        tests: dict[Kind, Callable[[Suspension, frozenset[str]], bool]] = {
            Kind.DESTINATION: lambda entry, _: where == "ready" and entry.names_host(Destination.parse(key).name),
            Kind.SITE: lambda _, waiting: where == "ready" and key in waiting,
            Kind.SENDER: lambda entry, _: (
                where in {"ready", "suspended"} and entry.names_sender(stored.message.envelope.sender)
            ),
        }
        return next((line(entry) for entry, waiting, _ in self._known if tests[entry.kind](entry, waiting)), "")
