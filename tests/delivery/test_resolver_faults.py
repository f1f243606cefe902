"""A resolver that begins to lie while it is in use: nothing is downgraded, nothing counts as bogus, all heals."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import cast

import dns.asyncquery
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
import pytest_asyncio

from delivery.nameserver import Server
from delivery.resolver import DnsSettings, Resolver
from delivery.trust import Canary, Expected
from ops.lab.world import Lab
from stages.answer import Answer, Failed, Failure, Found, Question, Security
from tests.delivery.test_nameserver import reply, serving
from tests.validating import validated_lab

pytestmark = pytest.mark.asyncio(loop_scope="module")
GOOD, OTHER = Question("ee-311.lab", "MX"), Question("rollover.lab", "MX")
BOGUS = Question("expired-mx.lab", "MX")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Run the lab once for this module."""
    async with validated_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


class Liar(asyncio.DatagramProtocol):
    """Stands before a resolver and falsifies what it says.

    It is "honest", "strips", "vouches", "blames", "crowds", "fails" or "silent"; of names that are not at or below
    `about` it is honest.
    """

    def __init__(self, upstream: int) -> None:
        self.manner = "honest"
        self.about = dns.name.root
        self.questions: list[str] = []
        self._upstream = upstream
        self._transport: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = cast("asyncio.DatagramTransport", transport)  # no subclass of it in every Python

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question."""
        task = asyncio.ensure_future(self._answer(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, data: bytes, client: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        self.questions.append(str(query.question[0]))
        manner = self.manner if query.question[0].name.is_subdomain(self.about) else "honest"
        if manner == "silent":
            return
        if manner == "vouches":  # it validates nothing and says that all is authentic
            query.flags |= dns.flags.CD
        try:
            response = await dns.asyncquery.udp(query, "127.0.0.1", port=self._upstream, timeout=3)
        except (dns.exception.Timeout, OSError):
            return  # it has nothing to falsify
        match manner:
            case "strips":
                response.flags &= ~dns.flags.AD
            case "vouches":
                response.flags |= dns.flags.AD
            case "crowds":  # so many records that nobody has to read them
                filler = [f"10.0.{number >> 8}.{number & 255}" for number in range(400)]
                response.additional.append(dns.rrset.from_text_list(query.question[0].name, 300, "IN", "A", filler))
            case "fails":
                response = self._servfail(query)
            case "blames" if not query.flags & dns.flags.CD:  # its trust anchor is gone: to it, every zone is bogus
                response = self._servfail(query, dns.edns.EDEOption(dns.edns.EDECode.DNSSEC_BOGUS, "no key"))
        assert self._transport is not None
        self._transport.sendto(response.to_wire(), client)

    @staticmethod
    def _servfail(query: dns.message.Message, *options: dns.edns.Option) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.SERVFAIL)
        response.use_edns(0, options=list(options))
        return response


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.now

    def passes(self) -> None:
        """Let more time pass than a self-test vouches for."""
        self.now += timedelta(seconds=11)


@asynccontextmanager
async def lied_to(lab: Lab, time: Time) -> AsyncIterator[tuple[Resolver, Liar, list[str]]]:
    """Give a resolver of ours whose only server is a liar, and the events it tells of."""
    kinds = {"canary_secure": Expected.SECURE, "canary_absent": Expected.ABSENT, "canary_bogus": Expected.BOGUS}
    canaries = [
        Canary(Question(text.partition("/")[0], text.partition("/")[2]), kind)
        for key, kind in kinds.items()
        for text in lab.canaries()[key]
    ]
    liar = Liar(Server.parse(lab.resolver).port)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: liar, ("127.0.0.1", 0))
    server = Server("127.0.0.1", transport.get_extra_info("sockname")[1])
    settings = DnsSettings((server,), timeout=timedelta(seconds=3), attempts=2, canaries=tuple(canaries))
    events: list[str] = []
    resolver = Resolver(settings, now=time, on_event=lambda name, _fields: events.append(name))
    yield resolver, liar, events
    await resolver.aclose()
    transport.close()


def _is_secure(answer: Answer) -> bool:
    return isinstance(answer, Found) and answer.security is Security.SECURE


@pytest.mark.parametrize("manner", ["strips", "vouches", "blames"])
async def test_a_resolver_that_begins_to_lie_decides_nothing(lab: Lab, manner: str) -> None:
    """DANE-01, DANE-05: answers of a resolver that fails its self-test are neither insecure nor secure nor bogus."""
    time = Time()
    async with lied_to(lab, time) as (resolver, liar, events):
        assert _is_secure(await resolver.ask(GOOD))
        liar.manner = manner
        time.passes()
        for question in (OTHER, BOGUS, GOOD):
            answer = await resolver.ask(question)
            assert isinstance(answer, Failed), question
            assert answer.failure is Failure.SUSPENDED
            assert not answer.proofs
        assert events == ["resolver.canary", "resolver.canary", "resolver.suspended"]
        liar.manner = "honest"
        await resolver.check()
        assert _is_secure(await resolver.ask(GOOD))
        assert _is_secure(await resolver.ask(OTHER))
        assert events[-1] == "resolver.restored"


async def test_bogus_is_believed_only_after_another_self_test(lab: Lab) -> None:
    """DANE-06 (RFC 4035 5.5): what may bounce mail rests on a self-test begun after the answer came."""
    time = Time()
    async with lied_to(lab, time) as (resolver, liar, _):
        assert _is_secure(await resolver.ask(GOOD))
        time.now += timedelta(milliseconds=1)  # the last self-test is as good as new, and older than the answer
        liar.manner = "blames"
        answer = await resolver.ask(OTHER)
        assert isinstance(answer, Failed)
        assert answer.failure is Failure.SUSPENDED


async def test_an_honest_bogus_stays_bogus(lab: Lab) -> None:
    """DANE-06: the second self-test does not keep a zone that is broken from being called so."""
    time = Time()
    async with lied_to(lab, time) as (resolver, _, _):
        answer = await resolver.ask(BOGUS)
        assert isinstance(answer, Failed)
        assert answer.failure is Failure.BOGUS
        assert len(answer.proofs) == 2


async def test_a_resolver_that_fails_at_everything_is_a_lookup_error(lab: Lab) -> None:
    """DANE-10, SEC-77 (RFC 7672 2.1.2): SERVFAIL to all questions proves nothing about any zone."""
    time = Time()
    async with lied_to(lab, time) as (resolver, liar, _):
        assert _is_secure(await resolver.ask(GOOD))
        liar.manner = "fails"
        answer = await resolver.ask(OTHER)
        assert isinstance(answer, Failed)
        assert answer.failure is Failure.SERVFAIL


@pytest.mark.parametrize("code", [4, 15, 16, 17, 18])
@pytest.mark.parametrize("rcode", [dns.rcode.NXDOMAIN, dns.rcode.NOERROR], ids=["nxdomain", "nodata"])
@pytest.mark.parametrize("needs_security", [True, False], ids=["dane", "no dane"])
async def test_what_our_resolver_hides_is_no_denial(code: int, rcode: dns.rcode.Rcode, needs_security: bool) -> None:  # noqa: FBT001 - a column of the table
    """SEC-79 (RFC 8914 4.16): a filter of our own side makes mail wait; it never says that a domain is gone."""

    def hide(query: dns.message.Message) -> bytes:
        response = reply(query, flags=dns.flags.AD, rcode=rcode)
        response.use_edns(0, options=[dns.edns.EDEOption(dns.edns.EDECode(code), "house rules")])
        return response.to_wire()

    async with serving(hide) as server:
        resolver = Resolver(DnsSettings((server,), attempts=1, canaries=()), now=lambda: datetime.now(UTC))
        answer = await resolver.ask(GOOD, needs_security=needs_security)
        await resolver.aclose()
    assert isinstance(answer, Failed)
    assert answer.failure is Failure.BLOCKED
    assert "house rules" in answer.text
    assert dns.rcode.to_text(rcode) in answer.text


async def test_answers_kept_from_a_liar_are_thrown_away(lab: Lab) -> None:
    """An answer kept while the resolver lied unnoticed does not outlive the self-test that finds it out."""
    time = Time()
    async with lied_to(lab, time) as (resolver, liar, _):
        assert _is_secure(await resolver.ask(GOOD))
        liar.manner = "strips"  # within the time that the last self-test vouches for
        believed = await resolver.ask(OTHER)
        assert isinstance(believed, Found)
        assert believed.security is Security.INSECURE
        await resolver.check()
        liar.manner = "honest"
        await resolver.check()
        assert _is_secure(await resolver.ask(OTHER))
