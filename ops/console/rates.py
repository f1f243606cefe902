"""What the charts of the first page show: what happened in each slot of the last hour, for a browser that asks again.

The numbers are those of the pulse (`pipeline.store.pulse`), per second. The security of deliveries is told in three
levels, so that each can be told from the others at a glance.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from ops.api.call import json_response
from ops.console.page import Answer, Call
from pipeline.spine import utc_now
from pipeline.store.pulse import KEPT, SLOT, PulseStore, Slot

Lines = dict[str, tuple[str, tuple[str, ...]]]

MAIL: Lines = {
    "accepted": ("Accepted", ("accepted",)),
    "dane": ("DANE", ("dane", "dane-host-only")),
    "tls": ("Demanded TLS", ("verify", "encrypt")),
    "may": ("Opportunistic TLS", ("opportunistic", "other")),
    "clear": ("Clear text", ("clear",)),
}
TROUBLE: Lines = {"deferred": ("Put off", ("deferred",)), "failed": ("Failed", ("failed",))}


def line(slots: Sequence[Slot], words: Sequence[str]) -> list[float]:
    """Give what happened per second in each slot."""
    return [round(sum(slot.counts.get(word, 0) for word in words) / SLOT, 2) for slot in slots]


async def lately(call: Call, length: timedelta = KEPT) -> list[Slot]:
    """Give the slots that are over."""
    now = utc_now()
    slots = await PulseStore(call.spine.redis, prefix=call.spine.ledger.prefix).totals(now - length, now)
    return slots[:-1]  # the last one has just begun


async def show(call: Call) -> Answer:
    """Give the charts as JSON: the moments, and a line of numbers for each name."""
    slots = await lately(call)
    return json_response(
        {"at": [int(slot.at.timestamp()) for slot in slots]}
        | {name: line(slots, words) for name, (_, words) in (MAIL | TROUBLE).items()}
    )


def minutes(slots: Sequence[Slot], lines: Lines, most: int = 10) -> list[tuple[datetime, list[int]]]:
    """Give the last minutes for the table beside a chart: what happened in each, newest first."""
    sums: dict[datetime, list[int]] = {}
    for slot in slots:
        row = sums.setdefault(slot.at.replace(second=0), [0] * len(lines))
        for place, (_, words) in enumerate(lines.values()):
            row[place] += sum(slot.counts.get(word, 0) for word in words)
    return sorted(sums.items(), reverse=True)[:most]
