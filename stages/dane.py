"""What TLSA answers demand of a host (RFC 7672 sections 2.2 and 3).

| addresses | TLSA at the first candidate that has any | demand |
|---|---|---|
| secure | secure, at least one usable record | STARTTLS and a certificate that matches (`DaneDemand`) |
| secure | secure, no usable record | STARTTLS, any certificate (`EncryptDemand`) |
| secure | proven absent, or insecure | TLS if it works (`MayDemand`) |
| secure | any lookup error | the host is unreachable |
| insecure, first alias secure | the same at the initial name, where policy says so | |
| insecure | not asked | TLS if it works |

Candidates are the fully expanded name and then the initial one, never a name between; the first with a secure
record set is the base domain, and an error at one is never a reason to try the next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from stages.answer import Absent, Answer, Failed, Found, Question, Security
from stages.policy import DanePolicy, InsecureAlias
from stages.records import TLSA
from stages.usable import agile, why_unusable

__all__ = ["TLSA", "Discovery", "Unasked", "candidates", "discover", "reference_names", "tlsa_question"]


def tlsa_question(port: int, name: str) -> Question:
    """Ask for the TLSA records of a candidate, with the port really used (RFC 7672 section 2.2.3)."""
    return Question(f"_{port}._tcp.{name}", "TLSA")


def candidates(
    host: str,
    addresses: Sequence[Answer],
    alias: Answer | None,
    policy: DanePolicy,
) -> tuple[str, ...]:
    """Name the TLSA base domains to try, in order; empty if DANE does not apply to the host (RFC 7672 section 2.2.2).

    `addresses` are the A and AAAA answers, `alias` the answer to a CNAME question for the host where one was asked.
    """
    found = [answer for answer in addresses if isinstance(answer, Found)]
    if not found:
        return ()
    if all(answer.security is Security.SECURE for answer in found):
        expanded = found[0].canonical
        return (host,) if expanded == host else (expanded, host)
    aliased = any(answer.aliases for answer in found)
    alias_secure = isinstance(alias, Found) and alias.security is Security.SECURE
    if aliased and alias_secure and policy.insecure_alias_policy is InsecureAlias.INITIAL_NAME:
        return (host,)
    return ()


def wants_alias(addresses: Sequence[Answer], policy: DanePolicy) -> bool:
    """Tell whether the security of the first alias must be asked for by itself (RFC 7672 sections 2.1.3 and 2.2.2)."""
    found = [answer for answer in addresses if isinstance(answer, Found)]
    insecure = any(answer.security is Security.INSECURE for answer in found)
    aliased = any(answer.aliases for answer in found)
    return insecure and aliased and policy.insecure_alias_policy is InsecureAlias.INITIAL_NAME


@dataclass(frozen=True, slots=True)
class Discovery:
    """What the candidates gave: a base with its records, a failure, or neither (no TLSA)."""

    base: str = ""
    records: tuple[TLSA, ...] = ()  # as published
    usable: tuple[TLSA, ...] = ()  # those that count, after digest agility
    faults: tuple[tuple[TLSA, str], ...] = ()  # why records are unusable
    failed: Failed | None = None
    state: str = "not asked"  # for the log: "secure", "insecure nodata", "secure nxdomain", "bogus", ...
    expires: datetime | None = None  # end of the TTL of the records


@dataclass(frozen=True, slots=True)
class Unasked:
    """The next question must be answered first."""

    question: Question


def discover(
    bases: Sequence[str],
    port: int,
    answers: Mapping[Question, Answer],
    policy: DanePolicy,
) -> Discovery | Unasked:
    """Go through the candidates as far as the answers reach (RFC 7672 section 2.2.3)."""
    state = "not asked"
    for base in bases:
        question = tlsa_question(port, base)
        answer = answers.get(question)
        match answer:
            case None:
                return Unasked(question)
            case Failed():
                return Discovery(failed=answer, state=str(answer.failure))
            case Found(security=Security.SECURE):
                return _classify(base, answer, policy)
            case Found() | Absent():
                state = describe(answer)
    return Discovery(state=state)


def describe(answer: Answer | None) -> str:
    """Give the state of an answer in a word or two, as logs and reports show it."""
    match answer:
        case None:
            return "not asked"
        case Failed():
            return str(answer.failure)
        case Found():
            return str(answer.security)
        case Absent():
            return f"{answer.security} {'nxdomain' if answer.nxdomain else 'nodata'}"


def _classify(base: str, answer: Found, policy: DanePolicy) -> Discovery:
    records = tuple(record for record in answer.records if isinstance(record, TLSA))
    faults = [(record, why_unusable(record, policy.usages, policy.digests)) for record in records]
    usable = agile([record for record, fault in faults if fault is None], policy.digests)
    return Discovery(
        base=base,
        records=records,
        usable=usable,
        faults=tuple((record, fault) for record, fault in faults if fault is not None),
        state=str(answer.security),
        expires=answer.expires,
    )


def reference_names(base: str, next_hop: str, expanded: str, *, by_mx: bool, mx_secure: bool) -> tuple[str, ...]:
    """Name what a DANE-TA certificate may be for, the base domain first (RFC 7672 section 3.2.2).

    With a secure MX the next-hop domain and its CNAME expansion count too; with an insecure one only the base does.
    Without MX the original next-hop counts where the base is its expansion.
    """
    names = [base]
    if not by_mx or mx_secure:
        names += [next_hop]
    if by_mx and mx_secure:
        names += [expanded]
    return tuple(dict.fromkeys(names))
