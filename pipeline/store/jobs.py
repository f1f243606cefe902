"""Jobs of Dramatiq that dead processes held go back to their queues.

Dramatiq does this itself, now and then in the middle of another command, by a look through all keys of Redis: beside a
million messages that holds everybody up for half a second. Here it is asked for, and only the queues that there are
are looked at. A job is a nudge, so one that is given back twice, or lost, costs nothing but time.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.store.changes import milliseconds
from pipeline.store.connection import store_errors

_SCRIPT = Path(__file__).parent / "lua" / "jobs" / "revive.lua"
SILENT = timedelta(minutes=1)  # a process that was not heard of for so long is dead
LETTERS = timedelta(days=7)  # how long a job that nobody could read is kept
_AT_ONCE = 20


async def revive(redis: Any, namespace: str, queues: Sequence[str], now: datetime) -> tuple[int, int]:
    """Give back what processes held that are dead by now; returns how many they are, and how many jobs they held.

    Raises `StoreUnavailable` and `StoreFull`.
    """
    script = redis.register_script(_SCRIPT.read_bytes())
    names = [name for queue in queues for name in (queue, f"{queue}.DQ")]
    since, letters = milliseconds(now - SILENT), milliseconds(now - LETTERS)
    with store_errors():
        dead, jobs = await script(args=[namespace, since, letters, _AT_ONCE, *names])
    return int(dead), int(jobs)
