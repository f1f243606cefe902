"""`danepipe top`: what happens now, by destination, live in a terminal or as one table."""

import math
import sys

import click
import orjson

from ops.cli.run import configuration, run, spine_of
from ops.top.header import alert_line, queue_line, rate_line
from ops.top.snapshot import Snapshot, look
from ops.top.table import COLUMNS, Column, ordered

_SORTS = {column.title.rpartition(" ")[2].partition("/")[0]: column for column in COLUMNS}


def _interval(_context: click.Context, _parameter: click.Parameter, value: float) -> float:
    if math.isnan(value):  # no comparison holds for it
        raise click.BadParameter("nan is no number of seconds")
    return value


@click.command()
@click.option("--once", is_flag=True, help="Print one table and end, as where there is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and end.")
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    show_default=True,
    callback=_interval,
    help="Seconds between two looks.",
)
@click.option("--sort", type=click.Choice(list(_SORTS)), default="backlog", show_default=True, help="First order.")
@click.option("--filter", "sought", default="", help="Only destinations whose name holds this text.")
@click.pass_context
def top(context: click.Context, interval: float, sort: str, sought: str, *, once: bool, as_json: bool) -> None:
    """Show what happens now: rates, and each destination with what waits, how it goes and what is in the way."""
    config, column = configuration(context), _SORTS[sort]

    async def one() -> Snapshot:
        async with spine_of(config, "top") as spine:
            return await look(spine, sought.strip())

    async def live() -> None:
        from ops.top.app import Top  # noqa: PLC0415 - what it imports takes longer than any other command

        async with spine_of(config, "top") as spine:
            await Top(spine, interval, sort=column.key, sought=sought.strip()).run_async()

    # on standard error, where Textual draws
    there = all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    if there and not once and not as_json:
        run(live(), config)
        return
    seen = run(one(), config)
    if as_json:
        click.echo(orjson.dumps(seen.values(), option=orjson.OPT_INDENT_2).decode())
        return
    for line in filter(None, (queue_line(seen), rate_line(seen), alert_line(seen), *_table(seen, column))):
        click.echo(line)


def _table(seen: Snapshot, column: Column) -> list[str]:
    rows = [[one.title for one in COLUMNS]]
    rows += [[one.text(row, seen.at) for one in COLUMNS] for row in ordered(seen.rows, column)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    lines = []
    for row in rows:
        cells = zip(COLUMNS, row, widths, strict=True)
        lines.append("  ".join(text.rjust(n) if one.right else text.ljust(n) for one, text, n in cells).rstrip())
    return lines
