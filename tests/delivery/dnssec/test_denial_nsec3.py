"""Denial by NSEC3: the zone and the examples of RFC 5155 appendices A and B, and what a proof must not rest on."""

import dns.dnssec
import pytest

from delivery.dnssec import denial
from delivery.dnssec.denial import Proven, Unproven
from delivery.dnssec.limits import Budget, BudgetExceeded, Rules
from tests.delivery.dnssec.records import Asked, name, record, records, verdict

# The hashes of RFC 5155 appendix A, and those that appendix B names.
HASHES = {
    "example": "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom",
    "a.example": "35mthgpgcu1qg68fab165klnsnk3dpvl",
    "ai.example": "gjeqe526plbf1g8mklp59enfd789njgi",
    "ns1.example": "2t7b4g4vsa5smi47k61mv5bv1a22bojr",
    "ns2.example": "q04jkcevqvmu85r014c7dkba38o0ji5r",
    "w.example": "k8udemvp1j2f7eg6jebps17vp3n8i58h",
    "*.w.example": "r53bq7cc2uvmubfu5ocmm6pers9tk9en",
    "x.w.example": "b4um86eghhds6nea196smvmlo4ors995",
    "y.w.example": "ji6neoaepv8b5o6k4ev33abha8ht9fgc",
    "x.y.w.example": "2vptu5timamqttgl4luu9kg21e0aor3s",
    "xx.example": "t644ebqk9bibcna874givr6joj62mlhv",
    "2t7b4g4vsa5smi47k61mv5bv1a22bojr.example": "kohar7mbb8dc2ce8a9qvl8hon4k53uhi",
    "c.x.w.example": "0va5bpr2ou0vk0lbqeeljri88laipsfh",
    "*.x.w.example": "92pqneegtaue7pjatc3l3qnk738c6v5m",
    "c.example": "4g6p9u5gvfshp30pqecj98b3maqbn1ck",
    "z.w.example": "qlu7gtfaeh0ek0c05ksfhdpbcgglbe03",
}
# The chain of RFC 5155 appendix A: each owner goes on at the next one, and the last at the first.
TYPES = {
    "example": "MX DNSKEY NS SOA NSEC3PARAM RRSIG",
    "ns1.example": "A RRSIG",
    "x.y.w.example": "MX RRSIG",
    "a.example": "NS DS RRSIG",
    "x.w.example": "MX RRSIG",
    "ai.example": "HINFO A AAAA RRSIG",
    "y.w.example": "",
    "w.example": "",
    "2t7b4g4vsa5smi47k61mv5bv1a22bojr.example": "A RRSIG",
    "ns2.example": "A RRSIG",
    "*.w.example": "MX RRSIG",
    "xx.example": "HINFO A AAAA RRSIG",
}
APEX, LAST = "example", "xx.example"


def line(owner: str, *, flags: int = 1, salt: str = "aabbccdd", iterations: int = 12, types: str | None = None) -> str:
    """Write the record of a name of the appendix; the appendix has opt-out everywhere."""
    owners = list(TYPES)
    following = owners[(owners.index(owner) + 1) % len(owners)]
    listed = TYPES[owner] if types is None else types
    return f"{HASHES[owner]}.example. NSEC3 1 {flags} {iterations} {salt} {HASHES[following]} {listed}"


def only(*owners: str, flags: int = 1, rules: Rules | None = None) -> Asked:
    """Leave an answer the records of some names of the appendix."""
    return Asked([record(line(owner, flags=flags)) for owner in owners], rules=rules)


@pytest.mark.parametrize("owner", HASHES)
def test_hashes(owner: str) -> None:
    """RFC 5155 appendix A: a name that is hashed finds its record, in whatever case it is written."""
    [found] = records(f"{HASHES[owner].upper()}.example. NSEC3 1 0 12 aabbccdd {HASHES[owner]} A")
    assert verdict(Asked([found]).nodata(owner.upper(), "MX")) == "secure"
    assert dns.dnssec.nsec3_hash(owner, "aabbccdd", 12, 1).lower() == HASHES[owner]


def test_name_error() -> None:
    """RFC 5155 appendix B.1, SEC-50, SEC-55: encloser, next closer and wildcard; insecure, as the span is opt-out."""
    proof = ("example", "x.w.example", "a.example")
    assert only(*proof, flags=0).nxdomain("a.c.x.w.example") == Proven(
        secure=True, text="NSEC3 records show that neither a.c.x.w.example. nor *.x.w.example. exists"
    )
    assert only(*proof).nxdomain("a.c.x.w.example") == Proven(
        secure=False,
        text="NSEC3 records show that neither a.c.x.w.example. nor *.x.w.example. exists, "
        "but an opt-out span leaves room for unsigned delegations",
    )


@pytest.mark.parametrize(
    ("owners", "why"),
    [
        (("x.w.example", "a.example"), "no NSEC3 record shows that c.x.w.example. does not exist"),
        (("x.w.example", "example"), "no NSEC3 record shows that *.x.w.example. does not exist"),
        (("a.example",), "no NSEC3 record shows which name above a.c.x.w.example. exists"),
        (("example", "a.example"), "no NSEC3 record shows that w.example. does not exist"),
    ],
    ids=["no next closer", "no wildcard", "no encloser", "a gap"],
)
def test_a_name_error_with_a_part_missing(owners: tuple[str, ...], why: str) -> None:
    """SEC-48, SEC-50: each part of the proof is needed, and encloser and next closer are one label apart."""
    answer = only(*owners)
    assert answer.nxdomain("a.c.x.w.example") == Unproven(why)


def test_an_encloser_must_be_the_longest_one() -> None:
    """SEC-48: a name that is matched exists, and does not become less for what is covered below it."""
    everything = only(*TYPES)
    assert everything.nxdomain("x.w.example") == Unproven("an NSEC3 record shows that x.w.example. exists", 6)
    assert verdict(everything.nxdomain("y.w.example")) == "bogus"
    assert verdict(everything.nxdomain("z.w.example")) == "bogus"  # *.w.example stands in for it
    assert verdict(everything.nxdomain("z.x.w.example")) == "insecure"
    assert verdict(everything.nxdomain("example")) == "bogus"


def test_no_data() -> None:
    """RFC 5155 appendix B.2, SEC-51: the record of the name lists neither the type nor an alias."""
    answer = only("ns1.example")
    assert answer.nodata("ns1.example", "MX") == Proven(
        secure=True, text="the NSEC3 record of ns1.example. lists no MX"
    )
    assert answer.nodata("ns1.example", "A") == Unproven("ns1.example. has A records", 6)
    aliased = Asked([record(line("ns1.example", types="CNAME RRSIG"))])
    assert aliased.nodata("ns1.example", "MX") == Unproven("ns1.example. has CNAME records", 6)
    assert verdict(aliased.nodata("ns1.example", "DS")) == "bogus"


def test_no_data_at_an_empty_non_terminal() -> None:
    """RFC 5155 appendix B.2.1, SEC-51: the record of an empty non-terminal lists nothing."""
    assert verdict(only("y.w.example").nodata("y.w.example", "A")) == "secure"


def test_referral_to_an_opt_out_zone() -> None:
    """RFC 5155 appendix B.3, SEC-17, SEC-52: c may be an unsigned delegation; without the flag it may not."""
    assert only("a.example", "example").no_ds("c.example") == Proven(
        secure=False,
        text="NSEC3 records show that c.example. is not delegated with DS records, "
        "but an opt-out span leaves room for unsigned delegations",
    )
    assert verdict(only("a.example", "example").nodata("c.example", "DS")) == "insecure"
    assert only("a.example", "example", flags=0).no_ds("c.example") == Unproven(
        "NSEC3 records show that c.example. does not exist, with no room for an unsigned delegation", 6
    )
    assert verdict(only("a.example", "example", flags=0).nodata("c.example", "DS")) == "bogus"
    assert verdict(only("a.example").no_ds("c.example")) == "bogus"
    assert verdict(only("example").no_ds("c.example")) == "bogus"


def test_opt_out_is_read_where_the_next_closer_name_is_covered() -> None:
    """SEC-17: the flag of another record of the proof makes no room."""
    next_closer, encloser = line("a.example", flags=0), line("example", flags=1)
    assert verdict(Asked(records(f"{next_closer}\n{encloser}")).no_ds("c.example")) == "bogus"
    next_closer, encloser = line("a.example", flags=1), line("example", flags=0)
    assert verdict(Asked(records(f"{next_closer}\n{encloser}")).no_ds("c.example")) == "insecure"


def test_no_data_of_any_type_in_an_opt_out_span() -> None:
    """An empty name above unsigned delegations has no record of its own in an opt-out zone: nothing secure is known."""
    assert verdict(only("a.example", "example").nodata("c.example", "TLSA")) == "insecure"
    assert verdict(only("a.example", "example", flags=0).nodata("c.example", "TLSA")) == "bogus"


def test_wildcard_expansion() -> None:
    """RFC 5155 appendix B.4, SEC-54, SEC-55: the next closer name is covered; the span is opt-out, hence insecure."""
    assert only("ns2.example", flags=0).no_closer_match("a.z.w.example", "*.w.example") == Proven(
        secure=True, text="an NSEC3 record shows that no name is closer to a.z.w.example. than *.w.example."
    )
    assert verdict(only("ns2.example").no_closer_match("a.z.w.example", "*.w.example")) == "insecure"
    assert only("w.example").no_closer_match("a.z.w.example", "*.w.example") == Unproven(
        "no NSEC3 record shows that z.w.example. does not exist"
    )
    assert verdict(only(*TYPES).no_closer_match("a.y.w.example", "*.w.example")) == "bogus"
    assert only(*TYPES).no_closer_match("w.example", "*.w.example") == Unproven(
        "*.w.example. does not stand in for w.example.", 6
    )


def test_wildcard_no_data() -> None:
    """RFC 5155 appendix B.5, SEC-53: encloser, next closer, and a wildcard that lacks the type."""
    proof = ("w.example", "ns2.example", "*.w.example")
    assert only(*proof, flags=0).nodata("a.z.w.example", "AAAA") == Proven(
        secure=True, text="NSEC3 records show that a.z.w.example. does not exist, and that *.w.example. lists no AAAA"
    )
    assert verdict(only(*proof).nodata("a.z.w.example", "AAAA")) == "insecure"
    assert only(*proof, flags=0).nodata("a.z.w.example", "MX") == Unproven("*.w.example. has MX records", 6)
    assert only(*proof[:2], flags=0).nodata("a.z.w.example", "AAAA") == Unproven(
        "no NSEC3 record shows that a.z.w.example. or *.w.example. has no AAAA records"
    )
    assert verdict(only(*proof[1:]).nodata("a.z.w.example", "AAAA")) == "bogus"


def test_ds_of_the_zone_itself() -> None:
    """RFC 5155 appendix B.6: the zone that begins at the name cannot deny its DS records."""
    assert verdict(only("example").nodata("example", "DS")) == "bogus"
    assert verdict(only("example").no_ds("example")) == "bogus"


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ("NS", "secure"),
        ("NS DS RRSIG", "bogus"),
        ("NS SOA RRSIG", "bogus"),
        ("A RRSIG", "no cut"),
        ("CNAME RRSIG", "no cut"),
        ("", "no cut"),
    ],
)
def test_whether_a_name_is_a_cut(types: str, expected: str) -> None:
    """SEC-16: NS has to be listed, DS and SOA must not; a name that is there without NS is no cut."""
    assert verdict(Asked([record(line("a.example", types=types))]).no_ds("a.example")) == expected


@pytest.mark.parametrize("types", ["NS RRSIG", "NS DS RRSIG", "DNAME RRSIG", "NS SOA DNAME RRSIG"])
def test_enclosers_that_lead_away(types: str) -> None:
    """SEC-38, SEC-39, SEC-49: what is below a cut or a DNAME is not for this zone to deny, be it signed or not."""
    text = "\n".join([line("x.w.example", types=types), *(line(one) for one in TYPES if one != "x.w.example")])
    answer = Asked(records(text))
    why = "x.w.example. is delegated or has DNAME records, so its zone denies nothing below"
    assert answer.nxdomain("a.x.w.example") == Unproven(why, 6)
    assert answer.nodata("a.x.w.example", "TLSA") == Unproven(why, 6)
    assert answer.no_ds("a.x.w.example") == Unproven(why, 6)


def test_what_is_at_a_cut_is_not_for_the_zone_above_to_deny() -> None:
    """SEC-38: the record of a cut denies DS there and no other type."""
    answer = Asked([record(line("a.example", types="NS RRSIG"))])
    assert verdict(answer.nodata("a.example", "TLSA")) == "bogus"
    assert verdict(answer.nodata("a.example", "DS")) == "secure"


def test_the_last_record_goes_on_at_the_first() -> None:
    """RFC 5155 section 3.1.7: the last hash covers what is above it and below the first; a lone one all but itself."""
    assert list(TYPES) == sorted(TYPES, key=HASHES.__getitem__)  # the appendix is in the order of its hashes
    found = set()
    for one in (f"n{number}.example" for number in range(60)):
        hashed = dns.dnssec.nsec3_hash(one, "aabbccdd", 12, 1).lower()
        place = "above" if hashed > HASHES[LAST] else "below" if hashed < HASHES[APEX] else "between"
        expected = "bogus" if place == "between" else "secure"
        assert verdict(only(LAST, flags=0).no_closer_match(one, "*.example")) == expected, one
        found.add(place)
    assert found == {"above", "below", "between"}
    lone = f"{HASHES[APEX]}.example. NSEC3 1 0 12 aabbccdd {HASHES[APEX]} NS SOA"
    assert verdict(Asked(records(lone)).nxdomain("nobody.example")) == "secure"
    assert verdict(Asked(records(lone)).nxdomain("somebody.else.example")) == "secure"
    assert verdict(Asked(records(lone)).nxdomain("example")) == "bogus"


@pytest.mark.parametrize(
    "text",
    [
        "2t7b4g4vsa5smi47k61mv5bv1a22bojr.example. NSEC3 2 0 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A",
        "2t7b4g4vsa5smi47k61mv5bv1a22bojr.example. NSEC3 1 2 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A",
        "2t7b4g4vsa5smi47k61mv5bv1a22bojr.example. NSEC3 1 129 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A",
        "2t7b4g4vsa5smi47k61mv5bv1a22bojr.example. NSEC3 1 0 12 aabbccdd 2vptu5timamqttgl A",
        "2t7b4g4vsa5smi47k61mv5bv1a22bojr. NSEC3 1 0 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A",
        "2t7b4g4vsa5smi47k61mv5bv1a22bojr.x.example. NSEC3 1 0 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A",
        "2t7b4g4vsa5smi47k61mv5bv1a22bojr.test. NSEC3 1 0 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A",
        "2t7b4g4vsa5smi47k61mv5bv1a22boj.example. NSEC3 1 0 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A",
        "2t7b4g4vsa5smi47k61mv5bv1a22bozz.example. NSEC3 1 0 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A",
        r"2t7b4g4vsa5smi47k61mv5bv1a22bo\200r.example. NSEC3 1 0 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A",
        "2t7b4g4vsa5smi47.example. NSEC3 1 0 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A",
        "ns1.example. NSEC3 1 0 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A",
    ],
    ids=[
        "algorithm 2",
        "flags 2",
        "flags 129",
        "short next hash",
        "above the zone",
        "too deep",
        "of another zone",
        "31 characters",
        "not base32hex",
        "not ASCII",
        "short hash",
        "no hash",
    ],
)
def test_records_that_do_not_count(text: str) -> None:
    """SEC-45, SEC-46: unknown algorithms and flags are ignored, and so are owners that are not a hash of the zone."""
    why = "no NSEC or NSEC3 record of example. that can be used came with the answer"
    assert Asked(records(text)).nodata("ns1.example", "MX") == Unproven(why)
    assert verdict(Asked([*records(text), record(line("ns1.example"))]).nodata("ns1.example", "MX")) == "secure"


def test_records_that_another_zone_signed() -> None:
    """SEC-24: the signer of a denial is the zone, or it is none."""
    assert verdict(Asked([record(line("ns1.example"), ".")]).nodata("ns1.example", "MX")) == "bogus"


@pytest.mark.parametrize("other", [{"salt": "aabbccde"}, {"salt": "-"}, {"iterations": 11}])
def test_records_of_two_chains(other: dict[str, str | int]) -> None:
    """SEC-47: records that differ in salt or iterations are no proof together."""
    two = [record(line("ns1.example")), record(line("ns2.example", **other))]  # type: ignore[arg-type]
    why = "the NSEC3 records of example. differ in salt or iterations"
    assert Asked(two).nodata("ns1.example", "MX") == Unproven(why, 6)


def test_too_many_iterations() -> None:
    """SEC-56 to SEC-58: above the limit everything is insecure, at no cost; at the limit all is as usual."""
    answer = only("ns1.example", rules=Rules(nsec3_iterations=11, nsec3_hashes=0))
    over = Proven(secure=False, text="the NSEC3 records of example. have 12 iterations, more than 11 (EDE 27)")
    assert answer.nodata("ns1.example", "A") == over
    assert answer.nxdomain("nobody.example") == over
    assert answer.no_ds("nobody.example") == over
    assert answer.no_closer_match("a.w.example", "*.w.example") == over
    assert verdict(only("ns1.example", rules=Rules(nsec3_iterations=12)).nodata("ns1.example", "A")) == "bogus"


def test_each_hash_is_counted() -> None:
    """SEC-61: a hash with 12 iterations counts 1.24; no name is hashed twice for one proof."""
    rules, budget = Rules(), Budget()
    denials = [record(line(one)) for one in ("example", "x.w.example", "a.example")]
    denial.nxdomain(name("a.c.x.w.example"), name("example"), denials, rules, budget)
    assert budget.hashes == pytest.approx(4 * (1 + 12 / 50))  # the name, c.x.w, x.w, *.x.w


def test_a_deep_name_costs_too_much() -> None:
    """SEC-61: a name of 120 labels is not hashed to its end; that proves nothing, least of all that it is insecure."""
    deep = ".".join(["a"] * 120) + ".example"
    with pytest.raises(BudgetExceeded, match="NSEC3 hashes"):
        only("example").nxdomain(deep)


def test_either_kind_of_records_may_prove_it() -> None:
    """A zone on its way from one kind to the other may send both; each proof is whole by itself, NSEC goes first."""
    hashed, plain = record(line("ns1.example")), record("ns1.example. NSEC ns2.example. A")
    other = record("ns2.example. NSEC example. A")
    assert verdict(Asked([hashed, plain]).nodata("ns1.example", "MX")) == "secure"
    assert Asked([hashed, other]).nodata("ns1.example", "MX") == Proven(
        secure=True, text="the NSEC3 record of ns1.example. lists no MX"
    )
    assert Asked([hashed, other]).nodata("xx.w.example", "MX") == Unproven(
        "no NSEC record shows that xx.w.example. has no MX records"
    )
