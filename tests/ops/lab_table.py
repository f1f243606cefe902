"""The table of domains in the manual, made from the scenarios: `python -m tests.ops.lab_table --write` renews it."""

import sys
from pathlib import Path

from ops.lab.scenarios import ALL

PAGE = Path(__file__).parents[2] / "ops" / "docs" / "lab.md"
BEGIN, END = "<!-- domains: begin -->\n", "<!-- domains: end -->\n"


def table() -> str:
    """Make the table."""
    lines = ["| domain | what is special | what is expected |", "| --- | --- | --- |"]
    for scenario in ALL:
        for address, expected in scenario.addresses.items():
            shown = address if scenario.recipients else scenario.domain
            lines.append(f"| `{shown}` | {scenario.story} | {expected} |")
    return "\n".join(lines) + "\n"


def renewed(text: str) -> str:
    """Put the table into the text of the page. Raises ValueError if the page has no place for it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE} has no place for the table")
    return f"{before}{begin}{table()}{end}{after}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(table())
