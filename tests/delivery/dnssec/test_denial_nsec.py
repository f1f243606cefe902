"""Denial by NSEC: the examples of RFC 4035 appendix B, and every way in which a record proves less than it seems to."""

import pytest

from delivery.dnssec.denial import Proven, Unproven
from delivery.dnssec.nsec import gaps
from tests.delivery.dnssec.records import Asked, name, record, records, verdict

# The zone of RFC 4035 appendix A.
ZONE = """
example. NSEC a.example. NS SOA MX RRSIG NSEC DNSKEY
a.example. NSEC ai.example. NS DS RRSIG NSEC
ai.example. NSEC b.example. A HINFO AAAA RRSIG NSEC
b.example. NSEC ns1.example. NS RRSIG NSEC
ns1.example. NSEC ns2.example. A RRSIG NSEC
ns2.example. NSEC *.w.example. A RRSIG NSEC
*.w.example. NSEC x.w.example. MX RRSIG NSEC
x.w.example. NSEC x.y.w.example. MX RRSIG NSEC
x.y.w.example. NSEC xx.example. MX RRSIG NSEC
xx.example. NSEC example. A HINFO AAAA RRSIG NSEC
"""


def only(*owners: str) -> Asked:
    """Leave an answer the records of some owners of the zone in the appendix."""
    return Asked([one for one in records(ZONE) if one.owner.to_text(omit_final_dot=True) in owners])


def of(text: str, zone: str = "example") -> Asked:
    """Make an answer of some records of a zone."""
    return Asked(records(text, zone), zone)


def test_name_error() -> None:
    """RFC 4035 appendix B.2, SEC-36: one record covers the name and another one the wildcard; either alone is not it."""
    assert only("b.example", "example").nxdomain("ml.example") == Proven(
        secure=True, text="NSEC records show that neither ml.example. nor *.example. exists"
    )
    assert only("b.example").nxdomain("ml.example") == Unproven("no NSEC record shows that *.example. does not exist")
    assert only("example").nxdomain("ml.example") == Unproven("no NSEC record shows that ml.example. does not exist")


def test_no_data() -> None:
    """RFC 4035 appendix B.3, SEC-34: the record of the name lists neither the type nor an alias."""
    answer = only("ns1.example")
    assert answer.nodata("ns1.example", "MX") == Proven(
        secure=True, text="the NSEC record of ns1.example. lists no MX records"
    )
    assert answer.nodata("ns1.example", "A") == Unproven("ns1.example. has A records", 6)
    assert answer.nodata("ns2.example", "MX") == Unproven("no NSEC record shows that ns2.example. has no MX records")


def test_referrals() -> None:
    """RFC 4035 appendices B.4 and B.5, SEC-15: the chain ends at b, and does not end at a, which has DS records."""
    assert only("b.example").no_ds("b.example") == Proven(
        secure=True, text="b.example. is delegated without DS records"
    )
    assert only("a.example").no_ds("a.example") == Unproven("a.example. has DS records", 6)
    assert verdict(only("b.example").nodata("b.example", "DS")) == "secure"
    assert verdict(only("a.example").nodata("a.example", "DS")) == "bogus"


def test_wildcard_expansion() -> None:
    """RFC 4035 appendix B.6, SEC-32: no name is closer than the wildcard, which must be the closest one."""
    answer = only("x.y.w.example")
    assert answer.no_closer_match("a.z.w.example", "*.w.example") == Proven(
        secure=True, text="an NSEC record shows that no name is closer to a.z.w.example. than *.w.example."
    )
    assert answer.no_closer_match("a.z.w.example", "*.example") == Unproven(
        "no NSEC record shows that no name is closer to a.z.w.example. than *.example."
    )
    assert verdict(only("x.w.example").no_closer_match("y.w.example", "*.w.example")) == "bogus"  # there, and empty
    assert verdict(only("x.w.example").no_closer_match("a.y.w.example", "*.w.example")) == "bogus"  # below it


@pytest.mark.parametrize(
    ("owner", "wildcard"),
    [
        ("a.z.w.example", "w.example"),
        ("a.z.w.example", "*.test"),
        ("w.example", "*.w.example"),
        ("a.example", "*.w.example"),
    ],
    ids=["no wildcard", "of another zone", "not below", "elsewhere"],
)
def test_a_wildcard_that_cannot_be_meant(owner: str, wildcard: str) -> None:
    """A wildcard stands only for names below its parent, and only in the zone (RFC 4592 section 3.3.1)."""
    assert verdict(Asked(records(ZONE)).no_closer_match(owner, wildcard)) == "bogus"


def test_wildcard_no_data() -> None:
    """RFC 4035 appendix B.7, SEC-37: the name does not exist and the wildcard lacks the type; either is not enough."""
    both = only("x.y.w.example", "*.w.example")
    assert verdict(both.nodata("a.z.w.example", "AAAA")) == "secure"
    assert both.nodata("a.z.w.example", "MX") == Unproven("*.w.example. has MX records", 6)
    assert verdict(only("x.y.w.example").nodata("a.z.w.example", "AAAA")) == "bogus"
    assert verdict(only("*.w.example").nodata("a.z.w.example", "AAAA")) == "bogus"
    assert verdict(both.nxdomain("a.z.w.example")) == "bogus"


def test_ds_of_the_zone_itself() -> None:
    """RFC 4035 appendix B.8: a child cannot deny its own DS records, whether or not its record lists SOA."""
    assert verdict(only("example").nodata("example", "DS")) == "bogus"
    assert verdict(only("example").no_ds("example")) == "bogus"
    assert verdict(of("example. NSEC a.example. A").nodata("example", "DS")) == "bogus"
    assert verdict(of("example. NSEC a.example. NS").no_ds("example")) == "bogus"


def test_ds_of_the_root() -> None:
    """The root has no zone above it, so that its own record does say that it has no DS."""
    root = of(". NSEC aaa. NS SOA RRSIG NSEC DNSKEY", ".")
    assert verdict(root.nodata(".", "DS")) == "secure"
    assert verdict(root.no_ds(".")) == "bogus"
    assert verdict(root.nodata(".", "A")) == "secure"
    assert verdict(root.nodata(".", "NS")) == "bogus"


def test_ds_by_a_record_that_is_the_childs_own() -> None:
    """SEC-15: a record with SOA is from below the cut, even if the zone above had signed it."""
    answer = of("sub.example. NSEC t.example. NS SOA RRSIG NSEC")
    assert verdict(answer.no_ds("sub.example")) == "bogus"
    assert verdict(answer.nodata("sub.example", "DS")) == "bogus"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("c.example. NSEC d.example. NS RRSIG NSEC", "secure"),
        ("c.example. NSEC d.example. NS DS RRSIG NSEC", "bogus"),
        ("c.example. NSEC d.example. A RRSIG NSEC", "no cut"),
        ("c.example. NSEC d.example. CNAME RRSIG NSEC", "no cut"),
        ("b.example. NSEC x.c.example. A RRSIG NSEC", "no cut"),
        ("b.example. NSEC d.example. A RRSIG NSEC", "bogus"),
        ("d.example. NSEC e.example. NS RRSIG NSEC", "bogus"),
    ],
    ids=["delegated", "with DS", "a host", "an alias", "an empty name", "no such name", "another name"],
)
def test_whether_a_name_is_a_cut(line: str, expected: str) -> None:
    """SEC-15, RFC 6840 section 4.4: NS has to be listed, DS must not be; a name that is there without NS is no cut."""
    assert verdict(of(line).no_ds("c.example")) == expected


def test_an_alias_answers_for_every_type() -> None:
    """SEC-34, RFC 6840 section 4.3: a record that lists CNAME is no proof that another type is missing."""
    answer = of("c.example. NSEC d.example. CNAME RRSIG NSEC")
    assert answer.nodata("c.example", "TLSA") == Unproven("c.example. has CNAME records", 6)
    assert verdict(answer.nodata("c.example", "DS")) == "bogus"


def test_an_empty_non_terminal() -> None:
    """SEC-35: a gap that ends below a name shows that it is there and has nothing; then it is no name error."""
    answer = of("mx.example. NSEC _25._tcp.mx.example. A RRSIG NSEC\nexample. NSEC mx.example. NS SOA")
    assert answer.nodata("_tcp.mx.example", "TLSA") == Proven(
        secure=True, text="an NSEC record shows that _tcp.mx.example. has names below it and no records"
    )
    assert verdict(answer.nodata("_tcp.mx.example", "DS")) == "secure"
    assert verdict(answer.nxdomain("_tcp.mx.example")) == "bogus"
    assert verdict(answer.nodata("_udp.mx.example", "TLSA")) == "bogus"


def test_an_empty_wildcard() -> None:
    """A wildcard with names below it and no records stands in for others all the same, with no type (RFC 4592 2.2.3)."""
    answer = of("example. NSEC x.*.example. NS SOA\nx.*.example. NSEC example. A")
    assert verdict(answer.nodata("ml.example", "A")) == "secure"
    assert verdict(answer.nxdomain("ml.example")) == "bogus"


def test_what_is_below_a_cut_is_not_for_the_zone_above_to_deny() -> None:
    """SEC-38, RFC 6840 section 4.1: the record of a cut denies DS records there, and nothing else there or below."""
    answer = of("child.example. NSEC example. NS RRSIG NSEC\nexample. NSEC child.example. NS SOA")
    assert verdict(answer.nodata("_25._tcp.mx.child.example", "TLSA")) == "bogus"
    assert verdict(answer.nxdomain("_25._tcp.mx.child.example")) == "bogus"
    assert answer.nodata("child.example", "MX") == Unproven(
        "child.example. is delegated, and the zone above knows only of DS records there", 6
    )
    assert verdict(answer.nodata("child.example", "DS")) == "secure"
    assert verdict(answer.nxdomain("childish.example")) == "secure"  # not below it


def test_what_is_below_a_dname_is_not_denied() -> None:
    """SEC-39, RFC 6672 section 5.3.4.1: names below a DNAME are aliases; without the bit the answer would stand."""
    text = "bar.example. NSEC dub.example. A{} RRSIG NSEC"
    assert verdict(of(text.format(" DNAME")).nxdomain("foo.bar.example")) == "bogus"
    assert verdict(of(text.format("")).nxdomain("foo.bar.example")) == "secure"
    assert verdict(of(text.format(" DNAME")).nodata("bar.example", "TLSA")) == "secure"


@pytest.mark.parametrize("bits", ["A", "A RRSIG", "A NSEC", "A RRSIG NSEC"])
def test_the_bits_of_nsec_and_rrsig_say_nothing(bits: str) -> None:
    """SEC-40: both types are at every name with an NSEC record, whatever the bit maps say of them."""
    answer = of(f"c.example. NSEC d.example. {bits}")
    assert verdict(answer.nodata("c.example", "TLSA")) == "secure"
    assert answer.nodata("c.example", "RRSIG") == Unproven("c.example. has RRSIG records", 6)
    assert answer.nodata("c.example", "NSEC") == Unproven("c.example. has NSEC records", 6)


def test_the_last_record_covers_all_that_comes_after() -> None:
    """SEC-41: the last record points to the apex, and only such a one goes round; one of an empty zone covers all."""
    assert verdict(only("xx.example", "example").nxdomain("zz.example")) == "secure"
    assert verdict(only("xx.example", "example").nxdomain("xa.example")) == "bogus"
    assert verdict(of("xx.example. NSEC b.example. A\nexample. NSEC b.example. SOA").nxdomain("zz.example")) == "bogus"
    alone = of("example. NSEC example. NS SOA")
    assert verdict(alone.nxdomain("zz.example")) == "secure"
    assert verdict(alone.nxdomain("example")) == "bogus"
    assert verdict(alone.nodata("example", "MX")) == "secure"


def test_canonical_order() -> None:
    """SEC-41: names are ordered by their labels from the right, as octets, lower case (the list of RFC 4034 6.1)."""
    names = [
        "example",
        "a.example",
        "yljkjljk.a.example",
        "Z.a.example",
        "zABC.a.EXAMPLE",
        "z.example",
        r"\001.z.example",
        "*.z.example",
        r"\200.z.example",
    ]
    for first, before in enumerate(names):
        for last, after in enumerate(names[first + 1 :], first + 1):
            [gap] = gaps(name("example"), records(f"{before}. NSEC {after}. A"))
            covered = [one for one in names if gap.is_empty(name(one)) or gap.encloser(name(one))]
            assert covered == names[first + 1 : last], (before, after)


def test_minimal_gaps() -> None:
    """SEC-43, RFC 4470: gaps made up on the spot, just around the name and just around the wildcard, prove as others do."""
    answer = of(
        r"mk\255.example. NSEC ml\000.example. RRSIG NSEC" + "\n" + r")\255.example. NSEC +.example. RRSIG NSEC"
    )
    assert verdict(answer.nxdomain("ml.example")) == "secure"
    assert verdict(answer.nxdomain("mk.example")) == "bogus"


def test_compact_denial() -> None:
    r"""SEC-43, RFC 9824: a record from the name to `\000` below it denies each type, and with NXNAME the name as well."""
    answer = of(r"no.example. NSEC \000.no.example. RRSIG NSEC TYPE128")
    assert verdict(answer.nodata("no.example", "TLSA")) == "secure"
    assert answer.nxdomain("no.example") == Proven(
        secure=True, text="the NSEC record of no.example. says that the name does not exist"
    )
    assert verdict(answer.nxdomain("other.example")) == "bogus"
    assert verdict(answer.no_ds("no.example")) == "no cut"
    assert verdict(of(r"no.example. NSEC \000.no.example. RRSIG NSEC").nodata("no.example", "TLSA")) == "secure"


@pytest.mark.parametrize("bits", ["RRSIG NSEC", "A RRSIG NSEC TYPE128", "TYPE128 TYPE4660"])
def test_nxname_beside_other_types(bits: str) -> None:
    """A name with records exists; NXNAME counts only where nothing else is listed."""
    assert verdict(of(rf"no.example. NSEC \000.no.example. {bits}").nxdomain("no.example")) == "bogus"


def test_types_beyond_the_first_window() -> None:
    """The bit maps come in windows of 256 types (RFC 4034 section 4.1.2)."""
    answer = of("c.example. NSEC d.example. A TYPE257 TYPE1234")
    assert verdict(answer.nodata("c.example", "CAA")) == "bogus"
    assert verdict(answer.nodata("c.example", "TYPE1234")) == "bogus"
    assert verdict(answer.nodata("c.example", "TYPE1235")) == "secure"
    assert verdict(answer.nodata("c.example", "TYPE513")) == "secure"


def test_records_that_do_not_count() -> None:
    """SEC-24: what another zone signed, or what reaches out of the zone, is no record of this zone."""
    line = "ns1.example. NSEC ns2.example. A"
    nothing = Unproven("no NSEC or NSEC3 record of example. that can be used came with the answer")
    assert Asked([record(line, "test")]).nodata("ns1.example", "MX") == nothing
    assert Asked([record(line, ".")]).nodata("ns1.example", "MX") == nothing
    assert Asked([]).nxdomain("ns1.example") == nothing
    assert verdict(of("aaa. NSEC zz.example. A").nxdomain("b.example")) == "bogus"
    assert verdict(of("a.example. NSEC test. A\nexample. NSEC a.example. A").nxdomain("b.example")) == "bogus"


def test_names_outside_of_the_zone() -> None:
    """A zone proves nothing about names that are not in it."""
    answer = Asked(records(ZONE))
    outside = Unproven("www.test. is not in the zone example.", 6)
    assert answer.nxdomain("www.test") == outside
    assert answer.nodata("www.test", "A") == outside
    assert answer.no_ds("www.test") == outside


def test_one_good_record_of_two_at_a_name_is_enough() -> None:
    """The order of the records makes no difference to what they prove together."""
    two = records("c.example. NSEC d.example. A TLSA\nc.example. NSEC e.example. A")
    assert verdict(Asked(two).nodata("c.example", "TLSA")) == "secure"
    assert verdict(Asked(two[::-1]).nodata("c.example", "TLSA")) == "secure"
