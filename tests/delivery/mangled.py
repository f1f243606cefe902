"""A resolver that does not validate, whose answers may lose something on the way, over UDP and TCP each for itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import dns.message
import dns.rdatatype

from delivery.nameserver import Server
from tests.dnssec.authority import answer
from tests.dnssec.server import World, serve
from tests.dnssec.zones import Tree

Change = Callable[[dns.message.Message], None]


def nothing(_message: dns.message.Message) -> None:
    """Leave an answer as it is."""


def without(*rdtypes: dns.rdatatype.RdataType, asked: str = "") -> Change:
    """Take records of some types out of an answer; with `asked`, only of the answers to questions of that type."""

    def change(message: dns.message.Message) -> None:
        if asked in {"", dns.rdatatype.to_text(message.question[0].rdtype)}:
            message.answer = [one for one in message.answer if one.rdtype not in rdtypes]
            message.authority = [one for one in message.authority if one.rdtype not in rdtypes]

    return change


class Mangled(World):
    """Gives the answers of a tree as they are after a change; `asked_over` are the questions that came."""

    def __init__(self, tree: Tree, udp: Change = nothing, tcp: Change = nothing) -> None:
        super().__init__(partial(answer, tree))
        self.changes = {"udp": udp, "tcp": tcp}
        self.asked_over: dict[str, list[str]] = {"udp": [], "tcp": []}

    def exchange(self, wire: bytes, limit: int) -> bytes | None:
        """Answer in octets; only over TCP there is a limit from the start."""
        way = "tcp" if limit else "udp"
        response = dns.message.from_wire(super().exchange(wire, limit) or b"")
        asked = response.question[0]
        name = asked.name.to_text(omit_final_dot=True)
        self.asked_over[way].append(f"{name}/{dns.rdatatype.to_text(asked.rdtype)}")
        self.changes[way](response)
        return response.to_wire()

    @contextmanager
    def served(self) -> Iterator[Server]:
        """Serve on loopback."""
        with serve(self) as port:
            yield Server("127.0.0.1", port)
