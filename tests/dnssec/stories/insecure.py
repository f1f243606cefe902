"""Insecure delegations: only the signed denial of DS records by the zone above makes what is below insecure."""

from dataclasses import replace
from functools import partial

from dns.rdatatype import CNAME

from tests.dnssec.harm import parameters, types
from tests.dnssec.scenes import HASHED, MAIL, Scene
from tests.dnssec.tampering import borrow, harm, in_answer, lost_hash, only
from tests.dnssec.zones import Denial, Tree, Zone

MX, DS = "u.example MX", "u.example DS"
UNSIGNED = Zone("u", MAIL, signed=False)
SIGNED = Zone("u", MAIL, secure=False)
BY_NSEC = Tree((Zone("", ("t A 192.0.2.1",)), UNSIGNED))
BY_NSEC3 = Tree((Zone("", denial=HASHED), UNSIGNED))
OPT_OUT = Tree((Zone("", denial=replace(HASHED, opt_out=True)), UNSIGNED))
NOTHING = "nothing proves that u.example has no DS records"
DELEGATED = "u.example. is delegated without DS records"
DENIAL = {"NSEC": BY_NSEC, "NSEC3": BY_NSEC3}


def _both(name: str, story: str, requires: tuple[str, str], what: str, why: str, ede: int) -> list[Scene]:
    """Tell one story with NSEC and with NSEC3."""
    found = []
    for (kind, there), needs in zip(DENIAL.items(), requires, strict=True):
        hurt = harm(what, kind, "", DS)
        name_of, text = f"{name}_by_{kind.lower()}", f"{story} ({kind})."
        found.append(Scene(name_of, text, needs, MX, "bogus", why, ede, tree=there, hurts=(hurt,)))
    return found


STORIES = (
    Scene("denial_by_nsec", "The NSEC record at the cut says NS, and neither DS nor SOA.", "SEC-15", MX, "insecure",
          DELEGATED, tree=BY_NSEC),
    Scene("denial_by_nsec3", "The NSEC3 record of the cut says NS, and neither DS nor SOA.", "SEC-16 SEC-52", MX,
          "insecure", DELEGATED, tree=BY_NSEC3),
    *_both("denial_says_there_is_no_cut", "The denial has no NS bit, so the zone's keys hold below, and nothing is signed",
           ("SEC-15 SEC-21", "SEC-16 SEC-21"), "denial says there is no cut", "RRSIG over u.example/MX is missing", 10),
    *_both("denial_is_of_the_zone_below", "The denial has the SOA bit: it is that of the zone below",
           ("SEC-15 SEC-14", "SEC-16 SEC-14"), "denial says it is of the zone below", NOTHING, 6),
    *_both("denial_says_there_is_ds", "The denial has the DS bit", ("SEC-15", "SEC-16 SEC-52"),
           "denial says there is the type", NOTHING, 6),
    *_both("denial_is_unsigned", "The denial is not signed", ("SEC-15 SEC-21", "SEC-16 SEC-21"), "no signature", "is missing", 10),
    *_both("denial_is_altered", "The denial is altered on the way", ("SEC-15", "SEC-16"), "altered record", "does not fit the records", 6),
    *_both("denial_is_left_out", "The denial is left out", ("SEC-15 SEC-21", "SEC-16 SEC-21"), "lost set", NOTHING, 12),
    Scene("denial_has_expired", "The signature over the denial of DS has expired.", "SEC-15 SEC-26", MX, "bogus",
          "RRSIG over u.example NSEC by example/15/", 7, tree=BY_NSEC, hurts=(harm("expired", "NSEC", "", DS),)),
    Scene("denial_is_of_another_name", "The denial is a good one of another name.", "SEC-15", MX, "bogus", NOTHING, 12,
          tree=BY_NSEC, hurts=(only(DS, borrow("t.example DS")),)),
    Scene("denial_is_of_another_hash", "The denial is a good one of another name (NSEC3).", "SEC-16", MX, "bogus",
          NOTHING, 12, tree=BY_NSEC3, hurts=(only(DS, borrow("ns.example DS")),)),
    Scene("opt_out_span", "An opt-out span covers the delegation.", "SEC-17 SEC-52", MX, "insecure",
          "NSEC3 records show that u.example. is not delegated with DS records, but an opt-out span", tree=OPT_OUT),
    Scene("span_without_opt_out", "The span that covers the delegation has no opt-out flag.", "SEC-17 SEC-52", MX,
          "bogus", NOTHING, 12, tree=OPT_OUT, hurts=(harm(partial(parameters, flags=0), "NSEC3", "", DS),)),
    Scene("opt_out_flag_is_set_on_the_way", "Someone sets the opt-out flag of a span without signing it anew.",
          "SEC-17", MX, "bogus", "does not fit the records", 6,
          tree=OPT_OUT, hurts=(harm(partial(parameters, flags=0), "NSEC3", "", DS),
                               harm(partial(parameters, flags=1, resign=False), "NSEC3", "", DS))),
    Scene("opt_out_span_without_encloser", "An opt-out span comes without the record of the closest encloser.",
          "SEC-17 SEC-48", MX, "bogus", NOTHING, 12, tree=OPT_OUT,
          hurts=(lost_hash("example", asked=DS),)),
    Scene("child_is_signed_without_ds", "A zone is signed, but the parent proves that it has no DS records.", "SEC-18",
          MX, "insecure", DELEGATED, tree=Tree((Zone(""), SIGNED))),
    Scene("signatures_below_are_broken", "Broken signatures in a zone without DS records are no matter.", "SEC-18", MX,
          "insecure", DELEGATED, tree=Tree((Zone(""), SIGNED)), hurts=(harm("altered signature", "MX"),)),
    Scene("grandchild_of_an_unsigned_zone", "A signed zone below one that is not signed is insecure.", "SEC-18",
          "s.u.example MX", "insecure", DELEGATED, tree=Tree((Zone(""), Zone("u", signed=False), Zone("s.u", MAIL)))),
    Scene("nothing_is_there_below", "Below an insecure delegation a denial needs no proof.", "SEC-18 SEC-44",
          "nothing.u.example MX", "insecure", DELEGATED, tree=BY_NSEC, finds="no name"),
    Scene("no_such_type_below", "Below an insecure delegation an empty answer needs no proof.", "SEC-18",
          "mx.u.example AAAA", "insecure", DELEGATED, tree=BY_NSEC, finds="no records"),
    Scene("delegation_below_empty_names", "A cut two labels below the apex, with a name between that has no records.",
          "SEC-15 SEC-35", "u.e.example MX", "insecure", "u.e.example. is delegated without DS records",
          tree=Tree((Zone(""), Zone("u.e", MAIL, signed=False)))),
    Scene("apex_says_it_is_unsigned", "The top of all is signed, and the zone below it has no DS records.", "SEC-15",
          "example MX", "insecure", "example. is delegated without DS records", tree=Tree((Zone("", MAIL, signed=False),))),
    Scene("ds_itself_is_asked_for", "The question is for the DS records of an unsigned zone: their denial is secure.",
          "SEC-15 SEC-38 SEC-52", DS, "secure", tree=BY_NSEC, finds="no records",
          proof="the NSEC record of u.example. lists no DS records"),
    Scene("ds_itself_in_an_opt_out_span", "The question is for DS records in an opt-out span.", "SEC-17 SEC-52 SEC-55",
          DS, "insecure", "an opt-out span leaves room for unsigned delegations", tree=OPT_OUT, finds="no records"),
    Scene("ds_itself_denied_at_an_alias", "The NSEC3 record that denies DS has the CNAME bit.", "SEC-52", DS, "bogus",
          "u.example. has CNAME records", 6, tree=BY_NSEC3, hurts=(harm(partial(types, more=(CNAME,)), "NSEC3", ""),)),
    Scene("delegation_does_not_exist_it_is_said", "The question for DS is answered NXDOMAIN with the denial at the cut.",
          "SEC-15 SEC-36", MX, "bogus", NOTHING, 12, tree=BY_NSEC, hurts=(in_answer("says NXDOMAIN", DS),)),
    Scene("too_many_iterations", "The denial of DS has more iterations than the rules allow, and is signed.",
          "SEC-56 SEC-57 SEC-58 SEC-16", MX, "insecure", "(EDE 27)",
          rules="nsec3_iterations=100", tree=Tree((Zone("", denial=Denial(nsec3=True, iterations=101)), UNSIGNED))),
    Scene("iterations_are_altered_on_the_way", "Someone raises the iterations in a denial of DS.", "SEC-56 SEC-16", MX,
          "bogus", "does not fit the records", 6, tree=BY_NSEC3,
          hurts=(harm(partial(parameters, iterations=1000, resign=False), "NSEC3", "", DS),)),
)  # fmt: skip
