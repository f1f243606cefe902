"""Signatures over record sets: the published examples, each rule in its breach, and octets that nobody would sign."""

import struct
from datetime import UTC, datetime, timedelta
from typing import cast

import dns.name
import dns.rdata
import dns.rdatatype
import dns.rrset
import pytest
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.RRSIG import RRSIG
from hypothesis import example, given
from hypothesis import strategies as st

from delivery.dnssec.limits import Budget, BudgetExceeded, Rules
from delivery.dnssec.primitives import fits
from delivery.dnssec.signatures import Broken, SignedSet, Verified, digest, key_tag, trusted_keys, verify
from tests.delivery.dnssec.signing import (
    NOW,
    ZONE,
    check,
    dnskey,
    ds_of,
    impostors,
    key_set,
    pair,
    records,
    sign,
    twins,
)  # fmt: skip
from tests.stopwatch import processor_seconds

ONE = pair(1)

TLSA = records("_25._tcp.mx.example.com.", "TLSA", "3 1 1 " + "aa" * 32, "3 1 1 " + "bb" * 32)
IT = f"RRSIG over _25._tcp.mx.example.com TLSA by example.com/15/{ONE.tag}"

# Keys, DS records and signatures that RFCs print: zone, DNSKEY, DS, record set, RRSIG.
PUBLISHED = {
    "RFC 4035 appendix B.6, RSA/SHA-1, wildcard": (
        "example.",
        "256 3 5 AQOy1bZVvpPqhg4j7EJoM9rI3ZmyEx2OzDBVrZy/lvI5CQePxXHZS4i8dANH4DX3tbHol61ek8EFMcsGXxKciJFHyhl94C+NwILQdzsUlSFovBZsyl/NX6yEbtw/xN9ZNcrbYvgjjZ/UVPZIySFNsgEYvh0z2542lzMKR4Dh8uZffQ==",
        None,
        ("a.z.w.example.", "MX", "1 ai.example."),
        "MX 5 2 3600 20040509183619 20040409183619 38519 example. OMK8rAZlepfzLWW75Dxd63jy2wswESzxDKG2f9AMN1CytCd10cYISAxfAdvXSZ7xujKAtPbctvOQ2ofO7AZJ+d01EeeQTVBPq4/6KCWhqe2XTjnkVLNvvhnc0u28aoSsG0+4InvkkOHknKxw4kX18MMR34i8lC36SR5xBni8vHI=",
    ),
    "RFC 5702 section 6.1, RSA/SHA-256": (
        "example.net.",
        "256 3 8 AwEAAcFcGsaxxdgiuuGmCkVImy4h99CqT7jwY3pexPGcnUFtR2Fh36BponcwtkZ4cAgtvd4Qs8PkxUdp6p/DlUmObdk=",
        None,
        ("www.example.net.", "A", "192.0.2.91"),
        "A 8 3 3600 20300101000000 20000101000000 9033 example.net. kRCOH6u7l0QGy9qpC9l1sLncJcOKFLJ7GhiUOibu4teYp5VE9RncriShZNz85mwlMgNEacFYK/lPtPiVYP4bwg==",
    ),
    "RFC 5702 section 6.2, RSA/SHA-512": (
        "example.net.",
        "256 3 10 AwEAAdHoNTOW+et86KuJOWRDp1pndvwb6Y83nSVXXyLA3DLroROUkN6X0O6pnWnjJQujX/AyhqFDxj13tOnD9u/1kTg7cV6rklMrZDtJCQ5PCl/D7QNPsgVsMu1J2Q8gpMpztNFLpPBz1bWXjDtaR7ZQBlZ3PFY12ZTSncorffcGmhOL",
        None,
        ("www.example.net.", "A", "192.0.2.91"),
        "A 10 3 3600 20300101000000 20000101000000 3740 example.net. tsb4wnjRUDnB1BUi+t6TMTXThjVnG+eCkWqjvvjhzQL1d0YRoOe0CbxrVDYd0xDtsuJRaeUw1ep94PzEWzr0iGYgZBWm/zpq+9fOuagYJRfDqfReKBzMweOLDiNa8iP5g9vMhpuv6OPlvpXwm9Sa9ZXIbNl1MBGk0fthPgxdDLw=",
    ),
    "RFC 6605 section 6.1, ECDSA P-256": (
        "example.net.",
        "257 3 13 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==",
        "55648 13 2 b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17",
        ("www.example.net.", "A", "192.0.2.1"),
        "A 13 3 3600 20100909100439 20100812100439 55648 example.net. qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==",
    ),
    "RFC 6605 section 6.2, ECDSA P-384": (
        "example.net.",
        "257 3 14 xKYaNhWdGOfJ+nPrL8/arkwf2EY3MDJ+SErKivBVSum1w/egsXvSADtNJhyem5RCOpgQ6K8X1DRSEkrbYQ+OB+v8/uX45NBwY8rp65F6Glur8I/mlVNgF6W/qTI37m40",
        "10771 14 4 72d7b62976ce06438e9c0bf319013cf801f09ecc84b8d7e9495f27e305c6a9b0563a9b5f4d288405c3008a946df983d6",
        ("www.example.net.", "A", "192.0.2.1"),
        "A 14 3 3600 20100909102025 20100812102025 10771 example.net. /L5hDKIvGDyI1fcARX3z65qrmPsVz73QD1Mr5CEqOiLP95hxQouuroGCeZOvzFaxsT8Glr74hbavRKayJNuydCuzWTSSPdz7wnqXL5bdcJzusdnI0RSMROxxwGipWcJm",
    ),
    "RFC 8080 section 6.1 as corrected, Ed25519": (
        "example.com.",
        "257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
        "3613 15 2 3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b",
        ("example.com.", "MX", "10 mail.example.com."),
        "MX 15 2 3600 1440021600 1438207200 3613 example.com. oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==",
    ),
    "RFC 8080 section 6.2 as corrected, Ed448": (
        "example.com.",
        "257 3 16 3kgROaDjrh0H2iuixWBrc8g2EpBBLCdGzHmn+G2MpTPhpj/OiBVHHSfPodx1FYYUcJKm1MDpJtIA",
        "9713 16 2 6ccf18d5bc5d7fc2fceb1d59d17321402f2aa8d368048db93dd811f5cb2b19c7",
        ("example.com.", "MX", "10 mail.example.com."),
        "MX 16 2 3600 1440021600 1438207200 9713 example.com. 3cPAHkmlnxcDHMyg7vFC34l0blBhuG1qpwLmjInI8w1CMB29FkEAIJUA0amxWndkmnBZ6SKiwZSAxGILn/NBtOXft0+Gj7FSvOKxE/07+4RQvE581N3Aj/JtIyaiYVdnYtyMWbSNyGEY2213WKsJlwEA",
    ),
}  # fmt: skip


def published(name: str) -> tuple[dns.name.Name, DNSKEY, dns.rrset.RRset, RRSIG, datetime]:
    """Read one of the published examples, and a moment at which it holds."""
    zone, key, _, rrset, rrsig = PUBLISHED[name]
    signature = dns.rdata.from_text("IN", "RRSIG", rrsig)
    public = dns.rdata.from_text("IN", "DNSKEY", key)
    assert isinstance(signature, RRSIG)
    assert isinstance(public, DNSKEY)
    moment = datetime.fromtimestamp(signature.inception + 1, UTC)
    return dns.name.from_text(zone), public, records(*rrset), signature, moment


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_examples_verify(name: str) -> None:
    """SEC-08, SEC-30 (RFC 5702, 6605, 8080): each algorithm as its RFC shows it; with one octet changed none does."""
    zone, key, rrset, rrsig, moment = published(name)
    good = check(rrset, [rrsig], [key], zone=zone, now=moment)
    assert isinstance(good, Verified)
    assert (good.signer, good.algorithm, good.key_tag) == (zone, key.algorithm, key_tag(key))
    altered = cast(
        RRSIG, rrsig.replace(signature=rrsig.signature[:-9] + bytes([rrsig.signature[-9] ^ 1]) + rrsig.signature[-8:])
    )
    bad = check(rrset, [altered], [key], zone=zone, now=moment)
    assert isinstance(bad, Broken)
    assert (bad.code, bad.why.endswith("does not fit the records")) == (6, True)


@pytest.mark.parametrize("name", [name for name, example in PUBLISHED.items() if example[2]])
def test_published_digests_are_computed(name: str) -> None:
    """SEC-03, SEC-08 (RFC 4034 section 5.1.4): tag and digest of a key are those that its RFC prints."""
    zone, key, *_ = published(name)
    tag, _, kind, octets = str(PUBLISHED[name][2]).split()
    assert (key_tag(key), digest(zone, key, int(kind)).hex()) == (int(tag), octets)


def test_a_wildcard_is_told() -> None:
    """SEC-32 (RFC 4035 appendix B.6): fewer labels than the owner has mean expansion, and the caller needs a proof."""
    zone, key, rrset, rrsig, moment = published("RFC 4035 appendix B.6, RSA/SHA-1, wildcard")
    good = check(rrset, [rrsig], [key], zone=zone, now=moment)
    assert isinstance(good, Verified)
    assert good.wildcard == dns.name.from_text("*.w.example.")


@pytest.mark.parametrize(
    ("owner", "source", "wildcard"),
    [
        ("a.b.example.com.", "*.example.com.", "*.example.com."),
        ("*.example.com.", "*.example.com.", None),
        ("*.b.example.com.", "*.example.com.", "*.example.com."),
        ("A.Example.COM.", "a.example.com.", None),
    ],
)
def test_names_are_those_that_were_signed(owner: str, source: str, wildcard: str | None) -> None:
    """SEC-29, SEC-32 (RFC 4035 section 5.3.2): expanded, the wildcard itself, a wildcard below one, and mixed case."""
    rrset = records(owner, "A", "192.0.2.1")
    good = check(rrset, [sign(rrset, ONE, owner=source)], [ONE.public])
    assert isinstance(good, Verified)
    assert good.wildcard == (dns.name.from_text(wildcard) if wildcard else None)


@pytest.mark.parametrize(
    ("rdtype", "rdata", "lowered"),
    [
        ("MX", "10 MX.Example.", True), ("NS", "NS.Example.", True), ("CNAME", "C.Example.", True),
        ("DNAME", "D.Example.", True), ("PTR", "P.Example.", True), ("SRV", "1 2 3 S.Example.", True),
        ("SOA", "NS.Example. Root.Example. 1 2 3 4 5", True), ("NAPTR", '1 2 "S" "X" "" N.Example.', True),
        ("RP", "A.Example. B.Example.", True), ("AFSDB", "1 A.Example.", True), ("RT", "1 A.Example.", True),
        ("PX", "1 A.Example. B.Example.", True), ("KX", "1 A.Example.", True),
        ("RRSIG", "A 15 2 3600 1440021600 1438207200 3613 Example. AAAA", True),
        ("NSEC", "N.Example. A MX", False), ("SVCB", "1 S.Example.", False), ("LP", "1 L.Example.", False),
        ("TXT", '"Text"', False), ("HINFO", '"CPU" "OS"', False),
    ],
)  # fmt: skip
def test_names_in_record_data_are_lowered_by_type(rdtype: str, rdata: str, lowered: bool) -> None:  # noqa: FBT001
    """SEC-29 (RFC 4034 section 6.2, RFC 6840 section 5.1): the list of types, without NSEC and HINFO."""
    rrset = records("www.example.com.", rdtype, rdata)
    small = records("www.example.com.", rdtype, rdata.replace("Example", "example"))
    octets = [one[0].to_digestable() for one in (rrset, small)]
    assert (octets[0] == rrset[0].to_wire(origin=None)) != lowered
    assert isinstance(check(rrset, [sign(rrset, ONE)], [ONE.public]), Verified)


def test_order_repetition_and_a_lowered_ttl_do_not_matter() -> None:
    """SEC-29 (RFC 4034 section 6.3, RFC 4035 section 5.3.2): what was signed is sorted, single, with its first TTL."""
    both = ["10 MX.example.com.", "5 mx.example.com."]
    rrsig = sign(records("example.com.", "MX", *both), ONE)
    shown = records("example.com.", "MX", *reversed(both), "10 mx.Example.com.", ttl=5)
    good = check(shown, [rrsig], [ONE.public])
    assert isinstance(good, Verified)
    assert good.ttl == 5


@pytest.mark.parametrize("change", ["dropped", "added", "altered"])
def test_each_record_counts(change: str) -> None:
    """SEC-30 (RFC 4035 section 5.3): with a record dropped, added or altered the set is broken."""
    texts = [str(rdata) for rdata in TLSA]
    other = {
        "dropped": texts[:1],
        "added": [*texts, texts[0].replace("aa", "ac")],
        "altered": [texts[0], texts[1][:-1] + "c"],
    }
    shown = records(TLSA.name.to_text(), "TLSA", *other[change])
    assert check(shown, [sign(TLSA, ONE)], [ONE.public]) == Broken(f"{IT} does not fit the records", 6)


def test_a_signature_that_is_not_there_is_missed() -> None:
    """SEC-21: no signature at all is broken, with the code of RFC 8914 for it."""
    assert check(TLSA, [], [ONE.public]) == Broken("RRSIG over _25._tcp.mx.example.com TLSA is missing", 10)


@pytest.mark.parametrize(
    ("rrsig", "text"),
    [
        (sign(TLSA, ONE, covers="A"), "is for another class or type"),
        (sign(TLSA, ONE, labels=6), "has 6 labels, which does not fit the name"),
        (sign(TLSA, ONE, labels=1), "has 1 labels, which does not fit the name"),
        (sign(TLSA, ONE, algorithm=12), "is of an algorithm that is not supported"),
        (sign(TLSA, ONE, inception=NOW - timedelta(1), expiration=NOW + timedelta(365 * 68)), None),
        (
            sign(TLSA, ONE, inception=NOW - timedelta(365 * 40), expiration=NOW + timedelta(365 * 40)),
            "expires before it begins",
        ),
    ],
    ids=["type", "too many labels", "wildcard above the zone", "algorithm", "68 years", "80 years"],
)
def test_an_unfit_signature_is_as_good_as_none(rrsig: RRSIG, text: str | None) -> None:
    """SEC-13, SEC-23, SEC-25, SEC-26 (RFC 4035 section 5.3.1): unfit for the set, whatever the key says of it."""
    outcome = check(TLSA, [rrsig], [ONE.public])
    assert outcome == Broken(f"RRSIG over _25._tcp.mx.example.com TLSA by example.com/{int(rrsig.algorithm)}/{ONE.tag} {text}", 10) \
        or (text is None and isinstance(outcome, Verified))  # fmt: skip


def test_the_class_is_signed_too() -> None:
    """SEC-23 (RFC 4035 section 5.3.1): a set of another class is not what was signed."""
    chaos = dns.rrset.from_text("a.example.com.", 3600, "CH", "TXT", "x")
    outcome = check(chaos, [sign(records("a.example.com.", "TXT", "x"), ONE)], [ONE.public])
    assert isinstance(outcome, Broken)
    assert "is for another class or type" in outcome.why


@pytest.mark.parametrize(
    ("owner", "rdtype", "signer", "text"),
    [
        ("mx.example.com.", "A", "com.", "is not by the zone example.com"),
        ("mx.example.com.", "A", "mx.example.com.", "is not by the zone example.com"),
        ("mx.example.net.", "A", "example.com.", "is not by the zone example.com"),
        ("example.com.", "DS", "example.com.", "is by the child and not by the parent"),
    ],
    ids=["parent", "below", "another tree", "DS by the child"],
)
def test_only_the_zone_that_holds_a_set_signs_it(owner: str, rdtype: str, signer: str, text: str) -> None:
    """SEC-04, SEC-24 (RFC 4035 section 5.3.1): signer and zone are one, the owner is in it, and DS is the parent's."""
    rrset = records(owner, rdtype, {"A": "192.0.2.1", "DS": "1 13 2 " + "00" * 32}[rdtype])
    outcome = check(rrset, [sign(rrset, ONE, signer=dns.name.from_text(signer))], [ONE.public])
    assert isinstance(outcome, Broken)
    assert (outcome.code, outcome.why.endswith(text)) == (10, True)


@pytest.mark.parametrize(
    ("seconds", "skew", "secure"),
    [(0, 0, True), (1, 0, False), (299, 300, True), (300, 300, True), (301, 300, False)],
)
def test_the_clock_has_a_tolerance_and_it_ends(seconds: int, skew: int, secure: bool) -> None:  # noqa: FBT001
    """SEC-26, SEC-27: at both ends, up to the second; what is over it has codes 7 and 8 of RFC 8914."""
    rules, off, far = Rules(skew=timedelta(seconds=skew)), timedelta(seconds=seconds), timedelta(30)
    now = NOW + timedelta(microseconds=900_000)  # signatures know whole seconds only
    late = check(TLSA, [sign(TLSA, ONE, inception=NOW - far, expiration=NOW - off)], [ONE.public], rules=rules, now=now)
    soon = check(TLSA, [sign(TLSA, ONE, inception=NOW + off, expiration=NOW + far)], [ONE.public], rules=rules, now=now)
    if secure:
        assert isinstance(late, Verified)
        assert isinstance(soon, Verified)
        assert (late.ttl, late.expires) == (0, NOW)
    else:
        text = "2026-11-20T11:54Z" if seconds == 301 else "2026-11-20T11:59Z"
        assert late == Broken(f"{IT} expired {text}", 7)
        assert soon == Broken(f"{IT} is not valid before 2026-11-20T12:0{seconds // 60}Z", 8)


def test_time_goes_on_after_32_bits() -> None:
    """SEC-26 (RFC 4034 section 3.1.5, RFC 1982 section 3.2): a life over the turn in February 2106 is a life."""
    turn = datetime.fromtimestamp(2**32, UTC)
    rrsig = sign(TLSA, ONE, inception=turn - timedelta(10), expiration=turn + timedelta(10))
    for now in (turn - timedelta(9), turn + timedelta(9)):
        good = check(TLSA, [rrsig], [ONE.public], now=now)
        assert isinstance(good, Verified)
        assert (good.inception, good.expiration) == (turn - timedelta(10), turn + timedelta(10))


@pytest.mark.parametrize(
    ("shown", "signature", "original", "left", "expected"),
    [(7, 3600, 3600, 3600, 7), (3600, 8, 3600, 3600, 8), (3600, 3600, 9, 3600, 9), (3600, 3600, 3600, 10, 10)],
    ids=["of the records", "of the RRSIG", "original", "until it expires"],
)
def test_the_shortest_time_holds(shown: int, signature: int, original: int, left: int, expected: int) -> None:
    """SEC-31 (RFC 4035 section 5.3.3): the least of four is how long the set may be kept."""
    rrset = records("a.example.com.", "A", "192.0.2.1", ttl=shown)
    rrsig = sign(rrset, ONE, ttl=original, expiration=NOW + timedelta(seconds=left))
    good = verify(SignedSet(rrset, (rrsig,), signature), ZONE, [ONE.public], NOW, Rules(), Budget())
    assert isinstance(good, Verified)
    assert (good.ttl, good.expires) == (expected, NOW + timedelta(seconds=expected))


def test_any_one_good_signature_is_enough() -> None:
    """SEC-11, SEC-13 (RFC 6840 sections 5.4 and 5.12): bad, expired, foreign and unsupported ones beside it are no harm."""
    old = sign(TLSA, ONE, inception=NOW - timedelta(9), expiration=NOW - timedelta(8))
    bad = sign(records(TLSA.name.to_text(), "TLSA", "3 1 1 " + "cc" * 32), ONE)
    good = sign(TLSA, ONE)
    others = [old, bad, sign(TLSA, ONE, algorithm=200), sign(TLSA, pair(2)), sign(TLSA, ONE, tag=1)]
    assert isinstance(check(TLSA, [*others, good], [ONE.public]), Verified)
    assert check(TLSA, others, [ONE.public]) == Broken(f"{IT} does not fit the records", 6)


@pytest.mark.parametrize(
    ("flags", "protocol", "outcome"),
    [(256, 3, Verified), (257, 3, Verified), (0, 3, Broken), (256, 4, Broken), (257 | 128, 3, Broken)],
    ids=["zone", "zone and SEP", "no zone bit", "protocol 4", "revoked"],
)
def test_only_keys_for_zones_sign(flags: int, protocol: int, outcome: type) -> None:
    """SEC-09, SEC-10 (RFC 4034 section 2.1, RFC 5011 section 2.1): zone bit, protocol 3, not revoked; SEP is no matter."""
    key = pair(1, flags, protocol)
    found = check(TLSA, [sign(TLSA, key)], [key.public])
    assert type(found) is outcome
    if isinstance(found, Broken):
        assert (found.code, found.why.endswith("is by a key that is revoked, or not for signing zones")) == (11, True)


def test_a_key_that_the_zone_does_not_have_is_told() -> None:
    """SEC-13: with code 9 of RFC 8914."""
    assert check(TLSA, [sign(TLSA, ONE)], [pair(2).public]) == Broken(
        f"{IT} is by a key that the zone does not have", 9
    )


def test_keys_with_one_tag_are_tried_in_turn() -> None:
    """SEC-28, SEC-62: the second of two good keys with one tag is found, and so is the fourth after three impostors."""
    first, second = twins()
    assert isinstance(check(TLSA, [sign(TLSA, second)], [first.public, second.public]), Verified)
    assert isinstance(check(TLSA, [sign(TLSA, ONE)], [*impostors(ONE.public, 3), ONE.public]), Verified)


def test_what_nobody_tried_is_not_called_broken() -> None:
    """SEC-60: behind four impostors the fifth key is not tried, but then nothing is known."""
    with pytest.raises(BudgetExceeded, match="more than 4 keys with one tag for _25"):
        check(TLSA, [sign(TLSA, ONE)], [*impostors(ONE.public, 4), ONE.public])


def test_keytrap_costs_eight_checks() -> None:
    """SEC-59, SEC-60 (CVE-2023-50387): 100 keys with one tag and 100 signatures end within 100 ms of CPU time."""
    keys, signatures = impostors(ONE.public, 100), [sign(TLSA, ONE, ttl=ttl) for ttl in range(100)]
    budget = Budget()

    def exhaust() -> None:
        with pytest.raises(BudgetExceeded, match="more than 8 signature checks for _25"):
            check(TLSA, signatures, keys, budget=budget)

    assert processor_seconds(exhaust) < 0.1
    assert budget.checks == 8


def test_a_question_has_a_budget_too() -> None:
    """SEC-60: the checks of all its sets together are counted."""
    rules = Rules(checks=2)
    budget = Budget(rules)
    for _ in range(2):
        assert isinstance(check(TLSA, [sign(TLSA, ONE)], [ONE.public], rules=rules, budget=budget), Verified)
    with pytest.raises(BudgetExceeded, match="more than 2 signature checks for one question"):
        check(TLSA, [sign(TLSA, ONE)], [ONE.public], rules=rules, budget=budget)


def test_records_that_are_longer_than_a_record_can_be_are_broken() -> None:
    """SEC-29: compressed names in HIP would be written out to more octets than a length can say; neither is no record good."""
    names = tuple(dns.name.from_text(f"{number}." + "a" * 60 + ".") for number in range(1000))
    (hip,) = records("a.example.com.", "HIP", "2 00 AAAA")
    long = dns.rrset.from_rdata("a.example.com.", 60, hip.replace(servers=names))
    broken = Broken("a.example.com HIP has no record, or one that no zone can hold", 6)
    assert check(long, [sign(records("a.example.com.", "HIP", "2 00 AAAA"), ONE)], [ONE.public]) == broken
    assert isinstance(check(dns.rrset.RRset(ZONE, dns.rdataclass.IN, dns.rdatatype.A), [], []), Broken)


# The keys that DS records vouch for

KEYS = key_set(ONE.public, pair(2).public, pair(3, 0).public)
BY_ONE = SignedSet(KEYS, (sign(KEYS, ONE),))


def trusted(dnskeys: SignedSet, *ds: object, rules: Rules = Rules(), anchors: tuple[DNSKEY, ...] = ()) -> object:  # noqa: B008
    """Ask for the trusted keys of the zone, with room enough."""
    return trusted_keys(ZONE, dnskeys, ds, NOW, rules, Budget(rules), anchors)  # type: ignore[arg-type]


def is_secure(outcome: object) -> bool:
    """Tell whether keys came back: those that may sign, and none else."""
    if not isinstance(outcome, tuple):
        return False
    keys, verified = outcome
    assert isinstance(verified, Verified)
    assert all(key.flags & 256 for key in keys)
    return len(keys) == 2


@pytest.mark.parametrize("kind", [1, 2, 4])
def test_a_ds_record_vouches_for_the_key_set_that_its_key_signed(kind: int) -> None:
    """SEC-03, SEC-08 (RFC 4035 section 5.2): with each digest; the keys of the set that may sign are trusted then."""
    assert is_secure(trusted(BY_ONE, ds_of(ONE.public, kind)))


def test_a_key_is_an_anchor_by_itself() -> None:
    """SEC-02, SEC-20: a configured key needs no digest, and one that is good is enough."""
    assert is_secure(trusted(BY_ONE, anchors=(pair(9).public, ONE.public)))
    assert is_secure(trusted(BY_ONE, ds_of(ONE.public), anchors=(ONE.public,)))
    assert isinstance(trusted(BY_ONE, anchors=(pair(9).public,)), Broken)


@pytest.mark.parametrize(
    ("dnskeys", "ds", "text", "code"),
    [
        (BY_ONE, ds_of(pair(9).public), "no key of example.com that a DS record or trust anchor names is there", 9),
        (BY_ONE, ds_of(ONE.public, octets=bytes(32)), "no key of example.com that a DS record or trust anchor names is there", 9),
        (BY_ONE, ds_of(pair(3, 0).public), "the key of example.com that a DS record or trust anchor names is revoked, or not for signing zones", 11),
        (BY_ONE, ds_of(pair(2).public), f"RRSIG over example.com DNSKEY by example.com/15/{ONE.tag} is by a key that the zone does not have", 9),
        (SignedSet(KEYS, ()), ds_of(ONE.public), "RRSIG over example.com DNSKEY is missing", 10),
        (SignedSet(KEYS, (sign(TLSA, ONE),)), ds_of(ONE.public), f"RRSIG over example.com DNSKEY by example.com/15/{ONE.tag} is for another class or type", 10),
    ],
    ids=["another key", "another digest", "no zone bit", "named but did not sign", "no signature", "signature over else"],
)  # fmt: skip
def test_a_key_set_that_no_named_key_signed_is_broken(dnskeys: SignedSet, ds: object, text: str, code: int) -> None:
    """SEC-02, SEC-03, SEC-09 (RFC 4035 section 5.2): each condition in its breach."""
    assert trusted(dnskeys, ds) == Broken(text, code)


@pytest.mark.parametrize("how", ["ds", "anchor"])
def test_a_revoked_key_vouches_for_nothing(how: str) -> None:
    """SEC-10 (RFC 5011 section 2.1): neither as anchor nor by a DS record, even where it signed itself."""
    gone = pair(1, 257 | 128)
    keys = key_set(gone.public)
    signed = SignedSet(keys, (sign(keys, gone),))
    outcome = trusted(signed, ds_of(gone.public)) if how == "ds" else trusted(signed, anchors=(gone.public,))
    assert isinstance(outcome, Broken)
    assert outcome.code == 11


def test_only_what_is_not_supported_makes_a_zone_insecure() -> None:
    """SEC-05, SEC-06, SEC-08 (RFC 6840 section 5.2): all DS records unsupported, and no less; none at all is broken."""
    strange = ds_of(ONE.public, 99, octets=b"x")
    other = ds_of(dnskey(struct.pack("!HBB", 256, 3, 200) + b"key"))
    assert trusted(BY_ONE, strange, other) is None
    assert trusted(BY_ONE, ds_of(ONE.public), rules=Rules(algorithms=frozenset({13}))) is None
    assert trusted(BY_ONE, ds_of(ONE.public), rules=Rules(digests=frozenset({4}))) is None
    assert trusted(BY_ONE, anchors=(ONE.public,), rules=Rules(algorithms=frozenset({13}))) is None
    assert is_secure(trusted(BY_ONE, strange, other, ds_of(ONE.public)))
    assert isinstance(trusted(BY_ONE, strange, other, ds_of(pair(9).public)), Broken)
    assert trusted(BY_ONE) == Broken("no DS record vouches for the keys of example.com", 9)


def test_sha_1_counts_only_alone() -> None:
    """SEC-07 (RFC 4509 section 3): beside a supported stronger digest it is ignored; beside an unsupported one it counts."""
    weak = ds_of(ONE.public, 1)
    assert isinstance(trusted(BY_ONE, weak, ds_of(ONE.public, 2, octets=bytes(32))), Broken)
    assert isinstance(trusted(BY_ONE, weak, ds_of(ONE.public, 4, octets=bytes(48))), Broken)
    assert is_secure(trusted(BY_ONE, weak, ds_of(ONE.public, 99, octets=b"x")))


def test_not_all_algorithms_need_to_sign() -> None:
    """SEC-12 (RFC 6840 section 5.11): one DS record's key has signed, the other's of another algorithm has not."""
    p256 = published("RFC 6605 section 6.1, ECDSA P-256")[1]
    keys = key_set(p256, ONE.public, pair(2).public)
    outcome = trusted(SignedSet(keys, (sign(keys, ONE),)), ds_of(p256), ds_of(ONE.public))
    assert isinstance(outcome, tuple)
    assert outcome[1].algorithm == 15


def test_two_keys_with_one_tag_both_have_ds_records() -> None:
    """SEC-28, SEC-62: a roll-over in which old and new key have one tag, each with two digests."""
    first, second = twins()
    keys = key_set(first.public, second.public)
    named = [ds_of(key.public, kind) for key in (first, second) for kind in (2, 4)]
    assert is_secure(trusted(SignedSet(keys, (sign(keys, second),)), *named))


def test_digests_that_fail_are_counted() -> None:
    """SEC-60: a fifth DS record with the tag of a key and another digest ends it, and the zone is not called broken."""
    wrong = [ds_of(ONE.public, octets=bytes([number]) * 32) for number in range(5)]
    assert is_secure(trusted(BY_ONE, *wrong[:4], ds_of(ONE.public)))
    with pytest.raises(BudgetExceeded, match="more than 4 wrong digests in example"):
        trusted(BY_ONE, *wrong, ds_of(ONE.public))


def test_thousands_of_keys_and_ds_records_cost_little() -> None:
    """SEC-59: as many as fit into a message, all with digests that are right, end within 500 ms of CPU time."""
    many = [dnskey(struct.pack("!HBBH", 256, 3, 15, number)) for number in range(1500)]
    keys = dns.rrset.from_rdata_list(ZONE, 60, many)
    named = [ds_of(key) for key in many]
    signatures = tuple(sign(TLSA, ONE, tag=number) for number in range(1500))
    outcomes: list[object] = []
    assert processor_seconds(lambda: outcomes.append(trusted(SignedSet(keys, signatures), *named))) < 0.5
    assert isinstance(outcomes[0], Broken)


# Octets that nobody would sign


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        (8, b""), (8, b"\0"), (8, b"\0\0"), (8, b"\0\xff\xff"), (8, b"\3\1\0\1"), (8, b"\1\3" + b"\xff" * 63),
        (8, b"\1\3" + b"\xff" * 513), (10, b"\1\3" + b"\xff" * 127), (8, b"\1\2" + b"\xff" * 256),
        (8, b"\x09" + b"\xff" * 300), (8, b"\0\0\x09" + b"\xff" * 300), (13, b""), (13, b"\xff" * 64), (13, bytes(64)),
        (13, bytes(63)), (14, bytes(64)), (14, b"\xff" * 96), (15, b""), (15, b"\xff" * 32), (15, bytes(31)),
        (16, b"\xff" * 57), (16, bytes(32)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [0, 1, 63, 64, 96, 114, 256])
def test_a_key_that_cannot_be_read_has_signed_nothing(algorithm: int, key: bytes, size: int) -> None:
    """SEC-08 (RFC 3110, 5702, 6605, 8080): lengths, sizes, exponents and points that are none give no, and no exception."""
    assert not fits(dnskey(struct.pack("!HBB", 256, 3, algorithm) + key), b"\x01" * size, b"octets")


@pytest.mark.parametrize("wide", [False, True])
def test_the_exponent_may_be_written_both_ways(wide: bool) -> None:  # noqa: FBT001
    """SEC-08 (RFC 3110): its length is one octet, or a zero and two."""
    zone, key, rrset, rrsig, moment = published("RFC 5702 section 6.2, RSA/SHA-512")
    other = dnskey(key.to_digestable()[:4] + (b"\0\0\3" if wide else b"\3") + key.key[1:])
    assert isinstance(check(rrset, [rrsig], [other], zone=zone, now=moment), Verified)  # their tags are equal


SEEDS = [
    (key.to_digestable(), rrsig.to_digestable(), zone.to_text(), rrset)
    for zone, key, rrset, rrsig, _ in map(published, PUBLISHED)
]


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes, bytes, str, dns.rrset.RRset]:
    """Take a published example and cut, extend or change its key and its signature, past the parts that must parse."""
    key, rrsig, zone, rrset = draw(st.sampled_from(SEEDS))
    octets = [bytearray(key), bytearray(rrsig)]
    for which, at, value in draw(
        st.lists(st.tuples(st.booleans(), st.integers(0, 600), st.integers(0, 255)), max_size=6)
    ):
        target = octets[which]
        where = at % len(target)
        if not which or where < 18 or where >= 18 + len(dns.name.from_text(zone).to_wire() or b""):
            target[where] = value
    cut = draw(st.integers(0, 40))
    return bytes(octets[0][: max(4, len(key) - cut)]), bytes(octets[1]) + draw(st.binary(max_size=3)), zone, rrset


@given(mutated(), st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
@example(SEEDS[0], datetime(2004, 5, 1, tzinfo=UTC))
def test_whatever_octets_come_in_the_answer_is_a_value(
    seed: tuple[bytes, bytes, str, dns.rrset.RRset], now: datetime
) -> None:
    """SEC-29, SEC-60: changed keys and signatures are broken or good, also as anchors, and never an exception."""
    wire, signature, zone, rrset = seed
    key = dnskey(wire)
    rrsig = dns.rdata.from_wire("IN", "RRSIG", signature, 0, len(signature))
    assert isinstance(rrsig, RRSIG)
    name = dns.name.from_text(zone)
    assert isinstance(check(rrset, [rrsig], [key], zone=name, now=now), (Verified, Broken))
    fitting = cast(RRSIG, rrsig.replace(key_tag=key_tag(key), algorithm=key.algorithm))
    assert isinstance(check(rrset, [fitting], [key], zone=name, now=now), (Verified, Broken))
    keys = dns.rrset.from_rdata_list(name, 60, [key])
    signed = SignedSet(keys, (cast(RRSIG, fitting.replace(type_covered=dns.rdatatype.DNSKEY)),))
    outcome = trusted_keys(name, signed, [ds_of(key, zone=name)], now, Rules(), Budget())
    assert outcome is None or isinstance(outcome, Broken)
