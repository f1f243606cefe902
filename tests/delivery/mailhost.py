"""A mail host that does as a script says: replies by command, TLS with given certificates, drops, silence, injection.

It is a real TCP server on loopback. A test gives a `Script`, and reads afterwards what each connection saw: `lines`
(the commands, with where TLS and the content came), `content` (octets between DATA and the final dot, as sent) and
`sni`. Replies are text without the line end; several lines in one text make a multi-line reply when they begin with
their own code. A reply may be one of the marks below instead.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import cast

DROP = "<drop>"  # close the connection instead of a reply
SILENCE = "<silence>"  # never reply
EHLO = "250-mail.test\n250-SIZE 10000000\n250-8BITMIME\n250-SMTPUTF8\n250-DSN\n250-ENHANCEDSTATUSCODES"
PLAIN_EHLO = "250 mail.test"


@dataclass
class Script:
    """What a host says. `replies` by command line prefix, longest first; a list is used up in order, its last stays."""

    greeting: str = "220 mail.test ESMTP"
    ehlo: str = EHLO
    ehlo_tls: str | None = None  # EHLO inside TLS, if it differs
    starttls: bool | None = None  # listed in EHLO; None: if there is something to say to it
    context: ssl.SSLContext | None = None
    starttls_reply: str = "220 go ahead"
    inject: bytes = b""  # clear text right behind the STARTTLS reply
    replies: dict[str, str | list[str]] = field(default_factory=dict)
    dot: str | list[str] = "250 2.0.0 queued"
    early: str = ""  # a reply within the content, before its end, and the connection is closed
    deaf: bool = False  # read nothing of the content
    late: float = 0.0  # read nothing of it for so many seconds
    stall: float = 0.0  # seconds of thought about each command
    drop_content: bool = False  # close within the content
    close_after_dot: bool = False  # reply to the dot, then close
    reached: asyncio.Event = field(default_factory=asyncio.Event)  # a content has come in whole
    used: dict[str, int] = field(default_factory=dict)  # how far each list of replies has been used up


@dataclass
class Seen:
    """What one connection saw."""

    lines: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    sni: str | None = None
    tls: bool = False
    unasked: bytes = b""  # what came while the host kept silent

    def commands(self, verb: str) -> list[str]:
        """Give the command lines that begin with a verb."""
        return [line for line in self.lines if line.upper().startswith(verb)]


@dataclass
class MailHost:
    """A running host."""

    address: str
    port: int
    script: Script
    seen: list[Seen] = field(default_factory=list)


@asynccontextmanager
async def mailhost(script: Script, address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[MailHost]:
    """Run a host until the block ends."""
    made: MailHost
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        seen = Seen()
        made.seen.append(seen)
        try:
            await _Conversation(script, seen, reader, writer).run()
        except (OSError, EOFError):  # the client went, or TLS failed: the test reads it from the client's side
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(serve, address, port, limit=2**24)
    made = MailHost(address, server.sockets[0].getsockname()[1], script)
    try:
        yield made
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@contextmanager
def unanswered() -> Iterator[int]:
    """Give a port of 127.0.0.1 whose connections are never answered: its queue is full, and what comes is dropped."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)  # noqa: FBT003 - socket's own signature
            one.connect_ex(listening.getsockname())
            waiting.append(one)
        yield listening.getsockname()[1]
        for one in waiting:
            one.close()


class _Conversation:
    def __init__(self, script: Script, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._script = script
        self._seen = seen
        self._reader = reader
        self._writer = writer
        self._used = script.used

    async def run(self) -> None:
        if not await self._say(self._script.greeting):
            return
        while line := await self._reader.readline():
            text = line.decode("utf-8").rstrip("\r\n")
            self._seen.lines.append(text)
            if self._script.stall:
                await asyncio.sleep(self._script.stall)
            if not await self._obey(text):
                return

    async def _obey(self, text: str) -> bool:
        verb = text.partition(" ")[0].upper()
        scripted = self._scripted(text)
        if scripted is not None:
            going_on = await self._say(scripted)
            return going_on and (verb != "DATA" or not scripted.startswith("354") or await self._content())
        if verb == "EHLO":
            return await self._say(self._ehlo())
        if verb == "STARTTLS":
            return await self._start_tls()
        if verb == "DATA":
            return await self._say("354 go on") and await self._content()
        if verb == "QUIT":
            await self._say("221 bye")
            return False
        return await self._say("250 2.1.0 fine" if verb in {"HELO", "MAIL", "RCPT", "RSET"} else "500 what")

    def _scripted(self, text: str) -> str | None:
        for prefix in sorted(self._script.replies, key=len, reverse=True):
            if text.upper().startswith(prefix.upper()):
                return self._next(prefix, self._script.replies[prefix])
        return None

    def _next(self, key: str, given: str | list[str]) -> str:
        if isinstance(given, str):
            return given
        turn = self._used.get(key, 0)
        self._used[key] = turn + 1
        return given[min(turn, len(given) - 1)]

    def _ehlo(self) -> str:
        script = self._script
        if self._seen.tls:
            return _numbered(script.ehlo_tls or script.ehlo)
        listed = script.starttls
        if listed is None:
            listed = bool(script.context) or "STARTTLS" in script.replies or script.starttls_reply[:3] != "220"
        return _numbered(f"{script.ehlo}\n250-STARTTLS" if listed else script.ehlo)

    async def _start_tls(self) -> bool:
        script = self._script
        if not script.starttls_reply.startswith("220"):
            return await self._say(script.starttls_reply)
        self._writer.write(script.starttls_reply.encode() + b"\r\n" + script.inject)
        await self._writer.drain()
        if script.context is None:
            return False
        script.context.sni_callback = self._take_name
        await self._writer.start_tls(script.context)
        self._seen.tls = True
        self._seen.lines.append("<tls>")
        return True

    def _take_name(self, _connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        self._seen.sni = name

    async def _content(self) -> bool:
        script = self._script
        if script.early:
            await self._reader.readexactly(1)
            await self._say(script.early)
            await self._reader.read()
            return False
        if script.deaf:
            cast(asyncio.ReadTransport, self._writer.transport).pause_reading()
            await asyncio.Event().wait()
        if script.late:
            transport = cast(asyncio.ReadTransport, self._writer.transport)
            transport.pause_reading()
            asyncio.get_running_loop().call_later(script.late, transport.resume_reading)
        if script.drop_content:
            await self._reader.readexactly(1)
            return False
        lines: list[bytes] = []
        while not (lines and lines[-1] == b".\r\n" and (len(lines) == 1 or lines[-2].endswith(b"\r\n"))):
            lines.append(await self._reader.readline())
            if not lines[-1]:
                return False
        self._seen.contents.append(b"".join(lines[:-1]))
        self._seen.lines.append("<content>")
        script.reached.set()
        return await self._say(self._next("<dot>", script.dot)) and not script.close_after_dot

    async def _say(self, text: str) -> bool:
        if text == DROP:
            return False
        if text == SILENCE:
            with contextlib.suppress(OSError):  # piece by piece: a reset at the end takes nothing of it away
                while piece := await self._reader.read(65_536):
                    self._seen.unasked += piece
            return False
        self._writer.write(text.replace("\n", "\r\n").encode("latin-1") + b"\r\n")
        await self._writer.drain()
        return not text.startswith("421")


def _numbered(text: str) -> str:
    """Make the last line of a multi-line reply its end."""
    *before, last = text.split("\n")
    return "\n".join([*(f"{line[:3]}-{line[4:]}" for line in before), f"{last[:3]} {last[4:]}"])
