"""Who is owed a notice about whom, and who never is.

One notice covers all entitled recipients of one message and event (RFC 3461 section 5.2.8). Never owed anything: the
null sender, so that no report is ever made about a report (RFC 5321 section 3.6.3), and the sender of a message about
a copy that one of our rules made, since it never asked for that copy. NOTIFY decides about the rest (RFC 3461
section 5.2); where it is absent, failures and delays are told and success is not. Nobody is lost: those without a
notice are named in a verdict that says why.
"""

from dataclasses import replace
from datetime import datetime

from stages.contract import Facts, Level, Notice, NoticeKind, Owed, Stage
from stages.message import Envelope, Notify, Recipient, RecipientId, Ret
from stages.reason import Reason
from stages.verdict import Done, Proceed, Verdict

_ASKED_BY = {
    NoticeKind.FAILED: Notify.FAILURE,
    NoticeKind.DELAYED: Notify.DELAY,
    NoticeKind.RELAYED: Notify.SUCCESS,
}


def decide(item: Owed, facts: Facts, now: datetime) -> tuple[Verdict, ...]:
    """Give one notice about the entitled recipients, and say of each other why there is none."""
    del facts, now
    envelope = item.message.envelope
    entitled: list[Recipient] = []
    silent: dict[str, list[RecipientId]] = {}
    for recipient in item.message.recipients:
        code = _why_not(item.kind, envelope, recipient)
        if code is None:
            entitled.append(recipient)
        else:
            silent.setdefault(code, []).append(recipient.id)
    verdicts: list[Verdict] = []
    if entitled:
        message = replace(item.message, recipients=tuple(entitled))
        notice = Notice(item.kind, message, _returns_full(item.kind, envelope))
        text = f"a report ({item.kind}) goes to {envelope.sender}"
        verdicts.append(Proceed(message.recipient_ids, notice, Reason("bounce", "bounce.owed", "2.0.0", text)))
    verdicts += [
        Done(tuple(recipients), Reason("bounce", code, "2.0.0", _TEXTS[code])) for code, recipients in silent.items()
    ]
    return tuple(verdicts)


_TEXTS = {
    "bounce.null_sender": "the sender is the null one: no report about a report (RFC 5321 section 3.6.3)",
    "bounce.copy": "a copy made by a routing rule: its failure is logged and not reported",
    "bounce.not_asked": "the sender did not ask for such a report (RFC 3461 section 5.2)",
}


def _why_not(kind: NoticeKind, envelope: Envelope, recipient: Recipient) -> str | None:
    """Give the reason code of why no notice is owed about a recipient, or None if one is."""
    if envelope.sender is None:
        return "bounce.null_sender"
    if recipient.copy_rule is not None:
        return "bounce.copy"
    if recipient.notify is None:
        return None if kind is not NoticeKind.RELAYED else "bounce.not_asked"
    if Notify.NEVER in recipient.notify or _ASKED_BY[kind] not in recipient.notify:
        return "bounce.not_asked"
    return None


def _returns_full(kind: NoticeKind, envelope: Envelope) -> bool:
    """Tell whether the whole message goes back: in failure reports and on request only (RFC 3461 section 6.2)."""
    return kind is NoticeKind.FAILED and envelope.ret is Ret.FULL


STAGE = Stage("bounce", Level.NOTICE, Owed, (), Notice, decide)
