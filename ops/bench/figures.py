"""Figures, the arithmetic behind them, and the table that shows them.

A benchmark gives `Figure`s: a name, a number and its unit. `NotHere` says in one sentence what a benchmark lacks on
this machine; only that benchmark is left out. Times are seconds inside and milliseconds where people read them.
"""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


class NotHere(Exception):  # noqa: N818 - a state of this machine
    """A benchmark cannot run on this machine; the text says in one sentence what is missing."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number; `note` says what must be known to read it."""

    name: str
    value: float
    unit: str
    note: str = ""

    @property
    def shown(self) -> str:
        """Give the number with about three digits that count."""
        if abs(self.value) >= 100 or float(self.value).is_integer():
            return f"{self.value:,.0f}"
        return f"{self.value:.1f}" if abs(self.value) >= 10 else f"{self.value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value below which this share (0 to 1) of the values lies, between neighbours by straight line.

    Raises ValueError for no values or another share.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError(f"percentile {share} of {len(values)} values")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median(values: Sequence[float]) -> float:
    """Give the middle value. Raises ValueError for no values."""
    return percentile(values, 0.5)


def spread(name: str, seconds: Sequence[float], note: str = "") -> list[Figure]:
    """Make median, 95th percentile and maximum of some durations, in milliseconds."""
    marks = (("median", 0.5), ("p95", 0.95), ("max", 1.0))
    return [
        Figure(f"{name}, {word}", 1000 * percentile(seconds, share), "ms", note if share == marks[0][1] else "")
        for word, share in marks
    ]


def processor(cpuinfo: str) -> str:
    """Find the processor's name in the text of /proc/cpuinfo; empty where it has none."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() in {"model name", "hardware", "cpu model"}:
            return " ".join(value.split())
    return ""


def machine() -> dict[str, Any]:
    """Say what this was measured on, and how busy it was (load average of the last minute)."""
    try:
        name = processor(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        name = ""
    return {
        "processor": name or platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "load": round(os.getloadavg()[0], 2),
    }


def machine_line(about: Mapping[str, Any]) -> str:
    """Write that as one line."""
    return (
        f"{about['processor']}, {about['cores']} cores, {about['system']}, Python {about['python']}, "
        f"{about['date']}, load before {about['load']}"
    )


def show(out: Console, about: Mapping[str, Any], results: Mapping[str, Sequence[Figure]]) -> None:
    """Print all figures as one table under the line of the machine."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("benchmark", "figure", "value", "unit", "note"):
        table.add_column(heading, justify="right" if heading == "value" else "left", overflow="fold")
    for name, figures in results.items():
        for number, figure in enumerate(figures):
            last = number == len(figures) - 1
            table.add_row("" if number else name, figure.name, figure.shown, figure.unit, figure.note, end_section=last)
    out.print(machine_line(about), highlight=False, soft_wrap=True)
    out.print(table, highlight=False)


def as_json(about: Mapping[str, Any], results: Mapping[str, Sequence[Figure]]) -> dict[str, Any]:
    """Give everything in values that JSON can hold."""
    return {
        "machine": dict(about),
        "figures": {name: [asdict(figure) for figure in figures] for name, figures in results.items()},
    }
