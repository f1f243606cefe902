"""A far end that costs little: an SMTP server in a process of its own that takes every message and keeps none.

It listens on many addresses with a certificate for each, offers STARTTLS and, unless told not to, PIPELINING, and
counts. The replies to a group of commands go out together, as RFC 2920 section 3.2 asks of servers. What it costs is
not the subject of a benchmark but takes part in it, as both share the machine.
"""

import asyncio
import contextlib
import multiprocessing
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection

_EHLO = b"250-sink\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n"
_REPLIES = {
    b"MAIL": b"250 2.1.0 ok\r\n", b"RCPT": b"250 2.1.5 ok\r\n", b"RSET": b"250 2.0.0 ok\r\n", b"HELO": b"250 sink\r\n",
}  # fmt: skip
_END = b"\r\n.\r\n"


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen, with the chain and key (PEM file) to show; None for no STARTTLS."""

    address: str
    port: int
    pem: str | None = None
    pipelining: bool = True


@dataclass(frozen=True, slots=True)
class Taken:
    """Messages and connections taken so far, and when the last message was (seconds of the monotonic clock)."""

    messages: int = 0
    connections: int = 0
    last: float = 0.0


class _Counter:
    def __init__(self) -> None:
        self.messages = 0
        self.connections = 0
        self.last = 0.0


class _Session(asyncio.Protocol):
    """One connection; after STARTTLS the same object goes on over TLS."""

    def __init__(self, counter: _Counter, context: ssl.SSLContext | None, place: Place) -> None:
        self._counter = counter
        self._context = context
        self._ehlo = _EHLO + b"250-PIPELINING\r\n" if place.pipelining else _EHLO
        self._buffer = bytearray()
        self._in_data = False
        self._secure = False
        self._waiting = False  # for the transport of TLS: what comes through it before is kept
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self._replies: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_server gives no other
        self._transport = transport
        if not self._secure:
            self._counter.connections += 1
            transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._waiting:
            self._read()

    def _read(self) -> None:
        while self._take():
            pass
        if self._replies:
            self._transport.write(b"".join(self._replies))
            self._replies.clear()

    def _take(self) -> bool:
        """Take a command or a content off the buffer, if it is there as a whole."""
        if self._in_data:
            end = self._buffer.find(_END)
            if end < 0:
                return False
            del self._buffer[: end + len(_END)]
            self._in_data = False
            self._counter.messages += 1
            self._counter.last = time.monotonic()
            self._replies.append(b"250 2.0.0 taken\r\n")
            return True
        line, found, _ = self._buffer.partition(b"\r\n")
        if found:
            del self._buffer[: len(line) + 2]
            self._obey(bytes(line[:4]).upper())
        return bool(found)

    def _obey(self, verb: bytes) -> None:
        if verb == b"EHLO":
            offer = b"250-STARTTLS\r\n" if self._context is not None and not self._secure else b""
            self._replies.append(self._ehlo + offer + b"250 ENHANCEDSTATUSCODES\r\n")
        elif verb == b"DATA":
            self._in_data = True
            self._replies.append(b"354 go on\r\n")
        elif verb == b"STAR" and self._context is not None:
            self._transport.pause_reading()  # what comes next is the handshake, not a command
            self._transport.write(b"220 2.0.0 go ahead\r\n")
            self._task = asyncio.create_task(self._start_tls(self._context))
        elif verb == b"QUIT":
            self._transport.write(b"".join([*self._replies, b"221 2.0.0 bye\r\n"]))
            self._replies.clear()
            self._transport.close()
        else:
            self._replies.append(_REPLIES.get(verb, b"502 5.5.1 unknown\r\n"))

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        self._secure = self._waiting = True
        with contextlib.suppress(ssl.SSLError, ConnectionError):  # the client has gone
            made = await asyncio.get_running_loop().start_tls(self._transport, self, context, server_side=True)
            if made is not None:
                self._transport, self._waiting = made, False
                self._read()


async def _serve(pipe: Connection, places: Sequence[Place]) -> None:
    counter, loop = _Counter(), asyncio.get_running_loop()
    servers = []
    for place in places:
        context = None
        if place.pem is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(place.pem)
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((place.address, place.port))
        servers.append(
            await loop.create_server(partial(_Session, counter, context, place), sock=listener, backlog=1024)
        )
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    pipe.send(ports)
    while await asyncio.to_thread(pipe.recv):
        pipe.send(Taken(counter.messages, counter.connections, counter.last))
    for server in servers:
        server.close()


def _main(pipe: Connection, places: Sequence[Place]) -> None:
    asyncio.run(_serve(pipe, places))


@dataclass(frozen=True, slots=True)
class Sink:
    """A running sink, seen from outside. `ports` are those it listens on, in the order of the places."""

    ports: tuple[int, ...]
    _pipe: Connection

    def taken(self) -> Taken:
        """Ask what it has taken."""
        self._pipe.send("count")
        counted: Taken = self._pipe.recv()
        return counted


@contextlib.contextmanager
def sink(places: Sequence[Place]) -> Iterator[Sink]:
    """Run a sink until the block ends. Raises RuntimeError if it does not start within a minute."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_main, args=(there, tuple(places)))
    process.start()
    try:
        if not here.poll(60):
            raise RuntimeError("the sink did not start")
        yield Sink(tuple(here.recv()), here)
        here.send("")
        process.join(10)
    finally:
        if process.is_alive():
            process.kill()
            process.join()
