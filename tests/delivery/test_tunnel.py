"""TLS as a tunnel, against OpenSSL's server side in memory, its `s_server`, and whole connections."""

import asyncio
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.replies import WireError
from delivery.settings import Timeouts, TlsSettings
from delivery.tls import context_for
from delivery.tunnel import Tunnel
from delivery.wire import Wire
from stages.plan import Trouble
from tests.delivery.certificates import leaf
from tests.needs import free_port, program

NAME = "mx.example"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
OURS = context_for("dane", TlsSettings())
PATIENCE = Timeouts(command=20, tls=20)


class Peer:
    """The server side, in memory."""

    def __init__(self, version: ssl.TLSVersion | None = None) -> None:
        self._come, self._gone = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = leaf(NAME).server(maximum=version, minimum=version)
        self.tls = context.wrap_bio(self._come, self._gone, server_side=True)

    def take(self, octets: bytes) -> None:
        """Take what the tunnel sent."""
        self._come.write(octets)

    def give(self) -> bytes:
        """Give what is to be sent to the tunnel."""
        return self._gone.read()

    def shake(self) -> bool:
        """Go on with the handshake; tells whether it is over."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def say(self, octets: bytes) -> bytes:
        """Seal something."""
        self.tls.write(octets)
        return self.give()


def joined(version: ssl.TLSVersion | None = None) -> tuple[Tunnel, Peer]:
    """Shake hands."""
    tunnel, peer = Tunnel(OURS, NAME), Peer(version)
    over = False
    while not (over and tunnel.stands):
        peer.take(tunnel.outgoing())
        over = over or peer.shake()
        assert tunnel.opened(peer.give()) == b""
    return tunnel, peer


@pytest.mark.parametrize("version", VERSIONS)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.integers(1, 700))
@settings(max_examples=30)
def test_octets_arrive_however_they_are_cut(version: ssl.TLSVersion, pieces: list[bytes], cut: int) -> None:
    """TLS keeps the order and every octet, wherever the network cuts its records, in both directions."""
    tunnel, peer = joined(version)
    wire = b"".join(peer.say(piece) for piece in pieces)
    heard = b"".join(tunnel.opened(wire[at : at + cut]) for at in range(0, len(wire), cut))
    assert heard == b"".join(pieces)
    for piece in pieces:
        peer.take(tunnel.sealed(piece))
        assert peer.tls.read(1000) == piece
    assert (tunnel.over, tunnel.fault) == (False, None)


@pytest.mark.parametrize("cut", [1, 7, 10_000])
def test_a_handshake_that_comes_in_pieces(cut: int) -> None:
    """What the server says at once with the end of its handshake is heard, wherever its octets are cut."""
    tunnel, peer = Tunnel(OURS, NAME), Peer(ssl.TLSVersion.TLSv1_2)
    peer.take(tunnel.outgoing())
    peer.shake()
    for octet in peer.give():
        assert tunnel.opened(bytes([octet])) == b""
    peer.take(tunnel.outgoing())
    assert peer.shake()
    last = peer.give() + peer.say(b"hello")
    assert b"".join(tunnel.opened(last[at : at + cut]) for at in range(0, len(last), cut)) == b"hello"


def test_a_large_record_comes_whole() -> None:
    """Content of several records in one piece is opened in one go (RFC 8446 section 5.1)."""
    tunnel, peer = joined()
    large = bytes(range(256)) * 400
    assert tunnel.opened(peer.say(large)) == large


def test_a_reply_before_a_fault_stands() -> None:
    """What was said before a broken record is heard: it may be the 250 that says a message was taken (RFC 1047)."""
    tunnel, peer = joined()
    assert tunnel.opened(peer.say(b"250 taken\r\n") + b"\x17\x03\x03\x00\x20" + bytes(32)) == b"250 taken\r\n"
    assert tunnel.over
    assert isinstance(tunnel.fault, ssl.SSLError)
    assert tunnel.outgoing()  # the alert
    with pytest.raises(ssl.SSLError):
        tunnel.sealed(b"QUIT\r\n")


def test_a_close_notify_behind_a_reply() -> None:
    """The reply is heard, the end is known, and we say it too (RFC 8446 section 6.1)."""
    tunnel, peer = joined()
    last = peer.say(b"221 bye\r\n")
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.unwrap()
    assert tunnel.opened(last + peer.give()) == b"221 bye\r\n"
    assert (tunnel.over, tunnel.fault) == (True, None)
    peer.take(tunnel.farewell())
    peer.tls.unwrap()


def test_a_farewell_before_the_handshake_is_over_says_nothing() -> None:
    """A connection that is dropped within the handshake breaks nothing of ours."""
    tunnel = Tunnel(OURS, NAME)
    tunnel.outgoing()
    assert tunnel.farewell() == b""


def test_clear_text_is_no_handshake() -> None:
    """Whatever comes in the place of a ServerHello is a fault, and nothing in it is a reply (RFC 3207 section 6)."""
    tunnel = Tunnel(OURS, NAME)
    assert tunnel.opened(b"250 trust me\r\n") == b""
    assert tunnel.fault is not None
    assert not tunnel.stands


def test_a_key_update_is_answered() -> None:
    """A server that changes its keys, and asks us to, is answered and understood (RFC 8446 section 4.6.3)."""
    with s_server() as (far, command):
        tunnel = Tunnel(OURS, NAME)
        far.sendall(tunnel.outgoing())
        while not tunnel.stands:
            tunnel.opened(far.recv(65_536))
        far.sendall(tunnel.outgoing() + tunnel.sealed(b"before\n"))
        command("K\n", "before")
        assert tunnel.opened(far.recv(65_536)) == b""
        far.sendall(tunnel.outgoing() + tunnel.sealed(b"after\n"))
        command("said under new keys\n", "after")
        assert tunnel.opened(far.recv(65_536)) == b"said under new keys\n"


@contextmanager
def s_server() -> Iterator[tuple[socket.socket, Callable[[str, str], None]]]:
    """Run `openssl s_server`; gives a connection, and what types a line for it once it has printed something."""
    port = free_port()
    arguments = [program("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-naccept", "1", "-tls1_3"]
    arguments += ["-num_tickets", "0", "-cert", str(leaf(NAME).pem), "-key", str(leaf(NAME).pem)]
    with (
        tempfile.TemporaryFile() as printed,
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=printed) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        seen = b""

        def shown(word: bytes) -> None:
            nonlocal seen
            assert process.stdout is not None
            while word not in seen:
                piece = process.stdout.read1(4096)  # type: ignore[attr-defined] # it is a BufferedReader
                assert piece, seen
                seen += piece

        def command(line: str, after: str) -> None:
            shown(after.encode())
            assert process.stdin is not None
            process.stdin.write(line.encode())
            process.stdin.flush()

        shown(b"ACCEPT")
        with socket.create_connection(("127.0.0.1", port), timeout=20) as far:
            yield far, command
        process.wait(20)


async def test_a_connection_ends_in_order() -> None:
    """The other side hears our close_notify, and not a connection that was cut (RFC 8446 section 6.1)."""

    def serve(listening: socket.socket) -> bytes:
        plain, _ = listening.accept()
        plain.sendall(b"220 here\r\n")
        plain.recv(100)
        plain.sendall(b"220 go\r\n")
        with leaf(NAME).server().wrap_socket(plain, server_side=True, suppress_ragged_eofs=False) as far:
            return far.recv(100)  # which raises at an end without close_notify

    with socket.create_server(("127.0.0.1", 0)) as listening:
        heard = asyncio.create_task(asyncio.to_thread(serve, listening))
        wire = await Wire.dial("127.0.0.1", listening.getsockname()[1], None, 20)
        await wire.greeting(20)
        assert isinstance(await wire.secure(OURS, NAME, PATIENCE), ssl.SSLObject)
        wire.hang_up()
        assert await asyncio.wait_for(heard, 20) == b""
        await asyncio.wait_for(wire.gone.wait(), 20)


@pytest.mark.parametrize("name", ["." + NAME, "x" * 300 + ".example"])
async def test_a_name_that_cannot_be_asked_for(name: str) -> None:
    """A name that SNI cannot bear is a failed handshake, told as one, and no fault of ours."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        await reader.readline()
        writer.write(b"220 go\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        wire = await Wire.dial("127.0.0.1", server.sockets[0].getsockname()[1], None, 20)
        await wire.greeting(20)
        with pytest.raises(WireError) as raised:
            await wire.secure(OURS, name, PATIENCE)
        assert raised.value.trouble is Trouble.HANDSHAKE
        wire.abort()
