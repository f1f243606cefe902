"""Our resolver over one that validates: what is secure, insecure and bogus, and what if nobody can be trusted."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from delivery.dnssec.anchors import Anchors
from delivery.nameserver import NoResponse, Server, exchange, system_servers
from delivery.resolver import DnsSettings, Resolver
from delivery.responses import Lifetimes
from delivery.trust import Canary, Expected
from ops.lab.scenario import State
from ops.lab.scenarios import ALL
from ops.lab.world import Lab
from stages.answer import Absent, Answer, Failed, Failure, Found, Proof, Question, Security
from stages.records import MX, TLSA
from tests.validating import validated_lab

pytestmark = pytest.mark.asyncio(loop_scope="module")
NOW = datetime.now(UTC)
CLAIMED = [scenario for scenario in ALL if scenario.exists]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Run the lab once for this module."""
    async with validated_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


def _settings(lab: Lab, **changes: Any) -> DnsSettings:
    canaries = [
        Canary(_question(text), kind)
        for key, kind in (
            ("canary_secure", Expected.SECURE),
            ("canary_absent", Expected.ABSENT),
            ("canary_insecure", Expected.INSECURE),
            ("canary_bogus", Expected.BOGUS),
        )
        for text in lab.canaries()[key]
    ]
    settings = DnsSettings(
        servers=(Server.parse(lab.resolver),), timeout=timedelta(seconds=3), attempts=2, canaries=tuple(canaries)
    )
    return replace(settings, **changes)


def _question(text: str) -> Question:
    name, _, rdtype = text.rpartition("/")
    return Question(name, rdtype)


def _state(answer: Answer) -> State:
    match answer:
        case Found(security=security):
            return State(str(security))
        case Absent(security=security, nxdomain=nxdomain):
            return State(f"{security} {'nxdomain' if nxdomain else 'nodata'}")
        case Failed(failure=Failure.BOGUS):
            return State.BOGUS
        case Failed():
            return State.ERROR


@pytest.mark.parametrize("scenario", CLAIMED, ids=lambda scenario: scenario.name)
async def test_the_mx_of_every_lab_domain_has_the_security_it_claims(lab: Lab, scenario: Any) -> None:
    """DANE-01, DANE-04 (RFC 7672 2.1.1, 4035 4.3): secure, insecure, denied and bogus are told apart."""
    resolver = Resolver(_settings(lab), now=lambda: datetime.now(UTC))
    answer = await resolver.ask(Question(scenario.domain, "MX"))
    await resolver.aclose()
    if scenario.claims.mx is State.UNASKED:
        pytest.skip("this story is not about an MX record")
    assert _state(answer) == scenario.claims.mx


async def test_bogus_bears_its_proof_and_its_extended_error(lab: Lab) -> None:
    """DANE-01, DANE-06, SEC-77 (RFC 4035 3.2.2): SERVFAIL is asked again with CD=1, and the EDE says what kind of bogus it is."""
    domain = next(s.domain for s in ALL if s.claims.mx is State.BOGUS)
    resolver = Resolver(_settings(lab), now=lambda: datetime.now(UTC))
    answer = await resolver.ask(Question(domain, "MX"))
    assert isinstance(answer, Failed)
    assert answer.failure is Failure.BOGUS
    assert set(answer.proofs) == {Proof.CD_REQUERY, Proof.EDE}
    assert answer.ede


async def test_a_resolver_elsewhere_is_not_believed(lab: Lab) -> None:
    """DANE-05, SEC-74, SEC-76 (RFC 4035 4.9.3): AD counts only on loopback or where the operator says so; else nothing is decided."""
    events: list[tuple[str, Mapping[str, Any]]] = []
    elsewhere = _settings(lab, servers=(Server("192.0.2.53", 53),), timeout=timedelta(milliseconds=100))
    resolver = Resolver(elsewhere, now=lambda: NOW, on_event=lambda name, fields: events.append((name, fields)))
    answer = await resolver.ask(Question("ee-311.lab", "MX"))
    assert isinstance(answer, Failed)
    assert answer.failure is Failure.SUSPENDED
    assert "neither on loopback nor named in dns.trust" in answer.text
    assert [name for name, _ in events] == ["resolver.canary", "resolver.suspended"]
    assert not elsewhere.servers[0].is_trusted(())
    assert elsewhere.servers[0].is_trusted((ipaddress.ip_network("192.0.2.0/24"),))


async def test_a_resolver_that_does_not_validate_suspends_dane(lab: Lab) -> None:
    """DANE-01, DANE-05: the lab's plain nameserver gives no AD; no answer counts, and the alarm names the canary that failed."""
    plain = Server("127.0.0.1", lab.nameserver.port)
    resolver = Resolver(_settings(lab, servers=(plain,)), now=lambda: NOW)
    answer = await resolver.ask(Question("ee-311.lab", "MX"))
    assert isinstance(answer, Failed)
    assert answer.failure is Failure.SUSPENDED
    assert "lab/SOA: NOERROR without AD, expected secure" in resolver.suspended
    unneeded = await resolver.ask(Question("ee-311.lab", "MX"), needs_security=False)
    assert isinstance(unneeded, Found)
    assert unneeded.security is Security.INSECURE
    assert [record for record in unneeded.records if isinstance(record, MX)]


async def test_one_good_resolver_among_bad_ones_is_enough_and_alone_is_asked(lab: Lab) -> None:
    """Only a resolver that passes its self-test may answer where security matters."""
    plain = Server("127.0.0.1", lab.nameserver.port)
    resolver = Resolver(_settings(lab, servers=(plain, Server.parse(lab.resolver))), now=lambda: NOW)
    answer = await resolver.ask(Question("ee-311.lab", "MX"))
    assert isinstance(answer, Found)
    assert answer.security is Security.SECURE
    assert answer.resolver == lab.resolver


async def test_no_resolver_at_all_is_told(lab: Lab) -> None:
    """Without a resolver mail waits, and the text says what to set."""
    resolver = Resolver(
        _settings(lab, servers=(Server("127.0.0.1", 9),), timeout=timedelta(milliseconds=100)), now=lambda: NOW
    )
    answer = await resolver.ask(Question("ee-311.lab", "MX"))
    assert isinstance(answer, Failed)
    assert answer.failure is Failure.SUSPENDED
    assert system_servers(Path("/nonexistent")) == ()


class _Memory:
    """A shared cache in memory, which can be told to fail."""

    def __init__(self) -> None:
        self.kept: dict[Question, Answer] = {}
        self.broken = False

    async def get(self, question: Question) -> Answer | None:
        if self.broken:
            raise ConnectionError("away")
        return self.kept.get(question)

    async def put(self, answer: Answer) -> None:
        if self.broken:
            raise ConnectionError("away")
        self.kept[answer.question] = answer

    async def clear(self) -> None:
        self.kept.clear()


async def test_answers_are_kept_for_their_lifetime_and_failures_are_not_shared(lab: Lab) -> None:
    """Answers only are shared, never failures; an expired one is asked again; a broken cache costs nothing."""
    shared, now, events = _Memory(), [NOW], []
    anchors = Anchors.parse(lab.tree.anchor)
    resolver = Resolver(
        _settings(lab, lifetimes=Lifetimes(found=timedelta(seconds=60)), validation="local", anchors=anchors),
        now=lambda: now[0],
        shared=shared,
        on_event=lambda name, _fields: events.append(name),
    )
    question = Question("ee-311.lab", "MX")
    first, again = await asyncio.gather(resolver.ask(question), resolver.ask(question))
    assert first is again
    assert list(shared.kept) == [question]
    shared.kept.clear()
    assert await resolver.ask(question) is first
    now[0] += timedelta(seconds=61)
    shared.broken = True
    assert await resolver.ask(question) is not first
    assert "resolver.cache" in events
    shared.broken = False
    bogus = next(s.domain for s in ALL if s.claims.mx is State.BOGUS)
    await resolver.ask(Question(bogus, "MX"))
    assert Question(bogus, "MX") not in shared.kept


async def test_what_a_resolver_keeps_itself_is_not_shared(lab: Lab) -> None:
    """An answer that is believed on the word of a resolver is asked for again as cheaply as it is shared."""
    shared, question = _Memory(), Question("ee-311.lab", "MX")
    resolver = Resolver(_settings(lab, validation="trusted"), now=lambda: datetime.now(UTC), shared=shared)
    first = await resolver.ask(question)
    assert isinstance(first, Found)
    assert await resolver.ask(question) is first
    assert isinstance(await resolver.ask(question, afresh=True), Found)
    assert shared.kept == {}
    await resolver.aclose()


async def test_a_malformed_tlsa_record_is_seen(lab: Lab) -> None:
    """DANE-69 (RFC 6698 4.1): a digest of a wrong length is a record that is unusable, and no failed lookup."""
    resolver = Resolver(_settings(lab), now=lambda: datetime.now(UTC))
    answer = await resolver.ask(Question(f"_{lab.smtp_port}._tcp.mx.malformed.lab", "TLSA"))
    assert isinstance(answer, Found)
    assert [record.data for record in answer.records if isinstance(record, TLSA)] == [bytes(20)]


async def test_a_silent_server_is_a_timeout_and_never_an_answer() -> None:
    """DANE-10 (RFC 7672 2.1.2): no response is a failure of its own class, whatever was asked."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    with pytest.raises(NoResponse) as caught:
        await exchange(Server("127.0.0.1", port), Question("x.lab", "A"), patience=0.05)
    transport.close()
    assert caught.value.failure is Failure.TIMEOUT


async def test_a_name_that_is_none_is_a_failure() -> None:
    """DANE-10: a label of 64 octets cannot be asked for; that is told and not raised through."""
    with pytest.raises(NoResponse) as caught:
        await exchange(Server("127.0.0.1", 9), Question(f"{'x' * 64}.lab", "A"), patience=0.05)
    assert caught.value.failure is Failure.MALFORMED
