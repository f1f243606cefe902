"""What is written to Redis comes back equal: no union member may turn into another."""

from datetime import UTC, datetime

import pytest

from pipeline.store.codec import CodecError, decode, encode
from stages.answer import Absent, ExtendedError, Failed, Failure, Found, Proof, Question, Security
from stages.contract import Planned
from stages.destination import Destination, RouteKind
from stages.plan import DaneDemand, Demand, EncryptDemand, Host, MayDemand, Plan, Skipped, Trouble, VerifyDemand
from stages.records import IP, MX, TLSA, Other

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RECORD = TLSA(3, 1, 1, bytes(range(256)))


@pytest.mark.parametrize(
    "demand",
    [
        DaneDemand("mx.example", (RECORD,), ("mx.example",)),
        DaneDemand("mx.example", (), (), host_only=True, audit=True),
        EncryptDemand("why", "mx.example"),
        VerifyDemand("mx.example", ("mx.example",)),
        MayDemand("why", "mx.example"),
    ],
)
def test_a_plan_comes_back_with_the_same_demand(demand: Demand) -> None:
    """A demand read back as another one would raise or lower the security of a connection."""
    host = Host("mx.example", 10, ("192.0.2.1",), demand, {"records": [str(RECORD)]})
    skipped = Skipped("b.example", 20, Trouble.BOGUS_TLSA, "text", proven=True)
    plan = Plan(Destination(RouteKind.MX, "example", 25), (host,), (skipped,), NOW, NOW, {"mx": "secure"})
    assert decode(Planned, encode(Planned, Planned(plan, ()))) == Planned(plan, ())


@pytest.mark.parametrize(
    "answer",
    [
        Found(Question("a", "TLSA"), Security.SECURE, (RECORD,), "a", (), NOW),
        Found(Question("a", "MX"), Security.INSECURE, (MX(10, "b"), IP("192.0.2.1"), Other("x")), "b", ("b",), NOW),
        Absent(Question("a", "A"), Security.SECURE, nxdomain=True, canonical="a", aliases=(), expires=NOW),
        Failed(Question("a", "A"), Failure.BOGUS, "t", NOW, (ExtendedError(7, "x"),), (Proof.EDE,)),
    ],
)
def test_an_answer_comes_back_equal(answer: Found | Absent | Failed) -> None:
    """The shared cache gives what was put, octet for octet."""
    assert decode(type(answer), encode(type(answer), answer)) == answer


def test_what_was_not_written_by_us_is_a_clear_error() -> None:
    """Never a half-filled object."""
    with pytest.raises(CodecError, match="not a Planned"):
        decode(Planned, b'{"plan": 1}')
