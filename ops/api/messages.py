"""Mail over HTTP: brought to the same door as over SMTP, and its state.

A message is answered with 202 and its id once it is durable, and never before. Back-pressure of the door is 503 with
Retry-After. With an `Idempotency-Key`, the same request again within a day is answered with the same ids and sent once,
also when the first one broke off; the key with another request is 422, and 409 while the first is still at it.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence

from starlette.responses import Response

from ops.api.call import Call, json_response
from ops.api.envelope import HEADERS, most_octets, submissions
from ops.api.problem import Problem, faulty
from ops.hands import NotThere, describe, head, stored_of
from pipeline.accept.door import StoreFull, StoreUnavailable, Submission
from pipeline.spine import new_id, utc_now
from pipeline.store.idempotency import Asked
from stages.message import MessageId

AT_A_TIME = 32  # messages of a batch under way: Redis writes to disk once for many
LONGEST_KEY = 255
FULL, AWAY = "30", "5"  # seconds after which it is worth another try (Retry-After)


async def post(call: Call) -> Response:
    """Take one message or several."""
    octets = await call.octets(most_octets(call.desk.config))
    found = await asyncio.to_thread(submissions, call.request, octets, call.desk.config, utc_now())
    messages = tuple(new_id() for _ in found)
    key = _key(call)
    if key is None:
        await _keep(call, found, messages)
        return _taken(messages)
    once, name = call.desk.once, f"{call.token.name}:{hashlib.sha256(key.encode()).hexdigest()}"
    if not await once.claim(name):
        raise Problem(
            409, "a request with this Idempotency-Key is being worked on: ask again", headers={"Retry-After": "1"}
        )
    try:
        asked = Asked(_digest(call, octets), messages)
        first = await once.ask(name, asked)
        if first.digest != asked.digest:
            raise faulty("Idempotency-Key", "was used for another request within the last day")
        if first.done:
            return _taken(first.messages, {"Idempotency-Replayed": "true"})
        try:
            await _keep(call, found, first.messages)
        except Problem as problem:
            if problem.more.get("accepted") == [] and problem.headers.get("Retry-After") == FULL:
                await once.forget(name)  # for certain, nothing of it was kept
            raise
        await once.done(name, first)
        return _taken(first.messages)
    finally:
        with contextlib.suppress(StoreUnavailable):  # the claim ends by itself, then
            await once.release(name)


def _key(call: Call) -> str | None:
    keys = call.request.headers.getlist("idempotency-key")
    if not keys:
        return None
    key = keys[0]
    if len(keys) > 1 or not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise faulty("Idempotency-Key", f"expected one of 1 to {LONGEST_KEY} printable ASCII characters")
    return key


def _digest(call: Call, octets: bytes) -> str:
    """Tell one request from another: by the body, and by the headers that say what it means."""
    made = hashlib.sha256()
    for name in ("Content-Type", *(name.lstrip("*") for name in HEADERS)):
        for value in (name, *call.request.headers.getlist(name), ""):
            made.update(value.encode() + b"\0")
    made.update(octets)
    return made.hexdigest()


async def _keep(call: Call, found: Sequence[Submission], messages: Sequence[MessageId]) -> None:
    """Keep all; raises `Problem` when some could not be, with the ids of those that were."""
    for start in range(0, len(found), AT_A_TIME):
        part = list(zip(found, messages, strict=True))[start : start + AT_A_TIME]
        outcomes = await asyncio.gather(
            *(call.desk.spine.submit(submission, message) for submission, message in part), return_exceptions=True
        )
        call.messages += [str(one) for one in outcomes if not isinstance(one, BaseException)]
        for one in outcomes:
            if isinstance(one, StoreFull):
                raise Problem(
                    503, f"the queue is full, try again later: {one}",
                    headers={"Retry-After": FULL}, accepted=call.messages,
                ) from one  # fmt: skip
            if isinstance(one, StoreUnavailable):
                raise Problem(
                    503, "the queue cannot be reached, try again later",
                    headers={"Retry-After": AWAY}, accepted=call.messages,
                ) from one  # fmt: skip
            if isinstance(one, BaseException):
                raise one


def _taken(messages: Sequence[MessageId], more: dict[str, str] | None = None) -> Response:
    headers = {"Location": f"/v1/messages/{messages[0]}"} if len(messages) == 1 else {}
    rows = [{"id": message, "location": f"/v1/messages/{message}"} for message in messages]
    return json_response({"messages": rows}, 202, **headers, **(more or {}))


async def show(call: Call) -> Response:
    """Give the state of every recipient."""
    name = call.request.path_params["id"]
    if not name.isascii() or not name.isalnum():
        raise Problem(404, "this is no message id")
    try:
        stored = await stored_of(call.desk.spine, name)
    except NotThere as error:
        raise Problem(404, f"{error}; danepipe trace {name} finds it in the log") from error
    call.messages.append(str(stored.message.id))
    rows = [describe(stored, recipient) for recipient in stored.message.recipients]
    return json_response({**head(stored), "open": stored.open, "recipients": rows})
