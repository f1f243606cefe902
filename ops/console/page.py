"""How a page of the console is declared, what its handler is given, and what it gives.

A page is a row of `ops.console.table.PAGES`. Its handler is `async def handler(call: Call)` and gives a mapping, with
which the template of the page is rendered, or a response: `call.go(path, said)` after something was done, so that a
reload does it no second time. A page whose method is POST is asked with a form that holds `{{ csrf() }}`, which is
checked before the handler runs, as are the origin and, where `acts`, the role. Templates extend `base.html` and take
tables, times, paging and confirmations from `macros.html`. Everything they print is escaped, with control characters
made visible. `Refused` becomes a page that says why; Redis that is away becomes one with 503, all else one with 500.
"""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from ops.api.body import read
from ops.api.problem import Problem
from ops.console.chores import Chores
from ops.console.visitors import Visitor
from pipeline.config import Config
from pipeline.spine import Spine

FORM = 1 << 16  # octets of a form
FIELDS = 2000  # fields of a form
SAID = "danepipe_said"  # the cookie with what the next page is to say
_LONGEST_SAID = 600  # characters: a cookie of more than 4096 octets is not kept


class Refused(Exception):  # noqa: N818 - it is an answer
    """The request cannot be done; the text says why, to the person who made it."""

    def __init__(self, status: int, text: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = dict(headers or {})


class Form:
    """The fields of a form, as text. A field that was not sent is empty."""

    def __init__(self, fields: Sequence[tuple[str, str]] = ()) -> None:
        self._fields = tuple(fields)

    def text(self, name: str, default: str = "") -> str:
        """Give the first value of a field, without blanks around it."""
        return next((value.strip() for one, value in self._fields if one == name), default)

    def exact(self, name: str) -> str:
        """Give the first value of a field as it was sent."""
        return next((value for one, value in self._fields if one == name), "")

    def all(self, name: str) -> tuple[str, ...]:
        """Give every value of a field."""
        return tuple(value.strip() for one, value in self._fields if one == name)

    @classmethod
    async def of(cls, request: Request, config: Config) -> "Form":
        """Read the form of a request. Raises `Refused`."""
        try:
            octets = await read(request, FORM, config.console.timeout)
        except Problem as problem:
            raise Refused(int(problem.status), str(problem), headers=problem.headers) from problem
        try:
            return cls(parse_qsl(octets.decode(), keep_blank_values=True, errors="strict", max_num_fields=FIELDS))
        except ValueError as error:  # UnicodeDecodeError is one
            raise Refused(400, "this is no form as browsers send it") from error


@dataclass(slots=True)
class Call:
    """One request by one visitor. `who` is the name that events of what it does are written with.

    `chores` does what takes longer than a request.
    """

    spine: Spine
    request: Request
    visitor: Visitor
    chores: Chores
    form: Form = field(default_factory=Form)

    @property
    def config(self) -> Config:
        """Give the settings."""
        return self.spine.config

    @property
    def who(self) -> str:
        """Give the name of who asks."""
        return self.visitor.name

    @property
    def cursor(self) -> str:
        """Give where the page of a list begins: what the macro `pager` was given; empty at its beginning."""
        return self.query("cursor")

    @property
    def peer(self) -> str:
        """Give the address that the request came from."""
        return self.request.client.host if self.request.client else ""

    def query(self, name: str, default: str = "") -> str:
        """Give a parameter of the query, without blanks around it."""
        return str(self.request.query_params.get(name, default)).strip()

    def path(self, name: str) -> str:
        """Give a part of the path that the page has in braces."""
        return str(self.request.path_params[name])

    @asynccontextmanager
    async def turn(self, seats: asyncio.Semaphore) -> AsyncIterator[None]:
        """Wait for a seat among few. Raises `ClientDisconnect` where the visitor has left meanwhile."""
        async with seats:
            if await self.request.is_disconnected():
                raise ClientDisconnect
            yield

    def go(self, path: str, said: str = "", kind: str = "good") -> Response:
        """Send the browser to a page of ours, which says what was done (`kind`: good, warn or bad)."""
        response = RedirectResponse(path, 303)
        if said:
            value = base64.urlsafe_b64encode(orjson.dumps([kind, said[:_LONGEST_SAID]])).decode()
            response.set_cookie(SAID, value, max_age=60, httponly=True, samesite="strict", secure=self.secure)
        return response

    @property
    def secure(self) -> bool:
        """Tell whether the browser speaks TLS to us, or to the proxy before us."""
        return self.request.url.scheme == "https"


def said(request: Request) -> tuple[str, str] | None:
    """Read what the page before this one left to be said: its kind, and the text."""
    value = request.cookies.get(SAID)
    if not value:
        return None
    try:
        kind, text = orjson.loads(base64.urlsafe_b64decode(value))
    except (ValueError, binascii.Error, TypeError):
        return None
    return (kind if kind in ("good", "warn", "bad") else "warn"), str(text)


Answer = Mapping[str, Any] | Response
Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Page:
    """One method of one path. `nav`: its word in the navigation, if it stands there; `open`: it needs no login.

    `acts`: it changes something, so that a visitor whose role only reads may not.
    """

    method: str
    path: str
    handler: Handler
    template: str = ""
    title: str = ""
    nav: str = ""
    acts: bool = False
    open: bool = False
