"""All faults by name, in the order in which they run."""

from collections.abc import Awaitable, Callable, Mapping

from ops.chaos import faults, names, peers
from ops.chaos.run import Run

ALL: Mapping[str, Callable[[Run], Awaitable[None]]] = {
    "kill": faults.kill,
    "redis-kill": faults.redis_kill,
    "redis-pause": faults.redis_pause,
    "redis-full": faults.redis_full,
    "disk-full": faults.disk_full,
    "remote-drop": peers.drop,
    "remote-stall": peers.stall,
    "remote-reset": peers.reset,
    "clocks": peers.clocks,
    "worker-pause": faults.worker_pause,
    "fenced": peers.fenced,
    "resolver-dead": names.dead,
    "resolver-lies": names.lies,
    "resolver-slow": names.slow,
}
