"""A validating resolver for the lab: Unbound, or where there is none a stand-in of ours.

The stand-in passes questions on to the lab's nameserver and says of each answer what danepipe's own validation finds,
in the words of a resolver: AD for secure, SERVFAIL with an extended error for bogus (RFC 4035 section 3.2.3, RFC 8914).
So everything that rests on the AD bit runs with Python alone; with CI=true a missing Unbound is a failure, so that the
real resolver is never left out unseen.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from delivery.dnssec.anchors import Anchors
from delivery.nameserver import Server
from delivery.resolver import DnsSettings, Resolver
from ops.lab.nameserver import both_ways
from ops.lab.scenario import Scenario
from ops.lab.scenarios import ALL
from ops.lab.unbound import Unbound
from ops.lab.world import Lab, Validation
from stages.answer import Failed, Question, Security
from tests.needs import has

PATIENCE = 3.0  # seconds for the nameserver to answer
_AD = 0x20  # in the fourth octet of a message (RFC 4035 section 3.2.3)


class StandIn:
    """A resolver on loopback that validates, over UDP and TCP; `address` is as danepipe's configuration has it."""

    def __init__(self, anchor: str, upstream: int) -> None:
        settings = DnsSettings(
            (Server("127.0.0.1", upstream),), "local", Anchors.parse(anchor), timeout=timedelta(seconds=PATIENCE),
            attempts=1, canaries=(),
        )  # fmt: skip
        self._resolver = Resolver(settings, now=lambda: datetime.now(UTC))
        self._upstream = ("127.0.0.1", upstream)
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport
        self._server: asyncio.Server
        self.address = ""

    async def open(self) -> None:
        """Listen on a free port."""
        port, tcp, udp = both_ways("127.0.0.1")
        loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._stream, sock=tcp)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=udp)
        self.address = f"127.0.0.1@{port}"

    async def close(self) -> None:
        """Stop listening, and drop what is still being asked."""
        self._transport.close()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._resolver.aclose()

    def datagram(self, wire: bytes, peer: tuple[str, int]) -> None:
        """Begin to answer a datagram."""

        async def answer() -> None:
            response = await self._answer(wire, self._by_datagram)
            if not self._transport.is_closing():
                self._transport.sendto(response, peer)

        task = asyncio.get_running_loop().create_task(answer())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):  # the client has gone
            while True:
                response = await self._answer(await _framed(reader), self._by_stream)
                writer.write(struct.pack("!H", len(response)) + response)
                await writer.drain()
        writer.close()

    async def _answer(self, wire: bytes, forward: Callable[[bytes], Awaitable[bytes]]) -> bytes:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        secure = False
        if not query.flags & dns.flags.CD:
            name = question.name.to_text(omit_final_dot=question.name != dns.name.root).lower()
            found = await self._resolver.ask(Question(name, dns.rdatatype.to_text(question.rdtype)))
            if isinstance(found, Failed):
                return _servfail(query, *(dns.edns.EDEOption(dns.edns.EDECode(e.code), e.text) for e in found.ede))
            secure = found.security is Security.SECURE
        try:
            async with asyncio.timeout(PATIENCE):
                response = bytearray(await forward(wire))
        except TimeoutError:
            return _servfail(query)
        response[3] = response[3] | _AD if secure else response[3] & ~_AD
        return bytes(response)  # as it came otherwise: it may hold records that dnspython cannot

    async def _by_datagram(self, wire: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.setblocking(False)  # noqa: FBT003 - socket's own signature
            client.connect(self._upstream)
            await loop.sock_sendall(client, wire)
            return await loop.sock_recv(client, 65535)

    async def _by_stream(self, wire: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._upstream)
        writer.write(struct.pack("!H", len(wire)) + wire)
        response = await _framed(reader)
        writer.close()
        return response


class _Datagrams(asyncio.DatagramProtocol):
    """Hands datagrams to the stand-in."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._stand_in.datagram(data, addr)


async def _framed(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack("!H", await reader.readexactly(2))
    return await reader.readexactly(length)


def _servfail(query: dns.message.Message, *options: dns.edns.Option) -> bytes:
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(dns.rcode.SERVFAIL)
    response.use_edns(0, options=list(options))
    return response.to_wire()


@asynccontextmanager
async def validating(directory: Path, anchor: str, upstream: int) -> AsyncIterator[str]:
    """Run a resolver that validates from `anchor` over the nameserver on a port of 127.0.0.1; give its address."""
    resolver = Unbound(directory, anchor, upstream) if has("unbound") else StandIn(anchor, upstream)
    await resolver.open()
    try:
        yield resolver.address
    finally:
        await resolver.close()


@asynccontextmanager
async def validated_lab(
    directory: Path, scenarios: Sequence[Scenario] = ALL, validation: Validation = "trusted"
) -> AsyncIterator[Lab]:
    """Run a lab whose resolver validates."""
    if has("unbound"):
        async with Lab.open(directory, scenarios, validation) as lab:
            yield lab
        return
    async with (
        Lab.open(directory, scenarios, "local") as lab,
        validating(directory, lab.tree.anchor, lab.nameserver.port) as lab.resolver,
    ):
        lab.validation = validation
        yield lab
