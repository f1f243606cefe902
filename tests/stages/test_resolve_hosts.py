"""Hosts in their finer points: two address families that disagree, aliases everywhere, and the names in logs."""

from dataclasses import replace
from datetime import timedelta

import pytest

from delivery.names import covers
from stages.answer import Failure, Found, Question
from stages.attempt import Attempt, HostAttempt, Reply, Transaction
from stages.contract import Planned
from stages.deliver import STAGE as DELIVER
from stages.destination import Destination, RouteKind
from stages.plan import DaneDemand, Trouble
from stages.policy import InsecureMx, Mode, Policy
from stages.records import IP, MX, TLSA
from stages.resolve import make_plan, plan_facts
from stages.verdict import Defer, Done
from tests.stages.make import message
from tests.stages.test_resolve import EE, KINDS, NOW, RFC, Zone, demands

HOST = "mx1.example.com"
TA = TLSA(2, 0, 1, bytes(32))


# Two families (RFC 7672 section 2.2.2 speaks of "A and/or AAAA" as one)


@pytest.mark.parametrize("family", ["A", "AAAA"])
@pytest.mark.parametrize("failure", KINDS)
def test_one_family_that_fails_does_not_discard_the_other(failure: Failure, family: str) -> None:
    """DANE-52: A secure and AAAA in error (or the other way round): the addresses there are, with DANE as they ask for it."""
    there, given = ("AAAA", IP("2001:db8::1")) if family == "A" else ("A", IP("192.0.2.1"))
    zone = Zone().mx(HOST).found(HOST, there, given).found(f"_25._tcp.{HOST}", "TLSA", EE)
    (host,) = zone.failed(HOST, family, failure).plan().hosts
    assert (host.addresses, host.demand.kind) == ((given.address,), "dane")
    assert host.facts["address_partial"] == str(failure)


@pytest.mark.parametrize("failure", KINDS)
def test_policy_can_pass_over_a_host_with_a_family_in_error(failure: Failure) -> None:
    """DANE-52, section 15: `partial_address_failure = "skip"` reads RFC 7672 2.1.2 by the letter."""
    zone = Zone().mx(HOST).host(HOST, EE).failed(HOST, "AAAA", failure)
    plan = zone.plan(replace(RFC, partial_address_failure="skip"))
    wanted = Trouble.BOGUS_ADDRESS if failure is Failure.BOGUS else Trouble.LOOKUP_ADDRESS
    assert ([host.name for host in plan.hosts], [one.trouble for one in plan.skipped]) == ([], [wanted])


@pytest.mark.parametrize(("a", "aaaa"), [(True, False), (False, True), (False, False)])
def test_the_weaker_of_two_answers_is_that_of_the_host(a: bool, aaaa: bool) -> None:  # noqa: FBT001 - columns of a table
    """DANE-52, DANE-42: one insecure answer makes the addresses insecure, and then no TLSA is asked for."""
    zone = Zone().mx(HOST).found(HOST, "A", IP("192.0.2.1"), secure=a)
    zone.found(HOST, "AAAA", IP("2001:db8::1"), secure=aaaa).found(f"_25._tcp.{HOST}", "TLSA", EE)
    plan = zone.plan()
    assert demands(plan) == {HOST: "may"}
    assert plan.hosts[0].facts["address"] == "insecure"
    assert zone.asked("TLSA") == []


def test_an_insecure_family_behind_a_secure_alias() -> None:
    """DANE-52, DANE-36: where an alias explains the difference, the records at the secure alias still bind."""
    zone = Zone().mx(HOST).found(HOST, "A", IP("192.0.2.1"), aliases=("end.example.net",))
    zone.found(HOST, "AAAA", IP("2001:db8::1"), secure=False, aliases=("end.example.net",))
    zone.found(HOST, "CNAME", aliases=("end.example.net",)).found(f"_25._tcp.{HOST}", "TLSA", EE)
    (host,) = zone.plan().hosts
    assert isinstance(host.demand, DaneDemand)
    assert host.demand.base == HOST
    assert zone.asked("CNAME") == [HOST]
    assert zone.asked("TLSA") == [f"_25._tcp.{HOST}"]


def test_a_plan_ends_with_its_addresses_too() -> None:
    """DANE-108 (RFC 7671 13): whether TLSA was asked at all rests on the addresses, so their end is the plan's."""
    survey = Zone().mx(HOST).host(HOST, EE).survey(RFC)
    question = Question(HOST, "A")
    found = survey.answers[question]
    assert isinstance(found, Found)
    soon = NOW + timedelta(seconds=30)
    answers = {**survey.answers, question: replace(found, expires=soon)}
    assert make_plan(replace(survey, answers=answers), RFC, NOW).expires == soon


# Order and names


def test_preference_decides_whatever_the_names_and_the_chance() -> None:
    """DANE-26 (RFC 7672 2.2.1): the better preference is first in every shuffle, also without TLSA beside a host with it."""
    zone = Zone().found("example.com", "MX", MX(20, "a.example.com"), MX(10, "b.example.com"), MX(30, "c.example.com"))
    zone.host("a.example.com", EE).host("b.example.com").host("c.example.com", EE)
    orders = {tuple(demands(zone.plan(chance=number / 20)).items()) for number in range(20)}
    assert orders == {(("b.example.com", "may"), ("a.example.com", "dane"), ("c.example.com", "dane"))}


# RFC 7672 section 3.2.2, the example zone
EXAMPLE = Destination(RouteKind.MX, "exchange.example.org", 25)
BY_HOST = {
    "mx10.example.com": "mx10.example.com",
    "mx15.example.com": "mx15.example.com",
    "mx20.example.com": "mxbackup.example.net",
}


def _example() -> Zone:
    zone = Zone()
    aliases = ("mail.example.org", "example.com")
    zone.found("exchange.example.org", "MX", *(MX(int(host[2:4]), host) for host in BY_HOST), aliases=aliases)
    zone.host("mx10.example.com", TA)
    zone.host("mx15.example.com", TA, aliases=("mxbackup.example.com",), tlsa_at="mx15.example.com")
    zone.absent("_25._tcp.mxbackup.example.com", "TLSA", nxdomain=True)
    return zone.host("mx20.example.com", TA, aliases=("mxbackup.example.net",))


@pytest.mark.parametrize("name", BY_HOST)
def test_each_host_of_the_rfc_s_example_has_its_names(name: str) -> None:
    """DANE-80, DANE-81, DANE-82, DANE-85 (RFC 7672 3.2.2): base, next hop and its expansion, and nothing else, for each host."""
    host = next(host for host in _example().plan(destination=EXAMPLE).hosts if host.name == name)
    base = BY_HOST[name]
    assert isinstance(host.demand, DaneDemand)
    assert (host.demand.base, host.demand.names) == (base, (base, "exchange.example.org", "example.com"))
    everything = {*BY_HOST, *BY_HOST.values(), "mxbackup.example.com", "mail.example.org", "example.com", EXAMPLE.name}
    accepted = {one for one in everything if covers((one,), host.demand.names)}
    assert accepted == {base, "exchange.example.org", "example.com"}


def test_a_domain_without_mx_is_known_by_both_its_names() -> None:
    """DANE-84 (RFC 7672 3.2.2): no MX, and the records stand at the expansion: the original next hop counts as well."""
    zone = Zone().host("example.com", EE, aliases=("end.example.net",))
    (host,) = zone.plan().hosts
    assert isinstance(host.demand, DaneDemand)
    assert host.demand.names == ("end.example.net", "example.com")


def test_the_names_of_a_host_behind_an_insecure_mx() -> None:
    """DANE-83 (RFC 7672 3.2.2): whoever could forge the MX could have named any next hop, so only the base counts."""
    zone = Zone().mx(HOST, secure=False).host(HOST, TA, aliases=("end.example.net",))
    (host,) = zone.plan().hosts
    assert isinstance(host.demand, DaneDemand)
    assert (host.demand.names, host.demand.host_only) == (("end.example.net",), True)


@pytest.mark.parametrize(
    "policy", [RFC, replace(RFC, dane=replace(RFC.dane, insecure_mx_policy=InsecureMx.OPPORTUNISTIC))]
)
def test_the_log_names_the_relay_as_the_mx_record_does(policy: Policy) -> None:
    """DANE-33 (RFC 7672 2.2.1): behind an insecure MX the host is logged unexpanded, whatever its name is an alias of."""
    zone = Zone().mx(HOST, secure=False).host(HOST, EE, aliases=("end.example.net",))
    plan = zone.plan(policy)
    (host,) = plan.hosts
    assert host.name == HOST
    mail = message("user@example.com")
    down = HostAttempt(host.name, host.addresses[0], 25, host.demand.kind, Trouble.CONNECT, "refused")
    ok = Reply(250, "ok", "", ".")
    taken = Transaction(ok, dict.fromkeys(mail.recipient_ids, ok), ok)
    for attempt in (
        Attempt(mail.recipient_ids, (down,)),
        Attempt(mail.recipient_ids, (replace(down, trouble=None),), taken),
    ):
        (verdict,) = DELIVER.decide(Planned(plan, (mail,)), {Attempt: attempt, Policy: policy}, NOW)
        assert isinstance(verdict, Done if attempt.transaction else Defer)
        assert verdict.reason is not None
        assert verdict.reason.facts["host"] == HOST
    assert [one["host"] for one in plan_facts(plan)["hosts"]] == [HOST]


@pytest.mark.parametrize("mode", list(Mode))
def test_dane_that_is_off_asks_for_no_tlsa(mode: Mode) -> None:
    """DANE-101, DANE-100 (RFC 7672 9.1): `mode = off` asks for no TLSA; every other mode does."""
    zone = Zone().mx(HOST).host(HOST, EE)
    zone.plan(replace(RFC, dane=replace(RFC.dane, mode=mode)))
    assert zone.asked("TLSA") == ([] if mode is Mode.OFF else [f"_25._tcp.{HOST}"])


def test_a_route_to_a_submission_port_asks_for_dane_by_itself() -> None:
    """DANE-106 (RFC 7672 3.1.3): a host by rule with `tls = encrypt` is held to that, and no TLSA is asked for it."""
    relay = Destination.parse("host:relay.example:587:encrypt")
    zone = Zone().found("relay.example", "A", IP("192.0.2.1")).found("_587._tcp.relay.example", "TLSA", EE)
    assert demands(zone.plan(destination=relay)) == {"relay.example": "encrypt"}
    assert zone.asked("TLSA") == []
