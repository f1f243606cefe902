"""Signatures over record sets: which ones count, until when, and what breaks them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import dns.name
from dns.rdatatype import RRSIG, A

from tests.dnssec.harm import Patient, field, signed_at
from tests.dnssec.keys import FOREIGN, REVOKED, ZONE_KEY
from tests.dnssec.rekeying import add_key, own
from tests.dnssec.scenes import MAIL, PLAIN, Scene, tree
from tests.dnssec.tampering import again, authentic, harm, in_answer, put, signed_with
from tests.dnssec.zones import DAY, NOW, Tree, Zone, record_set

TLSA_AT = "_25._tcp.mx.example TLSA"
OVER = "RRSIG over _25._tcp.mx.example TLSA"
MX = "example MX"
CHILD = Tree((Zone("", ("@ MX 10 mx",)), Zone("s", MAIL)))
WRAP = datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC)  # 2^32 seconds of the epoch
_AT = int(WRAP.timestamp())


def _on_tlsa(name: str, story: str, requires: str, what: object, why: str, ede: int) -> Scene:
    """Tell of TLSA records that are bogus."""
    return Scene(name, story, requires, TLSA_AT, "bogus", why, ede, hurts=(harm(what, "TLSA"),))  # type: ignore[arg-type]


def _signed_at(inception: int, expiration: int) -> partial[None]:
    return partial(signed_at, inception=inception, expiration=expiration)


def _timed(name: str, story: str, what: partial[None], rules: str, why: str = "", ede: int | None = None) -> Scene:
    """Tell of a signature with other times, and a tolerance."""
    status = "bogus" if why else "secure"
    return Scene(name, story, "SEC-26 SEC-27", TLSA_AT, status, why, ede, rules=rules, hurts=(harm(what, "TLSA"),))


def _elsewhere(patient: Patient) -> None:
    """Move the signature to the name above."""
    assert patient.signatures is not None
    patient.signatures.name = patient.rrset.name.parent()


def _of_another_type(patient: Patient) -> None:
    old = patient.signatures
    assert old is not None
    patient.drop(old)
    patient.section.append(record_set(old.name, RRSIG, [one.replace(type_covered=A) for one in old], A))


STORIES = (
    Scene("record_set_is_signed", "TLSA records are signed by the zone, whose chain is whole.", "SEC-23 SEC-24 SEC-25",
          TLSA_AT, "secure", proof="signed by example/15/"),
    _on_tlsa("signature_over_tlsa_is_missing", "Someone strips the signature over TLSA records.", "SEC-21",
             "no signature", "RRSIG over _25._tcp.mx.example/TLSA is missing", 10),
    Scene("signature_over_mx_is_missing", "Someone strips the signature over MX records.", "SEC-21", MX, "bogus",
          "RRSIG over example/MX is missing", 10, hurts=(harm("no signature", "MX"),)),
    Scene("signature_over_addresses_is_missing", "Someone strips the signature over A records.", "SEC-21",
          "mx.example A", "bogus", "RRSIG over mx.example/A is missing", 10, hurts=(harm("no signature", "A"),)),
    Scene("one_bad_and_one_good_signature", "Of two signatures by one key the first is broken.", "SEC-11", TLSA_AT,
          "secure", hurts=(harm("bad and good signature", "TLSA"),)),
    Scene("unknown_and_good_signature", "One signature is of an algorithm that nobody knows.", "SEC-11 SEC-13", TLSA_AT,
          "secure", hurts=(harm("unknown and good signature", "TLSA"),)),
    Scene("foreign_and_good_signature", "One signature is by a key that the zone does not have.", "SEC-13", TLSA_AT,
          "secure", hurts=(harm("foreign and good signature", "TLSA"),)),
    Scene("signature_of_an_absent_algorithm", "One signature is of an algorithm that no key of the zone has.", "SEC-13",
          TLSA_AT, "secure", hurts=(harm(signed_with(own(2, 13), beside=True), "TLSA"),)),
    Scene("all_signatures_are_broken", "Neither of two signatures fits.", "SEC-11", TLSA_AT, "bogus", OVER, 6,
          hurts=(harm("foreign and good signature", "TLSA"), harm("altered signature", "TLSA"))),
    Scene("expired_beside_a_good_one", "An expired signature stands beside one that holds.", "SEC-11 SEC-26", TLSA_AT,
          "secure", hurts=(harm(signed_with(own(2), beside=True, expiration=1), "TLSA"),)),
    _on_tlsa("signature_covers_another_type", "The signature says that it covers A records.", "SEC-23",
             _of_another_type, "RRSIG over _25._tcp.mx.example/TLSA is missing", 10),
    _on_tlsa("signature_has_another_owner", "The signature stands at the name above.", "SEC-23", _elsewhere,
             "RRSIG over _25._tcp.mx.example/TLSA is missing", 10),
    _on_tlsa("signature_is_that_of_other_records", "The signature is one of the zone over other records.", "SEC-23",
             "signature of another set", OVER, 6),
    _on_tlsa("signature_is_altered", "One bit of the signature is changed.", "SEC-11", "altered signature",
             f"{OVER} by example/15/", 6),
    _on_tlsa("signature_is_too_short", "The signature is one octet.", "SEC-11", "short signature", OVER, 6),
    _on_tlsa("signed_by_a_foreign_key", "A key that the zone does not have has signed the records.", "SEC-03 SEC-13",
             "foreign key", "is by a key that the zone does not have", 9),
    _on_tlsa("signed_by_a_foreign_key_of_the_same_tag", "A foreign key has signed, under the tag of the zone's key.",
             "SEC-28", "foreign key of the same tag", "does not fit the records", 6),
    _on_tlsa("signature_of_an_unknown_algorithm_alone", "The only signature is of an unknown algorithm.", "SEC-12 SEC-21",
             "unknown algorithm", "is of an algorithm that is not supported", 10),
    _on_tlsa("signature_of_an_absent_algorithm_alone", "The only signature is of an algorithm without a key.",
             "SEC-13", signed_with(own(2, 13)), "is by a key that the zone does not have", 9),
    Scene("signed_by_a_revoked_key", "The key that signed the records is revoked.", "SEC-10", TLSA_AT, "bogus",
          "is by a key that the zone does not have", 9, prepare=(add_key(own(FOREIGN, flags=ZONE_KEY | REVOKED)),),
          hurts=(harm(signed_with(own(FOREIGN, flags=ZONE_KEY | REVOKED)), "TLSA"),)),
    Scene("signed_by_a_key_without_zone_bit", "The key that signed the records is not for signing zones.", "SEC-09",
          TLSA_AT, "bogus", "is by a key that the zone does not have", 9, prepare=(add_key(own(FOREIGN, flags=0)),),
          hurts=(harm(signed_with(own(FOREIGN, flags=0)), "TLSA"),)),
    Scene("signed_by_a_key_of_another_protocol", "The key that signed the records has protocol 4.", "SEC-09",
          TLSA_AT, "bogus", "is by a key that the zone does not have", 9, prepare=(add_key(own(FOREIGN, flags=256, protocol=4)),),
          hurts=(harm(signed_with(own(FOREIGN, flags=256, protocol=4)), "TLSA"),)),
    Scene("signer_is_below_the_owner", "The zone of the signer lies below the records that it signs.", "SEC-24", MX,
          "bogus", "is not by the zone example", 10, tree=CHILD,
          hurts=(harm(signed_with(own(4), signer=dns.name.from_text("s.example")), "MX"),)),
    Scene("signer_is_the_zone_above", "The zone above, which vouches for the keys of the zone, has signed its records.",
          "SEC-24", "s.example MX", "secure", tree=CHILD, proof="signed by example/15/",
          hurts=(harm("signed by the zone above", "MX", "s"),)),
    Scene("signer_is_no_zone", "The signer is a name of the zone, and not its apex.", "SEC-24", "mx.example A", "bogus",
          "is not by the zone example", 10, hurts=(harm(again(signer=dns.name.from_text("mx.example")), "A"),)),
    _on_tlsa("signer_is_elsewhere", "The signer is a zone of another branch.", "SEC-24", "altered signer",
             "is not by the zone example", 10),
    Scene("signature_has_too_many_labels", "The signature has more labels than the owner's name.", "SEC-25", TLSA_AT,
          "bogus", "has 5 labels, which does not fit the name", 10, hurts=(harm("more labels", "TLSA"),)),
    Scene("signature_has_fewer_labels_than_its_zone", "The signature is of a wildcard above the zone.", "SEC-25 SEC-24",
          TLSA_AT, "bogus", "has 0 labels, which does not fit the name", 10, hurts=(harm(again(labels=0), "TLSA"),)),
    Scene("signature_has_expired", "The signature over TLSA records has expired.", "SEC-26", TLSA_AT, "bogus",
          "expired 2026-11-19T12:00Z", 7, hurts=(harm("expired", "TLSA"),)),
    Scene("signature_is_not_valid_yet", "The signature begins to hold tomorrow.", "SEC-26", TLSA_AT, "bogus",
          "is not valid before 2026-11-21T12:00Z", 8, hurts=(harm("not yet valid", "TLSA"),)),
    Scene("whole_chain_has_expired", "Every signature of the tree has expired.", "SEC-26 SEC-02", TLSA_AT, "bogus",
          "RRSIG over . DNSKEY", 7, now=NOW + timedelta(days=20)),
    Scene("signature_ends_before_it_begins", "The signature expires before its inception.", "SEC-26", TLSA_AT, "bogus",
          "expire", 7, hurts=(harm("ends before it begins", "TLSA"),)),
    Scene("signature_spans_the_end_of_the_count", "Inception is before, and expiration after, the wrap at 2^32 seconds.",
          "SEC-26", TLSA_AT, "secure", now=WRAP + timedelta(seconds=4),
          tree=replace(PLAIN, inception=_AT - DAY, expiration=DAY)),
    Scene("signature_ends_before_the_end_of_the_count", "Expiration is before the wrap at 2^32 seconds, and now after.",
          "SEC-26", TLSA_AT, "bogus", "expired 2106-02-06T", 7, now=WRAP + timedelta(seconds=4),
          tree=replace(PLAIN, inception=_AT - 9 * DAY, expiration=_AT - DAY)),
    Scene("signature_begins_after_the_end_of_the_count", "Inception is after the wrap at 2^32 seconds, and now before.",
          "SEC-26", TLSA_AT, "bogus", "is not valid before 2106-02-08T", 8, now=WRAP - timedelta(seconds=4),
          tree=replace(PLAIN, inception=DAY, expiration=9 * DAY)),
    _timed("expired_within_the_tolerance", "The signature expired 299 seconds ago, and clocks may differ by 300.",
           _signed_at(-DAY, -299), "skew=300"),
    _timed("expired_beyond_the_tolerance", "The signature expired 301 seconds ago, and clocks may differ by 300.",
           _signed_at(-DAY, -301), "skew=300", "expired 2026-11-20T11:54Z", 7),
    _timed("begins_within_the_tolerance", "The signature begins in 299 seconds, and clocks may differ by 300.",
           _signed_at(299, DAY), "skew=300"),
    _timed("begins_beyond_the_tolerance", "The signature begins in 301 seconds, and clocks may differ by 300.",
           _signed_at(301, DAY), "skew=300", "is not valid before 2026-11-20T12:05Z", 8),
    _timed("expired_without_tolerance", "The signature expired a second ago, and clocks may not differ.",
           _signed_at(-DAY, -1), "skew=0", "expired 2026-11-20T11:59Z", 7),
    _timed("expires_at_this_second", "The signature holds to this very second, and clocks may not differ.",
           _signed_at(-DAY, 0), "skew=0"),
    _timed("begins_at_this_second", "The signature begins to hold at this very second, and clocks may not differ.",
           _signed_at(0, DAY), "skew=0"),
    Scene("two_keys_of_one_tag", "Two keys have one tag and algorithm, and the second has signed.", "SEC-28 SEC-62",
          TLSA_AT, "secure", hurts=(harm("one more key of the same tag", "DNSKEY", ""),)),
    _on_tlsa("record_is_altered", "A digest in a TLSA record is altered.", "SEC-30", "altered record", OVER, 6),
    _on_tlsa("record_is_added", "A TLSA record is added.", "SEC-30", "added record", OVER, 6),
    Scene("record_is_dropped", "One of two TLSA records is dropped.", "SEC-30", TLSA_AT, "bogus", OVER, 6,
          tree=tree(*MAIL, f"_25._tcp.mx TLSA 2 1 1 {'cd' * 32}"), hurts=(harm("lost record", "TLSA"),)),
    Scene("mail_exchanger_is_added", "An MX record with a better preference is added.", "SEC-30", MX, "bogus",
          "RRSIG over example MX", 6, hurts=(harm(put("10 mx.example.", "0 mx.evil."), "MX"),)),
    Scene("mail_exchanger_is_replaced", "The target of the MX record is another one.", "SEC-30", MX, "bogus",
          "RRSIG over example MX", 6, hurts=(harm(put("10 mx.evil."), "MX"),)),
    _on_tlsa("original_ttl_is_altered", "The original TTL in the signature is altered.", "SEC-29",
             "altered original TTL", OVER, 6),
    _on_tlsa("key_tag_is_altered", "The key tag in the signature is altered.", "SEC-28", "altered key tag",
             "by example/15/1 is by a key that the zone does not have", 9),
    _on_tlsa("expiration_is_altered", "The expiration of a good signature is moved, which breaks it.", "SEC-26",
             partial(field, expiration=int(NOW.timestamp()) + 90 * DAY), OVER, 6),
    Scene("broken_signature_with_ad", "The resolver sets AD with an answer whose signature is broken.", "SEC-33 SEC-74",
          TLSA_AT, "bogus", OVER, 6, hurts=(harm("altered signature", "TLSA"), in_answer(authentic, TLSA_AT))),
    Scene("unsigned_answer_with_ad", "The resolver sets AD with an answer that has no signature.", "SEC-33 SEC-21",
          TLSA_AT, "bogus", "is missing", 10, hurts=(harm("no signature", "TLSA"), in_answer(authentic, TLSA_AT))),
)  # fmt: skip
