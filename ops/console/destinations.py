"""The page of the destinations: those worth a look now, those whose name holds a text, or all of them in pages.

The table is sorted here, by plain links, and costs the same however long the queue is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from ops.console.page import Answer, Call, Refused
from ops.destinations import Destinations, Row, Standstill

SHOWN = 100  # rows of a page
_SOUGHT = 200  # rows that a search finds at most
_STEPS = 20  # short pages that are put together in one request
_LONGEST = 255  # characters of a text that is looked for
_LATE = datetime.max.replace(tzinfo=UTC)

KINDS: Mapping[Standstill, str] = {
    Standstill.SUSPENDED: "warn", Standstill.PARKED: "bad", Standstill.CIRCUIT: "warn", Standstill.FLOWING: "good",
    Standstill.RETRY: "dim", Standstill.IDLE: "dim",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """One column: by what it is sorted, and whether the largest come first."""

    title: str
    key: Callable[[Row], Any]
    falls: bool = False


COLUMNS: Mapping[str, Column] = {
    "name": Column("Destination", lambda row: row.name),
    "backlog": Column("Backlog", lambda row: row.backlog, falls=True),
    "rate": Column("Rate/min", lambda row: row.rate, falls=True),
    "troubles": Column("Troubles/min", lambda row: row.troubles, falls=True),
    "state": Column("State", lambda row: tuple(Standstill).index(row.state)),
    "security": Column("Security", lambda row: row.security or "~"),
    "error": Column("Last error", lambda row: (row.error is None, row.error and row.error.code)),
    "next": Column("Next try", lambda row: row.next_try or _LATE),
}


def address(destination: str, *more: str) -> str:
    """Give the path of the page of a destination."""
    return "/".join(["/destinations", quote(destination, safe=":[]"), *more])


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a column: its link, and how the table is sorted by it (`aria-sort`; empty: not at all)."""

    name: str
    title: str
    href: str
    order: str


@dataclass(frozen=True, slots=True)
class View:
    """What is asked for."""

    sort: str
    falls: bool
    sought: str
    state: Standstill | None

    @classmethod
    def of(cls, call: Call) -> "View":
        """Read it from the query. Raises `Refused`."""
        sort, order, state = call.query("sort", "backlog"), call.query("order"), call.query("state")
        if sort not in COLUMNS or order not in {"", "up", "down"}:
            raise Refused(422, "This table cannot be sorted like that.")
        sought = call.query("q")
        if len(sought) > _LONGEST:
            raise Refused(422, f"What is looked for has at most {_LONGEST} characters.")
        try:
            wanted = Standstill(state) if state else None
        except ValueError as error:
            raise Refused(422, f"No destination is ever {state!r}.") from error
        return cls(sort, COLUMNS[sort].falls if not order else order == "down", sought, wanted)

    def query(self, sort: str, *, falls: bool) -> str:
        """Write it, sorted in some way."""
        asked = {"q": self.sought, "state": str(self.state or ""), "sort": sort, "order": "down" if falls else "up"}
        return urlencode({name: value for name, value in asked.items() if value})

    def heads(self) -> list[Head]:
        """Make the heads of the columns: the one that the table is sorted by turns it around."""
        made = []
        for name, column in COLUMNS.items():
            ours = name == self.sort
            href = "?" + self.query(name, falls=not self.falls if ours else column.falls)
            made.append(Head(name, column.title, href, ("descending" if self.falls else "ascending") if ours else ""))
        return made

    def sorted(self, rows: Sequence[Row]) -> list[Row]:
        """Sort rows of the state that is asked for."""
        fitting = sorted((row for row in rows if self.state in (None, row.state)), key=lambda row: row.name)
        return sorted(fitting, key=COLUMNS[self.sort].key, reverse=self.falls)


async def show(call: Call) -> Answer:
    """Show those worth a look, or those that are looked for."""
    view, table = View.of(call), Destinations(call.spine)
    found = await (table.sought(view.sought, _SOUGHT) if view.sought else table.foremost(_SOUGHT))
    rows = view.sorted(found)
    return {
        "rows": rows[:SHOWN], "count": len(rows), "view": view, "heads": view.heads(), "states": tuple(Standstill),
        "kinds": KINDS, "address": address, "here": "/destinations?" + view.query(view.sort, falls=view.falls),
    }  # fmt: skip


async def every(call: Call) -> Answer:
    """Show all, a page at a time."""
    table, cursor, rows = Destinations(call.spine), call.cursor, list[Row]()
    try:
        for _ in range(_STEPS):
            found, cursor = await table.page(cursor, SHOWN)
            rows += found
            if not cursor or len(rows) >= SHOWN:
                break
    except ValueError as error:
        raise Refused(422, "There is no such page of this list.") from error
    heads = [Head(name, column.title, "", "") for name, column in COLUMNS.items()]
    return {"rows": rows, "heads": heads, "kinds": KINDS, "address": address, "next": cursor}
