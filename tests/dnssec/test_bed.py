"""The test bed is what it says: Unbound, dnspython's checks of signatures and the examples of the RFCs judge it.

What later tests ask of our own validator rests on these trees, so none of its code is used here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.node
import dns.query
import dns.rdata
import dns.rdataset
import dns.rdatatype
import pytest
from dns.rcode import NOERROR, NXDOMAIN, SERVFAIL, YXDOMAIN, Rcode
from dns.rdatatype import CNAME, DNSKEY, DS, NS, NSEC, NSEC3, RRSIG, SOA, TXT, A
from hypothesis import HealthCheck, given, settings

from tests.dnssec.authority import answer, answer_at, answer_of_zone
from tests.dnssec.cases import Bench, Case
from tests.dnssec.keys import ALGORITHMS, REVOKED, ZONE_KEY
from tests.dnssec.server import World, serve
from tests.dnssec.strategies import cases, trees
from tests.dnssec.unbound import State, Verdict, unbound
from tests.dnssec.zones import NOW, Denial, Tree, Zone, built

RECORDS = (
    "@ MX 10 mx",
    "mx A 192.0.2.1",
    "mx AAAA 2001:db8::1",
    f"_25._tcp.mx TLSA 3 1 1 {'ab' * 32}",
    '*.w TXT "from a wildcard"',
    "*.cw CNAME mx",
    "alias CNAME mx.sub.{apex}.",
    "lost CNAME nothing.sub.{apex}.",
    "dn DNAME w.sub.{apex}.",
    "a.b.c A 192.0.2.2",
    "Z-Caps MX 0 MX",
)
NSECS = (Denial(), Denial(nsec3=True), Denial(nsec3=True, salt="aabbccdd", iterations=12))
OPT_OUT = Denial(nsec3=True, salt="ab", opt_out=True)
QUESTIONS = {
    ("@", "MX"): NOERROR,
    ("@", "DNSKEY"): NOERROR,
    ("@", "DS"): NOERROR,
    ("@", "SOA"): NOERROR,
    ("@", "TXT"): NOERROR,
    ("mx", "AAAA"): NOERROR,
    ("mx", "MX"): NOERROR,
    ("mx", "DS"): NOERROR,
    ("_25._tcp.mx", "TLSA"): NOERROR,
    ("_tcp.mx", "TLSA"): NOERROR,
    ("_26._tcp.mx", "TLSA"): NXDOMAIN,
    ("q.w", "TXT"): NOERROR,
    ("q.q.w", "TXT"): NOERROR,
    ("q.w", "MX"): NOERROR,
    ("w", "TXT"): NOERROR,
    ("*.w", "TXT"): NOERROR,
    ("q.cw", "AAAA"): NOERROR,
    ("q.cw", "TXT"): NOERROR,
    ("b.c", "A"): NOERROR,
    ("x.b.c", "A"): NXDOMAIN,
    ("z-caps", "MX"): NOERROR,
    ("z-caps", "A"): NOERROR,
    ("zz", "A"): NXDOMAIN,
    ("0", "A"): NXDOMAIN,
    ("a.mx", "A"): NXDOMAIN,
}
ACROSS = {
    ("alias", "AAAA"): NOERROR,
    ("alias", "TXT"): NOERROR,
    ("lost", "A"): NXDOMAIN,
    ("q.dn", "TXT"): NOERROR,
    ("q.dn", "A"): NOERROR,
    ("dn", "DNAME"): NOERROR,
    ("dn", "A"): NOERROR,
}


def tree(algorithm: int = 15, denial: Denial = NSECS[0], *, signed: bool = True, secure: bool = True) -> Tree:
    """Make the tree of most tests: the apex, a zone right below it, and one below a name that is empty."""
    below = Zone("sub", RECORDS, algorithm, signed, secure, denial, split=True)
    deep = Zone("d.e", RECORDS, algorithm, denial=denial)
    return Tree((Zone("", RECORDS, algorithm, denial=denial), below, deep))


def verdicts(bench: Bench, there: Tree, asked: Iterable[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], Verdict]]:
    """Ask about one tree, which is made and signed once for all questions."""
    placed = Case(there, "", "").placed.tree
    with bench.world.placed(placed.apex, partial(answer, placed)):
        for name, rdtype in asked:
            yield (name, rdtype), bench.judge.judge(placed.absolute(name), dns.rdatatype.from_text(rdtype))


@pytest.mark.parametrize("denial", NSECS, ids=["NSEC", "NSEC3", "NSEC3 with salt"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_signed_trees_are_secure(bench: Bench, algorithm: int, denial: Denial) -> None:
    """Unbound sets AD for all that signed zones say, and all they deny, with each algorithm and chain (RFC 4035 5)."""
    there = tree(algorithm, denial)
    asked = {
        (f"{name}{zone}".removeprefix("@."), rdtype): rcode
        for zone in (".sub", ".d.e")
        for (name, rdtype), rcode in QUESTIONS.items()
    }
    for (name, rdtype), verdict in verdicts(bench, there, asked | ACROSS):
        assert (verdict.state, verdict.rcode) == (State.SECURE, (asked | ACROSS)[name, rdtype]), (
            name,
            rdtype,
            verdict.text,
        )


@pytest.mark.parametrize("denial", [*NSECS, OPT_OUT], ids=["NSEC", "NSEC3", "NSEC3 with salt", "opt-out"])
@pytest.mark.parametrize("changes", [{"signed": False}, {"secure": False}], ids=["unsigned", "no DS"])
def test_zones_without_ds_are_insecure(bench: Bench, denial: Denial, changes: dict[str, bool]) -> None:
    """What is below a cut that provably has no DS has no AD, and its answers come (RFC 4035 section 5.2)."""
    there = tree(denial=denial, **changes)
    asked = {(f"{name}.sub".removeprefix("@."), rdtype): rcode for (name, rdtype), rcode in QUESTIONS.items()}
    asked |= {("alias", "A"): NOERROR, ("q.dn", "TXT"): NOERROR, ("lost", "A"): NXDOMAIN}
    del asked["sub", "DS"]  # that is of the zone above
    for (name, rdtype), verdict in verdicts(bench, there, asked):
        assert (verdict.state, verdict.rcode) == (State.INSECURE, asked[name, rdtype]), (name, rdtype, verdict.text)


@pytest.mark.parametrize(
    ("zone", "name", "rdtype", "expected"),
    [
        (Zone("sub", RECORDS, denial=OPT_OUT), "mx.sub", "A", State.SECURE),
        (Zone("sub", RECORDS, denial=OPT_OUT), "mx.sub", "TXT", State.SECURE),
        (Zone("sub", RECORDS, denial=OPT_OUT), "zz.sub", "A", State.INSECURE),
        (Zone("sub", RECORDS, denial=OPT_OUT), "q.w.sub", "TXT", State.INSECURE),
        (Zone("sub", RECORDS, denial=Denial(nsec3=True, iterations=100)), "zz.sub", "A", State.SECURE),
        (Zone("sub", RECORDS, denial=Denial(nsec3=True, iterations=101)), "zz.sub", "A", State.INSECURE),
        (Zone("sub", RECORDS, denial=Denial(nsec3=True, iterations=101)), "mx.sub", "A", State.SECURE),
        (Zone("sub", RECORDS, digests=(1,)), "mx.sub", "A", State.SECURE),
        (Zone("sub", RECORDS, digests=(4,)), "mx.sub", "A", State.SECURE),
        (Zone("sub", RECORDS, digests=(1, 2, 4)), "mx.sub", "A", State.SECURE),
        (Zone("sub", RECORDS, flags=0), "mx.sub", "A", State.BOGUS),
        (Zone("sub", RECORDS, protocol=4), "mx.sub", "A", State.BOGUS),
        # RFC 5011 section 2.1 would have it bogus, and Unbound heeds that for trust anchors only.
        (Zone("sub", RECORDS, flags=ZONE_KEY | REVOKED), "mx.sub", "A", State.SECURE),
    ],
)
def test_what_a_zone_may_be(bench: Bench, zone: Zone, name: str, rdtype: str, expected: State) -> None:
    """Opt-out spans, many iterations, digests, and keys that are none are taken as the RFCs say (RFC 5155 9.2, 9276)."""
    assert bench.verdict(Case(Tree((Zone(), zone)), name, rdtype).placed).state == expected


def test_dates_are_those_of_the_tree(bench: Bench) -> None:
    """A tree signed for another time is bogus at the time of all trees, but for the skew of five minutes."""
    at = int(NOW.timestamp())
    there = tree()
    for inception, expiration, expected in (
        (at - 100, at + 100, State.SECURE),
        (at - 1000, at - 400, State.BOGUS),
        (at - 1000, at - 200, State.SECURE),
        (at + 200, at + 1000, State.SECURE),
        (at + 400, at + 1000, State.BOGUS),
    ):
        case = Case(replace(there, inception=inception, expiration=expiration), "mx", "A")
        assert bench.verdict(case.placed).state == expected, (inception - at, expiration - at)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(case=cases(max_damages=0))
def test_random_trees_are_sound(bench: Bench, case: Case) -> None:
    """Whatever tree is made without damage, Unbound finds nothing in it bogus, and takes its RCODE."""
    placed = case.placed
    verdict = bench.verdict(placed)
    assert verdict.state in {State.SECURE, State.INSECURE}, verdict.text
    assert verdict.rcode == answer(placed.tree, *placed.question).rcode()


def test_unbound_can_iterate(tmp_path: Path) -> None:
    """Answers as those of the zones' own name servers are secure too: DS from above, aliases one by one."""
    there = tree(denial=NSECS[1])
    world = World(partial(answer_of_zone, there))
    with serve(world) as port, unbound(tmp_path, port, stub=True) as judge:
        for (name, rdtype), rcode in ACROSS.items():
            verdict = judge.judge(there.absolute(name), dns.rdatatype.from_text(rdtype))
            assert (verdict.state, verdict.rcode) == (State.SECURE, rcode), (name, rdtype, verdict.text)


def test_a_failing_server_is_not_bogus(bench: Bench) -> None:
    """Aliases without end are SERVFAIL with or without validation, which the verdict keeps apart from bogus."""
    there = Tree((Zone("", ("one CNAME two", "two CNAME one", "cut NS ns.elsewhere.")),))
    assert answer(there, there.absolute("one"), A).rcode() == SERVFAIL
    assert answer(there, there.absolute("x.cut"), A).rcode() == SERVFAIL
    verdict = bench.verdict(Case(there, "x.cut", "A").placed)
    assert (verdict.state, verdict.rcode) == (State.FAILED, SERVFAIL)


# Answers, without Unbound


@pytest.mark.parametrize("denial", [*NSECS, OPT_OUT], ids=["NSEC", "NSEC3", "NSEC3 with salt", "opt-out"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_signatures_fit(algorithm: int, denial: Denial) -> None:
    """Each signature of an answer is one that dnspython verifies with the keys of the zone (RFC 4034 section 3.1.8.1)."""
    there = tree(algorithm, denial)
    keys: dict[dns.name.Name, dns.node.Node | dns.rdataset.Rdataset] = {
        zone.origin: dns.rdataset.from_rdata_list(300, list(zone.sets[zone.origin][DNSKEY]))
        for zone in built(there).zones.values()
    }
    count = 0
    for name, rdtype in (*QUESTIONS, *ACROSS):
        message = answer(there, there.absolute(name), dns.rdatatype.from_text(rdtype))
        for section in (message.answer, message.authority):
            for rrset in section:
                if rrset.rdtype != RRSIG:
                    continue
                covered = next(one for one in section if one.name == rrset.name and one.rdtype == rrset.covers)
                dns.dnssec.validate(covered, rrset, keys, now=NOW.timestamp(), policy=dns.dnssec.allow_all_policy)
                count += 1
    assert count > 50


def test_names_are_hashed_as_in_the_rfc() -> None:
    """The hashes and the order of the chain are those of the example zone (RFC 5155 appendix A)."""
    names = ("a", "ai", "ns1", "ns2", "w", "*.w", "x.w", "y.w", "x.y.w", "xx")
    records = tuple(f"{name} A 192.0.2.1" for name in names if name not in {"w", "y.w"})
    denial = Denial(nsec3=True, salt="aabbccdd", iterations=12)
    there = Tree((Zone("", records, denial=denial),))
    zone = built(there).zones[there.absolute("")]
    expected = {
        "": "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom",
        "a": "35mthgpgcu1qg68fab165klnsnk3dpvl",
        "ai": "gjeqe526plbf1g8mklp59enfd789njgi",
        "ns1": "2t7b4g4vsa5smi47k61mv5bv1a22bojr",
        "ns2": "q04jkcevqvmu85r014c7dkba38o0ji5r",
        "w": "k8udemvp1j2f7eg6jebps17vp3n8i58h",
        "*.w": "r53bq7cc2uvmubfu5ocmm6pers9tk9en",
        "x.w": "b4um86eghhds6nea196smvmlo4ors995",
        "y.w": "ji6neoaepv8b5o6k4ev33abha8ht9fgc",
        "x.y.w": "2vptu5timamqttgl4luu9kg21e0aor3s",
        "xx": "t644ebqk9bibcna874givr6joj62mlhv",
    }
    for name, text in expected.items():
        shown = zone.matching(there.absolute(name))[0]
        assert shown.name == there.absolute(text)
    links = {shown.name.labels[0]: shown[0].next for name in zone.denied for shown in zone.matching(name)[:1]}
    assert len(links) == len(zone.denied)
    assert sorted(links.values()) == sorted(zone.hash(name) for name in zone.denied)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(there=trees())
def test_chains_are_closed(there: Tree) -> None:
    """The denials of each signed zone lead to one another and come round (RFC 4034 section 4.1.1, RFC 5155 7.1)."""
    for zone in built(there).zones.values():
        if not zone.spec.signed:
            continue
        links = {shown[0].name: shown[0][0].next for name in zone.denied if (shown := zone.matching(name))}
        name = start = next(iter(links))
        for _ in links:
            following = links[name]
            if isinstance(following, bytes):
                following = next(one for one in links if built_hash(one) == following)
            name = following
        assert name == start
        assert len(links) == len(zone.denied)


def built_hash(owner: dns.name.Name) -> bytes:
    """Read the hash that an NSEC3's owner is."""
    shown = dns.rdata.from_text("IN", "NSEC3", f"1 0 0 - {owner.labels[0].decode()}")
    return bytes(shown.next)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode", "types"),
    [
        ("mx", "A", NOERROR, ()),
        ("mx", "TXT", NOERROR, (SOA, NSEC)),
        ("sub", "DS", NOERROR, ()),
        ("x.sub", "A", NOERROR, (NS, DS)),
        ("sub", "A", NOERROR, (NS, DS)),
        ("plain", "MX", NOERROR, (NS, NSEC)),
        ("plain", "DS", NOERROR, (SOA, NSEC)),
        ("out.hashed", "MX", NOERROR, ()),
        ("zz", "MX", NXDOMAIN, (SOA, NSEC, NSEC)),
    ],
)
def test_servers_of_a_zone_refer_to_those_below(
    name: str, rdtype: str, rcode: Rcode, types: tuple[dns.rdatatype.RdataType, ...]
) -> None:
    """A server of one zone answers what is its own, and refers with DS, or the proof of none (RFC 4035 3.1.4)."""
    there = Tree(
        (Zone("", ("mx A 192.0.2.1", "out.hashed MX 0 mx")), Zone("sub", RECORDS), Zone("plain", signed=False))
    )
    message = answer_at(there, there.absolute(""), there.absolute(name), dns.rdatatype.from_text(rdtype))
    assert message.rcode() == rcode
    assert tuple(one.rdtype for one in message.authority if one.rdtype != RRSIG) == types
    assert bool(message.flags & dns.flags.AA) is (NS not in types)


def test_opt_out_leaves_unsigned_cuts_out() -> None:
    """A referral to a cut that opt-out leaves out proves the closest encloser instead (RFC 5155 section 7.2.7)."""
    there = Tree((Zone("", denial=OPT_OUT), Zone("plain", signed=False), Zone("deep.plain2", signed=False)))
    zone = built(there).zones[there.absolute("")]
    assert zone.denied == {there.absolute(""), there.absolute("ns")}
    message = answer_at(there, zone.origin, there.absolute("plain"), A)
    proofs = [one for one in message.authority if one.rdtype == NSEC3]
    assert {one[0].flags for one in proofs} == {1}
    assert zone.matching(zone.origin)[0] in proofs


def test_a_name_that_dname_makes_too_long_is_refused() -> None:
    """The RCODE is YXDOMAIN, with the DNAME and no alias (RFC 6672 section 2.2)."""
    there = Tree((Zone("", (f"dn DNAME {'.'.join(['x' * 60] * 3)}",)),))
    message = answer(there, there.absolute(f"{'y' * 60}.{'z' * 10}.dn"), TXT)
    assert message.rcode() == YXDOMAIN
    assert CNAME not in {one.rdtype for one in message.answer}


def test_without_do_there_are_no_proofs() -> None:
    """Signatures and denials are for those who want them (RFC 4035 section 3.2.1)."""
    message = answer(tree(), tree().absolute("zz.sub"), A, dnssec_ok=False)
    assert [one.rdtype for one in message.authority] == [SOA]


def test_long_answers_come_over_tcp() -> None:
    """What does not fit into a datagram is cut off there, and whole over TCP (RFC 7766)."""
    there = Tree((Zone("", tuple(f"@ TXT {number}{'x' * 200}" for number in range(5))),))
    world = World(partial(answer, there))
    query = dns.message.make_query("example", TXT, want_dnssec=True, payload=512)
    with serve(world) as port:
        short = dns.query.udp(query, "127.0.0.1", timeout=5, port=port)
        whole = dns.query.tcp(query, "127.0.0.1", timeout=5, port=port)
    assert short.flags & dns.flags.TC
    assert not short.answer
    assert len(whole.answer) == 2


def test_a_case_has_one_label() -> None:
    """The same case is the same tree, in every run, and another question or tree has another label."""
    first = Case(tree(), "mx", "A")
    assert first.placed == Case(tree(), "mx", "A").placed
    assert (
        len({one.placed.tree.apex for one in (first, replace(first, rdtype="MX"), replace(first, tree=tree(13)))}) == 3
    )
