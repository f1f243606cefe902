"""Trust anchors: files as people and programs write them, and which anchor stands above which name."""

from dataclasses import replace
from datetime import timedelta

import dns.name
import pytest

from delivery.dnssec.anchors import ROOT, Anchors, check_anchors
from delivery.dnssec.limits import Rules
from delivery.dnssec.signatures import digest
from tests.delivery.dnssec.signing import NOW

# The root's key of 2017 as unbound-anchor keeps it.
KEY = (
    "AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq7HrxRixHlFlExOLAJr5emLvN7SWXgnLh4+B5xQlNVz8Og8kv"
    "ArMtNROxVQuCaSnIDdD5LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwVN8efS3rCj/EWgvIWgb9tarpVUDK/b58Da+sqqls3eNbuv7pr+e"
    "oZG+SrDK6nWeL3c6H5Apxz7LjVc1uTIdsIXxuOLYA4/ilBmSVIzuDWfdRUfhHdY6+cn8HFRm+2hM8AnXGXws9555KrUB5qihylGa8subX2Nn6UwN"
    "R1AkUTV74bU="
)
DS = "20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"


def name(text: str) -> dns.name.Name:
    """Make an absolute name."""
    return dns.name.from_text(text)


def test_the_root_has_both_published_keys() -> None:
    """SEC-01: KSK-2017 and KSK-2024, and the digest of the former is that of its published key."""
    (anchor,) = ROOT.closest(name("mx.example.com"))
    assert [(one.key_tag, one.algorithm, one.digest_type) for one in anchor.ds] == [(20326, 8, 2), (38696, 8, 2)]
    (key,) = Anchors.parse(f". IN DNSKEY 257 3 8 {KEY}").zones[dns.name.root].keys
    assert digest(dns.name.root, key, 2) == anchor.ds[0].digest


@pytest.mark.parametrize(
    "text",
    [
        f". IN DS {DS}",
        f". 172800 IN DS {DS} ; a comment",
        f"; first\n\n.\tIN\t86400 ds {DS.lower()}\n",
        f". DS {DS}",
        ". IN DS ( 20326 8 2 ; tag\n  E06D44B80B8F1D39A95C0B0D7C65D08458E88040\n\n 9BBC683457104237C7F8EC8D )",
    ],
    ids=["plain", "TTL and comment", "TTL after class, tabs", "without class", "over several lines"],
)
def test_records_are_read_as_zone_files_write_them(text: str) -> None:
    """SEC-01: the same anchor in each of its spellings."""
    (anchor,) = Anchors.parse(text).zones.values()
    assert (anchor.zone, [str(one).upper() for one in anchor.ds]) == (dns.name.root, [DS])


def test_records_and_keys_of_several_zones_may_stand_in_one_file() -> None:
    """SEC-01: several anchors, of several zones and both kinds, with or without the last dot."""
    anchors = Anchors.parse(f"test DS {DS}\n. DNSKEY 257 3 8 {KEY}\nTest. DS {DS.replace('20326', '1')}\n")
    assert [one.key_tag for one in anchors.zones[name("test")].ds] == [20326, 1]
    assert len(anchors.zones[dns.name.root].keys) == 1


@pytest.mark.parametrize(("state", "believed"), [(1, False), (2, True), (3, True), (4, False), (5, False)])
def test_a_key_in_its_hold_down_time_is_not_believed(state: int, believed: bool) -> None:  # noqa: FBT001
    """RFC 5011 section 4.2: of the file that unbound-anchor keeps, valid and missing keys are anchors, others are not."""
    text = f". IN DS {DS}\n. 86400 IN DNSKEY 257 3 8 {KEY} ;{{id = 20326 (ksk)}} ;;state={state} [ X ] ;;count=0"
    assert len(Anchors.parse(text).zones[dns.name.root].keys) == believed


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (". IN A 192.0.2.1", "line 2: expected a record like"),
        (".", "line 2: expected a record like"),
        (". IN DS 20326 8 2", "line 2: .*; expected a record like"),
        (". IN DS 20326 8 2 ABCD", "line 2: .*digest length.*; expected a record like"),
        (". IN DNSKEY 257 3 8 A=A", "line 2: .*; expected a record like"),
        (f"a..b IN DS {DS}", "line 2: .*; expected a record like"),
        (f". IN DS 20326 12 {DS[8:]}", r"line 2: algorithm 12 is not supported; supported: \[5, 7, 8"),
        (". IN DS 20326 8 99 ABCD", r"line 2: digest type 99 is not supported; supported: \[1, 2, 4\]"),
        (f". IN DNSKEY 385 3 8 {KEY}", "line 2: a key with these flags.*expected flags 257 or 256"),
        (f". IN DNSKEY 1 3 8 {KEY}", "line 2: a key with these flags"),
        (f". IN DNSKEY 257 4 8 {KEY}", "line 2: a key with these flags"),
        (f". IN DS ( {DS}\n", "line 2: a parenthesis is not closed"),
    ],
)
def test_an_anchor_that_could_never_serve_is_refused(line: str, text: str) -> None:
    """SEC-01, SEC-02, SEC-09, SEC-10: the line is named, and what would be right; a zone is not left insecure by a typing error."""
    with pytest.raises(ValueError, match=f"^trust anchors, {text}"):
        Anchors.parse(f"; anchors\n{line}")


def test_an_anchor_of_a_disabled_algorithm_is_refused() -> None:
    """SEC-08: the rules in force decide what could serve."""
    with pytest.raises(ValueError, match=r"algorithm 8 is not supported; supported: \[13\]"):
        Anchors.parse(f". DS {DS}", Rules(algorithms=frozenset({13})))


def test_a_file_without_anchors_is_refused() -> None:
    """SEC-01: there must be one."""
    with pytest.raises(ValueError, match="there is no record; expected a record like"):
        Anchors.parse("; nothing\n\n")


@pytest.mark.parametrize(
    ("line", "rules", "why"),
    [
        pytest.param(f"test. DS {DS}", Rules(digests=frozenset({4})), "digest type 2 is not supported", id="a digest"),
        pytest.param(f"test. DNSKEY 257 3 8 {KEY}", Rules(algorithms=frozenset({13})), "algorithm 8", id="a key"),
    ],
)
def test_an_anchor_that_other_rules_cannot_use_is_refused(line: str, rules: Rules, why: str) -> None:
    """SEC-01, SEC-08: what was read by some rules is held against the rules in force; the zone is named, and what is wrong."""
    anchors = Anchors.parse(line)
    check_anchors(anchors, Rules())
    with pytest.raises(ValueError, match=f"the trust anchor of test. cannot be used: {why}"):
        check_anchors(anchors, rules)


def test_the_closest_anchor_comes_first() -> None:
    """SEC-19, SEC-20: all anchors at or above a name, in any case of letters, and none beside it."""
    anchors = Anchors.parse("".join(f"{zone} DS {DS}\n" for zone in (".", "test.", "s.test.", "other.")))
    assert [anchor.zone.to_text() for anchor in anchors.closest(name("MX.S.Test"))] == ["s.test.", "test.", "."]
    assert [anchor.zone.to_text() for anchor in anchors.closest(name("test"))] == ["test.", "."]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("b.test", "b.test."),
        ("mx.B.test", "b.test."),
        ("test", None),
        ("xb.test", None),
        ("mx.old.test", None),
        ("island.b.test", None),
        ("mx.island.b.test", None),
    ],
)
def test_below_a_negative_anchor_nothing_is_validated_until_it_ends(asked: str, expected: str | None) -> None:
    """SEC-22: at and below its name, until its end, and not below an anchor that is closer to the name."""
    anchors = replace(
        Anchors.parse(f". DS {DS}\nisland.b.test. DS {DS}"),
        negative={name("b.test"): NOW + timedelta(seconds=1), name("old.test"): NOW},
    )
    assert anchors.negative_for(name(asked), NOW) == (name(expected) if expected else None)


def test_a_negative_anchor_needs_no_anchor_above() -> None:
    """SEC-22: without an anchor on the way up there is simply none in force."""
    anchors = Anchors.parse(f"test. DS {DS}")
    assert anchors.negative_for(name("example.com"), NOW) is None


def test_negative_anchors_in_force_are_listed_by_name() -> None:
    """SEC-22: an operator is told of each, in lower case and with its end; one that has ended is in force no more."""
    until = NOW + timedelta(seconds=1)
    anchors = replace(Anchors.parse(f". DS {DS}"), negative={name("B.test"): until, name("old.test"): NOW})
    assert anchors.in_force(NOW) == {"b.test": until}
