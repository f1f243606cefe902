"""Faults of processes, of Redis and of its disk. Each is a function of a run; `ALL` in `ops.chaos` names them."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from ops.bench.figures import NotHere
from ops.chaos.pipe import LEASE, until
from ops.chaos.run import Run, World
from ops.chaos.tally import Entry
from pipeline.embedded import NoRedis

NOBODY_DIED = "nobody died who had a reply of a host in hand"
ROOM = 4_000_000  # octets of memory that Redis may use beyond what it begins with
IN_HAND = 100  # bodies that a process which dies may leave behind as orphans, for the sweep of an hour later
BALLAST = 1 << 20  # octets written at a time


@asynccontextmanager
async def _flow(run: Run, world: World, messages: int, seconds: float) -> AsyncIterator[None]:
    """Send messages, spread over so many seconds; the block hurts danepipe meanwhile."""
    sending = asyncio.create_task(world.client.send(messages, rate=messages / seconds))
    try:
        yield
        async with asyncio.timeout(run.size.patience):
            await sending
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _beat(run: Run, mean: float) -> None:
    """Let a random time pass."""
    await asyncio.sleep(run.chance.uniform(0.3, 1.7) * mean)


async def kill(run: Run) -> None:
    """SIGKILL of the listener, a worker or the clock, at random moments."""
    await _kill(run)


async def kill_files(run: Run) -> None:
    """The same with content in files, which the ledger only names."""
    with tempfile.TemporaryDirectory(prefix="danepipe-chaos-") as name:
        place = Path(name) / "content"
        await _kill(run, {"store": {"content": place.as_uri()}})
        left = [path for path in place.rglob("M*") if path.is_file()]
        run.expect(f"{len(left)} bodies are left, more than were ever in hand", true=len(left) <= run.faults * IN_HAND)


async def _kill(run: Run, settings: Mapping[str, Any] | None = None) -> None:
    size = run.size
    async with run.world(settings) as world, _flow(run, world, size.messages, size.kills * size.beat):
        world.far.delay = 0.02
        for number in range(size.kills):
            await _beat(run, size.beat)
            name = ("accept", "clock", run.chance.choice(("work1", "work2")))[number % 3]
            world.pipe.parts[name].signal(signal.SIGKILL)
            run.faults += 1


async def worker_pause(run: Run) -> None:
    """SIGSTOP of a worker at a random moment, for longer than its lease; then SIGCONT, and it goes on where it was."""
    size = run.size
    seconds = size.pauses * 1.5 * (LEASE + size.beat)
    async with run.world() as world, _flow(run, world, size.messages // 2, seconds):
        world.far.delay = 0.1
        for _ in range(size.pauses):
            await _beat(run, size.beat)
            part = world.pipe.parts[run.chance.choice(("work1", "work2"))]
            part.signal(signal.SIGSTOP)
            await asyncio.sleep(run.chance.uniform(1.2, 1.6) * LEASE)
            part.signal(signal.SIGCONT)
            run.faults += 1


async def redis_kill(run: Run) -> None:
    """SIGKILL of Redis, which is started again from its append-only file."""
    size = run.size
    before = run.tally.copies()
    async with run.world() as world, _flow(run, world, size.messages // 2, size.redis_kills * size.beat * 3):
        world.far.delay = 0.02
        for _ in range(size.redis_kills):
            await _beat(run, size.beat * 2)
            await world.pipe.kill_redis()
            run.faults += 1
    run.no_copies(before, NOBODY_DIED)


async def redis_pause(run: Run) -> None:
    """SIGSTOP of Redis in the middle of the work, for longer than a lease; then SIGCONT."""
    before = run.tally.copies()
    async with run.world() as world, _flow(run, world, run.size.some * 2, 4.0 + run.size.pause):
        world.far.delay = 0.05
        await until(lambda: world.client.accepted > run.size.some // 4, 60, "no mail is accepted")
        os.kill(world.pipe.redis.pid, signal.SIGSTOP)
        await asyncio.sleep(run.size.pause)
        os.kill(world.pipe.redis.pid, signal.SIGCONT)
        run.faults += 1
    run.no_copies(before, NOBODY_DIED)


async def redis_full(run: Run) -> None:
    """Redis has no memory left for new mail, and then none for anything."""
    size = run.size
    before = run.tally.copies()
    async with run.world(octets=40_000) as world, world.pipe.spine() as spine:
        world.far.delay = 0.1
        used = (await spine.redis.info("memory"))["used_memory"]
        await spine.redis.config_set("maxmemory", used + ROOM)
        async with _flow(run, world, 3 * size.some, 1.0):
            await until(lambda: any(one.sent and not one.id for one in _all(run)), 60, "the door is never closed")
            await spine.redis.config_set("maxmemory", 1)  # not even a lease can be prolonged
            await asyncio.sleep(min(size.pause, 10.0))
            await spine.redis.config_set("maxmemory", used + ROOM)
            await asyncio.sleep(1.0)
            await spine.redis.config_set("maxmemory", 0)
            run.faults += 2
    run.no_copies(before, NOBODY_DIED)


async def disk_full(run: Run) -> None:
    """The disk under the append-only file is full: Redis ends rather than lose what it would answer."""
    before = run.tally.copies()
    with tempfile.TemporaryDirectory(prefix="danepipe-chaos-") as name, _small_disk(Path(name)) as disk:
        settings = {"backpressure": {"min_disk_free": 0}}  # else the door is closed long before
        messages = run.size.some * 3
        async with (
            run.world(settings, octets=4000, directory=Path(name)) as world,
            _flow(run, world, messages, 6.0),
        ):
            await until(lambda: world.client.accepted > run.size.some // 4, 60, "no mail is accepted")
            ballast, ended = disk / "ballast", asyncio.create_task(world.pipe.redis.ended())
            _fill(ballast)
            await asyncio.wait({ended}, timeout=3.0)  # the next write ends it
            run.expect("Redis went on without its disk", true=ended.done())
            ended.cancel()
            ballast.unlink()
            with contextlib.suppress(NoRedis):
                await world.pipe.redis.start()
            run.faults += 1
    run.no_copies(before, NOBODY_DIED)


def _all(run: Run) -> list[Entry]:
    return list(run.tally.entries.values())


@contextmanager
def _small_disk(directory: Path) -> Iterator[Path]:
    """Put a file system of few octets where Redis will write. Raises `NotHere` for who may not mount one."""
    place = directory / "var" / "redis"
    place.mkdir(parents=True)
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None or os.geteuid():
        raise NotHere("a small disk needs root, and the command mount")
    made = subprocess.run(  # noqa: S603 - a command of the system
        [mount, "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        raise NotHere(f"no small disk can be mounted here: {made.stderr.decode(errors='replace').strip()}")
    try:
        yield place
    finally:
        subprocess.run([umount, "-l", str(place)], check=False)  # noqa: S603 - as above


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(BALLAST))
