"""What a report holds: sections, each a table with a name that does not change.

A section is the same for a terminal, for a page and as JSON; only the words around it differ. Cells are text, numbers,
times (UTC, without a zone) or None. `Section.more` counts the rows that were left out.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ops.report.sources import Broken

Cell = str | int | float | datetime | None


@dataclass(frozen=True, slots=True)
class Section:
    """One table; `note` says in a sentence how to read it, or what it means that it is empty."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    more: int = 0

    def as_json(self) -> Any:
        """Give the rows by the names of their columns; the totals by their own names."""
        if self.name == "totals":
            return {str(what).replace(" ", "_"): count for what, count in self.rows}
        return [dict(zip(self.columns, map(_plain, row), strict=True)) for row in self.rows]

    def column(self, name: str) -> list[Cell]:
        """Give the cells of a column."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report: from the first event to the last, and what was not read."""

    first: datetime | None
    last: datetime | None
    events: int
    sections: tuple[Section, ...]
    broken: list[Broken] = field(default_factory=list)

    def section(self, name: str) -> Section:
        """Give a section by its name. Raises KeyError."""
        return {section.name: section for section in self.sections}[name]

    def as_json(self) -> dict[str, Any]:
        """Give everything in values that JSON can hold; times are RFC 3339."""
        return {
            "first": _plain(self.first),
            "last": _plain(self.last),
            "events": self.events,
            "broken": [
                {"file": one.file, "count": one.count, "lines": one.lines, "trouble": one.trouble}
                for one in self.broken
            ],
            **{section.name: section.as_json() for section in self.sections},
        }


def _plain(cell: Cell) -> Cell:
    return f"{cell.isoformat()}Z" if isinstance(cell, datetime) else cell
