"""An HTTP server of ours, on a socket that is open (`ops.listening`), and its patience with whoever sends a request.

The HTTP API and the web console are served by it. A client that takes longer than `timeout` over the head of a request
is cut off.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.served import Served

GRACE = 5  # seconds for requests under way, at the end


class _Server(uvicorn.Server):
    """A server that leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def _protocol(patience: float) -> type[H11Protocol]:
    """Make a protocol that cuts off clients whose request has no end of its head in time."""

    class Patient(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._timer = self.loop.call_later(patience, transport.close)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._leave()
            elif self._timer is None:
                self._timer = self.loop.call_later(patience, self.transport.close)

        def connection_lost(self, exc: Exception | None) -> None:
            self._leave()
            super().connection_lost(exc)

        def _leave(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Patient


async def serve(made: ASGIApp, settings: Served, ended: Awaitable[object], opened: socket.socket) -> None:
    """Serve on the socket until `ended` is done, then let requests under way finish for some seconds."""
    server = _Server(
        uvicorn.Config(
            made,
            http=_protocol(settings.timeout.total_seconds()),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trust_proxy),
            forwarded_allow_ips=list(settings.trust_proxy),
            limit_concurrency=settings.max_connections,
            timeout_graceful_shutdown=GRACE,
            h11_max_incomplete_event_size=1 << 16,
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.key,
        )
    )
    running = asyncio.create_task(server.serve(sockets=[opened]))
    ending = asyncio.ensure_future(ended)
    await asyncio.wait({running, ending}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await running
