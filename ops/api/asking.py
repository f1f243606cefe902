"""`explain` over HTTP: the whole decision for an address, without sending anything.

Each question asks DNS anew, so that a few at a time are answered and the others wait.
"""

import asyncio
from typing import Literal

from pydantic import Field
from starlette.responses import Response

from ops.api.body import Body
from ops.api.call import Call, json_response
from ops.api.problem import faulty
from ops.cli.explain import explained
from ops.explain_views import as_json
from pipeline.accept.address import AddressError, parse_address
from stages.message import Address, Origin

_turns = asyncio.Semaphore(4)


class Question(Body):
    """Whose mail is asked about."""

    address: str = Field(min_length=1, max_length=512, description="recipient")
    sender: str = Field("", max_length=512, description="sender, for rules that look at it; default: the null sender")
    source: Literal["send", "smtp", "sendmail", "api", "bounce"] = Field("api", description="way in, for such rules")


async def explain(call: Call) -> Response:
    """Explain what would become of mail to an address, and why."""
    asked: Question = call.query(Question)
    recipient = _address("address", asked.address)
    sender = None if asked.sender in {"", "<>"} else _address("sender", asked.sender)
    async with _turns:
        found = await explained(call.desk.config, recipient, sender, Origin(asked.source), connecting=False)
    return json_response(as_json(found))


def _address(field: str, text: str) -> Address:
    try:
        return parse_address(text)
    except AddressError as error:
        raise faulty(field, str(error)) from error
