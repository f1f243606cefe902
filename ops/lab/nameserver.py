"""The DNS server of the lab: answers for the whole tree as a recursive resolver that does not validate.

It listens on UDP and TCP. Alias chains are followed across zones, DO adds signatures, and denials carry the SOA and the
NSEC records that prove them (RFC 4035 section 3.1.3); DS is answered from the parent. Names in no zone of the tree are
denied by the root. A question for which a `Rule` says so is dropped, delayed or answered with SERVFAIL.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.node
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.zone

PAYLOAD = 1232
MAX_ALIASES = 8


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to questions at or below `name`, of one type or (None) of all. `delay` is in seconds."""

    name: dns.name.Name
    rdtype: dns.rdatatype.RdataType | None = None
    servfail: bool = False
    drop: bool = False
    delay: float = 0.0

    def fits(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> bool:
        """Tell whether the rule is about a question."""
        return name.is_subdomain(self.name) and self.rdtype in {None, rdtype}


@dataclass(slots=True)
class _Found:
    """What an answer holds."""

    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    answer: list[dns.rrset.RRset] = field(default_factory=list)
    authority: list[dns.rrset.RRset] = field(default_factory=list)


def both_ways(address: str, tries: int = 50) -> tuple[int, socket.socket, socket.socket]:
    """Bind one port of an address that is free for TCP and for UDP, and give it with both sockets. Raises OSError."""
    for _ in range(tries):
        tcp, udp = (socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM))
        tcp.setblocking(False)  # noqa: FBT003 - socket's own signature
        udp.setblocking(False)  # noqa: FBT003
        with contextlib.suppress(OSError):  # somebody else's UDP port: try another
            tcp.bind((address, 0))
            port = tcp.getsockname()[1]
            udp.bind((address, port))
            return port, tcp, udp
        tcp.close()
        udp.close()
    raise OSError(f"no port of {address} is free for both UDP and TCP")


class Nameserver:
    """Serves zones; `open` gives one that listens, `close` ends it. Counts the questions it got in `asked`."""

    def __init__(self, zones: Mapping[dns.name.Name, dns.zone.Zone], rules: Sequence[Rule] = ()) -> None:
        self._zones = dict(zones)
        self._names = {origin: sorted(zone) for origin, zone in zones.items()}
        self._rules = tuple(rules)
        self._found: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], _Found] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self.asked = 0
        self.port = 0

    async def open(self, address: str = "127.0.0.1") -> None:
        """Listen on a free port of the address, the same for UDP and TCP. Raises OSError."""
        self.port, tcp, udp = both_ways(address)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._server = await asyncio.start_server(self._stream, sock=tcp)
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=udp)

    async def close(self) -> None:
        """Stop listening and drop what is still delayed."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Transport

    def datagram(self, transport: asyncio.DatagramTransport, wire: bytes, peer: tuple[str, int]) -> None:
        """Answer a datagram, later if a rule says so."""
        query = _read(wire)
        if query is None:
            return
        rule = self._rule(query)
        if rule is None or not (rule.drop or rule.delay):
            transport.sendto(self._answer(query, rule, limit=max(512, query.payload)), peer)
        elif not rule.drop:
            self._later(self._delayed(transport, query, rule, peer))

    def _later(self, coroutine: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _delayed(
        self, transport: asyncio.DatagramTransport, query: dns.message.Message, rule: Rule, peer: tuple[str, int]
    ) -> None:
        await asyncio.sleep(rule.delay)
        if not transport.is_closing():
            transport.sendto(self._answer(query, rule, limit=max(512, query.payload)), peer)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                query = _read(await reader.readexactly(length))
                if query is None:
                    break
                rule = self._rule(query)
                if rule is not None and rule.drop:
                    continue
                if rule is not None and rule.delay:
                    await asyncio.sleep(rule.delay)
                wire = self._answer(query, rule, limit=65535)
                writer.write(struct.pack("!H", len(wire)) + wire)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone: there is nobody to tell
        finally:
            writer.close()

    # Answers

    def _rule(self, query: dns.message.Message) -> Rule | None:
        question = query.question[0]
        return next((rule for rule in self._rules if rule.fits(question.name, question.rdtype)), None)

    def _answer(self, query: dns.message.Message, rule: Rule | None, *, limit: int) -> bytes:
        self.asked += 1
        response = dns.message.make_response(query, recursion_available=True, our_payload=PAYLOAD)
        if rule is not None and rule.servfail:
            response.set_rcode(dns.rcode.SERVFAIL)
            return response.to_wire()
        question = query.question[0]
        key = (question.name, question.rdtype)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._look_up(*key)
        response.set_rcode(found.rcode)
        secure = bool(query.ednsflags & dns.flags.DO)
        response.answer = _shown(found.answer, secure=secure or question.rdtype == dns.rdatatype.RRSIG)
        response.authority = _shown(found.authority, secure=secure)
        try:
            return response.to_wire(max_size=limit)
        except dns.exception.TooBig:
            response.flags |= dns.flags.TC
            response.answer, response.authority = [], []
            return response.to_wire()

    def _zone(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> dns.zone.Zone:
        """Find the deepest zone of a name; a DS record set belongs to the parent (RFC 4035 section 3.1.4.1)."""
        if rdtype == dns.rdatatype.DS and name in self._zones and name != dns.name.root:
            name = name.parent()
        while name not in self._zones:
            name = name.parent()
        return self._zones[name]

    def _look_up(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> _Found:
        found = _Found()
        for _ in range(MAX_ALIASES):
            zone = self._zone(name, rdtype)
            node = zone.get_node(name)
            if node is None:
                self._deny_name(zone, name, found)
                break
            rdataset = node.get_rdataset(dns.rdataclass.IN, rdtype)
            if rdataset is not None:
                found.answer += _with_signature(name, node, rdtype)
                break
            alias = node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.CNAME)
            if alias is None:
                found.authority += _start(zone)
                found.authority += _with_signature(name, node, dns.rdatatype.NSEC)
                break
            found.answer += _with_signature(name, node, dns.rdatatype.CNAME)
            name = alias[0].target
        return found

    def _deny_name(self, zone: dns.zone.Zone, name: dns.name.Name, found: _Found) -> None:
        """Deny a name, or (for an empty non-terminal) all of its types (RFC 4035 sections 3.1.3.1 and 3.1.3.2)."""
        assert zone.origin is not None  # noqa: S101 - all zones of the tree have one
        names = self._names[zone.origin]
        found.authority += _start(zone)
        found.authority += self._covering(zone, name)
        if any(other.is_subdomain(name) for other in names):
            return
        found.rcode = dns.rcode.NXDOMAIN
        encloser = name.parent()
        while not any(other.is_subdomain(encloser) for other in names):
            encloser = encloser.parent()
        wildcard = self._covering(zone, dns.name.Name((b"*", *encloser.labels)))
        found.authority += [rrset for rrset in wildcard if rrset not in found.authority]

    def _covering(self, zone: dns.zone.Zone, name: dns.name.Name) -> list[dns.rrset.RRset]:
        """Give the NSEC record whose span holds the name."""
        assert zone.origin is not None  # noqa: S101 - see above
        before = [
            other
            for other in self._names[zone.origin]
            if other < name and (node := zone.get_node(other)) and node.get_rdataset(1, dns.rdatatype.NSEC)  # type: ignore[arg-type]
        ]
        return _with_signature(before[-1], zone.get_node(before[-1]), dns.rdatatype.NSEC) if before else []


class _Datagrams(asyncio.DatagramProtocol):
    """Hands datagrams to the server."""

    def __init__(self, server: Nameserver) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.DatagramTransport, transport)  # in 3.11 not of that class, though it is one

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer."""
        if self._transport is not None:
            self._server.datagram(self._transport, data, addr)


def _read(wire: bytes) -> dns.message.Message | None:
    """Read a query; None for what is none, which gets no answer."""
    try:
        query = dns.message.from_wire(wire)
    except dns.exception.DNSException:
        return None
    return query if len(query.question) == 1 and not query.flags & dns.flags.QR else None


def _with_signature(
    name: dns.name.Name | None, node: dns.node.Node | None, rdtype: dns.rdatatype.RdataType
) -> list[dns.rrset.RRset]:
    """Give a record set of a node with its signatures, as far as it has them."""
    if name is None or node is None:
        return []
    wanted = [node.get_rdataset(dns.rdataclass.IN, rdtype)]
    wanted.append(node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.RRSIG, rdtype))
    return [
        dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset)) for rdataset in wanted if rdataset is not None
    ]


def _start(zone: dns.zone.Zone) -> list[dns.rrset.RRset]:
    """Give the SOA record of a zone, which every denial has."""
    assert zone.origin is not None  # noqa: S101 - all zones of the tree have one
    return _with_signature(zone.origin, zone.get_node(zone.origin), dns.rdatatype.SOA)


def _shown(rrsets: list[dns.rrset.RRset], *, secure: bool) -> list[dns.rrset.RRset]:
    hidden = {dns.rdatatype.RRSIG, dns.rdatatype.NSEC}
    return [rrset for rrset in rrsets if secure or rrset.rdtype not in hidden]
