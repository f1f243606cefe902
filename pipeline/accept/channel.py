"""The octets of a client: lines in, a message in, replies out.

Only CRLF ends a line and only CRLF.CRLF ends a message (RFC 5321 sections 2.3.8 and 4.1.1.4). Everything is bounded:
the line, the message, the time of silence, and what is read ahead of the work.
"""

import asyncio
import ssl
from collections.abc import Callable

READ_AHEAD = 262_144
MAX_LINE = 998  # octets without CRLF (RFC 5321 section 4.5.3.1.6)


def has_bare_ends(content: bytes) -> bool:
    """Tell whether a CR or LF stands alone (RFC 5321 section 2.3.8)."""
    pairs = content.count(b"\r\n")
    return content.count(b"\n") != pairs or content.count(b"\r") != pairs


def has_long_line(content: bytes) -> bool:
    """Tell whether a line is longer than SMTP carries."""
    start = 0
    while len(content) - start > MAX_LINE:  # on to the last end within reach, past the short lines before it
        end = content.rfind(b"\r\n", start, start + MAX_LINE + 2)
        if end < 0:
            return True
        start = end + 2
    return False


class ClientGone(Exception):  # noqa: N818 - says what happened
    """The client closed the connection or was silent for too long (`timed_out`)."""

    def __init__(self, *, timed_out: bool = False) -> None:
        super().__init__("silent for too long" if timed_out else "gone")
        self.timed_out = timed_out


class LineTooLong(Exception):  # noqa: N818 - says what happened
    """A command line is longer than allowed; it was read to its end and dropped."""


class TooLarge(Exception):  # noqa: N818 - says what happened
    """A message is larger than allowed; it was read to its end and dropped."""


class Patience:
    """A time limit on one wait after the other, for the price of a timer in each period and not in each wait."""

    def __init__(self, over: Callable[[], None]) -> None:
        self._over = over
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, seconds: float) -> None:
        """Begin a wait of at most so many seconds; `over` is called when they are over and it has not ended."""
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + seconds
        if self._timer is None:
            self._timer = loop.call_at(self._deadline, self._look)

    def end(self) -> None:
        """End the wait."""
        self._deadline = None

    def stop(self) -> None:
        """Keep no timer any more."""
        self._deadline = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        if self._deadline is None:
            return
        if loop.time() >= self._deadline:
            self._deadline = None
            self._over()
        else:
            self._timer = loop.call_at(self._deadline, self._look)


class Channel(asyncio.Protocol):
    """One connection. Replies are gathered and sent when the client has nothing more to say (RFC 2920 section 3.2)."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._buffer = bytearray()
        self._out = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._patience = Patience(self._give_up)
        self._timed_out = False
        self._ended = False
        self._paused = False
        self._writable = True
        self.transport: asyncio.Transport | None = None

    # The event loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport  # type: ignore[assignment] # a Transport, whatever the base class says

    def data_received(self, data: bytes) -> None:
        """Keep what came, and read no further than the work can follow."""
        self._buffer += data
        self._wake()
        if len(self._buffer) > READ_AHEAD and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """Note the end; what was read before it is still worked on."""
        self._ended = True
        self._wake()
        # a client may close its side and still read our replies; TLS knows no half-closed connection
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Note the end."""
        self._ended = True
        self._writable = True
        self._patience.stop()
        self._wake()

    def pause_writing(self) -> None:
        """Hold replies back until the client reads."""
        self._writable = False

    def resume_writing(self) -> None:
        """Go on."""
        self._writable = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _give_up(self) -> None:
        self._timed_out = True
        self._wake()

    async def _until(self, ready: Callable[[], bool]) -> None:
        """Wait for the event loop's side. Raises `ClientGone` once the client has kept us waiting for too long."""
        self._timed_out = False
        self._patience.begin(self._timeout)
        try:
            while not ready():
                if self._timed_out:
                    raise ClientGone(timed_out=True)
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
        finally:
            self._patience.end()
            self._waiter = None

    # The session's side

    @property
    def unread(self) -> bool:
        """Tell whether the client has sent more than was asked for."""
        return bool(self._buffer)

    async def _wait(self) -> None:
        """Wait for more. Raises `ClientGone`."""
        await self.flush()
        if self._ended:
            raise ClientGone
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()
        known = len(self._buffer)
        await self._until(lambda: self._ended or len(self._buffer) > known)

    async def line(self, limit: int) -> bytes:
        """Read a line without its CRLF. Raises `LineTooLong`, `ClientGone`."""
        searched = 0
        too_long = False
        while True:
            end = self._buffer.find(b"\r\n", searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                if too_long or end > limit - 2:
                    raise LineTooLong
                return line
            if len(self._buffer) > limit:
                too_long = True
                del self._buffer[:-1]  # the last octet may be the CR
            searched = max(0, len(self._buffer) - 1)
            await self._wait()

    async def message(self, limit: int) -> bytes:
        """Read a message up to CRLF.CRLF, dots unstuffed (RFC 5321 4.5.2). Raises `TooLarge`, `ClientGone`."""
        gathered = bytearray(b"\r\n")  # the end of the DATA line counts as the first CRLF
        too_large = False
        while True:
            searched = max(0, len(gathered) - 4)
            gathered += self._buffer
            self._buffer.clear()
            end = gathered.find(b"\r\n.\r\n", searched)
            if end >= 0:
                self._buffer += gathered[end + 5 :]
                del gathered[end + 2 :]
                content = bytes(gathered).replace(b"\r\n.", b"\r\n")[2:]
                if too_large or len(content) > limit:
                    raise TooLarge
                return content
            if len(gathered) > 2 * limit + 1024:  # stuffed dots make it longer, and never twice as long
                too_large = True
                del gathered[:-4]
            await self._wait()

    def reply(self, code: int, *lines: str) -> None:
        """Give a reply; each of several lines becomes a line of its own."""
        for line in lines[:-1]:
            self._out += f"{code}-{line}\r\n".encode()
        self._out += f"{code} {lines[-1]}\r\n".encode()

    async def flush(self) -> None:
        """Send the replies gathered so far. Raises `ClientGone` for a client that does not read them."""
        if self._out and self.transport is not None and not self.transport.is_closing():
            self.transport.write(bytes(self._out))
            self._out.clear()
            if self._writable:
                return
            try:
                await self._until(lambda: self._writable)
            except ClientGone:
                self.transport.abort()
                raise

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Go over to TLS; what was read in clear text is dropped (RFC 3207 section 4.2). Raises OSError."""
        if self.transport is None:
            raise ClientGone
        await self.flush()
        self._buffer.clear()
        upgraded = await asyncio.get_running_loop().start_tls(
            self.transport, self, context, server_side=True, ssl_handshake_timeout=60.0
        )
        if upgraded is None:
            raise ClientGone
        self.transport = upgraded
        self._ended = False

    async def close(self) -> None:
        """Send what is left and close."""
        await self.flush()
        if self.transport is not None:
            self.transport.close()
