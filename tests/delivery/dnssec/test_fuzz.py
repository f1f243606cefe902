"""Signed responses with octets changed on the way: what comes out is the answer as it was, or a failure.

The responses are those of a real tree, a name server on loopback changes one of them at random, and they go the whole
way: over UDP and TCP, through the parser, to our own validator. Each change is made without knowing what it hits.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import dns.message
import dns.name
import dns.rdatatype
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from delivery.dnssec.anchors import Anchors
from delivery.local import LocalSettings, LocalValidator
from delivery.nameserver import Server
from ops.lab.nameserver import both_ways
from stages.answer import Absent, Answer, Failed, Failure, Found, Question, Security
from tests.dnssec.authority import answer
from tests.dnssec.zones import NOW, Denial, Tree, Zone

RECORDS = (
    "@ MX 10 mx", "@ MX 20 mx2", "mx A 192.0.2.1", "mx2 AAAA 2001:db8::1", f"_25._tcp.mx TLSA 3 1 1 {'ab' * 32}",
    f"*.w TLSA 3 1 1 {'cd' * 32}", "c CNAME mx.s.{apex}.", "dn DNAME s.{apex}.", "i CNAME h.u.{apex}.",
)  # fmt: skip


def _tree(denial: Denial) -> Tree:
    below = Zone("s", ("mx A 192.0.2.2", f"_25._tcp.mx TLSA 3 1 1 {'ef' * 32}"), algorithm=13, denial=denial)
    return Tree((Zone("", RECORDS, denial=denial), below, Zone("u", ("h A 192.0.2.3",), signed=False)))


TREES = (_tree(Denial()), _tree(Denial(nsec3=True, salt="ab", iterations=1)), _tree(Denial(nsec3=True, opt_out=True)))
ASKED = (
    "example MX", "_25._tcp.mx.example TLSA", "_25._tcp.q.w.example TLSA", "c.example A", "mx.dn.example A",
    "_25._tcp.mx.s.example TLSA", "_25._tcp.mx2.example TLSA", "q.q.example A", "_tcp.mx.example TLSA",
    "i.example A", "h.u.example A", "q.u.example A",
)  # fmt: skip

Change = Callable[[bytes], bytes]


def _asked(text: str) -> Question:
    return Question(*text.split())


class _Liar(asyncio.DatagramProtocol):
    """Answers from a tree, over UDP and TCP, and changes the octets of the answer to one question."""

    def __init__(self) -> None:
        self.tree = TREES[0]
        self.victim: Question | None = None
        self.change: Change = bytes
        self.questions: list[Question] = []
        self._transport: asyncio.DatagramTransport | None = None
        self._wires: dict[tuple[Tree, Question], bytes] = {}

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(self._response(data), addr)

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        response = self._response(query)
        writer.write(len(response).to_bytes(2, "big") + response)
        writer.close()

    def _response(self, query: bytes) -> bytes:
        asked = dns.message.from_wire(query).question[0]
        question = Question(asked.name.to_text(omit_final_dot=asked.name != dns.name.root), asked.rdtype.name)
        self.questions.append(question)
        place = (self.tree, question)
        if place not in self._wires:
            self._wires[place] = answer(self.tree, asked.name, asked.rdtype).to_wire(max_size=65_535)
        wire = query[:2] + self._wires[place][2:]
        return self.change(wire) if question == self.victim else wire


@dataclass(frozen=True, slots=True)
class _Lab:
    """A liar, and a validator that asks it; `errors` is what the event loop told of."""

    liar: _Liar
    server: Server
    validator: LocalValidator
    errors: list[Mapping[str, Any]]
    run: Callable[[Any], Any]

    def answer(self, question: Question) -> Answer:
        """Ask anew, with nothing kept of earlier questions."""

        async def asking() -> Answer:
            try:
                return await self.validator.ask(self.server, question)
            finally:
                others = asyncio.all_tasks() - {asyncio.current_task()}
                await asyncio.gather(*others, return_exceptions=True)

        self.run(self.validator.forget())
        given: Answer = self.run(asking())
        return given


@contextmanager
def _lab() -> Iterator[_Lab]:
    errors: list[Mapping[str, Any]] = []
    with asyncio.Runner() as runner:
        liar = _Liar()
        port, tcp, udp = both_ways("127.0.0.1")

        async def opened() -> tuple[asyncio.Server, asyncio.DatagramTransport]:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: liar, sock=udp)
            return await asyncio.start_server(liar.stream, sock=tcp), transport

        async def close() -> None:
            server.close()
            transport.close()

        server, transport = runner.run(opened())
        runner.get_loop().set_exception_handler(lambda _loop, context: errors.append(context))
        validator = LocalValidator(LocalSettings(Anchors.parse(TREES[0].anchor), patience=5), lambda: NOW)
        yield _Lab(liar, Server("127.0.0.1", port), validator, errors, runner.run)
        runner.run(close())


# Changes


def _at(wire: bytes, where: int) -> int:
    """Give a place in a message: among flags and counts for a small number, else behind the question."""
    if where < 10:
        return min(2 + where, len(wire))
    start = min(12 + wire[12:].find(b"\0") + 5, len(wire)) if len(wire) > 12 else len(wire)
    return start + where % (len(wire) - start + 1)


def _put(where: int, octets: bytes) -> Change:
    return lambda wire: wire[: _at(wire, where)] + octets + wire[_at(wire, where) + len(octets) :]


def _flip(where: int, bit: int) -> Change:
    def flip(wire: bytes) -> bytes:
        at = _at(wire, where)
        return wire[:at] + bytes(octet ^ (1 << bit) for octet in wire[at : at + 1]) + wire[at + 1 :]

    return flip


def _insert(where: int, octets: bytes) -> Change:
    return lambda wire: wire[: _at(wire, where)] + octets + wire[_at(wire, where) :]


def _drop(where: int, count: int) -> Change:
    return lambda wire: wire[: _at(wire, where)] + wire[_at(wire, where) + count :]


def _copy(source: int, target: int, count: int) -> Change:
    return lambda wire: _put(target, wire[_at(wire, source) :][:count])(wire)


def _cut(where: int) -> Change:
    return lambda wire: wire[: _at(wire, where)]


HEAD, BODY = st.integers(0, 9), st.integers(10, 4000)
WHERE = HEAD | BODY
OCTETS = st.binary(min_size=1, max_size=4) | st.sampled_from([b"\0", b"\xff", b"\xc0\x0c", b"\0\x2e", b"\0\0\0\0"])
FLIPS = st.builds(_flip, BODY, st.integers(0, 7))
SAME_SIZE = (  # what is still a message as often as not
    st.builds(_flip, WHERE, st.integers(0, 7))
    | st.builds(_put, BODY, OCTETS)
    | st.builds(_copy, BODY, BODY, st.integers(1, 4))
)
OTHER_SIZE = (
    st.builds(_insert, WHERE, OCTETS)
    | st.builds(_drop, WHERE, st.integers(1, 40))
    | st.builds(_copy, WHERE, WHERE, st.integers(1, 80))
    | st.builds(_cut, WHERE)
)
CHANGES = (
    st.lists(FLIPS, min_size=1, max_size=2)
    | st.lists(FLIPS | SAME_SIZE, min_size=1, max_size=2)
    | st.lists(FLIPS | SAME_SIZE | OTHER_SIZE, min_size=1, max_size=4)
)


def _all(changes: list[Change]) -> Change:
    def changed(wire: bytes) -> bytes:
        for change in changes:
            wire = change(wire)
        return wire

    return changed


# What holds


def _told(one: Answer) -> Answer:
    """Give an answer without what changes with TTLs and dates, its records in one order."""
    assert not isinstance(one, Failed)
    bare = replace(one, expires=NOW, chain=())
    return replace(bare, records=tuple(sorted(bare.records, key=repr))) if isinstance(bare, Found) else bare


@dataclass(frozen=True, slots=True)
class _Original:
    """A question with its answer, and all that is asked for it."""

    tree: Tree
    question: Question
    answer: Answer
    needed: tuple[Question, ...]


def _originals(lab: _Lab) -> list[_Original]:
    found = []
    for tree in TREES:
        for question in map(_asked, ASKED):
            lab.liar.tree, lab.liar.victim = tree, None
            lab.liar.questions.clear()
            found.append(_Original(tree, question, lab.answer(question), tuple(lab.liar.questions)))
    return found


def _holds(original: _Original, given: object) -> bool:
    """Tell whether an answer is no better, no worse and no other than the original, or says that there is none."""
    assert isinstance(given, Found | Absent | Failed)
    if isinstance(given, Failed):
        return True
    assert not isinstance(original.answer, Failed)
    if original.answer.security is Security.INSECURE:
        return given.security is Security.INSECURE
    return _told(given) == _told(original.answer)


def test_what_was_changed_on_the_way_is_never_believed() -> None:
    """SEC-21, SEC-30: a secure answer stays as it was or fails, an insecure one is never secure, and nothing is raised."""
    with _lab() as lab:
        originals = _originals(lab)
        assert not [one for one in originals if isinstance(one.answer, Failed)]

        seen: Counter[str] = Counter()

        @settings(
            max_examples=2500, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(st.sampled_from(originals), st.integers(0, 20), CHANGES)
        def judge(original: _Original, which: int, changes: list[Change]) -> None:
            lab.liar.tree = original.tree
            lab.liar.victim = original.needed[which % len(original.needed)]
            lab.liar.change = _all(changes)
            given = lab.answer(original.question)
            assert _holds(original, given)
            seen[given.failure if isinstance(given, Failed) else given.security] += 1

        judge()
    assert not lab.errors
    assert min(seen[one] for one in (Security.SECURE, Security.INSECURE, Failure.BOGUS, Failure.MALFORMED)) > 30, seen
