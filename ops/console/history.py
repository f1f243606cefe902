"""Who changed what, as the end of the log file tells it.

What is read is bounded, however long the log is and however few of its lines are looked for. Only the file that is
written now is read: what is older stands in the files that were put aside.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ops.logfile import Event, last, source
from ops.search import moment_of
from pipeline.config import Config

MOST = 20  # changes
REACH = 64 << 20  # octets from the end of the file
_seats = asyncio.Semaphore(2)


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
    file, nowhere = source(config)
    if file is None:
        return History(nowhere=nowhere)

    def fits(event: Event) -> bool:
        return event.get("event") == kind and field in event

    try:
        async with _seats:
            found = await asyncio.to_thread(last, file, f'"{field}":', fits, MOST, REACH)
    except OSError as error:
        return History(nowhere=f"The log file {file} cannot be read: {error.strerror}.")
    return History(tuple(map(_change, found)))


def _change(event: Event) -> Change:
    ends = moment_of({"timestamp": event.get("expires")})
    return Change(moment_of(event), str(event.get("who", "")), ends, event)
