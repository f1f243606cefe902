"""Prove an answer secure, insecure or bogus (RFC 4035 section 5), without a socket.

`validate` is a generator: it yields the questions whose answers it lacks and is sent a `Reply` for each, and returns an
`Outcome`. The answer is followed link by link, as the aliases in it lead; the state of the whole is that of its weakest
link (RFC 7672 section 2.1.3). Nothing that cannot be proven is ever insecure: only the parent's signed denial of DS
records makes a zone so. Work is bounded by `Rules`; what would cost more is indeterminate.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import dns.name
import dns.rdatatype
import dns.rrset

from delivery.dnssec.anchors import Anchors
from delivery.dnssec.denial import Unproven, no_closer_match, nodata, nxdomain
from delivery.dnssec.limits import BudgetExceeded, Rules
from delivery.dnssec.replies import Link, Outcome, Reply, Response, Status, Unanswered, Zone, find, show
from delivery.dnssec.signatures import Broken, SignedSet
from delivery.dnssec.zones import BOGUS_TTL, FOREVER, PROOF_MISSING, SIGNATURE_MISSING, Known, Walk, signed_by
from stages.answer import Failure, Question

_INDETERMINATE = 5  # info-code of RFC 8914


def validate(
    question: Question, reply: Reply, anchors: Anchors, rules: Rules, now: datetime, known: Known
) -> Generator[Question, Reply, Outcome]:
    """Judge the reply to a question; `known` keeps what was found of zones, for the next question."""
    if isinstance(reply, Unanswered):
        return Outcome(Status.INDETERMINATE, now, (), f"{question}: {reply.text}", _INDETERMINATE, reply.failure)
    work = _Work(Walk(anchors, rules, now, known), reply)
    try:
        return (yield from work.run(dns.name.from_text(question.name), dns.rdatatype.from_text(question.rdtype)))
    except BudgetExceeded as error:
        why = f"{question}: {error}"
        return Outcome(Status.INDETERMINATE, now + BOGUS_TTL, (), why, None, Failure.INDETERMINATE)


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

    def run(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Generator[Question, Reply, Outcome]:
        """Follow the answer to its end."""
        seen, asked = {name}, {name}
        while True:
            found = find(self.reply.answer, name, rdtype)
            if found is not None:
                broken = yield from self._positive(found)
                return broken or self._outcome(found.rrset)
            target, broken = (yield from self._alias(name)) if rdtype != dns.rdatatype.CNAME else (None, None)
            if broken is not None:
                return broken
            if target is None:
                if self.aliases and name not in asked and not self._is_denied(name):
                    reply = yield from self.walk.ask(name, dns.rdatatype.to_text(rdtype))
                    if isinstance(reply, Unanswered):
                        why = f"{show(name)}, which is what an alias leads to: {reply.text}"
                        return self._failed(reply.failure, why)
                    self.reply = reply
                    asked.add(name)
                    continue
                broken = yield from self._negative(name, rdtype)
                return broken or self._outcome(None)
            if target in seen or len(seen) > self.walk.rules.links:
                return self._failed(Failure.CHAIN, f"the aliases of {show(name)} go in a circle or are too many")
            seen.add(target)
            self.aliases.append(target)
            name = target

    def _is_denied(self, name: dns.name.Name) -> bool:
        """Tell whether the reply says that nothing is there, and did not just stop following aliases."""
        return any(
            rrset.rdtype == dns.rdatatype.SOA and name.is_subdomain(rrset.name) for rrset in self.reply.authority
        )

    # Records that are there

    def _positive(self, signed: SignedSet) -> Generator[Question, Reply, Outcome | None]:
        """Authenticate one record set; an outcome ends the work."""
        owner, what = signed.rrset.name, f"{show(signed.rrset.name)}/{dns.rdatatype.to_text(signed.rrset.rdtype)}"
        self._until(self.walk.now + timedelta(seconds=signed.rrset.ttl))
        zone = yield from self._zone_by_signer(owner, signed.signatures, signed.rrset.rdtype)
        if zone.status is not Status.SECURE:
            return self._took(zone, what)
        if not signed.signatures:
            return self._bogus(what, f"RRSIG over {what} is missing", SIGNATURE_MISSING, zone)
        outcome = self.walk.verified(signed, zone)
        if isinstance(outcome, Broken):
            return (yield from self._unless_insecure(owner, what, outcome.why, outcome.code, zone))
        secure, text = True, ""
        if outcome.wildcard is not None:
            denials, fault = self.walk.denials(self.reply.authority, zone)
            walk = self.walk
            proof = no_closer_match(owner, outcome.wildcard, zone.name, denials, walk.rules, walk.budget)
            if isinstance(proof, Unproven):
                why = f"{what} is made from {show(outcome.wildcard)}, and nothing proves that no closer name exists: "
                return self._bogus(what, why + (fault or proof.why), proof.code, zone)
            secure, text = proof.secure, f", made from {show(outcome.wildcard)}: {proof.text}"
            self._until(*(denial.expires for denial in denials))
        self._until(outcome.expires, zone.expires)
        self._add(zone, what, Status.SECURE if secure else Status.INSECURE, signed_by(outcome) + text)
        return None

    def _alias(self, name: dns.name.Name) -> Generator[Question, Reply, tuple[dns.name.Name | None, Outcome | None]]:
        """Follow one alias: the CNAME at a name, or the one that a DNAME above it makes (RFC 6672 section 5.3.1)."""
        for length in range(len(name) - 1, 0, -1):
            owner = dns.name.Name(name.labels[-length:])
            dname = find(self.reply.answer, owner, dns.rdatatype.DNAME)
            if dname is None:
                continue
            broken = yield from self._positive(dname)
            target = dname.rrset[0].target
            try:  # the CNAME that came with it is never looked at (RFC 6672 section 5.3.4.3)
                made = name.relativize(owner).concatenate(target)
            except dns.name.NameTooLong:
                return None, self._failed(Failure.CHAIN, f"the DNAME at {show(owner)} makes too long a name")
            return made, broken
        cname = find(self.reply.answer, name, dns.rdatatype.CNAME)
        if cname is None:
            return None, None
        broken = yield from self._positive(cname)
        return cname.rrset[0].target, broken

    # Records that are not there

    def _negative(
        self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
    ) -> Generator[Question, Reply, Outcome | None]:
        what = f"{show(name)}/{dns.rdatatype.to_text(rdtype)}"
        signatures = [rdata for rrset in self.reply.authority if rrset.rdtype == dns.rdatatype.RRSIG for rdata in rrset]
        self._until(self.walk.now + _denial_ttl(self.reply))
        zone = yield from self._zone_by_signer(name, signatures, rdtype)
        if zone.status is not Status.SECURE:
            return self._took(zone, what)
        walk = self.walk
        denials, fault = walk.denials(self.reply.authority, zone)
        if self.reply.nxdomain:
            proof = nxdomain(name, zone.name, denials, walk.rules, walk.budget)
        else:
            proof = nodata(name, rdtype, zone.name, denials, walk.rules, walk.budget)
        if isinstance(proof, Unproven):
            denial = "does not exist" if self.reply.nxdomain else "has no such record"
            code = proof.code if denials else (SIGNATURE_MISSING if fault or not signatures else PROOF_MISSING)
            why = f"nothing proves that {what} {denial}: {fault or proof.why}"
            return (yield from self._unless_insecure(name, what, why, code, zone))
        self._until(zone.expires, *(denial.expires for denial in denials))
        self._add(zone, what, Status.SECURE if proof.secure else Status.INSECURE, proof.text)
        return None

    # Zones

    def _zone_by_signer(
        self, name: dns.name.Name, signatures: Sequence[object], rdtype: dns.rdatatype.RdataType
    ) -> Generator[Question, Reply, Zone]:
        """Find the zone that the signatures name, or by walking down where there are none.

        DS records stand in the parent (RFC 4035 section 3.1.4.1), so the name itself is then no zone to look for.
        """
        above = rdtype == dns.rdatatype.DS and name != dns.name.root
        lowest = name.parent() if above else name
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
    ) -> Generator[Question, Reply, Outcome | None]:
        """Call an answer bogus, unless its name lies below an insecure cut, where nothing need be signed."""
        own = yield from self.walk.zone_of(name)
        if own.status is Status.SECURE:
            return self._bogus(what, why, code, zone)
        return self._took(own, what)

    # What comes of it

    def _until(self, *moments: datetime) -> None:
        self.expires = min(self.expires, *moments)

    def _add(self, zone: Zone, what: str, status: Status, text: str) -> None:
        self._chain(zone)
        self.links.append(Link(show(zone.name), what, status, text))
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
        self.links.append(Link(show(zone.name), what, Status.BOGUS, why))
        return Outcome(Status.BOGUS, self.walk.now + BOGUS_TTL, tuple(self.links), why, code)

    def _failed(self, failure: Failure, why: str) -> Outcome:
        return Outcome(Status.INDETERMINATE, self.walk.now + BOGUS_TTL, tuple(self.links), why, None, failure)

    def _outcome(self, rrset: dns.rrset.RRset | None) -> Outcome:
        nxdomain = rrset is None and self.reply.nxdomain
        return Outcome(
            self.weakest, self.expires, tuple(self.links), self.why, aliases=tuple(self.aliases), rrset=rrset,
            nxdomain=nxdomain,
        )  # fmt: skip


def _denial_ttl(reply: Response) -> timedelta:
    """Give how long a denial holds (RFC 2308 section 5): without an SOA record, not at all."""
    ttls = [min(rrset.ttl, rrset[0].minimum) for rrset in reply.authority if rrset.rdtype == dns.rdatatype.SOA]
    return timedelta(seconds=min(ttls, default=0))
