"""Errors as problem details (RFC 9457): what is wrong, where, and what to do about it.

`Problem` is raised wherever a request cannot be done; its answer names each faulty field in `errors`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 100  # of a request with many faults, these are named


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault: the field (as in `messages[0].recipients[2]`), header or parameter, and what is wrong with it."""

    field: str
    detail: str


class Problem(Exception):  # noqa: N818 - it is an answer
    """A request cannot be done; raised with the status, a sentence, the faulty fields, and what else to say."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[FieldError] = (),
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = HTTPStatus(status)
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.more = more

    def answer(self) -> Response:
        """Give the response."""
        told: dict[str, Any] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": str(self),
        }
        if self.errors:
            told["errors"] = [{"field": one.field, "detail": one.detail} for one in self.errors[:MAX_ERRORS]]
        return Response(
            orjson.dumps({**told, **self.more}), int(self.status), headers=self.headers, media_type=MEDIA_TYPE
        )


def faulty(field: str, detail: str, status: int = 422) -> Problem:
    """Make the problem of a single field."""
    return Problem(status, f"{field}: {detail}", [FieldError(field, detail)])
