"""The connection under an SMTP session: octets in and out, in clear or through TLS, and one wait at a time.

It stands on aiosmtplib's protocol, whose way of reading holds one command and a lock for each reply. One timer serves
all waits: it is moved when it rings too early, which is cheaper than to set one anew each time.
"""

import asyncio
import ssl
from typing import cast

from aiosmtplib.errors import SMTPResponseException, SMTPServerDisconnected
from aiosmtplib.protocol import SMTPProtocol

from delivery.replies import WireError
from delivery.tunnel import Tunnel
from stages.plan import Trouble


class Connection(SMTPProtocol):
    """A connection that says when more has come (`_said`), when there is room to write, and when and why it is over."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._end: SMTPResponseException | SMTPServerDisconnected | None = None  # why there will be no more
        self._waiter: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0  # of the wait under way
        self._tunnel: Tunnel | None = None
        self.failure: Exception | None = None
        self.gone = asyncio.Event()  # the connection is closed

    def _said(self, data: bytes) -> None:
        """Take what the other side said."""
        raise NotImplementedError

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready; what aiosmtplib makes ready besides serves its own way of reading."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand on what came, out of the tunnel if there is one; an end of the handshake wakes whoever waits."""
        tunnel = self._tunnel
        if tunnel is None:
            self._said(data)
            return
        stood = tunnel.stands
        said = tunnel.opened(data)
        if tunnel.stands is not stood:
            self._wake()
        self._send(tunnel.outgoing())
        if said:
            self._said(said)
        if tunnel.over:
            self.failure = self.failure or tunnel.fault
            self._over()
            self.hang_up()

    def resume_writing(self) -> None:
        """Let the content go on."""
        super().resume_writing()
        self._wake()

    def eof_received(self) -> bool:
        """Wake whoever waits: nothing more will come. The transport closes."""
        self._over()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits, and keep the cause."""
        self.failure = self.failure or exc
        super().connection_lost(exc)
        self._stop_timer()
        self._over()
        self.gone.set()

    def _over(self) -> None:
        self._end = self._end or SMTPServerDisconnected("Connection lost")
        self._wake()

    # Waiting

    def _wake(self, *, in_time: bool = True) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(in_time)

    async def _wait(self, deadline: float) -> bool:
        """Wait for something to happen; gives False once the time of the loop is `deadline`."""
        if self._timer is None or self._timer.when() > deadline:
            self._stop_timer()
            self._timer = self._loop.call_at(deadline, self._ring)
        self._deadline = deadline
        self._waiter = self._loop.create_future()
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def _ring(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._deadline <= self._loop.time():
            self._wake(in_time=False)
        else:
            self._timer = self._loop.call_at(self._deadline, self._ring)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Sending

    def write(self, data: bytes) -> None:
        """Send, through the tunnel if there is one. Raises SMTPServerDisconnected."""
        if self._tunnel is not None and self.is_connected:
            try:
                data = self._tunnel.sealed(data)
            except ssl.SSLError as error:
                self.failure = self.failure or error
                raise SMTPServerDisconnected("TLS has ended") from error
        super().write(data)

    def _send(self, octets: bytes) -> None:
        """Send octets as they are, if there is anything to send and anybody to send it to."""
        if octets and self.is_connected:
            cast(asyncio.WriteTransport, self.transport).write(octets)

    # TLS

    async def shake_hands(self, context: ssl.SSLContext, name: str | None, seconds: float) -> ssl.SSLObject:
        """Go on under TLS (RFC 3207 section 4). `name` goes into SNI.

        Raises `WireError`: HANDSHAKE where TLS fails, UNTRUSTED where OpenSSL was told to verify and could not.
        """
        try:
            tunnel = self._tunnel = Tunnel(context, name)
        except (ssl.SSLError, ValueError) as error:
            self.failure = error
            raise self._unsecured() from error
        self._send(tunnel.outgoing())
        deadline = self._loop.time() + seconds
        while not tunnel.stands:
            if self._end is not None:
                raise self._unsecured() from self.failure
            if not await self._wait(deadline) and not tunnel.stands:
                raise WireError(Trouble.HANDSHAKE, f"the TLS handshake took longer than {seconds:g} s")
        return tunnel.connection

    def _unsecured(self) -> WireError:
        """Say why there is no TLS."""
        match self.failure:
            case ssl.SSLCertVerificationError(verify_message=message):
                return WireError(Trouble.UNTRUSTED, f"the certificate is not trusted: {message}")
            case None:
                return WireError(Trouble.HANDSHAKE, "the connection ended during the TLS handshake")
            case failure:
                return WireError(Trouble.HANDSHAKE, f"the TLS handshake failed: {_tls_text(failure)}")

    @property
    def connection(self) -> ssl.SSLObject | None:
        """Give the TLS connection, as long as there is one."""
        return None if self._tunnel is None or self.transport is None else self._tunnel.connection

    @property
    def tls_failure(self) -> str | None:
        """Say how TLS failed, if that is why the connection was lost."""
        return _tls_text(self.failure) if isinstance(self.failure, ssl.SSLError) else None

    # Ending

    def hang_up(self) -> None:
        """Close the connection in an orderly way, TLS first; does not wait for it."""
        self._stop_timer()
        if self._tunnel is not None:
            self._send(self._tunnel.farewell())
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Drop the connection."""
        self._stop_timer()
        if self.transport is not None:
            cast(asyncio.WriteTransport, self.transport).abort()


def _tls_text(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    return str(error) or type(error).__name__
