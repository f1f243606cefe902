"""What a failure leads to: the one place that says wait or refuse for trouble with hosts (design of `Policy`).

`without_host` rules on one recipient when no host took its mail, from the hosts that were left out and those that
were tried. A refusal on DANE grounds needs every host to have failed on such grounds in a way that policy refuses
(`failure_scope = destination`: the first such host is enough). Lookup errors, network trouble and our own faults
never refuse anything; only time does, in `stages/retry.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from stages.attempt import HostAttempt
from stages.destination import Destination, RouteKind, TlsLevel
from stages.message import Recipient
from stages.plan import Plan, Skipped, Trouble
from stages.policy import DanePolicy, Mode, OnFailure, OnNoTls, OnUnusable, Policy, Scope
from stages.reason import Fact, Reason
from stages.status import refused, waiting
from stages.verdict import Defer, Refuse

# The order in which troubles are told of when hosts failed for different reasons: the most telling first.
TELLING = (
    Trouble.SUSPENDED,
    Trouble.MISMATCH,
    Trouble.BOGUS_MX,
    Trouble.BOGUS_TLSA,
    Trouble.BOGUS_ADDRESS,
    Trouble.MANDATORY,
    Trouble.UNUSABLE,
    Trouble.NO_STARTTLS,
    Trouble.HANDSHAKE,
    Trouble.UNTRUSTED,
    Trouble.LOOKUP_MX,
    Trouble.LOOKUP_TLSA,
    Trouble.LOOKUP_ADDRESS,
    Trouble.GREETING,
    Trouble.CLOSING,
    Trouble.PROTOCOL,
    Trouble.TIMEOUT,
    Trouble.LOST,
    Trouble.CONNECT,
    Trouble.NULL_MX,
    Trouble.NXDOMAIN,
    Trouble.SELF,
    Trouble.BAD_LITERAL,
    Trouble.ALIAS_REFUSED,
    Trouble.FORBIDDEN_ADDRESS,
    Trouble.NO_ADDRESS,
)
DANE_TROUBLES = frozenset(
    {
        Trouble.MISMATCH,
        Trouble.BOGUS_MX,
        Trouble.BOGUS_TLSA,
        Trouble.BOGUS_ADDRESS,
        Trouble.MANDATORY,
        Trouble.UNUSABLE,
        Trouble.NO_STARTTLS,
        Trouble.HANDSHAKE,
    },
)
TLS_TROUBLES = frozenset({Trouble.NO_STARTTLS, Trouble.HANDSHAKE})


@dataclass(frozen=True, slots=True)
class HostFailure:
    """Why one host did not take the mail, however it was found out."""

    host: str
    trouble: Trouble
    text: str
    permanent: bool = False
    proven: bool = False
    required: bool = False  # TLS was required by DANE or by the records being unusable
    reply: str = ""
    enhanced: str = ""
    facts: Mapping[str, Fact] | None = None


def failures(plan: Plan, tried: Sequence[HostAttempt]) -> tuple[HostFailure, ...]:
    """Sum up one failure for each host: the last one at it, or why it was left out."""
    found: dict[str, HostFailure] = {}
    for one in plan.skipped:
        found[one.name] = _of_skipped(one)
    for attempt in tried:
        if attempt.trouble is not None:
            new = _of_attempt(attempt)
            old = found.get(attempt.host)
            if old is None or TELLING.index(new.trouble) <= TELLING.index(old.trouble):
                found[attempt.host] = new
    return tuple(found.values())


def _of_skipped(one: Skipped) -> HostFailure:
    return HostFailure(one.name, one.trouble, one.text, one.permanent, one.proven, facts=one.facts)


def _of_attempt(attempt: HostAttempt) -> HostFailure:
    assert attempt.trouble is not None  # noqa: S101 - the caller has looked
    reply = f"{attempt.reply.code} {attempt.reply.text}" if attempt.reply else ""
    return HostFailure(
        attempt.host,
        attempt.trouble,
        attempt.text,
        permanent=attempt.trouble is Trouble.GREETING and attempt.reply is not None and attempt.reply.permanent,
        required=attempt.demand in {"dane", "encrypt"} and not attempt.audit_failure,
        reply=reply,
        enhanced=attempt.reply.enhanced if attempt.reply else "",
        facts=attempt.handshake.facts if attempt.handshake else None,
    )


def _refuses(failure: HostFailure, recipient: Recipient, policy: DanePolicy, now: datetime) -> bool:
    """Tell whether policy refuses mail for this failure of a host, at this point in the recipient's life."""
    match failure.trouble:
        case Trouble.MISMATCH:
            return policy.on_mismatch is OnFailure.BOUNCE
        case Trouble.BOGUS_MX | Trouble.BOGUS_ADDRESS | Trouble.BOGUS_TLSA:
            return failure.proven and _on_bogus(failure.trouble, policy) and _bogus_for_long(recipient, policy, now)
        case Trouble.NO_STARTTLS | Trouble.HANDSHAKE:
            if not failure.required or policy.on_no_tls is OnNoTls.DEFER:
                return False
            enough = recipient.failures + 1 >= policy.no_tls_attempts
            return policy.on_no_tls is OnNoTls.BOUNCE or enough
        case Trouble.UNUSABLE:
            return policy.on_unusable is OnUnusable.BOUNCE
        case _:
            return False


def _on_bogus(trouble: Trouble, policy: DanePolicy) -> bool:
    setting = {
        Trouble.BOGUS_MX: policy.on_bogus_mx,
        Trouble.BOGUS_ADDRESS: policy.on_bogus_address,
        Trouble.BOGUS_TLSA: policy.on_bogus_tlsa,
    }[trouble]
    return setting is OnFailure.BOUNCE


def _bogus_for_long(recipient: Recipient, policy: DanePolicy, now: datetime) -> bool:
    since = recipient.failing_since or now
    return recipient.failures + 1 >= policy.bogus_min_attempts and now - since >= policy.bogus_min_age


def _over_time(failure: HostFailure, recipient: Recipient, policy: DanePolicy, now: datetime) -> bool:
    """Tell whether a DANE failure has lasted longer than policy waits for it (`bounce_after`)."""
    if policy.bounce_after is None or failure.trouble not in DANE_TROUBLES or recipient.failing_since is None:
        return False
    return now - recipient.failing_since >= policy.bounce_after


def refuses_alone(failure: HostFailure, policy: DanePolicy) -> bool:
    """Tell whether one host's failure ends the whole destination, without a look at the others (`failure_scope`)."""
    if policy.failure_scope is not Scope.DESTINATION or failure.trouble not in DANE_TROUBLES:
        return False
    patient = failure.trouble in TLS_TROUBLES and policy.on_no_tls is OnNoTls.BOUNCE_AFTER_ATTEMPTS
    waits = _on_bogus_waits(failure, policy)
    probe = Recipient(id="/0", address=None, failures=10**6)  # type: ignore[arg-type]
    return not patient and not waits and _refuses(failure, probe, policy, datetime.max.replace(tzinfo=UTC))


def ends_all(attempt: HostAttempt, policy: Policy) -> bool:
    """Tell whether a failed try alone decides for the destination, so that no other host is tried."""
    return attempt.trouble is not None and refuses_alone(_of_attempt(attempt), policy.dane)


def _on_bogus_waits(failure: HostFailure, policy: DanePolicy) -> bool:
    bogus = failure.trouble in {Trouble.BOGUS_MX, Trouble.BOGUS_ADDRESS, Trouble.BOGUS_TLSA}
    return bogus and (policy.bogus_min_attempts > 1 or policy.bogus_min_age > timedelta(0))


def in_force(destination: Destination, policy: DanePolicy) -> DanePolicy:
    """Give the policy as it may refuse mail for a destination: where DANE is not enforced, bogus DNS only delays.

    There is then no server to go on to, so mail still waits, but nobody is told that DANE failed (RFC 7672 9.1).
    """
    enforced = policy.mode in {Mode.ENFORCE, Mode.MANDATORY} and not destination.excluded
    if enforced and destination.tls is TlsLevel.DANE and destination.kind is not RouteKind.LOCAL:
        return policy
    wait = OnFailure.DEFER
    return replace(policy, on_bogus_mx=wait, on_bogus_address=wait, on_bogus_tlsa=wait, bounce_after=None, retry=None)


def stops_at_once(plan: Plan, policy: Policy) -> bool:
    """Tell whether a host that was left out already decides for the destination (`failure_scope = destination`)."""
    dane = in_force(plan.destination, policy.dane)
    return any(refuses_alone(_of_skipped(one), dane) for one in plan.skipped)


def without_host(
    stage: str,
    plan: Plan,
    tried: Sequence[HostAttempt],
    recipient: Recipient,
    policy: Policy,
    now: datetime,
    *,
    extra: Mapping[str, Fact],
) -> Defer | Refuse:
    """Rule on one recipient whose mail no host took."""
    found = failures(plan, tried)
    if not found:
        reason = Reason(stage, str(Trouble.NO_ADDRESS), waiting(Trouble.NO_ADDRESS), "there is no host to try", extra)
        return Defer((recipient.id,), reason)
    dane = in_force(plan.destination, policy.dane)
    telling = min(found, key=lambda failure: (TELLING.index(failure.trouble), failure.permanent))
    alone = [failure for failure in found if refuses_alone(failure, dane)]
    refusing = alone or (found if all(_refuses(f, recipient, dane, now) or f.permanent for f in found) else [])
    if alone:
        telling = alone[0]
    if telling.trouble is not Trouble.SUSPENDED and (refusing or _over_time(telling, recipient, dane, now)):
        return Refuse((recipient.id,), _reason(stage, telling, found, extra, refuse=True))
    reason = _reason(stage, telling, found, extra, refuse=False)
    return Defer((recipient.id,), reason, _not_before(telling, recipient, dane, now))


def _reason(
    stage: str,
    telling: HostFailure,
    found: Sequence[HostFailure],
    extra: Mapping[str, Fact],
    *,
    refuse: bool,
) -> Reason:
    status = refused(telling.trouble) if refuse else waiting(telling.trouble)
    if telling.enhanced and telling.enhanced[0] == ("5" if refuse else "4"):
        status = telling.enhanced
    elif refuse and status[0] == "4" and telling.permanent:
        status = f"5{status[1:]}"
    facts: dict[str, Fact] = dict(extra)
    facts["failures"] = [{"host": f.host, "trouble": str(f.trouble), "text": f.text} for f in found]
    for name in ("question", "ede", "proofs", "base", "records", "tlsa", "address"):
        if telling.facts and name in telling.facts:
            facts[name] = telling.facts[name]
    if telling.trouble is Trouble.MISMATCH and telling.facts:
        facts["certificate"] = dict(telling.facts)
    facts["host"] = telling.host
    text = f"{telling.host}: {telling.text}" if telling.host not in telling.text else telling.text
    return Reason(
        stage, str(telling.trouble), status, text, facts, telling.host if telling.reply else "", telling.reply,
    )  # fmt: skip


def _not_before(
    failure: HostFailure,
    recipient: Recipient,
    policy: DanePolicy,
    now: datetime,
) -> datetime | None:
    if policy.retry and failure.trouble in DANE_TROUBLES:
        return now + policy.retry[min(recipient.failures, len(policy.retry) - 1)]
    return None
