"""Prove an answer secure, insecure or bogus (RFC 4035 section 5), without a socket.

`validate` is a generator: it yields the questions whose answers it lacks and is sent a `Reply` for each, yields None
where it has worked for a while, and returns an `Outcome`. The answer is followed link by link, as the aliases in it
lead; the state of the whole is that of its weakest link (RFC 7672 section 2.1.3). Nothing that cannot be proven is ever
insecure: only the parent's signed denial of DS records makes a zone so. Work is bounded by `Rules`; what would cost
more is indeterminate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import dns.name
import dns.rdatatype
import dns.rrset

from delivery.dnssec.anchors import Anchors, upwards
from delivery.dnssec.denial import Unproven, no_closer_match, nodata, nxdomain
from delivery.dnssec.limits import Budget, BudgetExceeded
from delivery.dnssec.replies import Link, Outcome, Reply, Response, Status, Steps, Unanswered, Zone, find
from delivery.dnssec.signatures import Broken, SignedSet
from delivery.dnssec.zones import FOREVER, INDETERMINATE, SIGNATURE_MISSING, Known, Walk, signed_by
from delivery.responses import text_of
from stages.answer import Failure, Question

_CNAME = dns.rdatatype.CNAME


def validate(
    question: Question, reply: Reply, anchors: Anchors, budget: Budget, now: datetime, known: Known
) -> Steps[Outcome]:
    """Judge the reply to a question; `known` keeps what was found of zones, for the next question.

    `budget` is that of the question: who asks it a second time goes on with the same.
    """
    if isinstance(reply, Unanswered):
        return Outcome(Status.INDETERMINATE, now, (), f"{question}: {reply.text}", INDETERMINATE, reply.failure)
    work = _Work(Walk(anchors, budget, now, known), reply)
    try:
        return (yield from work.run(dns.name.from_text(question.name), dns.rdatatype.from_text(question.rdtype)))
    except BudgetExceeded as error:
        why = f"{question}: {error}"
        return Outcome(Status.INDETERMINATE, now + budget.rules.bogus_ttl, (), why, None, Failure.INDETERMINATE)


@dataclass(slots=True)
class _Work:
    """One validation on its way."""

    walk: Walk
    reply: Response
    aliases: list[dns.name.Name] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    weakest: Status = Status.SECURE
    why: str = ""
    expires: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.expires = self.walk.now + FOREVER

    def run(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Steps[Outcome]:
        """Follow the answer to its end."""
        seen, asked = {name}, {name}
        while True:
            dname = self._dname(name)
            found = find(self.reply.answer, name, rdtype)
            if found is not None and self.reply.nxdomain:
                return self._failed(Failure.MALFORMED, f"{text_of(name)}: NXDOMAIN, and yet there are records")
            if found is not None and (dname is None or found.signatures):
                broken = yield from self._positive(found)
                return broken or self._outcome(found.rrset)
            alias = dname or (find(self.reply.answer, name, _CNAME) if rdtype != _CNAME else None)
            if alias is None:
                if self.aliases and name not in asked and not self._is_denied(name):
                    reply = yield from self.walk.ask(name, dns.rdatatype.to_text(rdtype))
                    if isinstance(reply, Unanswered):
                        why = f"{text_of(name)}, which is what an alias leads to: {reply.text}"
                        return self._failed(reply.failure, why)
                    self.reply = reply
                    asked.add(name)
                    continue
                broken = yield from self._negative(name, rdtype)
                return broken or self._outcome(None)
            broken = yield from self._positive(alias)
            if broken is not None:
                return broken
            target = _target(alias.rrset, name)
            if target is None:
                return self._failed(Failure.CHAIN, f"the DNAME at {text_of(alias.rrset.name)} makes too long a name")
            if rdtype == _CNAME:  # the CNAME that the DNAME makes is what was asked for
                made = dns.rrset.from_text(name, alias.rrset.ttl, "IN", "CNAME", target.to_text())
                return self._outcome(made)
            if target in seen:
                return self._failed(Failure.CHAIN, f"the aliases of {text_of(name)} go in a circle")
            if len(seen) > self.walk.rules.links:
                raise BudgetExceeded(f"more than {self.walk.rules.links} aliases for one question")
            seen.add(target)
            self.aliases.append(target)
            name = target

    def _dname(self, name: dns.name.Name) -> SignedSet | None:
        """Find the topmost DNAME above a name: nothing else can be below it (RFC 6672 section 2.4)."""
        for length in range(1, len(name)):
            dname = find(self.reply.answer, dns.name.Name(name.labels[-length:]), dns.rdatatype.DNAME)
            if dname is not None:
                return dname
        return None

    def _is_denied(self, name: dns.name.Name) -> bool:
        """Tell whether the reply says that nothing is there, and did not just stop following aliases."""
        return any(
            rrset.rdtype == dns.rdatatype.SOA and name.is_subdomain(rrset.name) for rrset in self.reply.authority
        )

    # Records that are there

    def _positive(self, signed: SignedSet) -> Steps[Outcome | None]:
        """Authenticate one record set; an outcome ends the work."""
        owner, what = signed.rrset.name, f"{text_of(signed.rrset.name)}/{dns.rdatatype.to_text(signed.rrset.rdtype)}"
        self._until(self.walk.now + timedelta(seconds=signed.rrset.ttl))
        zone = yield from self._zone_by_signer(owner, signed.signatures, signed.rrset.rdtype)
        if zone.status is not Status.SECURE:
            return self._took(zone, what)
        if not signed.signatures:
            return self._bogus(what, f"RRSIG over {what} is missing", SIGNATURE_MISSING, zone)
        outcome = yield from self.walk.verified(signed, zone)
        if isinstance(outcome, Broken):
            return self._bogus(what, outcome.why, outcome.code, zone)
        secure, text = True, ""
        if outcome.wildcard is not None:
            denials, fault = yield from self.walk.denials(self.reply.authority, zone)
            if fault is not None:
                return self._bogus(what, fault.why, fault.code, zone)
            walk = self.walk
            proof = no_closer_match(owner, outcome.wildcard, zone.name, denials, walk.rules, walk.budget)
            if isinstance(proof, Unproven):
                why = (
                    f"{what} is made from {text_of(outcome.wildcard)}, and nothing proves that no closer name exists: "
                )
                return self._bogus(what, why + proof.why, proof.code, zone)
            secure, text = proof.secure, f", made from {text_of(outcome.wildcard)}: {proof.text}"
            self._until(*(denial.expires for denial in denials))
        self._until(outcome.expires, zone.expires)
        self._add(zone, what, Status.SECURE if secure else Status.INSECURE, signed_by(outcome) + text)
        return None

    # Records that are not there

    def _negative(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Steps[Outcome | None]:
        what = f"{text_of(name)}/{dns.rdatatype.to_text(rdtype)}"
        signatures = [rdata for rrset in self.reply.authority if rrset.rdtype == dns.rdatatype.RRSIG for rdata in rrset]
        self._until(self.walk.now + _denial_ttl(self.reply))
        zone = yield from self._zone_by_signer(name, signatures, rdtype)
        if zone.status is not Status.SECURE:
            return self._took(zone, what)
        walk = self.walk
        denials, fault = yield from walk.denials(self.reply.authority, zone)
        if fault is not None:
            return self._bogus(what, fault.why, fault.code, zone)
        if self.reply.nxdomain:
            proof = nxdomain(name, zone.name, denials, walk.rules, walk.budget)
        else:
            proof = nodata(name, rdtype, zone.name, denials, walk.rules, walk.budget)
        if isinstance(proof, Unproven):
            denial = "does not exist" if self.reply.nxdomain else "has no such record"
            why = f"nothing proves that {what} {denial}: {proof.why}"
            return (yield from self._unless_insecure(_home(name, rdtype), what, why, proof.code, zone))
        soa = next((one for one in map(self._soa, upwards(name)) if one is not None), None)
        if soa is not None:  # it says how long the denial holds, and must be of the zone, too (RFC 4035 section 3.2.3)
            outcome = yield from walk.verified(soa, zone)
            if isinstance(outcome, Broken):
                return self._bogus(what, outcome.why, outcome.code, zone)
            self._until(outcome.expires)
        lost = self._lost()
        if lost:
            return self._bogus(what, f"{lost} is signed, and is not there", SIGNATURE_MISSING, zone)
        self._until(zone.expires, *(denial.expires for denial in denials))
        self._add(zone, what, Status.SECURE if proof.secure else Status.INSECURE, proof.text)
        return None

    def _soa(self, name: dns.name.Name) -> SignedSet | None:
        return find(self.reply.authority, name, dns.rdatatype.SOA)

    def _lost(self) -> str:
        """Name a record set of the denial of which only the signature came; empty if there is none."""
        for rrset in self.reply.authority:
            if rrset.rdtype == dns.rdatatype.RRSIG and find(self.reply.authority, rrset.name, rrset.covers) is None:
                return f"{text_of(rrset.name)}/{dns.rdatatype.to_text(rrset.covers)}"
        return ""

    # Zones

    def _zone_by_signer(
        self, name: dns.name.Name, signatures: Sequence[object], rdtype: dns.rdatatype.RdataType
    ) -> Steps[Zone]:
        """Find the zone that the signatures name, or by walking down where there are none."""
        lowest = _home(name, rdtype)
        signers = {signature.signer for signature in signatures}  # type: ignore[attr-defined]
        fitting = [signer for signer in signers if lowest.is_subdomain(signer)]
        if not fitting:
            return (yield from self.walk.zone_of(lowest))
        signer = max(fitting, key=len)
        zone = yield from self.walk.zone_of(signer)
        if zone.status is Status.SECURE and zone.name != signer:
            return (yield from self.walk.zone_of(lowest))  # the signer is no zone: its signatures mean nothing
        return zone

    def _unless_insecure(
        self, name: dns.name.Name, what: str, why: str, code: int, zone: Zone
    ) -> Steps[Outcome | None]:
        """Call a denial bogus, unless its name lies below an insecure cut, where nothing need be signed.

        The signed records that came with it may be about an alias before it.
        """
        own = yield from self.walk.zone_of(name)
        if own.status in {Status.INSECURE, Status.INDETERMINATE}:
            return self._took(own, what)
        return self._bogus(what, why, code, zone)

    # What comes of it

    def _until(self, *moments: datetime) -> None:
        self.expires = min(self.expires, *moments)

    def _add(self, zone: Zone, what: str, status: Status, text: str) -> None:
        self._chain(zone)
        self.links.append(Link(text_of(zone.name), what, status, text))
        if status is Status.INSECURE:
            self.weakest, self.why = Status.INSECURE, self.why or text

    def _chain(self, zone: Zone) -> None:
        self.links += [link for link in zone.links if link not in self.links]

    def _took(self, zone: Zone, what: str) -> Outcome | None:
        """Take over the state of a zone: insecure goes on, anything worse ends the work."""
        self._chain(zone)
        self._until(zone.expires)
        if zone.status is Status.INSECURE:
            self.weakest, self.why = Status.INSECURE, self.why or zone.why
            return None
        failure = zone.failure if zone.status is Status.INDETERMINATE else None
        why = zone.why if zone.status is Status.INDETERMINATE else f"{what}: {zone.why}"
        return Outcome(zone.status, zone.expires, tuple(self.links), why, zone.code, failure)

    def _bogus(self, what: str, why: str, code: int, zone: Zone) -> Outcome:
        self._chain(zone)
        self.links.append(Link(text_of(zone.name), what, Status.BOGUS, why))
        return Outcome(Status.BOGUS, self.walk.now + self.walk.rules.bogus_ttl, tuple(self.links), why, code)

    def _failed(self, failure: Failure, why: str) -> Outcome:
        return Outcome(
            Status.INDETERMINATE, self.walk.now + self.walk.rules.bogus_ttl, tuple(self.links), why, None, failure
        )

    def _outcome(self, rrset: dns.rrset.RRset | None) -> Outcome:
        nxdomain = rrset is None and self.reply.nxdomain
        return Outcome(
            self.weakest, self.expires, tuple(self.links), self.why, aliases=tuple(self.aliases), rrset=rrset,
            nxdomain=nxdomain,
        )  # fmt: skip


def _home(name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> dns.name.Name:
    """Give the lowest name at which the zone of a record set can begin: DS stands above (RFC 4035 section 3.1.4.1)."""
    return name.parent() if rdtype == dns.rdatatype.DS and name != dns.name.root else name


def _target(alias: dns.rrset.RRset, name: dns.name.Name) -> dns.name.Name | None:
    """Say where an alias leads a name: of DNAME, by the rule and not by the CNAME that came with it (RFC 6672 5.3.4.3).

    None: the name would be too long.
    """
    target: dns.name.Name = alias[0].target
    if alias.rdtype == _CNAME:
        return target
    try:
        return name.relativize(alias.name).concatenate(target)
    except dns.name.NameTooLong:
        return None


def _denial_ttl(reply: Response) -> timedelta:
    """Give how long a denial holds (RFC 2308 section 5): without an SOA record, not at all."""
    ttls = [min(rrset.ttl, rrset[0].minimum) for rrset in reply.authority if rrset.rdtype == dns.rdatatype.SOA]
    return timedelta(seconds=min(ttls, default=0))
