"""A report for a terminal: a table for each section, the first rows of it, and a line for what is empty.

What strangers said passes `inert`. Columns in which nothing was counted are left out.
"""

from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.inert import inert
from ops.report.findings import Cell, Report, Section
from ops.report.questions import LEVELS
from ops.report.sources import Broken

ROWS = 20  # of a section; JSON and the page have more
_LEFT_OUT = frozenset({*LEVELS, "refused", "given up", "deferred"})  # where nobody had that fate


def show(report: Report, out: Console) -> None:
    """Print the report."""
    out.print(headline(report), highlight=False, markup=False, soft_wrap=True)
    for section in report.sections:
        if section.name == "over_time":  # for the chart of the page; `--by hour` asks for such a table
            continue
        if not section.rows:
            out.print(f"\n{section.title}: none", highlight=False, markup=False)
            continue
        out.print(f"\n{section.title}", style="bold", highlight=False, markup=False)
        if section.note:
            out.print(section.note, style="dim", highlight=False, markup=False)
        out.print(_table(section), highlight=False)
        more = section.more + max(0, len(section.rows) - ROWS)
        if more:
            out.print(f"{more} more", highlight=False)


def headline(report: Report) -> str:
    """Say what was read."""
    if report.first is None or report.last is None:
        return "No events of this period."
    return f"{report.events} events, {shown(report.first)} to {shown(report.last)} (UTC)"


def told(broken: Broken) -> str:
    """Say which lines of a file were no events."""
    parts = []
    if broken.count:
        some = ", ".join(map(str, broken.lines))
        which = f" (line {some}{', ...' if broken.count > len(broken.lines) else ''})" if some else ""
        parts.append(f"{broken.count} lines are no events and were passed over{which}")
    if broken.trouble:
        parts.append(broken.trouble)
    return inert(f"{broken.file}: {'; '.join(parts)}")


def shown(cell: Cell) -> str:
    """Write a cell: times without fractions, seconds and shares with what counts of them."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return cell.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(cell, float):
        size = abs(cell)
        return f"{cell:.1f}" if size >= 10 else f"{cell:.3g}" if size >= 0.0001 or not size else f"{cell:.6f}"
    return inert(str(cell))


def columns(section: Section) -> list[int]:
    """Give the places of the columns that say something."""
    counted = {place for place, name in enumerate(section.columns) if name in _LEFT_OUT and place}
    return [
        place
        for place in range(len(section.columns))
        if place not in counted or any(row[place] for row in section.rows)
    ]


def _table(section: Section) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    places = columns(section)
    for place in places:
        number = isinstance(section.rows[0][place], (int, float))
        table.add_column(section.columns[place], justify="right" if number else "left", overflow="fold")
    for row in section.rows[:ROWS]:
        table.add_row(*(Text(shown(row[place])) for place in places))
    return table
