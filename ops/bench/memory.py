"""Memory of a whole `danepipe up` that keeps a queue: all its processes, Redis among them, before and after.

The messages go to a port where nobody listens, so that each is tried once and then waits in the schedule for an hour.
RSS counts memory that processes share once in each of them; PSS divides it and is the figure to plan with.
"""

import asyncio
import time
from typing import Any

from ops.bench.figures import Figure
from ops.bench.load import Load, send
from ops.bench.processes import Use, processor_seconds, tree_use
from ops.bench.stand import Patience, Stand, alone, closed_port
from pipeline.store.packing import pack

LOAD = Load(messages=10_000, connections=20, size=10_000, recipients=("user@dead.example",))
_MB = 1_000_000
_SETTINGS = {"queue": {"retry": ["1h"], "jitter": 0.0, "lifetime": "2d"}}


def _sums(uses: list[Use]) -> tuple[float, float]:
    return sum(use.rss for use in uses) / _MB, sum(use.pss for use in uses) / _MB


async def _until_waiting(stand: Stand, redis: Any, messages: int) -> float:
    """Wait until every message stands in the schedule; gives the most megabytes (RSS) that were seen meanwhile."""
    most, patience = 0.0, Patience(180, f"{messages} messages did not all come to the schedule")
    while redis.zcard("dp:schedule") < messages:
        patience.check()
        most = max(most, _sums(tree_use(stand.pid))[0])
        await asyncio.sleep(0.5)
    return most


async def measure(load: Load = LOAD, *, files: bool = False) -> list[Figure]:
    """Fill the queue and look; `files`: with content in files and not in Redis."""
    async with alone(closed_port(), _SETTINGS, files=files) as stand:
        with stand.redis() as redis:
            await send(stand.port, Load(20, 1, load.size, load.recipients))  # everything is loaded once
            await _until_waiting(stand, redis, 20)
            idle, empty = tree_use(stand.pid), redis.info("memory")["used_memory"]
            started = time.monotonic()
            await send(stand.port, load)
            most = await _until_waiting(stand, redis, load.sent + 20)
            seconds = time.monotonic() - started
            full, used = tree_use(stand.pid), redis.info("memory")["used_memory"]
    (rss_before, pss_before), (rss, pss) = _sums(idle), _sums(full)
    each = (used - empty) / load.sent
    spent = processor_seconds(full) - processor_seconds(idle)
    message = load.message()
    size, kept = len(message), len(pack(message))
    if files:
        return [
            Figure("content in files: queue kept, sum of PSS", pss, "MB"),
            Figure("content in files: Redis, memory per message", each, "octets", f"for {kept} octets on disk"),
            Figure("content in files: accept, try, defer", load.sent / seconds, "messages/s"),
        ]
    return [
        Figure("idle, sum of RSS", rss_before, "MB", f"{len(idle)} processes with Redis"),
        Figure("idle, sum of PSS", pss_before, "MB"),
        Figure("queue kept, sum of RSS", rss, "MB", f"{load.sent} messages of {size} octets"),
        Figure("queue kept, sum of PSS", pss, "MB"),
        Figure("highest sum of RSS while filling", max(most, rss), "MB"),
        Figure("Redis, memory per message", each, "octets", f"{each - kept:.0f} beside the content, {kept} of {size}"),
        Figure("accept, try, defer", load.sent / seconds, "messages/s", "until all of them wait"),
        Figure("processor for that", 1000 * spent / load.sent, "ms/message", "all processes with Redis"),
    ]


def run() -> list[Figure]:
    """Measure. Raises `NotHere` without Redis or /proc."""
    return [*asyncio.run(measure()), *asyncio.run(measure(files=True))]
