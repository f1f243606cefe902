"""Damages: small named values that say what is wrong with an answer, and the answers of a tree that has them.

A damage of a record set hits the sets of one type from one zone in every answer; a damage of the message hits the answers
to questions of one type. What it does is a row of `tests.dnssec.harm.TABLE`, or of `MESSAGES` here. Some do no harm.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.rdatatype import NSEC, NSEC3, RRSIG, RdataType

from tests.dnssec.authority import answer
from tests.dnssec.harm import TABLE, Patient
from tests.dnssec.zones import Built, Sets, SignedZone, Tree, built


def _rcode(rcode: dns.rcode.Rcode) -> Callable[[dns.message.Message], None]:
    return lambda message: message.set_rcode(rcode)


def _empty(message: dns.message.Message) -> None:
    message.answer, message.authority = [], []


def _strip(message: dns.message.Message) -> None:
    hidden = {RRSIG, NSEC, NSEC3}
    message.answer = [one for one in message.answer if one.rdtype not in hidden]
    message.authority = [one for one in message.authority if one.rdtype not in hidden]


def _no_authority(message: dns.message.Message) -> None:
    message.authority = []


def _failed(message: dns.message.Message) -> None:
    _empty(message)
    message.set_rcode(dns.rcode.SERVFAIL)


def _refused(message: dns.message.Message) -> None:
    _empty(message)
    message.set_rcode(dns.rcode.REFUSED)


MESSAGES: dict[str, Callable[[dns.message.Message], None]] = {
    "says NXDOMAIN": _rcode(dns.rcode.NXDOMAIN),
    "says NOERROR": _rcode(dns.rcode.NOERROR),
    "server failure": _failed,
    "refused": _refused,
    "empty": _empty,
    "no DNSSEC records": _strip,
    "no proofs": _no_authority,
}
WHATS = (*TABLE, *MESSAGES)
# What Unbound forgives and the RFCs do not, with the types of sets ("" for all): a signer above the zone (RFC 4035 section
# 5.3.1), SHA-1 where SHA-256 fails (RFC 4509 section 3), all that seems to come from a wildcard and is no answer.
LENIENT = frozenset(
    {
        ("signed by the zone above", ""),
        ("wrong DS of SHA-256", "DS"),
        ("fewer labels", "DS"),
        ("fewer labels", "DNSKEY"),
        ("fewer labels", "SOA"),
        ("fewer labels", "NSEC"),
        ("fewer labels", "NSEC3"),
    }
)


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong: `what`, in sets (or answers to questions) of a type, from one zone, or from all (None).

    The zone is relative to the apex, and "." is the root; DS is from the zone above. `nth` counts the sets of an answer
    that fit, and begins again after the last; None is all of them.
    """

    what: str
    rdtype: str
    zone: str | None = None
    nth: int | None = None

    def apply(self, tree: Tree, message: dns.message.Message) -> None:
        """Change an answer of the tree."""
        there = built(tree)
        wanted = None if self.zone is None else there.zones.get(tree.absolute(self.zone))
        rdtype = dns.rdatatype.from_text(self.rdtype)
        if self.what in MESSAGES:
            question = message.question[0]
            if question.rdtype == rdtype and wanted in {None, there.of(question.name, rdtype)}:
                MESSAGES[self.what](message)
            return
        patients = [
            patient
            for section in (message.answer, message.authority)
            for rrset in section
            if rrset.rdtype == rdtype
            for patient in [_patient(there, message, section, rrset)]
            if wanted in {None, patient.zone}
        ]
        if self.nth is not None and patients:
            patients = [patients[self.nth % len(patients)]]
        for patient in patients:
            TABLE[self.what](patient)


def _patient(there: Built, message: dns.message.Message, section: Sets, rrset: dns.rrset.RRset) -> Patient:
    zone = _zone(there, section, rrset)
    above = zone if zone.origin == dns.name.root else there.of(zone.origin.parent())
    return Patient(message, section, rrset, zone, above)


def _zone(there: Built, section: Sets, rrset: dns.rrset.RRset) -> SignedZone:
    """Find the zone of a set; that of a denial at a cut shows only in its signature."""
    if rrset.rdtype in {NSEC, NSEC3}:
        for one in section:
            if (
                one.rdtype == RRSIG
                and one.name == rrset.name
                and one.covers == rrset.rdtype
                and one[0].signer in there.zones
            ):
                return there.zones[one[0].signer]
    return there.of(rrset.name, rrset.rdtype)


def answers(tree: Tree, damages: Sequence[Damage], name: dns.name.Name, rdtype: RdataType) -> dns.message.Message:
    """Answer as `authority.answer` does, with damages, one after the other."""
    message = answer(tree, name, rdtype)
    for damage in damages:
        damage.apply(tree, message)
    return message
