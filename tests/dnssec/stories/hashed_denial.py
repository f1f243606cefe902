"""Denial by NSEC3 records (RFC 5155 section 8): closest enclosers, opt-out, and the number of iterations."""

from functools import partial

import dns.name
from dns.rdatatype import AAAA, CNAME, DNAME, NS, RdataType

from tests.dnssec.harm import Patient, parameters, types
from tests.dnssec.scenes import HASHED, MAIL, Scene, hashed
from tests.dnssec.tampering import by_hash, denial_of, extended, harm, in_answer, lost_hash, made_for, only
from tests.dnssec.zones import Tree, Zone

NONE, NO_NAME, EMPTY, DEEP = "mx.example AAAA", "n.example A", "_tcp.mx.example TLSA", "q.r.mx.example A"
WILD, NO_TXT = "a.w.example A", "a.w.example TXT"
DATA = hashed(*MAIL)
WILDCARD = hashed("*.w A 192.0.2.1")
OPT_OUT = hashed(*MAIL, "*.w A 192.0.2.1", opt_out=True)
NO_TYPE = "nothing proves that mx.example/AAAA has no such record"
NOT_THERE = "nothing proves that n.example/A does not exist"
NOT_DEEP = "nothing proves that q.r.mx.example/A does not exist"
NOT_LISTED = "nothing proves that a.w.example/TXT has no such record"
CLOSER = "and nothing proves that no closer name exists"


def _says(*, more: tuple[RdataType, ...] = ()) -> partial[None]:
    return partial(types, more=more)


def _move(patient: Patient) -> None:
    """Give a denial an owner that is no hash, as the zone signs it."""
    for one in (patient.rrset, patient.signatures):
        assert one is not None
        one.name = dns.name.Name((b"nothing", *patient.zone.origin.labels))
    patient.sign()


def _iterations(count: int) -> Tree:
    return hashed(*MAIL, iterations=count)


STORIES = (
    # A name without the type
    Scene("type_is_not_there", "A name has no AAAA records, and its NSEC3 record says so.", "SEC-51", NONE, "secure",
          finds="no records", tree=DATA, proof="the NSEC3 record of mx.example. lists no AAAA"),
    Scene("zone_without_salt", "The zone hashes without salt and iterations, as it should.", "SEC-51", NONE, "secure",
          finds="no records", tree=hashed(*MAIL, salt="")),
    Scene("denial_has_the_type", "The NSEC3 record of the name has the bit of the type.", "SEC-51", NONE, "bogus",
          f"{NO_TYPE}: mx.example. has AAAA records", 6, tree=DATA, hurts=(harm(_says(more=(AAAA,)), "NSEC3", "", NONE),)),
    Scene("denial_has_an_alias", "The NSEC3 record of the name has the CNAME bit.", "SEC-51", NONE, "bogus",
          f"{NO_TYPE}: mx.example. has CNAME records", 6, tree=DATA, hurts=(harm(_says(more=(CNAME,)), "NSEC3", "", NONE),)),
    Scene("empty_name_in_between", "A name without records of its own has an NSEC3 record without types.",
          "SEC-51 SEC-35", EMPTY, "secure", finds="no records", tree=DATA),
    Scene("denial_is_unsigned", "The NSEC3 record of the name has no signature.", "SEC-51 SEC-21", NONE, "bogus", "NSEC3 is missing",
          10, tree=DATA, hurts=(harm("no signature", "NSEC3", "", NONE),)),
    Scene("denial_is_of_another_name", "The NSEC3 record is a good one of another name.", "SEC-51", NONE, "bogus",
          NO_TYPE, 12, tree=DATA, hurts=(only(NONE, denial_of("ns.example")),)),
    Scene("denial_of_the_zone_above_at_the_cut", "The parent's NSEC3 record of the cut denies a type of the zone below.",
          "SEC-38", "s.example AAAA", "bogus", "the zone above knows only of DS records there", 6,
          tree=Tree((Zone("", denial=HASHED), Zone("s", MAIL, denial=HASHED))),
          hurts=(only("s.example AAAA", harm("denial from above", "NSEC3", "s"), harm("lost set", "SOA")),)),
    # What the records are made of
    Scene("hash_is_unknown", "All NSEC3 records are of a hash algorithm that nobody knows.", "SEC-45", NONE, "bogus",
          "no NSEC or NSEC3 record of example. that can be used", 12, tree=DATA,
          hurts=(harm("unknown hash", "NSEC3", "", NONE),)),
    Scene("flags_are_unknown", "The NSEC3 record has a flag that nobody knows.", "SEC-46", NONE, "bogus",
          "no NSEC or NSEC3 record of example. that can be used", 12, tree=DATA,
          hurts=(harm("unknown flag", "NSEC3", "", NONE),)),
    Scene("unknown_flags_beside_opt_out", "The NSEC3 record has the opt-out flag and one that nobody knows.", "SEC-46",
          NONE, "bogus", "no NSEC or NSEC3 record of example. that can be used", 12, tree=DATA,
          hurts=(harm(partial(parameters, flags=3), "NSEC3", "", NONE),)),
    Scene("one_record_has_an_unknown_hash", "Of the records of a proof one cannot be used, and the rest does not suffice.",
          "SEC-45 SEC-50", NO_NAME, "bogus", NOT_THERE, 12, tree=DATA,
          hurts=(by_hash("unknown hash", "n.example", asked=NO_NAME, cover=True),)),
    Scene("salts_differ", "The records of one proof have two salts.", "SEC-47", NO_NAME, "bogus",
          "differ in salt or iterations", 6, tree=DATA, hurts=(by_hash("other salt", "example", asked=NO_NAME),)),
    Scene("iterations_differ", "The records of one proof have different iterations.", "SEC-47", NO_NAME, "bogus",
          "differ in salt or iterations", 6, tree=DATA, hurts=(by_hash("other iterations", "example", asked=NO_NAME),)),
    # Names that are not there
    Scene("name_is_not_there", "Encloser, next closer name and wildcard are proven.", "SEC-48 SEC-50", NO_NAME, "secure",
          finds="no name", tree=DATA, proof="neither n.example. nor *.example. exists"),
    Scene("name_is_not_there_two_labels_down", "The closest encloser is two labels above the name.", "SEC-48 SEC-50", DEEP,
          "secure", finds="no name", tree=DATA, proof="nor *.mx.example. exists"),
    Scene("encloser_is_missing", "The NSEC3 record of the closest encloser is left out.", "SEC-48", NO_NAME, "bogus",
          f"{NOT_THERE}: no NSEC3 record shows which name above n.example. exists", 12, tree=hashed(*MAIL, "k A 192.0.2.2"),
          hurts=(lost_hash("example", asked=NO_NAME),)),
    Scene("next_closer_name_is_not_covered", "The NSEC3 record that covers the next closer name is left out.", "SEC-48",
          DEEP, "bogus", f"{NOT_DEEP}: no NSEC3 record shows that r.mx.example. does not exist", 12, tree=DATA,
          hurts=(lost_hash("r.mx.example", asked=DEEP, cover=True),)),
    Scene("encloser_is_too_high", "The record of the closest encloser is replaced by that of a name above.", "SEC-48",
          DEEP, "bogus", NOT_DEEP, 12, tree=DATA, hurts=(lost_hash("mx.example", asked=DEEP),
              only(DEEP, denial_of("example", beside=True)))),
    Scene("encloser_has_a_dname", "The NSEC3 record of the closest encloser has the DNAME bit.", "SEC-49 SEC-39", DEEP,
          "bogus", f"{NOT_DEEP}: mx.example. is delegated or has DNAME records", 6, tree=DATA,
          hurts=(by_hash(_says(more=(DNAME,)), "mx.example", asked=DEEP),)),
    Scene("encloser_is_a_cut", "The NSEC3 record of the closest encloser has NS and no SOA.", "SEC-49 SEC-38", DEEP,
          "bogus", f"{NOT_DEEP}: mx.example. is delegated or has DNAME records", 6, tree=DATA,
          hurts=(by_hash(_says(more=(NS,)), "mx.example", asked=DEEP),)),
    Scene("encloser_is_the_apex", "The closest encloser has NS and SOA: it is the apex.", "SEC-49", "q.r.example A",
          "secure", finds="no name", tree=DATA),
    Scene("wildcard_is_not_covered", "The NSEC3 record that would cover the wildcard ends before it.", "SEC-50", DEEP, "bogus",
          f"{NOT_DEEP}: no NSEC3 record shows that *.mx.example. does not exist", 12, tree=DATA,
          hurts=(by_hash("empty span", "*.mx.example", asked=DEEP, cover=True),)),
    Scene("name_is_there_after_all", "NXDOMAIN comes with the NSEC3 record of the very name.", "SEC-50 SEC-48", NONE,
          "bogus", "an NSEC3 record shows that mx.example. exists", 6, tree=DATA, hurts=(in_answer("says NXDOMAIN", NONE),)),
    Scene("nothing_but_nxdomain", "NXDOMAIN comes without any proof.", "SEC-50 SEC-21", NO_NAME, "bogus", NOT_THERE, 12,
          tree=DATA, hurts=(in_answer("no proofs", NO_NAME),)),
    # Wildcards
    Scene("wildcard_lacks_the_type", "A wildcard stands in for the name, and has no such records.", "SEC-53", NO_TXT,
          "secure", finds="no records", tree=WILDCARD, proof="does not exist, and that *.w.example. lists no TXT"),
    Scene("wildcard_denial_without_its_record", "The NSEC3 record of the wildcard is left out.", "SEC-53", NO_TXT, "bogus",
          NOT_LISTED, 12, tree=WILDCARD, hurts=(lost_hash("*.w.example", asked=NO_TXT),)),
    Scene("wildcard_denial_without_the_encloser", "The NSEC3 record of the closest encloser is left out.",
          "SEC-53 SEC-48", NO_TXT, "bogus", NOT_LISTED, 12, tree=WILDCARD, hurts=(lost_hash("w.example", asked=NO_TXT),)),
    Scene("wildcard_has_the_type", "The NSEC3 record of the wildcard has the bit of the type.", "SEC-53", NO_TXT, "bogus",
          f"{NOT_LISTED}: *.w.example. has TXT records", 6, tree=WILDCARD,
          hurts=(by_hash("denial says there is the type", "*.w.example", asked=NO_TXT),)),
    Scene("wildcard_is_an_alias", "The NSEC3 record of the wildcard has the CNAME bit.", "SEC-53", NO_TXT, "bogus",
          f"{NOT_LISTED}: *.w.example. has CNAME records", 6, tree=WILDCARD,
          hurts=(by_hash(_says(more=(CNAME,)), "*.w.example", asked=NO_TXT),)),
    Scene("answer_is_made_from_a_wildcard", "An NSEC3 record covers the next closer name.", "SEC-54 SEC-32", WILD,
          "secure", tree=WILDCARD, proof="made from *.w.example: an NSEC3 record shows"),
    Scene("wildcard_answer_without_proof", "The NSEC3 record that covers the next closer name is left out.",
          "SEC-54 SEC-32", WILD, "bogus", CLOSER, 12, tree=WILDCARD, hurts=(harm("lost set", "NSEC3", "", WILD),)),
    Scene("wildcard_answer_two_labels_down", "The next closer name is below the wildcard's parent, and above the name.",
          "SEC-54 SEC-32", "a.b.w.example A", "secure", tree=WILDCARD),
    Scene("wildcard_answer_for_a_name_that_is_there", "A closer name exists, and an answer is made from the wildcard.",
          "SEC-54 SEC-32", "b.w.example A", "bogus", CLOSER, 12, tree=hashed("*.w A 192.0.2.1", "b.w TXT text", "c.w A 192.0.2.2"),
          hurts=(only("b.w.example A", made_for("b.w.example", "*.w.example", "A")),)),
    # Opt-out
    Scene("opt_out_span_over_a_name", "A name that does not exist lies in an opt-out span.", "SEC-55", NO_NAME, "insecure",
          "an opt-out span leaves room for unsigned delegations", tree=OPT_OUT, finds="no name"),
    Scene("opt_out_span_over_a_host", "A host without TLSA records lies in an opt-out span: DANE does not apply.",
          "SEC-55", "_25._tcp.n.example TLSA", "insecure", "an opt-out span leaves room for unsigned delegations",
          tree=OPT_OUT, finds="no name"),
    Scene("opt_out_record_of_the_name", "The NSEC3 record of a name has the opt-out flag, which is about others.",
          "SEC-55 SEC-51", NONE, "secure", finds="no records", tree=OPT_OUT),
    Scene("opt_out_span_over_a_wildcard_answer", "The next closer name of a wildcard answer lies in an opt-out span.",
          "SEC-55 SEC-54", WILD, "insecure", "an opt-out span leaves room for unsigned delegations", tree=OPT_OUT),
    Scene("opt_out_span_over_a_wildcard_denial", "The next closer name of a wildcard denial lies in an opt-out span.",
          "SEC-55 SEC-53", NO_TXT, "insecure", "an opt-out span leaves room for unsigned delegations", tree=OPT_OUT,
          finds="no records"),
    Scene("flag_on_the_encloser_alone", "Only the record of the encloser has the opt-out flag, not the one that covers.",
          "SEC-55", DEEP, "secure", tree=DATA, finds="no name",
          hurts=(by_hash("opt-out", "mx.example", asked=DEEP),)),
    # DS
    Scene("digest_is_denied_at_a_host", "The question for DS of a name without cut is denied.", "SEC-52", "mx.example DS",
          "secure", finds="no records", tree=DATA),
    Scene("digest_is_denied_with_its_bit", "The NSEC3 record that denies DS has the DS bit.", "SEC-52", "s.example DS",
          "bogus", "nothing proves that s.example/DS has no such record: s.example. has DS records", 6,
          tree=Tree((Zone("", denial=HASHED), Zone("s", MAIL))),
          hurts=(only("s.example DS", harm("lost set", "DS"), denial_of("s.example")),)),
    # Iterations
    Scene("iterations_at_the_limit", "The zone hashes as often as the rules allow.", "SEC-57", NONE, "secure",
          finds="no records", rules="nsec3_iterations=100", tree=_iterations(100)),
    Scene("iterations_above_the_limit", "The zone hashes once more than the rules allow, and its records are signed.",
          "SEC-56 SEC-57 SEC-58", NONE, "insecure", "have 101 iterations, more than 100 (EDE 27)", finds="no records",
          rules="nsec3_iterations=100", tree=_iterations(101)),
    Scene("iterations_far_above_the_limit", "There is no second limit above which the answer would be an error.",
          "SEC-57", NO_NAME, "insecure", "have 2500 iterations, more than 100 (EDE 27)", finds="no name",
          rules="nsec3_iterations=100", tree=_iterations(2500)),
    Scene("iterations_above_a_limit_of_none", "The rules allow no iterations, as RFC 9276 lets them.", "SEC-56 SEC-57",
          NONE, "insecure", "have 1 iterations, more than 0 (EDE 27)", finds="no records", tree=_iterations(1),
          rules="nsec3_iterations=0"),
    Scene("iterations_above_a_limit_that_is_an_error", "The rules want no answer at all from more iterations than they allow.",
          "SEC-56 SEC-57 SEC-58", NONE, "indeterminate", "have 101 iterations, more than 100 (EDE 27)",
          rules="nsec3_iterations=100 nsec3_over_limit=error", failure="indeterminate", tree=_iterations(101)),
    Scene("iterations_are_altered_on_the_way", "Someone raises the iterations, which breaks the signature.", "SEC-56",
          NONE, "bogus", "does not fit the records", 6, tree=DATA,
          hurts=(harm(partial(parameters, iterations=1000, resign=False), "NSEC3", "", NONE),)),
    Scene("iterations_above_the_limit_unsigned", "NSEC3 records with many iterations have no signature.", "SEC-56 SEC-21",
          NONE, "bogus", "NSEC3 is missing", 10, rules="nsec3_iterations=100", tree=_iterations(101), hurts=(harm("no signature", "NSEC3", ""),)),
    Scene("wildcard_answer_with_many_iterations", "The proof of a wildcard answer has more iterations than allowed.",
          "SEC-56 SEC-54", WILD, "insecure", "(EDE 27)", rules="nsec3_iterations=100", tree=hashed("*.w A 192.0.2.1", iterations=101)),
    Scene("extended_error_on_iterations", "The resolver tells of iterations by EDE 27, which changes nothing.",
          "SEC-79 SEC-58", NONE, "secure", finds="no records", tree=DATA,
          hurts=(in_answer(extended(27, "too many iterations"), NONE),)),
    Scene("owner_is_no_hash", "An NSEC3 record whose owner is no hash proves nothing.", "SEC-48", NONE, "bogus",
          "no NSEC or NSEC3 record of example. that can be used", 12, tree=DATA,
          hurts=(harm(_move, "NSEC3", "", NONE),)),
)  # fmt: skip
