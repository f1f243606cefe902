"""Faults of ours, or of what we stand on: from when until when.

Several processes notice one outage, each for itself, so its period reaches from the first that lost the resolver to the
last that has it back. A process that ended meanwhile never says that it has: for it, the period ends with its last
event, once another process is well again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from ops.report.findings import Section

_PAIRS = (
    ("resolver", "resolver.suspended", "resolver.restored"),
    ("redis", "redis.unavailable", "redis.restored"),
)
_COUNTED = (
    "stage.error", "process.died", "body.gone", "body.left", "lease.lost", "lease.reaped", "nudge.failed",
    "resolver.disagreement", "resolver.limit", "resolver.cache", "redis.unsafe", "accept.pressure", "log.library",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """A process says that it lost something (`lost`) or has it back; `seen` is when it last wrote anything."""

    moment: datetime
    process: str
    lost: bool
    seen: datetime
    text: str = ""


@dataclass(slots=True)
class Period:
    """An outage; `end` is None where the log does not tell of one."""

    start: datetime
    end: datetime | None
    text: str


def periods(changes: Sequence[Change]) -> list[Period]:
    """Make periods of changes in the order of time, given for each process."""
    last_back = max((one.moment for one in changes if not one.lost), default=None)
    single: list[Period] = []
    running: dict[str, Period] = {}
    seen: dict[str, datetime] = {}
    for one in changes:
        seen[one.process] = one.seen
        if one.lost and one.process not in running:
            running[one.process] = Period(one.moment, None, one.text)
            single.append(running[one.process])
        elif not one.lost and one.process in running:
            running.pop(one.process).end = one.moment
    for process, period in running.items():
        if last_back is not None and last_back > seen[process]:
            period.end = seen[process]
    return _merged(single)


def _merged(single: Iterable[Period]) -> list[Period]:
    merged: list[Period] = []
    for one in sorted(single, key=lambda period: period.start):
        if merged and (merged[-1].end is None or one.start <= merged[-1].end):
            end = merged[-1].end
            merged[-1].end = None if end is None or one.end is None else max(end, one.end)
        else:
            merged.append(Period(one.start, one.end, one.text))
    return merged


def outages(db: duckdb.DuckDBPyConnection) -> list[Section]:
    """Give the periods in which the resolver or Redis was away, and what else was our fault."""
    rows = []
    for what, lost, back in _PAIRS:
        # Redis is said to be back by the clock alone, so that one stands for all.
        process = "concat(role, ' ', pid)" if what == "resolver" else "''"
        found = db.execute(
            f"""WITH own AS (SELECT moment, {process} AS process, event, text FROM line
                WHERE event IN ($lost, $back)),
              seen AS (SELECT {process} AS process, max(moment) AS moment FROM line
                WHERE EXISTS (SELECT 1 FROM own) GROUP BY 1)
            SELECT own.moment, own.process, event = $lost, seen.moment, coalesce(text, '')
            FROM own JOIN seen USING (process) ORDER BY 1""",  # noqa: S608 - `process` is one of two of ours
            {"lost": lost, "back": back},
        ).fetchall()
        for period in periods([Change(*row) for row in found]):
            seconds = (period.end - period.start).total_seconds() if period.end else None
            rows.append((what, period.start, period.end, seconds, period.text))
    faults = db.execute(
        """SELECT event, coalesce(stage, ''), count(*), min(moment), max(moment),
          coalesce(arg_max(coalesce(text, error), moment), '') FROM line
        WHERE list_contains($kinds, event) AND NOT (event = 'accept.pressure' AND state = 'open')
        GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2""",
        {"kinds": list(_COUNTED)},
    ).fetchall()
    return [
        Section("outages", "Resolver and Redis away", ("what", "from", "until", "seconds", "text"), tuple(rows),
                "Mail waited. Without a time in until: the log tells of no end."),
        Section("faults", "Faults of ours", ("event", "stage", "times", "first", "last", "last text"), tuple(faults)),
    ]  # fmt: skip
