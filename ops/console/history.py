"""Who changed what, as the end of the log file tells it.

What is read is bounded, however long the log is and however few of its lines are looked for. Only the file that is
written now is read, and only JSON: what is older stands in the files that were put aside.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from pipeline.config import Config

MOST = 20  # changes
REACH = 64 << 20  # octets from the end of the file
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Change:
    """One change: when, by whom (empty: by command), when what was added ends, and the event that tells of it."""

    at: datetime | None
    who: str
    ends: datetime | None
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class History:
    """The last changes, the newest first; `nowhere` says why there is nothing to read, if there is not."""

    changes: tuple[Change, ...] = ()
    nowhere: str = ""


async def history(config: Config, kind: str, field: str) -> History:
    """Find the last events of a kind that have a field."""
    file = config.log.file
    if file is None:
        return History(nowhere="Events go to standard output; with log.file the last of them are shown here.")
    if config.log.format != "json":
        return History(
            nowhere="The log file is written as text; with log.format = json the last changes are shown here."
        )
    try:
        return History(tuple(await asyncio.to_thread(_last, file, kind, field)))
    except OSError as error:
        return History(nowhere=f"The log file {file} cannot be read: {error.strerror}.")


def _last(file: Path, kind: str, field: str) -> list[Change]:
    found: list[Change] = []
    for line in _backwards(file, f'"{field}":'.encode()):
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # cut off, or no event
        if isinstance(event, dict) and event.get("event") == kind and field in event:
            at, ends = _moment(event.get("timestamp")), _moment(event.get("expires"))
            found.append(Change(at, str(event.get("who", "")), ends, event))
            if len(found) == MOST:
                break
    return found


def _backwards(file: Path, needle: bytes) -> Iterator[bytes]:
    """Give the lines that hold some octets, the last first."""
    with file.open("rb") as log:
        end = log.seek(0, 2)
        rest, floor = b"", max(0, end - REACH)
        while end > floor:
            start = max(floor, end - _BLOCK)
            log.seek(start)
            block = log.read(end - start) + rest
            # the first line may begin in the block before
            cut = 0 if not start else block.find(b"\n") + 1 or len(block)
            rest, whole, end = block[:cut], block[cut:], start
            if needle in whole:
                yield from (line for line in reversed(whole.split(b"\n")) if needle in line)


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
