"""Bounds on work: what costs more than the rules allow is indeterminate, and never insecure."""

from typing import cast

import dns.message
import dns.rdtypes.ANY.DS

from tests.dnssec.harm import Harm, Patient
from tests.dnssec.keys import FOREIGN, Key
from tests.dnssec.rekeying import add_key, own, put_ds
from tests.dnssec.scenes import MAIL, Prepare, Scene, World, hashed, tree
from tests.dnssec.tampering import harm, only
from tests.dnssec.tampering import signed_with as signed
from tests.dnssec.zones import Tree, Zone

MX = "example MX"
DEEP = "a.b.c.d.e.f.example A"
CHAIN = tree("a CNAME b", "b CNAME c", "c CNAME d", "d A 192.0.2.1")
KEY = own(2)


def _more_keys(count: int) -> Prepare:
    """Let the zone have more keys."""

    def prepare(world: World) -> None:
        for number in range(count):
            add_key(own(FOREIGN + number))(world)

    return prepare


def _bad_signatures(count: int) -> Harm:
    """Put signatures by other keys of the zone before the good one, none of which fits."""

    def change(patient: Patient) -> None:
        assert patient.signatures is not None
        keys: list[Key] = [own(FOREIGN + number) for number in range(count)]
        made = [patient.signatures[0].replace(key_tag=one.tag) for one in keys]
        patient.put_signatures([*made, *patient.signatures])

    return change


def _twins(patient: Patient) -> None:
    """Let the zone have keys that are none, with the tag of the one that signs, before that."""
    octets = KEY.dnskey.key
    for place in (8, 12, 16, 20):
        first, second = octets[place : place + 2], octets[place + 2 : place + 4]
        made = KEY.dnskey.replace(key=octets[:place] + second + first + octets[place + 4 :])
        patient.put([made, *patient.rrset])
    patient.sign()


def _wrong_digests(world: World) -> None:
    good = KEY.ds(world.tree.absolute(""))
    wrong = [good.replace(digest=bytes([number]) * 32) for number in range(5)]
    put_ds(lambda _: [*cast(list[dns.rdtypes.ANY.DS.DS], wrong), good])(world)


def _all_denials(world: World, message: dns.message.Message) -> None:
    """Add all NSEC records of the zone."""
    for name in sorted(world.zone().denied):
        message.authority += [rrset for rrset in world.zone().covering(name) if rrset not in message.authority]


def _signed_by_many(name: str, story: str, count: int, status: str, why: str, rules: str) -> Scene:
    """Tell of MX records with signatures that do not fit, before the one that does."""
    return Scene(
        name, story, "SEC-59 SEC-60", MX, status, why, prepare=(_more_keys(count),), rules=rules,
        hurts=(harm(_bad_signatures(count), "MX"),), failure="indeterminate" if why else "",
    )  # fmt: skip


STORIES = (
    _signed_by_many("signatures_within_the_bound", "Three signatures are broken, and the fourth is good.", 3, "secure",
                    "", "checks_per_set=4"),
    _signed_by_many("too_many_signatures_over_one_set", "Four signatures are broken, and no more are looked at.", 4,
                    "indeterminate", "more than 4 signature checks for example MX", "checks_per_set=4"),
    _signed_by_many("too_many_signatures_for_one_question", "The checks of a whole chain are more than the rules allow.", 3,
                    "indeterminate", "more than 5 signature checks for one question", "checks=5"),
    Scene("whole_chain_within_the_bound", "A chain of two zones takes four checks.", "SEC-59 SEC-60", MX, "secure",
          rules="checks=4"),
    Scene("whole_chain_above_the_bound", "A chain of two zones takes four checks, and three are allowed.",
          "SEC-59 SEC-60", MX, "indeterminate", "more than 3 signature checks for one question", failure="indeterminate",
          rules="checks=3"),
    Scene("too_many_keys_of_one_tag", "Five keys have the tag of one signature.", "SEC-59 SEC-60 SEC-28", MX,
          "indeterminate", "keys with one tag for example", failure="indeterminate", rules="same_tag_keys=4",
          hurts=(harm(_twins, "DNSKEY", ""), harm(signed(own(FOREIGN), key_tag=KEY.tag), "MX"))),
    Scene("keys_of_one_tag_within_the_bound", "Two keys have the tag of one signature, and both may be tried.",
          "SEC-60 SEC-62 SEC-28", MX, "secure", rules="same_tag_keys=2",
          hurts=(harm("one more key of the same tag", "DNSKEY", ""),)),
    Scene("keys_of_one_tag_above_the_bound", "Two keys have the tag of one signature, and one may be tried.",
          "SEC-59 SEC-60", MX, "indeterminate", "more than 1 keys with one tag for example MX", failure="indeterminate",
          rules="same_tag_keys=1", hurts=(harm("one more key of the same tag", "DNSKEY", ""),)),
    Scene("too_many_wrong_digests", "Five DS records have the tag of a key, and not its digest.", "SEC-59 SEC-60", MX,
          "indeterminate", "more than 4 wrong digests in example DS", failure="indeterminate", rules="failed_digests=4", prepare=(_wrong_digests,)),
    Scene("wrong_digests_within_the_bound", "Five DS records have the tag of a key and not its digest; six may.",
          "SEC-60", MX, "secure", rules="failed_digests=6", prepare=(_wrong_digests,)),
    Scene("too_many_hashes", "A name has more labels than there may be hashes.", "SEC-59 SEC-61", DEEP, "indeterminate",
          "more than 4 weighted NSEC3 hashes for one question", failure="indeterminate", tree=hashed(*MAIL),
          rules="nsec3_hashes=4"),
    Scene("hashes_within_the_bound", "A name of six labels below its encloser takes eight hashes.", "SEC-61", DEEP,
          "secure", tree=hashed(*MAIL), rules="nsec3_hashes=8", finds="no name"),
    Scene("hashes_of_many_iterations_count_more", "Hashes of 100 iterations count three times.", "SEC-59 SEC-61", DEEP,
          "indeterminate", "more than 20 weighted NSEC3 hashes", failure="indeterminate",
          tree=hashed(*MAIL, iterations=100), rules="nsec3_hashes=20"),
    Scene("too_many_questions", "The way down takes more questions than the rules allow.", "SEC-59 SEC-63",
          "a.b.c.example A", "indeterminate", "queries for one question", failure="indeterminate",
          tree=Tree((Zone(""), Zone("c"), Zone("b.c", ("a A 192.0.2.1",)))), rules="queries=4"),
    Scene("questions_within_the_bound", "The way down through three zones takes seven questions.", "SEC-63",
          "a.b.c.example A", "secure", tree=Tree((Zone(""), Zone("c"), Zone("b.c", ("a A 192.0.2.1",)))),
          rules="queries=7"),
    Scene("too_many_aliases", "Three aliases lead to records, and two may be followed.", "SEC-63", "a.example A",
          "indeterminate", "more than 2 aliases for one question", failure="indeterminate", tree=CHAIN, rules="links=2"),
    Scene("aliases_within_the_bound", "Three aliases lead to records, and as many may be followed.", "SEC-63",
          "a.example A", "secure", tree=CHAIN, rules="links=3", aliases="b.example c.example d.example"),
    Scene("many_denials_in_one_answer", "An answer brings far more NSEC records than its proof needs.", "SEC-59 SEC-60",
          "n.example A", "indeterminate", "more than 6 signature checks for one question", failure="indeterminate",
          tree=tree(*MAIL), rules="checks=6",
          hurts=(only("n.example A", _all_denials),)),
)  # fmt: skip
