"""What the owner of a domain should know of an inspection: what fails, what could not be seen, what will fail soon.

`findings` is one function without I/O. That something fails is what the plan and the judgement of the inspection say,
by the code of delivery; that it will fail soon is what the same matcher says of the same chain some days later. Each
finding has a stable code, and a level that decides the exit status of `danepipe tlsa check`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from delivery.certificate import load_certificate
from delivery.inspection import Inspection, Looked, Seen, State, Verdict, options_of
from delivery.matcher import Match, match
from delivery.signatures import Signed
from stages.plan import DaneDemand, EncryptDemand, MayDemand, Skipped, Trouble
from stages.records import MatchingType, Selector, Usage


class Level(StrEnum):
    """How bad it is, the worst first."""

    FAILS = "fails"  # senders that do DANE do not deliver, or not to this host
    UNSEEN = "unseen"  # nobody could look
    SOON = "soon"  # it will fail, or protects less than it could
    NOTE = "note"  # nothing is wrong


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know; `host` is empty where it is about the domain."""

    level: Level
    code: str
    host: str
    text: str


# Found before any connection; all else that keeps a host from being tried fails.
_UNSEEN = frozenset({Trouble.LOOKUP_MX, Trouble.LOOKUP_ADDRESS, Trouble.LOOKUP_TLSA, Trouble.SUSPENDED,
                     Trouble.FORBIDDEN_ADDRESS})  # fmt: skip
# Of a connection: these three are what the demand is about, and any other may be on our side of it.
_FAILS = frozenset({Trouble.NO_STARTTLS, Trouble.HANDSHAKE, Trouble.MISMATCH})


def worst(found: Sequence[Finding]) -> Level:
    """Give the worst level; NOTE where there is nothing worse."""
    levels = {finding.level for finding in found}
    return next(level for level in Level if level in levels or level is Level.NOTE)


def findings(seen: Inspection, warn: timedelta) -> tuple[Finding, ...]:
    """Judge an inspection; what ends within `warn` is told of."""
    found = [_of_skipped(one) for one in seen.plan.skipped]
    if seen.plan.facts.get("mx") == "insecure":
        text = "the MX records are not signed: whoever forges them leads mail elsewhere (RFC 7672 section 2.2.1)"
        found.append(Finding(Level.SOON, "insecure-mx", "", text))
    for looked in seen.hosts:
        found += _of_demand(looked)
        for one in looked.seen:
            found += _of_address(one, looked, seen, warn)
    found += [_of_signature(one, seen.made) for one in seen.signed if one.is_ending(seen.made, warn)]
    for question, why in seen.unsigned:
        found.append(
            Finding(Level.UNSEEN, "signatures", "", f"the signatures over {question} could not be seen: {why}")
        )
    order = list(Level)
    return tuple(sorted(dict.fromkeys(found), key=lambda finding: order.index(finding.level)))


def _of_skipped(one: Skipped) -> Finding:
    if one.trouble is Trouble.NULL_MX:
        return Finding(Level.NOTE, "null-mx", "", one.text)
    level = Level.UNSEEN if one.trouble in _UNSEEN else Level.FAILS
    return Finding(level, str(one.trouble).replace(".", "-").replace("_", "-"), one.name, one.text)


def _of_signature(one: Signed, now: datetime) -> Finding:
    when = "ended" if one.expires <= now else "ends"
    text = f"the signature over {one.name} {one.rdtype} {when} {stamp(one.expires)}, and nobody has renewed it"
    return Finding(Level.SOON, "signature-ends", "", text)


def _of_demand(looked: Looked) -> Iterator[Finding]:
    host, demand = looked.host.name, looked.host.demand
    match demand:
        case MayDemand(why=why):
            yield Finding(Level.SOON, "unprotected", host, f"mail to this host is not protected by DANE: {why}")
        case EncryptDemand():
            kinds = {record.usage for record, _ in looked.found.faults}
            only = kinds <= {int(Usage.PKIX_TA), int(Usage.PKIX_EE)}
            what = "all TLSA records are of usage 0 or 1, which is not used" if only else "no TLSA record is usable"
            text = f"{what}: senders ask for TLS and authenticate nobody (RFC 7672 section 3.1.3)"
            yield Finding(Level.SOON, "pkix-only" if only else "unusable", host, text)
        case _:
            for record, why in looked.found.faults:
                old = record.usage in {int(Usage.PKIX_TA), int(Usage.PKIX_EE)}
                level = Level.NOTE if old else Level.SOON
                yield Finding(level, "unusable-record", host, f"{_short(record)} is of no use: {why}")
            useless = {record for record, _ in looked.found.faults}
            records = [record for record in looked.found.records if record not in useless]  # weaker digests, too
            if all(record.mtype == MatchingType.SHA2_512 for record in records):
                text = (
                    "all digests are SHA2-512, which not every sender supports: add SHA2-256 (RFC 6698 section 2.1.3)"
                )
                yield Finding(Level.NOTE, "matching-type", host, text)
            for record in records:
                if record.mtype == MatchingType.FULL:
                    text = f"{_short(record)} holds full data: a digest is smaller (RFC 7671 section 10.1.1)"
                    yield Finding(Level.NOTE, "matching-type", host, text)


def _of_address(one: Seen, looked: Looked, seen: Inspection, warn: timedelta) -> Iterator[Finding]:
    host, trouble = looked.host.name, one.trouble
    where = f"at {one.attempt.address}"
    if isinstance(looked.host.demand, MayDemand) and trouble in _FAILS:
        yield Finding(Level.NOTE, "no-tls", host, f"{where}: {one.attempt.text}; without DANE mail comes in clear text")
    elif trouble is not None:
        judged = one.judgement.text if one.judgement is not None else ""
        level = Level.FAILS if trouble in _FAILS else Level.UNSEEN
        code = str(trouble).replace(".", "-").replace("_", "-")
        yield Finding(level, code, host, f"{where}: {one.attempt.text or judged}")
    if one.chain:
        yield from _of_chain(one, looked, seen, warn, where)


def _of_chain(one: Seen, looked: Looked, seen: Inspection, warn: timedelta, where: str) -> Iterator[Finding]:
    host, demand = looked.host.name, looked.host.demand
    if not isinstance(demand, DaneDemand) or one.trouble is not None:
        return
    for verdict in one.verdicts:
        if verdict.state is State.DIFFERS:
            yield _of_difference(verdict, host, where)
    matched = [verdict.record for verdict in one.verdicts if verdict.state is State.MATCHES]
    ends = end_of(one.chain)
    if ends is not None and ends <= seen.made:
        text = f"{where}: the certificate ended {stamp(ends)}; usage 3 does not look at dates, so this is fine"
        yield Finding(Level.NOTE, "expired", host, f"{text} (RFC 7672 section 3.1.1)")
    later = match(one.chain, demand.records, demand.names, seen.made + warn, options_of(seen.policy.dane))
    if not isinstance(later, Match):
        text = (
            f"{where}: the certificate ends {stamp(ends) if ends is not None else 'soon'}, and usage 2 looks at dates"
        )
        yield Finding(Level.SOON, "expiring", host, text)
    elif ends is not None and seen.made < ends <= seen.made + warn:
        text = f"{where}: the certificate ends {stamp(ends)}; usage 3 does not look at dates, so nothing fails then"
        yield Finding(Level.NOTE, "certificate-ends", host, text)
    if all(record.selector == Selector.CERT and record.usage == Usage.DANE_EE for record in matched):
        text = f"{where}: only 3 0 x matches, which changes with each renewal of the certificate: add 3 1 1"
        yield Finding(Level.NOTE, "selector", host, text)


def _of_difference(verdict: Verdict, host: str, where: str) -> Finding:
    record = verdict.record
    if record.usage == Usage.DANE_TA:
        text = f"{where}: {_short(record)} matches nothing that is sent: {verdict.why} (RFC 7671 section 5.2.2)"
        return Finding(Level.SOON, "anchor", host, text)
    text = f"{where}: {_short(record)} is not of the certificate in use: the next key, or one to be taken away"
    return Finding(Level.NOTE, "other-key", host, text)


def end_of(chain: Sequence[bytes]) -> datetime | None:
    """Give the end of the leaf's time, if it can be read."""
    try:
        return load_certificate(chain[0]).not_valid_after_utc
    except (ValueError, IndexError):
        return None


def stamp(moment: datetime) -> str:
    """Write a time as reports show it."""
    return f"{moment:%Y-%m-%dT%H:%MZ}"


def _short(record: object) -> str:
    text = str(record)
    return text if len(text) <= 24 else f"{text[:24]}..."
