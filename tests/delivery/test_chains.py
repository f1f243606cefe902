"""Chains of aliases and of trust through a validating resolver: one insecure link, no anchor, and what is planned."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
import pytest_asyncio

from delivery.courier import Courier, Parcel
from delivery.nameserver import Server
from delivery.resolver import DnsSettings, Resolver
from delivery.settings import SmtpSettings
from delivery.survey import survey
from ops.lab.scenario import HOSTS, PLAIN_HOSTS, Fault, Host, Scenario
from ops.lab.world import Lab
from stages.answer import Answer, Found, Question, Security
from stages.destination import Destination, RouteKind
from stages.plan import DaneDemand, MayDemand, Plan, Trouble
from stages.policy import Policy, Profile, dane_policy
from stages.resolve import make_plan
from tests.stages.make import message
from tests.validating import validated_lab, validating

pytestmark = pytest.mark.asyncio(loop_scope="module")
RFC = Policy(dane=dane_policy(Profile.RFC7672), allow_private=True)
STORIES = (
    Scenario("whole", "3 1 1"),
    Scenario("other", "3 1 1"),
    Scenario("servfail-first", "TLSA of the first host fails", hosts=(Host("mx1", 10), Host("mx2", 20)),
             faults=(Fault("mx1", "TLSA", servfail=True),)),
    Scenario("aliased", "the MX is a signed alias into an unsigned zone",
             hosts=(Host(alias_of=f"aliased.{PLAIN_HOSTS}.", tlsa_at="mx"),)),
    Scenario("signed-alias", "the MX is a signed alias of a signed host", hosts=(Host(alias_of=f"signed-alias.{HOSTS}."),)),
)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Run a lab whose unsigned zone has aliases that lead back into signed ones."""
    async with validated_lab(tmp_path_factory.mktemp("lab"), STORIES) as running:
        zone = running.tree.zones[dns.name.from_text(PLAIN_HOSTS)]
        for owner, target in (("back", "mx.whole.lab."), ("mail", "whole.lab."), ("aliased", "mx.whole.lab.")):
            name = dns.name.from_text(f"{owner}.{PLAIN_HOSTS}")
            if zone.get_node(name) is not None:
                zone.delete_node(name)
            alias = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.CNAME, target)
            zone.find_rdataset(name, dns.rdatatype.CNAME, create=True).add(alias, 300)
        yield running


def resolver_of(server: str) -> Resolver:
    """Make a resolver that believes this server."""
    settings = DnsSettings((Server.parse(server),), timeout=timedelta(seconds=4), attempts=2, canaries=())
    return Resolver(settings, now=lambda: datetime.now(UTC))


async def asked(server: str, name: str, rdtype: str) -> Answer:
    """Ask."""
    resolver = resolver_of(server)
    answer = await resolver.ask(Question(name, rdtype))
    await resolver.aclose()
    return answer


async def planned(lab: Lab, name: str, policy: Policy = RFC) -> Plan:
    """Survey a domain and make its plan."""
    resolver = resolver_of(lab.resolver)
    to = Destination(RouteKind.MX, name, lab.smtp_port)
    found = await survey(to, policy, resolver, lambda: datetime.now(UTC), 0.0)
    await resolver.aclose()
    return make_plan(found, policy, datetime.now(UTC))


@pytest.mark.parametrize(
    ("name", "rdtype", "security", "canonical"),
    [
        ("mx.whole.lab", "A", Security.SECURE, "mx.whole.lab"),
        ("mx.signed-alias.lab", "A", Security.SECURE, f"signed-alias.{HOSTS}"),
        (f"back.{PLAIN_HOSTS}", "A", Security.INSECURE, "mx.whole.lab"),
        ("mx.aliased.lab", "A", Security.INSECURE, "mx.whole.lab"),
        ("mx.aliased.lab", "CNAME", Security.SECURE, "mx.aliased.lab"),
        (f"mail.{PLAIN_HOSTS}", "MX", Security.INSECURE, "whole.lab"),
        ("whole.lab", "MX", Security.SECURE, "whole.lab"),
    ],
    ids=[
        "no alias", "signed alias", "insecure, then secure", "secure, insecure, secure", "the first link alone",
        "MX behind an insecure alias", "the same MX by its own name",
    ],
)  # fmt: skip
async def test_one_insecure_link_makes_the_whole_chain_insecure(
    lab: Lab, name: str, rdtype: str, security: Security, canonical: str
) -> None:
    """DANE-12, DANE-14, DANE-28 (RFC 7672 2.1.3, 2.2.1): however secure the links before and behind it are."""
    answer = await asked(lab.resolver, name, rdtype)
    assert isinstance(answer, Found)
    assert (answer.security, answer.canonical) == (security, canonical)


async def test_a_next_hop_behind_an_insecure_alias_has_an_insecure_mx(lab: Lab) -> None:
    """DANE-28, DANE-32 (RFC 7672 2.2.1): its host is held to its records for itself, and never for the next hop."""
    (host,) = (await planned(lab, f"mail.{PLAIN_HOSTS}")).hosts
    assert isinstance(host.demand, DaneDemand)
    assert (host.demand.names, host.demand.host_only) == (("mx.whole.lab",), True)


async def test_a_secure_first_alias_binds_whatever_comes_behind(lab: Lab) -> None:
    """DANE-36, DANE-14 (RFC 7672 2.2.2): secure, insecure, secure: the records at the first name, and not those at the last."""
    (host,) = (await planned(lab, "aliased.lab")).hosts
    assert isinstance(host.demand, DaneDemand)
    assert host.demand.base == "mx.aliased.lab"
    assert host.name == "mx.aliased.lab"


async def test_where_no_anchor_covers_all_is_insecure(lab: Lab, tmp_path: Path) -> None:
    """DANE-03 (RFC 7672 2.1.1, erratum 5395): a resolver with an anchor for one zone: other zones are as if unsigned, not in error."""
    origin = dns.name.from_text("whole.lab")
    keys = lab.tree.zones[origin].get_rdataset(origin, dns.rdatatype.DNSKEY)
    assert keys is not None
    anchor = f"whole.lab. 300 IN DNSKEY {keys[0].to_text().replace(chr(10), ' ')}"
    async with validating(tmp_path, anchor, lab.nameserver.port) as address:
        covered = await asked(address, "whole.lab", "MX")
        other = await asked(address, "other.lab", "MX")
        resolver = resolver_of(address)
        to = Destination(RouteKind.MX, "other.lab", lab.smtp_port)
        found = await survey(to, RFC, resolver, lambda: datetime.now(UTC), 0.0)
        await resolver.aclose()
    assert isinstance(covered, Found)
    assert isinstance(other, Found)
    assert (covered.security, other.security) == (Security.SECURE, Security.INSECURE)
    (host,) = make_plan(found, RFC, datetime.now(UTC)).hosts
    assert isinstance(host.demand, MayDemand)


async def test_nobody_knocks_at_a_host_whose_tlsa_lookup_failed(lab: Lab) -> None:
    """DANE-08, DANE-09 (RFC 7672 2.1.2): the first host, which listens, sees no connection, and the second gets the mail."""
    plan = await planned(lab, "servfail-first.lab")
    assert [(one.name, one.trouble) for one in plan.skipped] == [("mx1.servfail-first.lab", Trouble.LOOKUP_TLSA)]

    async def load() -> bytes:
        return b"Subject: x\r\n\r\nhello\r\n"

    async def parcels() -> AsyncIterator[Parcel]:
        yield Parcel(message("user@servfail-first.lab"), load)

    (attempt,) = [one async for one in Courier(SmtpSettings("out.lab")).deliver(plan, RFC, parcels())]
    assert [one.host for one in attempt.hosts] == ["mx2.servfail-first.lab"]
    assert len(lab.received("servfail-first.lab")) == 1
    assert lab.inbox.connections == {"mx2.servfail-first.lab": 1}
