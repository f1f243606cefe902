"""One look at everything: the queue, the rates of the last half minute, what is amiss, and destinations.

Raises `StoreUnavailable`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from ops.destinations import Destinations, Row
from pipeline.spine import Spine, utc_now
from pipeline.store.census import Census, take
from pipeline.store.pulse import DELIVERED, SLOT, PulseStore

RATED = timedelta(seconds=30)  # over which rates are taken
BEHIND = timedelta(seconds=6)  # after which all processes have told of a time
SHOWN = timedelta(minutes=15)  # of a curve


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was seen. `rates` are a second, by the words of the pulse; curves have a number a slot, oldest first."""

    at: datetime
    census: Census
    rates: Mapping[str, float]
    accepted: tuple[float, ...]
    delivered: tuple[float, ...]
    alerts: Mapping[str, str]
    rows: tuple[Row, ...]

    @property
    def delivered_rate(self) -> float:
        """Give recipients delivered a second."""
        return sum(self.rates.get(word, 0.0) for word in DELIVERED)

    def values(self) -> dict[str, Any]:
        """Give it as plain values, for JSON."""
        census = asdict(self.census)
        oldest = self.census.oldest
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "queue": {**census, "oldest": None if oldest is None else oldest.isoformat(timespec="seconds")},
            "per_second": {word: round(rate, 3) for word, rate in self.rates.items()},
            "alerts": dict(self.alerts),
            "destinations": [row.values() for row in self.rows],
        }


async def look(spine: Spine, sought: str = "") -> Snapshot:
    """Look; with a text, at the destinations whose name holds it, else at those that are worth it."""
    now = utc_now()
    view = Destinations(spine)
    pulse = PulseStore(spine.redis, prefix=spine.ledger.prefix)
    census, slots, alerts, rows = await asyncio.gather(
        take(spine.redis, spine.ledger.prefix),
        pulse.totals(now - SHOWN, now),
        pulse.alerts(),
        view.sought(sought) if sought else view.foremost(),
    )
    told = [slot for slot in slots if slot.at + timedelta(seconds=SLOT) <= now - BEHIND]
    last = told[-int(RATED.total_seconds()) // SLOT :]
    rates: dict[str, float] = {}
    for slot in last:
        for word, number in slot.counts.items():
            rates[word] = rates.get(word, 0.0) + number / RATED.total_seconds()
    return Snapshot(
        now, census, rates,
        tuple(slot.counts.get("accepted", 0) / SLOT for slot in told),
        tuple(sum(slot.counts.get(word, 0) for word in DELIVERED) / SLOT for slot in told),
        alerts, tuple(rows),
    )  # fmt: skip
