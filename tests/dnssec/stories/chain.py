"""The chain of trust: from a secure zone through DS records to the keys of the zone below."""

from collections.abc import Callable
from typing import cast

import dns.name
import dns.rdtypes.ANY.DS

from tests.dnssec.harm import ds as change_ds
from tests.dnssec.keys import ENTRY_POINT, FOREIGN, REVOKED, ZONE_KEY, Key
from tests.dnssec.rekeying import add_key, own, put_ds, rekey, rsa_key
from tests.dnssec.scenes import MAIL, Prepare, Scene, World, tree
from tests.dnssec.tampering import borrow, harm, in_answer, only, signed_with
from tests.dnssec.zones import Denial, Tree, Zone

MX, DS, KEYS = "example MX", "example DS", "example DNSKEY"
KEY = own(2)
UNKNOWN = 200


def _ds(change: Callable[[dns.rdtypes.ANY.DS.DS], list[object]]) -> Prepare:
    """Let the root have other DS records of the zone, made from the right one."""
    return put_ds(lambda origin: cast(list[dns.rdtypes.ANY.DS.DS], change(KEY.ds(origin))))


def _lone(flags: int, protocol: int = 3) -> Key:
    return own(2, flags=flags, protocol=protocol)


def _algorithm(algorithm: int, *prepare: Prepare) -> Scene:
    return Scene(f"zone_is_signed_with_algorithm_{algorithm}", f"A zone is signed with algorithm {algorithm} alone.",
                 "SEC-08", MX, "secure", tree=tree(*MAIL, algorithm=15 if prepare else algorithm), prepare=prepare,
                 proof=f"signed by example/{algorithm}/")  # fmt: skip


def _digest(digest: int) -> Scene:
    return Scene(f"zone_has_a_digest_of_type_{digest}", f"The only DS record of a zone has digest type {digest}.",
                 "SEC-08 SEC-03", MX, "secure", tree=tree(*MAIL, digests=(digest,)))  # fmt: skip


def _two_algorithms(world: World) -> None:
    """Let the zone have a key of P-256 that signs nothing, and the root DS records of both."""
    other = own(2, 13)
    add_key(other)(world)
    put_ds(lambda origin: [other.ds(origin), KEY.ds(origin)])(world)


STORIES = (
    Scene("child_is_secure_by_its_digest", "The DS record at the root is of the key that signed the zone's keys.",
          "SEC-03 SEC-04", MX, "secure", proof="signed by example/15/"),
    Scene("zones_are_nested_four_deep", "Each of four zones vouches for the next one.", "SEC-03 SEC-04",
          "a.b.c.example MX", "secure", proof="signed by a.b.c.example/15/",
          tree=Tree((Zone(""), Zone("c"), Zone("b.c"), Zone("a.b.c", ("@ MX 10 mx",))))),
    Scene("zone_has_keys_for_keys_and_for_data", "One key signs the keys, and another all else.", "SEC-03 SEC-09", MX,
          "secure", tree=tree(*MAIL, split=True)),
    Scene("ds_has_another_tag", "The DS record has a key tag that no key has.", "SEC-03", MX, "bogus",
          "no key of example that a DS record or trust anchor names is there", 9,
          hurts=(harm("DS with another tag", "DS"),)),
    Scene("ds_has_another_algorithm", "The DS record names an algorithm that is not that of the key.", "SEC-03", MX,
          "bogus", "no key of example that a DS record or trust anchor names is there", 9,
          prepare=(_ds(lambda good: [good.replace(algorithm=13)]),)),
    Scene("ds_has_another_digest", "The digest in the DS record is not that of the key.", "SEC-03", MX, "bogus",
          "no key of example that a DS record or trust anchor names is there", 9,
          hurts=(harm("DS with another digest", "DS"),)),
    Scene("ds_is_of_a_foreign_key", "The DS record is of a key that the zone does not have.", "SEC-03", MX, "bogus",
          "no key of example that a DS record or trust anchor names is there", 9, hurts=(harm("wrong DS", "DS"),)),
    Scene("keys_are_those_of_a_stranger", "The keys of the zone are replaced by one that signed itself.", "SEC-03", MX,
          "bogus", "no key of example that a DS record or trust anchor names is there", 9,
          hurts=(harm("wrong keys", "DNSKEY", ""),)),
    Scene("ds_key_did_not_sign_the_keys", "The zone's other key signed the keys, and not that of the DS record.",
          "SEC-03", MX, "bogus", "RRSIG over example DNSKEY", 9, tree=tree(*MAIL, split=True),
          hurts=(harm("other key of the zone", "DNSKEY", ""),)),
    Scene("key_was_added_on_the_way", "A key is put into the set, which its signature does not cover.", "SEC-03 SEC-30",
          MX, "bogus", "RRSIG over example DNSKEY", 6, hurts=(harm("added record", "DNSKEY", ""),)),
    Scene("ds_is_signed_by_the_child", "The DS record is signed with the key that it names, in the child's name.",
          "SEC-04 SEC-24", MX, "bogus", "RRSIG over example DS", 10,
          hurts=(harm(signed_with(KEY, signer=dns.name.from_text("example")), "DS"),)),
    Scene("ds_signature_is_altered", "The signature over the DS record is altered.", "SEC-04", MX, "bogus",
          "RRSIG over example DS", 6, hurts=(harm("altered signature", "DS"),)),
    Scene("ds_has_no_signature", "The DS record comes without a signature.", "SEC-04 SEC-21", MX, "bogus",
          "RRSIG over example DS is missing", 10, hurts=(harm("no signature", "DS"),)),
    Scene("ds_signature_has_expired", "The signature over the DS record has expired.", "SEC-04 SEC-26", MX, "bogus",
          "expired 2026-11-19T12:00Z", 7, hurts=(harm("expired", "DS"),)),
    Scene("ds_of_unknown_algorithm_alone", "The only DS record is of an algorithm that nobody knows.", "SEC-05", MX,
          "insecure", "no DS record of example is of an algorithm and digest that are supported",
          hurts=(harm("DS of unknown algorithm", "DS"),)),
    Scene("ds_of_unknown_digest_alone", "The only DS record has a digest of a type that nobody knows.", "SEC-05", MX,
          "insecure", "no DS record of example is of an algorithm and digest that are supported",
          hurts=(harm("DS of unknown digest", "DS"),)),
    Scene("unknown_ds_records_of_both_kinds", "One DS record is of an unknown algorithm, one has an unknown digest.",
          "SEC-05", MX, "insecure", "no DS record of example is of an algorithm and digest that are supported",
          prepare=(_ds(lambda good: [good.replace(algorithm=UNKNOWN), good.replace(digest_type=UNKNOWN)]),)),
    Scene("unsigned_ds_of_unknown_algorithm", "A DS record of an unknown algorithm, which the parent has not signed.",
          "SEC-04 SEC-05", MX, "bogus", "RRSIG over example DS is missing", 10,
          hurts=(harm("DS of unknown algorithm", "DS"), harm("no signature", "DS"))),
    Scene("forged_ds_of_unknown_algorithm", "The algorithm in a DS record is altered on the way.", "SEC-04 SEC-05", MX,
          "bogus", "RRSIG over example DS", 6,
          hurts=(harm(lambda one: one.put([one.rrset[0].replace(algorithm=UNKNOWN)]), "DS"),)),
    Scene("unknown_ds_beside_a_good_one", "Two DS records, one of an unknown algorithm: the other one counts.", "SEC-06",
          MX, "secure", prepare=(_ds(lambda good: [good.replace(algorithm=UNKNOWN), good]),)),
    Scene("unknown_ds_beside_a_broken_chain", "Two DS records, one unknown; keys that fit the other are badly signed.",
          "SEC-06", MX, "bogus", "RRSIG over example DNSKEY", 6,
          prepare=(_ds(lambda good: [good.replace(algorithm=UNKNOWN), good]),),
          hurts=(harm("altered signature", "DNSKEY", ""),)),
    Scene("unknown_digest_beside_a_wrong_one", "Two DS records, one of unknown digest: the other one fits no key.",
          "SEC-06", MX, "bogus", "no key of example that a DS record or trust anchor names is there", 9,
          hurts=(harm(lambda one: change_ds(one, lambda good, other: [good[0].replace(digest_type=99), other]), "DS"),)),
    Scene("sha1_is_ignored_beside_sha256", "The SHA-1 digest fits the key, and the SHA-256 digest does not.", "SEC-07",
          MX, "bogus", "no key of example that a DS record or trust anchor names is there", 9,
          tree=tree(*MAIL, digests=(1, 2)), hurts=(harm("wrong DS of SHA-256", "DS"),)),
    Scene("wrong_sha1_beside_sha256", "The SHA-256 digest fits the key, and the SHA-1 digest does not.", "SEC-07", MX,
          "secure", prepare=(_ds(lambda good: [good, good.replace(digest_type=1, digest=bytes(20))]),)),
    _digest(1), _digest(2), _digest(4),
    _algorithm(5, rekey(rsa_key(5, 2))), _algorithm(7, rekey(rsa_key(7, 2))), _algorithm(8, rekey(rsa_key(8, 2))),
    _algorithm(10, rekey(rsa_key(10, 2))), _algorithm(13), _algorithm(14), _algorithm(15), _algorithm(16),
    Scene("algorithm_is_switched_off", "The rules name only algorithm 13, and the zone is signed with 15.",
          "SEC-08 SEC-05", MX, "insecure", "no DS record of example is of an algorithm", rules="algorithms=13"),
    Scene("digest_is_switched_off", "The rules do not name SHA-1, and the only DS record has it.", "SEC-08 SEC-05", MX,
          "insecure", "no DS record of example is of an algorithm", rules="digests=2,4",
          tree=tree(*MAIL, digests=(1,))),
    Scene("key_of_another_protocol", "The key that the DS record names has protocol 4.", "SEC-09 SEC-03", MX, "bogus",
          "is revoked, or not for signing zones", 11, prepare=(rekey(_lone(ZONE_KEY | ENTRY_POINT, 4)),)),
    Scene("key_without_zone_bit", "The key that the DS record names is not for signing zones.", "SEC-09 SEC-03", MX,
          "bogus", "is revoked, or not for signing zones", 11, prepare=(rekey(_lone(ENTRY_POINT)),)),
    Scene("key_without_entry_point_bit", "The only key has no SEP bit, which is no matter.", "SEC-09", MX, "secure",
          prepare=(rekey(_lone(ZONE_KEY)),)),
    Scene("data_key_has_the_entry_point_bit", "The key that signs the data has the SEP bit, which is no matter.",
          "SEC-09", MX, "secure", prepare=(rekey(_lone(ZONE_KEY), own(3)),)),
    Scene("key_of_the_digest_is_revoked", "The DS record names a key that is revoked.", "SEC-10", MX, "bogus",
          "is revoked, or not for signing zones", 11, prepare=(rekey(_lone(ZONE_KEY | ENTRY_POINT | REVOKED)),)),
    Scene("revoked_key_beside_a_good_one", "One of two keys with DS records is revoked.", "SEC-10 SEC-12", MX, "secure",
          prepare=(add_key(own(FOREIGN, flags=385)),
                   put_ds(lambda origin: [own(FOREIGN, flags=385).ds(origin), KEY.ds(origin)]))),
    Scene("one_of_two_algorithms_signs", "DS records and keys are of two algorithms, and one of them signs.", "SEC-12",
          MX, "secure", prepare=(_two_algorithms,)),
    Scene("ds_of_an_algorithm_without_key", "DS records are of two algorithms, and the zone has a key of one.",
          "SEC-12", MX, "secure", prepare=(put_ds(lambda origin: [own(2, 13).ds(origin), KEY.ds(origin)]),)),
    Scene("standby_key_has_a_digest", "The parent has DS records of two keys, and one of them is in use.", "SEC-12", MX,
          "secure", prepare=(put_ds(lambda origin: [own(FOREIGN).ds(origin), KEY.ds(origin)]),)),
    Scene("keys_signed_by_both_of_two_keys", "Keys and their signatures are of two algorithms in the midst of a change.",
          "SEC-11 SEC-12", MX, "secure", prepare=(add_key(own(2, 13)),),
          hurts=(harm(signed_with(own(2, 13), beside=True), "DNSKEY", ""),)),
    Scene("ds_is_denied_by_the_child", "The zone itself says that it has no DS records.", "SEC-14 SEC-86", MX, "bogus",
          "nothing proves that example has no DS records", 12, hurts=(only(DS, borrow("example TXT"), borrow("example TXT", "answer")),)),
    Scene("ds_is_left_out", "The DS records are left out, and nothing denies them.", "SEC-14 SEC-21", MX, "bogus",
          "nothing proves that example has no DS records", 12, hurts=(harm("lost set", "DS"),)),
    Scene("ds_is_left_out_with_nsec3", "The DS records are left out below a zone with NSEC3.", "SEC-14 SEC-21",
          "s.example MX", "bogus", "nothing proves that s.example has no DS records", 12,
          tree=Tree((Zone("", denial=Denial(nsec3=True)), Zone("s", MAIL))),
          hurts=(harm("lost set", "DS", ""), harm("lost set", "DS", "s"))),
    Scene("ds_is_not_answered", "There is no response for the DS records.", "SEC-21 SEC-14", MX, "indeterminate",
          "example/DS: no response", 5, failure="timeout", silent=(DS,)),
    Scene("ds_is_a_server_failure", "The question for DS records ends in SERVFAIL.", "SEC-21", MX, "indeterminate",
          "example/DS: answered SERVFAIL", 5, failure="servfail", hurts=(in_answer("server failure", DS),)),
    Scene("ds_is_refused", "The question for DS records is refused.", "SEC-21", MX, "indeterminate",
          "example/DS: answered REFUSED", 5, failure="refused", hurts=(in_answer("refused", DS),)),
    Scene("keys_are_left_out", "The keys of a zone with DS records are left out.", "SEC-21", MX, "bogus",
          "example/DNSKEY is missing", 9, hurts=(harm("lost set", "DNSKEY", ""),)),
    Scene("keys_have_no_signature", "The keys of a zone with DS records are not signed.", "SEC-21 SEC-03", MX, "bogus",
          "RRSIG over example DNSKEY is missing", 10, hurts=(harm("no signature", "DNSKEY", ""),)),
    Scene("keys_are_not_answered", "There is no response with the keys of the zone.", "SEC-21", MX, "indeterminate",
          "example/DNSKEY: no response", 5, failure="timeout", silent=(KEYS,)),
    Scene("keys_do_not_exist_it_is_said", "The question for the keys of a zone with DS records is answered NXDOMAIN.",
          "SEC-21", MX, "bogus", "example/DNSKEY is missing", 9,
          hurts=(only(KEYS, harm("lost set", "DNSKEY")), in_answer("says NXDOMAIN", KEYS))),
    Scene("keys_signature_has_expired", "The signature over the keys has expired.", "SEC-03 SEC-26", MX, "bogus",
          "RRSIG over example DNSKEY", 7, hurts=(harm("expired", "DNSKEY", ""),)),
    Scene("one_more_key_of_the_same_tag", "Another key of the zone has the tag of the one that signs.", "SEC-28 SEC-62",
          MX, "secure", hurts=(harm("one more key of the same tag", "DNSKEY", ""),)),
    Scene("ds_records_come_from_a_wildcard", "The DS records are made from a wildcard.", "SEC-04 SEC-32",
          "s.example MX", "bogus", "come from a wildcard", 12, tree=Tree((Zone(""), Zone("s", MAIL))),
          hurts=(harm("fewer labels", "DS", "", "s.example DS"),)),
)  # fmt: skip
