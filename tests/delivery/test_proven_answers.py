"""From what was proven to the answer that stages read; and what a resolver says that is no answer."""

from datetime import UTC, datetime, timedelta

import dns.edns
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest

from delivery.dnssec.anchors import ROOT, Anchors
from delivery.dnssec.replies import Link, Outcome, Status
from delivery.local import LocalSettings, LocalValidator, answer_of, line
from delivery.nameserver import Server
from delivery.responses import Lifetimes
from stages.answer import Absent, ExtendedError, Failed, Failure, Found, Proof, Question, Security
from stages.records import MX
from tests.delivery.test_nameserver import reply, serving
from tests.needs import silent_port

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
QUESTION = Question("example.com", "MX")
LIFETIMES = Lifetimes(found=timedelta(hours=1), absent=timedelta(minutes=10), failed=timedelta(seconds=5))
LINK = Link("example.com", "example.com/MX", Status.SECURE, "signed by example.com/13/4711")
RRSET = dns.rrset.from_text("example.com.", 300, "IN", "MX", "10 mx.example.com.")


def test_a_step_is_one_line() -> None:
    """Zone, question, state and text stand in a line, in this order."""
    assert line(LINK) == "example.com: example.com/MX: secure: signed by example.com/13/4711"


@pytest.mark.parametrize(
    ("status", "security"), [(Status.SECURE, Security.SECURE), (Status.INSECURE, Security.INSECURE)]
)
@pytest.mark.parametrize(
    ("lasts", "kept"), [(timedelta(seconds=60), timedelta(seconds=60)), (timedelta(days=2), timedelta(hours=1))]
)
def test_records(status: Status, security: Security, lasts: timedelta, kept: timedelta) -> None:
    """SEC-31: an answer is kept as long as its proof holds, and no longer than `dns.max_ttl`."""
    outcome = Outcome(status, NOW + lasts, (LINK,), rrset=RRSET)
    assert answer_of(QUESTION, outcome, "r", NOW, LIFETIMES) == Found(
        QUESTION, security, (MX(10, "mx.example.com"),), "example.com", (), NOW + kept, "r", (line(LINK),)
    )


@pytest.mark.parametrize("nxdomain", [True, False])
def test_a_denial_after_an_alias(nxdomain: bool) -> None:  # noqa: FBT001 - a column of the table
    """SEC-82 (RFC 2308 5): a denial is kept no longer than `dns.max_negative_ttl`; the last alias is canonical."""
    aliases = (dns.name.from_text("B.example."), dns.name.from_text("c.example."))
    outcome = Outcome(Status.SECURE, NOW + timedelta(days=1), aliases=aliases, nxdomain=nxdomain)
    assert answer_of(QUESTION, outcome, "r", NOW, LIFETIMES) == Absent(
        QUESTION, Security.SECURE, nxdomain, "c.example", ("b.example", "c.example"), NOW + timedelta(minutes=10), "r"
    )


@pytest.mark.parametrize(("code", "ede"), [(7, (ExtendedError(7, "why"),)), (None, ())])
def test_bogus_bears_our_own_proof(code: int | None, ede: tuple[ExtendedError, ...]) -> None:
    """DANE-06, SEC-65: bogus is shown by the validator, has its code, and is kept for as long as the rules say."""
    outcome = Outcome(Status.BOGUS, NOW + timedelta(seconds=60), (LINK,), "why", code)
    expected = Failed(
        QUESTION, Failure.BOGUS, "why", NOW + timedelta(seconds=60), ede, (Proof.VALIDATOR,), "r", (line(LINK),)
    )
    assert answer_of(QUESTION, outcome, "r", NOW, LIFETIMES) == expected


@pytest.mark.parametrize(("failure", "expected"), [(None, Failure.INDETERMINATE), (Failure.TIMEOUT, Failure.TIMEOUT)])
def test_indeterminate_proves_nothing(failure: Failure | None, expected: Failure) -> None:
    """DANE-10 (RFC 7672 2.1.2): what could not be looked up keeps the name of its cause, and has no proof."""
    outcome = Outcome(Status.INDETERMINATE, NOW, (), "why", 5, failure)
    assert answer_of(QUESTION, outcome, "r", NOW, LIFETIMES) == Failed(
        QUESTION, expected, "why", NOW + LIFETIMES.failed, (), (), "r"
    )


def _validator(patience: float = 2.0) -> LocalValidator:
    return LocalValidator(LocalSettings(patience=patience), lambda: NOW)


async def test_silence_is_a_timeout() -> None:
    """SEC-87: a resolver that says nothing makes no zone insecure."""
    with silent_port() as port:
        answer = await _validator(0.05).ask(Server("127.0.0.1", port), QUESTION)
    assert isinstance(answer, Failed)
    assert answer.failure is Failure.TIMEOUT
    assert f"127.0.0.1@{port} did not answer within 0.05 s" in answer.text


@pytest.mark.parametrize(
    ("rcode", "code", "failure"),
    [
        (dns.rcode.SERVFAIL, None, Failure.SERVFAIL),
        (dns.rcode.REFUSED, None, Failure.REFUSED),
        (dns.rcode.NXDOMAIN, 15, Failure.BLOCKED),
        (dns.rcode.NOERROR, 17, Failure.BLOCKED),
    ],
)
async def test_what_a_resolver_refuses_is_no_denial(rcode: dns.rcode.Rcode, code: int | None, failure: Failure) -> None:
    """SEC-79 (RFC 8914 4.16): an error or a filter on the way is a failure, never "insecure" and never "not there"."""

    def answering(query: dns.message.Message) -> bytes:
        response = reply(query, rcode=rcode)
        options = [dns.edns.EDEOption(dns.edns.EDECode(code), "rules")] if code is not None else []
        response.use_edns(0, options=list(options))
        return response.to_wire()

    async with serving(answering) as server:
        answer = await _validator().ask(server, QUESTION)
    assert isinstance(answer, Failed)
    assert (answer.failure, answer.proofs) == (failure, ())


@pytest.mark.parametrize(
    ("name", "is_off"), [("broken.example", True), ("a.broken.example", True), ("example", False), ("a..b", False)]
)
def test_where_validation_is_switched_off(name: str, is_off: bool) -> None:  # noqa: FBT001 - a column of the table
    """RFC 7646: at and below the name, until its time has come; what is no name is left to whoever asks for it."""
    off = Anchors(ROOT.zones, {dns.name.from_text("broken.example"): NOW + timedelta(seconds=1)})
    now = [NOW]
    validator = LocalValidator(LocalSettings(off), lambda: now[0])
    assert validator.is_switched_off(Question(name, "MX")) is is_off
    now[0] += timedelta(seconds=1)
    assert validator.is_switched_off(Question(name, "MX")) is False
    assert _validator().is_switched_off(Question(name, "MX")) is False
