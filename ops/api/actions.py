"""An operator's hand on the queue and on the exclusions, over HTTP: what the commands do, by the same code.

What cannot be taken back (`bounce`, `drop`) wants the number of recipients as a confirmation: without it, or with
another one, the answer is 409 with the number that fits now. Never more than the confirmed number are touched.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Literal, cast

from pydantic import Field
from starlette.responses import Response

from ops import entries
from ops.api.body import PRINTABLE, Body
from ops.api.call import Call, json_response
from ops.api.problem import FieldError, Problem, faulty
from ops.entries import exclusion_row, expiry, pattern_of, suspension_name, suspension_row
from ops.hands import HANDS, Hand, NotThere, Outcome, a_label, act, wanted
from pipeline.spine import utc_now
from pipeline.store.changes import Stored
from pipeline.store.gates import Kind, Suspension
from stages.exclude import Exclusion
from stages.message import Recipient

MOST_ROWS = 1000  # recipients that are told of one by one
CONFIRMED = frozenset({"bounce", "drop"})

Target = Annotated[str, Field(pattern=r"^[0-9A-Z]{1,40}(/[0-9]{1,6}(\+[0-9]{1,6})?)?$")]
Reason = Annotated[str, Field(max_length=500), PRINTABLE]
Owner = Annotated[str, Field(max_length=200), PRINTABLE]
End = Annotated[str, Field(max_length=40)]


class Chosen(Body):
    """Which recipients are meant: by message, by domain, or all."""

    messages: list[Target] = Field([], max_length=1000, description="message ids, or recipients of one: ID/0")
    domain: Annotated[str, Field(max_length=255), PRINTABLE] = Field("", description="all recipients of this domain")
    all: bool = Field(default=False, description="all recipients in the queue")
    reason: Reason = Field("", description="why; stands in the log and in a report")
    confirm: int | None = Field(
        None, ge=0, lt=1 << 53, description="how many recipients this is for; bounce and drop need it"
    )


class Halt(Body):
    """What is to wait, or to go on."""

    kind: Literal["destination", "site", "sender"] = Field(description="what name is of")
    name: Annotated[str, Field(min_length=1, max_length=400), PRINTABLE] = Field(
        description="domain or host, *.NAME for all below; of a sender an address or *@DOMAIN"
    )
    reason: Reason = Field("", description="why")
    owner: Owner = Field("", description="who asked for it")
    expires: End | None = Field(None, description="day, time or duration, after which mail goes on by itself")


class Entry(Body):
    """A recipient, or many, to whom DANE does not apply."""

    pattern: Annotated[str, Field(min_length=1, max_length=400), PRINTABLE] = Field(
        description="user@example.com, *@example.com or *@*.example.com"
    )
    reason: Reason = Field("", description="why")
    owner: Owner = Field("", description="who asked for it")
    expires: End | None = Field(None, description="day, time or duration, after which it does not count")
    until_passing: bool = Field(default=False, description="let the clock end it when the domain passes DANE again")


def queue(name: str) -> Callable[[Call], Awaitable[Response]]:
    """Make the operation of a hand."""
    (hand,) = [one for one in HANDS if one.name == name]

    async def do(call: Call) -> Response:
        chosen: Chosen = await call.body(Chosen)
        if not chosen.messages and not chosen.domain and not chosen.all:
            raise faulty("messages", "name messages, a domain or all")
        (domain,) = _checked(domain=(a_label, chosen.domain)) if chosen.domain else ("",)
        found: list[Outcome] = []
        counts = {"moved": 0, "busy": 0, "settled": 0, "unfit": 0, "unknown": 0}

        def tell(came: Outcome) -> None:
            counts[came.outcome] = counts.get(came.outcome, 0) + 1
            if len(found) < MOST_ROWS:
                found.append(came)

        def search() -> AsyncIterator[tuple[Stored, Recipient]]:
            return wanted(call.desk.spine, tuple(chosen.messages), domain, everything=chosen.all)

        try:
            most = await _confirmed(hand, chosen, search()) if hand.name in CONFIRMED else None
            await act(call.desk.spine, hand, _first(search(), most), tell, why=chosen.reason, who=call.token.name)
        except NotThere as error:
            raise Problem(404, str(error)) from error
        rows = [
            {"id": one.recipient.id, "recipient": str(one.recipient.address), "outcome": one.outcome, "text": one.text}
            for one in found
        ]
        return json_response({"action": hand.name, "counts": counts, "recipients": rows})

    return do


async def _confirmed(hand: Hand, chosen: Chosen, found: AsyncIterator[Any]) -> int:
    count = 0
    async for _ in found:
        count += 1
    if chosen.confirm != count:
        raise Problem(
            409, f"{hand.name} is for {count} recipients and cannot be taken back: say confirm = {count}", count=count
        )
    return count


async def _first(
    found: AsyncIterator[tuple[Stored, Recipient]], most: int | None
) -> AsyncIterator[tuple[Stored, Recipient]]:
    count = 0
    async for one in found:
        count += 1
        if most is not None and count > most:
            return
        yield one


def suspension_of(halt: Halt) -> Suspension:
    """Make a suspension of what was given. Raises `Problem` with every faulty field."""
    now, kind = utc_now(), Kind(halt.kind)
    name, end = _checked(
        name=(partial(suspension_name, kind), halt.name), expires=(partial(expiry, now=now), halt.expires)
    )
    return Suspension(kind, name, halt.reason, halt.owner, now, end)


async def suspend(call: Call) -> Response:
    """Let mail wait in place."""
    halt: Halt = await call.body(Halt)
    entry = suspension_of(halt)
    new = await entries.suspend(call.desk.spine, entry, call.token.name)
    return json_response({**suspension_row(entry), "replaced": not new})


async def resume(call: Call) -> Response:
    """Let suspended mail go on at once."""
    halt: Halt = await call.body(Halt)
    kind = Kind(halt.kind)
    (name,) = _checked(name=(partial(suspension_name, kind), halt.name))
    entry = Suspension(kind, name)
    if not await entries.resume(call.desk.spine, entry, call.token.name):
        raise Problem(404, f"{entry.kind} {entry.name} is not suspended")
    return json_response(suspension_row(entry))


def _checked(**texts: tuple[Callable[[Any], Any], Any]) -> list[Any]:
    """Read texts, each in its own way. Raises `Problem` with every one that could not be read."""
    read: list[Any] = []
    faults: list[FieldError] = []
    for field, (reader, text) in texts.items():
        try:
            read.append(reader(text))
        except ValueError as error:
            faults.append(FieldError(field, str(error)))
    if faults:
        raise Problem(422, f"{faults[0].field}: {faults[0].detail}", faults)
    return read


def exclusion_of(given: Entry) -> Exclusion:
    """Make an exclusion of what was given. Raises `Problem` with every faulty field."""
    now = utc_now()
    pattern, end = _checked(pattern=(pattern_of, given.pattern), expires=(partial(expiry, now=now), given.expires))
    made = partial(Exclusion, pattern, given.reason, given.owner, now, end, "command")
    (entry,) = _checked(until_passing=(lambda wanted: made(until_passing=wanted), given.until_passing))
    return cast("Exclusion", entry)


async def exclusions(call: Call) -> Response:
    """List the exclusions of the configuration and those that were added while danepipe runs."""
    now = utc_now()
    listed = await call.desk.spine.exclusions.beside(call.desk.config.exclusions())
    return json_response({"exclusions": [{**exclusion_row(one), "live": one.is_live(now)} for one in listed]})


async def add_exclusion(call: Call) -> Response:
    """Exclude recipients."""
    given: Entry = await call.body(Entry)
    entry = exclusion_of(given)
    new = await entries.exclude(call.desk.spine, entry, call.token.name)
    return json_response(exclusion_row(entry), 201 if new else 200)


async def remove_exclusion(call: Call) -> Response:
    """Remove an exclusion that was added while danepipe runs."""
    (pattern,) = _checked(pattern=(pattern_of, call.request.path_params["pattern"]))
    if await entries.include(call.desk.spine, pattern, call.token.name):
        return Response(status_code=204)
    if any(entry.pattern == pattern for entry in call.desk.config.exclusions()):
        raise Problem(409, f"{pattern} stands in the configuration: remove it there")
    raise Problem(404, f"there is no exclusion {pattern}")
