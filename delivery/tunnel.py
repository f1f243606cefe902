"""TLS over a connection that stands: what came is opened, what goes is sealed, and the transport stays the plain one.

The TLS of an event loop sets 256 KB aside for each connection and wakes twice where once would do; a worker has
hundreds of connections, and most of them say little. A tunnel takes no part in sending: whoever has it sends
`outgoing`, also after an error, as an alert may be in it. Contexts here forbid renegotiation, so that to write never
waits for something to read.
"""

import contextlib
import ssl

_RECORD = 16_384  # octets of content that a TLS record holds at most (RFC 8446 section 5.1)


class Tunnel:
    """One TLS connection, as a client, whose first message is in `outgoing`.

    Raises ValueError for a name that cannot be SNI, and ssl.SSLError where the context allows no first message.
    """

    def __init__(self, context: ssl.SSLContext, name: str | None) -> None:
        self._come = ssl.MemoryBIO()
        self._gone = ssl.MemoryBIO()
        self.connection = context.wrap_bio(self._come, self._gone, server_hostname=name)
        self.stands = False  # the handshake is over
        self.over = False  # nothing more will come out: the other side has said so, or there was a fault
        self.fault: ssl.SSLError | None = None
        self._shake()

    def _shake(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.connection.do_handshake()
            self.stands = True

    def opened(self, octets: bytes) -> bytes:
        """Take what came; gives what the other side says in it, if it is not for the handshake."""
        self._come.write(octets)
        said = b""
        try:
            if not self.stands:
                self._shake()
            while self.stands and (self._come.pending or self.connection.pending()):
                piece = self.connection.read(_RECORD)
                if not piece:  # close_notify
                    self.over = True
                    break
                said = said + piece if said else piece
        except ssl.SSLWantReadError:  # the rest of a record is still to come
            pass
        except ssl.SSLError as error:  # what was said before it stands: it may be the reply to a message
            self.fault, self.over = error, True
        return said

    def sealed(self, octets: bytes) -> bytes:
        """Seal what is to be said. Raises ssl.SSLError once the tunnel is broken."""
        self.connection.write(octets)
        return self._gone.read()

    def outgoing(self) -> bytes:
        """Give what is to be sent for the sake of TLS: a part of the handshake, or an alert."""
        return self._gone.read() if self._gone.pending else b""

    def farewell(self) -> bytes:
        """Say that no more is said (RFC 8446 section 6.1); nothing where the handshake never ended."""
        if self.stands:
            with contextlib.suppress(ssl.SSLError):  # the other side need not say the same before we go
                self.connection.unwrap()
        return self.outgoing()
