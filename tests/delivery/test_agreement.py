"""Two sources of security: what each pair of their words comes to."""

from datetime import UTC, datetime, timedelta

import pytest

from delivery.agreement import agreed
from stages.answer import Absent, Answer, Failed, Failure, Found, Proof, Question, Security
from stages.records import MX

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
UNTIL = NOW + timedelta(seconds=5)
QUESTION = Question("example.com", "MX")
SECURE, INSECURE = Security.SECURE, Security.INSECURE


def found(security: Security, exchange: str = "mx.example.com") -> Found:
    """Give records."""
    return Found(QUESTION, security, (MX(10, exchange),), "example.com", (), NOW, "r", ("step",))


def absent(security: Security, *, nxdomain: bool = False) -> Absent:
    """Give a denial."""
    return Absent(QUESTION, security, nxdomain, "example.com", (), NOW, "r")


def failed(failure: Failure, text: str = "why") -> Failed:
    """Give a failure."""
    return Failed(QUESTION, failure, text, NOW, resolver="r", chain=("step",))


@pytest.mark.parametrize(
    "pair",
    [
        (found(SECURE), found(SECURE)),
        (found(SECURE), found(SECURE, "other.example.com")),
        (found(INSECURE), found(INSECURE)),
        (absent(SECURE), absent(SECURE)),
        (absent(INSECURE, nxdomain=True), absent(INSECURE, nxdomain=True)),
        (failed(Failure.BOGUS), failed(Failure.BOGUS, "RRSIG expired")),
        (failed(Failure.SERVFAIL), failed(Failure.TIMEOUT)),
    ],
    ids=["secure", "by turns", "insecure", "nodata", "nxdomain", "bogus", "neither knows"],
)
def test_what_both_say_is_what_is_proven(pair: tuple[Answer, Answer]) -> None:
    """SEC-33: where they agree, the records, the chain and the reason of our own validation count."""
    said, proven = pair
    assert agreed(said, proven, UNTIL) is proven


@pytest.mark.parametrize(
    "known", [found(SECURE), absent(INSECURE), failed(Failure.BOGUS)], ids=["found", "absent", "bogus"]
)
@pytest.mark.parametrize("failure", [one for one in Failure if one is not Failure.BOGUS])
def test_where_one_knows_nothing_nothing_is_decided(known: Answer, failure: Failure) -> None:
    """DANE-10 (RFC 7672 2.1.2): the lookup error of either source is that of both, whatever the other says."""
    nothing = failed(failure)
    assert agreed(nothing, known, UNTIL) is nothing
    assert agreed(known, nothing, UNTIL) is nothing


@pytest.mark.parametrize(
    ("said", "proven", "stories"),
    [
        (found(SECURE), found(INSECURE), ("secure", "insecure")),
        (found(SECURE), failed(Failure.BOGUS, "RRSIG expired"), ("secure", "bogus (RRSIG expired)")),
        (failed(Failure.BOGUS, "SERVFAIL"), found(SECURE), ("bogus (SERVFAIL)", "secure")),
        (found(INSECURE), absent(INSECURE), ("insecure", "insecure nodata")),
        (absent(SECURE), absent(SECURE, nxdomain=True), ("secure nodata", "secure nxdomain")),
    ],
)  # fmt: skip
def test_a_contradiction_is_indeterminate_and_tells_both_stories(
    said: Answer, proven: Answer, stories: tuple[str, str]
) -> None:
    """DANE-06: no bounce, no downgrade: the mail waits, for as short a time as a failure is remembered, without a proof."""
    answer = agreed(said, proven, UNTIL)
    assert isinstance(answer, Failed)
    assert answer.failure is Failure.INDETERMINATE
    assert answer.text == f"the resolver says {stories[0]}, our own validation says {stories[1]}"
    assert (answer.expires, answer.proofs, answer.resolver, answer.chain) == (UNTIL, (), "r", proven.chain)


def test_a_proof_of_ours_alone_bounces_nothing() -> None:
    """DANE-06: bogus with the proof of our validator does not pass where the resolver says otherwise."""
    proven = Failed(QUESTION, Failure.BOGUS, "x", NOW, (), (Proof.VALIDATOR,))
    answer = agreed(found(SECURE), proven, UNTIL)
    assert isinstance(answer, Failed)
    assert answer.failure is Failure.INDETERMINATE
