"""How an explanation is shown: stable JSON for programs, text for people.

`as_json` gives plain values only; `version` changes when a key changes its meaning or goes away, and not when one is
added. `as_text` tells the same in the order of the decision. TLSA records are printed with their registered acronyms
(RFC 7218). Below an answer that was proven here stand the steps of its proof that no answer before it had.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, assert_never

from ops.explain import Bound, Explanation, Ruling, Tried
from stages.answer import Absent, Answer, Failed, Found
from stages.dane import describe
from stages.plan import DaneDemand, Demand, EncryptDemand, Host, MayDemand, Skipped, VerifyDemand
from stages.records import IP, MX, TLSA, Other, Record

VERSION = 1


def as_json(explanation: Explanation) -> dict[str, Any]:
    """Give the explanation as plain values."""
    return {
        "version": VERSION,
        "address": str(explanation.address),
        "sender": str(explanation.sender) if explanation.sender else "<>",
        "made": explanation.made.isoformat(),
        "outcome": explanation.outcome,
        "notes": list(explanation.notes),
        "rulings": [_ruling(one) for one in explanation.rulings],
        "destinations": [_bound(one) for one in explanation.bound],
    }


def _ruling(ruling: Ruling) -> dict[str, Any]:
    reason = ruling.reason
    return {
        "stage": ruling.stage,
        "verdict": ruling.verdict,
        "recipients": list(ruling.recipients),
        "code": reason.code if reason else "",
        "status": reason.status if reason else "",
        "text": reason.text if reason else "",
        "facts": plain(reason.facts) if reason else {},
    }


def _bound(bound: Bound) -> dict[str, Any]:
    policy = bound.policy
    return {
        "destination": bound.destination.key,
        "recipients": list(bound.recipients),
        "outcome": bound.outcome,
        "policy": {
            "mode": str(policy.dane.mode),
            "profile": str(policy.dane.profile),
            "floor": str(policy.floor),
            "excluded": bound.destination.excluded,
        },
        "answers": [_answer(answer) for answer in bound.survey.answers.values()] if bound.survey else [],
        "plan": None
        if bound.plan is None
        else {
            "expires": bound.plan.expires.isoformat(),
            "hosts": [_host(host) for host in bound.plan.hosts],
            "skipped": [_skipped(one) for one in bound.plan.skipped],
        },
        "rulings": [_ruling(one) for one in bound.rulings],
        "connections": [_connection(one) for one in bound.connections],
    }


def _answer(answer: Answer) -> dict[str, Any]:
    made: dict[str, Any] = {
        "question": str(answer.question),
        "state": describe(answer),
        "expires": answer.expires.isoformat(),
        "resolver": answer.resolver,
        "chain": list(answer.chain),
    }
    match answer:
        case Found():
            made |= {"security": str(answer.security), "records": [record_text(one) for one in answer.records]}
            made |= {"canonical": answer.canonical, "aliases": list(answer.aliases)}
        case Absent():
            made |= {"security": str(answer.security), "records": [], "nxdomain": answer.nxdomain}
            made |= {"canonical": answer.canonical, "aliases": list(answer.aliases)}
        case Failed():
            made |= {"security": None, "failure": str(answer.failure), "text": answer.text}
            made |= {"ede": [{"code": one.code, "text": one.text} for one in answer.ede]}
            made |= {"proofs": [str(proof) for proof in answer.proofs]}
        case _:
            assert_never(answer)
    return made


def record_text(record: Record) -> str:
    """Give a record as a zone file would, a TLSA record with its acronyms instead of numbers."""
    match record:
        case TLSA():
            return f"{record.acronyms} {record.data.hex()}"
        case MX():
            return f"{record.preference} {record.exchange}"
        case IP():
            return record.address
        case Other():
            return record.text
        case _:
            assert_never(record)


def _host(host: Host) -> dict[str, Any]:
    return {
        "name": host.name,
        "preference": host.preference,
        "addresses": list(host.addresses),
        "demand": _demand(host.demand),
        "facts": plain(host.facts),
    }


def _demand(demand: Demand) -> dict[str, Any]:
    made: dict[str, Any] = {"kind": demand.kind}
    match demand:
        case DaneDemand():
            made |= {"base": demand.base, "names": list(demand.names), "host_only": demand.host_only}
            made |= {"audit": demand.audit, "records": [record_text(record) for record in demand.records]}
        case EncryptDemand():
            made |= {"why": demand.why, "sni": demand.sni, "audit": demand.audit}
        case VerifyDemand():
            made |= {"sni": demand.sni, "names": list(demand.names)}
        case MayDemand():
            made |= {"why": demand.why, "sni": demand.sni}
        case _:
            assert_never(demand)
    return made


def _skipped(one: Skipped) -> dict[str, Any]:
    return {
        "name": one.name,
        "preference": one.preference,
        "trouble": str(one.trouble),
        "text": one.text,
        "proven": one.proven,
        "permanent": one.permanent,
        "facts": plain(one.facts),
    }


def _connection(tried: Tried) -> dict[str, Any]:
    attempt = tried.attempt
    handshake = attempt.handshake
    return {
        "host": attempt.host,
        "address": attempt.address,
        "port": attempt.port,
        "demand": attempt.demand,
        "reached": tried.reached,
        "outcome": str(attempt.trouble) if attempt.trouble else "session",
        "text": attempt.text,
        "reply": f"{attempt.reply.code} {attempt.reply.text}" if attempt.reply else "",
        "security": handshake.level if handshake else "none",
        "tls": {"version": handshake.version, "cipher": handshake.cipher, **plain(handshake.facts)}
        if handshake
        else {},
        "audit_failure": attempt.audit_failure,
        "seconds": round(attempt.seconds, 6),
    }


def plain(value: Any) -> Any:
    """Turn facts into what JSON holds."""
    match value:
        case Mapping():
            return {str(key): plain(one) for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(one) for one in value]
        case Enum():
            return value.value
        case bytes():
            return value.hex()
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


WORDS = {
    "proceed": "delivery would be tried",
    "defer": "the mail would wait",
    "refuse": "the mail would be returned",
    "done": "the mail would be dropped",
}


def as_text(explanation: Explanation) -> str:
    """Give the explanation as a text of some lines for each step."""
    lines = [f"{explanation.address}: {WORDS[explanation.outcome]}"]
    lines += [f"note: {note}" for note in explanation.notes]
    lines += [_said(ruling) for ruling in explanation.rulings]
    for bound in explanation.bound:
        lines += ["", *_bound_text(bound)]
    return "\n".join(lines)


def _said(ruling: Ruling) -> str:
    reason = ruling.reason
    why = f"{reason.code} {reason.status} {reason.text}" if reason else "passed on"
    return f"{ruling.stage}: {ruling.verdict}: {why}"


def _bound_text(bound: Bound) -> Iterator[str]:
    policy = bound.policy.dane
    excluded = ", excluded from DANE" if bound.destination.excluded else ""
    yield f"destination {bound.destination.key}: {WORDS[bound.outcome]}"
    yield f"  policy: mode {policy.mode}, profile {policy.profile}{excluded}"
    if bound.survey is not None:
        yield "  DNS answers:" if bound.survey.answers else "  DNS answers: none needed"
        shown: set[str] = set()
        for answer in bound.survey.answers.values():
            yield from _answer_text(answer)
            yield from (f"      chain: {step}" for step in answer.chain if step not in shown)
            shown.update(answer.chain)
    if bound.plan is not None:
        yield "  plan:"
        for number, host in enumerate(bound.plan.hosts, 1):
            yield f"    {number}. {host.name} (preference {host.preference}) at {', '.join(host.addresses)}"
            yield f"       {demand_text(host.demand)}"
        for one in bound.plan.skipped:
            yield f"    left out: {one.name} (preference {one.preference}): {one.trouble}: {one.text}"
    for tried in bound.connections:
        yield from _connection_text(tried)
    for ruling in bound.rulings:
        yield f"  {_said(ruling)}"


def _answer_text(answer: Answer) -> Iterator[str]:
    resolver = f" (from {answer.resolver})" if answer.resolver else ""
    yield f"    {answer.question}: {describe(answer)}{resolver}"
    match answer:
        case Found():
            if answer.aliases:
                yield f"      alias of {' -> '.join(answer.aliases)}"
            for record in answer.records:
                yield f"      {record_text(record)}"
        case Absent():
            if answer.aliases:
                yield f"      alias of {' -> '.join(answer.aliases)}"
        case Failed():
            yield f"      {answer.text}"
            if answer.proofs:
                yield f"      shown to be the zone's fault by {', '.join(answer.proofs)}"
        case _:
            assert_never(answer)


def demand_text(demand: Demand) -> str:
    """Say what is demanded of a host."""
    match demand:
        case DaneDemand():
            audit = ", only logged (audit)" if demand.audit else ""
            scope = ", of the host only, as the MX records are insecure" if demand.host_only else ""
            count = len(demand.records)
            return (
                f"DANE{scope}{audit}: STARTTLS with a chain that matches one of {count} TLSA "
                f"record{'s' if count != 1 else ''} of {demand.base}; names {', '.join(demand.names)}"
            )
        case EncryptDemand():
            return f"STARTTLS with any certificate{', only logged (audit)' if demand.audit else ''}: {demand.why}"
        case VerifyDemand():
            return f"STARTTLS with a certificate of a trusted CA for {', '.join(demand.names)}"
        case MayDemand():
            return f"TLS if it works: {demand.why}"
        case _:
            assert_never(demand)


def _connection_text(tried: Tried) -> Iterator[str]:
    attempt = tried.attempt
    outcome = f"{attempt.trouble}: {attempt.text}" if attempt.trouble else "good for mail"
    far = "" if tried.reached else ", only for this explanation: delivery would not come so far"
    yield f"  connected {attempt.host} [{attempt.address}]:{attempt.port}{far}: {outcome} ({attempt.seconds:.3f} s)"
    if attempt.reply is not None:
        yield f"    {attempt.reply.command or 'they'} said: {attempt.reply.code} {attempt.reply.text}"
    if attempt.handshake is not None:
        shown = attempt.handshake
        yield f"    security {shown.level}, {shown.version} {shown.cipher}"
        for key, value in shown.facts.items():
            yield f"    {key}: {plain(value)}"
    if attempt.audit_failure:
        yield f"    enforcing would have refused: {attempt.audit_failure}"
