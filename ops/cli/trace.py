"""`danepipe trace`: a message's story, from the log and the ledger."""

import sys
from pathlib import Path

import click

from ops.cli.run import Fault, configuration, run, spine_of
from ops.trace import Reading, read, story
from pipeline.config import Config
from pipeline.store.changes import Stored
from pipeline.store.connection import StoreUnavailable
from stages.message import MessageId


@click.command()
@click.argument("message")
@click.option(
    "--log", "logs", multiple=True, help="Log file, or - for standard input; default: log.file. May be repeated."
)
@click.pass_context
def trace(context: click.Context, message: str, logs: tuple[str, ...]) -> None:
    """Tell what happened to a message; exit status 1 if neither log nor ledger knows it."""
    config = configuration(context)
    message = message.partition("/")[0]
    files = logs or ((str(config.log.file),) if config.log.file is not None else ())
    reading = Reading()
    for file in files:
        found = _read(file, message)
        reading.events += found.events
        reading.unread += found.unread
    reading.events.sort(key=lambda event: str(event.get("timestamp", "")))
    if not files:
        click.echo("danepipe: no log is read: log.file is not set, name a log with --log FILE or --log -", err=True)
    stored = _stored(config, message, alone=not reading.events)
    if stored is None and not reading.events:
        raise Fault(f"neither the log nor the ledger knows message {message}")
    click.echo(story(message, reading, stored))


def _read(file: str, message: str) -> Reading:
    if file == "-":
        return read(sys.stdin, message)
    try:
        with Path(file).open(encoding="utf-8", errors="replace") as lines:
            return read(lines, message)
    except OSError as error:
        raise Fault(f"{file} cannot be read: {error.strerror}") from error


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
