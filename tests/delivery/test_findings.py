"""What an owner is told that the lab has no host for: signatures near their end, weaker digests, what cannot be read."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from delivery.findings import Finding, Level, end_of, findings, worst
from delivery.inspection import Means, State, as_others, inspect, signed_of, verdicts
from delivery.nameserver import NoResponse, Server
from delivery.resolver import Resolver
from delivery.signatures import Signed, signatures
from ops.lab.scenario import Host, Scenario, Subject, Tlsa
from ops.lab.scenarios import named
from ops.lab.world import Lab
from pipeline.config import load
from stages.answer import Found, Question, Security
from stages.destination import Destination, RouteKind, TlsLevel
from stages.policy import DanePolicy, InsecureMx, Mode, Policy
from stages.records import TLSA
from stages.resolve import Survey
from tests.delivery.certificates import authority, leaf
from tests.needs import free_port

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
WARN = 14 * DAY
AGILE = Scenario(
    "agile", "SHA-256 beside SHA-512, and a CA that is not sent",
    hosts=(Host(tlsa=(Tlsa(3, 1, 1), Tlsa(3, 1, 2), Tlsa(2, 1, 1, Subject.OTHER))),),
)  # fmt: skip


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Run a lab with a host of our own and one whose TLSA question fails."""
    async with Lab.open(tmp_path / "lab", (AGILE, *named("servfail-tlsa")), "local") as lab:
        yield lab


def signed(begins: timedelta, expires: timedelta) -> Signed:
    """Give a signature that began and ends so long from now."""
    return Signed("example.com", "MX", "example.com", NOW + begins, NOW + expires, timedelta(hours=1))


@pytest.mark.parametrize(
    ("begins", "expires", "ending"),
    [
        (-24 * DAY, 6 * DAY + DAY / 24, False),  # thirty days, renewed at the last quarter
        (-25 * DAY, 5 * DAY, True),
        (-DAY, DAY, False),  # signed anew with each answer
        (-2 * DAY + DAY / 4, DAY / 4, True),
        (-300 * DAY, 15 * DAY, False),  # a fifth of a year is long before anybody must know
        (-300 * DAY, 13 * DAY, True),
        (-30 * DAY, -DAY, True),
    ],
)
def test_signatures_that_nobody_renews(begins: timedelta, expires: timedelta, *, ending: bool) -> None:
    """What ends within the warning and is in the last fifth of its life was not renewed in time (RFC 4034 3.1.5)."""
    assert signed(begins, expires).is_ending(NOW, WARN) is ending


async def test_signatures_are_told_with_the_whole_ttl(lab: Lab) -> None:
    """A resolver has the rest of a TTL, and the signature the whole (RFC 4034 section 3.1.4)."""
    server = Server.parse(lab.resolver)
    (one,) = await signatures(server, Question("agile.lab", "MX"), 3.0)
    assert (one.name, one.rdtype, one.signer, one.ttl) == ("agile.lab", "MX", "agile.lab", timedelta(minutes=5))
    assert one.begins < NOW < one.expires
    broken = Question(f"_{lab.smtp_port}._tcp.mx.servfail-tlsa.lab", "TLSA")
    with pytest.raises(NoResponse, match="answered SERVFAIL"):
        await signatures(server, broken, 3.0)
    with pytest.raises(NoResponse, match=r"did not answer|cannot be reached"):
        await signatures(Server("127.0.0.1", free_port()), Question("agile.lab", "MX"), 3.0)


async def test_signatures_that_cannot_be_asked_for_are_said(lab: Lab) -> None:
    """Without them nobody knows how long the zone will be good: that is no finding of its own making."""
    question = Question("agile.lab", "MX")
    away = Found(question, Security.SECURE, (), "agile.lab", (), NOW, f"127.0.0.1@{free_port()}")
    survey = Survey(Destination(RouteKind.MX, "agile.lab", lab.smtp_port), {question: away}, NOW)
    found, unseen = await signed_of(survey, 3.0)
    assert (found, [one for one, _ in unseen]) == ((), [question])


async def test_each_record_is_judged_by_itself(lab: Lab) -> None:
    """A weaker digest is passed over (DANE-73), and an anchor that is not sent is told of though another record matches."""
    config = load(lab.write_config(Path(lab.anchor_file).with_name("danepipe.toml")), {})
    resolver = Resolver(config.dns_settings(), now=lambda: datetime.now(UTC))
    means = Means(resolver, config.smtp_settings(), 3.0, lambda: datetime.now(UTC))
    destination = Destination(RouteKind.MX, "agile.lab", lab.smtp_port)
    seen = await inspect(destination, config.policy_for(destination), means)
    await resolver.aclose()
    (host,) = seen.hosts
    assert {(one.record.usage, one.record.mtype): one.state for one in host.seen[0].verdicts} == {
        (3, 1): State.PASSED_OVER, (3, 2): State.MATCHES, (2, 1): State.DIFFERS,
    }  # fmt: skip
    assert [(one.level, one.code) for one in findings(seen, WARN)] == [(Level.SOON, "anchor")]


def test_a_record_of_full_data_is_held_against_the_chain() -> None:
    """Each form of record that a host may have matches by the code of delivery, at its depth in the chain (DANE-56)."""
    made, chain = leaf("mx.example.com"), (leaf("mx.example.com").der, authority().der)
    records = (made.tlsa(3, 1, 0), authority().tlsa(2, 0, 1), TLSA(3, 1, 1, bytes(32)), TLSA(1, 1, 1, bytes(32)))
    found = verdicts(chain, records, ("mx.example.com",), NOW, DanePolicy())
    assert [(one.state, one.depth) for one in found] == [
        (State.MATCHES, 0), (State.MATCHES, 1), (State.DIFFERS, -1), (State.UNUSABLE, -1),
    ]  # fmt: skip


def test_our_own_policy_is_not_that_of_others() -> None:
    """Senders go by RFC 7672: nothing is off, nobody is looped to, and signed hosts behind an insecure MX count."""
    ours = Policy(DanePolicy(mode=Mode.OFF), own_names=frozenset({"mx.example.com"}), floor=TlsLevel.VERIFY)
    others = as_others(ours)
    assert (others.dane.mode, others.dane.insecure_mx_policy) == (Mode.ENFORCE, InsecureMx.DANE)
    assert (others.own_names, others.floor) == (frozenset(), TlsLevel.MAY)


def test_the_worst_counts() -> None:
    """What fails outweighs what nobody saw, and that what is to come; nothing found is fine."""
    levels = (Level.NOTE, Level.SOON, Level.UNSEEN, Level.FAILS)
    for number, level in enumerate(levels, 1):
        assert worst([Finding(one, "", "", "") for one in levels[:number]]) is level
    assert worst(()) is Level.NOTE


def test_a_certificate_that_cannot_be_read_has_no_end() -> None:
    """Under DANE-EE it may still match, so it is no fault here (DANE-57)."""
    assert end_of((b"\x30\x00",)) is None
    assert end_of(()) is None
