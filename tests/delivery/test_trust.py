"""Whether a resolver serves: canaries that are proven here, the ways of `dns.validation`, and what is told of them."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest

from delivery.dnssec.anchors import Anchors
from delivery.nameserver import Server
from delivery.trust import Canary, Examination, Expected, Outcome, Source, examine_as, examine_local, together
from stages.answer import Absent, Answer, Failed, Failure, Found, Question, Security
from tests.delivery.test_nameserver import reply, serving

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SERVER, ELSEWHERE = Server("127.0.0.1"), Server("192.0.2.53")
QUESTION = Question("canary.example", "A")
Ask = Callable[[Server, Question], Awaitable[Answer]]


def found(security: Security) -> Answer:
    """Give records."""
    return Found(QUESTION, security, (), QUESTION.name, (), NOW)


def absent(security: Security, *, nxdomain: bool = False) -> Answer:
    """Give a denial."""
    return Absent(QUESTION, security, nxdomain, QUESTION.name, (), NOW)


def failed(failure: Failure) -> Answer:
    """Give a failure."""
    return Failed(QUESTION, failure, "RRSIG expired", NOW)


def saying(*answers: Answer) -> Ask:
    """Give an `ask` with these answers, the last one for ever."""
    left = list(answers)

    async def ask(_server: Server, _question: Question) -> Answer:
        return left.pop(0) if len(left) > 1 else left[0]

    return ask


SECURE, INSECURE = found(Security.SECURE), found(Security.INSECURE)
DENIED, GONE = absent(Security.SECURE), absent(Security.INSECURE, nxdomain=True)
BOGUS, SILENT = failed(Failure.BOGUS), failed(Failure.TIMEOUT)


@pytest.mark.parametrize(
    ("expected", "answer", "passed", "got"),
    [
        (Expected.SECURE, SECURE, True, "secure"),
        (Expected.SECURE, INSECURE, False, "insecure"),
        (Expected.SECURE, DENIED, False, "secure nodata"),
        (Expected.SECURE, BOGUS, False, "bogus (RRSIG expired)"),
        (Expected.SECURE, SILENT, False, "timeout (RRSIG expired)"),
        (Expected.ABSENT, DENIED, True, "secure nodata"),
        (Expected.ABSENT, SECURE, False, "secure"),
        (Expected.ABSENT, GONE, False, "insecure nxdomain"),
        (Expected.INSECURE, INSECURE, True, "insecure"),
        (Expected.INSECURE, GONE, True, "insecure nxdomain"),
        (Expected.INSECURE, SECURE, False, "secure"),
        (Expected.INSECURE, BOGUS, False, "bogus (RRSIG expired)"),
        (Expected.BOGUS, BOGUS, True, "bogus (RRSIG expired)"),
        (Expected.BOGUS, SILENT, False, "timeout (RRSIG expired)"),
        (Expected.BOGUS, SECURE, False, "secure"),
        (Expected.BOGUS, INSECURE, False, "insecure"),
    ],
)
async def test_each_canary_takes_its_own_answer_only(
    expected: Expected,
    answer: Answer,
    passed: bool,  # noqa: FBT001 - a column of the table
    got: str,
) -> None:
    """DANE-05: proven secure, denied, insecure or bogus: any other word, and silence, fails the self-test."""
    found_there = await examine_local(ELSEWHERE, (Canary(QUESTION, expected),), saying(answer))
    (outcome,) = found_there.outcomes
    assert (found_there.passed, outcome.passed, outcome.got) == (passed, passed, got)
    assert found_there.source is Source.LOCAL
    assert bool(found_there.fault) is not passed
    assert passed or "gives no answers that can be proven: canary.example/A: " in found_there.fault


async def test_a_bogus_canary_that_is_gone_proves_nothing() -> None:
    """DANE-05: whoever took the broken name out of DNS raises no alarm, and is told of."""
    (outcome,) = (await examine_local(SERVER, (Canary(QUESTION, Expected.BOGUS),), saying(DENIED))).outcomes
    assert (outcome.passed, outcome.stale) == (True, True)
    assert str(outcome).endswith("(canary out of date)")


async def test_a_canary_is_asked_twice() -> None:
    """One lost packet suspends nothing; the same answer twice does."""
    canaries = (Canary(QUESTION, Expected.SECURE),)
    assert (await examine_local(SERVER, canaries, saying(SILENT, SECURE))).passed
    assert not (await examine_local(SERVER, canaries, saying(SILENT, SILENT, SECURE))).passed


def _authentic(query: dns.message.Message) -> bytes:
    return reply(query, "canary.example. 60 A 192.0.2.1", flags=dns.flags.AD).to_wire()


def _plain(query: dns.message.Message) -> bytes:
    return reply(query, "canary.example. 60 A 192.0.2.1").to_wire()


@pytest.mark.parametrize(
    ("ways", "resolver", "proven", "source", "passed"),
    [
        ("trusted", _authentic, SILENT, Source.TRUSTED, True),
        ("trusted", _plain, SECURE, Source.TRUSTED, False),
        ("local", _plain, SECURE, Source.LOCAL, True),
        ("local", _authentic, INSECURE, Source.LOCAL, False),
        ("auto", _authentic, SILENT, Source.TRUSTED, True),
        ("auto", _plain, SECURE, Source.LOCAL, True),
        ("auto", _plain, SILENT, Source.LOCAL, False),
        ("both", _authentic, SECURE, Source.BOTH, True),
        ("both", _authentic, SILENT, Source.BOTH, False),
        ("both", _plain, SECURE, Source.BOTH, False),
    ],
)
async def test_the_ways_of_validation(
    ways: Literal["auto", "trusted", "local", "both"],
    resolver: Callable[[dns.message.Message], bytes],
    proven: Answer,
    source: Source,
    passed: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """DANE-05: `auto` believes where the AD bit passes and proves where it does not; `both` needs both."""
    canaries = (Canary(QUESTION, Expected.SECURE),)
    async with serving(resolver) as server:
        made = await examine_as(ways, server, canaries, (), 2.0, saying(proven))
    assert (made.source, made.passed) == (source, passed)
    assert made.why
    if ways == "auto" and source is Source.LOCAL:
        assert "fails its self-test: canary.example/A: NOERROR without AD" in made.why


@pytest.mark.parametrize(("ways", "passed"), [("auto", True), ("local", True), ("trusted", False), ("both", False)])
async def test_a_resolver_elsewhere(ways: Literal["auto", "trusted", "local", "both"], passed: bool) -> None:  # noqa: FBT001 - a column
    """DANE-05 (RFC 4035 4.9.3): its word does not count, its records do, and `auto` says which and why."""
    made = await examine_as(ways, ELSEWHERE, (Canary(QUESTION, Expected.SECURE),), (), 2.0, saying(SECURE))
    assert made.passed is passed
    if ways != "local":
        assert made.why.startswith("the resolver 192.0.2.53@53 is neither on loopback nor named in dns.trust")


def test_what_was_believed_before() -> None:
    """What came while one way passed is thrown away once that way fails, even if another one then passes."""
    bad = (Outcome(Canary(QUESTION, Expected.SECURE), "insecure", passed=False),)
    by_word, by_proof = (
        Examination(SERVER, (), trusted=True),
        Examination(SERVER, (), trusted=True, source=Source.LOCAL),
    )
    lost = Examination(SERVER, bad, trusted=True)
    assert by_word.differs(lost)
    assert by_word.differs(by_proof)
    assert not by_word.differs(by_word)
    assert not lost.differs(by_word)
    assert together(by_word, by_proof).passed
    unproven = Examination(SERVER, bad, trusted=True, source=Source.LOCAL)
    assert not together(by_word, unproven).passed
    assert "gives no answers that can be proven: " in unproven.fault
    assert "fails its self-test: " in together(lost, by_proof).fault  # its records may well be proven


def test_the_event_says_source_reason_and_where_nothing_is_validated() -> None:
    """SEC-22, SEC-76: `resolver.canary` has what an operator must know: who, how, whether, why, and the negative anchors in force."""
    zones = Anchors.parse(". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D").zones
    ends = {"Broken.example.": NOW + timedelta(hours=1), "mended.example.": NOW - timedelta(hours=1)}
    anchors = Anchors(zones, {dns.name.from_text(name): until for name, until in ends.items()})
    made = Examination(SERVER, (), trusted=True, source=Source.LOCAL, also="the resolver validates nothing")
    told: Mapping[str, object] = made.told(anchors.in_force(NOW))
    assert told == {
        "resolver": "127.0.0.1@53", "source": "local", "passed": True, "canaries": [],
        "text": "passes its self-test; proven here, since the resolver validates nothing; "
        "not validated: broken.example until 2026-11-25T13:00Z",
    }  # fmt: skip
    assert made.why == "the resolver validates nothing"
    plain = Examination(SERVER, (), trusted=True)
    assert (plain.why, plain.told({})["text"]) == ("passes its self-test", "passes its self-test")
