"""The canonical form of what is signed: what a resolver may change without harm, and what it may not."""

from functools import partial

import dns.name

from tests.dnssec.harm import Patient, field
from tests.dnssec.scenes import MAIL, Scene, hashed, tree
from tests.dnssec.tampering import harm, put, set_ttl

MX, TLSA_AT = "example MX", "_25._tcp.mx.example TLSA"


def _reversed(patient: Patient) -> None:
    patient.put(list(patient.rrset)[::-1])


def _next_in_capitals(patient: Patient) -> None:
    """Write the next name of NSEC records in capitals."""
    patient.put([one.replace(next=dns.name.from_text(one.next.to_text().upper())) for one in patient.rrset])


STORIES = (
    Scene("owner_in_capitals", "The owner of the records and of their signature comes in capitals.", "SEC-29", TLSA_AT,
          "secure", hurts=(harm("capitals", "TLSA"),)),
    Scene("target_in_capitals", "The target of the MX record comes in mixed case, which counts as lower case.", "SEC-29",
          MX, "secure", hurts=(harm(put("10 Mx.EXAMPLE."), "MX"),)),
    Scene("zone_was_signed_with_capitals", "The zone itself writes names in mixed case.", "SEC-29", MX, "secure",
          tree=tree("@ MX 10 Mx.Example.", "MX A 192.0.2.1")),
    Scene("alias_target_in_capitals", "The target of a CNAME record comes in mixed case.", "SEC-29", "a.example A",
          "secure", tree=tree("a CNAME mx", "mx A 192.0.2.1"), hurts=(harm(put("MX.Example."), "CNAME"),),
          aliases="MX.Example"),
    Scene("signer_in_capitals", "The name of the signer comes in capitals, which counts as lower case.", "SEC-29", MX,
          "secure", hurts=(harm(partial(field, signer=dns.name.from_text("EXAMPLE")), "MX"),)),
    Scene("records_in_another_order", "The records come in another order than they were signed in.", "SEC-29", MX,
          "secure", tree=tree("@ MX 10 mx", "@ MX 20 mx2", "@ MX 30 mx3"), hurts=(harm(_reversed, "MX"),)),
    Scene("ttl_is_lowered_on_the_way", "A cache has counted the TTL down.", "SEC-29 SEC-31", MX, "secure", ttl=17,
          hurts=(harm(set_ttl(17, signature=17), "MX"),)),
    Scene("ttl_is_raised_on_the_way", "Someone has raised the TTL, which is capped by the original one.",
          "SEC-29 SEC-31", MX, "secure", ttl=300, hurts=(harm(set_ttl(86400, signature=86400), "MX"),)),
    Scene("next_name_in_capitals_as_signed", "An NSEC record points to a name that the zone writes in mixed case.",
          "SEC-29 SEC-34", "mx.example AAAA", "secure", tree=tree(*MAIL[:2], "Next A 192.0.2.1"),
          finds="no records"),
    Scene("next_name_in_capitals_on_the_way", "The next name of an NSEC record is put in capitals, and is as it was.",
          "SEC-29 SEC-34", "mx.example AAAA", "bogus", "RRSIG over mx.example NSEC", 6, tree=tree(*MAIL[:2]),
          hurts=(harm(_next_in_capitals, "NSEC", "", "mx.example AAAA"),)),
    Scene("digest_in_capitals", "The owner of the DS record comes in capitals.", "SEC-29 SEC-03", MX, "secure",
          hurts=(harm("capitals", "DS"),)),
    Scene("hashed_owner_in_capitals", "The owner of an NSEC3 record comes in capitals.", "SEC-29 SEC-51",
          "mx.example AAAA", "secure", tree=hashed(*MAIL), finds="no records",
          hurts=(harm("capitals", "NSEC3"),)),
    Scene("wildcard_in_mixed_case", "A wildcard of a zone in mixed case is expanded.", "SEC-29 SEC-32", "a.w.example A",
          "secure", tree=tree("*.W A 192.0.2.1")),
    Scene("text_is_not_lowered", "Text in records keeps its case: another case is an altered record.", "SEC-29 SEC-30",
          "t.example TXT", "bogus", "RRSIG over t.example TXT", 6, tree=tree('t TXT "Text"'),
          hurts=(harm(put('"TEXT"'), "TXT"),)),
    Scene("record_of_an_unknown_type", "Records of a type without a name are signed like others.", "SEC-29",
          "t.example TYPE65280", "secure", tree=tree("t TYPE65280 \\# 3 010203")),
)  # fmt: skip
