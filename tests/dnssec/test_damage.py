"""Each damage does what it says: a real Unbound finds the answer bogus, or as good as before, or insecure."""

from dataclasses import replace

import dns.name
import dns.rdatatype
import pytest
from hypothesis import HealthCheck, given, settings

from tests.dnssec.authority import answer
from tests.dnssec.cases import Bench, Case
from tests.dnssec.damage import LENIENT, MESSAGES, WHATS, Damage
from tests.dnssec.harm import fitting
from tests.dnssec.server import World, serve
from tests.dnssec.strategies import cases
from tests.dnssec.unbound import State, unbound
from tests.dnssec.zones import Denial, Tree, Zone

RECORDS = (
    "@ MX 10 mx",
    "mx A 192.0.2.1",
    "mx A 192.0.2.2",
    "*.w TXT text",
    "alias CNAME mx",
    "dn DNAME w",
    "a.b.c A 192.0.2.3",
)
SALTED = Denial(nsec3=True, salt="ab", iterations=2)
HASHED = Tree(
    (Zone(), Zone("sub", RECORDS, 13, denial=SALTED, split=True, digests=(1, 2)), Zone("plain", RECORDS, signed=False))
)
TREE = Tree((Zone(), Zone("sub", RECORDS, 15, split=True, digests=(1, 2)), Zone("plain", RECORDS, signed=False)))
SECURE, INSECURE, BOGUS, FAILED = State.SECURE, State.INSECURE, State.BOGUS, State.FAILED


def on(what: str, rdtype: str, zone: str | None = "sub", nth: int | None = None) -> Damage:
    """Name a damage; most are in the zone `sub`."""
    return Damage(what, rdtype, zone, nth)


TABLE: list[tuple[Tree, str, str, Damage, State]] = [
    # Signatures
    *[
        (TREE, "mx.sub", "A", on(what, "A"), expected)
        for what, expected in {
            "no signature": BOGUS,
            "altered signature": BOGUS,
            "short signature": BOGUS,
            "expired": BOGUS,
            "expired just now": SECURE,
            "not yet valid": BOGUS,
            "valid in a moment": SECURE,
            "ends before it begins": BOGUS,
            "valid for a minute": SECURE,
            "foreign key": BOGUS,
            "foreign key of the same tag": BOGUS,
            "other key of the zone": SECURE,
            "signed by the zone above": SECURE,  # Unbound does not look for the cut between; see LENIENT
            "signature of another set": BOGUS,
            "fewer labels": BOGUS,
            "more labels": BOGUS,
            "unknown algorithm": BOGUS,
            "altered original TTL": BOGUS,
            "altered key tag": BOGUS,
            "altered signer": BOGUS,
            "bad and good signature": SECURE,
            "unknown and good signature": SECURE,
            "foreign and good signature": SECURE,
            # Record sets
            "altered record": BOGUS,
            "added record": BOGUS,
            "lost record": BOGUS,
            "lost set": BOGUS,
            "lost set with signature left": BOGUS,
            "lower TTL": SECURE,
            "higher TTL": SECURE,
            "capitals": SECURE,
            # Messages
            "says NXDOMAIN": BOGUS,
            "server failure": FAILED,
            "refused": FAILED,
            "empty": BOGUS,
            "no DNSSEC records": BOGUS,
            "no proofs": SECURE,
        }.items()
    ],
    (TREE, "alias.sub", "A", on("altered record", "CNAME"), BOGUS),
    (TREE, "alias.sub", "A", on("lost set", "CNAME"), BOGUS),
    (TREE, "q.dn.sub", "TXT", on("altered record", "DNAME"), BOGUS),
    (TREE, "q.dn.sub", "TXT", on("altered record", "CNAME"), SECURE),  # made anew
    (TREE, "q.dn.sub", "TXT", on("lost set", "DNAME"), BOGUS),
    (TREE, "q.w.sub", "TXT", on("no proofs", "TXT"), BOGUS),
    (TREE, "q.w.sub", "TXT", on("lost set", "NSEC"), BOGUS),
    (HASHED, "q.w.sub", "TXT", on("lost set", "NSEC3"), BOGUS),
    (TREE, "zz.sub", "A", on("says NOERROR", "A"), BOGUS),
    (TREE, "mx.sub", "TXT", on("says NXDOMAIN", "TXT"), SECURE),  # and NOERROR, as is proven
    (TREE, "mx.plain", "A", on("altered record", "A", None), INSECURE),
    # Denials
    *[
        (tree, name, rdtype, on(what, kind, nth=nth), expected)
        for tree, kind in ((TREE, "NSEC"), (HASHED, "NSEC3"))
        for name, rdtype, what, nth, expected in (
            ("zz.sub", "A", "lost set", 0, BOGUS),
            ("zz.sub", "A", "lost set", 1, BOGUS),
            ("zz.sub", "A", "no signature", 0, BOGUS),
            ("zz.sub", "A", "altered record", 0, BOGUS),
            ("zz.sub", "A", "empty span", None, BOGUS),
            ("zz.sub", "A", "wide span", 0, SECURE),
            ("mx.sub", "TXT", "denial says there is the type", None, BOGUS),
            ("mx.sub", "TXT", "denial says there is an alias", None, BOGUS),
            ("mx.sub", "TXT", "denial says there is a cut", None, INSECURE),
            ("mx.sub", "TXT", "denial from above", None, BOGUS),
        )
    ],
    (TREE, "mx.plain", "A", on("denial says there is no cut", "NSEC", ""), BOGUS),
    (TREE, "plain", "A", on("denial says it is of the zone below", "NSEC", ""), BOGUS),
    (HASHED, "x.mx.sub", "A", on("denial says there is a DNAME", "NSEC3"), BOGUS),
    (HASHED, "mx.sub", "TXT", on("altered iterations", "NSEC3"), BOGUS),
    (HASHED, "mx.sub", "TXT", on("other iterations", "NSEC3"), BOGUS),
    (HASHED, "mx.sub", "TXT", on("many iterations", "NSEC3"), INSECURE),
    (HASHED, "mx.sub", "TXT", on("other salt", "NSEC3"), BOGUS),
    (HASHED, "mx.sub", "TXT", on("unknown hash", "NSEC3"), BOGUS),
    (HASHED, "mx.sub", "TXT", on("unknown flag", "NSEC3"), BOGUS),
    (HASHED, "mx.sub", "TXT", on("opt-out", "NSEC3"), SECURE),
    (HASHED, "zz.sub", "TXT", on("opt-out", "NSEC3"), INSECURE),
    # Keys
    *[
        (TREE, "mx.sub", "A", on(what, "DS", ""), expected)
        for what, expected in {
            "wrong DS": BOGUS,
            "wrong DS of SHA-256": SECURE,  # Unbound takes SHA-1 too; see LENIENT
            "one more DS": SECURE,
            "DS of unknown algorithm": INSECURE,
            "DS of unknown digest": INSECURE,
            "DS with another digest": BOGUS,
            "DS with another tag": BOGUS,
            "lost set": BOGUS,
            "lost record": BOGUS,
        }.items()
    ],
    (TREE, "mx.sub", "A", on("fewer labels", "DS", ""), SECURE),  # see LENIENT
    (TREE, "mx.sub", "A", on("fewer labels", "DNSKEY"), SECURE),  # see LENIENT
    (TREE, "mx.sub", "TXT", on("fewer labels", "SOA"), SECURE),  # see LENIENT
    (TREE, "mx.sub", "TXT", on("fewer labels", "NSEC"), SECURE),  # see LENIENT
    (HASHED, "mx.sub", "TXT", on("fewer labels", "NSEC3"), SECURE),  # see LENIENT
    (TREE, "mx.sub", "A", on("says NXDOMAIN", "DS", ""), BOGUS),
    (TREE, "mx.sub", "A", on("says NXDOMAIN", "DNSKEY"), SECURE),
    (TREE, "mx.sub", "A", on("wrong keys", "DNSKEY"), BOGUS),
    (TREE, "mx.sub", "A", on("one more key", "DNSKEY"), SECURE),
    (TREE, "mx.sub", "A", on("one more key of the same tag", "DNSKEY"), SECURE),
    (TREE, "mx.sub", "A", on("other key of the zone", "DNSKEY"), BOGUS),
    (TREE, "mx.sub", "A", on("added record", "DNSKEY"), BOGUS),
    (TREE, "mx.sub", "A", on("empty", "DNSKEY"), BOGUS),
    (TREE, "mx.sub", "A", on("server failure", "DNSKEY"), BOGUS),
]


@pytest.mark.parametrize(
    ("there", "name", "rdtype", "damage", "expected"),
    TABLE,
    ids=[f"{name} {rdtype}, {damage.rdtype} {damage.what} {damage.nth}" for _, name, rdtype, damage, _ in TABLE],
)
def test_unbound_sees_the_damage(
    bench: Bench, there: Tree, name: str, rdtype: str, damage: Damage, expected: State
) -> None:
    """What Unbound makes of each damage, next to what it makes of the same question without (RFC 4035 section 5)."""
    whole, damaged = Case(there, name, rdtype).placed, Case(there, name, rdtype, (damage,)).placed
    assert bench.verdict(whole).state == (INSECURE if "plain" in name else SECURE)
    verdict = bench.verdict(damaged)
    assert verdict.state == expected, (verdict.codes, verdict.text, str(damaged.respond(*damaged.question)))
    assert bool(verdict.codes) is (expected == BOGUS)


def test_each_damage_is_in_the_table() -> None:
    """No damage is there that this table does not show at work."""
    assert {damage.what for _, _, _, damage, _ in TABLE} == set(WHATS)


def test_what_is_forgiven_is_in_the_table() -> None:
    """Each damage that Unbound is known to forgive is shown to leave an answer secure."""
    secure = {(damage.what, damage.rdtype) for _, _, _, damage, state in TABLE if state == SECURE}
    assert {(what, rdtype) for what, rdtype in LENIENT if rdtype} <= secure
    assert {what for what, rdtype in LENIENT if not rdtype} <= {what for what, _ in secure}


@pytest.mark.parametrize("what", WHATS)
def test_each_damage_changes_something(what: str) -> None:
    """Each damage changes at least one answer of the trees here, and none of the answers without damage."""
    asked = [
        ("mx.sub", "A"),
        ("mx.sub", "TXT"),
        ("zz.sub", "A"),
        ("x.mx.sub", "A"),
        ("sub", "DS"),
        ("sub", "DNSKEY"),
        ("plain", "DS"),
    ]
    changed = 0
    for there in (TREE, HASHED):
        for name, rdtype in asked:
            whole = Case(there, name, rdtype)
            before = str(answer(there, *whole.question))
            for kind in ("A", "TXT", "NSEC", "NSEC3", "DS", "DNSKEY", "SOA"):
                case = replace(whole, damages=(Damage(what, kind),))
                changed += str(case.respond(*case.question)) != before
            assert str(answer(there, *whole.question)) == before
    assert changed


def test_a_damage_of_one_set_spares_the_others() -> None:
    """`nth` counts the sets that fit, round and round, and a zone keeps to its own."""
    name = HASHED.absolute("zz.sub")
    wires = {
        nth: Case(HASHED, "zz.sub", "A", (on("lost set", "NSEC3", nth=nth),)).respond(name, dns.rdatatype.A).to_wire()
        for nth in (None, 0, 1, 2, 3)
    }
    kept = {
        nth: sum(one.rdtype == dns.rdatatype.NSEC3 for one in dns.message.from_wire(wire).authority)
        for nth, wire in wires.items()
    }
    count = kept[0] + 1
    assert kept[None] == 0
    assert {kept[0], kept[1], kept[2]} == {count - 1}
    elsewhere = Case(HASHED, "zz.sub", "A", (on("lost set", "NSEC3", ""),)).respond(name, dns.rdatatype.A)
    assert sum(one.rdtype == dns.rdatatype.NSEC3 for one in elsewhere.authority) == count


def test_cases_leave_nothing_for_others(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Unbound gives the same verdicts on random cases in another order, in another process."""
    found: list[Case] = []

    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @given(case=cases())
    def collect(case: Case) -> None:
        found.append(case.placed)

    collect()
    runs = []
    for order in (found, found[::-1]):
        world = World()
        with serve(world) as port, unbound(tmp_path_factory.mktemp("unbound"), port) as judge:
            runs.append({case: (one.state, one.rcode) for case in order for one in [Bench(world, judge).verdict(case)]})
    assert runs[0] == runs[1]
    assert {state for state, _ in runs[0].values()} >= {SECURE, INSECURE, BOGUS}


@pytest.mark.parametrize("first", WHATS)
def test_damages_can_be_combined(first: str) -> None:
    """Any damage can follow any other on the same sets, and what comes out can be sent."""
    for name, rdtype, kind in (("mx.sub", "TXT", "NSEC3"), ("sub", "DS", "DS"), ("sub", "DNSKEY", "DNSKEY")):
        for second in (*MESSAGES, *fitting(kind)):
            case = Case(HASHED, name, rdtype, (Damage(first, kind), Damage(second, kind)))
            case.respond(*case.question).to_wire()


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(case=cases(without=LENIENT))
def test_damages_can_be_left_out(case: Case) -> None:
    """Random cases have at most two damages, none of those that are not wanted."""
    assert len(case.damages) <= 2
    drawn = {(damage.what, rdtype) for damage in case.damages for rdtype in (damage.rdtype, "")}
    assert not drawn & LENIENT
