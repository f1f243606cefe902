"""The exchange with a resolver over the wire, against a server that answers as a test says."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest

from delivery.nameserver import NoResponse, Server, exchange, system_servers
from delivery.responses import Lifetimes, rcode_failure, read
from ops.lab.nameserver import both_ways
from stages.answer import Absent, Failed, Failure, Found, Question, Security
from stages.records import TLSA

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
QUESTION = Question("_25._tcp.mx.example", "TLSA")
PATIENCE = 60  # seconds; every answer comes at once, and on a busy machine a little later
Answering = Callable[[dns.message.Message], bytes | None]


def reply(
    query: dns.message.Message, *records: str, flags: int = 0, rcode: dns.rcode.Rcode = dns.rcode.NOERROR
) -> dns.message.Message:
    """Make a reply with records in zone-file form."""
    made = dns.message.make_response(query, recursion_available=True)
    made.flags |= flags
    made.set_rcode(rcode)
    for text in records:
        name, ttl, rdtype, data = text.split(" ", 3)
        section = made.authority if rdtype == "SOA" else made.answer
        section.append(dns.rrset.from_text(name, int(ttl), "IN", rdtype, data))
    return made


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        answer = self.answering(dns.message.from_wire(data))
        if answer is not None:
            self.transport.sendto(answer, addr)


@asynccontextmanager
async def serving(udp: Answering, tcp: Answering | None = None) -> AsyncIterator[Server]:
    """Serve DNS on loopback over UDP, and over TCP on the same port if told so; else the port refuses TCP."""

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        answer = (tcp or udp)(dns.message.from_wire(await reader.readexactly(size)))
        if answer is not None:
            writer.write(struct.pack("!H", len(answer)) + answer)
        writer.close()

    loop = asyncio.get_running_loop()
    port, listening, datagrams = both_ways("127.0.0.1")
    transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(udp), sock=datagrams)
    server = await asyncio.start_server(stream, sock=listening) if tcp else None
    try:
        yield Server("127.0.0.1", port)
    finally:
        transport.close()
        if server is not None:
            server.close()
        listening.close()


LARGE = [f"_25._tcp.mx.example. 60 TLSA 3 1 2 {number:0128x}" for number in range(40)]


async def test_a_truncated_answer_is_fetched_over_tcp() -> None:
    """DANE-51, SEC-70 (RFC 7671 10.1.1, 7766): TC=1 leads to TCP; where TCP is refused there is no answer, never an empty one."""

    def cut(query: dns.message.Message) -> bytes:
        return reply(query, flags=dns.flags.TC).to_wire()

    async with serving(cut, lambda query: reply(query, *LARGE).to_wire(max_size=65535)) as server:
        response = await exchange(server, QUESTION, patience=PATIENCE)
    assert sum(len(rrset) for rrset in response.answer) == len(LARGE)
    async with serving(cut) as server:
        with pytest.raises(NoResponse) as caught:
            await exchange(server, QUESTION, patience=PATIENCE)
    assert caught.value.failure is Failure.NETWORK
    async with serving(cut, cut) as server:  # cut off over TCP as well
        with pytest.raises(NoResponse) as caught:
            await exchange(server, QUESTION, patience=PATIENCE)
    assert caught.value.failure is Failure.TRUNCATED


async def test_the_question_asks_for_dnssec() -> None:
    """DANE-01, SEC-70, SEC-72, SEC-73 (RFC 4035 4.1, 4.6): DO and AD are set, EDNS says 1232, CD only where asked for."""
    seen: list[dns.message.Message] = []

    def note(query: dns.message.Message) -> bytes:
        seen.append(query)
        return reply(query).to_wire()

    async with serving(note) as server:
        await exchange(server, QUESTION, patience=PATIENCE)
        await exchange(server, QUESTION, patience=PATIENCE, checking_disabled=True)
    assert all(query.ednsflags & dns.flags.DO and query.payload == 1232 for query in seen)
    assert [bool(query.flags & dns.flags.CD) for query in seen] == [False, True]
    assert all(query.flags & dns.flags.AD for query in seen)


async def test_octets_that_are_no_message_are_malformed() -> None:
    """DANE-10 (RFC 7672 2.1.2): garbage is a failed lookup."""
    async with serving(lambda _query: b"\x00\x01garbage") as server:
        with pytest.raises(NoResponse) as caught:
            await exchange(server, QUESTION, patience=PATIENCE)
    assert caught.value.failure is Failure.MALFORMED


def _other_id(wire: bytes) -> bytes:
    return bytes([wire[0] ^ 1]) + wire[1:]


def _other_type(wire: bytes) -> bytes:
    end = wire.index(b"\0", 12) + 1
    return wire[:end] + bytes([0, 20]) + wire[end + 2 :]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_other_id, id="another id"),
        pytest.param(_other_type, id="another type, that differs as letters do in case"),
        pytest.param(lambda wire: wire[:12] + wire[12:].replace(b"example", b"exampel"), id="another name"),
        pytest.param(lambda wire: wire[:2] + bytes([wire[2] & 0x7F]) + wire[3:], id="a query"),
        pytest.param(lambda wire: wire[:2] + bytes([wire[2] | 0x20]) + wire[3:], id="another opcode"),
        pytest.param(lambda wire: wire[:4] + b"\0\0" + wire[6:12] + wire[12 + 25 :], id="no question, and no error"),
        pytest.param(lambda wire: wire[:4] + b"\0\2" + wire[6:], id="two questions"),
        pytest.param(lambda wire: wire[:11], id="half a header"),
    ],
)
@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
async def test_what_does_not_fit_the_question_is_no_answer(spoil: Callable[[bytes], bytes], tcp: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    """SEC-83 (RFC 5452 9.1): id, QR, opcode and question of a response must be those of the query, over UDP and TCP."""
    question = Question("_25._tcp.mx.example", "TLSA")  # TLSA is 52: with bit 0x20 cleared, 20

    def answering(query: dns.message.Message) -> bytes:
        return spoil(reply(query).to_wire())

    def cut(query: dns.message.Message) -> bytes:
        return reply(query, flags=dns.flags.TC).to_wire()

    async with serving(cut if tcp else answering, answering if tcp else None) as server:
        with pytest.raises(NoResponse) as caught:
            await exchange(server, question, patience=PATIENCE)
    assert caught.value.failure is Failure.MALFORMED


class _Twice(_Udp):
    """Sends an answer that does not fit before the one that does."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        answer = self.answering(dns.message.from_wire(data))
        assert answer is not None
        self.transport.sendto(_other_id(answer), addr)
        self.transport.sendto(b"", addr)
        self.transport.sendto(answer, addr)


async def test_what_does_not_fit_is_passed_over_where_others_can_send() -> None:
    """SEC-83 (RFC 5452 9.1, 9.2): away from loopback a datagram that does not fit does not end the wait for the one that does."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Twice(lambda query: reply(query).to_wire()), local_addr=("127.0.0.1", 0)
    )
    server = Server("0.0.0.0", transport.get_extra_info("sockname")[1])  # this host, by no loopback address
    assert rcode_failure(await exchange(server, QUESTION, patience=PATIENCE)) is None
    transport.close()


async def test_a_resolver_may_answer_in_capitals() -> None:
    """RFC 4343 section 3: the case of a name is no matter, and where nothing was understood nothing is repeated."""

    def capitals(query: dns.message.Message) -> bytes:
        wire = reply(query).to_wire()
        return wire[:12] + wire[12:37].upper() + wire[37:]

    def refused(query: dns.message.Message) -> bytes:
        return query.to_wire()[:2] + b"\x81\x05" + bytes(8)

    async with serving(capitals) as server:
        assert rcode_failure(await exchange(server, QUESTION, patience=PATIENCE)) is None
    async with serving(refused) as server:
        assert rcode_failure(await exchange(server, QUESTION, patience=PATIENCE)) is Failure.REFUSED


async def test_a_message_of_too_many_records_is_not_read() -> None:
    """SEC-60: the header says how many records there are, before any of them costs time."""
    async with serving(lambda query: reply(query, *LARGE[:5]).to_wire()) as server:
        await exchange(server, QUESTION, patience=PATIENCE, most_records=6)  # an EDNS record comes with them
        with pytest.raises(NoResponse, match="more than 5 records") as caught:
            await exchange(server, QUESTION, patience=PATIENCE, most_records=5)
    assert caught.value.failure is Failure.INDETERMINATE


async def test_a_connection_that_ends_too_early_is_an_answer_cut_off() -> None:
    """DANE-51 (RFC 7766): what ends in the middle over TCP is no answer."""
    async with serving(lambda query: reply(query, flags=dns.flags.TC).to_wire(), lambda _query: None) as server:
        with pytest.raises(NoResponse) as caught:
            await exchange(server, QUESTION, patience=PATIENCE)
    assert caught.value.failure is Failure.TRUNCATED


def _read(
    *records: str, secure: bool = True, rcode: dns.rcode.Rcode = dns.rcode.NOERROR, question: Question = QUESTION
) -> Any:
    query = dns.message.make_query(question.name, question.rdtype)
    response = dns.message.from_wire(reply(query, *records, rcode=rcode).to_wire())
    return read(question, response, secure=secure, now=NOW, lifetimes=Lifetimes(), source="r")


def test_security_is_that_of_the_whole_answer() -> None:
    """DANE-03, DANE-12 (RFC 7672 2.1.1, 2.1.3): without AD an answer of a validating resolver is insecure, whatever the cause."""
    record = "_25._tcp.mx.example. 60 TLSA 3 1 1 " + "00" * 32
    assert _read(record).security is Security.SECURE
    assert _read(record, secure=False).security is Security.INSECURE
    assert _read(record).records == (TLSA(3, 1, 1, bytes(32)),)


def test_aliases_are_followed_to_their_end() -> None:
    """DANE-11, DANE-46 (RFC 7672 2.1.3): the records at the end count, the chain is told, a circle is a failure."""
    found = _read(
        "_25._tcp.mx.example. 60 CNAME tlsa.example.", "tlsa.example. 30 TLSA 3 1 1 " + "00" * 32
    )  # fmt: skip
    assert isinstance(found, Found)
    assert (found.canonical, found.aliases) == ("tlsa.example", ("tlsa.example",))
    assert found.expires == NOW + timedelta(seconds=30)
    circle = _read("_25._tcp.mx.example. 60 CNAME a.example.", "a.example. 60 CNAME _25._tcp.mx.example.")
    assert isinstance(circle, Failed)
    assert circle.failure is Failure.CHAIN
    long = [f"n{number}.example. 60 CNAME n{number + 1}.example." for number in range(20)]
    assert isinstance(_read(*long, question=Question("n0.example", "A")), Failed)


def test_denials_live_as_long_as_their_soa_says() -> None:
    """DANE-04, DANE-108 (RFC 2308 5): NODATA and NXDOMAIN are answers; without SOA they are not kept."""
    soa = "example. 300 SOA ns.example. root.example. 1 2 3 4 60"
    nodata = _read(soa)
    assert isinstance(nodata, Absent)
    assert (nodata.nxdomain, nodata.expires) == (False, NOW + timedelta(seconds=60))
    gone = _read(rcode=dns.rcode.NXDOMAIN)
    assert isinstance(gone, Absent)
    assert (gone.nxdomain, gone.expires) == (True, NOW)


def test_records_live_no_longer_than_their_signature() -> None:
    """DANE-108 (RFC 4035 5.3.3): TTL 3600, signature ends in 30 s: asked again after 30 s."""
    end = (NOW + timedelta(seconds=30)).strftime("%Y%m%d%H%M%S")
    signature = f"_25._tcp.mx.example. 3600 RRSIG TLSA 13 4 3600 {end} 20260101000000 1 example. AAAA"
    found = _read("_25._tcp.mx.example. 3600 TLSA 3 1 1 " + "00" * 32, signature)
    assert found.expires == NOW + timedelta(seconds=30)


@pytest.mark.parametrize(
    ("rcode", "failure"),
    [
        (dns.rcode.NOERROR, None),
        (dns.rcode.NXDOMAIN, None),
        (dns.rcode.SERVFAIL, Failure.SERVFAIL),
        (dns.rcode.REFUSED, Failure.REFUSED),
        (dns.rcode.NOTIMP, Failure.NOTIMP),
        (dns.rcode.FORMERR, Failure.FORMERR),
        (dns.rcode.YXDOMAIN, Failure.MALFORMED),
    ],
)
def test_each_rcode_has_its_class(rcode: dns.rcode.Rcode, failure: Failure | None) -> None:
    """DANE-10 (RFC 7672 2.1.2): all but NOERROR and NXDOMAIN are failed lookups."""
    response = reply(dns.message.make_query("x.example", "A"), rcode=rcode)
    assert rcode_failure(response) is failure


def test_the_system_s_resolvers_are_read(tmp_path: Any) -> None:
    """Names, comments and nonsense in resolv.conf are passed over."""
    file = tmp_path / "resolv.conf"
    file.write_text("# x\nsearch example\nnameserver 127.0.0.53\nnameserver nonsense\nnameserver fe80::1%eth0\n")
    assert system_servers(file) == (Server("127.0.0.53"), Server("fe80::1"))
