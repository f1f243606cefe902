"""A mail host of the lab: a small SMTP server whose behaviour a scenario sets.

It speaks enough of RFC 5321, 3207, 1870, 2034, 2920, 3461, 6152 and 6531 for real clients, and nothing it does is
hidden: `Inbox` keeps every message with what was seen of the connection (TLS version, server name asked for, greeting).
A host whose behaviour says `listens=False` refuses connections.
"""

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ops.lab.scenario import Behaviour, Starttls

_LINE_LIMIT = 1 << 20
_EXTENSIONS = ("PIPELINING", "SIZE 104857600", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "CHUNKING")
_ALERT = bytes([21, 3, 3, 0, 2, 2, 40])  # a fatal handshake_failure (RFC 8446 section 6)


@dataclass(frozen=True, slots=True)
class Received:
    """A message that a host took. `tls` is the version, empty in the clear; `sni` the server name asked for."""

    host: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    tls: str
    sni: str
    helo: str
    at: datetime

    def as_json(self) -> dict[str, Any]:
        """Give it in values that JSON can hold."""
        return {
            "host": self.host, "sender": self.sender, "recipients": list(self.recipients), "tls": self.tls,
            "sni": self.sni, "helo": self.helo, "at": self.at.isoformat(),
            "content": self.content.decode("utf-8", "backslashreplace"),
        }  # fmt: skip


@dataclass(slots=True)
class Inbox:
    """What the hosts of a lab have seen: messages taken, connections made, and every command line, by host."""

    messages: list[Received] = field(default_factory=list)
    connections: dict[str, int] = field(default_factory=dict)
    commands: dict[str, list[str]] = field(default_factory=dict)
    greylisted: set[tuple[str, str, str]] = field(default_factory=set)


class Mailhost:
    """One host. `listener` is a bound socket, `pem` its certificate chain and key."""

    def __init__(self, name: str, behaviour: Behaviour, pem: str, inbox: Inbox) -> None:
        self.name = name
        self.behaviour = behaviour
        self.inbox = inbox
        self._pem = pem
        self._context: ssl.SSLContext | None = None
        self.sni: dict[int, str] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, listener: socket.socket) -> None:
        """Take connections from a bound socket."""
        self._server = await asyncio.start_server(self._connected, sock=listener, limit=_LINE_LIMIT)

    async def close(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def context(self) -> ssl.SSLContext:
        """Give the TLS settings, read from the file when the first client wants TLS."""
        if self._context is None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(self._pem)
            self._context.sni_callback = self._named
        return self._context

    def _named(self, wire: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
        del context
        self.sni[id(wire)] = name or ""

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.inbox.connections[self.name] = self.inbox.connections.get(self.name, 0) + 1
        try:
            await _Conversation(self, reader, writer).run()
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # the client has gone or speaks no TLS: there is nobody to tell
        finally:
            writer.close()


class _Conversation:
    """One connection."""

    def __init__(self, host: Mailhost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer
        self._helo = self._sender = self._tls = self._sni = ""
        self._recipients: list[str] = []

    async def run(self) -> None:
        """Speak until the client or the behaviour ends it."""
        greeting = self._host.behaviour.greeting
        await self._say(greeting or f"220 {self._host.name} ESMTP lab")
        if greeting:
            return
        seen = self._host.inbox.commands.setdefault(self._host.name, [])
        going = True
        while going:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                return
            text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
            seen.append(text)
            verb, _, rest = text.partition(" ")
            going = await self._obey(verb.upper(), rest)

    async def _say(self, *lines: str) -> None:
        code = lines[0][:3]
        texts = [lines[0][4:], *lines[1:]]
        wire = [f"{code}{' ' if text is texts[-1] else '-'}{text}\r\n" for text in texts]
        self._writer.write("".join(wire).encode())
        await self._writer.drain()

    async def _obey(self, verb: str, rest: str) -> bool:
        match verb:
            case "EHLO" | "HELO":
                return await self._greet(verb, rest)
            case "STARTTLS":
                return await self._secure()
            case "MAIL":
                return await self._mail(rest)
            case "RCPT":
                return await self._rcpt(rest)
            case "DATA":
                return await self._data()
            case "BDAT":
                await self._say("502 5.5.1 use DATA")
                return False
            case "RSET" | "NOOP":
                self._recipients = [] if verb == "RSET" else self._recipients
                await self._say("250 2.0.0 ok")
            case "QUIT":
                await self._say("221 2.0.0 bye")
                return False
            case _:
                await self._say("502 5.5.1 unknown command")
        return True

    async def _greet(self, verb: str, name: str) -> bool:
        self._helo = name
        offered = [extension for extension in _EXTENSIONS if extension != "CHUNKING"]
        if not self._tls and self._host.behaviour.starttls is not Starttls.ABSENT:
            offered.append("STARTTLS")
        await self._say(f"250 {self._host.name}", *(offered if verb == "EHLO" else ()))
        return True

    async def _secure(self) -> bool:
        match self._host.behaviour.starttls:
            case Starttls.ABSENT:
                await self._say("502 5.5.1 unknown command")
            case Starttls.REFUSED:
                await self._say("454 4.7.0 TLS not available due to temporary reason")
            case Starttls.BROKEN:
                await self._say("220 2.0.0 go ahead")
                await self._reader.read(1)  # the client begins its handshake, and gets an alert
                self._writer.write(_ALERT)
                await self._writer.drain()
                return False
            case Starttls.WORKS:
                await self._say("220 2.0.0 go ahead")
                await self._writer.start_tls(self._host.context)
                wire = self._writer.get_extra_info("ssl_object")
                self._tls, self._sni = wire.version(), self._host.sni.pop(id(wire), "")
                self._helo, self._recipients = "", []
        return True

    async def _mail(self, rest: str) -> bool:
        self._sender, self._recipients = _path(rest), []
        await self._say(self._host.behaviour.mail or "250 2.1.0 ok")
        return True

    async def _rcpt(self, rest: str) -> bool:
        behaviour = self._host.behaviour
        recipient = _path(rest)
        if behaviour.closes:
            await self._say(behaviour.closes)
            return False
        triple = (self._host.name, self._sender, recipient)
        if behaviour.greylisting and triple not in self._host.inbox.greylisted:
            self._host.inbox.greylisted.add(triple)
            await self._say("450 4.7.1 greylisted, come back later")
            return True
        reply = behaviour.recipients.get(recipient.partition("@")[0], "")
        if not reply:
            self._recipients.append(recipient)
        await self._say(reply or "250 2.1.5 ok")
        return True

    async def _data(self) -> bool:
        if not self._recipients:
            await self._say("554 5.5.1 no valid recipients")
            return True
        await self._say("354 end with a dot")
        lines: list[bytes] = []
        while (line := await self._reader.readline()) != b".\r\n":
            if not line.endswith(b"\n"):
                return False
            lines.append(line[1:] if line.startswith(b".") else line)
        reply = self._host.behaviour.dot
        if not reply:
            self._host.inbox.messages.append(
                Received(
                    self._host.name, self._sender, tuple(self._recipients), b"".join(lines), self._tls, self._sni,
                    self._helo, datetime.now(UTC),
                )
            )  # fmt: skip
        self._recipients = []
        await self._say(reply or "250 2.0.0 kept")
        return True


def _path(rest: str) -> str:
    """Take the address out of `FROM:<...>` or `TO:<...>`."""
    return rest.partition("<")[2].partition(">")[0]


def free_port(addresses: list[str], tries: int = 50) -> tuple[int, list[socket.socket]]:
    """Bind one port, the same and free at every address, and give it with the bound sockets. Raises OSError."""
    for _ in range(tries):
        port, sockets = 0, []
        for address in addresses:
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):  # taken at this address: the count below shows it
                one.bind((address, port))
                port = one.getsockname()[1]
                sockets.append(one)
                continue
            one.close()
            break
        if len(sockets) == len(addresses):
            return port, sockets
        for one in sockets:
            one.close()
    raise OSError("no port is free at every address of the lab")
