"""Rollovers on a real Redis, real servers and signed zones: what is republished counts, and who stays broken is spared."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import pytest

from delivery.dnssec.anchors import Anchors
from delivery.nameserver import Server
from delivery.resolver import DnsSettings, Resolver
from delivery.survey import survey
from pipeline.rollover import Dns
from pipeline.store.answers import SharedAnswers
from stages.answer import Question
from stages.destination import Destination, RouteKind
from stages.message import State
from stages.plan import Plan
from stages.policy import Policy, Profile, dane_policy
from stages.resolve import make_plan
from tests.delivery.certificates import Certificate, leaf
from tests.delivery.mailhost import MailHost, Script, mailhost
from tests.delivery.mangled import Mangled
from tests.dnssec.authority import answer
from tests.dnssec.zones import TTL, Tree, Zone
from tests.pipeline.test_circuits import names
from tests.pipeline.yard import Yard, logged, utc_now

OLD, NEW = leaf("old.example"), leaf("new.example")


@dataclass
class World:
    """A domain whose MX shows `NEW`, its signed zone, which publishes what a test says, and workers on one Redis."""

    redis: Any
    file: Path
    zone: Mangled
    server: Server
    host: MailHost
    policy: Policy
    later: timedelta = timedelta(0)  # how far the clock of the workers is ahead
    resolvers: list[Resolver] = field(default_factory=list)

    @property
    def to(self) -> Destination:
        """Give the destination."""
        return Destination(RouteKind.MX, "example", self.host.port)

    def publish(self, certificate: Certificate) -> None:
        """Publish the TLSA record of a certificate in place of the old one."""
        self.zone._root = partial(answer, tree(self.host.port, certificate))

    def worker(self) -> Yard:
        """Start a worker process with a resolver of its own."""

        def now() -> datetime:
            return utc_now() + self.later

        settings = DnsSettings((self.server,), "local", Anchors.parse(tree(self.host.port, OLD).anchor), canaries=())
        resolver = Resolver(settings, now=now, shared=SharedAnswers(self.redis))
        self.resolvers.append(resolver)

        async def ask(to: Destination) -> Any:
            return await survey(to, self.policy, resolver, now, 0.5, afresh=True)

        return Yard(self.redis, self.file, policy=self.policy, dns=Dns(ask, resolver.drop), now=now)

    async def plan(self, yard: Yard) -> Plan:
        """Make the plan for the destination as the newest worker does, from what it keeps, and leave it for its jobs."""
        resolver = self.resolvers[-1]
        made = make_plan(await survey(self.to, self.policy, resolver, yard.now, 0.5), self.policy, yard.now())
        await yard.plan(made)
        return made

    def asked(self) -> int:
        """Count how often the TLSA records were asked for."""
        return self.zone.asked_over["udp"].count(f"_{self.host.port}._tcp.mx.example/TLSA")


def tree(port: int, certificate: Certificate) -> Tree:
    """Make the signed zone of the domain."""
    seconds = int(utc_now().timestamp())
    records = ("@ MX 10 mx", "mx A 127.0.0.1", f"_{port}._tcp.mx TLSA {certificate.tlsa()}")
    return Tree((Zone(records=records),), inception=seconds - 86400, expiration=seconds + 86400)


@contextmanager
def domain(redis: Any, file: Path, host: MailHost, profile: Profile) -> Iterator[World]:
    """Run the nameserver of the domain, which publishes `OLD` at first."""
    zone = Mangled(tree(host.port, OLD))
    policy = Policy(dane=dane_policy(profile), allow_private=True)
    with zone.served() as server, logged(file) as path:
        yield World(redis, path, zone, server, host, policy)


def swapped() -> Script:
    """Make a host that shows the new certificate."""
    return Script(context=NEW.server())


@pytest.mark.parametrize("profile", list(Profile))
async def test_what_was_republished_counts_at_once(redis: Any, tmp_path: Path, profile: Profile) -> None:
    """DANE-107 (RFC 7671 8): certificate and record are changed while the old record is kept for long: no NDR, no wait.

    The record is asked for once more past both caches, the new plan stands for the destination, and the log says so.
    Another worker, which keeps the old record itself, asks nobody: it finds what the first one got.
    """
    async with mailhost(swapped()) as host:
        with domain(redis, tmp_path / "log", host, profile) as world:
            first, second = world.worker(), world.worker()
            old = await world.plan(second)
            await world.resolvers[0].ask(Question(f"_{host.port}._tcp.mx.example", "TLSA"))
            world.publish(NEW)
            await first.ready(old, *names(3))
            await first.job(old)
            assert [(await first.recipient(name))[0].state for name in names(3)] == [State.DELIVERED] * 3
            assert len(host.seen) == 2  # the one that did not match, and the one that took all mail
            assert world.asked() == 2
            (told,) = first.events("dane.asked_again")
            assert (told["outcome"], told["destination"]) == ("changed", world.to.key)
            assert first.events("dane.parked") == []
            await second.ready(old, *names(1, 4))  # as its own cache has it
            await second.job(old)
            assert (await second.recipient("M4"))[0].state is State.DELIVERED
            made = await world.plan(second)
            assert "asked_again" not in made.facts
            assert [str(one) for one in made.hosts[0].demand.records] == [str(NEW.tlsa())]  # type: ignore[union-attr]
            assert world.asked() == 2
            for one in world.resolvers:
                await one.aclose()


@pytest.mark.parametrize("profile", list(Profile))
async def test_a_broken_domain_costs_one_handshake(redis: Any, tmp_path: Path, profile: Profile) -> None:
    """DANE-16, DANE-109: 200 messages to a domain that stays broken: one asking, one handshake, each its own verdict.

    Where a mismatch waits, all of them come back together when the TTL of the record is over, and one tries.
    """
    async with mailhost(swapped()) as host:
        with domain(redis, tmp_path / "log", host, profile) as world:
            yard = world.worker()
            plan = await world.plan(yard)
            await yard.ready(plan, *names(200))
            while await yard.ledger.backlog(world.to.key):
                await yard.job(plan)
            assert len(host.seen) == 1
            assert world.asked() == 2  # for the plan, and once more
            assert [one["outcome"] for one in yard.events("dane.asked_again")] == ["same"]
            found = [(await yard.recipient(name))[0] for name in names(200)]
            assert {one.reason.code for one in found if one.reason} == {"dane.mismatch"}
            if profile is Profile.MAILMARSHAL:
                assert {(one.state, one.reason.status) for one in found if one.reason} == {(State.FAILED, "5.7.5")}
            else:
                assert {(one.state, one.attempts) for one in found} == {(State.DEFERRED, 1)}
                (parked,) = yard.events("dane.parked")
                ends = {one.next_attempt for one in found if one.next_attempt}
                until = datetime.fromisoformat(parked["until"])
                assert timedelta(seconds=TTL - 120) < until - utc_now() <= timedelta(seconds=TTL)
                if policy_retry := world.policy.dane.retry:  # a schedule of its own for DANE failures
                    assert min(ends) >= until
                    assert max(ends) <= utc_now() + policy_retry[0]
                else:
                    assert ends == {until}
            await world.resolvers[0].aclose()


async def test_one_tries_when_the_pause_is_over_and_the_rest_follows(redis: Any, tmp_path: Path) -> None:
    """DANE-16, DANE-107: nobody connects before the end of the TTL; then one tries alone, and all mail follows it."""
    context = NEW.server()
    async with mailhost(Script(context=context)) as host:
        with domain(redis, tmp_path / "log", host, Profile.RFC7672) as world:
            yard, other = world.worker(), world.worker()
            plan = await world.plan(yard)
            await yard.ready(plan, "M1")
            await yard.job(plan)
            await yard.ready(plan, *names(4, 2))  # comes later, and is not tried
            await yard.job(plan)
            assert await yard.places(*names(5)) == ["schedule"] * 5
            assert len({(await yard.recipient(name))[0].next_attempt for name in names(5)}) == 1
            assert len(host.seen) == 1
            world.later = timedelta(seconds=TTL + 60)
            for broken in (True, False):  # its certificate is wrong at first, still
                if not broken:
                    context.load_cert_chain(OLD.pem)
                plan = await world.plan(other)
                seen, first = len(host.seen), 6 if broken else 16
                await yard.ready(plan, *names(10, first))
                await asyncio.gather(yard.job(plan), other.job(plan))
                assert len(host.seen) == seen + 1
                while await yard.ledger.backlog(world.to.key):
                    await yard.job(plan)
                assert len(host.seen) <= seen + (1 if broken else 2)
                state = State.DEFERRED if broken else State.DELIVERED
                assert {(await yard.recipient(name))[0].state for name in names(10, first)} == {state}
                world.later *= 3
            assert [one["pauses"] for one in yard.events("dane.parked")] == [1, 2]
            assert len(yard.events("dane.released")) == 1
            for one in world.resolvers:
                await one.aclose()


async def test_what_cannot_be_asked_again_is_no_mismatch(redis: Any, tmp_path: Path) -> None:
    """DANE-16 (RFC 7672 2.1.2): where the second asking fails, that is a lookup error, and mail waits in any profile."""
    async with mailhost(swapped()) as host:
        with domain(redis, tmp_path / "log", host, Profile.MAILMARSHAL) as world:
            yard = world.worker()
            plan = await world.plan(yard)
            before = await yard.ledger.handed("deliver", world.to.key)
            world.zone.changes["udp"] = world.zone.changes["tcp"] = _servfail
            await yard.ready(plan, *names(3))
            await yard.job(plan)
            found = [(await yard.recipient(name))[0] for name in names(3)]
            assert {one.state for one in found} == {State.DEFERRED}
            assert {one.reason.code for one in found if one.reason} == {"dns.mx_lookup"}
            assert len(host.seen) == 1
            assert 0 < await redis.pttl(f"dp:asked:{world.to.key}") <= 5000  # nobody waits for the TTL of other answers
            assert await yard.ledger.handed("deliver", world.to.key) == before  # the plan for others is none of that
            await world.resolvers[0].aclose()


def _servfail(response: dns.message.Message) -> None:
    response.answer = []
    response.set_rcode(dns.rcode.SERVFAIL)
