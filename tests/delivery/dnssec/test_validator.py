"""The validator on ways that no story of the corpus takes: half a denial, aliases of DS, zones found by others meanwhile.

Trees are signed for real, and each test hurts the answers in one place.
"""

from collections.abc import Callable

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from dns.rdatatype import DNAME, A, RdataType

from delivery.dnssec.anchors import Anchors
from delivery.dnssec.limits import Budget, Rules
from delivery.dnssec.replies import Outcome, Reply, Response, Status, Steps, Zone
from delivery.dnssec.validator import validate
from stages.answer import Question
from tests.dnssec.ours import ANCHORS, Answering, judge
from tests.dnssec.scenes import MAIL, Hurt, World, tree
from tests.dnssec.tampering import harm, only
from tests.dnssec.zones import NOW, Tree
from tests.dnssec.zones import Zone as Spec

PLAIN = tree(*MAIL)


def _answering(tree: Tree, *hurts: Hurt) -> Answering:
    """Answer about a tree, with everything done to each answer."""
    world = World(tree)

    def answering(name: dns.name.Name, rdtype: RdataType) -> dns.message.Message:
        message = world.answer(name, rdtype)
        for hurt in hurts:
            hurt(world, message)
        return message

    return answering


def _judged(tree: Tree, asked: str, *hurts: Hurt) -> Outcome:
    name, rdtype = asked.split()
    return judge(dns.name.from_text(name), dns.rdatatype.from_text(rdtype), _answering(tree, *hurts))


def _bogus(why: str, code: int) -> tuple[Status, int, str]:
    return Status.BOGUS, code, why


def _told(outcome: Outcome) -> tuple[Status, int | None, str]:
    return outcome.status, outcome.code, outcome.why


# Denials


@pytest.mark.parametrize("asked", ["mx.example TLSA", "nothing.example A"])
def test_a_denial_whose_soa_is_broken_is_bogus(asked: str) -> None:
    """RFC 4035 section 3.2.3: the SOA record that says how long a denial holds is part of the answer, and must be signed."""
    status, code, why = _told(_judged(PLAIN, asked, only(asked, harm("altered signature", "SOA"))))
    assert (status, code) == (Status.BOGUS, 6)
    assert why.startswith("RRSIG over example SOA by example/15/")


def test_a_denial_whose_soa_is_lost_is_bogus() -> None:
    """SEC-30: of the SOA record only the signature came, so somebody took away what says how long the denial holds."""
    asked = "mx.example TLSA"
    lost = only(asked, harm("lost set with signature left", "SOA"))
    assert _told(_judged(PLAIN, asked, lost)) == _bogus("example/SOA is signed, and is not there", 10)


def test_a_denial_of_a_zone_above_says_nothing_of_a_name_in_an_insecure_zone() -> None:
    """SEC-18, SEC-66: signed records that came with an alias do not make the unsigned target behind it bogus."""
    zones = Tree((Spec("", ("*.c CNAME h.u.{apex}.",)), Spec("u", ("h A 192.0.2.1",), signed=False)))
    outcome = _judged(zones, "a.c.example TLSA")
    assert outcome.status is Status.INSECURE
    assert outcome.why == "u.example. is delegated without DS records"
    assert outcome.aliases == (dns.name.from_text("h.u.example"),)


@pytest.mark.parametrize("asked", ["nothing A", "nothing.example A", "mx.example TLSA"])
def test_an_nsec3_record_of_the_root_itself_is_that_of_no_zone(asked: str) -> None:
    """RFC 5155 section 3: such a record has a hash before the name of its zone; one without is passed over."""
    hashed = dns.rrset.from_text(".", 300, "IN", "NSEC3", "1 0 0 - 0p9mhaveqvm6t7vbl5lop2u3t2rp3tom A")
    outcome = _judged(PLAIN, asked, lambda _world, message: message.authority.append(hashed))
    assert (outcome.status, outcome.rrset) == (Status.SECURE, None)


# DS records that are an alias


DN = tree("dn DNAME w", "*.w A 192.0.2.1")


def _unsigned(asked: str) -> Hurt:
    """Answer one question with an address that nobody has signed."""
    made = dns.rrset.from_text(f"{asked.partition(' ')[0]}.", 300, "IN", "A", "192.0.2.66")

    def hurt(_world: World, message: dns.message.Message) -> None:
        message.answer, message.authority = [made], []
        message.set_rcode(dns.rcode.NOERROR)

    return only(asked, hurt)


@pytest.mark.parametrize("asked", ["q.dn.example A", "q.q.dn.example A"])
def test_a_name_below_a_dname_is_no_cut(asked: str) -> None:
    """SEC-21, SEC-67: DS of such a name is answered with the signed DNAME, so that the missing signature is told of."""
    status, code, why = _told(_judged(DN, asked, _unsigned(asked)))
    assert (status, code) == (Status.BOGUS, 10)
    assert why == f"RRSIG over {asked.replace(' ', '/')} is missing"


def test_an_alias_that_the_zone_has_not_signed_does_not_stand_for_ds() -> None:
    """SEC-21: an unsigned DNAME in the answer to DS proves neither a cut nor none; that is bogus, never insecure."""
    asked = "q.dn.example A"
    outcome = _judged(DN, asked, _unsigned(asked), only("q.dn.example DS", harm("no signature", "DNAME")))
    why = "q.dn.example/A: q.dn.example/DS is answered with an alias that the zone example has not signed"
    assert _told(outcome) == _bogus(why, 10)


def test_an_alias_of_another_name_does_not_stand_for_ds() -> None:
    """SEC-21: neither the name nor one above it is aliased, whatever else is in the answer."""
    asked = "x.example A"

    def other(world: World, message: dns.message.Message) -> None:
        zone = world.zone()
        message.answer = zone.shown(zone.sets[dns.name.from_text("dn.example")][DNAME])

    outcome = _judged(DN, asked, _unsigned(asked), only("x.example DS", other))
    why = "x.example/A: x.example/DS is answered with an alias that the zone example has not signed"
    assert _told(outcome) == _bogus(why, 10)


# Zones


def test_what_another_question_found_meanwhile_is_used() -> None:
    """SEC-59: zones are shared while proofs are under way, and what is known by then is not asked for again."""
    first, second = "_25._tcp.mx.example", "mx.example"
    answering = _answering(PLAIN, _unsigned(f"{first} A"), _unsigned(f"{second} A"))
    known: dict[dns.name.Name, Zone] = {}
    asked: list[Question] = []

    def reply(question: Question) -> Response:
        asked.append(question)
        return Response.of(answering(dns.name.from_text(question.name), dns.rdatatype.from_text(question.rdtype)))

    question = Question(first, "A")
    work = validate(question, reply(question), ANCHORS, Budget(), NOW, known)
    first_wanted = next(work)
    assert first_wanted is not None
    wanted = work.send(reply(first_wanted))
    assert judge(dns.name.from_text(second), A, answering, known=known).status is Status.BOGUS
    assert _ended(work, reply, wanted).status is Status.BOGUS
    assert [(one.name, one.rdtype) for one in asked] == [
        (first, "A"), (".", "DNSKEY"), ("example", "DS"), ("example", "DNSKEY"),
        ("_tcp.mx.example", "DS"), (first, "DS"),
    ]  # fmt: skip


def _ended(work: Steps[Outcome], reply: Callable[[Question], Reply], wanted: Question | None) -> Outcome:
    """Go on with a validation to its end."""
    try:
        while True:
            wanted = next(work) if wanted is None else work.send(reply(wanted))
    except StopIteration as done:
        outcome: Outcome = done.value
        return outcome


def test_an_anchor_of_an_algorithm_that_is_switched_off_leaves_its_zone_insecure() -> None:
    """SEC-05, SEC-08: an anchor that the rules in force cannot use is as a DS record that they cannot use."""
    outcome = judge(
        dns.name.from_text("mx.example"), A, _answering(PLAIN), rules=Rules(algorithms=frozenset({15})),
        anchors=Anchors.parse(PLAIN.anchor),
    )  # fmt: skip
    assert outcome.status is Status.INSECURE
    assert outcome.why == "no DS record of . is of an algorithm and digest that are supported"
