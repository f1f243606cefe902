"""Read a DNS response as an `Answer`: records at the end of the alias chain, denials, failures with their cause.

`read` does not judge security by itself: the caller says whether the AD bit of this resolver may be believed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TLSA
import dns.rrset

from stages.answer import Absent, Answer, ExtendedError, Failed, Failure, Found, Question, Security
from stages.records import IP, MX, TLSA, Other, Record
from stages.status import EDE_LOCAL_POLICY

MAX_ALIASES = 16
SECOND = timedelta(seconds=1)  # TTLs are whole seconds: what lasts longer by less lasts no longer

# The library refuses a whole message for one TLSA record whose digest has a wrong length. Such a record is unusable
# and commits its host to TLS all the same (RFC 6698 section 4.1, RFC 7672 section 2.2), so it must be seen.
dns.rdtypes.ANY.TLSA.TLSA._cert_length_by_mtype = {}  # noqa: SLF001 - there is no public switch; a test watches it
_RCODES = {
    dns.rcode.SERVFAIL: Failure.SERVFAIL,
    dns.rcode.REFUSED: Failure.REFUSED,
    dns.rcode.NOTIMP: Failure.NOTIMP,
    dns.rcode.FORMERR: Failure.FORMERR,
}


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Bounds of how long answers are kept: records, denials and failures."""

    found: timedelta = timedelta(days=1)
    absent: timedelta = timedelta(minutes=15)
    failed: timedelta = timedelta(seconds=5)


def text_of(name: dns.name.Name) -> str:
    """Write a name in lower case without the trailing dot; the root is "."."""
    return "." if name == dns.name.root else name.to_text(omit_final_dot=True).lower()


def extended_errors(response: dns.message.Message) -> tuple[ExtendedError, ...]:
    """List the extended errors of a response (RFC 8914)."""
    return tuple(
        ExtendedError(int(option.code), option.text or "")
        for option in response.options
        if isinstance(option, dns.edns.EDEOption)
    )


def rcode_failure(response: dns.message.Message) -> Failure | None:
    """Give the failure that an RCODE stands for; None for an answer or a denial."""
    code = response.rcode()
    if code in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        return None
    return _RCODES.get(code, Failure.MALFORMED)


def failure_of(response: dns.message.Message) -> Failure | None:
    """Give the failure that a response stands for: its RCODE, or a policy of the resolver that hides what there is."""
    failure = rcode_failure(response)
    if failure is None and any(error.code in EDE_LOCAL_POLICY for error in extended_errors(response)):
        return Failure.BLOCKED  # what the resolver was told to hide says nothing about the zone
    return failure


def read(
    question: Question, response: dns.message.Message, *, secure: bool, now: datetime, lifetimes: Lifetimes, source: str
) -> Answer:
    """Read a response whose RCODE is NOERROR or NXDOMAIN."""
    wanted = dns.rdatatype.from_text(question.rdtype)
    owner = dns.name.from_text(question.name, origin=dns.name.root)
    aliases: list[str] = []
    used: list[dns.rrset.RRset] = []
    while True:
        rrset = response.get_rrset(response.answer, owner, dns.rdataclass.IN, wanted)
        if rrset is not None:
            used.append(rrset)
            break
        alias = response.get_rrset(response.answer, owner, dns.rdataclass.IN, dns.rdatatype.CNAME)
        if alias is None:
            break
        used.append(alias)
        owner = alias[0].target
        aliases.append(text_of(owner))
        if len(aliases) > MAX_ALIASES or aliases.count(aliases[-1]) > 1 or aliases[-1] == question.name:
            text = f"the aliases of {question.name} go in a circle or are more than {MAX_ALIASES}"
            return Failed(question, Failure.CHAIN, text, now + lifetimes.failed, resolver=source)
    canonical = aliases[-1] if aliases else question.name
    security = Security.SECURE if secure else Security.INSECURE
    if rrset is None:
        ends = [_expiry(response.answer, one, now) for one in used]
        ends += [_expiry(response.authority, one, now) for one in _proof(response)]
        until = min([now + min(_denial_ttl(response), lifetimes.absent), *ends])
        nxdomain = response.rcode() == dns.rcode.NXDOMAIN
        return Absent(question, security, nxdomain, canonical, tuple(aliases), until, source)
    until = min([now + lifetimes.found, *(_expiry(response.answer, rrset, now) for rrset in used)])
    records = records_of(rrset)
    return Found(question, security, records, canonical, tuple(aliases), until, source)


def _proof(response: dns.message.Message) -> list[dns.rrset.RRset]:
    """Give the record sets that a denial rests on: SOA, NSEC and NSEC3."""
    kinds = {dns.rdatatype.SOA, dns.rdatatype.NSEC, dns.rdatatype.NSEC3}
    return [rrset for rrset in response.authority if rrset.rdtype in kinds]


def _expiry(section: list[dns.rrset.RRset], rrset: dns.rrset.RRset, now: datetime) -> datetime:
    """End the life of records with their TTL, or with their signature if that is sooner."""
    wanted = (rrset.name, dns.rdatatype.RRSIG, rrset.rdtype)
    lasts = [
        max(signature.expiration for signature in signatures)
        for signatures in section
        if (signatures.name, signatures.rdtype, signatures.covers) == wanted
    ]
    return end_of_life(rrset.ttl, min(lasts, default=None), now)


def end_of_life(ttl: int, expiration: int | None, now: datetime) -> datetime:
    """End the life of records with their TTL in seconds, or with their signature (RFC 4035 section 5.3.3).

    `expiration` is that of the signature over them which lasts longest, in seconds since 1970.
    """
    until = now + timedelta(seconds=ttl)
    if expiration is None:
        return until
    return min(until, max(datetime.fromtimestamp(expiration, tz=now.tzinfo), now))


def _denial_ttl(response: dns.message.Message) -> timedelta:
    """Give how long a denial holds (RFC 2308 section 5): without an SOA record, not at all."""
    ttls = [
        min(rrset.ttl, rrset[0].minimum) for rrset in response.authority if rrset.rdtype == dns.rdatatype.SOA
    ]  # fmt: skip
    return timedelta(seconds=min(ttls, default=0))


def records_of(rrset: dns.rrset.RRset) -> tuple[Record, ...]:
    """Give the records of a set in our own types."""
    return tuple(_record(rdata) for rdata in rrset)


def _record(rdata: dns.rdata.Rdata) -> Record:
    match rdata.rdtype:
        case dns.rdatatype.MX:
            return MX(rdata.preference, text_of(rdata.exchange))  # type: ignore[attr-defined]
        case dns.rdatatype.A | dns.rdatatype.AAAA:
            return IP(rdata.address)  # type: ignore[attr-defined]
        case dns.rdatatype.TLSA:
            return TLSA(rdata.usage, rdata.selector, rdata.mtype, rdata.cert)  # type: ignore[attr-defined]
        case _:
            return Other(rdata.to_text())
