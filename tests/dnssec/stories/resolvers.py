"""What resolvers do to answers: errors, lost DNSSEC records, foreign records, and what they say of security themselves."""

import dns.message
import dns.rrset

from tests.dnssec.scenes import MAIL, Hurt, Scene, World, tree
from tests.dnssec.tampering import authentic, borrow, everywhere, extended, harm, in_answer, only, rcode
from tests.dnssec.zones import Tree, Zone

MX, TLSA = "example MX", "_25._tcp.mx.example TLSA"
UNSIGNED = Tree((Zone(""), Zone("u", MAIL, signed=False)))


def _refused(name: str, story: str, code: str, failure: str) -> Scene:
    """Tell of an answer that is nothing but an RCODE."""
    return Scene(name, story, "SEC-87 SEC-21", MX, "indeterminate", f"example/MX: answered {failure.upper()}", 5,
                 failure=failure, hurts=(in_answer(rcode(code), MX),))  # fmt: skip


def _foreign(*records: str, section: str = "answer") -> Hurt:
    """Add unsigned records that nobody asked for."""

    def hurt(world: World, message: dns.message.Message) -> None:
        del world
        made = (record.split(None, 2) for record in records)
        getattr(message, section).extend(dns.rrset.from_text(name, 300, "IN", *rest) for name, *rest in made)

    return hurt


STORIES = (
    Scene("answer_without_ad", "The resolver does not set AD, and all signatures are good.", "SEC-33 SEC-74 SEC-75", MX,
          "secure"),
    Scene("answer_with_ad_for_an_unsigned_zone", "The resolver sets AD with an answer of a zone that is not signed.",
          "SEC-33", "u.example MX", "insecure", "is delegated without DS records", tree=UNSIGNED,
          hurts=(in_answer(authentic, "u.example MX"),)),
    Scene("resolver_strips_all_signatures", "The resolver passes no DNSSEC records at all.", "SEC-21 SEC-87", MX, "bogus",
          "RRSIG over . DNSKEY is missing", 10, hurts=(everywhere("no DNSSEC records"),)),
    Scene("resolver_strips_signatures_below_the_root", "The resolver passes DNSSEC records of the root alone.",
          "SEC-21 SEC-87", MX, "bogus", "RRSIG over example DS is missing", 10,
          hurts=(in_answer("no DNSSEC records", MX), in_answer("no DNSSEC records", "example DS"),
                 in_answer("no DNSSEC records", "example DNSKEY"))),
    Scene("resolver_strips_proofs_of_an_unsigned_zone", "Without the denial of DS even an unsigned zone is not insecure.",
          "SEC-21 SEC-87", "u.example MX", "bogus", "nothing proves that u.example has no DS records", 12, tree=UNSIGNED,
          hurts=(in_answer("no DNSSEC records", "u.example DS"),)),
    Scene("resolver_answers_nothing_to_ds", "The resolver does not know DS, and answers it empty.", "SEC-14 SEC-87", MX,
          "bogus", "nothing proves that example has no DS records", 12, hurts=(in_answer("empty", "example DS"),)),
    Scene("resolver_says_ds_does_not_exist", "The resolver answers NXDOMAIN to DS, without proof.", "SEC-14 SEC-87", MX,
          "bogus", "nothing proves that example has no DS records", 12,
          hurts=(in_answer("empty", "example DS"), in_answer("says NXDOMAIN", "example DS"))),
    Scene("resolver_does_not_know_ds", "The resolver answers NOTIMP to DS.", "SEC-87 SEC-21", MX, "indeterminate",
          "example/DS: answered NOTIMP", 5, failure="notimp", hurts=(in_answer(rcode("NOTIMP"), "example DS"),)),
    Scene("resolver_does_not_know_edns", "The resolver answers FORMERR to what has an OPT record, for DS of an unsigned zone.",
          "SEC-87", "u.example MX", "indeterminate", "u.example/DS: answered FORMERR", 5, failure="formerr",
          tree=UNSIGNED, hurts=(in_answer(rcode("FORMERR"), "u.example DS"),)),
    _refused("answer_is_a_server_failure", "The answer is SERVFAIL.", "SERVFAIL", "servfail"),
    _refused("answer_is_refused", "The answer is REFUSED.", "REFUSED", "refused"),
    _refused("answer_is_a_format_error", "The answer is FORMERR.", "FORMERR", "formerr"),
    _refused("answer_is_not_implemented", "The answer is NOTIMP.", "NOTIMP", "notimp"),
    _refused("answer_has_another_code", "The answer has an RCODE that means nothing here.", "NOTZONE", "malformed"),
    Scene("nothing_answers", "There is no response at all.", "SEC-21", MX, "indeterminate", "example/MX: no response", 5,
          failure="timeout", silent=(MX,)),
    Scene("extended_error_beside_good_records", "The resolver tells of a bogus answer, and all signatures are good.",
          "SEC-79", MX, "secure", hurts=(in_answer(extended(6, "DNSSEC Bogus"), MX),)),
    Scene("extended_error_of_expiry_beside_good_records", "The resolver tells of an expired signature that is none.",
          "SEC-79 SEC-26", MX, "secure", hurts=(in_answer(extended(7, "expired"), MX),)),
    Scene("extended_error_of_algorithm_beside_a_broken_one", "EDE 1 with a broken signature makes nothing insecure.",
          "SEC-79", MX, "bogus", "RRSIG over example MX", 6,
          hurts=(harm("altered signature", "MX"), in_answer(extended(1, "unsupported algorithm"), MX))),
    Scene("extended_error_of_a_server_failure", "SERVFAIL with EDE 22 is an error, and not insecure.", "SEC-79", MX,
          "indeterminate", "answered SERVFAIL", 5, failure="servfail",
          hurts=(in_answer("server failure", MX), in_answer(extended(22, "no reachable authority"), MX))),
    Scene("extended_error_of_a_server_failure_for_ds", "SERVFAIL with EDE 9 for DS is an error, and not bogus.",
          "SEC-79 SEC-21", MX, "indeterminate", "example/DS: answered SERVFAIL", 5, failure="servfail",
          hurts=(in_answer("server failure", "example DS"), in_answer(extended(9, "no keys"), "example DS"))),
    Scene("resolver_blocks_the_name", "The resolver changes the answer by its own policy, and says so (EDE 15).", "SEC-79",
          MX, "indeterminate", "answered BLOCKED", 5, failure="blocked", hurts=(in_answer(extended(15, "blocked"), MX),)),
    Scene("stale_answer_is_judged_like_others", "The resolver gives a stale answer and says so (EDE 3).", "SEC-79", MX,
          "secure", hurts=(in_answer(extended(3, "stale"), MX),)),
    Scene("foreign_records_in_the_answer", "The answer brings records of other names, which are not looked at.", "SEC-83",
          MX, "secure", hurts=(_foreign("mx.example. A 192.0.2.66", "evil. A 192.0.2.66"),)),
    Scene("foreign_records_in_the_authority", "The authority section brings records of other zones.", "SEC-83", MX,
          "secure", hurts=(_foreign("evil. NS ns.evil.", section="authority"),)),
    Scene("answer_is_for_another_name", "The answer has records of another name alone, well signed.", "SEC-83", TLSA,
          "bogus", "nothing proves that _25._tcp.mx.example/TLSA has no such record", 12,
          tree=tree(*MAIL, f"_25._tcp.mx2 TLSA 3 1 1 {'cd' * 32}"),
          hurts=(only(TLSA, borrow("_25._tcp.mx2.example TLSA", "answer")),)),
    Scene("answer_is_of_another_type", "The answer has records of the name, and of another type.", "SEC-83", "mx.example TXT",
          "bogus", "nothing proves that mx.example/TXT has no such record", 12,
          hurts=(in_answer("no proofs", "mx.example TXT"), _foreign("mx.example. A 192.0.2.66"))),
    Scene("unsigned_records_beside_a_denial", "A proof of no such name comes with unsigned records of the name.",
          "SEC-83 SEC-21", "n.example A", "bogus", "RRSIG over n.example/A is missing", 10,
          hurts=(in_answer("says NOERROR", "n.example A"), only("n.example A", _foreign("n.example. A 192.0.2.66")))),
    Scene("records_come_with_nxdomain", "The answer is NXDOMAIN, and yet has the records, well signed.", "SEC-21 SEC-36",
          MX, "indeterminate", "NXDOMAIN, and yet there are records", failure="malformed",
          hurts=(in_answer("says NXDOMAIN", MX),)),
    Scene("digest_comes_with_nxdomain", "The answer for DS is NXDOMAIN, and yet has the records, well signed.",
          "SEC-21 SEC-14", MX, "indeterminate", "example/DS: NXDOMAIN, and yet there are records", 5, failure="malformed",
          hurts=(in_answer("says NXDOMAIN", "example DS"),)),
    Scene("keys_of_another_zone_in_the_answer", "The answer for keys brings those of another zone.", "SEC-83 SEC-03", MX,
          "secure", hurts=(_foreign("other. DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="),)),
)  # fmt: skip
