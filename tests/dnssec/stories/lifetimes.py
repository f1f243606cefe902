"""How long an outcome may be kept: never longer than any record, signature or proof that it rests on."""

from functools import partial

from tests.dnssec.harm import Patient, signed_at
from tests.dnssec.scenes import MAIL, Hurt, Scene, hashed, tree
from tests.dnssec.tampering import harm, set_ttl
from tests.dnssec.zones import DAY, Denial, Tree, Zone

MX, NONE = "example MX", "mx.example AAAA"
TREE = tree(*MAIL)
UNSIGNED = Tree((Zone(""), Zone("u", MAIL, signed=False)))
ALIAS = tree("a CNAME b", "b A 192.0.2.1")


def _positive(name: str, story: str, ttl: int, *hurts: Hurt, requires: str = "SEC-31", rules: str = "") -> Scene:
    return Scene(name, story, requires, MX, "secure", hurts=hurts, ttl=ttl, rules=rules)


def _negative(name: str, story: str, ttl: int, *hurts: Hurt, requires: str = "SEC-82") -> Scene:
    return Scene(name, story, requires, NONE, "secure", tree=TREE, hurts=hurts, ttl=ttl, finds="no records")


def _start(minimum: int, seconds: int) -> Hurt:
    """Let the zone have another SOA record."""

    def change(patient: Patient) -> None:
        patient.put([patient.rrset[0].replace(minimum=minimum)])
        patient.rrset.ttl = seconds
        patient.sign(None, original_ttl=seconds)

    return harm(change, "SOA", "", NONE)


def _until(seconds: int) -> partial[None]:
    return partial(signed_at, inception=-DAY, expiration=seconds)


STORIES = (
    _positive("records_have_the_least_ttl", "The TTL of the records is the least.", 100, harm(set_ttl(100), "MX")),
    _positive("signature_has_the_least_ttl", "The TTL of the RRSIG record is the least.", 100,
              harm(set_ttl(300, signature=100), "MX")),
    _positive("original_ttl_is_the_least", "The records come with a TTL above the original one.", 300,
              harm(set_ttl(900, signature=900), "MX")),
    _positive("signature_ends_first", "The signature expires before the TTL is over.", 60, harm(_until(60), "MX")),
    _positive("signature_of_the_keys_ends_first", "The signature over the keys expires before all else.", 50,
              harm(_until(50), "DNSKEY", "")),
    _positive("keys_have_the_least_ttl", "The TTL of the keys is the least.", 40,
              harm(set_ttl(40, signature=40), "DNSKEY", "")),
    _positive("digest_has_the_least_ttl", "The TTL of the DS record is the least.", 30,
              harm(set_ttl(30, signature=30), "DS")),
    _positive("root_keys_have_the_least_ttl", "The TTL of the root's keys is the least.", 20,
              harm(set_ttl(20, signature=20), "DNSKEY", ".")),
    _positive("set_and_signature_end_together", "A record set outlives no part of itself: its RRSIG record has TTL 1.", 1,
              harm(set_ttl(300, signature=1), "MX"), requires="SEC-81 SEC-31"),
    _positive("ttl_is_zero", "Records with TTL 0 are secure, and not kept.", 0, harm(set_ttl(0), "MX")),
    _positive("signature_has_just_expired", "A signature that has expired within the tolerance is not kept.", 0,
              harm(_until(-120), "MX"), requires="SEC-31 SEC-27", rules="skew=300"),
    Scene("least_of_all_aliases", "An alias has a lower TTL than what it leads to.", "SEC-31 SEC-66", "a.example A",
          "secure", tree=ALIAS, ttl=25, aliases="b.example", hurts=(harm(set_ttl(25), "CNAME"),)),
    Scene("wildcard_proof_ends_first", "The proof that no name is closer has the least TTL.", "SEC-31 SEC-32",
          "a.w.example A", "secure", tree=tree("*.w A 192.0.2.1"), ttl=15,
          hurts=(harm(set_ttl(15, signature=15), "NSEC", "", "a.w.example A"),)),
    Scene("unsigned_records_by_their_ttl", "Records of an insecure zone are kept for their TTL.", "SEC-31 SEC-18",
          "u.example MX", "insecure", "is delegated without DS records", tree=UNSIGNED, ttl=45,
          hurts=(harm(set_ttl(45), "MX"),)),
    Scene("unsigned_records_by_their_proof", "Records of an insecure zone are kept no longer than the proof of that.",
          "SEC-31 SEC-18 SEC-15", "u.example MX", "insecure", "is delegated without DS records", tree=UNSIGNED, ttl=35,
          hurts=(harm(set_ttl(35, signature=35), "NSEC", "", "u.example DS"),)),
    Scene("bogus_is_kept_for_a_minute", "A broken answer is kept for the 60 seconds of the rules, whatever its TTL.", "SEC-65", MX,
          "bogus", "RRSIG over example MX", 6, ttl=60, rules="bogus_ttl=60", hurts=(harm("altered signature", "MX"),)),
    Scene("broken_chain_is_kept_for_a_minute", "A broken chain is kept for the 60 seconds of the rules, whatever the TTLs.",
          "SEC-65", MX, "bogus", "RRSIG over example DNSKEY", 6, ttl=60, rules="bogus_ttl=60",
          hurts=(harm("altered signature", "DNSKEY", ""),)),
    Scene("no_response_is_not_kept", "An answer whose chain has no response is not kept.", "SEC-65 SEC-21", MX,
          "indeterminate", "no response", 5, ttl=0, failure="timeout", silent=("example DNSKEY",)),
    _negative("denial_by_the_minimum_of_the_zone", "SOA MINIMUM is below the TTL of the SOA record.", 70,
              _start(70, 200)),
    _negative("denial_by_the_ttl_of_the_start", "The TTL of the SOA record is below SOA MINIMUM.", 80, _start(200, 80)),
    _negative("denial_by_the_ttl_of_the_proof", "The TTL of the NSEC record is the least.", 90,
              harm(set_ttl(90), "NSEC", "", NONE)),
    _negative("denial_until_the_signature_ends", "The signature over the NSEC record ends first.", 55,
              harm(_until(55), "NSEC", "", NONE)),
    _negative("denial_without_a_start", "A denial without an SOA record is not kept (RFC 2308 section 5).", 0,
              harm("lost set", "SOA", "", NONE)),
    Scene("denial_of_a_name_by_all_its_proofs", "A denial of a name is kept for the least TTL of its two proofs.",
          "SEC-82 SEC-36", "zz.example A", "secure", finds="no name", ttl=65,
          hurts=(harm(set_ttl(65), "NSEC", "", "zz.example A", "example"),
                 harm(set_ttl(65), "NSEC", "", "zz.example A", "ns.example"))),
    Scene("hashed_denial_by_its_ttl", "A denial by NSEC3 is kept for the TTL of its records.", "SEC-82 SEC-51", NONE,
          "secure", tree=hashed(*MAIL), finds="no records", ttl=75, hurts=(harm(set_ttl(75), "NSEC3", "", NONE),)),
    Scene("insecure_denial_by_the_start", "A denial without proof in an insecure zone is kept by its SOA record.",
          "SEC-82 SEC-18", "mx.u.example AAAA", "insecure", "is delegated without DS records", finds="no records",
          tree=UNSIGNED, ttl=85, hurts=(harm(set_ttl(85), "SOA", "u"),)),
    Scene("opt_out_proof_ends_first", "What is insecure by an opt-out span is kept for the TTL of the span.",
          "SEC-31 SEC-17", "u.example MX", "insecure", "opt-out span", ttl=95,
          tree=Tree((Zone("", denial=Denial(nsec3=True, opt_out=True)), Zone("u", MAIL, signed=False))),
          hurts=(harm(set_ttl(95), "NSEC3", "", "u.example DS"),)),
    Scene("unsupported_chain_is_kept_for_its_parts", "What is insecure by its DS record is kept as long as its parts.",
          "SEC-31 SEC-05", MX, "insecure", "no DS record of example is of an algorithm", rules="algorithms=13", ttl=300),
)  # fmt: skip
