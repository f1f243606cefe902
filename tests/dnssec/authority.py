"""Answers from a tree of zones: as a resolver that does not validate gives them, or as the name servers of one zone do.

Aliases are followed over all zones (CNAME, DNAME with the CNAME made from it), wildcards are expanded, and whatever is
denied or expanded is proven by NSEC or NSEC3 (RFC 4035 section 3.1.3, RFC 5155 section 7.2). DS is answered by the parent.
"""

from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rrset
from dns.rcode import NOERROR, NXDOMAIN, SERVFAIL, YXDOMAIN, Rcode
from dns.rdatatype import CNAME, DNAME, DS, NS, NSEC, NSEC3, RRSIG, SOA, RdataType

from tests.dnssec.zones import TTL, Sets, SignedZone, Tree, built

MAX_ALIASES = 8


@dataclass(slots=True)
class Step:
    """What one zone says: `alias` is where to go on, `cut` where another zone begins."""

    rcode: Rcode = NOERROR
    answer: Sets = field(default_factory=list)
    authority: Sets = field(default_factory=list)
    alias: dns.name.Name | None = None
    cut: dns.name.Name | None = None


def answer(tree: Tree, name: dns.name.Name, rdtype: RdataType, *, dnssec_ok: bool = True) -> dns.message.Message:
    """Answer as a recursive resolver does whose client says CD=1. A chain of aliases with no end is SERVFAIL."""
    response = _response(name, rdtype, dns.flags.RA | dns.flags.RD)
    for _ in range(MAX_ALIASES):
        step = look_up(built(tree).of(name, rdtype), name, rdtype)
        _collect(response, step, dnssec_ok=dnssec_ok, rdtype=rdtype)
        if step.cut is not None:  # nobody serves what lies there
            response.set_rcode(SERVFAIL)
            return response
        if step.alias is None or rdtype == CNAME:  # one that a DNAME makes is the answer too (RFC 6672 section 3.4.1)
            return response
        name = step.alias
    response.set_rcode(SERVFAIL)
    return response


def answer_at(
    tree: Tree, origin: dns.name.Name, name: dns.name.Name, rdtype: RdataType, *, dnssec_ok: bool = True
) -> dns.message.Message:
    """Answer as a server of one zone does, which refers to those of the zones below. Raises KeyError for no zone."""
    response = _response(name, rdtype, dns.flags.Flag(0))
    zone = built(tree).zones[origin]
    for _ in range(MAX_ALIASES):
        step = look_up(zone, name, rdtype)
        _collect(response, step, dnssec_ok=dnssec_ok, rdtype=rdtype)
        if step.cut is None:
            response.flags |= dns.flags.AA
        if step.alias is None or not step.alias.is_subdomain(origin):
            break
        name = step.alias
    return response


def answer_of_zone(tree: Tree, name: dns.name.Name, rdtype: RdataType) -> dns.message.Message:
    """Answer as the servers of the zone that a name is in, as if one server had all zones of the tree."""
    return answer_at(tree, built(tree).of(name, rdtype).origin, name, rdtype)


def _response(name: dns.name.Name, rdtype: RdataType, flags: dns.flags.Flag) -> dns.message.Message:
    response = dns.message.make_query(name, rdtype, use_edns=0, want_dnssec=True, payload=1232, id=0)
    response.flags = flags | dns.flags.QR
    return response


def _collect(response: dns.message.Message, step: Step, *, dnssec_ok: bool, rdtype: RdataType) -> None:
    response.set_rcode(step.rcode)
    hidden = {RRSIG, NSEC, NSEC3} - {rdtype}
    for section, found in ((response.answer, step.answer), (response.authority, step.authority)):
        for rrset in found:
            if (dnssec_ok or rrset.rdtype not in hidden) and rrset not in section:
                section.append(rrset)


def look_up(zone: SignedZone, name: dns.name.Name, rdtype: RdataType) -> Step:
    """Look into one zone (RFC 1034 section 4.3.2, RFC 6672 section 3.2)."""
    for depth in range(len(zone.origin), len(name) + 1):
        above = name.split(depth)[1]
        sets = zone.sets.get(above, {})
        if NS in sets and above != zone.origin and (above != name or rdtype != DS):
            return _referral(zone, above)
        if DNAME in sets and above != name:
            return _renamed(zone, sets[DNAME], name)
    if name in zone.existing:
        return _found(zone, name, rdtype)
    encloser = zone.encloser(name)
    wildcard = dns.name.Name((b"*", *encloser.labels))
    if wildcard in zone.existing:
        return _expanded(zone, wildcard, name, rdtype)
    return Step(NXDOMAIN, authority=_start(zone) + _no_name(zone, name))


def _found(zone: SignedZone, name: dns.name.Name, rdtype: RdataType) -> Step:
    sets = zone.sets.get(name, {})
    if rdtype == NSEC and zone.spec.signed and not zone.spec.denial.nsec3 and name in zone.denied:
        return Step(answer=zone.matching(name))
    if rdtype in sets:
        return Step(answer=zone.shown(sets[rdtype]))
    if CNAME in sets:
        return Step(answer=zone.shown(sets[CNAME]), alias=sets[CNAME][0].target)
    return Step(authority=_start(zone) + _no_data(zone, name))


def _expanded(zone: SignedZone, wildcard: dns.name.Name, name: dns.name.Name, rdtype: RdataType) -> Step:
    """Answer from a wildcard, with the proof that no name is closer (RFC 4035 section 3.1.3.3, RFC 5155 7.2.6)."""
    sets = zone.sets.get(wildcard, {})
    if rdtype in sets:
        return Step(answer=zone.shown(sets[rdtype], name), authority=_no_closer(zone, name))
    if CNAME in sets:
        answer = zone.shown(sets[CNAME], name)
        return Step(answer=answer, authority=_no_closer(zone, name), alias=sets[CNAME][0].target)
    proof = _encloser(zone, name) if zone.spec.denial.nsec3 else zone.covering(name)
    return Step(authority=_start(zone) + proof + zone.covering(wildcard))


def _renamed(zone: SignedZone, rrset: dns.rrset.RRset, name: dns.name.Name) -> Step:
    """Go from DNAME to CNAME (RFC 6672 section 2.2)."""
    answer = zone.shown(rrset)
    try:
        target = name.relativize(rrset.name).concatenate(rrset[0].target)
    except dns.name.NameTooLong:
        return Step(YXDOMAIN, answer=answer)
    made = dns.rrset.from_text(name, TTL, dns.rdataclass.IN, CNAME, target.to_text())
    return Step(answer=[*answer, made], alias=target)


def _referral(zone: SignedZone, cut: dns.name.Name) -> Step:
    """Refer to a zone below, with its DS or the proof of none (RFC 4035 section 3.1.4, RFC 5155 section 7.2.7)."""
    sets = zone.sets[cut]
    proof = zone.shown(sets[DS]) if DS in sets else _no_data(zone, cut)
    return Step(authority=zone.shown(sets[NS]) + proof, cut=cut)


# Proofs


def _start(zone: SignedZone) -> Sets:
    return zone.shown(zone.sets[zone.origin][SOA])


def _no_data(zone: SignedZone, name: dns.name.Name) -> Sets:
    """Prove that a name has no more than it has (RFC 4035 3.1.3.1, RFC 5155 sections 7.2.3 and 7.2.4)."""
    if zone.spec.denial.nsec3 and name not in zone.denied:  # left out by opt-out
        return _encloser(zone, name)
    return zone.covering(name)


def _no_name(zone: SignedZone, name: dns.name.Name) -> Sets:
    """Prove that a name does not exist (RFC 4035 section 3.1.3.2, RFC 5155 section 7.2.2)."""
    if zone.spec.denial.nsec3:
        wildcard = dns.name.Name((b"*", *_provable(zone, name)[0].labels))
        return _encloser(zone, name) + zone.covering(wildcard)
    return zone.covering(name) + zone.covering(dns.name.Name((b"*", *zone.encloser(name).labels)))


def _no_closer(zone: SignedZone, name: dns.name.Name) -> Sets:
    return zone.covering(_provable(zone, name)[1] if zone.spec.denial.nsec3 else name)


def _encloser(zone: SignedZone, name: dns.name.Name) -> Sets:
    """Prove the closest encloser (RFC 5155 section 7.2.1)."""
    encloser, closer = _provable(zone, name)
    return zone.matching(encloser) + zone.covering(closer)


def _provable(zone: SignedZone, name: dns.name.Name) -> tuple[dns.name.Name, dns.name.Name]:
    """Give the closest encloser that has a denial, and the next closer name."""
    closer = name
    while name not in zone.denied:
        closer, name = name, name.parent()
    return name, closer
