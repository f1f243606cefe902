"""From DNS answers to the ordered hosts of a destination and the demand on each.

`missing` says what to ask next, `decide` rules once nothing is missing; both are pure, so a survey kept in a log can
be decided again at a desk. The order of questions is the order of RFC 7672 section 2.2: MX, addresses, TLSA, where
insecure addresses end DANE before TLSA is asked. A lookup error is never "no such record": at MX it delays the
mail, at a host it makes that host unreachable (section 2.1.2). The own-fault state (`SUSPENDED`) outweighs all else.
"""

import ipaddress
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from stages import loop, refusal
from stages.answer import Absent, Answer, Failed, Failure, Found, Proof, Question, Security
from stages.contract import Consignment, Facts, Level, Planned, Stage
from stages.dane import Unasked, candidates, describe, discover, reference_names, wants_alias
from stages.destination import Destination, RouteKind, TlsLevel
from stages.plan import (
    DaneDemand,
    Demand,
    EncryptDemand,
    Host,
    MayDemand,
    Plan,
    Skipped,
    Trouble,
    VerifyDemand,
)
from stages.policy import BogusProof, DanePolicy, InsecureMx, Mode, MxCname, OnUnusable, Policy
from stages.reason import Fact, Reason
from stages.records import IP, MX, TLSA
from stages.verdict import Proceed, Verdict

MAX_HOSTS = 20  # MX hosts looked at; bounds the questions that one hostile MX set can cause
LITERAL_LIFETIME = timedelta(minutes=5)  # an address literal has no TTL


@dataclass(frozen=True, slots=True)
class Survey:
    """The DNS answers gathered for a destination, and a random number in [0, 1) that orders equal MX hosts."""

    destination: Destination
    answers: Mapping[Question, Answer]
    gathered: datetime
    seconds: float = 0.0
    chance: float = 0.0


@dataclass(frozen=True, slots=True)
class _Mx:
    """What the MX question came to: names with preferences, or the trouble that ends it."""

    hosts: tuple[tuple[int, str], ...] = ()
    secure: bool = False
    by_mx: bool = False
    expanded: str = ""
    state: str = "not asked"
    skipped: tuple[Skipped, ...] = ()
    failed: Skipped | None = None
    misconfigured: str = ""


def missing(destination: Destination, policy: Policy, answers: Mapping[Question, Answer]) -> tuple[Question, ...]:
    """Say what must be asked next; empty when the survey is complete."""
    if destination.is_literal:
        return ()
    if destination.kind is RouteKind.MX and Question(destination.name, "MX") not in answers:
        return (Question(destination.name, "MX"),)
    mx = _mx(destination, policy, answers, 0.0)
    if mx.failed is not None:
        return ()
    wanted: list[Question] = []
    for _, host in mx.hosts:
        wanted += _missing_of_host(destination, policy, answers, host, mx)
    return tuple(dict.fromkeys(wanted))


def _missing_of_host(
    destination: Destination,
    policy: Policy,
    answers: Mapping[Question, Answer],
    host: str,
    mx: _Mx,
) -> list[Question]:
    pair = [Question(host, "A"), Question(host, "AAAA")]
    unasked = [question for question in pair if question not in answers]
    if unasked:
        return unasked
    if not _dane_applies(destination, policy.dane, mx):
        return []
    addresses = [answers[question] for question in pair]
    alias = Question(host, "CNAME")
    if wants_alias(addresses, policy.dane) and alias not in answers:
        return [alias]
    bases = candidates(host, addresses, answers.get(alias), policy.dane)
    found = discover(bases, destination.port, answers, policy.dane)
    return [found.question] if isinstance(found, Unasked) else []


def _dane_applies(destination: Destination, policy: DanePolicy, mx: _Mx) -> bool:
    """Tell whether hosts of this destination are to be asked for TLSA at all."""
    if policy.mode is Mode.OFF or destination.excluded or destination.kind is RouteKind.LOCAL:
        return False
    if destination.tls is not TlsLevel.DANE or destination.is_literal:
        return False
    if mx.by_mx and not mx.secure:
        return policy.insecure_mx_policy is InsecureMx.DANE and policy.mode is not Mode.MANDATORY
    return True


# MX


def _mx(destination: Destination, policy: Policy, answers: Mapping[Question, Answer], chance: float) -> _Mx:
    name = destination.name
    if destination.kind is not RouteKind.MX:
        return _Mx(((0, name),), secure=True, expanded=name, state="not by MX")
    answer = answers[Question(name, "MX")]
    match answer:
        case Failed():
            return _Mx(state=describe(answer), failed=_failed_lookup(name, 0, answer, policy.dane, "MX"))
        case Absent(nxdomain=True):
            text = f"the domain {name} does not exist ({describe(answer)})"
            return _Mx(state=describe(answer), failed=Skipped(name, 0, Trouble.NXDOMAIN, text, permanent=True))
        case Absent() if name in policy.own_names:  # the implicit MX counts as one (RFC 5321 section 5.1)
            return _Mx(state=describe(answer), failed=loop.ourselves(name, 0, f"{name} is this server, and has no MX"))
        case Absent():
            expanded = answer.canonical
            return _Mx(((0, name),), answer.security is Security.SECURE, expanded=expanded, state=describe(answer))
    records = [record for record in answer.records if isinstance(record, MX)]
    secure = answer.security is Security.SECURE
    state = describe(answer)
    if [record.exchange for record in records] == ["."]:
        text = f"the domain {name} accepts no mail (null MX, RFC 7505)"
        return _Mx(state=state, failed=Skipped(name, 0, Trouble.NULL_MX, text, permanent=True))
    return _ordered(records, answer, policy, chance, secure=secure)


def _ordered(records: list[MX], answer: Found, policy: Policy, chance: float, *, secure: bool) -> _Mx:
    """Order by preference, at random among equals (RFC 5321 section 5.1); leave out ourselves and all that is worse."""
    shuffled = sorted(records, key=lambda record: record.exchange)
    if len(shuffled) > 1:
        random.Random(chance).shuffle(shuffled)  # noqa: S311 - spreads load; the seed is an argument
    hosts: list[tuple[int, str]] = []
    skipped: list[Skipped] = []
    for record in sorted(shuffled, key=lambda record: record.preference):
        host, preference = record.exchange, record.preference
        if host == "." or is_address(host):
            text = f"the MX record names {host!r}, which is no host name"
            skipped.append(Skipped(host, preference, Trouble.NO_ADDRESS, text, permanent=True))
        elif host in policy.own_names:
            skipped.append(loop.ourselves(host, preference, f"{host} is this server"))
            hosts = [(better, other) for better, other in hosts if better < preference]
            break
        elif len(hosts) < MAX_HOSTS and host not in {other for _, other in hosts}:
            hosts.append((preference, host))
    return _Mx(
        tuple(hosts), secure, by_mx=True, expanded=answer.canonical, state=describe(answer), skipped=tuple(skipped),
        misconfigured="." if len(records) > 1 and any(r.exchange == "." for r in records) else "",
    )  # fmt: skip


def is_address(name: str) -> bool:
    """Tell whether a name is an IP address: nearly all that are none show it by their last character."""
    if ":" not in name and not name[-1:].isdigit():
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


_BOGUS = {"MX": Trouble.BOGUS_MX, "address": Trouble.BOGUS_ADDRESS, "TLSA": Trouble.BOGUS_TLSA}
_LOOKUP = {"MX": Trouble.LOOKUP_MX, "address": Trouble.LOOKUP_ADDRESS, "TLSA": Trouble.LOOKUP_TLSA}


def _failed_lookup(
    host: str,
    preference: int,
    answer: Failed,
    policy: DanePolicy,
    what: str,
    facts: Mapping[str, Fact] | None = None,
) -> Skipped:
    """Classify a lookup error (RFC 7672 section 2.1.2); only a proven bogus may ever be more than a delay."""
    if answer.failure is Failure.SUSPENDED:
        trouble, proven = Trouble.SUSPENDED, False
    elif answer.failure is Failure.BOGUS:
        trouble, proven = _BOGUS[what], _is_proven(answer, policy.bogus_proof)
    else:
        trouble, proven = _LOOKUP[what], False
    text = f"{what} lookup of {answer.question}: {answer.failure}: {answer.text}"
    extra: dict[str, Fact] = {
        "ede": [{"code": error.code, "text": error.text} for error in answer.ede],
        "proofs": [str(proof) for proof in answer.proofs],
        "question": str(answer.question),
        "resolver": answer.resolver,
    }
    return Skipped(host, preference, trouble, text, proven=proven, facts={**(facts or {}), **extra})


def _is_proven(answer: Failed, wanted: BogusProof) -> bool:
    proofs = set(answer.proofs)
    if Proof.VALIDATOR in proofs:
        return True
    match wanted:
        case BogusProof.VALIDATOR:
            return False
        case BogusProof.VALIDATOR_OR_CD_REQUERY:
            return {Proof.CD_REQUERY, Proof.EDE} <= proofs
        case BogusProof.TRUSTED_EDE:
            return Proof.EDE in proofs


# Hosts


@dataclass(slots=True)
class _Making:
    """What is being put together for a plan."""

    destination: Destination
    policy: Policy
    answers: Mapping[Question, Answer]
    mx: _Mx
    used: list[Answer] = field(default_factory=list)


def make_plan(survey: Survey, policy: Policy, now: datetime) -> Plan:
    """Order the hosts of a destination and put a demand on each; `hosts` is empty if none may be tried."""
    destination = survey.destination
    if destination.is_literal:
        return _literal_plan(destination, policy, now)
    mx = _mx(destination, policy, survey.answers, survey.chance)
    making = _Making(destination, policy, survey.answers, mx)
    if destination.kind is RouteKind.MX:
        making.used.append(survey.answers[Question(destination.name, "MX")])
    hosts: list[Host] = []
    skipped = list(mx.skipped)
    if mx.failed is not None:
        skipped.append(mx.failed)
    elif mx.by_mx and not mx.secure and _wants_dane(destination, policy.dane) and policy.dane.mode is Mode.MANDATORY:
        text = f"DANE is mandatory for {destination.name}, and its MX record set is insecure"
        skipped += [Skipped(host, preference, Trouble.MANDATORY, text) for preference, host in mx.hosts]
    else:
        for preference, host in mx.hosts:
            made = _host(making, host, preference)
            (hosts if isinstance(made, Host) else skipped).append(made)  # type: ignore[arg-type]
        own = loop.by_address(mx.hosts, survey.answers, policy.own_addresses) if mx.by_mx else None
        if own is not None:
            hosts = [host for host in hosts if host.preference < own.preference]
            skipped = [one for one in skipped if one.preference < own.preference or one.trouble is Trouble.SUSPENDED]
            skipped.append(own)
    suspended = [one for one in skipped if one.trouble is Trouble.SUSPENDED]
    if suspended:  # our own fault: nothing that DNS said counts, so nothing is tried and nothing is refused
        hosts, skipped = [], suspended
    expires = min((answer.expires for answer in making.used), default=now)
    facts: dict[str, Fact] = {"mx": mx.state, "dns_seconds": round(survey.seconds, 6)}
    if mx.expanded and mx.expanded != destination.name:
        facts["mx_alias"] = mx.expanded
    if mx.misconfigured:
        facts["misconfigured"] = "a null MX stands beside other MX records (RFC 7505 section 3)"
    resolvers = sorted({answer.resolver for answer in making.used if answer.resolver})
    facts["resolver"] = ", ".join(resolvers)
    return Plan(destination, tuple(hosts), tuple(skipped), now, expires, facts)


def _literal_plan(destination: Destination, policy: Policy, now: datetime) -> Plan:
    text = destination.name[1:-1]
    address = text[5:] if text[:5].lower() == "ipv6:" else text
    if not is_address(address):
        bad = Skipped(destination.name, 0, Trouble.BAD_LITERAL, f"{destination.name} is no address", permanent=True)
        return Plan(destination, (), (bad,), now, now)
    if _wants_dane(destination, policy.dane) and policy.dane.mode is Mode.MANDATORY:
        why = "DANE is mandatory, and it does not apply to an address literal"
        return Plan(destination, (), (Skipped(destination.name, 0, Trouble.MANDATORY, why),), now, now)
    fault = _forbidden(address, policy)
    if fault:
        bad = Skipped(destination.name, 0, Trouble.FORBIDDEN_ADDRESS, fault, permanent=True)
        return Plan(destination, (), (bad,), now, now)
    level = destination.tls if destination.tls is not TlsLevel.DANE else TlsLevel.MAY
    demand = _static(level, address) or MayDemand("an address literal (RFC 7672 section 2.2)", "")
    demand = _raised(demand, policy, address)
    host = Host(destination.name, 0, (address,), demand, {"address": "literal", "tlsa": "not asked"})
    return Plan(destination, (host,), (), now, now + LITERAL_LIFETIME, {"mx": "literal"})


def _wants_dane(destination: Destination, policy: DanePolicy) -> bool:
    """Tell whether DANE is wanted for the destination, whatever its zone offers."""
    on = policy.mode is not Mode.OFF and not destination.excluded
    return on and destination.tls is TlsLevel.DANE and destination.kind is not RouteKind.LOCAL


def _host(making: _Making, host: str, preference: int) -> Host | Skipped:
    policy, answers = making.policy, making.answers
    pair = [answers[Question(host, "A")], answers[Question(host, "AAAA")]]
    making.used += pair
    facts: dict[str, Fact] = {"address": _address_state(pair)}
    failed = [answer for answer in pair if isinstance(answer, Failed)]
    addresses = _addresses(pair, policy)
    if failed and (not addresses or policy.partial_address_failure == "skip"):
        worst = next((answer for answer in failed if answer.failure is not Failure.BOGUS), failed[0])
        worst = next((answer for answer in failed if answer.failure is Failure.SUSPENDED), worst)
        return _failed_lookup(host, preference, worst, policy.dane, "address", facts)
    if any(isinstance(answer, Failed) and answer.failure is Failure.SUSPENDED for answer in pair):
        return _failed_lookup(host, preference, failed[0], policy.dane, "address", facts)
    if policy.dane.mx_cname is MxCname.REFUSE and any(isinstance(a, Found) and a.aliases for a in pair):
        text = f"the MX name {host} is an alias, and policy refuses those"
        return Skipped(host, preference, Trouble.ALIAS_REFUSED, text, permanent=True, facts=facts)
    if not addresses:
        return _without_address(host, preference, pair, policy, facts)
    if failed:
        facts["address_partial"] = str(failed[0].failure)
    made = _demand(making, host, preference, pair, facts)
    return made if isinstance(made, Skipped) else Host(host, preference, addresses, _raised(made, policy, host), facts)


def _raised(demand: Demand, policy: Policy, host: str) -> Demand:
    """Raise a demand to the least level that the destination's own setting asks for; never lower one."""
    if not isinstance(demand, (MayDemand, EncryptDemand)) or policy.floor in {TlsLevel.MAY, TlsLevel.DANE}:
        return demand
    if policy.floor is TlsLevel.VERIFY:
        return VerifyDemand(host, (host,))
    if isinstance(demand, EncryptDemand):
        return demand
    return EncryptDemand(f"set for this destination ({demand.why})", demand.sni)


def _without_address(
    host: str,
    preference: int,
    pair: list[Answer],
    policy: Policy,
    facts: Mapping[str, Fact],
) -> Skipped:
    present = loop.addresses(pair)
    if present:
        text = f"{host}: " + "; ".join(filter(None, (_forbidden(address, policy) for address in present)))
        return Skipped(host, preference, Trouble.FORBIDDEN_ADDRESS, text, permanent=True, facts=facts)
    text = f"{host} has no address ({_address_state(pair)})"
    return Skipped(host, preference, Trouble.NO_ADDRESS, text, permanent=True, facts=facts)


def _address_state(pair: list[Answer]) -> str:
    found = [describe(answer) for answer in pair if isinstance(answer, Found)]
    if found:
        return "insecure" if "insecure" in found else "secure"
    failed = [describe(answer) for answer in pair if isinstance(answer, Failed)]
    return failed[0] if failed else describe(pair[0])


def _addresses(pair: list[Answer], policy: Policy) -> tuple[str, ...]:
    """Give the addresses to try: families in the order of policy, resolver order within, capped (SMTP-12, SMTP-13)."""
    families = pair if policy.prefer == "ipv4" else list(reversed(pair))
    lists = [
        [ip.address for ip in answer.records if isinstance(ip, IP) and not _forbidden(ip.address, policy)]
        for answer in families
        if isinstance(answer, Found)
    ]
    lists = [addresses for addresses in lists if addresses]
    if len(lists) < 2:
        return tuple(address for addresses in lists for address in addresses)[: policy.max_addresses]
    # both families get a chance even if the preferred one alone would fill the cap
    half = max(1, policy.max_addresses // 2)
    first = lists[0][: max(half, policy.max_addresses - len(lists[1]))]
    return tuple((first + lists[1])[: policy.max_addresses])


def _forbidden(address: str, policy: Policy) -> str:
    """Say why mail must not be sent to an address, or nothing (SMTP-14, SMTP-20)."""
    if address in policy.own_addresses:
        return f"{address} is this server"
    parsed = ipaddress.ip_address(address)
    if parsed.is_unspecified or parsed.is_multicast:
        return f"{address} is no address of a host"
    if not policy.allow_private and (parsed.is_loopback or parsed.is_private or parsed.is_link_local):
        return f"{address} is a private address (smtp.allow_private allows them)"
    return ""


def _static(level: TlsLevel, sni: str) -> Demand | None:
    """Give the demand that a route sets by itself, without DNS."""
    match level:
        case TlsLevel.MAY:
            return MayDemand("the route says may", sni)
        case TlsLevel.ENCRYPT:
            return EncryptDemand("the route says encrypt", sni)
        case TlsLevel.VERIFY:
            return VerifyDemand(sni, (sni,))
        case TlsLevel.DANE:
            return None


def _demand(
    making: _Making,
    host: str,
    preference: int,
    pair: list[Answer],
    facts: dict[str, Fact],
) -> Demand | Skipped:
    """Decide what a host with addresses must show (RFC 7672 section 2.2)."""
    destination, policy, mx = making.destination, making.policy.dane, making.mx
    facts["tlsa"] = "not asked"
    static = _static(destination.tls, host)
    if static is not None:
        return static
    if not _dane_applies(destination, policy, mx):
        return MayDemand(_why_no_dane(destination, policy, mx), host)
    alias = making.answers.get(Question(host, "CNAME"))
    bases = candidates(host, pair, alias, policy)
    if not bases:
        why = f"the addresses of {host} are insecure"
        return _no_tlsa(host, preference, policy, why, facts)
    found = discover(bases, destination.port, making.answers, policy)
    if isinstance(found, Unasked):
        raise ValueError(f"the survey of {destination} lacks {found.question}")  # noqa: TRY004 - a fault of the gatherer
    facts["tlsa"] = found.state
    making.used += [
        answer for question, answer in making.answers.items()
        if question.rdtype == "TLSA" and question.name.partition("._tcp.")[2] in bases
    ]  # fmt: skip
    if found.failed is not None:
        skipped = _failed_lookup(host, preference, found.failed, policy, "TLSA", facts)
        if policy.mode is Mode.AUDIT and skipped.trouble is not Trouble.SUSPENDED:
            facts["audit_failure"] = skipped.text
            return MayDemand(f"audit only; enforcing would pass over this host: {skipped.text}", host)
        return skipped
    if not found.base:
        return _no_tlsa(host, preference, policy, f"{host} has no TLSA records ({found.state})", facts)
    facts["base"] = found.base
    facts["records"] = [str(record) for record in found.records]
    if not found.usable:
        return _all_unusable(host, preference, policy, found.base, found.faults, facts)
    names = reference_names(found.base, destination.name, mx.expanded, by_mx=mx.by_mx, mx_secure=mx.secure)
    return DaneDemand(
        found.base, found.usable, names, host_only=mx.by_mx and not mx.secure, audit=policy.mode is Mode.AUDIT,
        expires=found.expires,
    )  # fmt: skip


def _why_no_dane(destination: Destination, policy: DanePolicy, mx: _Mx) -> str:
    if destination.excluded:
        return "excluded from DANE"
    if policy.mode is Mode.OFF:
        return "DANE is off"
    if destination.kind is RouteKind.LOCAL:
        return "a local domain"
    return f"the MX record set is {'insecure' if mx.by_mx else mx.state}"


def _no_tlsa(host: str, preference: int, policy: DanePolicy, why: str, facts: Mapping[str, Fact]) -> Demand | Skipped:
    if policy.mode is Mode.MANDATORY:
        return Skipped(host, preference, Trouble.MANDATORY, f"DANE is mandatory, and {why}", facts=facts)
    return MayDemand(why, host)


def _all_unusable(
    host: str,
    preference: int,
    policy: DanePolicy,
    base: str,
    faults: tuple[tuple[TLSA, str], ...],
    facts: dict[str, Fact],
) -> Demand | Skipped:
    why = "no TLSA record is usable: " + "; ".join(f"{record}: {fault}" for record, fault in faults)
    facts["unusable"] = why
    if policy.mode is Mode.AUDIT:
        return EncryptDemand(why, base, audit=True)
    if policy.mode is Mode.MANDATORY:
        return Skipped(host, preference, Trouble.MANDATORY, f"DANE is mandatory, and {why}", facts=facts)
    if policy.on_unusable is OnUnusable.ENCRYPT:
        return EncryptDemand(why, base)
    return Skipped(host, preference, Trouble.UNUSABLE, why, facts=facts)


# The stage


def decide(item: Consignment, facts: Facts, now: datetime) -> tuple[Verdict, ...]:
    """Pass the destination on with its plan, or rule on each recipient if no host may be tried."""
    survey: Survey = facts[Survey]
    policy: Policy = facts[Policy]
    plan = make_plan(survey, policy, now)
    everyone = tuple(recipient for message in item.messages for recipient in message.recipient_ids)
    stops = refusal.stops_at_once(plan, policy)
    if plan.hosts and not stops:
        reason = Reason("resolve", "resolve.planned", "2.0.0", _summary(plan), plan_facts(plan))
        return (Proceed(everyone, Planned(plan, item.messages), reason),)
    blocked = replace(plan, hosts=()) if stops else plan
    shown = plan_facts(blocked)
    return tuple(
        refusal.without_host("resolve", blocked, (), recipient, policy, now, extra=shown)
        for message in item.messages
        for recipient in message.recipients
    )


def plan_facts(plan: Plan) -> dict[str, Fact]:
    """Give a plan as the log shows it: the MX state, each host with its states and demand, each host left out."""
    return {
        "destination": plan.destination.key,
        **plan.facts,
        "hosts": [
            {"host": host.name, "preference": host.preference, "demand": host.demand.kind, **host.facts}
            for host in plan.hosts
        ],
        "skipped": [
            {"host": one.name, "preference": one.preference, "trouble": str(one.trouble), "text": one.text, **one.facts}
            for one in plan.skipped
        ],
    }


def _summary(plan: Plan) -> str:
    hosts = ", ".join(f"{host.name} ({host.demand.kind})" for host in plan.hosts)
    skipped = f"; left out: {', '.join(one.name for one in plan.skipped)}" if plan.skipped else ""
    return f"{hosts}{skipped}"


STAGE = Stage("resolve", Level.DESTINATION, Consignment, (Survey, Policy), Planned, decide)
