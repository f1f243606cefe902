"""Denial by NSEC records: what they prove of names and types, and what they leave open."""

from functools import partial

import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.NSEC
from dns.rdatatype import CNAME, DNAME, DS, NS, NSEC, RRSIG, SOA, RdataType
from dns.rdtypes.util import Bitmap

from tests.dnssec.harm import Harm, Patient, types
from tests.dnssec.keys import ENTRY_POINT, FOREIGN, ZONE_KEY, key
from tests.dnssec.scenes import MAIL, Hurt, Scene, World, tree
from tests.dnssec.tampering import borrow, denial_of, harm, in_answer, lost, only, signed_with
from tests.dnssec.zones import Tree, Zone, record_set

NONE, NO_NAME, EMPTY, LAST = "mx.example AAAA", "n.example A", "_tcp.mx.example TLSA", "zz.example A"
WILD = "a.w.example A"
DATA = tree(*MAIL, "k A 192.0.2.2")
WILDCARD = tree("*.w TXT text", "b A 192.0.2.1", "z A 192.0.2.1")
CHILD = Tree((Zone("", ("a A 192.0.2.1",)), Zone("s", MAIL)))
NO_TYPE = "nothing proves that mx.example/AAAA has no such record"
NOT_THERE = "nothing proves that n.example/A does not exist"
NO_TXT = "nothing proves that a.w.example/A has no such record"


def _says(*, more: tuple[RdataType, ...] = (), less: tuple[RdataType, ...] = ()) -> partial[None]:
    return partial(types, more=more, less=less)


def _nsec(owner: str, following: str, *listed: int) -> Hurt:
    """Put one NSEC record, signed by the zone, in the place of all that the answer has."""

    def hurt(world: World, message: dns.message.Message) -> None:
        zone = world.zone()
        windows = Bitmap.from_rdtypes([dns.rdatatype.RdataType.make(one) for one in (*listed, RRSIG, NSEC)]).windows
        end = dns.name.from_text(following)
        made = dns.rdtypes.ANY.NSEC.NSEC(dns.rdataclass.IN, NSEC, end, windows)  # type: ignore[no-untyped-call]
        rrset = record_set(dns.name.from_text(owner), NSEC, [made])
        start = zone.shown(zone.sets[zone.origin][SOA])
        message.authority = [*start, rrset, zone.sign(rrset)]

    return hurt


def _more(owner: str, following: str, *listed: int) -> Hurt:
    """Put one NSEC record, signed by the zone, beside what the answer has."""

    def hurt(world: World, message: dns.message.Message) -> None:
        old = message.authority
        _nsec(owner, following, *listed)(world, message)
        message.authority = [*old, *message.authority[2:]]

    return hurt


def _at(name: str) -> Harm:
    """Move a denial and its signature to another owner, as if it were made from a wildcard."""

    def change(patient: Patient) -> None:
        for one in (patient.rrset, patient.signatures):
            if one is not None:
                one.name = dns.name.from_text(name)

    return change


def _next(following: str) -> Harm:
    """Let a denial end elsewhere, as the zone signs it."""

    def change(patient: Patient) -> None:
        patient.put([patient.rrset[0].replace(next=dns.name.from_text(following))])
        patient.sign()

    return change


STORIES = (
    # A name without the type
    Scene("type_is_not_there", "A name has no AAAA records, and its NSEC record says so.", "SEC-34", NONE, "secure",
          finds="no records", tree=DATA, proof="the NSEC record of mx.example. lists no AAAA records"),
    Scene("denial_has_the_type", "The NSEC record of the name has the bit of the type.", "SEC-34", NONE, "bogus",
          f"{NO_TYPE}: mx.example. has AAAA records", 6, tree=DATA,
          hurts=(harm("denial says there is the type", "NSEC", "", NONE),)),
    Scene("denial_has_an_alias", "The NSEC record of the name has the CNAME bit.", "SEC-34", NONE, "bogus",
          f"{NO_TYPE}: mx.example. has CNAME records", 6, tree=DATA,
          hurts=(harm("denial says there is an alias", "NSEC", ""),)),
    Scene("tlsa_records_are_hidden", "TLSA records are taken out, and the denial of the name above is put in.", "SEC-34",
          "_25._tcp.mx.example TLSA", "bogus", "has no such record", 12, tree=DATA,
          hurts=(only("_25._tcp.mx.example TLSA", borrow("mx.example AAAA"), borrow("mx.example AAAA", "answer")),)),
    Scene("answer_is_empty", "The answer has neither records nor a denial.", "SEC-34 SEC-21", NONE, "bogus", NO_TYPE, 12,
          tree=DATA, hurts=(in_answer("empty", NONE),)),
    Scene("denial_is_unsigned", "The NSEC record of the name has no signature.", "SEC-34 SEC-21", NONE, "bogus", "RRSIG over mx.example NSEC is missing",
          10, tree=DATA, hurts=(harm("no signature", "NSEC", "", NONE),)),
    Scene("denial_signature_is_broken", "The signature over the NSEC record is altered.", "SEC-34", NONE, "bogus",
          "RRSIG over mx.example NSEC by example/15/", 6, tree=DATA, hurts=(harm("altered signature", "NSEC", "", NONE),)),
    Scene("denial_has_expired", "The signature over the NSEC record has expired.", "SEC-34 SEC-26", NONE, "bogus",
          "RRSIG over mx.example NSEC by example/15/", 7, tree=DATA, hurts=(harm("expired", "NSEC", "", NONE),)),
    Scene("denial_is_by_a_stranger", "The NSEC record is signed by a key that the zone does not have.", "SEC-34", NONE,
          "bogus", "by a key that the zone does not have", 9, tree=DATA,
          hurts=(harm(signed_with(key(15, FOREIGN, ZONE_KEY | ENTRY_POINT)), "NSEC", "", NONE),)),
    Scene("denial_is_of_another_name", "The NSEC record is a good one of another name.", "SEC-34", NONE, "bogus", NO_TYPE,
          12, tree=DATA, hurts=(only(NONE, denial_of("k.example")),)),
    Scene("denial_was_made_from_a_wildcard", "An NSEC record of a wildcard is given out as one of the name.", "SEC-34",
          "a.w.example A", "bogus", NO_TXT, 12, tree=WILDCARD,
          hurts=(lost("b.example", asked=WILD), harm(_at("a.w.example"), "NSEC", "", WILD))),
    Scene("bits_of_nsec_and_rrsig_are_missing", "The NSEC record lists neither NSEC nor RRSIG, which says nothing.",
          "SEC-40", NONE, "secure", finds="no records", tree=DATA, hurts=(harm(_says(less=(NSEC, RRSIG)), "NSEC", "", NONE),)),
    Scene("apex_has_no_such_type", "The apex has no TLSA records.", "SEC-34 SEC-38", "example TLSA", "secure",
          finds="no records", tree=DATA),
    # Names that are there without records
    Scene("empty_name_in_between", "A name has no records of its own, only names below it.", "SEC-35", EMPTY, "secure",
          finds="no records", tree=DATA, proof="shows that _tcp.mx.example. has names below it and no records"),
    Scene("empty_name_with_a_span_beyond", "The span over a name ends beyond all that would be below it.", "SEC-35",
          EMPTY, "bogus", "nothing proves that _tcp.mx.example/TLSA has no such record", 12, tree=DATA,
          hurts=(harm(_next("n.example"), "NSEC", "", EMPTY),)),
    Scene("empty_name_is_said_not_to_exist", "A name with others below it is answered NXDOMAIN.", "SEC-35 SEC-36", EMPTY,
          "bogus", "nothing proves that _tcp.mx.example/TLSA does not exist", 12, tree=DATA,
          hurts=(in_answer("says NXDOMAIN", EMPTY),)),
    # Names that are not there
    Scene("name_is_not_there", "Two NSEC records show that neither the name nor a wildcard exists.", "SEC-36", NO_NAME,
          "secure", finds="no name", tree=DATA, proof="neither n.example. nor *.example. exists"),
    Scene("span_over_the_name_is_missing", "The NSEC record that covers the name is left out.", "SEC-36", NO_NAME,
          "bogus", NOT_THERE, 12, tree=DATA, hurts=(lost("_25._tcp.mx.example", asked=NO_NAME),)),
    Scene("span_over_the_wildcard_is_missing", "The NSEC record that covers the wildcard is left out.", "SEC-36 SEC-42",
          NO_NAME, "bogus", f"{NOT_THERE}: no NSEC record shows that *.example. does not exist", 12, tree=DATA,
          hurts=(lost("example", asked=NO_NAME),)),
    Scene("one_span_covers_both", "One NSEC record covers the name and the wildcard.", "SEC-36", "a.example A", "secure",
          finds="no name", tree=DATA),
    Scene("wildcard_of_another_encloser_is_covered", "The denied wildcard is not that of the closest encloser.", "SEC-36",
          "q.mx.example A", "bogus", "no NSEC record shows that *.mx.example. does not exist", 12, tree=DATA,
          hurts=(only("q.mx.example A", borrow("n.example A")),)),
    Scene("name_below_another_is_not_there", "A name below one that exists does not exist.", "SEC-36", "q.mx.example A",
          "secure", finds="no name", tree=DATA, proof="nor *.mx.example. exists"),
    Scene("name_is_there_after_all", "NXDOMAIN comes with the NSEC record of the very name.", "SEC-36", NONE, "bogus",
          "nothing proves that mx.example/AAAA does not exist", 12, tree=DATA, hurts=(in_answer("says NXDOMAIN", NONE),)),
    Scene("nothing_but_nxdomain", "NXDOMAIN comes without any proof.", "SEC-36 SEC-21 SEC-44", NO_NAME, "bogus",
          NOT_THERE, 12, tree=DATA, hurts=(in_answer("no proofs", NO_NAME),)),
    Scene("no_error_for_a_name_that_is_not_there", "NOERROR comes with a proof that there is no such name.",
          "SEC-34 SEC-36", NO_NAME, "bogus", "nothing proves that n.example/A has no such record", 12, tree=DATA,
          hurts=(in_answer("says NOERROR", NO_NAME),)),
    Scene("records_are_said_not_to_exist", "The whole of an answer is replaced by NXDOMAIN and a denial of another name.",
          "SEC-36 SEC-44", "k.example A", "bogus", "nothing proves that k.example/A does not exist", 12, tree=DATA,
          hurts=(only("k.example A", borrow("n.example A"), borrow("n.example A", "answer")),
                 in_answer("says NXDOMAIN", "k.example A"))),
    Scene("name_after_the_last_one", "A name is after the last of the zone, whose NSEC record points to the apex.",
          "SEC-41", LAST, "secure", finds="no name", tree=DATA),
    Scene("last_span_does_not_end_at_the_apex", "The last NSEC record points back, and not to the apex.", "SEC-41", LAST,
          "bogus", "nothing proves that zz.example/A does not exist", 12, tree=DATA,
          hurts=(harm(_next("k.example"), "NSEC", "", LAST, "ns.example"),)),
    Scene("span_ends_outside_of_the_zone", "An NSEC record points to a name of another zone.", "SEC-41 SEC-36", LAST,
          "bogus", "nothing proves that zz.example/A does not exist", 12, tree=DATA,
          hurts=(harm(_next("zzz.other"), "NSEC", "", LAST, "ns.example"),)),
    Scene("names_sort_by_their_labels", "A name sorts after all below its neighbour, label by label.", "SEC-41",
          "mx-1.example A", "secure", finds="no name", tree=DATA),
    # Wildcards
    Scene("wildcard_lacks_the_type", "A wildcard stands in for the name, and has no such records.", "SEC-37", WILD,
          "secure", finds="no records", tree=WILDCARD, proof="the NSEC record of *.w.example. lists no A records"),
    Scene("wildcard_denial_without_its_record", "The NSEC record of the wildcard is left out.", "SEC-37", WILD, "bogus",
          NO_TXT, 12, tree=WILDCARD, hurts=(lost("*.w.example", asked=WILD),)),
    Scene("wildcard_denial_without_the_span", "Nothing shows that the name itself does not exist.", "SEC-37", "q.w.example A",
          "bogus", "nothing proves that q.w.example/A has no such record", 12,
          tree=tree("*.w TXT text", "k.w A 192.0.2.1", "z A 192.0.2.1"), hurts=(lost("k.w.example", asked="q.w.example A"),)),
    Scene("wildcard_has_the_type", "The NSEC record of the wildcard has the bit of the type.", "SEC-37 SEC-34", WILD,
          "bogus", f"{NO_TXT}: *.w.example. has ", 6, tree=WILDCARD, hurts=(harm("denial says there is the type", "NSEC", "", WILD, "*.w.example"),)),
    Scene("wildcard_is_an_alias", "The NSEC record of the wildcard has the CNAME bit.", "SEC-37 SEC-34", WILD, "bogus",
          f"{NO_TXT}: *.w.example. has ", 6, tree=WILDCARD, hurts=(harm(_says(more=(CNAME,)), "NSEC", "", WILD, "*.w.example"),)),
    # Who may deny what
    Scene("denial_of_the_zone_above_at_the_cut", "The parent's NSEC record at the cut denies a type of the zone below.",
          "SEC-38", "s.example AAAA", "bogus", "nothing proves that s.example/AAAA has no such record", 12, tree=CHILD,
          hurts=(only("s.example AAAA", harm("denial from above", "NSEC", "s")),)),
    Scene("denial_of_the_zone_above_alone", "All that denies a type of a zone is from the zone above.", "SEC-38 SEC-21",
          "s.example AAAA", "bogus", "s.example. is delegated, and the zone above knows only of DS records there", 6,
          tree=CHILD, hurts=(only("s.example AAAA", harm("denial from above", "NSEC", "s"), harm("lost set", "SOA")),)),
    Scene("denial_of_the_zone_above_below_the_cut", "The parent's NSEC record at the cut denies a type below it.",
          "SEC-38", "mx.s.example AAAA", "bogus", "nothing proves that mx.s.example/AAAA has no such record", 12,
          tree=CHILD, hurts=(only("mx.s.example AAAA", _nsec("s.example", "example", NS, DS)),)),
    Scene("name_below_a_cut_is_denied_above", "NXDOMAIN for a name of the zone below, with a span of the zone above.",
          "SEC-38 SEC-36", "mx.s.example A", "bogus", "nothing proves that mx.s.example/A does not exist", 12, tree=CHILD,
          hurts=(only("mx.s.example A", borrow("nothing.example A", "answer"), _nsec("s.example", "example", NS, DS)),
                 in_answer("says NXDOMAIN", "mx.s.example A"))),
    Scene("denial_at_a_dname_denies_nothing_below", "An NSEC record with the DNAME bit denies a name below its owner.",
          "SEC-39", "n.k.example A", "bogus", "nothing proves that n.k.example/A does not exist", 12, tree=DATA,
          hurts=(only("n.k.example A", harm(_says(more=(DNAME,)), "NSEC", "", owner="k.example")),)),
    Scene("denial_at_a_cut_denies_nothing_below", "An NSEC record with NS and no SOA denies a name below its owner.",
          "SEC-38", "n.k.example A", "bogus", "nothing proves that n.k.example/A does not exist", 12, tree=DATA,
          hurts=(only("n.k.example A", harm(_says(more=(NS,)), "NSEC", "", owner="k.example")),)),
    Scene("denial_of_a_sibling_zone", "The NSEC record is from a zone beside that of the name.", "SEC-38 SEC-34",
          "mx.s.example AAAA", "bogus", "nothing proves that mx.s.example/AAAA has no such record", 12,
          tree=Tree((Zone(""), Zone("s", MAIL), Zone("t", MAIL))),
          hurts=(only("mx.s.example AAAA", borrow("mx.t.example AAAA")),)),
    # Minimal and compact denial
    Scene("minimal_spans", "Each span is just wide enough (RFC 4470).", "SEC-43 SEC-36", NO_NAME, "secure",
          finds="no name", tree=DATA,
          hurts=(only(NO_NAME, _nsec("m\\255.example", "n\\000.example"), _more("\\).example", "\\+.example")),)),
    Scene("compact_denial_of_a_name", "A made-up NSEC record says that the name is there without records.", "SEC-43",
          NO_NAME, "secure", finds="no records", tree=DATA,
          hurts=(only(NO_NAME, _nsec("n.example", "\\000.n.example", 128)), in_answer("says NOERROR", NO_NAME))),
    Scene("compact_denial_with_nxdomain", "A made-up NSEC record with the NXNAME bit says that there is no such name.",
          "SEC-43", NO_NAME, "secure", finds="no name", tree=DATA,
          hurts=(only(NO_NAME, _nsec("n.example", "\\000.n.example", 128)),)),
    Scene("compact_denial_of_a_type", "A made-up NSEC record of a name that is there lacks the type.", "SEC-43", NONE,
          "secure", finds="no records", tree=DATA, hurts=(only(NONE, _nsec("mx.example", "\\000.mx.example", 1)),)),
    Scene("compact_denial_with_the_type", "A made-up NSEC record has the bit of the type.", "SEC-43 SEC-34", NONE, "bogus",
          NO_TYPE, 6, tree=DATA, hurts=(only(NONE, _nsec("mx.example", "\\000.mx.example", 28)),)),
    Scene("denial_that_is_nxdomain_and_has_records", "An NSEC record with NXNAME and other types is no proof of NXDOMAIN.",
          "SEC-43 SEC-36", NO_NAME, "bogus", NOT_THERE, 12, tree=DATA,
          hurts=(only(NO_NAME, _nsec("n.example", "\\000.n.example", 1, 128)),)),
    # What an ancestor settles
    Scene("name_above_is_said_not_to_exist", "A broken server says NXDOMAIN for a name above one with signed records.",
          "SEC-44", "_25._tcp.mx.example TLSA", "secure", tree=DATA,
          hurts=(in_answer("says NXDOMAIN", "_tcp.mx.example DS"), in_answer("no proofs", "_tcp.mx.example DS"))),
    Scene("unproven_nxdomain_above_unsigned_records", "NXDOMAIN without proof above a name makes its records no less due.",
          "SEC-44 SEC-21", "_25._tcp.mx.example TLSA", "bogus",
          "nothing proves that _tcp.mx.example has no DS records", 12, tree=DATA,
          hurts=(harm("no signature", "TLSA"), in_answer("says NXDOMAIN", "_tcp.mx.example DS"),
                 in_answer("no proofs", "_tcp.mx.example DS"))),
)  # fmt: skip
