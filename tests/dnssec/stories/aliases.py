"""Aliases: each link counts in its own zone, the weakest decides, and DNAME says what CNAME it makes."""

import dns.message
import dns.name
import dns.rcode
import dns.rrset
from dns.rdatatype import CNAME

from tests.dnssec.scenes import MAIL, Hurt, Scene, World, tree
from tests.dnssec.tampering import harm, in_answer, put
from tests.dnssec.zones import Tree, Zone

HERE = tree("a CNAME b", "b A 192.0.2.1")
TWO = Tree((Zone("", ("a CNAME h.s",)), Zone("s", ("h A 192.0.2.1",))))
THREE = Tree(
    (Zone("", ("a CNAME c.s",)), Zone("s", ("c CNAME h.u.{apex}.",)), Zone("u", ("h A 192.0.2.1",), signed=False))
)
BACK = Tree((Zone("", ("h A 192.0.2.1",)), Zone("u", ("c CNAME h.{apex}.",), signed=False)))
RENAMED = tree("d DNAME e", "h.e A 192.0.2.1")
ASKED = "a.example A"
BELOW = "h.d.example A"


def _only_aliases(asked: str) -> Hurt:
    """Leave out what the alias leads to, so that it is asked for."""

    def change(message: dns.message.Message) -> None:
        message.answer, message.authority = message.answer[:2], []
        message.set_rcode(dns.rcode.NOERROR)

    return in_answer(change, asked)


def _evil(message: dns.message.Message) -> None:
    message.answer = [dns.rrset.from_text("b.example.", 300, "IN", "CNAME", "evil.")]


def _dname_alone(world: World, message: dns.message.Message) -> None:
    """Leave out the CNAME that a DNAME makes."""
    del world
    message.answer = [one for one in message.answer if CNAME not in {one.rdtype, one.covers}]


STORIES = (
    Scene("alias_in_one_zone", "A signed alias leads to signed records of the same zone.", "SEC-66", ASKED, "secure",
          tree=HERE, aliases="b.example"),
    Scene("alias_into_another_secure_zone", "A signed alias leads to signed records of the zone below.", "SEC-66", ASKED,
          "secure", tree=TWO, aliases="h.s.example"),
    Scene("secure_secure_insecure", "Two links are secure, and the third leads to a zone that is not signed.", "SEC-66",
          ASKED, "insecure", "u.example. is delegated without DS records", tree=THREE, aliases="c.s.example h.u.example"),
    Scene("insecure_then_secure", "An unsigned alias leads to signed records.", "SEC-66", "c.u.example A", "insecure",
          "u.example. is delegated without DS records", tree=BACK, aliases="h.example"),
    Scene("secure_then_bogus", "A signed alias leads to records whose signature is broken.", "SEC-66", ASKED, "bogus",
          "RRSIG over h.s.example A", 6, tree=TWO, hurts=(harm("altered signature", "A", "s"),)),
    Scene("bogus_then_secure", "An alias with a broken signature leads to signed records.", "SEC-66", ASKED, "bogus",
          "RRSIG over a.example CNAME", 6, tree=HERE, hurts=(harm("altered signature", "CNAME"),)),
    Scene("insecure_then_bogus", "An unsigned alias leads to records whose signature is broken.", "SEC-66",
          "c.u.example A", "bogus", "RRSIG over h.example A", 6, tree=BACK, hurts=(harm("altered signature", "A", "", owner="h.example"),)),
    Scene("alias_is_unsigned", "The signature over the alias is stripped.", "SEC-66 SEC-21", ASKED, "bogus",
          "RRSIG over a.example/CNAME is missing", 10, tree=HERE, hurts=(harm("no signature", "CNAME", asked=ASKED),)),
    Scene("alias_is_replaced", "The alias leads elsewhere than the zone says.", "SEC-66 SEC-30", ASKED, "bogus",
          "RRSIG over a.example CNAME", 6, tree=tree("a CNAME b", "b A 192.0.2.1", "c A 192.0.2.2"),
          hurts=(harm(put("c.example."), "CNAME"),)),
    Scene("alias_is_put_before_records", "An unsigned alias is put in the place of signed records.", "SEC-66 SEC-21",
          "b.example A", "bogus", "RRSIG over b.example/CNAME is missing", 10, tree=HERE,
          hurts=(in_answer(_evil, "b.example A"),)),
    Scene("alias_target_is_asked_for", "The answer has the alias alone, and its target is asked for.", "SEC-66", ASKED,
          "secure", tree=TWO, aliases="h.s.example", hurts=(_only_aliases(ASKED),)),
    Scene("alias_target_is_not_answered", "The answer has the alias alone, and nothing comes for its target.", "SEC-66",
          ASKED, "indeterminate", "h.s.example, which is what an alias leads to: no response", failure="timeout",
          tree=TWO, hurts=(_only_aliases(ASKED),), silent=("h.s.example A",)),
    Scene("alias_target_is_a_server_failure", "The answer has the alias alone, and its target is SERVFAIL.", "SEC-66",
          ASKED, "indeterminate", "answered SERVFAIL", failure="servfail", tree=TWO,
          hurts=(_only_aliases(ASKED), in_answer("server failure", "h.s.example A"))),
    Scene("alias_to_a_name_that_is_not_there", "An alias leads to a name that is proven not to exist.", "SEC-66 SEC-36",
          ASKED, "secure", tree=tree("a CNAME n"), aliases="n.example", finds="no name"),
    Scene("alias_to_a_name_without_the_type", "An alias leads to a name that is proven to have no such records.",
          "SEC-66 SEC-34", "a.example AAAA", "secure", tree=HERE, aliases="b.example", finds="no records"),
    Scene("alias_to_nothing_without_proof", "An alias leads to a name that does not exist, without proof.",
          "SEC-66 SEC-36", ASKED, "bogus", "nothing proves that n.example/A does not exist", 12, tree=tree("a CNAME n"),
          hurts=(in_answer("no proofs", ASKED), in_answer("no proofs", "n.example A"))),
    Scene("alias_from_a_wildcard", "The alias is made from a wildcard, and its proof comes along.", "SEC-66 SEC-32",
          "q.w.example A", "secure", tree=tree("*.w CNAME b", "b A 192.0.2.1"), aliases="b.example"),
    Scene("alias_from_a_wildcard_without_proof", "The alias is made from a wildcard, and nothing covers the name.",
          "SEC-66 SEC-32", "q.w.example A", "bogus", "nothing proves that no closer name exists", 12,
          tree=tree("*.w CNAME b", "b A 192.0.2.1"), hurts=(in_answer("no proofs", "q.w.example A"),)),
    Scene("alias_itself_is_asked_for", "The question is for the CNAME record, which is not followed.", "SEC-66",
          "a.example CNAME", "secure", tree=HERE),
    Scene("alias_of_a_mail_exchanger", "TLSA records are behind an alias in another secure zone.", "SEC-66",
          "_25._tcp.mx.example TLSA", "secure", aliases="t.s.example",
          tree=Tree((Zone("", ("@ MX 10 mx", "mx A 192.0.2.1", "_25._tcp.mx CNAME t.s")),
                     Zone("s", (f"t {MAIL[2].removeprefix('_25._tcp.mx ')}",))))),
    # DNAME
    Scene("dname_makes_the_alias", "A signed DNAME makes the alias, which itself has no signature.", "SEC-67", BELOW,
          "secure", tree=RENAMED, aliases="h.e.example"),
    Scene("dname_makes_a_forged_alias", "The alias that comes with a DNAME leads elsewhere; the DNAME counts.",
          "SEC-67 SEC-68", BELOW, "secure", tree=RENAMED, aliases="h.e.example",
          hurts=(harm(put("h.evil.example."), "CNAME", asked=BELOW),)),
    Scene("dname_target_is_asked_for", "After a forged alias the question goes to the target that the DNAME makes.",
          "SEC-68", BELOW, "secure", tree=RENAMED, aliases="h.e.example",
          hurts=(harm(put("h.evil.example."), "CNAME", asked=BELOW), harm("lost set", "A", asked=BELOW, owner="h.e.example"))),
    Scene("dname_without_its_alias", "The alias that the DNAME makes is left out.", "SEC-67 SEC-68", BELOW, "secure",
          tree=RENAMED, aliases="h.e.example", hurts=(_dname_alone,)),
    Scene("dname_is_unsigned", "The signature over the DNAME is stripped.", "SEC-67 SEC-21", BELOW, "bogus",
          "RRSIG over d.example/DNAME is missing", 10, tree=RENAMED, hurts=(harm("no signature", "DNAME"),)),
    Scene("dname_is_altered", "The target of the DNAME is altered.", "SEC-67 SEC-30", BELOW, "bogus",
          "RRSIG over d.example DNAME", 6, tree=RENAMED, hurts=(harm("altered record", "DNAME"),)),
    Scene("dname_is_left_out", "The DNAME is left out, and the alias it made has no signature.", "SEC-67 SEC-68", BELOW,
          "bogus", "RRSIG over h.d.example/CNAME is missing", 10, tree=RENAMED, hurts=(harm("lost set", "DNAME", asked=BELOW),)),
    Scene("dname_to_an_insecure_zone", "A signed DNAME leads into a zone that is not signed.", "SEC-66 SEC-67", BELOW,
          "insecure", "u.example. is delegated without DS records", aliases="h.u.example",
          tree=Tree((Zone("", ("d DNAME u",)), Zone("u", ("h A 192.0.2.1",), signed=False)))),
    Scene("dname_owner_is_asked_for", "A DNAME does not rename its own owner.", "SEC-67", "d.example A", "secure",
          tree=tree("d DNAME e", "d A 192.0.2.1", "h.e A 192.0.2.1")),
    Scene("dname_itself_is_asked_for", "The question is for the DNAME record.", "SEC-67", "d.example DNAME", "secure",
          tree=RENAMED),
    Scene("alias_below_a_dname_is_asked_for", "The question is for the alias that a DNAME makes.", "SEC-67",
          "h.d.example CNAME", "secure", tree=RENAMED),
    Scene("dname_makes_too_long_a_name", "The name that the DNAME makes has more than 255 octets.", "SEC-67",
          f"{'x' * 63}.{'x' * 63}.d.example A", "indeterminate", "the DNAME at d.example makes too long a name",
          failure="chain", tree=tree(f"d DNAME {'y' * 63}.{'y' * 63}.e"), hurts=(in_answer("says NOERROR", f"{'x' * 63}.{'x' * 63}.d.example A"),)),
    Scene("dname_then_alias", "A DNAME leads to an alias, and that to records.", "SEC-66 SEC-67", BELOW, "secure",
          tree=tree("d DNAME e", "h.e CNAME b", "b A 192.0.2.1"), aliases="h.e.example b.example"),
    # Circles
    Scene("two_aliases_in_a_circle", "Two aliases lead to each other.", "SEC-69", ASKED, "indeterminate",
          "go in a circle", failure="chain", tree=tree("a CNAME b", "b CNAME a")),
    Scene("alias_to_itself", "An alias leads to itself.", "SEC-69", ASKED, "indeterminate",
          "go in a circle", failure="chain", tree=tree("a CNAME a")),
    Scene("dname_below_itself", "A DNAME leads to a name below its own owner, without end.", "SEC-69 SEC-63", BELOW,
          "indeterminate", "more than 4 aliases for one question", failure="indeterminate", tree=tree("d DNAME d.d"),
          rules="links=4"),
    Scene("circle_through_an_insecure_zone", "Two aliases lead to each other, and one is in a zone that is not signed.",
          "SEC-69", ASKED, "indeterminate", "go in a circle", failure="chain",
          tree=Tree((Zone("", ("a CNAME c.u",)), Zone("u", ("c CNAME a.{apex}.",), signed=False)))),
)  # fmt: skip
