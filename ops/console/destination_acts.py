"""What is done with a destination: retry, hold, release, suspend, resume, and bounce all of its mail.

Each is what the command of that name does, to the recipients that wait for the destination. It goes on beside the
requests (`ops.console.chores`). Never more recipients than were named are touched, and no mail is bounced that came in
after it was asked about.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from ops import bound, entries
from ops.api.actions import Chosen, Halt, suspension_of
from ops.api.body import made
from ops.api.problem import Problem
from ops.console import forms
from ops.console.chores import UnderWay
from ops.console.destination import FIELDS, page, target, told
from ops.console.destinations import address
from ops.console.page import Answer, Call, Refused
from ops.hands import HANDS, Hand, NotThere
from pipeline.spine import utc_now
from pipeline.store.chores import Chore
from pipeline.store.gates import Kind, Suspension
from stages.destination import Destination

_HANDS: Mapping[str, Hand] = {hand.name: hand for hand in HANDS}
_NOTHING = {
    "retry": "Nothing waits for {name}.", "hold": "Nothing waits for {name}.", "release": "Nothing is held for {name}.",
}  # fmt: skip


def _reason(call: Call) -> str:
    """Read why, by the same rule as the HTTP API does. Raises `Refused`."""
    try:
        return made(Chosen, {"reason": call.form.text("reason")}).reason
    except Problem as problem:
        raise Refused(422, f"{problem}.") from problem


async def _begin(call: Call, one: Destination, hand: Hand, named: int, until: datetime | None = None) -> Response:
    """Begin it, and say on the page of the destination what came of it so far."""
    why, now, place = _reason(call), utc_now(), address(one.key)
    is_release = hand.name == "release"
    found = bound.held(call.spine, one.key) if is_release else bound.waiting(call.spine, one.key, until)
    try:
        chore = await call.chores.begin(one.key, hand, found, Chore(hand.name, call.who, named, now, now, {}), why)
    except UnderWay as error:
        raise Refused(409, f"Something else is being done for {one.name}: wait until that has ended.") from error
    if chore.ended is None:
        return call.go(place, f"Begun: {hand.name}, for {f'{named:,} recipients' if named else 'all that is held'}.")
    if not (chore.done or chore.cut or named):
        return call.go(place, _NOTHING[hand.name].format(name=one.name), "warn")
    fine = not chore.cut and chore.counts.get("moved", 0) == (named or chore.done)
    return call.go(place, told(chore), "good" if fine else "warn")


def at_once(name: str) -> Callable[[Call], Awaitable[Answer]]:
    """Make the handler of what needs no confirmation."""

    async def do(call: Call) -> Answer:
        one = target(call)
        counted = await (bound.count_held if name == "release" else bound.count)(call.spine, one.key)
        if counted == 0:
            return call.go(address(one.key), _NOTHING[name].format(name=one.name), "warn")
        return await _begin(call, one, _HANDS[name], counted or 0)

    return do


async def ask(call: Call) -> Answer:
    """Say how many recipients would be returned, and ask whether that is meant; nothing is changed."""
    return await _asked(call, target(call), "")


async def _asked(call: Call, one: Destination, wrong: str) -> Mapping[str, Any]:
    now = utc_now()  # before it is counted: what comes in from then on is left alone
    count = await bound.count(call.spine, one.key)
    return {
        "title": f"Bounce all mail for {one.name}", "one": one, "count": count, "wrong": wrong,
        "path": address(one.key), "reason": call.form.text("reason"), "asked": now.isoformat(),
    }  # fmt: skip


async def bounce(call: Call) -> Answer:
    """Return what waits to the senders, if the name was typed or the box was ticked."""
    one, named = target(call), call.form.text("named")
    if not (named.isdecimal() and named.isascii() and 0 < len(named) < 16 and int(named)):
        raise Refused(422, "The form does not say how many recipients it was for. Nothing was done.")
    try:
        asked = datetime.fromisoformat(call.form.text("asked"))
    except ValueError as error:
        raise Refused(422, "The form does not say when it was made. Nothing was done.") from error
    asked = asked if asked.tzinfo else asked.replace(tzinfo=UTC)
    if call.form.text("sure") != "yes" and call.form.text("name").rstrip(".").lower() != one.name:
        return await _asked(call, one, "Type the name of the destination, or tick the box. Nothing was done.")
    return await _begin(call, one, _HANDS["bounce"], int(named), asked)


async def suspend(call: Call) -> Answer:
    """Let its mail wait in place."""
    one, given = target(call), forms.given(call, FIELDS)
    try:
        entry = suspension_of(made(Halt, {"kind": "destination", "name": one.name, **forms.terms(call, given)}))
    except Problem as problem:
        wrong = forms.wrong(problem, given, ())
        return await page(call, given, wrong if wrong.keys() & set(FIELDS) else {"expires": f"{problem}."})
    new = await entries.suspend(call.spine, entry, call.who)
    return call.go(address(one.key), f"Mail to {one.name} waits in place{'' if new else ', as before, by new terms'}.")


async def resume(call: Call) -> Answer:
    """Let its mail go on."""
    one = target(call)
    if not await entries.resume(call.spine, Suspension(Kind.DESTINATION, one.name), call.who):
        raise NotThere(f"destination {one.name} is not suspended.")
    return call.go(address(one.key), f"Mail to {one.name} goes on.")
