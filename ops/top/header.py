"""The lines above the table: the queue, the rates, and what is amiss."""

from ops.inert import inert
from ops.top.snapshot import Snapshot
from ops.top.table import figure
from pipeline.store.pulse import DELIVERED

FULL = 0.8  # of the memory that Redis may use, from which on that is told of


def queue_line(seen: Snapshot) -> str:
    """Say how much there is."""
    census = seen.census
    parts = [
        f"queue {census.queue_messages:,}",
        f"waiting {census.queue_scheduled:,}",
        f"held {census.queue_held:,}",
    ]
    parts += [f"circuits {census.circuits_open:,}"] if census.circuits_open else []
    parts += [f"parked {census.destinations_parked:,}"] if census.destinations_parked else []
    parts += [f"suspended {census.suspensions:,}"] if census.suspensions else []
    if census.oldest is not None:
        parts.append(f"oldest {census.oldest:%Y-%m-%d %H:%M} UTC")
    return "  ".join(parts)


def rate_line(seen: Snapshot) -> str:
    """Say how fast it goes, and how safely."""
    rates = seen.rates
    secured = ", ".join(f"{word} {figure(rates[word])}" for word in DELIVERED if rates.get(word))
    return (
        f"accepted {figure(rates.get('accepted', 0))}/s  "
        f"delivered {figure(seen.delivered_rate)}/s{f' ({secured})' if secured else ''}  "
        f"deferred {figure(rates.get('deferred', 0))}/s  failed {figure(rates.get('failed', 0))}/s"
    )


def alert_line(seen: Snapshot) -> str:
    """Say what is amiss; empty if nothing is known to be."""
    census = seen.census
    parts = [f"{kind}: {inert(text)}" for kind, text in seen.alerts.items()]
    limit = census.redis_memory_limit_bytes
    if limit and census.redis_memory_bytes >= FULL * limit and "pressure" not in seen.alerts:
        parts.append(f"Redis is {census.redis_memory_bytes / limit:.0%} full")
    return "  ".join(parts)
