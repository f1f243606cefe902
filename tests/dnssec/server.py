"""A name server on loopback, UDP and TCP, for real programs: many trees below one root, each below a label of its own.

`World` finds the tree of a question by its last label, and the server gives what the world says: as a resolver that does
not validate, which a validator can forward to, or as the name server of all zones. Its threads end with the `with` block.
"""

import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
from dns.rdatatype import RdataType

from tests.dnssec.authority import answer
from tests.dnssec.zones import Tree

Respond = Callable[[dns.name.Name, RdataType], dns.message.Message]
Exchange = Callable[[bytes, int], bytes | None]
_ROOT: Respond = partial(answer, Tree(apex="nowhere"))


class World:
    """What answers for each label below the root; names below no label of it are denied by the root.

    `asked` counts questions.
    """

    def __init__(self, root: Respond = _ROOT) -> None:
        self._root = root
        self._places: dict[str, Respond] = {}
        self.asked = 0

    @contextmanager
    def placed(self, apex: str, respond: Respond) -> Iterator[None]:
        """Let all questions at and below the apex be answered by a function, for the time of the block."""
        self._places[apex.lower()] = respond
        try:
            yield
        finally:
            del self._places[apex.lower()]

    def respond(self, name: dns.name.Name, rdtype: RdataType) -> dns.message.Message:
        """Answer as a whole, with DNSSEC records."""
        label = name.labels[-2].decode(errors="replace").lower() if len(name) > 1 else ""
        there = self._places.get(label)
        return (there or self._root)(name, rdtype)

    def exchange(self, wire: bytes, limit: int) -> bytes | None:
        """Answer in octets, truncated to what the client takes; None for what is no query, which gets no answer."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if query.flags & dns.flags.QR or len(query.question) != 1:
            return None
        self.asked += 1
        response = self.respond(query.question[0].name, query.question[0].rdtype)
        response.id, response.question = query.id, query.question
        limit = limit or max(512, query.payload)
        try:
            return response.to_wire(max_size=limit)
        except dns.exception.TooBig:
            response.flags |= dns.flags.TC
            response.answer, response.authority, response.additional = [], [], []
            return response.to_wire()


class _Datagram(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        wire, listening = self.request
        response = cast(_Udp, self.server).exchange(wire, 0)
        if response is not None:
            listening.sendto(response, self.client_address)


class _Stream(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while len(head := self.rfile.read(2)) == 2:
            response = cast(_Tcp, self.server).exchange(self.rfile.read(*struct.unpack("!H", head)), 65535)
            if response is None:
                return
            self.wfile.write(struct.pack("!H", len(response)) + response)


class _Udp(socketserver.UDPServer):
    max_packet_size = 65535

    def __init__(self, address: tuple[str, int], exchange: Exchange) -> None:
        self.exchange = exchange
        super().__init__(address, _Datagram)


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], exchange: Exchange) -> None:
        self.exchange = exchange
        super().__init__(address, _Stream)


@contextmanager
def serve(world: World, address: str = "127.0.0.1") -> Iterator[int]:
    """Serve a world on a free port of an address, and give the port. Raises OSError."""
    for left in reversed(range(20)):
        tcp = _Tcp((address, 0), world.exchange)
        try:
            udp = _Udp(tcp.server_address[:2], world.exchange)  # type: ignore[arg-type]
        except OSError:  # somebody else's UDP port: try another
            tcp.server_close()
            if not left:
                raise
            continue
        break
    servers: tuple[socketserver.BaseServer, ...] = (udp, tcp)
    threads = [threading.Thread(target=one.serve_forever, args=(0.05,)) for one in servers]
    for thread in threads:
        thread.start()
    try:
        yield int(tcp.server_address[1])
    finally:
        for one in servers:
            one.shutdown()
            one.server_close()
        for thread in threads:
            thread.join()
