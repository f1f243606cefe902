"""What turns out bogus is asked for once more over TCP, and only what is bogus then is bogus."""

import functools

import pytest
from dns.rdatatype import DNSKEY, DS, NSEC, RRSIG

from delivery.dnssec.anchors import Anchors
from delivery.dnssec.limits import Rules
from delivery.dnssec.replies import Status
from delivery.local import LocalSettings, LocalValidator
from delivery.nameserver import Server
from delivery.resolver import DnsSettings, Resolver
from delivery.trust import Canary, Expected
from stages.answer import Absent, Answer, Failed, Failure, Found, Question, Security
from tests.delivery.mangled import Change, Mangled, nothing, without
from tests.dnssec.authority import answer
from tests.dnssec.zones import NOW, Tree, Zone

RECORDS = ("@ MX 10 mx", "mx A 192.0.2.1", "alias CNAME mx.other")
TREE = Tree(
    (Zone(records=RECORDS), Zone("other", records=("mx A 192.0.2.2",)), Zone("plain", ("@ MX 0 .",), signed=False))
)
ANCHORS = Anchors.parse(TREE.anchor)
MX = Question("example", "MX")
STRIPPED = (RRSIG, NSEC)


def _validator(rules: Rules | None = None) -> LocalValidator:
    return LocalValidator(LocalSettings(ANCHORS, rules or Rules(), patience=5), lambda: NOW)


async def _asked(question: Question, udp: Change, tcp: Change, rules: Rules | None = None) -> tuple[Answer, Mangled]:
    mangled = Mangled(TREE, udp, tcp)
    with mangled.served() as server:
        return await _validator(rules).ask(server, question), mangled


@pytest.mark.parametrize(
    ("name", "rdtype", "lost", "again"),
    [
        ("example", "MX", without(RRSIG, asked="MX"), ["example/MX", "example/DS", "example/DNSKEY"]),
        ("example", "TXT", without(NSEC, asked="TXT"), ["example/TXT", "example/DS", "example/DNSKEY"]),
        ("no.example", "A", without(NSEC, RRSIG, asked="A"), ["no.example/A", "example/DS", "example/DNSKEY"]),
        ("example", "MX", without(DS, asked="DS"), ["example/MX", "example/DS", "example/DNSKEY"]),
        ("example", "MX", without(RRSIG, asked="DNSKEY"), ["example/MX", "./DNSKEY", "example/DS", "example/DNSKEY"]),
        ("alias.example", "A", without(RRSIG, asked="A"),
         ["alias.example/A", "example/DS", "example/DNSKEY", "other.example/DS", "other.example/DNSKEY"]),
    ],
    ids=["signature", "denial", "signed denial", "DS", "signatures of keys", "signatures of an alias"],
)  # fmt: skip
async def test_what_a_datagram_has_lost_comes_over_tcp(name: str, rdtype: str, lost: Change, again: list[str]) -> None:
    """SEC-42 (RFC 4035 5.4): an incomplete answer is asked for again over TCP, with what its zone is proven by, once."""
    answered, mangled = await _asked(Question(name, rdtype), lost, nothing)
    assert isinstance(answered, Found | Absent)
    assert answered.security is Security.SECURE
    assert sorted(mangled.asked_over["tcp"]) == sorted(again)
    assert "asked again over TCP at 127.0.0.1@" in answered.chain[0]


@pytest.mark.parametrize("tcp", [without(*STRIPPED), without(RRSIG), without(NSEC, RRSIG, DS), without(DNSKEY)])
@pytest.mark.parametrize("name", ["example", "no.example", "alias.example"])
async def test_what_fails_again_is_bogus(name: str, tcp: Change) -> None:
    """SEC-42, SEC-21: who takes things away over TCP, too, has gained nothing: bogus, never insecure, and asked once more only."""
    answered, mangled = await _asked(Question(name, "A"), without(*STRIPPED), tcp)
    assert isinstance(answered, Failed)
    assert answered.failure is Failure.BOGUS
    over_tcp = mangled.asked_over["tcp"]
    assert over_tcp
    assert len(over_tcp) == len(set(over_tcp))


async def test_an_honest_answer_is_not_asked_again() -> None:
    """SEC-42, SEC-59: secure and insecure answers cost no second asking."""
    for name in ("example", "plain.example"):
        answered, mangled = await _asked(Question(name, "MX"), nothing, without(*STRIPPED))
        assert isinstance(answered, Found)
        assert mangled.asked_over["tcp"] == []


async def test_where_tcp_gives_nothing_the_first_verdict_stands() -> None:
    """SEC-42, DANE-10: whoever blocks TCP does not make a bogus answer into another kind of failure."""
    mangled = Mangled(TREE, without(RRSIG))
    other = Mangled(TREE)
    with mangled.served() as server:
        with other.served() as closed:
            pass
        answered = await _validator().ask(server, MX, closed)
    assert isinstance(answered, Failed)
    assert answered.failure is Failure.BOGUS


@pytest.mark.parametrize("what", ["queries", "checks", "records"])
async def test_both_times_are_paid_from_one_budget(what: str) -> None:
    """SEC-42, SEC-59, SEC-60: whatever the bound, nothing becomes insecure; and what suffices for one asking is not doubled."""
    seen = set()
    mangled = Mangled(TREE, without(RRSIG, asked="MX"))
    with mangled.served() as server:
        for bound in range(1, 40):
            for asked in mangled.asked_over.values():
                asked.clear()
            outcome = await _validator(Rules(**{what: bound})).judge(server, MX)  # type: ignore[arg-type]
            seen.add(outcome.status)
            walked = [one for over in mangled.asked_over.values() for one in over if one != str(MX)]
            assert what != "queries" or len(walked) <= bound + 2  # the keys of the signer are fetched ahead
    assert seen == {Status.INDETERMINATE, Status.BOGUS, Status.SECURE}


async def test_another_resolver_is_asked_if_there_is_one() -> None:
    """SEC-42: one resolver loses signatures over TCP as well; the other, which is whole, has the answer proven."""
    first, second = Mangled(TREE, without(RRSIG, asked="MX"), without(RRSIG, asked="MX")), Mangled(TREE)
    with first.served() as one, second.served() as other:
        resolver = Resolver(DnsSettings((one, other), "local", ANCHORS, canaries=()), now=lambda: NOW)
        answered = await resolver.ask(MX)
        await resolver.aclose()
    assert isinstance(answered, Found)
    assert answered.security is Security.SECURE
    assert (first.asked_over["tcp"], second.asked_over["udp"]) == ([], [])
    assert "example/MX" in second.asked_over["tcp"]
    assert f"asked again over TCP at {other}" in answered.chain[0]


async def test_a_self_test_is_about_one_resolver() -> None:
    """SEC-42, DANE-05: what another resolver would give does not let one pass that loses signatures."""
    first, second = Mangled(TREE, without(RRSIG), without(RRSIG)), Mangled(TREE)
    canaries = (Canary(MX, Expected.SECURE),)
    with first.served() as one, second.served() as other:
        resolver = Resolver(DnsSettings((one, other), "local", ANCHORS, canaries=canaries), now=lambda: NOW)
        await resolver.check()
        examined = await resolver.check()  # now that the other one is known to pass
        await resolver.aclose()
    assert [(each.server, each.passed) for each in examined] == [(one, False), (other, True)]


async def test_keys_that_were_kept_do_not_make_a_zone_bogus() -> None:
    """SEC-42, SEC-81: a zone that took new keys at once is proven anew, past what was kept of it, and its parent is not."""
    mangled = Mangled(TREE)
    validator = _validator()
    other = Tree((Zone(records=RECORDS, algorithm=13), *TREE.zones[1:]))
    with mangled.served() as server:
        assert await _security(validator, server, MX) is Security.SECURE
        mangled._root = functools.partial(answer, other)
        for asked in mangled.asked_over.values():
            asked.clear()
        assert await _security(validator, server, MX) is Security.SECURE
        assert sorted(mangled.asked_over["tcp"]) == ["example/DNSKEY", "example/DS", "example/MX"]
        for asked in mangled.asked_over.values():
            asked.clear()
        assert await _security(validator, server, Question("mx.example", "A")) is Security.SECURE
    assert mangled.asked_over["tcp"] == []  # the new keys are kept


async def _security(validator: LocalValidator, server: Server, question: Question) -> Security | None:
    answered = await validator.ask(server, question)
    return answered.security if isinstance(answered, Found) else None
