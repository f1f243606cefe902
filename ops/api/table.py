"""The operations of the API, in the order of its document: what is served, and what the document says of it."""

from collections.abc import Mapping
from typing import Any

from ops.api import actions, messages
from ops.api.asking import Question, explain
from ops.api.call import Operation
from ops.api.envelope import HEADERS, RAW, Batch, Mail

JSON = "application/json"


def _object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


_TEXT = {"type": "string"}
_COUNT = {"type": "integer"}
_ROWS = {"type": "array", "items": {"type": "object"}}
_TAKEN = _object(messages={"type": "array", "items": _object(id=_TEXT, location=_TEXT)})
_STATE = _object(
    message=_TEXT, sender=_TEXT, accepted=_TEXT, source=_TEXT, size=_COUNT, open=_COUNT,
    recipients={"type": "array", "items": _object(id=_TEXT, recipient=_TEXT, state=_TEXT, attempts=_COUNT)},
)  # fmt: skip
_DONE = _object(action=_TEXT, counts={"type": "object"}, recipients=_ROWS)
_SUSPENSION = _object(kind=_TEXT, name=_TEXT, reason=_TEXT, owner=_TEXT, expires=_TEXT)
_EXCLUSION = _object(pattern=_TEXT, reason=_TEXT, owner=_TEXT)
_HANDS = {
    "hold": "Keep mail back until it is released",
    "release": "Let held mail go on",
    "retry": "Try mail again now",
    "bounce": "Return mail to its sender with a report; wants `confirm`",
    "drop": "Throw mail away without a report; wants `confirm`",
}

OPERATIONS = (
    Operation(
        "POST", "/v1/messages", "send", "Bring one message or several", messages.post,
        {202: "kept durably"}, (408, 409, 413, 415, 422), {JSON: (Mail, Batch), RAW: ()},
        headers={"Idempotency-Key": "the same request with the same key is done once within a day", **HEADERS},
        answer=_TAKEN,
    ),
    Operation(
        "GET", "/v1/messages/{id}", "read", "Show the state of every recipient of a message", messages.show,
        {200: "in the queue, or settled within ten minutes"}, (404, 422), answer=_STATE,
    ),
    *(
        Operation(
            "POST", f"/v1/queue/{name}", "queue", summary, actions.queue(name),
            {200: "what came of it for each recipient"}, (404, 408, 409, 413, 415, 422), {JSON: (actions.Chosen,)},
            answer=_DONE,
        )
        for name, summary in _HANDS.items()
    ),
    Operation(
        "POST", "/v1/queue/suspend", "queue", "Let mail to a destination or host, or of a sender, wait in place",
        actions.suspend, {200: "suspended"}, (408, 413, 415, 422), {JSON: (actions.Halt,)}, answer=_SUSPENSION,
    ),
    Operation(
        "POST", "/v1/queue/resume", "queue", "Let suspended mail go on at once",
        actions.resume, {200: "resumed"}, (404, 408, 413, 415, 422), {JSON: (actions.Halt,)}, answer=_SUSPENSION,
    ),
    Operation(
        "GET", "/v1/explain", "explain", "Explain what would become of mail to an address", explain,
        {200: "the whole decision, as danepipe explain --json gives it"}, (422,), query=Question,
    ),
    Operation(
        "GET", "/v1/exclusions", "exclude", "List the recipients to whom DANE does not apply", actions.exclusions,
        {200: "all entries"}, (422,), answer=_object(exclusions=_ROWS),
    ),
    Operation(
        "POST", "/v1/exclusions", "exclude", "Exclude recipients from DANE", actions.add_exclusion,
        {201: "added", 200: "replaced"}, (408, 413, 415, 422), {JSON: (actions.Entry,)}, answer=_EXCLUSION,
    ),
    Operation(
        "DELETE", "/v1/exclusions/{pattern}", "exclude", "Remove an exclusion that was added while danepipe runs",
        actions.remove_exclusion, {204: "removed"}, (404, 409, 422),
    ),
)  # fmt: skip
