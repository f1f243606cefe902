"""What an operation of the API is given, what it is described by, and what it gives.

The table of operations (`ops.api.table`) is both what is served and what the OpenAPI document is made of, so that the
two cannot differ.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ops.api.body import Body, Nothing, json_of, made, query, read
from pipeline.config import Config
from pipeline.spine import Spine
from pipeline.store.idempotency import IdempotencyStore
from pipeline.store.tokens import Token

SMALL = 1 << 20  # octets of a body that brings no mail


@dataclass(frozen=True, slots=True)
class Desk:
    """What the operations work with, for the life of the process."""

    config: Config
    spine: Spine
    once: IdempotencyStore


@dataclass(slots=True)
class Call:
    """One request by one token. `messages` are the ids that it is about, for the log."""

    desk: Desk
    request: Request
    token: Token
    messages: list[str] = field(default_factory=list)

    async def octets(self, most: int = SMALL) -> bytes:
        """Read the body. Raises `Problem`."""
        return await read(self.request, most, self.desk.config.api.timeout)

    async def body(self, model: type[Any]) -> Any:
        """Read the body as a model. Raises `Problem`."""
        return made(model, json_of(self.request, await self.octets()))

    def query(self, model: type[Any]) -> Any:
        """Read the parameters of the query. Raises `Problem`."""
        return query(self.request, model)


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path: who may, what it reads, what it gives, and what else it may answer."""

    method: str
    path: str
    scope: str
    summary: str
    handler: Handler
    gives: Mapping[int, str]  # status -> what it means
    problems: Sequence[int] = ()
    bodies: Mapping[str, Sequence[type[Body]]] = field(default_factory=dict)  # media type -> models; none: octets
    query: type[Body] = Nothing
    headers: Mapping[str, str] = field(default_factory=dict)  # header -> meaning; "*" in front: must be given
    answer: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})  # its JSON Schema


def json_response(value: Any, status: int = 200, **headers: str) -> Response:
    """Give plain values as JSON."""
    return Response(
        orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS), status, headers=headers, media_type="application/json"
    )
