"""The octets of an SMTP connection: commands out, replies in, the upgrade to TLS, the content.

Commands may go in groups (RFC 2920), and replies are taken in order. What comes without a question is never taken for
a reply: clear text after the reply to STARTTLS (RFC 3207 section 6) and anything else of the kind ends the session.
Every way in which a connection ends is a `WireError` that bears its trouble.
"""

import asyncio
import errno
import re
import ssl
from collections import deque
from collections.abc import Callable, Sequence

from aiosmtplib.errors import SMTPResponseException, SMTPServerDisconnected
from aiosmtplib.response import SMTPResponse

from delivery.connection import Connection
from delivery.content import stuffed
from delivery.replies import ReplyReader, WireError, read_reply
from delivery.settings import Timeouts
from stages.attempt import Reply
from stages.plan import Trouble

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BLOCK = 65_536
# Errors of a connection that this machine cannot even try: no route, no local address, no permission, no resources.
_OURS = frozenset({
    errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EACCES, errno.EPERM,
    errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM,
})  # fmt: skip


class Wire(Connection):
    """One connection. After a `WireError` only `abort` is of use."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._reader = ReplyReader()
        self._open = 1  # replies still to come: the greeting is the first
        self._replies: deque[SMTPResponse] = deque()  # come, and not yet taken
        self.surplus = False  # more came than was asked for: the two sides no longer agree on where they are

    @classmethod
    async def dial(cls, address: str, port: int, source: str | None, seconds: float) -> "Wire":
        """Connect to an IP address, from a local one if given. Raises `WireError` with CONNECT."""
        loop = asyncio.get_running_loop()
        local = (source, 0) if source else None
        try:
            async with asyncio.timeout(seconds):
                _, wire = await loop.create_connection(lambda: cls(loop), address, port, local_addr=local)
        except TimeoutError as error:
            text = f"no connection to {address} port {port} within {seconds:g} s"
            raise WireError(Trouble.CONNECT, text) from error
        except OSError as error:
            text = f"no connection to {address} port {port}: {error.strerror or error}"
            raise WireError(Trouble.CONNECT, text, ours=error.errno in _OURS) from error
        return wire

    def _said(self, data: bytes) -> None:
        """Read replies as far as there are questions."""
        if self._end is not None or not self._open:
            self.surplus = True
            return
        reader = self._reader
        reader.feed(data)
        try:
            while self._open and (response := reader.next()) is not None:
                self._open -= 1
                self._replies.append(response)
        except SMTPResponseException as error:
            self._end = error
        if not self._open and reader.rest:
            self.surplus = True
        if self._replies or self._end is not None:
            self._wake()

    # What a session calls

    async def greeting(self, seconds: float) -> Reply:
        """Wait for the greeting. Raises `WireError`."""
        return read_reply(await self._alone("greeting", seconds), "greeting")

    async def ask(self, line: str, command: str, seconds: float) -> Reply:
        """Send a command line, wait for its reply. Raises `WireError`, and ValueError for a control character."""
        return read_reply(await self.ask_raw(line, command, seconds), command)

    async def ask_raw(self, line: str, command: str, seconds: float) -> SMTPResponse:
        """Ask, and give the reply with its lines apart. Raises as `ask` does."""
        self.send([line], command)
        return await self._alone(command, seconds)

    def send(self, lines: Sequence[str], first: str) -> None:
        """Send commands as one group (RFC 2920 section 3.1), the first of which is `first`; `answer` gives the replies.

        Replies are read while the transport sends, so that full windows cannot block both sides. Raises as `ask` does.
        """
        octets = b"".join(map(_octets, lines))
        if self.surplus and self._end is None:
            raise WireError(Trouble.PROTOCOL, f"something came before {first} was sent")
        self._open += len(lines)
        self._put(octets, first)

    async def answer(self, command: str, seconds: float) -> Reply:
        """Give the next reply, which is that to `command`. Raises `WireError`."""
        return read_reply(await self._next(command, seconds), command)

    def check_alone(self, command: str) -> None:
        """Raise `WireError` if more came than the replies asked for, of which that to `command` was the last."""
        if self.surplus:  # the next reply to be read would be that of another command
            what = "clear text" if command == "STARTTLS" else "more"
            raise WireError(Trouble.PROTOCOL, f"{what} came after the reply to {command}")

    async def _alone(self, command: str, seconds: float) -> SMTPResponse:
        response = await self._next(command, seconds)
        self.check_alone(command)
        return response

    async def _next(self, command: str, seconds: float) -> SMTPResponse:
        if not self._replies:
            deadline = self._loop.time() + seconds
            while not self._replies:
                if self._end is not None:
                    raise self._ended(command) from self._end
                if not await self._wait(deadline) and not self._replies:
                    raise WireError(Trouble.TIMEOUT, f"no reply to {command} in time")
        return self._replies.popleft()

    def _ended(self, command: str) -> WireError:
        if isinstance(self._end, SMTPResponseException):
            return WireError(Trouble.PROTOCOL, f"no SMTP reply to {command}: {self._end.message}")
        cause = f": {self.failure}" if self.failure else ""
        return WireError(Trouble.LOST, f"the connection ended before the reply to {command}{cause}")

    def _put(self, octets: bytes, command: str) -> None:
        try:
            self.write(octets)
        except SMTPServerDisconnected as error:
            raise self._ended(command) from error

    async def _room(self, seconds: float) -> None:
        """Wait until the transport takes more, a reply has come or no more will."""
        deadline = self._loop.time() + seconds
        while self._paused and not self._replies and self._end is None:
            if not await self._wait(deadline):
                raise WireError(Trouble.TIMEOUT, "the server took no more of the content in time")

    async def secure(self, context: ssl.SSLContext, name: str | None, timeouts: Timeouts) -> Reply | ssl.SSLObject:
        """Send STARTTLS; give the reply if it is not 220, else shake hands (RFC 3207 section 4).

        Raises `WireError`: PROTOCOL where anything in clear text follows the 220, HANDSHAKE where TLS fails, and
        UNTRUSTED where OpenSSL was told to verify and could not.
        """
        reply = await self.ask("STARTTLS", "STARTTLS", timeouts.command)
        if reply.code != 220:
            return reply
        return await self.shake_hands(context, name, timeouts.tls)

    async def send_content(
        self, content: bytes, timeouts: Timeouts, last_look: Callable[[], None] = lambda: None
    ) -> Reply:
        """Send `normal` content and the final dot, and wait for the reply. Raises `WireError` with `sent`.

        What `last_look` raises keeps the final dot from being sent, and the message from being taken.
        A reply that comes before the dot refuses the message if it is 4yz or 5yz; the caller must then hang up, as
        the two sides no longer agree on where they are. Any other early reply is a protocol error.
        """
        octets = stuffed(content) + b".\r\n"
        sent = False
        self._open += 1
        try:
            for start in range(0, len(octets), _BLOCK):
                if start:
                    await asyncio.sleep(0)  # lets an early reply in
                if self._paused:
                    await self._room(timeouts.block)
                if self._replies or self._end is not None:
                    break
                sent = start + _BLOCK >= len(octets)
                if sent:
                    last_look()
                self._put(octets[start : start + _BLOCK], "the content")
            reply = await self.answer("the content", timeouts.dot)
        except WireError as error:
            error.sent = sent
            raise
        if not sent and reply.code < 400:
            raise WireError(Trouble.PROTOCOL, f"a reply came before the content had been sent: {reply.code}")
        return Reply(reply.code, reply.text, reply.enhanced, "." if sent else "content")


def _octets(line: str) -> bytes:
    if not line.isprintable() and _CONTROL.search(line):
        raise ValueError("the command holds a control character")
    return line.encode() + b"\r\n"
