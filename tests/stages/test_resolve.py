"""From answers to a plan: which hosts, in which order, with which demand, and what is asked on the way."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stages.answer import Absent, Answer, Failed, Failure, Found, Proof, Question, Security
from stages.contract import Consignment, Planned
from stages.dane import reference_names
from stages.destination import Destination, RouteKind, TlsLevel
from stages.plan import DaneDemand, EncryptDemand, MayDemand, Plan, Trouble
from stages.policy import DanePolicy, InsecureMx, Mode, MxCname, Policy, Profile, dane_policy
from stages.records import IP, MX, TLSA, Record
from stages.resolve import Survey, decide, make_plan, missing
from stages.verdict import Defer, Proceed, Refuse
from tests.stages.make import message

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
EE = TLSA(3, 1, 1, bytes(32))
UNUSABLE = TLSA(1, 1, 1, bytes(32))
RFC = Policy(dane=dane_policy(Profile.RFC7672), allow_private=True)  # documentation addresses count as private
DOMAIN = Destination(RouteKind.MX, "example.com", 25)
KINDS = [failure for failure in Failure if failure is not Failure.SUSPENDED]


class Zone:
    """What DNS would say: secure unless told otherwise, absent unless set. Notes what was asked, in rounds."""

    def __init__(self) -> None:
        self._set: dict[Question, Answer] = {}
        self.rounds: list[tuple[Question, ...]] = []

    def found(
        self, name: str, rdtype: str, *records: Record, secure: bool = True, aliases: tuple[str, ...] = ()
    ) -> "Zone":
        """Let records exist, at the end of aliases if any."""
        question = Question(name, rdtype)
        security = Security.SECURE if secure else Security.INSECURE
        canonical = aliases[-1] if aliases else name
        self._set[question] = Found(question, security, records, canonical, aliases, LATER, "r")
        return self

    def absent(self, name: str, rdtype: str, *, secure: bool = True, nxdomain: bool = False) -> "Zone":
        """Let there be a denial."""
        security = Security.SECURE if secure else Security.INSECURE
        self._set[Question(name, rdtype)] = Absent(Question(name, rdtype), security, nxdomain, name, (), LATER, "r")
        return self

    def failed(self, name: str, rdtype: str, failure: Failure = Failure.SERVFAIL, *, proven: bool = False) -> "Zone":
        """Let there be no answer."""
        proofs = (Proof.CD_REQUERY, Proof.EDE) if proven else ()
        self._set[Question(name, rdtype)] = Failed(Question(name, rdtype), failure, "text", LATER, (), proofs, "r")
        return self

    def host(
        self, name: str, *records: TLSA, secure: bool = True, aliases: tuple[str, ...] = (), tlsa_at: str = ""
    ) -> "Zone":
        """Let a host have an IPv4 address, and TLSA records if given."""
        self.found(name, "A", IP("192.0.2.1"), secure=secure, aliases=aliases)
        if records:
            self.found(f"_25._tcp.{tlsa_at or (aliases[-1] if aliases else name)}", "TLSA", *records)
        return self

    def mx(self, *hosts: str, secure: bool = True) -> "Zone":
        """Let example.com have MX hosts of preference 10, 20, ..."""
        return self.found(
            "example.com", "MX", *(MX(10 * place, host) for place, host in enumerate(hosts, 1)), secure=secure
        )

    def answer(self, question: Question) -> Answer:
        """Answer."""
        default = Absent(question, Security.SECURE, nxdomain=False, canonical=question.name, aliases=(), expires=LATER)
        return self._set.get(question, default)

    def survey(self, policy: Policy, destination: Destination = DOMAIN, chance: float = 0.0) -> Survey:
        """Ask what `missing` names until nothing is."""
        answers: dict[Question, Answer] = {}
        while questions := missing(destination, policy, answers):
            self.rounds.append(questions)
            answers.update({question: self.answer(question) for question in questions})
        return Survey(destination, answers, NOW, chance=chance)

    def plan(self, policy: Policy = RFC, destination: Destination = DOMAIN, chance: float = 0.0) -> Plan:
        """Make the plan."""
        return make_plan(self.survey(policy, destination, chance), policy, NOW)

    def asked(self, rdtype: str) -> list[str]:
        """List the names asked for a type."""
        return [question.name for questions in self.rounds for question in questions if question.rdtype == rdtype]


def verdict(zone: Zone, policy: Policy = RFC, destination: Destination = DOMAIN) -> Any:
    """Give the one verdict of stage resolve on one recipient."""
    survey = zone.survey(policy, destination)
    (only,) = decide(Consignment(destination, (message("user@example.com"),)), {Survey: survey, Policy: policy}, NOW)
    return only


def demands(plan: Plan) -> dict[str, str]:
    """Give the kind of demand on each host, in order."""
    return {host.name: host.demand.kind for host in plan.hosts}


# TLSA discovery (RFC 7672 sections 2.2 and 2.2.3)


def test_a_usable_record_demands_dane() -> None:
    """DANE-15, DANE-34, DANE-44 (RFC 7672 2.2): TLS and a matching certificate, asked for at the port really used."""
    plan = Zone().mx("mx1.example.com").host("mx1.example.com", EE).plan()
    (host,) = plan.hosts
    assert host.demand == DaneDemand("mx1.example.com", (EE,), ("mx1.example.com", "example.com"))
    other = replace(DOMAIN, port=2525)
    zone = Zone().mx("mx1.example.com").host("mx1.example.com")
    zone.plan(destination=other)
    assert zone.asked("TLSA") == ["_2525._tcp.mx1.example.com"]


@pytest.mark.parametrize("mode", [Mode.ENFORCE, Mode.MANDATORY])
def test_unusable_records_alone_demand_encryption(mode: Mode) -> None:
    """DANE-17, DANE-21, DANE-22 (RFC 7672 2.2.3): TLS without authentication; under mandatory DANE the host is left out."""
    policy = replace(RFC, dane=replace(RFC.dane, mode=mode))
    plan = Zone().mx("mx1.example.com").host("mx1.example.com", UNUSABLE).plan(policy)
    if mode is Mode.ENFORCE:
        assert isinstance(plan.hosts[0].demand, EncryptDemand)
    else:
        assert [one.trouble for one in plan.skipped] == [Trouble.MANDATORY]
    banned = replace(RFC, dane=replace(RFC.dane, usages=(3,)))
    committed = Zone().mx("mx1.example.com").host("mx1.example.com", TLSA(2, 0, 1, bytes(32))).plan(banned)
    assert isinstance(committed.hosts[0].demand, EncryptDemand)


@pytest.mark.parametrize("nxdomain", [True, False])
@pytest.mark.parametrize("secure", [True, False])
def test_a_denial_is_an_answer(nxdomain: bool, secure: bool) -> None:  # noqa: FBT001 - columns of a table
    """DANE-04, DANE-18 (RFC 7672 2.1.1, 2.2): NODATA and NXDOMAIN, secure or not, mean opportunistic TLS."""
    zone = Zone().mx("mx1.example.com").host("mx1.example.com")
    zone.absent("_25._tcp.mx1.example.com", "TLSA", secure=secure, nxdomain=nxdomain)
    assert demands(zone.plan()) == {"mx1.example.com": "may"}


@pytest.mark.parametrize("failure", KINDS)
def test_every_failure_of_a_tlsa_lookup_makes_the_host_unreachable(failure: Failure) -> None:
    """DANE-08, DANE-09, DANE-10, DANE-20 (RFC 7672 2.1.2): skipped, never "no TLSA"; alone, the mail waits."""
    zone = Zone().mx("mx1.example.com", "mx2.example.com").host("mx1.example.com").host("mx2.example.com")
    plan = zone.failed("_25._tcp.mx1.example.com", "TLSA", failure).plan()
    assert demands(plan) == {"mx2.example.com": "may"}
    assert [one.name for one in plan.skipped] == ["mx1.example.com"]
    alone = Zone().mx("mx1.example.com").host("mx1.example.com").failed("_25._tcp.mx1.example.com", "TLSA", failure)
    assert isinstance(verdict(alone), Defer)


@pytest.mark.parametrize("failure", KINDS)
def test_every_failure_of_an_mx_lookup_delays_the_mail(failure: Failure) -> None:
    """DANE-02, DANE-06, DANE-10, SMTP-03 (RFC 7672 2.1.2, RFC 5321 5.1): no host is known, so nothing is tried."""
    zone = Zone().failed("example.com", "MX", failure)
    made = verdict(zone)
    assert isinstance(made, Defer)
    assert made.reason.status == ("4.7.5" if failure is Failure.BOGUS else "4.4.3")
    assert [question.rdtype for questions in zone.rounds for question in questions] == ["MX"]


@pytest.mark.parametrize("failure", KINDS)
def test_every_failure_of_an_address_lookup_removes_that_host_only(failure: Failure) -> None:
    """DANE-07, DANE-10, DANE-11 (RFC 7672 2.1.2): the next MX takes its place; no TLSA is asked for the lost one."""
    zone = Zone().mx("mx1.example.com", "mx2.example.com").host("mx2.example.com", EE)
    zone.failed("mx1.example.com", "A", failure).failed("mx1.example.com", "AAAA", failure)
    assert demands(zone.plan()) == {"mx2.example.com": "dane"}
    assert zone.asked("TLSA") == ["_25._tcp.mx2.example.com"]


def test_bogus_bounces_only_under_a_profile_that_says_so_and_with_proof() -> None:
    """DANE-06, DANE-109 (RFC 7672 2.1.2): profile mailmarshal refuses a proven bogus MX; unproven or rfc7672 waits."""
    strict = replace(RFC, dane=DanePolicy())
    proven = Zone().failed("example.com", "MX", Failure.BOGUS, proven=True)
    assert isinstance(verdict(proven, strict), Refuse)
    assert isinstance(verdict(proven), Defer)
    assert isinstance(verdict(Zone().failed("example.com", "MX", Failure.BOGUS), strict), Defer)


# MX (RFC 7672 section 2.2.1, RFC 5321 section 5.1)


def test_preference_beats_security_and_each_host_has_its_own_demand() -> None:
    """DANE-26, DANE-27, SMTP-10 (RFC 7672 2.2.1): in order of preference, whoever publishes TLSA."""
    zone = Zone().mx("mx1.example.com", "mx2.example.com").host("mx1.example.com").host("mx2.example.com", EE)
    assert demands(zone.plan()) == {"mx1.example.com": "may", "mx2.example.com": "dane"}
    assert list(demands(zone.plan())) == ["mx1.example.com", "mx2.example.com"]


def test_equal_preference_is_shuffled_by_chance() -> None:
    """SMTP-11 (RFC 5321 5.1): over many chances each of two equal hosts comes first about as often."""
    zone = (
        Zone().found("example.com", "MX", MX(10, "a.example"), MX(10, "b.example")).host("a.example").host("b.example")
    )
    first = [zone.plan(chance=number / 1000).hosts[0].name for number in range(1000)]
    assert 450 <= first.count("a.example") <= 550


def test_a_domain_without_mx_is_its_own_host() -> None:
    """DANE-35, SMTP-04, SMTP-09 (RFC 5321 5.1, RFC 7672 2.2.2): implicit MX with DANE; without address, refused."""
    plan = Zone().host("example.com", EE).plan()
    assert demands(plan) == {"example.com": "dane"}
    gone = verdict(Zone())
    assert isinstance(gone, Refuse)
    assert gone.reason.status == "5.4.4"


def test_mx_records_forbid_the_domain_s_own_address() -> None:
    """SMTP-05, SMTP-06 (RFC 5321 5.1): hosts without address are no reason to try A; all of them proven gone is final."""
    zone = Zone().mx("mx1.example.com").host("example.com")
    made = verdict(zone)
    assert isinstance(made, Refuse)
    assert made.reason.status == "5.4.4"
    assert "example.com" not in zone.asked("A")
    unsure = (
        Zone().mx("mx1.example.com", "mx2.example.com").failed("mx2.example.com", "A").failed("mx2.example.com", "AAAA")
    )
    assert isinstance(verdict(unsure), Defer)


def test_null_mx_and_nxdomain_are_final() -> None:
    """SMTP-02, SMTP-07 (RFC 7505 3, RFC 5321 5.1): a domain that takes no mail, and one that does not exist."""
    null = verdict(Zone().found("example.com", "MX", MX(0, ".")))
    assert isinstance(null, Refuse)
    assert null.reason.status == "5.1.10"
    for secure in (True, False):
        gone = verdict(Zone().absent("example.com", "MX", nxdomain=True, secure=secure))
        assert isinstance(gone, Refuse)
        assert gone.reason.status == "5.1.2"
    assert isinstance(verdict(Zone().failed("example.com", "MX", Failure.BOGUS)), Defer)


def test_an_insecure_mx() -> None:
    """DANE-29, DANE-30, DANE-31, DANE-32, DANE-83 (RFC 7672 2.2.1): opportunistic, host-only DANE, or a delay, by policy."""
    zone = Zone().mx("mx1.example.com", secure=False).host("mx1.example.com", EE)
    (host,) = zone.plan().hosts
    assert isinstance(host.demand, DaneDemand)
    assert host.demand.host_only
    assert host.demand.names == ("mx1.example.com",)
    open_ = replace(RFC, dane=replace(RFC.dane, insecure_mx_policy=InsecureMx.OPPORTUNISTIC))
    quiet = Zone().mx("mx1.example.com", secure=False).host("mx1.example.com", EE)
    assert demands(quiet.plan(open_)) == {"mx1.example.com": "may"}
    assert not quiet.asked("TLSA")
    made = verdict(zone, replace(RFC, dane=replace(RFC.dane, mode=Mode.MANDATORY)))
    assert isinstance(made, Defer)
    assert "insecure" in made.reason.text


def test_ourselves_among_the_mx() -> None:
    """SMTP-14, SMTP-20 (RFC 5321 5.1): our own preference and all worse are dropped; nothing left is a loop."""
    policy = replace(RFC, own_names=frozenset({"mx2.example.com"}))
    zone = (
        Zone()
        .mx("mx1.example.com", "mx2.example.com", "mx3.example.com")
        .host("mx1.example.com")
        .host("mx3.example.com")
    )
    assert list(demands(zone.plan(policy))) == ["mx1.example.com"]
    only = verdict(Zone().mx("mx2.example.com").host("mx2.example.com"), policy)
    assert isinstance(only, Refuse)
    assert only.reason.status == "5.4.6"
    private = Zone().mx("mx1.example.com").found("mx1.example.com", "A", IP("127.0.0.1"))
    assert [one.trouble for one in private.plan(replace(RFC, allow_private=False)).skipped] == [
        Trouble.FORBIDDEN_ADDRESS
    ]


def test_an_address_of_ours_among_the_mx() -> None:
    """SMTP-14 (RFC 5321 5.1): a host of another name that has our address ends the list as our own name does."""
    policy = replace(RFC, own_addresses=frozenset({"198.51.100.7"}))
    zone = Zone().mx("mx1.example.com", "mx2.example.com", "mx3.example.com")
    zone.host("mx1.example.com").host("mx3.example.com")
    zone.found("mx2.example.com", "A", IP("198.51.100.6"), IP("198.51.100.7"))
    plan = zone.plan(policy)
    assert list(demands(plan)) == ["mx1.example.com"]
    assert [(one.name, one.trouble) for one in plan.skipped] == [("mx2.example.com", Trouble.SELF)]
    only = Zone().mx("mx1.example.com", "mx2.example.com").host("mx2.example.com")
    made = verdict(only.found("mx1.example.com", "A", IP("198.51.100.7")), policy)
    assert isinstance(made, Refuse)
    assert made.reason.status == "5.4.6"


def test_a_domain_that_is_ourselves_and_has_no_mx() -> None:
    """SMTP-14 (RFC 5321 5.1): the implicit MX is one too, so mail for our own name is a loop and asks for no address."""
    zone = Zone().host("example.com")
    made = verdict(zone, replace(RFC, own_names=frozenset({"example.com"})))
    assert isinstance(made, Refuse)
    assert made.reason.status == "5.4.6"
    assert not zone.asked("A")


def test_an_aliased_domain_is_followed_to_its_mx() -> None:
    """SMTP-01 (RFC 5321 5.1): MX is asked first; behind an alias the MX of its target count, or else its addresses."""
    zone = Zone().found("example.com", "MX", MX(10, "mx.target.example"), aliases=("target.example",))
    assert list(demands(zone.host("mx.target.example").plan())) == ["mx.target.example"]
    assert [question.rdtype for question in zone.rounds[0]] == ["MX"]
    bare = Zone().found("example.com", "A", IP("192.0.2.1"), aliases=("target.example",))
    (host,) = bare.plan().hosts
    assert host.addresses == ("192.0.2.1",)
    assert [question.rdtype for question in bare.rounds[0]] == ["MX"]


def test_a_null_mx_beside_others_is_left_out() -> None:
    """SMTP-08 (RFC 7505 3): the mail goes to the other hosts, and the log says that the domain is misconfigured."""
    zone = Zone().found("example.com", "MX", MX(0, "."), MX(10, "mx1.example.com")).host("mx1.example.com")
    plan = zone.plan()
    assert list(demands(plan)) == ["mx1.example.com"]
    assert "null MX" in plan.facts["misconfigured"]
    assert "." not in zone.asked("A")


def test_a_bad_literal_is_refused() -> None:
    """SMTP-19 (RFC 5321 4.1.3): what stands in brackets and is no address fails with 5.1.3, and nothing is asked."""
    zone = Zone()
    made = verdict(zone, destination=Destination(RouteKind.HOST, "[192.0.2.300]", 25))
    assert isinstance(made, Refuse)
    assert made.reason.status == "5.1.3"
    assert not zone.rounds


def test_an_mx_that_names_an_address_is_ignored() -> None:
    """DANE-24 (RFC 7672 2.2): no TLSA is asked for it."""
    zone = Zone().mx("192.0.2.7", "mx2.example.com").host("mx2.example.com")
    assert list(demands(zone.plan())) == ["mx2.example.com"]
    assert zone.asked("A") == ["mx2.example.com"]


def test_addresses_come_in_the_resolver_s_order_by_family() -> None:
    """SMTP-12, SMTP-13, SMTP-15: IPv6 or IPv4 first by setting, both families represented; names are asked as they are."""
    zone = Zone().mx("mx1.example.com").found("mx1.example.com", "A", *(IP(f"198.51.100.{n}") for n in (9, 3)))
    zone.found("mx1.example.com", "AAAA", *(IP(f"2001:4860::{n}") for n in (5, 1, 7, 8, 2)))
    assert zone.plan().hosts[0].addresses == (
        "2001:4860::5",
        "2001:4860::1",
        "2001:4860::7",
        "198.51.100.9",
        "198.51.100.3",
    )
    assert zone.plan(replace(RFC, prefer="ipv4")).hosts[0].addresses[:2] == ("198.51.100.9", "198.51.100.3")
    assert set(zone.asked("A")) == {"mx1.example.com"}


# Aliases (RFC 7672 sections 2.1.3 and 2.2.2)

ALIASED: Mapping[str, Any] = {"aliases": ("mid.example.net", "end.example.net")}


def test_the_expanded_name_comes_first_and_names_between_never() -> None:
    """DANE-38, DANE-39, DANE-13, DANE-46 (RFC 7672 2.2.2): expanded, then initial; the base is a name, not an alias of TLSA."""
    both = Zone().mx("mx1.example.com").host("mx1.example.com", EE, **ALIASED)
    (host,) = both.plan().hosts
    assert isinstance(host.demand, DaneDemand)
    assert host.demand.base == "end.example.net"
    initial = Zone().mx("mx1.example.com").host("mx1.example.com", EE, **ALIASED, tlsa_at="mx1.example.com")
    (host,) = initial.plan().hosts
    assert isinstance(host.demand, DaneDemand)
    assert host.demand.base == "mx1.example.com"
    assert initial.asked("TLSA") == ["_25._tcp.end.example.net", "_25._tcp.mx1.example.com"]
    middle = Zone().mx("mx1.example.com").host("mx1.example.com", EE, **ALIASED, tlsa_at="mid.example.net")
    assert demands(middle.plan()) == {"mx1.example.com": "may"}
    tlsa_alias = Zone().mx("mx1.example.com").host("mx1.example.com")
    tlsa_alias.found("_25._tcp.mx1.example.com", "TLSA", EE, aliases=("tlsa._dane.example.com",))
    (host,) = tlsa_alias.plan().hosts
    assert isinstance(host.demand, DaneDemand)
    assert host.demand.base == "mx1.example.com"


def test_the_first_candidate_with_records_ends_the_search() -> None:
    """DANE-40, DANE-45, DANE-47 (RFC 7672 2.2.3): unusable records commit, an error is an error, absence goes on."""
    committed = Zone().mx("mx1.example.com").host("mx1.example.com", UNUSABLE, **ALIASED)
    committed.found("_25._tcp.mx1.example.com", "TLSA", EE)
    assert demands(committed.plan()) == {"mx1.example.com": "encrypt"}
    failing = Zone().mx("mx1.example.com").host("mx1.example.com", **ALIASED)
    failing.failed("_25._tcp.end.example.net", "TLSA").found("_25._tcp.mx1.example.com", "TLSA", EE)
    assert not failing.plan().hosts
    insecure = Zone().mx("mx1.example.com").host("mx1.example.com", **ALIASED)
    insecure.found("_25._tcp.end.example.net", "TLSA", EE, secure=False).found("_25._tcp.mx1.example.com", "TLSA", EE)
    assert demands(insecure.plan()) == {"mx1.example.com": "dane"}


def test_insecure_addresses_end_dane_unless_the_first_alias_is_secure() -> None:
    """DANE-12, DANE-14, DANE-36, DANE-37, DANE-42 (RFC 7672 2.2.2): TLSA at the initial name, or no question at all."""
    plain = Zone().mx("mx1.example.com").host("mx1.example.com", EE, secure=False)
    assert demands(plain.plan()) == {"mx1.example.com": "may"}
    assert not plain.asked("TLSA")
    zone = Zone().mx("mx1.example.com").host("mx1.example.com", EE, secure=False, **ALIASED, tlsa_at="mx1.example.com")
    zone.found("mx1.example.com", "CNAME", aliases=("mid.example.net",))
    (host,) = zone.plan().hosts
    assert isinstance(host.demand, DaneDemand)
    assert host.demand.base == "mx1.example.com"
    assert zone.asked("TLSA") == ["_25._tcp.mx1.example.com"]
    loose = Zone().mx("mx1.example.com").host("mx1.example.com", EE, secure=False, **ALIASED, tlsa_at="mx1.example.com")
    loose.found("mx1.example.com", "CNAME", secure=False, aliases=("mid.example.net",))
    assert demands(loose.plan()) == {"mx1.example.com": "may"}
    assert not loose.asked("TLSA")


def test_addresses_are_asked_before_tlsa() -> None:
    """DANE-41, DANE-43 (RFC 7672 2.2.2): MX, addresses, TLSA; without an address there is no host and no TLSA question."""
    zone = Zone().mx("mx1.example.com").host("mx1.example.com", EE)
    zone.plan()
    assert [{question.rdtype for question in questions} for questions in zone.rounds] == [
        {"MX"},
        {"A", "AAAA"},
        {"TLSA"},
    ]
    gone = Zone().mx("mx1.example.com")
    assert not gone.plan().hosts
    assert not gone.asked("TLSA")


def test_an_mx_alias_can_be_refused() -> None:
    """DANE-50 (RFC 7672 2.2.2): `mx_cname = refuse` makes such a host unreachable."""
    policy = replace(RFC, dane=replace(RFC.dane, mx_cname=MxCname.REFUSE))
    plan = Zone().mx("mx1.example.com").host("mx1.example.com", EE, **ALIASED).plan(policy)
    assert [one.trouble for one in plan.skipped] == [Trouble.ALIAS_REFUSED]


# Names, hosts by rule, literals


def test_reference_names_of_the_rfc_s_example() -> None:
    """DANE-28, DANE-80, DANE-81, DANE-82, DANE-84, DANE-85 (RFC 7672 3.2.2): base, next hop, its expansion."""
    zone = Zone().found("exchange.example.org", "MX", MX(10, "mx10.example.com"), aliases=("example.com",))
    zone.host("mx10.example.com", EE)
    (host,) = zone.plan(destination=Destination(RouteKind.MX, "exchange.example.org", 25)).hosts
    assert isinstance(host.demand, DaneDemand)
    assert host.demand.names == ("mx10.example.com", "exchange.example.org", "example.com")
    without = reference_names("end.example", "next.example", "end.example", by_mx=False, mx_secure=True)
    assert without == ("end.example", "next.example")


def test_a_host_by_rule_is_held_to_its_own_records() -> None:
    """DANE-48 (RFC 7672 2.2.2): no MX is asked; the host's name and the rule's port are what counts."""
    zone = Zone().found("relay.example", "A", IP("192.0.2.1")).found("_587._tcp.relay.example", "TLSA", EE)
    plan = zone.plan(destination=Destination(RouteKind.HOST, "relay.example", 587))
    assert demands(plan) == {"relay.example": "dane"}
    assert not zone.asked("MX")


def test_a_relay_by_mx_is_the_next_hop() -> None:
    """DANE-49 (RFC 7672 2.2.1): the names are those of the relay's domain, never the recipient's."""
    zone = Zone().found("relay.example", "MX", MX(10, "mx.relay.example")).host("mx.relay.example", EE)
    (host,) = zone.plan(destination=Destination(RouteKind.MX, "relay.example", 25)).hosts
    assert isinstance(host.demand, DaneDemand)
    assert host.demand.names == ("mx.relay.example", "relay.example")


def test_an_address_literal_knows_no_dane() -> None:
    """DANE-23 (RFC 7672 2.2): nothing is asked; other levels of the route hold."""
    zone = Zone()
    literal = Destination(RouteKind.HOST, "[198.51.100.1]", 25)
    assert isinstance(zone.plan(RFC, literal).hosts[0].demand, MayDemand)
    assert not zone.rounds
    encrypted = replace(literal, tls=TlsLevel.ENCRYPT)
    assert isinstance(zone.plan(RFC, encrypted).hosts[0].demand, EncryptDemand)


def test_the_least_level_of_a_destination_raises_and_never_lowers() -> None:
    """A `[[destination]]` with tls = encrypt turns opportunistic TLS into required TLS, and leaves DANE as it is."""
    policy = replace(RFC, floor=TlsLevel.ENCRYPT)
    zone = Zone().mx("mx1.example.com", "mx2.example.com").host("mx1.example.com").host("mx2.example.com", EE)
    assert demands(zone.plan(policy)) == {"mx1.example.com": "encrypt", "mx2.example.com": "dane"}
    verified = zone.plan(replace(RFC, floor=TlsLevel.VERIFY))
    assert demands(verified) == {"mx1.example.com": "verify", "mx2.example.com": "dane"}


def test_suspension_outweighs_everything() -> None:
    """While our resolver fails its self-test nothing that DNS says counts: no host, no refusal, only waiting."""
    zone = Zone().mx("mx1.example.com", "mx2.example.com").host("mx1.example.com", EE)
    zone.failed("mx2.example.com", "A", Failure.SUSPENDED).failed("mx2.example.com", "AAAA", Failure.SUSPENDED)
    assert not zone.plan().hosts
    assert isinstance(verdict(zone, replace(RFC, dane=DanePolicy())), Defer)


def test_a_plan_lasts_no_longer_than_its_shortest_answer() -> None:
    """DANE-108 (RFC 7671 11): the plan ends with the first answer that it rests on."""
    zone = Zone().mx("mx1.example.com").host("mx1.example.com", EE)
    survey = zone.survey(RFC)
    soon = NOW + timedelta(seconds=30)
    question = Question("_25._tcp.mx1.example.com", "TLSA")
    answers = dict(survey.answers)
    tlsa = answers[question]
    assert isinstance(tlsa, Found)
    answers[question] = replace(tlsa, expires=soon)
    assert make_plan(replace(survey, answers=answers), RFC, NOW).expires == soon


def test_a_plan_that_stands_is_passed_on_with_its_facts() -> None:
    """DANE-105: the verdict bears the states of MX, addresses and TLSA, the records and the demand (what an operator asks for)."""
    made = verdict(Zone().mx("mx1.example.com").host("mx1.example.com", EE))
    assert isinstance(made, Proceed)
    assert isinstance(made.gives, Planned)
    assert made.reason is not None
    (host,) = made.reason.facts["hosts"]
    assert (made.reason.facts["mx"], host["address"], host["tlsa"]) == ("secure", "secure", "secure")
    assert host["records"] == [str(EE)]
    assert host["demand"] == "dane"
