"""The page of one destination: what keeps its mail, how it goes, the plan in use, and the mail that waits.

What others said is shown as it is, and inert.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ops import bound
from ops.api.call import json_response
from ops.console import forms
from ops.console.chores import PATIENCE
from ops.console.destinations import KINDS, address
from ops.console.page import Answer, Call
from ops.destinations import Destinations, Detail, Standstill
from ops.explain_views import demand_text, record_text
from ops.hands import NotThere
from pipeline.spine import utc_now
from pipeline.store.chores import Chore, ChoreStore
from pipeline.store.gates import Kind
from pipeline.store.pulse import DELIVERED, RING, Pulse, PulseStore
from stages.destination import Destination, RouteKind
from stages.plan import DaneDemand, Host

ROWS = 50  # groups of recipients of a page
LINES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "delivered": ("Delivered", DELIVERED), "deferred": ("Put off", ("deferred",)), "failed": ("Failed", ("failed",)),
}  # fmt: skip
FIELDS = ("reason", "expires")


def target(call: Call) -> Destination:
    """Give the destination that the path names. Raises `NotThere`."""
    try:
        return Destination.parse(call.path("key"))
    except ValueError as error:
        raise NotThere(f"{error}.") from error


def minutes(pulse: Pulse, now: datetime) -> list[tuple[datetime, list[int]]]:
    """Give what happened in each of the last minutes; the last one is still running."""
    counts, last = dict(pulse.minutes), now.replace(second=0, microsecond=0)
    return [
        (at, [sum(counts.get(at, {}).get(word, 0) for word in words) for _, words in LINES.values()])
        for at in (last - timedelta(minutes=back) for back in reversed(range(RING)))
    ]


async def pulse(call: Call) -> Answer:
    """Give the last minutes as JSON, for the chart."""
    (found,) = await PulseStore(call.spine.redis, prefix=call.spine.ledger.prefix).of([target(call).key])
    rows = minutes(found, utc_now())
    lines = {name: [counts[number] for _, counts in rows] for number, name in enumerate(LINES)}
    return json_response({"at": [int(at.timestamp()) for at, _ in rows], **lines})


async def show(call: Call) -> Answer:
    """Show all about it."""
    return await page(call, dict.fromkeys(FIELDS, ""), {})


async def page(call: Call, given: Mapping[str, str], wrong: Mapping[str, str]) -> Mapping[str, Any]:
    """Make the page, with what stood in the form that suspends, and what was wrong there."""
    one, start = target(call), forms.place(call)
    detail = await Destinations(call.spine).detail(one.key, ROWS, start)
    if detail is None:
        raise NotThere(f"{one.key} is no destination.")
    row, chore = detail.row, await ChoreStore(call.spine.redis, prefix=call.spine.ledger.prefix).of(one.key)
    on = start + ROWS
    return {
        "title": one.name, "one": one, "row": row, "detail": detail, "kinds": KINDS, "why": _why(detail),
        "path": address(one.key), "here": address(one.key) + (f"?cursor={start}" if start else ""),
        "own": _is_own(detail, one), "chore": chore if chore and _matters(chore) else None,
        "chore_text": told(chore) if chore else "",
        "under_way": chore is not None and chore.is_under_way(utc_now()),
        "held": await bound.count_held(call.spine, one.key), "can_hold": one.kind is RouteKind.MX,
        "lines": LINES, "minutes": minutes(detail.pulse, utc_now()), "plan": detail.plan,
        "demand": lambda host: demand_text(host.demand), "records": _records, "facts": _facts,
        "first": start + 1, "next": str(on) if on < row.backlog else "", "given": given,
        "wrong": dict.fromkeys(FIELDS, "") | dict(wrong),
    }  # fmt: skip


def _matters(chore: Chore) -> bool:
    """Tell whether a page is to speak of a chore: what was over within its request has been told of already."""
    return chore.cut or chore.ended is None or chore.ended - chore.begun > timedelta(seconds=PATIENCE)


def _why(detail: Detail) -> str:
    """Say what keeps the mail, beyond the word for it."""
    row, halt = detail.row, detail.suspension
    if halt is not None:
        by = f", by {halt.owner}" if halt.owner else ""
        return f"{halt.kind} {halt.name} is suspended{by}{f': {halt.reason}' if halt.reason else '.'}"
    if row.state is Standstill.PARKED:
        return "No certificate matched the TLSA records, twice: the destination is left alone, and then tried anew."
    if row.state is Standstill.CIRCUIT:
        return "The address that was tried last could not be reached and is left alone; see the addresses below."
    return ""


def _is_own(detail: Detail, one: Destination) -> bool:
    """Tell whether what suspends it is about it alone, so that it can be ended here."""
    halt = detail.suspension
    return halt is not None and halt.kind is Kind.DESTINATION and halt.name == one.name


def _records(host: Host) -> Sequence[str]:
    demand = host.demand
    return [record_text(record) for record in demand.records] if isinstance(demand, DaneDemand) else []


def _facts(facts: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    return [(name.replace("_", " "), str(value)) for name, value in facts.items() if value not in ("", None)]


_DONE = {
    "retry": "set free for another try", "hold": "held", "release": "released", "bounce": "returned to their senders",
}  # fmt: skip
_LEFT = {
    "busy": "were being worked on and left alone", "settled": "were settled already", "unknown": "were gone",
    "unfit": "were not fit for it",
}  # fmt: skip


def told(chore: Chore) -> str:
    """Say what came of a chore so far."""
    moved = chore.counts.get("moved", 0)
    of = f" of {chore.named:,}" if chore.named and (chore.named != moved or chore.ended is None) else ""
    text = (
        f"{moved:,}{of} recipient{'s' if (chore.named or moved) != 1 else ''} {_DONE.get(chore.action, chore.action)}"
    )
    text += "".join(f"; {number:,} {_LEFT.get(word, word)}" for word, number in chore.counts.items() if word != "moved")
    missing = chore.named - chore.done
    if chore.cut:
        return f"{text}. It was broken off when the console ended or failed; what was not done waits as before."
    if chore.ended is not None and missing > 0:
        text += f"; {missing:,} no longer waited"
    return f"{text}."
