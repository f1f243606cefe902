"""The ways to get security, over a resolver that turns bad: what came by one way is not believed because of another."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import dns.name
import pytest
import pytest_asyncio

from delivery.dnssec.anchors import Anchors
from delivery.nameserver import Server
from delivery.resolver import DnsSettings, Resolver
from delivery.trust import Canary, Expected, Source
from ops.lab.scenarios import named
from ops.lab.world import Lab
from stages.answer import Answer, Failed, Failure, Found, Question, Security
from tests.delivery.test_resolver_faults import Liar, Time
from tests.validating import validated_lab

pytestmark = pytest.mark.asyncio(loop_scope="module")
GOOD, OTHER, BOGUS = Question("ee-311.lab", "MX"), Question("rollover.lab", "MX"), Question("expired-mx.lab", "MX")
Ways = Literal["auto", "trusted", "local", "both"]
Event = tuple[str, Mapping[str, Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Run a lab of few domains once for this module."""
    async with validated_lab(tmp_path_factory.mktemp("lab"), named("ee-311", "rollover", "expired-mx")) as running:
        yield running


@dataclass
class World:
    """A resolver of ours behind a liar, and what it tells."""

    resolver: Resolver
    liar: Liar
    server: Server
    time: Time
    events: list[Event] = field(default_factory=list)

    def told(self, event: str) -> list[Mapping[str, Any]]:
        """Give the fields of the events of one kind."""
        return [fields for name, fields in self.events if name == event]


@asynccontextmanager
async def lied_to(lab: Lab, ways: Ways, negative: tuple[str, ...] = ()) -> AsyncIterator[World]:
    """Give a resolver of ours that validates from the lab's own anchor, with a liar before the lab's resolver."""
    liar, time = Liar(Server.parse(lab.resolver).port), Time()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: liar, ("127.0.0.1", 0))
    server = Server("127.0.0.1", transport.get_extra_info("sockname")[1])
    kinds = {"canary_secure": Expected.SECURE, "canary_absent": Expected.ABSENT, "canary_bogus": Expected.BOGUS}
    canaries = tuple(
        Canary(Question(text.partition("/")[0], text.partition("/")[2]), kind)
        for key, kind in kinds.items()
        for text in lab.canaries()[key]
    )
    off = {dns.name.from_text(name): time.now + timedelta(hours=1) for name in negative}
    anchors = Anchors(Anchors.parse(lab.tree.anchor).zones, off)
    settings = DnsSettings(
        (server,), ways, anchors, timeout=timedelta(seconds=3), attempts=2, canaries=canaries
    )  # fmt: skip
    events: list[Event] = []
    resolver = Resolver(settings, now=time, on_event=lambda name, fields: events.append((name, fields)))
    yield World(resolver, liar, server, time, events)
    await resolver.aclose()
    transport.close()


def _security(answer: Answer) -> str:
    return str(answer.failure if isinstance(answer, Failed) else answer.security)


@pytest.mark.parametrize("ways", ["trusted", "local", "both", "auto"])
async def test_each_way_tells_secure_from_bogus(lab: Lab, ways: Ways) -> None:
    """DANE-01, SEC-71 (RFC 4035 4.3): over an honest resolver all ways come to the same, and say which of them it is."""
    async with lied_to(lab, ways) as world:
        assert _security(await world.resolver.ask(GOOD)) == "secure"
        assert _security(await world.resolver.ask(BOGUS)) == "bogus"
        (canary,) = world.told("resolver.canary")
        assert canary["source"] == ("trusted" if ways == "auto" else ways)
        assert canary["passed"] is True
        assert world.told("resolver.disagreement") == []


@pytest.mark.parametrize("wrong", [timedelta(days=-20_000), timedelta(days=400)], ids=["before", "after"])
async def test_a_clock_that_is_wrong_decides_nothing(lab: Lab, wrong: timedelta) -> None:
    """SEC-84: no proof fits the time then, so that the self-test fails, mail waits, and the alarm names a date."""
    async with lied_to(lab, "local") as world:
        world.time.now += wrong
        answer = await world.resolver.ask(GOOD)
        assert isinstance(answer, Failed)
        assert answer.failure is Failure.SUSPENDED
        (alarm,) = world.told("resolver.suspended")
        assert (" expired 20" if wrong > timedelta(0) else " is not valid before 20") in alarm["text"]


async def test_what_a_liar_stripped_is_not_vouched_for_by_our_own_validation(lab: Lab) -> None:
    """DANE-05 (RFC 7672 2.1.2): when the AD bit fails and proofs still come, `auto` proves anew and downgrades nothing.

    What was kept of the liar's answers is thrown away, too, although the resolver as such still passes.
    """
    async with lied_to(lab, "auto") as world:
        assert _security(await world.resolver.ask(GOOD)) == "secure"
        world.liar.manner = "strips"  # first within the time that the last self-test vouches for
        assert _security(await world.resolver.ask(OTHER)) == "insecure"
        world.time.passes()
        assert _security(await world.resolver.ask(Question("mx.ee-311.lab", "A"))) == "secure"
        assert _security(await world.resolver.ask(OTHER)) == "secure"
        sources = [(one["source"], one["passed"]) for one in world.told("resolver.canary")]
        assert sources == [("trusted", True), ("local", True)]
        assert "proven here, since the resolver" in world.told("resolver.canary")[-1]["text"]
        assert not world.resolver.suspended
        world.liar.manner = "honest"
        (after,) = await world.resolver.check()
        assert after.source is Source.TRUSTED


async def test_a_liar_that_vouches_for_all_contradicts_our_proof(lab: Lab) -> None:
    """DANE-06: with `both`, AD on bogus data is a disagreement: the mail waits, and both stories are told."""
    async with lied_to(lab, "both") as world:
        assert _security(await world.resolver.ask(GOOD)) == "secure"
        world.liar.manner = "vouches"  # within the time that the last self-test vouches for
        answer = await world.resolver.ask(BOGUS)
        assert isinstance(answer, Failed)
        assert answer.failure is Failure.INDETERMINATE
        assert not answer.proofs
        (told,) = world.told("resolver.disagreement")
        assert told == {"question": "expired-mx.lab/MX", "resolver": str(world.server), "text": answer.text}
        assert "the resolver says secure, our own validation says bogus (RRSIG over expired-mx.lab MX by" in answer.text


async def test_silence_of_one_source_is_no_disagreement(lab: Lab) -> None:
    """DANE-10 (RFC 7672 2.1.2): where one source knows nothing, the lookup has failed, and no alarm is raised."""
    async with lied_to(lab, "both") as world:
        assert _security(await world.resolver.ask(GOOD)) == "secure"
        world.liar.manner = "fails"
        answer = await world.resolver.ask(OTHER)
        assert isinstance(answer, Failed)
        assert answer.failure is Failure.SERVFAIL
        assert world.told("resolver.disagreement") == []


@pytest.mark.parametrize("ways", ["auto", "trusted", "local", "both"])
async def test_below_a_negative_anchor_nothing_is_validated(lab: Lab, ways: Ways) -> None:
    """RFC 7646: a name that is switched off is insecure and not bogus, whichever way is in use, until it expires."""
    async with lied_to(lab, ways, negative=("expired-mx.lab",)) as world:
        answer = await world.resolver.ask(BOGUS)
        assert isinstance(answer, Found)
        assert answer.security is Security.INSECURE
        assert "negative trust anchor" in answer.chain[-1]
        assert _security(await world.resolver.ask(GOOD)) == "secure"
        assert "; not validated: expired-mx.lab until " in world.told("resolver.canary")[0]["text"]
        world.time.now += timedelta(hours=2)
        assert _security(await world.resolver.ask(BOGUS)) == "bogus"
