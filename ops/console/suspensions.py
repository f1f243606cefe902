"""The page of the suspensions: which mail waits in place until an operator resumes it, and how much.

What is suspended or resumed here is what `danepipe queue suspend` and `resume` do.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from ops import entries
from ops.api.actions import Halt, suspension_of
from ops.api.body import made
from ops.api.problem import Problem
from ops.console import forms
from ops.console.history import history
from ops.console.page import Answer, Call, Refused
from ops.entries import suspension_name
from ops.hands import NotThere
from pipeline.spine import utc_now
from pipeline.store.gates import Kind, Suspension

ROWS = 50  # of a page: for each it is counted what waits
_FIELDS = ("kind", "name", "reason", "owner", "expires")
_EVENT = "queue.action"
KINDS = {
    Kind.DESTINATION: "destination: a domain",
    Kind.SITE: "site: a host",
    Kind.SENDER: "sender: an address",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One suspension, and how many groups of recipients were found to wait for it."""

    entry: Suspension
    live: bool
    waiting: int


async def show(call: Call) -> Answer:
    """Show what is suspended."""
    blank = dict.fromkeys(_FIELDS, "")
    return await _page(call, blank, blank)


async def add(call: Call) -> Answer:
    """Let mail wait in place."""
    given = forms.given(call, _FIELDS)
    try:
        entry = suspension_of(made(Halt, forms.terms(call, given)))
    except Problem as problem:
        return await _page(call, given, forms.wrong(problem, given, ("name",)))
    new = await entries.suspend(call.spine, entry, call.who)
    done = "suspended" if new else "replaced the suspension that was there"
    return call.go("/suspensions", f"{entry.kind} {entry.name}: {done}.")


async def resume(call: Call) -> Answer:
    """Let suspended mail go on, after it was asked whether that is meant."""
    try:
        kind = Kind(call.form.text("kind"))
        wanted = Suspension(kind, suspension_name(kind, call.form.text("name")))
    except ValueError as error:
        raise Refused(422, f"{error}.") from error
    if call.form.text("confirm") == "yes":
        if await entries.resume(call.spine, wanted, call.who):
            return call.go("/suspensions", f"{kind} {wanted.name}: resumed.")
    else:
        board = await call.spine.gates.board()
        kept = [entry for entry in board.suspensions if entry.id == wanted.id]
        if kept:
            return {"asked": Row(kept[0], kept[0].is_live(utc_now()), await call.spine.gates.counts(wanted))}
    raise NotThere(f"{kind} {wanted.name} is not suspended.")


async def _page(call: Call, given: Mapping[str, str], wrong: Mapping[str, str]) -> Answer:
    now, start = utc_now(), forms.place(call)
    listed = (await call.spine.gates.board()).suspensions
    shown = listed[start : start + ROWS]
    counts = await asyncio.gather(*map(call.spine.gates.counts, shown))
    rows = [Row(entry, entry.is_live(now), count) for entry, count in zip(shown, counts, strict=True)]
    return {
        "asked": None, "rows": rows, "count": len(listed), "given": given, "wrong": wrong, "kinds": KINDS,
        "next": str(start + ROWS) if start + ROWS < len(listed) else "",
        "history": await history(call.config, _EVENT, "target"),
    }  # fmt: skip
