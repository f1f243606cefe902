"""What a server with all its processes uses: processor time and memory.

Processor time comes from a control group (version 1 or 2) into which the server is started, where one can be made: it
counts every process, also those that have ended. Elsewhere it is the sum of /proc over the tree, with the ended
children that were waited for. Memory is the highest of some sums over the tree.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from ops.bench.processes import processor_seconds, tree_use

_MOUNT = Path("/sys/fs/cgroup")
# A look at 200 processes takes 0.07 s of processor, which those who are measured lack, so the next one comes so many
# times as long after; at six processes it takes a few milliseconds, and a peak of a second is seen.
_SHARE = 50
_LEAST = 0.25  # seconds


@contextmanager
def control_group(name: str) -> Iterator[Path | None]:
    """Make a control group below that of this process, until the block ends; gives None where that cannot be."""
    made = next(filter(None, (_made(home / name) for home in _homes())), None)
    try:
        yield made
    finally:
        if made is not None:
            _remove(made)


def _homes() -> Iterator[Path]:
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):
            yield _MOUNT / "cpuacct" / path.lstrip("/")
        elif not controllers and (_MOUNT / "cgroup.controllers").exists():
            yield _MOUNT / path.lstrip("/")


def _made(group: Path) -> Path | None:
    try:
        group.mkdir()
        if os.access(group / "cgroup.procs", os.W_OK):
            _spent(group)
            return group
        group.rmdir()
    except OSError:  # not for us: it is mounted read-only, or somewhere else
        pass
    return None


def _remove(group: Path) -> None:
    until = time.monotonic() + 5
    while True:  # those who were in it have ended, but the kernel may not have forgotten them
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def _spent(group: Path) -> float:
    """Read the seconds of processor that a group has used."""
    usage = group / "cpuacct.usage"
    if usage.exists():
        return int(usage.read_text(encoding="ascii")) / 1e9
    stat = dict(line.split() for line in (group / "cpu.stat").read_text(encoding="ascii").splitlines())
    return int(stat["usage_usec"]) / 1e6


@contextmanager
def inside(group: Path | None) -> Iterator[None]:
    """Be in the group until the block ends: what is started there stays there."""
    if group is None:
        yield
        return
    _enter(group)
    try:
        yield
    finally:
        _enter(group.parent)


def _enter(group: Path) -> None:
    (group / "cgroup.procs").write_text("0", encoding="ascii")  # 0 is whoever writes


class Meter:
    """Watches one server, whose first process is `root`: `rss` and `pss` are the peaks so far, in octets."""

    def __init__(self, group: Path | None, root: int) -> None:
        self._group = group
        self._root = root
        self.rss = 0
        self.pss = 0

    def processor(self) -> float:
        """Give the seconds of processor used so far."""
        if self._group is not None:
            return _spent(self._group)
        uses = tree_use(self._root)
        return processor_seconds(uses) + sum(use.ended for use in uses)

    def look(self) -> None:
        """Take a sum of memory."""
        uses = tree_use(self._root)
        self.rss = max(self.rss, sum(use.rss for use in uses))
        self.pss = max(self.pss, sum(use.pss for use in uses))

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look again and again until the block ends, and once more at its end."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.look()

    async def _watch(self) -> None:
        while True:
            started = time.monotonic()
            await asyncio.to_thread(self.look)
            await asyncio.sleep(max(_LEAST, _SHARE * (time.monotonic() - started)))
