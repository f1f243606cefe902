"""The octets of an SMTP connection: commands out, replies in, the upgrade to TLS, the content.

It stands on aiosmtplib's protocol, one command at a time, and adds a timer for each phase, a watch for what arrives
in clear text after the reply to STARTTLS (RFC 3207 section 6; such a session ends), and replies that come while the
content is still being sent. Every way in which a connection ends is a `WireError` that bears its trouble.
"""

import asyncio
import re
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import cast

from aiosmtplib.errors import SMTPReadTimeoutError, SMTPResponseException, SMTPServerDisconnected
from aiosmtplib.protocol import SMTPProtocol
from aiosmtplib.response import SMTPResponse

from stages.attempt import Reply
from stages.plan import Trouble

_ENHANCED = re.compile(r"([245])\.\d{1,3}\.\d{1,3}(?=\s|$)")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BLOCK = 65_536


class WireError(Exception):
    """The connection is no longer usable: `trouble` says why, `text` in which phase; `reply` is a 421, if one came.

    `sent`: the final dot had been handed over, so that the server may have taken the message (RFC 5321 section 6.1).
    """

    def __init__(self, trouble: Trouble, text: str, *, reply: Reply | None = None, sent: bool = False) -> None:
        super().__init__(text)
        self.trouble = trouble
        self.text = text
        self.reply = reply
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for each phase; the defaults are the minima of RFC 5321 section 4.5.3.2. `tls` bounds the handshake."""

    connect: float = 30.0
    greeting: float = 300.0
    command: float = 300.0
    tls: float = 60.0
    data: float = 120.0
    block: float = 180.0
    dot: float = 600.0
    quit: float = 5.0


def normal(content: bytes) -> bytes:
    """Give content with CRLF line ends only, the last line ended too (RFC 5321 sections 2.3.8 and 4.1.1.4)."""
    whole = content.count(b"\r\n")  # counting is many times faster than any search for a bare one
    if content.count(b"\n") != whole or content.count(b"\r") != whole:
        content = _LINE_END.sub(b"\r\n", content)
    return content if not content or content.endswith(b"\r\n") else content + b"\r\n"


def stuffed(content: bytes) -> bytes:
    """Double the dot that begins a line (RFC 5321 section 4.5.2); `content` is `normal`."""
    content = content.replace(b"\r\n.", b"\r\n..")
    return b"." + content if content.startswith(b".") else content


def read_reply(response: SMTPResponse, command: str) -> Reply:
    """Make a reply of what came. Raises `WireError` for a code that SMTP does not have (RFC 5321 section 4.2)."""
    code = response.code
    text = response.message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    text = _UNPRINTABLE.sub(" ", text).strip()
    if not 200 <= code <= 599:
        raise WireError(Trouble.PROTOCOL, f"the reply to {command} has no code of SMTP: {code} {text}")
    enhanced = _ENHANCED.match(text)
    fits = enhanced is not None and int(enhanced[1]) == code // 100
    return Reply(code, text, enhanced[0] if enhanced is not None and fits else "", command)


class Wire(SMTPProtocol):
    """One connection. After a `WireError` only `abort` is of use."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._heard: bytearray | None = None
        self.failure: Exception | None = None

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
            raise WireError(Trouble.CONNECT, text) from error
        return wire

    # asyncio calls these

    def data_received(self, data: bytes) -> None:
        """Take octets, and keep those around the upgrade to TLS for `_injected`."""
        if self._heard is not None:
            self._heard += data
        super().data_received(data)

    def pause_writing(self) -> None:
        """Hold the content back: the transport's buffer is full."""
        super().pause_writing()
        self._flowing.clear()

    def resume_writing(self) -> None:
        """Let the content go on."""
        super().resume_writing()
        self._flowing.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits, and keep the cause."""
        self.failure = self.failure or exc
        super().connection_lost(exc)
        self._flowing.set()

    # What a session calls

    @property
    def surplus(self) -> bool:
        """Tell whether more than one reply was heard: the two sides no longer agree on where they are."""
        return bool(self._buffer)

    @property
    def tls_failure(self) -> str | None:
        """Say how TLS failed, if that is why the connection was lost."""
        return _tls_text(self.failure) if isinstance(self.failure, ssl.SSLError) else None

    async def greeting(self, seconds: float) -> Reply:
        """Wait for the greeting. Raises `WireError`."""
        return read_reply(await self._alone("greeting", self.read_response(seconds)), "greeting")

    async def ask(self, line: str, command: str, seconds: float) -> Reply:
        """Send a command line, wait for its reply. Raises `WireError`, and ValueError for a control character."""
        return read_reply(await self.ask_raw(line, command, seconds), command)

    async def ask_raw(self, line: str, command: str, seconds: float) -> SMTPResponse:
        """Ask, and give the reply with its lines apart. Raises as `ask` does."""
        return await self._alone(command, self.execute_command(line.encode(), timeout=seconds))

    async def _alone(self, command: str, asked: Awaitable[SMTPResponse]) -> SMTPResponse:
        response = await self._await(command, asked)
        if self.surplus:  # the next reply to be read would be that of another command
            what = "clear text" if command == "STARTTLS" else "more"
            raise WireError(Trouble.PROTOCOL, f"{what} came after the reply to {command}")
        return response

    async def _await(self, command: str, asked: Awaitable[SMTPResponse]) -> SMTPResponse:
        try:
            return await asked
        except SMTPReadTimeoutError as error:
            raise WireError(Trouble.TIMEOUT, f"no reply to {command} in time") from error
        except SMTPResponseException as error:
            raise WireError(Trouble.PROTOCOL, f"no SMTP reply to {command}: {error.message}") from error
        except (SMTPServerDisconnected, OSError) as error:
            cause = f": {self.failure}" if self.failure else ""
            raise WireError(Trouble.LOST, f"the connection ended before the reply to {command}{cause}") from error

    async def secure(self, context: ssl.SSLContext, name: str | None, timeouts: Timeouts) -> Reply | ssl.SSLObject:
        """Send STARTTLS; give the reply if it is not 220, else shake hands (RFC 3207 section 4).

        Raises `WireError`: PROTOCOL where anything in clear text follows the 220, HANDSHAKE where TLS fails, and
        UNTRUSTED where OpenSSL was told to verify and could not.
        """
        self._heard = bytearray()
        reply = await self.ask("STARTTLS", "STARTTLS", timeouts.command)
        if reply.code != 220:
            self._heard = None
            return reply
        if _after_reply(bytes(self._heard)):
            raise WireError(Trouble.PROTOCOL, "clear text came after the reply to STARTTLS", reply=reply)
        self._heard = None
        transport = self.transport
        if transport is None:
            raise WireError(Trouble.HANDSHAKE, "the connection ended after the reply to STARTTLS")
        loop = asyncio.get_running_loop()
        try:
            upgraded = await loop.start_tls(
                cast(asyncio.WriteTransport, transport),
                self,
                context,
                server_hostname=name,
                ssl_handshake_timeout=timeouts.tls,
                ssl_shutdown_timeout=timeouts.quit,
            )
        except ssl.SSLCertVerificationError as error:
            raise WireError(Trouble.UNTRUSTED, f"the certificate is not trusted: {error.verify_message}") from error
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError, a name that cannot be SNI a ValueError
            raise WireError(Trouble.HANDSHAKE, f"the TLS handshake failed: {_tls_text(error)}") from error
        if upgraded is None:
            raise WireError(Trouble.HANDSHAKE, "the connection ended during the TLS handshake")
        self.transport = upgraded
        return cast(ssl.SSLObject, upgraded.get_extra_info("ssl_object"))

    async def send_content(self, content: bytes, timeouts: Timeouts) -> Reply:
        """Send `normal` content and the final dot, and wait for the reply. Raises `WireError` with `sent`.

        A reply that comes before the dot refuses the message if it is 4yz or 5yz; the caller must then hang up, as
        the two sides no longer agree on where they are. Any other early reply is a protocol error.
        """
        reader = asyncio.ensure_future(self.read_response(None))
        sent = False
        try:
            octets = memoryview(stuffed(content) + b".\r\n")
            for start in range(0, len(octets), _BLOCK):
                async with asyncio.timeout(timeouts.block):
                    await self._flowing.wait()
                if reader.done():
                    break
                self.write(bytes(octets[start : start + _BLOCK]))
                sent = start + _BLOCK >= len(octets)
                await asyncio.sleep(0)  # lets an early reply in
            async with asyncio.timeout(timeouts.dot):
                reply = read_reply(await self._await("the content", reader), "the content")
        except TimeoutError as error:
            where = "no reply to the final dot in time" if sent else "the server took no more of the content in time"
            raise WireError(Trouble.TIMEOUT, where, sent=sent) from error
        except SMTPServerDisconnected as error:
            raise WireError(Trouble.LOST, "the connection ended within the content", sent=sent) from error
        except WireError as error:
            error.sent = sent
            raise
        finally:
            if not reader.cancel() and not reader.cancelled():
                reader.exception()  # it shows as the error that is under way
        if not sent and reply.code < 400:
            raise WireError(Trouble.PROTOCOL, f"a reply came before the content had been sent: {reply.code}")
        return Reply(reply.code, reply.text, reply.enhanced, "." if sent else "content")

    def hang_up(self) -> None:
        """Close the connection in an orderly way, TLS first; does not wait for it."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Drop the connection."""
        if self.transport is not None:
            cast(asyncio.WriteTransport, self.transport).abort()


def _after_reply(heard: bytes) -> bytes:
    """Give what follows the first whole reply (RFC 3207 section 4.2)."""
    rest = heard
    while rest:
        line, _, rest = rest.partition(b"\n")
        if line[3:4] != b"-":
            break
    return rest


def _tls_text(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    return str(error) or type(error).__name__
