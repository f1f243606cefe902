"""What is done to a record set in an answer: each function changes a `Patient`, and so the message it is in.

A function with `resign` leaves a set whose signature fits: the zone itself says what is wrong. All others leave the
signature as it was.
"""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import cast

import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdtypes.ANY.DS
import dns.rdtypes.ANY.NSEC
import dns.rdtypes.ANY.NSEC3
import dns.rdtypes.ANY.RRSIG
import dns.rrset
from dns.rdatatype import CNAME, DNAME, DNSKEY, DS, MX, NS, NSEC, NSEC3, RRSIG, SOA, RdataType
from dns.rdtypes.util import Bitmap

from tests.dnssec.keys import ALGORITHMS, ENTRY_POINT, FOREIGN, ZONE_KEY, Key, key
from tests.dnssec.zones import DAY, NOW, TTL, Sets, SignedZone, record_set

Signature = dns.rdtypes.ANY.RRSIG.RRSIG
DsRecord = dns.rdtypes.ANY.DS.DS
_AT = int(NOW.timestamp())
_NAMES = {MX: "exchange", NS: "target", CNAME: "target", DNAME: "target", SOA: "mname", NSEC: "next"}
UNKNOWN = 200  # an algorithm, and a digest, that nobody knows


@dataclass(slots=True)
class Patient:
    """A record set in a section of a message, with the zone it is from and the zone above that."""

    message: dns.message.Message
    section: Sets
    rrset: dns.rrset.RRset
    zone: SignedZone
    above: SignedZone

    @property
    def signatures(self) -> dns.rrset.RRset | None:
        """Give the signatures over the set that stand in the same section."""
        name, rdtype = self.rrset.name, self.rrset.rdtype
        return next((one for one in self.section if (one.name, one.rdtype, one.covers) == (name, RRSIG, rdtype)), None)

    @property
    def signer(self) -> Key:
        """Give the key that signs the set."""
        return self.zone.entry if self.rrset.rdtype == DNSKEY else self.zone.signer

    def put(self, records: Iterable[dns.rdata.Rdata]) -> None:
        """Put other records in the place of those of the set."""
        made = record_set(self.rrset.name, self.rrset.rdtype, records)
        made.ttl = self.rrset.ttl
        self.section[self._place(self.rrset)] = made
        self.rrset = made

    def drop(self, rrset: dns.rrset.RRset | None) -> None:
        """Take a set out of the section."""
        if rrset is not None:
            del self.section[self._place(rrset)]

    def sign(self, by: Key | None = None, **changes: object) -> None:
        """Sign the set anew: the first signature with some fields changed."""
        self.put_signatures([self.signed(by, **changes)] if self.signatures else [])

    def signed(self, by: Key | None = None, **changes: object) -> Signature:
        """Make a signature as the first is, with some fields changed."""
        assert self.signatures is not None
        by = by or self.signer
        template = self.signatures[0].replace(**{"algorithm": by.dnskey.algorithm, "key_tag": by.tag} | changes)
        return by.sign(self.rrset, cast(Signature, template))

    def put_signatures(self, signatures: Iterable[dns.rdata.Rdata]) -> None:
        """Put other signatures in the place of those there are."""
        if self.signatures is not None:
            made = record_set(self.rrset.name, RRSIG, signatures, self.rrset.rdtype)
            self.section[self._place(self.signatures)] = made

    def _place(self, rrset: dns.rrset.RRset) -> int:
        return next(place for place, one in enumerate(self.section) if one is rrset)


Harm = Callable[[Patient], None]


# Signatures


def field(patient: Patient, **changes: object) -> None:
    """Change fields of the signatures, and nothing else."""
    if patient.signatures is not None:
        patient.put_signatures([one.replace(**changes) for one in patient.signatures])


def flip(patient: Patient) -> None:
    """Change one bit of the signatures."""
    if patient.signatures is not None:
        patient.put_signatures([_flipped(one) for one in patient.signatures])


def _flipped(signature: dns.rdata.Rdata) -> dns.rdata.Rdata:
    octets = bytearray(cast(Signature, signature).signature)
    octets[len(octets) // 2] ^= 1
    return signature.replace(signature=bytes(octets))


def signed_at(patient: Patient, inception: int, expiration: int) -> None:
    """Sign for another time, given in seconds from now."""
    patient.sign(inception=_AT + inception, expiration=_AT + expiration)


def foreign_key(patient: Patient, *, same_tag: bool) -> None:
    """Sign with a key that is not the zone's, under its own tag or that of the zone's."""
    by = _foreign(patient.zone)
    patient.sign(by, key_tag=patient.signer.tag if same_tag else by.tag)


def _foreign(zone: SignedZone, flags: int = ZONE_KEY | ENTRY_POINT) -> Key:
    return key(zone.spec.algorithm, FOREIGN, flags)


def other_key(patient: Patient) -> None:
    """Sign with the other key of the zone, if it has two."""
    zone = patient.zone
    patient.sign(zone.signer if patient.rrset.rdtype == DNSKEY else zone.entry)


def signed_above(patient: Patient) -> None:
    """Sign in the name of the zone above, with its key."""
    patient.sign(patient.above.signer, signer=patient.above.origin)


def swap(patient: Patient) -> None:
    """Put the signature over another set of the message, or over the SOA."""
    others = [one[0] for one in patient.section if one.rdtype == RRSIG and one is not patient.signatures]
    if not others and patient.zone.spec.signed:
        others = [patient.zone.signature(patient.zone.sets[patient.zone.origin][SOA])[0]]
    if others:
        patient.put_signatures([others[0].replace(type_covered=patient.rrset.rdtype)])


def labels(patient: Patient, by: int) -> None:
    """Sign with another count of labels, so that the set seems to come from a wildcard, or cannot be."""
    if patient.signatures is not None:
        count = cast(Signature, patient.signatures[0]).labels + by
        if count >= 0:
            patient.sign(labels=count)


def another_signature(patient: Patient, **changes: object) -> None:
    """Add a signature that does not fit to the one that does."""
    if patient.signatures is not None:
        good = patient.signatures[0]
        patient.put_signatures([_flipped(good).replace(**changes), good])


# Record sets


def alter(patient: Patient) -> None:
    """Change one record."""
    first, *rest = patient.rrset
    patient.put([_altered(first), *rest])


def _altered(record: dns.rdata.Rdata) -> dns.rdata.Rdata:
    if record.rdtype in _NAMES:
        name = getattr(record, _NAMES[record.rdtype])
        return record.replace(**{_NAMES[record.rdtype]: dns.name.Name((b"moved", *name.labels))})
    if record.rdtype == NSEC3:
        return record.replace(next=_after(cast(dns.rdtypes.ANY.NSEC3.NSEC3, record).next))
    wire = bytearray(record.to_digestable())
    wire[-1] ^= 1
    return dns.rdata.from_wire(dns.rdataclass.IN, record.rdtype, bytes(wire), 0, len(wire))


def _after(octets: bytes) -> bytes:
    return ((int.from_bytes(octets) + 1) % (1 << 8 * len(octets))).to_bytes(len(octets))


def add(patient: Patient) -> None:
    """Add a record."""
    patient.put([*patient.rrset, _altered(patient.rrset[0])])


def lose_record(patient: Patient) -> None:
    """Drop one record if there are more."""
    records = list(patient.rrset)
    patient.put(records[1:] or records)


def lose(patient: Patient) -> None:
    """Drop the set and its signatures."""
    patient.drop(patient.signatures)
    patient.drop(patient.rrset)


def ttl(patient: Patient, seconds: int) -> None:
    """Change the TTL of set and signature."""
    patient.rrset.ttl = seconds
    if patient.signatures is not None:
        patient.signatures.ttl = seconds


def shout(patient: Patient) -> None:
    """Write the owner in capitals, which changes nothing (RFC 4343 section 3)."""
    loud = dns.name.Name(label.upper() for label in patient.rrset.name.labels)
    for one in (patient.rrset, patient.signatures):
        if one is not None:
            one.name = loud


# Denials


def _denials(patient: Patient, change: Callable[[dns.rdata.Rdata], dns.rdata.Rdata], *, resign: bool = True) -> None:
    if patient.rrset.rdtype in {NSEC, NSEC3}:
        patient.put([change(one) for one in patient.rrset])
        if resign:
            patient.sign()


def span(patient: Patient, *, wide: bool) -> None:
    """Let a span end right after it begins, or where it begins, which is the whole of the zone."""
    if patient.rrset.rdtype == NSEC:
        owner = patient.rrset.name
        end = patient.zone.origin if wide else dns.name.Name((b"\0", *owner.labels))
        _denials(patient, lambda one: one.replace(next=end))
    elif patient.rrset.rdtype == NSEC3:
        start = base64.b32hexdecode(patient.rrset.name.labels[0], casefold=True)
        _denials(patient, lambda one: one.replace(next=start if wide else _after(start)))


def types(patient: Patient, more: Iterable[RdataType] = (), less: Iterable[RdataType] = ()) -> None:
    """Let a denial say that there are more or fewer types; no more given means the type in question."""
    more = tuple(more) or (() if less else (patient.message.question[0].rdtype,))

    def change(record: dns.rdata.Rdata) -> dns.rdata.Rdata:
        said = {
            window * 256 + place * 8 + bit
            for window, octets in cast(dns.rdtypes.ANY.NSEC.NSEC | dns.rdtypes.ANY.NSEC3.NSEC3, record).windows
            for place, octet in enumerate(octets)
            for bit in range(8)
            if octet & (0x80 >> bit)
        }
        found = ({RdataType.make(one) for one in said} | set(more)) - set(less)
        return record.replace(windows=Bitmap.from_rdtypes(sorted(found)).windows)

    _denials(patient, change)


def parameters(patient: Patient, *, resign: bool = True, **changes: object) -> None:
    """Change fields of an NSEC3."""
    if patient.rrset.rdtype == NSEC3:
        _denials(patient, lambda one: one.replace(**changes), resign=resign)


def count(patient: Patient, by: int, *, resign: bool) -> None:
    """Change the iterations of an NSEC3."""
    if patient.rrset.rdtype == NSEC3:
        parameters(patient, resign=resign, iterations=patient.zone.spec.denial.iterations + by)


def from_above(patient: Patient) -> None:
    """Put the denial in place that the zone above has of the cut (RFC 5155 section 8.9)."""
    shown = patient.above.covering(patient.zone.origin)
    if patient.rrset.rdtype in {NSEC, NSEC3} and patient.zone is not patient.above and shown not in patient.section:
        lose(patient)
        patient.section += shown


# Keys


def ds(patient: Patient, change: Callable[[list[DsRecord], DsRecord], Iterable[dns.rdata.Rdata]]) -> None:
    """Let the zone above have other DS records, made of those it has and one of a foreign key."""
    if patient.rrset.rdtype == DS:
        records = [cast(DsRecord, one) for one in patient.rrset]
        known = next((int(one.algorithm) for one in records if one.algorithm in ALGORITHMS), ALGORITHMS[-1])
        foreign = key(known, FOREIGN, ZONE_KEY | ENTRY_POINT)
        patient.put(change(records, foreign.ds(patient.rrset.name)))
        patient.sign()


def wrong_keys(patient: Patient) -> None:
    """Put keys in place that nobody vouches for, and sign them with themselves."""
    if patient.rrset.rdtype == DNSKEY:
        foreign = _foreign(patient.zone)
        patient.put([foreign.dnskey])
        patient.sign(foreign)


def more_keys(patient: Patient) -> None:
    """Let the zone have one more key, which it signs."""
    if patient.rrset.rdtype == DNSKEY:
        patient.put([*patient.rrset, _foreign(patient.zone).dnskey])
        patient.sign()


def twin(patient: Patient) -> None:
    """Let the zone have a key first that is none but has the tag of the one that signs, as two words have changed places."""
    if patient.rrset.rdtype == DNSKEY:
        octets = patient.zone.signer.dnskey.key
        made = patient.zone.signer.dnskey.replace(key=octets[:8] + octets[10:12] + octets[8:10] + octets[12:])
        patient.put([made, *patient.rrset])
        patient.sign()


def signed_by_both(patient: Patient) -> None:
    """Add a signature of a foreign key to the good one."""
    if patient.signatures is not None:
        patient.put_signatures([patient.signed(_foreign(patient.zone)), *patient.signatures])


SIGNATURES: dict[str, Harm] = {
    "no signature": lambda one: one.drop(one.signatures),
    "altered signature": flip,
    "short signature": partial(field, signature=b"\1"),
    "expired": partial(signed_at, inception=-20 * DAY, expiration=-DAY),
    "expired just now": partial(signed_at, inception=-20 * DAY, expiration=-120),
    "not yet valid": partial(signed_at, inception=DAY, expiration=20 * DAY),
    "valid in a moment": partial(signed_at, inception=120, expiration=20 * DAY),
    "ends before it begins": partial(signed_at, inception=DAY, expiration=-DAY),
    "valid for a minute": partial(signed_at, inception=-DAY, expiration=60),
    "foreign key": partial(foreign_key, same_tag=False),
    "foreign key of the same tag": partial(foreign_key, same_tag=True),
    "other key of the zone": other_key,
    "signed by the zone above": signed_above,
    "signature of another set": swap,
    "fewer labels": partial(labels, by=-1),
    "more labels": partial(labels, by=1),
    "unknown algorithm": partial(field, algorithm=UNKNOWN),
    "altered original TTL": partial(field, original_ttl=TTL + 1),
    "altered key tag": partial(field, key_tag=1),
    "altered signer": partial(field, signer=dns.name.from_text("elsewhere.")),
    "bad and good signature": another_signature,
    "unknown and good signature": partial(another_signature, algorithm=UNKNOWN),
    "foreign and good signature": signed_by_both,
}
SETS: dict[str, Harm] = {
    "altered record": alter,
    "added record": add,
    "lost record": lose_record,
    "lost set": lose,
    "lost set with signature left": lambda one: one.drop(one.rrset),
    "lower TTL": partial(ttl, seconds=TTL // 3),
    "higher TTL": partial(ttl, seconds=TTL * 3),
    "capitals": shout,
}
DENIALS: dict[str, Harm] = {
    "empty span": partial(span, wide=False),
    "wide span": partial(span, wide=True),
    "denial says there is the type": types,
    "denial says there is an alias": partial(types, more=(CNAME,)),
    "denial says there is a cut": partial(types, more=(NS,), less=(SOA,)),
    "denial says there is no cut": partial(types, less=(NS,)),
    "denial says it is of the zone below": partial(types, more=(NS, SOA)),
    "denial says there is a DNAME": partial(types, more=(DNAME,)),
    "denial from above": from_above,
}
HASHED: dict[str, Harm] = {
    "altered iterations": partial(count, by=1, resign=False),
    "other iterations": partial(count, by=1, resign=True),
    "many iterations": partial(count, by=1000, resign=True),
    "other salt": partial(parameters, salt=b"salt"),
    "unknown hash": partial(parameters, algorithm=2),
    "unknown flag": partial(parameters, flags=2),
    "opt-out": partial(parameters, flags=1),
}
DELEGATIONS: dict[str, Harm] = {
    "wrong DS": partial(ds, change=lambda good, foreign: [foreign]),
    "wrong DS of SHA-256": partial(
        ds, change=lambda good, foreign: [*(one for one in good if one.digest_type != 2), foreign]
    ),
    "one more DS": partial(ds, change=lambda good, foreign: [*good, foreign]),
    "DS of unknown algorithm": partial(
        ds, change=lambda good, foreign: [one.replace(algorithm=UNKNOWN) for one in good]
    ),
    "DS of unknown digest": partial(
        ds, change=lambda good, foreign: [one.replace(digest_type=UNKNOWN) for one in good]
    ),
    "DS with another digest": partial(ds, change=lambda good, foreign: [_altered(one) for one in good]),
    "DS with another tag": partial(ds, change=lambda good, foreign: [one.replace(key_tag=1) for one in good]),
}
KEYS: dict[str, Harm] = {
    "wrong keys": wrong_keys,
    "one more key": more_keys,
    "one more key of the same tag": twin,
}
TABLE = SIGNATURES | SETS | DENIALS | HASHED | DELEGATIONS | KEYS


def fitting(rdtype: str) -> tuple[str, ...]:
    """Give the rows that do something to sets of a type."""
    special = {"NSEC": DENIALS, "NSEC3": DENIALS | HASHED, "DS": DELEGATIONS, "DNSKEY": KEYS}
    return (*SIGNATURES, *SETS, *special.get(rdtype, {}))
