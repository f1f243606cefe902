"""Walk from a trust anchor down to the zone that holds a name, proving every step (RFC 4035 section 5).

Zone cuts are found by asking for DS downward. A cut is secure when the DS records are signed by the parent and one of
them fits a key that signed the child's keys; it is insecure only when the parent's signed NSEC or NSEC3 records prove
that there is no DS, or when all DS records are of kinds that are not supported. Whatever else happens, a missing
signature, a proof that does not fit, a question without an answer, ends the walk as bogus or indeterminate and never
as insecure. What was found of names on the way is kept in `known` until its proof expires.
"""

from collections.abc import MutableMapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import dns.name
import dns.rdatatype
import dns.rrset

from delivery.dnssec.anchors import Anchor, Anchors
from delivery.dnssec.denial import Denial, Unproven, no_ds, nodata, nxdomain
from delivery.dnssec.limits import Budget
from delivery.dnssec.replies import Link, Reply, Response, Status, Steps, Unanswered, Zone, find
from delivery.dnssec.signatures import Broken, SignedSet, Verified, supported, trusted_keys, verify
from delivery.responses import text_of
from stages.answer import Failure, Question

Known = MutableMapping[dns.name.Name, Zone]

FOREVER = timedelta(days=1)  # the longest that a proof is believed without being made again
_SWITCHED_OFF = timedelta(seconds=60)  # the longest that an answer below a negative anchor is kept (RFC 7646)
_SLICE = 8  # record sets and signatures checked before others have their turn
_FEW = 10  # iterations of NSEC3 with which all hashes of a proof take no longer than a few signature checks
INDETERMINATE, KEY_MISSING, SIGNATURE_MISSING, PROOF_MISSING = 5, 9, 10, 12  # info-codes of RFC 8914
_DENIALS = (dns.rdatatype.NSEC, dns.rdatatype.NSEC3)


class Walk:
    """The way down for one question. Its methods raise `BudgetExceeded` when that would cost too much."""

    def __init__(self, anchors: Anchors, budget: Budget, now: datetime, known: Known) -> None:
        self.anchors = anchors
        self.rules = budget.rules
        self.now = now
        self.budget = budget
        self._known = known
        self._busy = 0  # record sets and signatures checked since others had their turn

    def ask(self, name: dns.name.Name, rdtype: str) -> Steps[Reply]:
        """Ask for a record set; the budget counts the question, and the records that come."""
        self.budget.query(len(name))
        reply = yield Question(text_of(name), rdtype)
        self._busy = 0
        if isinstance(reply, Response):
            self.budget.read(reply.records)
        return reply

    def zone_of(self, target: dns.name.Name) -> Steps[Zone]:
        """Give the zone that holds a name, or the place above it where the chain of trust ends."""
        negative = self.anchors.negative_for(target, self.now)
        if negative is not None:
            link = Link(text_of(negative), "negative trust anchor", Status.INSECURE, "validation is switched off here")
            return Zone(negative, Status.INSECURE, self.now + _SWITCHED_OFF, (), (link,), link.text)
        zone, at = yield from self._start(target)
        while zone.status is Status.SECURE and len(at) < len(target):
            at = dns.name.Name(target.labels[-len(at) - 1 :])
            kept = self._kept(at)
            zone = kept if kept is not None else (yield from self._step(zone, at))
            if kept is None:
                self._keep(at, zone)
        return zone

    def verified(self, signed: SignedSet, zone: Zone) -> Steps[Verified | Broken]:
        """Check a record set with the keys of the zone that holds it; others have their turn after every few."""
        if self._busy >= _SLICE:
            self._busy = 0
            yield None
        checks = self.budget.checks
        outcome = verify(signed, zone.name, zone.keys, self.now, self.rules, self.budget)
        self._busy += 1 + self.budget.checks - checks
        return outcome

    def denials(self, sets: Sequence[dns.rrset.RRset], zone: Zone) -> Steps[tuple[list[Denial], Broken | None]]:
        """Give the denial records that a zone has signed, up to the first that is not as it should be, and its fault.

        Those that other zones have signed belong to other links of a chain of aliases.
        """
        found: list[Denial] = []
        for rrset in sets:
            if rrset.rdtype not in _DENIALS or not rrset.name.is_subdomain(zone.name):
                continue
            signed = find(sets, rrset.name, rrset.rdtype)
            if signed is None or _is_of_another(signed, zone.name):
                continue
            outcome = yield from self.verified(signed, zone)
            if isinstance(outcome, Broken):
                return found, outcome
            if outcome.wildcard is None:  # no denial record is ever made from a wildcard
                found += [Denial(rrset.name, rdata, outcome.signer, outcome.expires) for rdata in rrset]
        if any(getattr(denial.rdata, "iterations", 0) > _FEW for denial in found):  # others first: the proof is costly
            self._busy = 0
            yield None
        return found, None

    # What is kept

    def _kept(self, name: dns.name.Name) -> Zone | None:
        zone = self._known.get(name)
        return zone if zone is not None and zone.expires > self.now else None

    def _keep(self, name: dns.name.Name, zone: Zone) -> None:
        if zone.status in {Status.SECURE, Status.INSECURE}:
            self._known[name] = zone

    # The top

    def _start(self, target: dns.name.Name) -> Steps[tuple[Zone, dns.name.Name]]:
        """Give the deepest name on the way of which the zone is known, beginning at an anchor."""
        anchors = self.anchors.closest(target)
        if not anchors:
            why = f"no trust anchor is above {text_of(target)}"
            nowhere = Zone(dns.name.root, Status.INSECURE, self.now + FOREVER, (), (), why)
            return nowhere, dns.name.root  # RFC 4033 section 5: indeterminate there, insecure here (erratum 5395)
        top = min(len(anchor.zone) for anchor in anchors[:1])
        for length in range(len(target), top - 1, -1):
            name = dns.name.Name(target.labels[-length:])
            kept = self._kept(name)
            if kept is not None:
                return kept, name
        broken: Zone | None = None
        for anchor in anchors:  # any one that works is enough (RFC 6840 section 5.10)
            zone = yield from self._anchored(anchor)
            if zone.status in {Status.SECURE, Status.INSECURE}:
                self._keep(anchor.zone, zone)
                return zone, anchor.zone
            broken = broken or zone
        assert broken is not None  # noqa: S101 - there was an anchor
        return broken, broken.name

    def _anchored(self, anchor: Anchor) -> Steps[Zone]:
        reply = yield from self.ask(anchor.zone, "DNSKEY")
        return self._with_keys(anchor.zone, reply, anchor, ())

    # One step

    def _step(self, parent: Zone, at: dns.name.Name) -> Steps[Zone]:
        """Find out whether a name below a secure zone is a cut, and whether the chain goes on there."""
        reply = yield from self.ask(at, "DS")
        if isinstance(reply, Unanswered):
            return self._unanswered(at, reply, f"{text_of(at)}/DS", parent.links)
        ds = find(reply.answer, at, dns.rdatatype.DS)
        if ds is None:
            return (yield from self._without_ds(parent, at, reply))
        if reply.nxdomain:
            contradiction = Unanswered(Failure.MALFORMED, "NXDOMAIN, and yet there are records")
            return self._unanswered(at, contradiction, f"{text_of(at)}/DS", parent.links)
        outcome = yield from self.verified(ds, parent)
        if isinstance(outcome, Broken):
            return self._broken(at, outcome.why, outcome.code, parent.links)
        if outcome.wildcard is not None:
            return self._broken(
                at, f"the DS records of {text_of(at)} come from a wildcard", PROOF_MISSING, parent.links
            )
        link = Link(text_of(parent.name), f"{text_of(at)}/DS", Status.SECURE, signed_by(outcome))
        anchor = Anchor(at, tuple(ds.rrset))
        if supported(anchor.ds, self.rules):
            reply = yield from self.ask(at, "DNSKEY")
            zone = self._with_keys(at, reply, anchor, (*parent.links, link))
        else:  # whatever its keys are (RFC 6840 section 5.2)
            zone = self._unsupported(at, (*parent.links, link))
        return replace(zone, expires=min(zone.expires, outcome.expires, parent.expires))

    def _with_keys(self, name: dns.name.Name, reply: Reply, anchor: Anchor, links: tuple[Link, ...]) -> Zone:
        """Take the keys of a zone that fit its DS records or its anchor."""
        what = f"{text_of(name)}/DNSKEY"
        if isinstance(reply, Unanswered):
            return self._unanswered(name, reply, what, links)
        signed = find(reply.answer, name, dns.rdatatype.DNSKEY)
        if signed is None:
            return self._broken(name, f"{what} is missing", KEY_MISSING, links)
        found = trusted_keys(name, signed, anchor.ds, self.now, self.rules, self.budget, anchor.keys)
        if found is None:
            return self._unsupported(name, links)
        if isinstance(found, Broken):
            return self._broken(name, found.why, found.code, links)
        keys, verified = found
        link = Link(text_of(name), what, Status.SECURE, signed_by(verified))
        return Zone(name, Status.SECURE, min(verified.expires, self.now + FOREVER), keys, (*links, link))

    def _unsupported(self, name: dns.name.Name, links: tuple[Link, ...]) -> Zone:
        why = f"no DS record of {text_of(name)} is of an algorithm and digest that are supported"
        link = Link(text_of(name), f"{text_of(name)}/DNSKEY", Status.INSECURE, why)
        return Zone(name, Status.INSECURE, self.now + FOREVER, (), (*links, link), why)

    def _without_ds(self, parent: Zone, at: dns.name.Name, reply: Response) -> Steps[Zone]:
        """Read an answer that holds no DS records: an insecure cut, no cut at all, or no proof of either."""
        if any(rrset.rdtype in {dns.rdatatype.CNAME, dns.rdatatype.DNAME} for rrset in reply.answer):
            return (yield from self._alias(parent, at, reply))
        denials, fault = yield from self.denials(reply.authority, parent)
        if fault is not None:
            return self._broken(at, fault.why, fault.code, parent.links)
        expires = min([parent.expires, *(denial.expires for denial in denials)])
        if reply.nxdomain:
            proof = nxdomain(at, parent.name, denials, self.rules, self.budget)
        else:
            cut = no_ds(at, parent.name, denials, self.rules, self.budget)
            if cut is None:
                return replace(parent, expires=expires)  # the name is there, and is no cut
            proof = cut
            if isinstance(cut, Unproven):
                proof = nodata(at, dns.rdatatype.DS, parent.name, denials, self.rules, self.budget)
                if not isinstance(proof, Unproven) and proof.secure:
                    return replace(parent, expires=expires)
        if isinstance(proof, Unproven):
            why = f"nothing proves that {text_of(at)} has no DS records: {proof.why}"
            return self._broken(at, why, proof.code, parent.links)
        if reply.nxdomain and proof.secure:
            return replace(parent, expires=expires)  # nothing is there or below
        link = Link(text_of(parent.name), f"{text_of(at)}/DS", Status.INSECURE, proof.text)
        return Zone(at, Status.INSECURE, expires, (), (*parent.links, link), proof.text)

    def _alias(self, parent: Zone, at: dns.name.Name, reply: Response) -> Steps[Zone]:
        """An alias, or a name below one that is aliased as a whole, is no cut, if its record is signed by the zone."""
        owners = [dns.name.Name(at.labels[-length:]) for length in range(len(at) - 1, len(parent.name) - 1, -1)]
        for name, rdtype in [(at, dns.rdatatype.CNAME), *((owner, dns.rdatatype.DNAME) for owner in owners)]:
            signed = find(reply.answer, name, rdtype)
            if signed is not None:
                outcome = yield from self.verified(signed, parent)
                if isinstance(outcome, Verified) and outcome.wildcard is None:
                    return replace(parent, expires=min(parent.expires, outcome.expires))
        why = f"{text_of(at)}/DS is answered with an alias that the zone {text_of(parent.name)} has not signed"
        return self._broken(at, why, SIGNATURE_MISSING, parent.links)

    def _unanswered(self, name: dns.name.Name, reply: Unanswered, what: str, links: tuple[Link, ...]) -> Zone:
        why = f"{what}: {reply.text}"
        return Zone(name, Status.INDETERMINATE, self.now, (), links, why, INDETERMINATE, reply.failure)

    def _broken(self, name: dns.name.Name, why: str, code: int, links: tuple[Link, ...]) -> Zone:
        link = Link(text_of(name), "chain of trust", Status.BOGUS, why)
        return Zone(name, Status.BOGUS, self.now + self.rules.bogus_ttl, (), (*links, link), why, code)


def _is_of_another(signed: SignedSet, zone: dns.name.Name) -> bool:
    """Tell whether a denial record is that of another zone; the owners of NSEC3 records say so (RFC 5155 section 3)."""
    if signed.rrset.rdtype == dns.rdatatype.NSEC3:
        owner = signed.rrset.name
        return bool(owner == dns.name.root or owner.parent() != zone)
    return bool(signed.signatures) and all(signature.signer != zone for signature in signed.signatures)


def signed_by(outcome: Verified) -> str:
    """Say by which key and for how long a record set is signed."""
    return (
        f"signed by {text_of(outcome.signer)}/{outcome.algorithm}/{outcome.key_tag}, "
        f"{outcome.inception:%Y-%m-%dT%H:%MZ} to {outcome.expiration:%Y-%m-%dT%H:%MZ}"
    )
