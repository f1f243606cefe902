"""`danepipe trace`: a message's story, from the log and the ledger; without its id, which messages there are."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from ops.cli.period import FIRST, LAST, period, period_options
from ops.cli.run import Fault, configuration, run, spine_of
from ops.inert import inert
from ops.report.sources import SourceError, lines_of
from ops.search import Found, Wanted, find
from ops.trace import Reading, read, story
from pipeline.config import Config
from pipeline.store.changes import Stored
from pipeline.store.connection import StoreUnavailable
from stages.message import MessageId

_MOST = 100  # messages of a list; the last ones


@click.command()
@click.argument("message", required=False)
@click.option("--recipient", default="", help="Find messages to this address.")
@click.option("--domain", default="", help="Find messages to recipients of this domain.")
@click.option("--message-id", default="", help="Find the message with this Message-ID.")
@period_options
@click.option(
    "--log", "logs", multiple=True, help="Log file, or - for standard input; default: log.file. May be repeated."
)
@click.pass_context
def trace(  # noqa: PLR0913 - one parameter for each option
    context: click.Context, message: str | None, *, recipient: str, domain: str, message_id: str, since: str | None,
    start: str | None, end: str | None, logs: tuple[str, ...],
) -> None:  # fmt: skip
    """Tell what happened to a message; exit status 1 if neither log nor ledger knows it.

    Without MESSAGE, find messages in the log: if there is one, tell its story, else list them.
    """
    wanted = Wanted(*period(since, start, end), recipient, domain, message_id)
    asked = wanted != Wanted(FIRST, LAST)
    if (message is not None) == asked:
        raise Fault(
            "name one message, or say what to look for: --recipient, --domain, --message-id, --since, --from, --to"
        )
    config = configuration(context)
    files = logs or ((str(config.log.file),) if config.log.file is not None else ())
    if message is None:
        if not files:
            raise Fault("log.file is not set: name a log with --log FILE or --log -")
        kept = [list(_stdin()) if file == "-" else file for file in files]  # it is read twice
        found = _found(kept, wanted)
        if len(found) != 1:
            _list(found)
            return
        _tell(config, found[0].message, kept)
        return
    if not files:
        click.echo("danepipe: no log is read: log.file is not set, name a log with --log FILE or --log -", err=True)
    _tell(config, message.partition("/")[0], [_stdin() if file == "-" else file for file in files])


def _tell(config: Config, message: str, logs: Iterable[str | Iterable[str]]) -> None:
    reading = Reading()
    for log in logs:
        found = read(_lines(log), message)
        reading.events += found.events
        reading.unread += found.unread
    reading.events.sort(key=lambda event: str(event.get("timestamp", "")))
    stored = _stored(config, message, alone=not reading.events)
    if stored is None and not reading.events:
        raise Fault(f"neither the log nor the ledger knows message {message}")
    click.echo(story(message, reading, stored))


def _found(logs: Iterable[str | Iterable[str]], wanted: Wanted) -> list[Found]:
    known: dict[str, Found] = {}
    for log in logs:
        find(_lines(log), wanted, known)
    if not known:
        raise Fault("the log tells of no such message")
    return sorted(known.values(), key=lambda one: (one.first, one.message))


def _list(found: list[Found]) -> None:
    if len(found) > _MOST:
        click.echo(f"danepipe: {len(found)} messages, of which these are the last {_MOST}", err=True)
    for one in found[-_MOST:]:
        click.echo(inert(one.line))


def _lines(log: str | Iterable[str]) -> Iterator[str]:
    """Give the lines of a log file, compressed or not, or those that were given."""
    try:
        yield from lines_of(Path(log)) if isinstance(log, str) else log
    except SourceError as error:
        raise Fault(str(error)) from error


def _stdin() -> Iterator[str]:
    for line in sys.stdin.buffer:
        yield line.decode(errors="replace")


def _stored(config: Config, message: str, *, alone: bool) -> Stored | None:
    """Ask the ledger. Where the log has a story, a Redis that is away does not spoil it."""

    async def work() -> Stored | None:
        try:
            async with spine_of(config, "trace") as spine:
                return await spine.ledger.stored(MessageId(message))
        except StoreUnavailable:
            if alone:
                raise
            click.echo("danepipe: Redis is away: the story is from the log alone", err=True)
            return None

    return run(work(), config)
