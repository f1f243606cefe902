"""The application of the HTTP API: its routes, and its answers to what goes wrong.

Every request of an operation is an event (`api.request`) with the name of the token, the answer and the ids of the
messages. What raises unforeseen is a fault of ours, answered with 500 and logged. A client that takes longer than
`api.timeout` over the head of a request is cut off (`ops.serving`); over the body it hears 408.
"""

import socket
from collections.abc import Awaitable, Sequence

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ops.api.call import Call, Desk, Operation
from ops.api.document import document, page
from ops.api.guard import Guard, check
from ops.api.messages import AWAY, FULL
from ops.api.problem import Problem
from ops.api.table import OPERATIONS
from ops.inert import inert
from ops.serving import serve
from pipeline import log
from pipeline.spine import Spine, utc_now
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.idempotency import IdempotencyStore
from pipeline.store.tokens import TokenStore

_SAFE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class _Resource:
    """One path: chooses the operation by the method, and turns what is raised into answers."""

    def __init__(self, desk: Desk, guard: Guard, operations: Sequence[Operation]) -> None:
        self._desk = desk
        self._guard = guard
        self._operations = {operation.method: operation for operation in operations}

    def _operation(self, method: str) -> Operation:
        if method not in self._operations:
            allowed = ", ".join(sorted(self._operations))
            raise Problem(405, f"this path knows {allowed}", headers={"Allow": allowed})
        return self._operations[method]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        who, messages, text = "", [], ""
        try:
            operation = self._operation(request.method)
            token = await self._guard.token(request)
            who = token.name
            check(token, operation.scope)
            call = Call(self._desk, request, token)
            messages = call.messages
            if not operation.query.model_fields:
                call.query(operation.query)
            answer = await operation.handler(call)
        except Problem as problem:
            answer, text = problem.answer(), str(problem)
        except StoreFull as error:
            answer = Problem(503, f"the queue is full: {error}", headers={"Retry-After": FULL}).answer()
        except StoreUnavailable as error:
            log.emit("redis.unavailable", level="error", text=str(error))
            text = "the queue cannot be reached, try again later"
            answer = Problem(503, text, headers={"Retry-After": AWAY}).answer()
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours: the client may try again
            log.emit("stage.error", level="error", stage="api", group="", error=repr(error))
            answer, text = Problem(500, "an error on our side, try again later").answer(), "a fault of ours"
        log.emit(
            "api.request", level="info" if answer.status_code < 400 else "warning", who=who,
            peer=request.client.host if request.client else "", method=inert(request.method)[:20],
            path=inert(request.url.path)[:200], status=answer.status_code, messages=messages, text=inert(text)[:500],
        )  # fmt: skip
        answer.headers.update(_SAFE)
        await answer(scope, receive, send)


def application(spine: Spine) -> Starlette:
    """Make the application."""
    desk = Desk(spine.config, spine, IdempotencyStore(spine.redis))
    guard = Guard(TokenStore(spine.redis), utc_now)
    paths: dict[str, list[Operation]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, []).append(operation)
    described = orjson.dumps(document(OPERATIONS))
    shown, policy = page()

    async def openapi(_request: Request) -> Response:
        return Response(described, media_type="application/json", headers=_SAFE)

    async def docs(_request: Request) -> Response:
        return Response(shown, media_type="text/html", headers={**_SAFE, "Content-Security-Policy": policy})

    # a pattern may hold a slash, in a local part
    routes = [
        Route(path.replace("{pattern}", "{pattern:path}"), _Resource(desk, guard, operations))
        for path, operations in paths.items()
    ]
    routes += [Route("/openapi.json", openapi), Route("/docs", docs)]
    made = Starlette(routes=routes, exception_handlers={404: _elsewhere, 405: _elsewhere})
    made.router.redirect_slashes = False
    return made


async def _elsewhere(_request: Request, error: Exception) -> Response:
    """Answer for what is no operation."""
    known = isinstance(error, HTTPException) and error.status_code == 405
    detail = "this path is only read" if known else "there is nothing here: see /docs"
    headers = {**_SAFE, **(getattr(error, "headers", None) or {})}
    return Problem(405 if known else 404, detail, headers=headers).answer()


async def serve_api(spine: Spine, ended: Awaitable[object], opened: socket.socket) -> None:
    """Serve on the socket until `ended` is done."""
    settings = spine.config.api
    address, port = opened.getsockname()[:2]
    log.emit("api.started", address=address, port=port, tls=settings.certificate is not None)
    await serve(application(spine), settings, ended, opened)
