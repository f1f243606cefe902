"""Look at a domain of one's own as those look who send mail to it: DNS, then each address of each host up to TLS.

`inspect` makes the plan that delivery would make, with the policy that RFC 7672 asks of everybody (`as_others`), and
connects to every address under a demand that shows whatever certificate there is. Whether a chain meets the real demand
is judged by `delivery.tls.judge_chain`, record by record by `delivery.matcher.match`: nothing is decided here. No mail
command is sent. It raises nothing for what DNS and servers do.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from delivery.matcher import Match, MatchOptions, Unusable, match
from delivery.nameserver import NoResponse, Server
from delivery.opening import Door, Terms, open_session
from delivery.resolver import Resolver
from delivery.settings import SmtpSettings, Timeouts
from delivery.signatures import Signed, signatures
from delivery.survey import survey
from delivery.tls import Judgement, judge_chain
from stages.answer import Answer, Found, Question, Security
from stages.attempt import HostAttempt
from stages.dane import Discovery, Unasked, candidates, discover, reference_names
from stages.destination import Destination, RouteKind, TlsLevel
from stages.plan import DaneDemand, Demand, EncryptDemand, Host, Plan, Trouble
from stages.policy import DanePolicy, Policy, Profile, dane_policy
from stages.records import TLSA
from stages.resolve import Survey, make_plan
from stages.usable import agile

PATIENCE = 30.0  # seconds for each phase of a session: whoever looks does not wait as long as mail does


class State(StrEnum):
    """What a record is to a certificate that is served."""

    MATCHES = "matches"
    PASSED_OVER = "passed over"  # it would match or not, and a stronger digest of its kind stands beside it
    DIFFERS = "differs"
    UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One record against one chain: the depth of the certificate that it matches (-1: none), and why not."""

    record: TLSA
    state: State
    depth: int = -1
    why: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one address served: the chain, if TLS came about, what that makes of the demand, and of each record."""

    attempt: HostAttempt
    chain: tuple[bytes, ...] = ()
    judgement: Judgement | None = None
    verdicts: tuple[Verdict, ...] = ()

    @property
    def trouble(self) -> Trouble | None:
        """Tell what would keep mail from this address."""
        if self.attempt.trouble is not None:
            return self.attempt.trouble
        return self.judgement.trouble if self.judgement is not None else None


@dataclass(frozen=True, slots=True)
class Looked:
    """A host that may be tried: its TLSA records with what was found of them, reference names, and its addresses."""

    host: Host
    found: Discovery
    names: tuple[str, ...]
    seen: tuple[Seen, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that was found. `unsigned` are questions whose signatures could not be asked for, with why."""

    survey: Survey
    plan: Plan
    policy: Policy
    hosts: tuple[Looked, ...]
    signed: tuple[Signed, ...]
    unsigned: tuple[tuple[Question, str], ...]
    made: datetime

    @property
    def destination(self) -> Destination:
        """Give what was looked at."""
        return self.survey.destination


@dataclass(frozen=True, slots=True)
class Means:
    """What looking needs: the resolver, how sessions are held, patience with one DNS question in seconds, the time."""

    resolver: Resolver
    smtp: SmtpSettings
    patience: float
    now: Callable[[], datetime]


def as_others(policy: Policy) -> Policy:
    """Give the policy of a sender that does what RFC 7672 says, and is not us."""
    dane = dane_policy(Profile.RFC7672)
    return replace(policy, dane=dane, own_names=frozenset(), own_addresses=frozenset(), floor=TlsLevel.MAY)


def options_of(dane: DanePolicy) -> MatchOptions:
    """Give the options that a policy sets for matching."""
    return MatchOptions(dane.usages, dane.digests, dane.wildcard_multilabel)


async def plan_of(destination: Destination, policy: Policy, means: Means) -> tuple[Survey, Plan]:
    """Ask DNS past all caches of ours, and plan."""
    found = await survey(destination, policy, means.resolver, means.now, 0.0, afresh=True)
    return found, make_plan(found, policy, means.now())


async def inspect(destination: Destination, policy: Policy, means: Means) -> Inspection:
    """Look at everything."""
    policy = as_others(policy)
    found, plan = await plan_of(destination, policy, means)
    hosts, (signed, unsigned) = await asyncio.gather(
        asyncio.gather(*(_looked(host, found, plan, policy, means) for host in plan.hosts)),
        signed_of(found, means.patience),
    )
    return Inspection(found, plan, policy, tuple(hosts), signed, unsigned, means.now())


# DNS


def discovered(host: str, found: Survey, policy: Policy) -> Discovery:
    """Give what the TLSA questions about a host came to, as the plan has it."""
    pair = [found.answers[Question(host, rdtype)] for rdtype in ("A", "AAAA")]
    bases = candidates(host, pair, found.answers.get(Question(host, "CNAME")), policy.dane)
    outcome = discover(bases, found.destination.port, found.answers, policy.dane)
    return Discovery() if isinstance(outcome, Unasked) else outcome  # where DANE ends before TLSA is asked


async def signed_of(found: Survey, patience: float) -> tuple[tuple[Signed, ...], tuple[tuple[Question, str], ...]]:
    """Ask for the signatures over all secure records of a survey, and over the keys that made them."""
    answers = [one for one in found.answers.values() if isinstance(one, Found) and one.security is Security.SECURE]
    signed, unsigned = await _signed({one.question: one for one in answers}, patience)
    by = {one.signer: answers[0] for one in signed}
    keys, without = await _signed({Question(signer, "DNSKEY"): answer for signer, answer in by.items()}, patience)
    return tuple(dict.fromkeys((*signed, *keys))), (*unsigned, *without)


async def _signed(wanted: dict[Question, Found], patience: float) -> tuple[list[Signed], list[tuple[Question, str]]]:
    async def ask(question: Question, answer: Answer) -> tuple[Signed, ...] | str:
        try:
            return await signatures(Server.parse(answer.resolver), question, patience)
        except NoResponse as error:
            return str(error)

    outcomes = await asyncio.gather(*(ask(*item) for item in wanted.items()))
    signed: list[Signed] = []
    unsigned: list[tuple[Question, str]] = []
    for question, outcome in zip(wanted, outcomes, strict=True):
        if isinstance(outcome, str):
            unsigned.append((question, outcome))
        else:
            signed += outcome
    return signed, unsigned


# Hosts


async def _looked(host: Host, found: Survey, plan: Plan, policy: Policy, means: Means) -> Looked:
    records = discovered(host.name, found, policy)
    looked = Looked(host, records, _names(host, found, plan, records.base))
    seen = (_seen(looked, address, plan.destination.port, policy, means) for address in host.addresses)
    return replace(looked, seen=tuple(await asyncio.gather(*seen)))


def _names(host: Host, found: Survey, plan: Plan, base: str) -> tuple[str, ...]:
    """Name what a certificate under DANE-TA may be for: as the demand says, or would if a record were usable."""
    if isinstance(host.demand, DaneDemand):
        return host.demand.names
    name = found.destination.name
    by_mx = found.destination.kind is RouteKind.MX and isinstance(found.answers[Question(name, "MX")], Found)
    expanded = str(plan.facts.get("mx_alias") or name)
    return reference_names(base or host.name, name, expanded, by_mx=by_mx, mx_secure=plan.facts["mx"] == "secure")


async def _seen(looked: Looked, address: str, port: int, policy: Policy, means: Means) -> Seen:
    host, records = looked.host, looked.found.records
    attempt, chain = await served(host.name, address, port, sni_of(host.demand), means)
    if attempt.handshake is None:
        return Seen(attempt)
    wire = (attempt.handshake.version, attempt.handshake.cipher)
    judgement = judge_chain(host.demand, chain, means.now(), policy.dane, wire)
    return Seen(attempt, chain, judgement, verdicts(chain, records, looked.names, means.now(), policy.dane))


async def served(host: str, address: str, port: int, sni: str, means: Means) -> tuple[HostAttempt, tuple[bytes, ...]]:
    """Connect as far as TLS under the server name that senders with DANE ask for, and give the chain that is sent."""
    waits = Timeouts(connect=PATIENCE, greeting=PATIENCE, command=PATIENCE, tls=PATIENCE)
    terms = Terms(replace(means.smtp, timeouts=waits), DanePolicy(), means.now)
    door = Door(host, address, port, EncryptDemand("to see the certificate", sni))
    session, attempt = await open_session(door, terms)
    if session is None:
        return attempt, ()
    chain = session.chain
    await session.close()
    return attempt, chain


def sni_of(demand: Demand) -> str:
    """Give the name that a sender under a demand expects at a host."""
    return demand.base if isinstance(demand, DaneDemand) else demand.sni


def verdicts(
    chain: tuple[bytes, ...], records: tuple[TLSA, ...], names: tuple[str, ...], now: datetime, dane: DanePolicy
) -> tuple[Verdict, ...]:
    """Hold a chain against each record by itself, and say which of those that are usable do not count."""
    return tuple(_verdicts(chain, records, names, now, dane))


def _verdicts(
    chain: tuple[bytes, ...], records: tuple[TLSA, ...], names: tuple[str, ...], now: datetime, dane: DanePolicy
) -> Iterator[Verdict]:
    options = options_of(dane)
    alone = [(record, match(chain, (record,), names, now, options)) for record in records]
    counting = agile([record for record, outcome in alone if not isinstance(outcome, Unusable)], dane.digests)
    for record, outcome in alone:
        if isinstance(outcome, Unusable):
            yield Verdict(record, State.UNUSABLE, why=outcome.reasons[0][1])
            continue
        depth = outcome.depth if isinstance(outcome, Match) else -1
        if record not in counting:
            yield Verdict(record, State.PASSED_OVER, depth, "a stronger digest of the same kind stands beside it")
        elif isinstance(outcome, Match):
            yield Verdict(record, State.MATCHES, depth)
        else:
            yield Verdict(record, State.DIFFERS, why=outcome.reasons[0][1])
