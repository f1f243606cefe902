"""What can be done to the answers of a scene: to record sets, to denials, to messages as a whole.

Each function makes a `Hurt`, or a `Harm` that `harm` makes one of. Names are absolute, but for those of zones.
"""

from collections.abc import Callable

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype

from tests.dnssec.damage import MESSAGES, _patient
from tests.dnssec.harm import TABLE, Harm, Patient
from tests.dnssec.keys import Key
from tests.dnssec.scenes import Hurt, World
from tests.dnssec.story import question


def harm(
    what: str | Harm, rdtype: str, zone: str | None = None, asked: str | None = None, owner: str | None = None
) -> Hurt:
    """Do something to the sets of a type: of one zone, in the answer to one question, with one owner, or to all."""
    does = TABLE[what] if isinstance(what, str) else what
    wanted = dns.rdatatype.from_text(rdtype)

    def hurt(world: World, message: dns.message.Message) -> None:
        if asked is not None and not _is_about(message, asked):
            return
        there = world.built
        found = [
            _patient(there, message, section, rrset)
            for section in (message.answer, message.authority)
            for rrset in section
            if rrset.rdtype == wanted and (owner is None or rrset.name == dns.name.from_text(owner))
        ]
        for patient in found:
            if zone is None or patient.zone is world.zone(zone):
                does(patient)

    return hurt


def in_answer(what: str | Callable[[dns.message.Message], None], asked: str) -> Hurt:
    """Do something to the answer to one question, as a whole."""
    does = MESSAGES[what] if isinstance(what, str) else what
    return lambda _, message: does(message) if _is_about(message, asked) else None


def everywhere(what: str) -> Hurt:
    """Do something to all answers as a whole."""
    return lambda _, message: MESSAGES[what](message)


def _is_about(message: dns.message.Message, asked: str) -> bool:
    there, wanted = message.question[0], question(asked)
    return there.name == dns.name.from_text(wanted.name) and dns.rdatatype.to_text(there.rdtype) == wanted.rdtype


def rcode(text: str) -> Callable[[dns.message.Message], None]:
    """Answer with nothing but an RCODE."""

    def change(message: dns.message.Message) -> None:
        message.answer, message.authority = [], []
        message.set_rcode(dns.rcode.from_text(text))

    return change


def extended(code: int, text: str) -> Callable[[dns.message.Message], None]:
    """Add an extended error (RFC 8914)."""

    def change(message: dns.message.Message) -> None:
        there = message.rcode()
        message.use_edns(0, ednsflags=dns.flags.DO, options=[dns.edns.EDEOption(dns.edns.EDECode.make(code), text)])
        message.set_rcode(there)

    return change


def authentic(message: dns.message.Message) -> None:
    """Set the AD bit."""
    message.flags |= dns.flags.AD


def borrow(asked: str, section: str = "authority", rdtype: str | None = None) -> Hurt:
    """Put what the answer to another question has in a section in the place of what is there, of all or one type."""

    def hurt(world: World, message: dns.message.Message) -> None:
        name, kind = asked.split()
        other = world.answer(dns.name.from_text(name), dns.rdatatype.from_text(kind))
        kept = getattr(other, section)
        if rdtype is not None:
            wanted = dns.rdatatype.from_text(rdtype)
            kept = [one for one in kept if wanted in {one.rdtype, one.covers}]
        setattr(message, section, kept)

    return hurt


def denial_of(name: str, *, beside: bool = False) -> Hurt:
    """Put the denial that the apex has of a name in the place of what the authority section has, or beside it."""

    def hurt(world: World, message: dns.message.Message) -> None:
        kept = message.authority if beside else []
        message.authority = [*kept, *world.zone().matching(dns.name.from_text(name))]

    return hurt


def made_for(name: str, wildcard: str, rdtype: str) -> Hurt:
    """Add records of a wildcard of the apex, as if they were made for a name."""

    def hurt(world: World, message: dns.message.Message) -> None:
        rrset = world.zone().sets[dns.name.from_text(wildcard)][dns.rdatatype.from_text(rdtype)]
        message.answer += world.zone().shown(rrset, dns.name.from_text(name))

    return hurt


def only(asked: str, *hurts: Hurt) -> Hurt:
    """Do things to the answer to one question alone."""

    def hurt(world: World, message: dns.message.Message) -> None:
        if _is_about(message, asked):
            for one in hurts:
                one(world, message)

    return hurt


def lost(owner: str, rdtype: str = "NSEC", asked: str | None = None) -> Hurt:
    """Leave out the set of one owner."""
    return harm("lost set", rdtype, asked=asked, owner=owner)


def lost_hash(of: str, zone: str = "", asked: str | None = None, *, cover: bool = False) -> Hurt:
    """Leave out the NSEC3 set that matches a name, or the one that covers it."""
    return by_hash("lost set", of, zone, asked, cover=cover)


def by_hash(what: str | Harm, of: str, zone: str = "", asked: str | None = None, *, cover: bool = False) -> Hurt:
    """Do something to the NSEC3 set that matches a name, or the one that covers it."""

    def hurt(world: World, message: dns.message.Message) -> None:
        there = world.zone(zone)
        name = dns.name.from_text(of)
        found = (there.covering if cover else there.matching)(name)
        harm(what, "NSEC3", zone, asked, found[0].name.to_text())(world, message)

    return hurt


def signed_with(by: Key, *, beside: bool = False, **changes: object) -> Harm:
    """Sign with a key, in the place of the signature there is or beside it, with some fields changed."""

    def change(patient: Patient) -> None:
        old = list(patient.signatures or ()) if beside else []
        patient.put_signatures([patient.signed(by, **changes), *old])

    return change


def again(**changes: object) -> Harm:
    """Sign anew by the same key, with some fields changed."""
    return lambda patient: patient.sign(None, **changes)


def put(*texts: str) -> Harm:
    """Put other records in the place of those of the set; its signature stays."""
    return lambda patient: patient.put([dns.rdata.from_text("IN", patient.rrset.rdtype, text) for text in texts])


def set_ttl(seconds: int, *, signature: int | None = None) -> Harm:
    """Change the TTL of the set, and that of its signature."""

    def change(patient: Patient) -> None:
        patient.rrset.ttl = seconds
        if patient.signatures is not None and signature is not None:
            patient.signatures.ttl = signature

    return change
