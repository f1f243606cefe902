"""Plain answers are read as the whole reader reads them, and all else is left to it.

Messages are made at random with the library, plain and otherwise, and then changed without knowing what is hit.
"""

import io
import struct
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import dns.edns
import dns.exception
import dns.flags
import dns.ipv6
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from delivery.plain import read_plain
from delivery.responses import Lifetimes, failure_of, read
from stages.answer import Absent, Answer, Found, Question, Security
from stages.records import MX
from tests.delivery.dnssec.test_fuzz import CHANGES, Change

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LIFETIMES = Lifetimes()
MANY = settings(
    deadline=None, database=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck), max_examples=1500,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Made:
    """A response: records in zone-file form of answer, authority and additional section, and what its head says."""

    question: Question
    answer: tuple[str, ...] = ()
    authority: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()
    flags: int = dns.flags.QR | dns.flags.RA | dns.flags.AD
    extended: int | None = 0  # the extended flags (RFC 6891 section 6.1.3); None: without EDNS
    options: tuple[dns.edns.Option, ...] = field(default=())
    compressed: bool = True

    def wire(self) -> bytes:
        """Write it record by record, so that duplicates stay, each with its TTL."""
        out = io.BytesIO()
        names: dict[dns.name.Name, int] | None = {} if self.compressed else None
        sections = (self.answer, self.authority, self.additional)
        counts = [len(self.answer), len(self.authority), len(self.additional) + (self.extended is not None)]
        out.write(struct.pack("!6H", 7, self.flags, 1, *counts))
        asked = dns.name.from_text(self.question.name.replace("mx", "Mx"))
        asked.to_wire(out, names)
        out.write(struct.pack("!HH", dns.rdatatype.from_text(self.question.rdtype), dns.rdataclass.IN))
        for line in (line for section in sections for line in section):
            owner, ttl, rdtype, data = line.split(" ", 3)
            name = asked if owner == "@" else dns.name.from_text(owner)
            rdata = dns.rdata.from_text(dns.rdataclass.IN, rdtype, data)
            dns.rrset.from_rdata(name, int(ttl), rdata).to_wire(out, names)
        if self.extended is not None:
            written = [(one.otype, one.to_wire() or b"") for one in self.options]
            options = b"".join(struct.pack("!HH", code, len(octets)) + octets for code, octets in written)
            out.write(struct.pack("!BHHIH", 0, dns.rdatatype.OPT, 1232, self.extended, len(options)) + options)
        return out.getvalue()


def _judged(question: Question, wire: bytes, *, secured: bool = True) -> Answer | None:
    """Read with the whole reader; None where it finds no message, a failure, or one that is cut off."""
    try:
        response = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError):
        return None
    if failure_of(response) is not None or response.flags & dns.flags.TC:
        return None
    secure = secured and bool(response.flags & dns.flags.AD)
    return read(question, response, secure=secure, now=NOW, lifetimes=LIFETIMES, source="r")


def _lean(question: Question, wire: bytes, *, secured: bool = True) -> Found | Absent | None:
    return read_plain(question, wire, secured=secured, now=NOW, lifetimes=LIFETIMES, source="r")


# Messages

TTLS = st.sampled_from([0, 1, 59, 60, 3600, 86_400, 90_000, 2**31 - 1, 2**31, 2**32 - 1])
ENDS = st.sampled_from(["20200101000000", "20261123120030", "20261123121000", "20261201000000", "21060207062815"])
HOSTS = st.sampled_from(["mx.example.", "MX.Example.", "a_b.mx.example.", ".", "xn--bcher-kva.example."])
HEX = st.binary(max_size=70).map(bytes.hex)
DATA = {
    "A": st.sampled_from(["192.0.2.1", "192.0.2.2", "0.0.0.0", "255.255.255.255"]),
    "AAAA": st.binary(min_size=16, max_size=16).map(dns.ipv6.inet_ntoa)
    | st.sampled_from(["::", "::1", "::ffff:192.0.2.1", "::192.0.2.1", "2001:db8::1:0:0:1", "2001:db8:0:1:1:1:1:1"]),
    "MX": st.builds("{} {}".format, st.sampled_from([0, 10, 65_535]), HOSTS),
    "TLSA": st.builds("{} {} {} {}".format, *[st.integers(0, 255)] * 3, HEX.filter(bool))
    | st.sampled_from([f"3 1 1 {'ab' * 32}", f"2 0 1 {'cd' * 32}"]),
}


def _line(owner: str, ttl: int, rdtype: str, data: str) -> str:
    return f"{owner} {ttl} {rdtype} {data}"


def _signatures(owner: str, covered: str) -> st.SearchStrategy[str]:
    data = st.builds(f"{covered} 13 3 60 {{}} 20260101000000 7 example. AAAA".format, ENDS)
    return st.builds(_line, st.just(owner), TTLS, st.just("RRSIG"), data)


SOA = st.builds("ns.example. root.example. 1 2 3 4 {}".format, TTLS)
NSEC = st.sampled_from(["z.example. A RRSIG NSEC", "\\000.mx.example. RRSIG NSEC CAA", "example."])
NSEC3 = st.sampled_from(
    ["1 1 0 - 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG", "1 0 5 aabb 2vptu5timamqttgl4luu9kg21e0aor3s"]
)
PROOFS = st.one_of(
    st.builds(_line, st.sampled_from(["@", "MX.example.", "mx.example.", "\\000z.example."]), TTLS, st.just("NSEC"), NSEC),
    st.builds(_line, st.sampled_from(["2t.example.", "2T.example.", "2v.example."]), TTLS, st.just("NSEC3"), NSEC3),
    _signatures("mx.example.", "NSEC"), _signatures("@", "NSEC"), _signatures("2t.example.", "NSEC3"),
    _signatures("example.", "SOA"), _signatures("EXAMPLE.", "SOA"), _signatures("other.example.", "SOA"),
)  # fmt: skip
FLAGS = st.sampled_from([dns.flags.QR, dns.flags.QR | dns.flags.AD, dns.flags.QR | dns.flags.AD | dns.flags.AA])


@st.composite
def _authorities(draw: st.DrawFn) -> tuple[str, ...]:
    soa = [_line("example.", draw(TTLS), "SOA", draw(SOA))] if draw(st.integers(0, 3)) else []
    return tuple(draw(st.permutations(soa + draw(st.lists(PROOFS, max_size=5)))))


@st.composite
def _plain(draw: st.DrawFn) -> _Made:
    """Make a plain response: records with signatures, or the proof of none."""
    rdtype = draw(st.sampled_from(sorted(DATA)))
    question = Question(draw(st.sampled_from(["mx.example", "_25._tcp.mx.example", "m-x.example", "x"])), rdtype)
    proof = draw(_authorities())
    answer: list[str] = []
    if draw(st.booleans()):
        of_type = st.builds(_line, st.just("@"), TTLS, st.just(rdtype), DATA[rdtype])
        answer = draw(st.lists(of_type, min_size=1, max_size=5)) + draw(st.lists(_signatures("@", rdtype), max_size=3))
        answer = draw(st.permutations(answer))
        proof = proof if draw(st.booleans()) else ()
    extended = draw(st.sampled_from([0, dns.flags.DO, None]))
    return _Made(question, tuple(answer), proof, flags=draw(FLAGS), extended=extended)


OTHERS = st.sampled_from([
    "@ 60 CNAME mx2.example.", "mx2.example. 60 A 192.0.2.1", "mx2.example. 60 TLSA 3 1 1 ab", "example. 60 NS ns.example.",
    "example. 60 DNAME test.", "@ 60 TXT x", "@ 60 MX 10 \\046.example.", "@ 60 MX 10 a\\.b.example.", "@ 60 A 192.0.2.9",
    "ns.example. 60 A 192.0.2.3", "@ 60 RRSIG TXT 13 3 60 20261201000000 20260101000000 7 example. AAAA",
    "mx2.example. 60 SOA ns.example. root.example. 1 2 3 4 5", "example. 30 SOA ns.example. root.example. 1 2 3 4 7",
])  # fmt: skip
EDE = st.builds(dns.edns.EDEOption, st.sampled_from([0, 3, 6, 15, 22]), st.none() | st.just("text"))


@st.composite
def _any(draw: st.DrawFn) -> _Made:
    """Make a response that may have anything besides."""
    made = draw(_plain())
    more = st.lists(OTHERS, max_size=2).map(tuple)
    return replace(
        made,
        question=replace(made.question, rdtype=draw(st.sampled_from([made.question.rdtype] * 4 + ["A", "TXT"]))),
        answer=draw(more) + made.answer + draw(more),
        authority=made.authority + draw(more),
        additional=draw(st.just(()) | more),
        flags=made.flags | draw(st.sampled_from([0, 0, 0, 3, 2, 5, dns.flags.TC, 0x2000])),
        extended=draw(st.sampled_from([0, 0, None, dns.flags.DO, 1 << 16, 1 << 24])),
        options=draw(st.lists(EDE, max_size=1).map(tuple)),
        compressed=draw(st.booleans()),
    )


# What holds


def test_plain_answers_are_read_as_the_whole_reader_reads_them() -> None:
    """DANE-10 (RFC 2181 5.2, 2308 5, 4035 5.3.3): the same records in their order, the same security and lifetime."""
    seen: Counter[object] = Counter()

    @MANY
    @given(_plain(), st.booleans())
    def judge(made: _Made, secured: bool) -> None:  # noqa: FBT001 - Hypothesis passes it
        wire = made.wire()
        given = _lean(made.question, wire, secured=secured)
        assert given is not None
        assert given == _judged(made.question, wire, secured=secured)
        seen[type(given), given.security] += 1

    judge()
    assert min(seen[kind, one] for kind in (Found, Absent) for one in Security) > 50, seen


def test_what_is_not_plain_is_left_to_the_whole_reader() -> None:
    """DANE-10, DANE-11 (RFC 7672 2.1.2, 2.1.3): aliases, errors, other records: no answer, or the very same one."""
    seen: Counter[bool] = Counter()

    @MANY
    @given(_any())
    def judge(made: _Made) -> None:
        wire = made.wire()
        given = _lean(made.question, wire)
        assert given is None or given == _judged(made.question, wire)
        seen[given is None] += 1

    judge()
    assert min(seen[True], seen[False]) > 50, seen


def test_changed_octets_never_raise_and_are_never_read_otherwise() -> None:
    """SEC-30: where the whole reader finds no message there is no answer, and where it finds one, no other answer."""
    seen: Counter[str] = Counter()

    @settings(MANY, max_examples=3000)
    @given(_plain(), st.lists(CHANGES, min_size=1, max_size=2))
    def judge(made: _Made, changes: list[list[Change]]) -> None:
        wire = original = made.wire()
        for change in (one for some in changes for one in some):
            wire = change(wire)
        given, judged = _lean(made.question, wire), _judged(made.question, wire)
        assert given is None or given == judged
        seen["same" if wire == original else "left" if given is None else "read"] += 1

    judge()
    assert min(seen["left"], seen["read"]) > 500, seen


@settings(MANY, max_examples=100)
@given(st.binary(max_size=60))
def test_no_octets_raise(octets: bytes) -> None:
    """SEC-30: the beginning of a plain answer, and then anything."""
    question = Question("x", "TLSA")
    wire = _Made(question, ("@ 60 TLSA 3 1 1 ab",), extended=None).wire()
    for size in range(len(wire)):
        assert _lean(question, wire[:size]) is None
        assert _lean(question, wire[:size] + octets) in {None, _judged(question, wire[:size] + octets)}


PLAIN = _Made(Question("mx.example", "MX"), ("@ 60 MX 10 a.example.", "@ 30 MX 10 A.Example."))


def test_duplicates_are_dropped_and_the_least_ttl_counts() -> None:
    """RFC 2181 5, 5.2: names that differ by case are one record, whose set ends with its shortest TTL."""
    given = _lean(PLAIN.question, PLAIN.wire())
    assert isinstance(given, Found)
    assert given.records == (MX(10, "a.example"),)
    assert (given.expires - NOW).total_seconds() == 30


@pytest.mark.parametrize(
    "made",
    [
        replace(PLAIN, flags=PLAIN.flags | dns.flags.TC),
        replace(PLAIN, flags=PLAIN.flags | 3),
        replace(PLAIN, flags=dns.flags.AD),
        replace(PLAIN, extended=1 << 24),
        replace(PLAIN, extended=1 << 16),
        replace(PLAIN, options=(dns.edns.EDEOption(dns.edns.EDECode.BLOCKED),)),
        replace(PLAIN, compressed=False),
        replace(PLAIN, answer=("@ 60 CNAME b.example.", "b.example. 60 MX 10 a.example.")),
        replace(PLAIN, answer=("@ 60 MX 10 a\\.b.example.",)),
        replace(PLAIN, answer=("@ 60 RRSIG MX 13 2 60 20261201000000 20260101000000 7 example. AAAA",)),
        replace(PLAIN, authority=("example. 60 NS ns.example.",)),
        replace(PLAIN, additional=("a.example. 60 A 192.0.2.1",)),
        replace(PLAIN, question=Question("mx\\.a.example", "MX")),
        replace(PLAIN, question=Question(".", "MX")),
        replace(PLAIN, question=Question("mx.example", "TXT"), answer=("@ 60 TXT x",)),
    ],
    ids=[
        "cut off", "NXDOMAIN", "no response", "extended RCODE", "EDNS version", "extended error", "uncompressed", "alias",
        "dot in a label", "signature of nothing", "delegation", "addresses besides", "odd question", "root", "other type",
    ],
)  # fmt: skip
def test_each_unusual_thing_is_left_to_the_whole_reader(made: _Made) -> None:
    """RFC 8914 2, RFC 6891 6.1.3: what may change the meaning, and what is rare, is not judged here."""
    assert _lean(made.question, made.wire()) is None


def test_another_question_or_more_octets_are_not_plain() -> None:
    """RFC 5452 9.1: a response to another name or type, or with something behind it, says nothing here."""
    assert _lean(Question("my.example", "MX"), PLAIN.wire()) is None
    assert _lean(Question("mx.example", "A"), PLAIN.wire()) is None
    assert _lean(PLAIN.question, PLAIN.wire() + b"\0") is None
