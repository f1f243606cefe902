"""From what happened on the wire to a verdict on each recipient, and from one host to the next.

`after` tells the courier where to go once an address has been tried. `decide` rules: a reply to a recipient or to the
content is final for that recipient (RFC 5321 sections 3.3 and 4.2.5), a connection that went means wait (section
3.8), and where no host took the mail `stages/refusal.py` says what that leads to. Nothing here refuses mail for
trouble of the network or of ours.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from stages import refusal
from stages.attempt import Attempt, HostAttempt, Reply, Transaction
from stages.contract import Facts, Level, Planned, Stage
from stages.message import Notify, Recipient
from stages.plan import Plan, Trouble
from stages.policy import Policy
from stages.reason import Fact, Reason
from stages.resolve import plan_facts
from stages.status import waiting
from stages.verdict import Defer, Done, Refuse, Verdict

NAME = "deliver"
_UNABLE = {
    "5.3.4": "content.too_large",
    "5.6.3": "content.eight_bit",
    "5.6.7": "content.smtputf8_address",
    "5.6.9": "content.smtputf8_header",
}


class Step(StrEnum):
    """What comes after a try at one address."""

    MAIL = "mail"  # the session is good for mail
    ASK = "ask"  # DNS is asked again past every cache, before anything follows from this
    CLEAR = "clear"  # the same address on a new connection, without TLS
    ADDRESS = "address"  # the next address of the host, then the next host
    STOP = "stop"  # no other host: policy rules on this failure alone


def after(attempt: HostAttempt, policy: Policy, *, asked: bool = True) -> Step:
    """Say where to go after a try. Only a host that need not show TLS is ever spoken to in clear text (RFC 7435).

    `asked`: DNS has been asked again already, or cannot be; else a mismatch does not count yet.
    """
    if attempt.trouble is None:
        return Step.MAIL
    if attempt.trouble is Trouble.MISMATCH and not asked:
        return Step.ASK
    opportunistic = attempt.demand == "may" or bool(attempt.audit_failure)
    if attempt.trouble is Trouble.HANDSHAKE and opportunistic:
        return Step.CLEAR
    return Step.STOP if refusal.ends_all(attempt, policy) else Step.ADDRESS


def decide(item: Planned, facts: Facts, now: datetime) -> tuple[Verdict, ...]:
    """Rule on every recipient of the item by one attempt."""
    attempt: Attempt = facts[Attempt]
    policy: Policy = facts[Policy]
    ruling = _Ruling(item.plan, attempt, policy, now)
    verdicts: list[Verdict] = []
    for message in item.messages:
        for recipient in message.recipients:
            _merge(verdicts, ruling.rule(recipient))
    return tuple(verdicts)


def _merge(verdicts: list[Verdict], new: Defer | Refuse | Done) -> None:
    """Add a verdict, to an equal one if there is one, so that recipients who share a fate share a line in the log."""
    for number, old in enumerate(verdicts):
        match old, new:
            case Defer(recipients=ids), Defer() if replace(old, recipients=new.recipients) == new:
                verdicts[number] = replace(new, recipients=ids + new.recipients)
                return
            case Refuse(recipients=ids), Refuse() if old.reason == new.reason:
                verdicts[number] = Refuse(ids + new.recipients, new.reason)
                return
            case Done(recipients=ids), Done() if old.reason == new.reason and old.relayed == new.relayed:
                verdicts[number] = Done(ids + new.recipients, new.reason, new.relayed)
                return
            case _:
                continue
    verdicts.append(new)


class _Ruling:
    """One attempt, looked at recipient by recipient."""

    def __init__(self, plan: Plan, attempt: Attempt, policy: Policy, now: datetime) -> None:
        self._plan = plan
        self._attempt = attempt
        self._policy = policy
        self._now = now
        self._facts = _facts(plan, attempt)

    def rule(self, recipient: Recipient) -> Defer | Refuse | Done:
        transaction = self._attempt.transaction
        if transaction is None or not self._attempt.hosts:
            return self._without_host(recipient)
        if transaction.unable is not None:
            status, text = transaction.unable
            return Refuse((recipient.id,), self._reason(_UNABLE.get(status, "content.unable"), status, text))
        mail = transaction.mail
        if mail is None:
            return self._lost(recipient, transaction)
        if mail.code // 100 != 2:
            return self._replied(recipient, mail, "mail")
        reply = transaction.recipients.get(recipient.id)
        if reply is None:
            return self._lost(recipient, transaction)
        if reply.code // 100 != 2:
            if _too_many(reply, transaction):
                reason = self._reason("smtp.too_many_recipients", "4.5.3", _said(reply), reply)
                return Defer((recipient.id,), reason)
            return self._replied(recipient, reply, "rcpt")
        data = transaction.data
        if data is None:
            return self._lost(recipient, transaction)
        if data.code // 100 != 2:
            return self._replied(recipient, data, "data")
        return self._done(recipient, data, transaction)

    def _without_host(self, recipient: Recipient) -> Defer | Refuse:
        """Rule where no host took the mail; a destination that is left alone has its own time for all of its mail."""
        hosts, until = self._attempt.hosts, self._attempt.until
        extra = plan_facts(self._plan)
        ruled = refusal.without_host(NAME, self._plan, hosts, recipient, self._policy, self._now, extra=extra)
        if until is None or isinstance(ruled, Refuse):
            return ruled
        return replace(ruled, not_before=max(until, ruled.not_before or until), together=True)

    def _replied(self, recipient: Recipient, reply: Reply, phase: str) -> Defer | Refuse:
        """Rule by a reply that is not 2yz: only 5yz refuses (RFC 5321 section 4.2.1)."""
        if reply.permanent:
            reason = self._reason(f"smtp.{phase}_refused", reply.enhanced or "5.0.0", _said(reply), reply)
            return Refuse((recipient.id,), reason)
        if reply.code // 100 == 4:
            reason = self._reason(f"smtp.{phase}_deferred", reply.enhanced or "4.0.0", _said(reply), reply)
            return Defer((recipient.id,), reason)
        trouble = Trouble.PROTOCOL
        reason = self._reason(str(trouble), waiting(trouble), f"unexpected: {_said(reply)}", reply)
        return Defer((recipient.id,), reason)

    def _lost(self, recipient: Recipient, transaction: Transaction) -> Defer:
        """Wait: a connection that went counts as 451 (RFC 5321 section 3.8)."""
        last = self._attempt.hosts[-1]
        trouble = last.trouble or Trouble.LOST
        text = transaction.lost or last.text or "the transaction was left unfinished"
        return Defer((recipient.id,), self._reason(str(trouble), waiting(trouble), text, last.reply))

    def _done(self, recipient: Recipient, data: Reply, transaction: Transaction) -> Done:
        wanted = recipient.notify is not None and Notify.SUCCESS in recipient.notify
        relayed = wanted and not transaction.dsn_offered
        status = data.enhanced or "2.0.0"
        return Done((recipient.id,), self._reason("smtp.accepted", status, _said(data), data), relayed)

    def _reason(self, code: str, status: str, text: str, reply: Reply | None = None) -> Reason:
        host = self._attempt.hosts[-1].host
        shown = f"{reply.code} {reply.text}".strip() if reply else ""
        return Reason(NAME, code, status, f"{host}: {text}", self._facts, host if reply else "", shown)


def _said(reply: Reply) -> str:
    text = f"{reply.code} {reply.text}".strip()
    return f"{text} (reply to {reply.command})" if reply.command else text


def _too_many(reply: Reply, transaction: Transaction) -> bool:
    """Tell whether 552 to RCPT means "too many recipients", which is temporary (RFC 5321 section 4.5.3.1.10)."""
    if reply.code != 552:
        return False
    if reply.enhanced:
        return reply.enhanced == "5.5.3"
    return any(other.code // 100 == 2 for other in transaction.recipients.values())


def _facts(plan: Plan, attempt: Attempt) -> Mapping[str, Fact]:
    """Give what the verdict rested on: the states of the DNS answers, the host, what TLS proved."""
    facts: dict[str, Fact] = {"destination": plan.destination.key, **plan.facts}
    if not attempt.hosts:
        return facts
    last = attempt.hosts[-1]
    for host in plan.hosts:
        if host.name == last.host:
            facts.update(host.facts)
    facts |= {"host": last.host, "ip": last.address, "port": last.port, "demand": last.demand}
    facts["security"] = last.handshake.level if last.handshake else "none"
    if last.handshake:
        facts["tls"] = {
            **last.handshake.facts, "version": last.handshake.version, "cipher": last.handshake.cipher,
        }  # fmt: skip
    if last.audit_failure:
        facts["audit_failure"] = last.audit_failure
    return facts


STAGE = Stage(NAME, Level.DESTINATION, Planned, (Attempt, Policy), Planned, decide)
