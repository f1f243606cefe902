"""The body of a request: read within bounds of size and time, and made into what was asked for.

Too large is 413, too slow 408, another media type 415, no JSON 400, and JSON that says something else than the model
422, with every faulty field named. Unknown fields are faults: one that is misspelt would be passed over otherwise.
"""

import asyncio
from datetime import timedelta
from typing import Any, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from ops.api.problem import FieldError, Problem, faulty

T = TypeVar("T", bound="Body")
_CLOSE = {"Connection": "close"}


class Body(BaseModel):
    """What every model of a request has: no unknown fields, and no value of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that do not print, such as line breaks")
    return text


PRINTABLE = AfterValidator(_printable)  # for what goes into reports and logs


def media_type(request: Request) -> str:
    """Give the media type of the body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read(request: Request, most: int, patience: timedelta) -> bytes:
    """Read the body."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise faulty("Content-Encoding", "a body is taken as it is, without compression", 415)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > most:
        raise _too_large(most)
    parts, size = [], 0
    try:
        async with asyncio.timeout(patience.total_seconds()):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise _too_large(most)
                parts.append(part)
    except TimeoutError:
        raise Problem(
            408, f"the body did not arrive within {patience.total_seconds():g} seconds", headers=_CLOSE
        ) from None
    return b"".join(parts)


def _too_large(most: int) -> Problem:
    return Problem(413, f"the body may have {most} octets at most", headers=_CLOSE)


def json_of(request: Request, octets: bytes) -> Any:
    """Read JSON."""
    if media_type(request) != "application/json":
        raise faulty("Content-Type", "expected application/json", 415)
    try:
        return orjson.loads(octets)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"the body is no JSON: {error}") from error


def made(model: type[T], value: Any) -> T:
    """Make what was asked for."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        errors = [FieldError(_field(one["loc"]), one["msg"].removeprefix("Value error, ")) for one in error.errors()]
        first = errors[0]
        raise Problem(422, f"{first.field or 'body'}: {first.detail}", errors) from error


def _field(place: tuple[int | str, ...]) -> str:
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


class Nothing(Body):
    """No parameters."""


def query(request: Request, model: type[T]) -> T:
    """Read the parameters of the query; one that is given twice is a fault."""
    pairs = request.query_params.multi_items()
    values = dict(pairs)
    if len(values) != len(pairs):
        name = next(name for name in values if sum(one == name for one, _ in pairs) > 1)
        raise faulty(name, "is given twice")
    return made(model, values)
