"""The table of destinations: its columns, how they are sorted, and the texts of cells, which are inert."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ops.destinations import Row
from ops.inert import inert

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the key that sorts by it, its title, the text of a cell, and what it is sorted by.

    `least`, `most`: how wide it is on a terminal of 80 columns, and where there is room. `falling`: the greatest first.
    """

    key: str
    title: str
    text: Callable[[Row, datetime], str]
    order: Callable[[Row], Any]
    least: int
    most: int
    falling: bool = False
    right: bool = False


def _error(row: Row, _now: datetime) -> str:
    if row.error is None:
        return ""
    return inert(f"{row.error.code}: {row.error.text}")


def _next(row: Row, now: datetime) -> str:
    moment = row.until or row.next_try
    return "" if moment is None else within(moment - now)


COLUMNS = (
    Column("d", "destination", lambda row, _: inert(shown(row)), lambda row: row.name, 16, 45),
    Column("b", "backlog", lambda row, _: f"{row.backlog:,}", lambda row: row.backlog, 8, 11, falling=True, right=True),
    Column("r", "rate/min", lambda row, _: figure(row.rate), lambda row: row.rate, 9, 9, falling=True, right=True),
    Column("s", "security", lambda row, _: inert(row.security), lambda row: row.security or "~", 9, 14),
    Column("t", "state", lambda row, _: str(row.state), lambda row: str(row.state), 9, 17),
    Column("n", "next", _next, lambda row: row.until or row.next_try or _NEVER, 5, 6, right=True),
    Column("e", "last error", _error, lambda row: row.error.code if row.error is not None else "~", 9, 400),
)


def shown(row: Row) -> str:
    """Name a destination as briefly as it can be: by its domain, with whatever is not usual about the way there."""
    kind, _, rest = row.destination.partition(":")
    tail = rest.removeprefix(row.name)
    return row.name if (kind, tail) == ("mx", ":25:dane") else row.destination


def figure(rate: float) -> str:
    """Write a rate: small ones with a part."""
    if rate == 0:
        return "0"
    return f"{rate:.1f}" if rate < 10 else f"{rate:,.0f}"


def within(span: timedelta) -> str:
    """Write a duration in one unit: 40s, 12m, 5h, 3d."""
    seconds = int(span.total_seconds())
    if seconds <= 0:
        return "now"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size or (unit == "m" and seconds >= size):
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def widths(total: int) -> tuple[int, ...]:
    """Share the columns of a terminal among those of the table: what is short gets what it needs first."""
    found = [column.least for column in COLUMNS]
    left = max(0, total - sum(found))
    for place in (1, 2, 5, 4, 3, 0, 6):
        share = left // 2 if place == 0 else left  # a long name leaves room for why
        more = min(share, COLUMNS[place].most - found[place])
        found[place] += more
        left -= more
    return tuple(found)


def ordered(rows: Iterable[Row], column: Column, *, turned: bool = False) -> list[Row]:
    """Sort by a column, then by name; `turned`: the other way round."""
    named = sorted(rows, key=lambda row: row.destination)
    return sorted(named, key=column.order, reverse=column.falling != turned)
