"""All faults by name, in the order in which they run; and in `GROUPS`, which hurt one danepipe one after the other."""

from collections.abc import Awaitable, Callable, Mapping

from ops.chaos import faults, names, peers
from ops.chaos.run import Run

Scenario = Callable[[Run], Awaitable[None]]

ALL: Mapping[str, Scenario] = {
    "kill": faults.kill,
    "kill-files": faults.kill_files,
    "worker-pause": faults.worker_pause,
    "fenced": peers.fenced,
    "redis-kill": faults.redis_kill,
    "redis-pause": faults.redis_pause,
    "redis-full": faults.redis_full,
    "disk-full": faults.disk_full,
    "remote-drop": peers.drop,
    "remote-stall": peers.stall,
    "remote-reset": peers.reset,
    "clocks": peers.clocks,
    "resolver-dead": names.dead,
    "resolver-lies": names.lies,
    "resolver-slow": names.slow,
}


async def _redis(run: Run) -> None:
    """Where no copy is allowed at all."""
    async with run.together():
        for name in ("redis-kill", "redis-pause", "redis-full", "remote-reset"):
            await ALL[name](run)


async def _workers(run: Run) -> None:
    """Where replies of hosts are lost."""
    async with run.together(peers.IMPATIENT):
        for name in ("kill", "worker-pause", "remote-drop", "remote-stall"):
            await ALL[name](run)


async def _time(run: Run) -> None:
    """Where clocks are set, and time passes unseen."""
    async with run.together(clocks=True):
        for name in ("fenced", "clocks"):
            await ALL[name](run)


async def _resolver(run: Run) -> None:
    """Where the resolver is at fault."""
    await names.resolver(run, names.Manner.DEAD, names.Manner.LIES, names.Manner.SLOW)


GROUPS: Mapping[str, Scenario] = {
    "workers": _workers, "redis": _redis, "disk": faults.disk_full, "time": _time, "resolver": _resolver,
}  # fmt: skip
