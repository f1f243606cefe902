"""Answers that are made from a wildcard: they need the proof that no name is closer (RFC 4035 section 5.3.4)."""

from tests.dnssec.scenes import Scene, tree
from tests.dnssec.tampering import borrow, harm, in_answer, lost, made_for, only
from tests.dnssec.zones import Tree, Zone

TLSA = f"*.w TLSA 3 1 1 {'ab' * 32}"
ASKED = "_25._tcp.a.w.example TLSA"
PLAIN = tree(TLSA, "k A 192.0.2.1", "z A 192.0.2.1")
CLOSER = tree("*.w A 192.0.2.1", "b.w TXT text", "c.b.w A 192.0.2.2", "z A 192.0.2.1")
NOTHING = "is made from *.w.example, and nothing proves that no closer name exists"


STORIES = (
    Scene("wildcard_with_proof", "TLSA records are made from a wildcard, and an NSEC record covers the name.", "SEC-32",
          ASKED, "secure", tree=PLAIN, proof="made from *.w.example: an NSEC record shows that no name is closer"),
    Scene("wildcard_without_proof", "TLSA records are made from a wildcard, and no NSEC record comes with them.", "SEC-32",
          ASKED, "bogus", NOTHING, 12, tree=PLAIN, hurts=(harm("lost set", "NSEC", "", ASKED),)),
    Scene("wildcard_with_an_unsigned_proof", "The NSEC record that covers the name is not signed.", "SEC-32 SEC-21",
          ASKED, "bogus", "RRSIG over *.w.example NSEC is missing", 10, tree=PLAIN, hurts=(harm("no signature", "NSEC", "", ASKED),)),
    Scene("wildcard_with_a_broken_proof", "The signature over the NSEC record that covers the name is altered.", "SEC-32",
          ASKED, "bogus", "RRSIG over *.w.example NSEC by example/15/", 6, tree=PLAIN, hurts=(harm("altered signature", "NSEC", "", ASKED),)),
    Scene("wildcard_with_a_proof_of_another_name", "The NSEC record does not cover the name.", "SEC-32", ASKED, "bogus",
          NOTHING, 12, tree=PLAIN, hurts=(only(ASKED, borrow("l.example A") ),)),
    Scene("wildcard_with_its_own_denial", "The NSEC record of the wildcard itself covers the name.", "SEC-32",
          "a.w.example A", "secure", tree=tree("*.w A 192.0.2.1")),
    Scene("wildcard_for_a_closer_name", "The name is there, and an answer is made from the wildcard.", "SEC-32",
          "b.w.example A", "bogus", NOTHING, 12, tree=CLOSER, hurts=(only("b.w.example A", made_for("b.w.example", "*.w.example", "A")),)),
    Scene("wildcard_for_an_empty_name", "The name has others below it, which a wildcard does not stand in for.", "SEC-32",
          "e.w.example A", "bogus", NOTHING, 12, tree=tree("*.w A 192.0.2.1", "f.e.w A 192.0.2.2"),
          hurts=(only("e.w.example A", made_for("e.w.example", "*.w.example", "A")),)),
    Scene("wildcard_over_a_closer_encloser", "A name above the one asked for exists, so that the wildcard is not for it.",
          "SEC-32", "q.b.w.example A", "bogus", NOTHING, 12, tree=CLOSER,
          hurts=(in_answer("says NOERROR", "q.b.w.example A"),
                 only("q.b.w.example A", made_for("q.b.w.example", "*.w.example", "A")))),
    Scene("wildcard_itself_is_asked_for", "The question is for the wildcard by its own name, and needs no proof.",
          "SEC-32 SEC-25", "*.w.example TLSA", "secure", tree=PLAIN),
    Scene("wildcard_at_the_apex", "A wildcard right below the apex stands in for a name three labels below.", "SEC-32",
          "a.b.c.example A", "secure", tree=tree("* A 192.0.2.1"), proof="made from *.example"),
    Scene("wildcard_mail_exchanger", "MX records of a host are made from a wildcard.", "SEC-32", "a.example MX", "secure",
          tree=tree("* MX 10 mx", "mx A 192.0.2.1")),
    Scene("name_is_passed_off_as_a_wildcard", "A signature with fewer labels says that records are from a wildcard.",
          "SEC-25 SEC-32", "k.example A", "bogus", "nothing proves that no closer name exists", 12, tree=PLAIN,
          hurts=(harm("fewer labels", "A", "", "k.example A"),)),
    Scene("wildcard_signature_under_another_count", "The label count of a wildcard's signature is raised on the way.",
          "SEC-25 SEC-32", ASKED, "bogus", "RRSIG over _25._tcp.a.w.example TLSA", 6, tree=PLAIN,
          hurts=(harm(lambda one: one.put_signatures([one.signatures[0].replace(labels=5)]), "TLSA"),)),  # type: ignore[index]
    Scene("wildcard_of_an_insecure_zone", "A wildcard of a zone that is not signed needs no proof.", "SEC-32 SEC-18",
          "a.u.example A", "insecure", "is delegated without DS records",
          tree=Tree((Zone(""), Zone("u", ("* A 192.0.2.1",), signed=False)))),
    Scene("wildcard_proof_of_the_zone_above", "The proof that no name is closer is of the zone above.", "SEC-32 SEC-38",
          "a.s.example A", "bogus", "nothing proves that no closer name exists", 12,
          tree=Tree((Zone(""), Zone("s", ("* A 192.0.2.1",)))),
          hurts=(only("a.s.example A", borrow("t.example A")),)),
    Scene("wildcard_below_a_wildcard", "The closer one of two wildcards is used.", "SEC-32", "a.x.w.example A", "secure",
          tree=tree("*.w A 192.0.2.1", "*.x.w A 192.0.2.2"), proof="made from *.x.w.example"),
    Scene("wildcard_proof_is_left_out_below", "The NSEC record that proves a wildcard answer is left out.", "SEC-32 SEC-42",
          "a.w.example A", "bogus", NOTHING, 12, tree=tree("*.w A 192.0.2.1"),
          hurts=(lost("*.w.example", asked="a.w.example A"),)),
)  # fmt: skip
