"""The table of the comparison: for each number of destinations and each figure danepipe, Postfix and the ratio."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from ops.bench.figures import Figure, median
from ops.bench.peer.danepipe import NAME as OURS
from ops.bench.peer.postfix import NAME as THEIRS
from ops.bench.peer.runs import Run

ROWS = {
    "delivered": "delivered, messages/s",
    "accepted": "accepted, messages/s",
    "processor": "processor, ms/message",
    "pss": "memory at most, MiB (PSS)",
    "rss": "memory at most, MiB (sum of RSS)",
    "connections": "connections made",
    "verified": "deliveries verified by DANE",
}


def rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Give the medians of each number of destinations: `domains`, `figure`, both values, and ours divided by theirs."""
    made = []
    for domains in dict.fromkeys(run.domains for run in runs):
        for field, name in ROWS.items():
            ours, theirs = (
                median([float(getattr(run, field)) for run in runs if (run.server, run.domains) == (server, domains)])
                for server in (OURS, THEIRS)
            )
            ratio = ours / theirs if theirs else None
            made.append({"domains": domains, "figure": name, OURS: ours, THEIRS: theirs, "ratio": ratio})
    return made


def show(out: Console, lines: Sequence[Mapping[str, Any]]) -> None:
    """Print them as a table in Markdown."""
    table = Table(box=MARKDOWN)
    table.add_column("destinations", justify="right")
    table.add_column("figure")
    for heading in (OURS, THEIRS, "ratio"):
        table.add_column(heading, justify="right")
    seen = None
    for line in lines:
        values = (Figure("", line[server], "").shown for server in (OURS, THEIRS))
        ratio = "" if line["ratio"] is None else f"{line['ratio']:.2f}"
        table.add_row("" if line["domains"] == seen else f"{line['domains']:,}", line["figure"], *values, ratio)
        seen = line["domains"]
    out.print(table, highlight=False)
