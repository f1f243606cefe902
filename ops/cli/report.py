"""`danepipe report`: what the log of an hour, a day or a month says of mail."""

import sys
from pathlib import Path

import click
import orjson
from rich.console import Console

from ops.cli.period import period, period_options
from ops.cli.run import Fault, configuration
from ops.report.findings import Report
from ops.report.page import page
from ops.report.questions import BY, ask
from ops.report.reading import reading
from ops.report.sources import SourceError
from ops.report.text import show, told

_WIDTH = 150  # columns of tables that go to a file or a pipe


@click.command()
@click.argument("files", nargs=-1)
@period_options
@click.option("--by", type=click.Choice(list(BY)), help="Add a table by this.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page with charts to this file.")
@click.pass_context
def report(  # noqa: PLR0913 - one parameter for each option
    context: click.Context, files: tuple[str, ...], since: str | None, start: str | None, end: str | None,
    by: str | None, html: Path | None, *, as_json: bool,
) -> None:  # fmt: skip
    """Sum up logs: volume, security, failures, delays, faults; FILES may be compressed, - is standard input.

    Without FILES the log file of the configuration is read. Lines that are no events are told of and passed over.
    """
    if as_json and html is not None:
        raise Fault("--json or --html: one of them")
    named = files or _configured(context)
    first, last = period(since, start, end)
    try:
        with reading(named, sys.stdin.buffer, first, last) as log:
            found = ask(log, by)
    except SourceError as error:
        raise Fault(str(error)) from error
    for broken in found.broken:
        click.echo(f"danepipe: {told(broken)}", err=True)
    _give(found, html, as_json=as_json)


def _give(found: Report, html: Path | None, *, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(found.as_json(), option=orjson.OPT_INDENT_2).decode())
        return
    if html is not None:
        try:
            html.write_text(page(found), encoding="utf-8")
        except OSError as error:
            raise Fault(f"{html} cannot be written: {error.strerror}") from error
        return
    out = Console()
    show(found, out if out.is_terminal else Console(width=_WIDTH))


def _configured(context: click.Context) -> tuple[str, ...]:
    file = configuration(context).log.file
    if file is None:
        raise Fault("log.file is not set: name a log, or - for standard input")
    return (str(file),)
