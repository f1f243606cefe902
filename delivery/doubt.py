"""Tell a zone that is bogus from one whose keys could not be fetched.

A validating resolver answers SERVFAIL to both, and some give both the same extended error: a DNSKEY or DS question that
timed out is "DNSKEY missing", too. Only the first is the zone's own fault (RFC 4035 sections 4.3 and 5.5); the second
is a lookup error, and mail must wait for it (RFC 7672 section 2.1.2). `doubt` looks at the keys itself, with checking
disabled: each DNSKEY and DS record set on the way to the root must be there for the asking, and where "DNSKEY missing"
is all that was said, a DS record set must stand that none of its keys fits. It verifies no signature. It raises nothing
for what DNS does.
"""

import asyncio
from collections.abc import Collection

import dns.dnssec
import dns.exception
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from delivery.nameserver import NoResponse, Server, exchange
from delivery.responses import rcode_failure
from stages.answer import Question

MAX_ZONES = 10  # names whose keys are looked at; bounds the questions that one broken name can cause
_DNSKEY_MISSING = 9  # RFC 8914 section 4.10

_Sets = dict[tuple[str, str], dns.rrset.RRset | None]


async def doubt(
    server: Server,
    question: Question,
    unchecked: dns.message.Message | None,
    codes: Collection[int],
    patience: float,
) -> str:
    """Say why an answer that the resolver calls bogus proves nothing about its zone; empty if it does.

    `unchecked` is the answer with checking disabled, where there is one, and `codes` are the extended errors of the
    DNSSEC kind that came with the SERVFAIL. Each question may take `patience` seconds, all of them at once.
    """
    zones = _zones(question, unchecked)
    if len(zones) > MAX_ZONES:
        return f"the keys of {len(zones)} zones would have to be looked at"
    wanted = [Question(zone, rdtype) for zone in zones for rdtype in ("DNSKEY", "DS") if (zone, rdtype) != (".", "DS")]
    found = await asyncio.gather(*(_fetch(server, one, patience) for one in wanted))
    sets: _Sets = {}
    for asked, got in zip(wanted, found, strict=True):
        if isinstance(got, str):
            return f"{asked} cannot be fetched ({got})"
        sets[asked.name, asked.rdtype] = got
    if set(codes) == {_DNSKEY_MISSING} and not any(_is_broken(zone, sets) for zone in zones):
        return "every DS record set has a key that fits"
    return ""


def _zones(question: Question, unchecked: dns.message.Message | None) -> list[str]:
    """Name the zones that signed the answer (those it may stand in, if there is no signature) and all above them."""
    sections = [] if unchecked is None else [*unchecked.answer, *unchecked.authority]
    signers = {one.signer for rrset in sections if rrset.rdtype == dns.rdatatype.RRSIG for one in rrset}
    names: set[dns.name.Name] = set()
    for name in signers or {dns.name.from_text(question.name)}:
        names |= {dns.name.Name(name.labels[depth:]) for depth in range(len(name.labels))}
    return sorted(name.to_text(omit_final_dot=name != dns.name.root).lower() for name in names)


async def _fetch(server: Server, question: Question, patience: float) -> dns.rrset.RRset | str | None:
    """Give a record set, None where there is none, or why it cannot be had."""
    try:
        response = await exchange(server, question, patience=patience, checking_disabled=True)
    except NoResponse as error:
        return str(error)
    failure = rcode_failure(response)
    if failure is not None:
        return f"{server} answered {failure.upper()}"
    owner, kind = dns.name.from_text(question.name), dns.rdatatype.from_text(question.rdtype)
    return response.get_rrset(response.answer, owner, dns.rdataclass.IN, kind)


def _is_broken(zone: str, sets: _Sets) -> bool:
    """Tell whether a zone has DS records, and no key that fits any of them (RFC 4035 section 5.2)."""
    delegation, keys = sets.get((zone, "DS")), sets[zone, "DNSKEY"]
    if delegation is None:
        return False
    return not any(_fits(zone, ds, key) for ds in delegation for key in keys or ())


def _fits(zone: str, ds: dns.rdata.Rdata, key: dns.rdata.Rdata) -> bool:
    try:
        owner = dns.name.from_text(zone)
        made = dns.dnssec.make_ds(owner, key, ds.digest_type, policy=dns.dnssec.allow_all_policy)  # type: ignore[attr-defined]
    except (dns.exception.DNSException, ValueError):  # a digest that the library cannot make
        return True
    return bool(made == ds)
