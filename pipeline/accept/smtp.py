"""The SMTP listener: a socket, a session for each client, a certificate where one is configured.

`Listener` runs from `start` to `close`; what is said to a client is in `session`. Several processes may share a port
(SO_REUSEPORT): the system spreads the connections among them. A certificate that cannot be loaded and a port that is in
use stop the start with a `ListenerError`. At the end messages under way are finished, and the other clients hear 421.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from pipeline import log
from pipeline.accept.channel import Channel
from pipeline.accept.session import ListenerSettings, Session, Submit

__all__ = ["Listener", "ListenerError", "ListenerSettings", "Session", "Submit", "tls_context"]


class ListenerError(Exception):
    """The listener cannot start; the text names the address or file and the cause."""


def tls_context(settings: ListenerSettings) -> ssl.SSLContext | None:
    """Load the certificate, if one is configured. Raises `ListenerError` naming the file."""
    if settings.certificate is None or settings.key is None:
        return None
    for file in (settings.certificate, settings.key):
        if not file.is_file():
            raise ListenerError(f"listen: {file}: there is no such file")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except (ssl.SSLError, OSError) as error:
        raise ListenerError(
            f"listen: {settings.certificate} and {settings.key} are no certificate with its key: {error}"
        ) from error
    return context


class Listener:
    """Listens from `start` to `close`."""

    def __init__(self, settings: ListenerSettings, submit: Submit) -> None:
        self._settings = settings
        self._submit = submit
        self._context = tls_context(settings)
        self._server: asyncio.Server | None = None
        self._sessions: dict[asyncio.Task[None], Session] = {}

    async def start(self) -> None:
        """Listen. Raises `ListenerError` when the port is in use."""
        settings = self._settings
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                self._connected, settings.address, settings.port, backlog=1024, reuse_address=True,
                reuse_port=settings.share_port or None,
            )  # fmt: skip
        except OSError as error:
            raise ListenerError(
                f"listen.smtp: cannot listen on {settings.address}:{settings.port}: {error.strerror or error}"
            ) from error
        log.emit("listener.started", address=settings.address, port=self.port, starttls=self._context is not None)

    @property
    def port(self) -> int:
        """Give the port that is listened on. Raises RuntimeError before `start`."""
        if self._server is None:
            raise RuntimeError("the listener is not started")
        return int(self._server.sockets[0].getsockname()[1])

    def _connected(self) -> Channel:
        return _ServerChannel(self._settings.timeout.total_seconds(), self._serve)

    def _serve(self, channel: Channel, peer: str) -> None:
        if len(self._sessions) >= self._settings.max_connections:
            channel.reply(421, f"4.3.2 {self._settings.hostname} has too many connections, come back later")
            task: asyncio.Task[Any] = asyncio.create_task(channel.close())
            _keep(task)
            return
        session = Session(self._settings, channel, peer, self._submit, self._context)
        task = asyncio.create_task(session.run())
        self._sessions[task] = session
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._sessions.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            log.emit("stage.error", level="error", stage="accept", group="", error=repr(task.exception()))

    async def close(self, grace: float = 5.0) -> None:
        """Take no more connections, let messages under way finish for `grace` seconds, then end all with 421."""
        if self._server is None:
            return
        self._server.close()
        tasks = dict(self._sessions)
        for task, session in tasks.items():
            session.stop()
            if not session.busy:
                task.cancel()
        if tasks:
            _, pending = await asyncio.wait(list(tasks), timeout=grace)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)


_kept: set["asyncio.Task[Any]"] = set()


def _keep(task: "asyncio.Task[Any]") -> None:
    """Hold on to a task until it is done, as the event loop alone does not."""
    _kept.add(task)
    task.add_done_callback(_kept.discard)


class _ServerChannel(Channel):
    """A channel that starts its session when the connection is made."""

    def __init__(self, timeout: float, serve: Callable[[Channel, str], None]) -> None:
        super().__init__(timeout)
        self._serve = serve
        self._served = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the session; after STARTTLS the same one goes on."""
        super().connection_made(transport)
        if not self._served:
            self._served = True
            peer = transport.get_extra_info("peername")
            self._serve(self, str(peer[0]) if peer else "")
