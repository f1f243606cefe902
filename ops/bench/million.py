"""What a queue of a million deferred messages to 100,000 domains costs: Redis, the workers, and new mail beside it.

`danepipe up` runs with the queue beside it, and one far end takes what is sent. Redis itself tells of each command that
took a millisecond or more (SLOWLOG), and the longest is the longest that anybody had to wait for another.
Steps of the clock are measured with keys of their own, so that the running server has no part in them.
"""

import asyncio
import http.client
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from ops.bench.figures import Figure, median, spread
from ops.bench.fill import Filling, fill, filling
from ops.bench.load import Load, send
from ops.bench.processes import processor_seconds, tree_use
from ops.bench.sink import Place, Sink, sink
from ops.bench.stand import Patience, Stand, alone, closed_port
from pipeline.store.connection import connect
from pipeline.store.ledger import Ledger
from pipeline.store.packing import pack

MESSAGES, DOMAINS, SIZE = 1_000_000, 100_000, 1000
LOAD = Load(messages=2000, connections=20, size=10_000, recipients=[f"user@new-{n}.example" for n in range(100)])
ROUNDS = 5
DUE = 1000
_SETTINGS = {"backpressure": {"max_queue": 0}, "queue": {"retry": ["1s", "5s"]}}
OWN = "bench:"
_PAGES = ("/", "/destinations", "/destinations?q=d00000001", "/destinations/all", "/destinations/{}")
_LEASE = timedelta(minutes=1)


async def _rate(stand: Stand, far: Sink, load: Load) -> tuple[float, float, float]:
    """Send the load; gives messages a second, accepted and delivered, and milliseconds of processor for a message."""
    spent = processor_seconds(tree_use(stand.pid))
    before, started = far.taken().messages, time.monotonic()
    await send(stand.port, load)
    accepted = time.monotonic() - started
    await _arrived(far, before + load.sent)
    used = processor_seconds(tree_use(stand.pid)) - spent
    return load.sent / accepted, load.sent / (far.taken().last - started), 1000 * used / load.sent


async def _rates(empty: Stand, full: Stand, far: Sink, load: Load) -> list[Figure]:
    """Send the load to both in turn, so that whatever else the machine does meets both alike."""
    pairs = [(await _rate(empty, far, load), await _rate(full, far, load)) for _ in range(ROUNDS)]
    figures = []
    for number, (name, unit) in enumerate((
        ("accept", "messages/s"), ("end to end", "messages/s"), ("processor", "ms/message"),
    )):  # fmt: skip
        rate = median([with_it[number] for _, with_it in pairs])
        without = median([without_it[number] for without_it, _ in pairs])
        share = median([with_it[number] / without_it[number] for without_it, with_it in pairs])
        note = f"{without:.4g} without it; {share:.0%}, the median of {ROUNDS} pairs of rounds"
        figures.append(Figure(f"{name} beside the queue", rate, unit, note))
    return figures


async def _arrived(far: Sink, messages: int) -> None:
    patience = Patience(180, "not all messages arrived")
    while far.taken().messages < messages:
        patience.check()
        await asyncio.sleep(0.02)


def _largest(stand: Stand) -> float:
    """Give the megabytes (RSS) of the largest of our processes, which is a worker; Redis is not one of them."""
    return max(use.rss for use in tree_use(stand.pid) if not use.name.startswith(("redis", "valkey"))) / 1e6


class Blocks:
    """What Redis says that took long, by the benchmark's own steps."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        redis.config_set("slowlog-log-slower-than", 1000)
        redis.config_set("slowlog-max-len", 4096)
        redis.slowlog_reset()

    def figure(self, name: str) -> Figure:
        """Give the longest since the last figure."""
        slow = self._redis.slowlog_get(4096)
        self._redis.slowlog_reset()
        longest = max(slow, key=lambda one: one["duration"], default=None)
        if longest is None:
            return Figure(f"longest block of Redis, {name}", 1.0, "ms", "less: no command took so long")
        over = sum(one["duration"] > 10_000 for one in slow)
        what = longest["command"][:60].decode(errors="replace")
        note = f"{len(slow)} of 1 ms or more, {over} over 10 ms; {what}"
        return Figure(f"longest block of Redis, {name}", longest["duration"] / 1000, "ms", note)


async def _timed(step: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    started = time.monotonic()
    result = await step()
    return time.monotonic() - started, result


async def walk(ledger: Ledger) -> list[float]:
    """Walk the whole queue as `queue list` does; gives the seconds of each page."""
    cursor, taken = "", []
    while True:
        seconds, (_, cursor) = await _timed(lambda: ledger.page(cursor))  # noqa: B023 - it is over before the next
        taken.append(seconds)
        if not cursor:
            return taken


async def _command(stand: Stand, *arguments: str) -> tuple[float, float]:
    """Run a command over the queue; gives its seconds, and the megabytes that it held at most."""
    config = stand.directory / "danepipe.toml"
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops.cli", "--config", str(config), *arguments, stdout=asyncio.subprocess.DEVNULL
    )
    most = 0.0
    ended = asyncio.create_task(process.wait())
    while not ended.done():
        most = max([most, *(use.rss / 1e6 for use in tree_use(process.pid))])
        await asyncio.wait([ended], timeout=0.2)
    if ended.result():
        raise RuntimeError(f"danepipe {' '.join(arguments)} ended with status {ended.result()}")
    return time.monotonic() - started, most


async def clock_steps(redis: Any, ledger: Ledger, what: Filling, blocks: Blocks) -> list[Figure]:
    """Measure each step of the clock on keys of their own: due mail, a sweep, and leases that are over."""
    fill(redis, what, OWN)
    redis.slowlog_reset()
    due: list[float] = []
    patience = Patience(300, "not all mail became due")
    while True:
        seconds, (moved, _) = await _timed(lambda: ledger.due(what.due))
        if not moved:
            break
        due.append(seconds)
        patience.check()
        for number in range(-(-moved // 100)):
            await ledger.claim(f"place:{ledger.first}", f"t{len(due)}-{number}", 100, _LEASE)
    moving = blocks.figure("due mail enters the first stage")
    redis.zunionstore(f"{OWN}claims", {f"{OWN}claims": 0})  # all of these leases are over
    reaped: list[float] = []
    while True:
        seconds, back = await _timed(ledger.reap)
        if not back:
            break
        reaped.append(seconds)
    reaping = blocks.figure("leases end")
    with redis.pipeline(transaction=False) as pipe:
        for number in range(what.domains):
            pipe.rpush(f"{OWN}ready:mx:d{number:08}.example:25:dane", f"MILLION{number:09}/0")
            pipe.sadd(f"{OWN}destinations", f"mx:d{number:08}.example:25:dane")
            if number % 1000 == 999 or number == what.domains - 1:
                pipe.execute()
    redis.slowlog_reset()
    first, found = await _timed(lambda: ledger.waiting_places([ledger.first]))
    second, _ = await _timed(lambda: ledger.waiting_places([ledger.first]))
    return [
        Figure("due, one step", 1000 * median(due), "ms", f"median of {len(due)}, up to 200 messages each"),
        moving,
        Figure("reap, one step", 1000 * median(reaped), "ms", f"median of {len(reaped)}, about 500 messages each"),
        reaping,
        Figure(f"sweep, {what.domains} destinations", first, "s", f"{len(found)} nudges; once more {second:.2f} s"),
        blocks.figure("sweep"),
    ]  # fmt: skip


async def _walks(stand: Stand, ledger: Ledger, blocks: Blocks) -> list[Figure]:
    pages = await walk(ledger)
    walked = blocks.figure("pages")
    counted, _ = await _timed(ledger.counts)
    listed, held = await _command(stand, "queue", "list", "--domain", "d00000001.example")
    return [
        *spread("queue list, page of 100", pages),
        walked,
        Figure("queue list, counts", 1000 * counted, "ms"),
        Figure("queue list --domain, over all", listed, "s", f"{held:.0f} MB at most"),
        blocks.figure("queue list --domain"),
    ]  # fmt: skip


def _opened(port: int, path: str) -> float:
    """Open a page of the console; gives its seconds."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} of the console was answered with {answer.status}")
    return time.monotonic() - started


async def _pages(port: int, destination: str, blocks: Blocks) -> list[Figure]:
    """Open pages of the console, which starts with the first of them."""
    await asyncio.to_thread(_opened, port, "/")
    figures = []
    for path in _PAGES:
        seconds = [await asyncio.to_thread(_opened, port, path.format(destination)) for _ in range(ROUNDS)]
        most = f"median of {ROUNDS}, {1000 * max(seconds):.0f} at most"
        figures.append(Figure(f"console page {path.format('KEY')}", 1000 * median(seconds), "ms", most))
    return [*figures, blocks.figure("console pages")]


async def _become_due(stand: Stand, far: Sink, redis: Any) -> tuple[float, float]:
    """Let a thousand become due, and wait until they are delivered; gives seconds, and the most MB of a worker."""
    before, started, most = far.taken().messages, time.monotonic(), 0.0
    groups = redis.zrange("dp:schedule", 0, DUE - 1)
    redis.zadd("dp:schedule", dict.fromkeys(groups, 1), xx=True)
    patience = Patience(180, "not all due mail arrived")
    while far.taken().messages < before + len(groups):
        patience.check()
        most = max(most, _largest(stand))
        await asyncio.sleep(0.05)
    return time.monotonic() - started, max(most, _largest(stand))


def _written(redis: Any, what: Filling) -> tuple[float, float]:
    """Fill the queue; gives the octets of Redis for each message, and the seconds it took."""
    redis.config_set("appendfsync", "no")  # the filling is not what is measured
    redis.config_set("auto-aof-rewrite-percentage", 0)
    before, started = redis.info("memory")["used_memory"], time.monotonic()
    fill(redis, what)
    each = (redis.info("memory")["used_memory"] - before) / what.messages
    seconds = time.monotonic() - started
    redis.config_set("appendfsync", "always")
    os.sync()  # what was written is on the disk before the next is measured
    return each, seconds


async def measure(messages: int = MESSAGES, domains: int = DOMAINS, load: Load = LOAD) -> list[Figure]:
    """Measure without the queue, fill it, and measure with it."""
    what = filling(messages, domains, SIZE)
    with sink([Place("127.0.0.1", 0)]) as far:
        port, console = far.ports[0], closed_port()
        settings = {**_SETTINGS, "console": {"listen": f"127.0.0.1:{console}"}}
        async with alone(port, _SETTINGS) as empty, alone(port, settings) as stand:
            for one in (empty, stand):  # everything is loaded once
                await _rate(one, far, load)
            small = _largest(stand)
            async with aclosing(connect(stand.redis_url)) as client:
                with stand.redis() as redis:
                    each, seconds = _written(redis, what)
                    blocks = Blocks(redis)
                    rates = await _rates(empty, stand, far, load)
                    beside, large = blocks.figure("mail comes and goes"), _largest(stand)
                    took, most = await _become_due(stand, far, redis)
                    entering = blocks.figure(f"{DUE} become due")
                    walks = await _walks(stand, Ledger(client), blocks)
                    pages = await _pages(console, what.destination(0), blocks)
                    steps = filling(min(messages, 20_000), domains, SIZE, timedelta(0))
                    clock = await clock_steps(redis, Ledger(client, prefix=OWN), steps, blocks)
                    fork = await _fork(redis)
    size = len(pack(what.content))
    about = f"{messages} messages to {domains} domains; {each - size:.0f} beside the content, {size} of {SIZE}"
    grown = f"{small:.0f} without the queue, {most:.0f} while {DUE} become due"
    return [
        Figure("Redis, memory per message", each, "octets", about),
        Figure("filled", messages / seconds, "messages/s", "by a script in Redis"),
        *rates,
        beside,
        Figure("largest process of danepipe, RSS", large, "MB", grown),
        Figure(f"{DUE} become due and are delivered", took, "s"),
        entering,
        *walks,
        *pages,
        *clock,
        fork,
    ]


async def _fork(redis: Any) -> Figure:
    """Have the append-only file rewritten, as Redis does by itself when it has doubled: the start of that blocks."""
    redis.bgrewriteaof()
    patience = Patience(60, "Redis did not begin to rewrite its file")
    while not redis.info("persistence")["aof_rewrite_in_progress"]:
        patience.check()
        await asyncio.sleep(0.02)
    fork = redis.info("stats")["latest_fork_usec"] / 1000
    return Figure("block of Redis as it rewrites its file", fork, "ms", "by itself, when that has doubled")


def run() -> list[Figure]:
    """Measure. Raises `NotHere` without Redis or /proc."""
    return asyncio.run(measure())
