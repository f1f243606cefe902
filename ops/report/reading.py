"""Log files into tables: one pass over each, by DuckDB, within a bound of memory.

`line` has a row for each event of the period, with the columns that the questions need; `outcome` a row for each
recipient of each verdict that settles or defers. Both lie in a file that is deleted at the end, so that memory stays
below `MEMORY` however long the log is. Nothing is fetched from elsewhere: extensions are neither loaded nor installed.
Lines that are no events are counted and passed over.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import duckdb

from ops.report.sources import LONGEST, Broken, SourceError, compression, keep, sift

MEMORY = "500MB"  # of DuckDB; with its buffers for reading and with Python it stays below 1 GiB
THREADS = min(4, os.cpu_count() or 1)  # each has a buffer for reading
STDIN = "standard input"

Period = Mapping[str, datetime]

# All as text: a field of another type than ours is then no reason to lose the line.
_TEXTS = (
    "timestamp", "event", "level", "role", "pid", "message", "stage", "verdict", "destination", "code", "text",
    "remote", "host", "address", "port", "since", "until", "audit_failure", "seconds", "size", "notice", "kind",
    "action", "outcome", "recipient", "error", "state", "cause", "worker",
)  # fmt: skip
_COLUMNS = dict.fromkeys(_TEXTS, "VARCHAR") | {"recipients": "JSON", "facts": "JSON"}
_PATHS = [f"$.{name}" for name in ("security", "demand", "host", "audit_failure", "ede", "certificate")]
_LINE = f"""
CREATE TABLE line AS
SELECT try_cast("timestamp" AS TIMESTAMP) AS moment, event, level, role, pid, message, stage, verdict,
  try_cast(seconds AS FLOAT) AS took, try_cast(size AS BIGINT) AS size, audit_failure, notice, kind, action, state,
  cause, recipient, error, since, until, worker,
  CASE WHEN event = 'message.accepted' THEN json_array_length(recipients) END AS people,
  CASE WHEN event = 'bounce.sent' OR verdict IN ('done', 'refuse', 'defer') THEN recipients END AS recipients,
  CASE WHEN verdict IS DISTINCT FROM 'proceed' AND (event <> 'delivery.attempt' OR audit_failure <> '') THEN code END
    AS code,
  CASE WHEN verdict IS DISTINCT FROM 'proceed' AND event <> 'delivery.attempt' THEN text END AS text,
  CASE WHEN verdict IN ('done', 'refuse', 'defer') OR audit_failure <> '' THEN
    regexp_extract(destination, '^[^:]*:(.*):[^:]*:[^:]*$', 1) END AS target,
  CASE WHEN verdict IN ('done', 'refuse', 'defer') THEN remote END AS remote,
  CASE WHEN event <> 'delivery.attempt' THEN host END AS host,
  CASE WHEN event LIKE 'circuit.%' THEN address END AS address, CASE WHEN event LIKE 'circuit.%' THEN port END AS port,
  CASE WHEN event = 'queue.action' THEN outcome END AS outcome,
  CASE WHEN verdict IN ('done', 'refuse', 'defer') THEN
    json_extract_string(facts, {_PATHS}) END AS facts
FROM read_ndjson($file, columns = {_COLUMNS},
  compression = $compression, ignore_errors = true, maximum_object_size = {LONGEST})
WHERE moment IS NULL OR event IS NULL OR (moment >= $since AND moment < $until)
"""  # noqa: S608 - names of ours alone
_OUTCOME = """
CREATE TABLE outcome AS
SELECT moment, message, stage, code, text, took, target, unnest(try_cast(recipients AS VARCHAR[])) AS recipient,
  CASE verdict WHEN 'done' THEN 'delivered' WHEN 'refuse' THEN 'refused' ELSE 'deferred' END AS verdict,
  CASE WHEN verdict <> 'done' THEN NULL
    WHEN facts[1] IN ('dane', 'dane-host-only') THEN facts[1]
    WHEN facts[1] = 'verified' THEN 'verify'
    WHEN facts[1] = 'none' THEN 'clear'
    WHEN facts[1] = 'encrypted' AND facts[2] IN ('encrypt', 'dane') AND coalesce(facts[4], '') = '' THEN 'encrypt'
    WHEN facts[1] = 'encrypted' THEN 'opportunistic'
    ELSE 'other' END AS security,
  coalesce(facts[3], nullif(remote, ''), '') AS mx, facts[4] AS audit_failure, facts[5] AS ede, facts[6] AS certificate
FROM line
WHERE verdict IN ('refuse', 'defer') OR (verdict = 'done' AND facts[1] IS NOT NULL)
"""
# Who was put off last and is settled all the same was given up, unless an operator did it.
_GIVEN_UP = """
INSERT INTO outcome BY NAME
WITH last AS (
  SELECT message, recipient, arg_max(outcome, moment) AS o FROM outcome
  WHERE message IN (SELECT message FROM outcome WHERE verdict = 'deferred') GROUP BY message, recipient
  HAVING arg_max(verdict, moment) = 'deferred'
), reported AS (
  SELECT message, unnest(try_cast(recipients AS VARCHAR[])) AS recipient, moment FROM line
  WHERE event = 'bounce.sent' AND kind = 'failed'
), settled AS (
  SELECT last.message, last.recipient, last.o, min(coalesce(reported.moment, done.moment)) AS moment FROM last
  LEFT JOIN reported ON reported.message = last.message AND reported.recipient = last.recipient
    AND reported.moment >= last.o.moment
  LEFT JOIN line AS done ON done.event = 'message.done' AND done.message = last.message AND done.moment >= last.o.moment
  GROUP BY ALL HAVING min(coalesce(reported.moment, done.moment)) IS NOT NULL
)
SELECT settled.moment, message, recipient, 'given up' AS verdict, o.stage AS stage, o.code AS code, o.text AS text,
  o.target AS target, o.mx AS mx, o.ede AS ede, o.certificate AS certificate
FROM settled WHERE NOT EXISTS (
  SELECT 1 FROM line WHERE line.event = 'queue.action' AND line.outcome = 'moved' AND line.action IN ('bounce', 'drop')
    AND line.message = settled.message AND line.recipient = settled.recipient)
"""


@dataclass(frozen=True, slots=True)
class Log:
    """The tables, and what could not be read."""

    db: duckdb.DuckDBPyConnection
    broken: list[Broken] = field(default_factory=list)


@contextmanager
def reading(files: Sequence[str], stdin: BinaryIO, since: datetime, until: datetime) -> Iterator[Log]:
    """Read logs of a period (times in UTC) into tables, and delete these at the end; `-` is standard input.

    Raises `SourceError`.
    """
    with tempfile.TemporaryDirectory(prefix="danepipe-report-") as name:
        directory = Path(name)
        with duckdb.connect(directory / "tables", config=_settings(directory)) as db:
            log = Log(db)
            # as the tables have them: in UTC, and without saying so
            period = {"since": since.replace(tzinfo=None), "until": until.replace(tzinfo=None)}
            try:
                for number, file in enumerate(files):
                    place = directory / f"{number}.log"
                    if file == "-":
                        keep(stdin, place)
                    else:
                        # under a name of ours, as DuckDB takes * and [ in a name for a pattern
                        place.symlink_to(Path(file).absolute())
                    broken = _read(db, place, STDIN if file == "-" else file, period)
                    if broken.count or broken.trouble:
                        log.broken.append(broken)
                db.execute(_OUTCOME)
                db.execute(_GIVEN_UP)
            except duckdb.OutOfMemoryException as error:
                raise SourceError(f"there is no room in {directory.parent} to sum up the log: {error}") from error
            yield log


def _settings(directory: Path) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "memory_limit": MEMORY, "temp_directory": str(directory / "spilled"), "threads": THREADS,
        "preserve_insertion_order": False, "autoinstall_known_extensions": False, "autoload_known_extensions": False,
    }  # fmt: skip


def _read(db: duckdb.DuckDBPyConnection, path: Path, name: str, period: Period) -> Broken:
    """Read one file; where DuckDB cannot (cut off, a line without end), what can be read line by line."""
    kind = compression(path, name)
    try:
        count = _take(db, path, kind, period)
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error:
        copy = path.with_suffix(".sifted")
        with copy.open("wb") as out:
            broken = sift(path, name, out=out)
        broken.count += _take(db, copy, "none", period)
        copy.unlink()
        return broken
    if not count:
        return Broken(name)
    broken = sift(path, name)
    broken.count = count
    return broken


def _take(db: duckdb.DuckDBPyConnection, path: Path, kind: str, period: Period) -> int:
    """Add the events of a file to the table; gives the number of lines that are none."""
    there = db.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'line'").fetchone()
    how = _LINE if there is None else _LINE.replace("CREATE TABLE line AS", "INSERT INTO line")
    db.execute(how, {"file": str(path), "compression": kind, **period})
    (count,) = db.execute("SELECT count(*) FROM line WHERE moment IS NULL OR event IS NULL").fetchone() or (0,)
    if count:
        db.execute("DELETE FROM line WHERE moment IS NULL OR event IS NULL")
    return int(count)
