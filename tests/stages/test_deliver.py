"""Stage deliver: replies become verdicts, recipient by recipient, and trouble with hosts never refuses by itself."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.attempt import Attempt, Handshake, HostAttempt, Reply, Transaction
from stages.contract import Planned
from stages.deliver import STAGE, Step, after
from stages.destination import Destination, RouteKind
from stages.message import Message, Notify, RecipientId
from stages.plan import Host, MayDemand, Plan, Skipped, Trouble
from stages.policy import DanePolicy, OnFailure, OnNoTls, Policy, Profile, dane_policy
from stages.verdict import Defer, Done, Refuse, Verdict, check_partition
from tests.stages.make import NOW, message, recipient

GOOD = HostAttempt("mx.example.com", "192.0.2.1", 25, "dane", handshake=Handshake("dane", "TLSv1.3", "AES", {"x": 1}))
OK = Reply(250, "2.1.0 fine", "2.1.0", "RCPT")
TAKEN = Reply(250, "2.0.0 queued as 7", "2.0.0", ".")
PLAN = Plan(
    Destination(RouteKind.MX, "example.com", 25),
    (Host("mx.example.com", 10, ("192.0.2.1",), MayDemand("", "mx.example.com"), {"address": "secure"}),),
    (),
    NOW,
    NOW,
    {"mx": "secure"},
)


def rule(
    mail: Message,
    transaction: Transaction | None,
    *hosts: HostAttempt,
    policy: Policy | None = None,
    plan: Plan = PLAN,
    now: datetime = NOW,
) -> tuple[Verdict, ...]:
    """Rule on an attempt for all recipients of a message."""
    attempt = Attempt(mail.recipient_ids, hosts, transaction)
    verdicts = STAGE.decide(Planned(plan, (mail,)), {Attempt: attempt, Policy: policy or Policy()}, now)
    check_partition(mail.recipient_ids, verdicts)
    return verdicts


def replied(mail: Message, *replies: Reply, data: Reply | None = TAKEN, **changes: object) -> Transaction:
    """Make a transaction with a reply for each recipient in order."""
    recipients: Mapping[RecipientId, Reply] = dict(zip(mail.recipient_ids, replies, strict=False))
    return replace(Transaction(Reply(250, "ok", "", "MAIL"), recipients, data), **changes)  # type: ignore[arg-type]


def test_each_recipient_has_its_own_verdict() -> None:
    """SMTP-30: {250, 450, 550} is done, deferred and refused, each with the reply that said so."""
    mail = message("a@example.com", "b@example.com", "c@example.com")
    later, no = Reply(450, "4.2.1 later", "4.2.1", "RCPT"), Reply(550, "5.1.1 nobody", "5.1.1", "RCPT")
    done, defer, refuse = rule(mail, replied(mail, OK, later, no), GOOD)
    assert isinstance(done, Done)
    assert isinstance(defer, Defer)
    assert isinstance(refuse, Refuse)
    assert [verdict.recipients for verdict in (done, defer, refuse)] == [("M1/1",), ("M1/2",), ("M1/3",)]
    assert (refuse.reason.code, refuse.reason.status) == ("smtp.rcpt_refused", "5.1.1")
    assert (refuse.reason.remote, refuse.reason.reply) == ("mx.example.com", "550 5.1.1 nobody")
    assert (defer.reason.status, done.reason.status) == ("4.2.1", "2.0.0")


def test_what_is_shared_is_one_verdict() -> None:
    """TLS-16: recipients who share a fate share a verdict; the facts say what TLS proved and what DNS said."""
    mail = message("a@example.com", "b@example.com")
    (done,) = rule(mail, replied(mail, OK, OK), GOOD)
    assert done.recipients == mail.recipient_ids
    assert done.reason is not None
    assert done.reason.facts["security"] == "dane"
    assert done.reason.facts["tls"] == {"x": 1, "version": "TLSv1.3", "cipher": "AES"}
    assert (done.reason.facts["mx"], done.reason.facts["address"]) == ("secure", "secure")


@pytest.mark.parametrize(
    ("data", "kind", "code", "status"),
    [
        (Reply(250, "ok", "", "."), Done, "smtp.accepted", "2.0.0"),
        (Reply(299, "odd", "", "."), Done, "smtp.accepted", "2.0.0"),
        (Reply(451, "later", "", "."), Defer, "smtp.data_deferred", "4.0.0"),
        (Reply(421, "4.3.2 closing", "4.3.2", "."), Defer, "smtp.data_deferred", "4.3.2"),
        (Reply(554, "5.7.1 spam", "5.7.1", "."), Refuse, "smtp.data_refused", "5.7.1"),
        (Reply(599, "odd", "", "."), Refuse, "smtp.data_refused", "5.0.0"),
        (Reply(354, "what", "", "."), Defer, "smtp.protocol", "4.5.0"),
    ],
)
def test_the_final_reply_rules_for_all_accepted(data: Reply, kind: type[Verdict], code: str, status: str) -> None:
    """SMTP-31, SMTP-24, EXT-05, SMTP-56: 2yz done, 4yz waits, 5yz refuses, by the first digit where none is known."""
    mail = message("a@example.com", "b@example.com")
    (verdict,) = rule(mail, replied(mail, OK, OK, data=data), GOOD)
    assert isinstance(verdict, kind)
    assert verdict.reason is not None
    assert (verdict.reason.code, verdict.reason.status) == (code, status)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(Reply(550, "5.7.1 no", "5.7.1"), Refuse), (Reply(452, "full"), Defer), (Reply(354, "?"), Defer)],
)
def test_the_reply_to_mail_rules_for_all(reply: Reply, kind: type[Verdict]) -> None:
    """SMTP-37, EXT-14: a refused sender is every recipient's answer, whatever came for them."""
    mail = message("a@example.com", "b@example.com")
    (verdict,) = rule(mail, Transaction(mail=reply), GOOD)
    assert isinstance(verdict, kind)


@pytest.mark.parametrize(
    ("reply", "others", "kind"),
    [
        (Reply(452, "4.5.3 too many", "4.5.3"), True, Defer),
        (Reply(552, "too many"), True, Defer),
        (Reply(552, "5.5.3 too many", "5.5.3"), False, Defer),
        (Reply(552, "5.2.2 mailbox full", "5.2.2"), True, Refuse),
        (Reply(552, "no room"), False, Refuse),
        (Reply(551, "try x@y.example", ""), True, Refuse),
    ],
)
def test_too_many_recipients_is_no_refusal(reply: Reply, others: bool, kind: type[Verdict]) -> None:  # noqa: FBT001
    """SMTP-32, SMTP-39, EXT-05: 452, and 552 where others were taken, wait; a full mailbox and 551 refuse."""
    mail = message("a@example.com", "b@example.com")
    verdicts = rule(mail, replied(mail, OK if others else Reply(450, "x"), reply), GOOD)
    assert isinstance(verdicts[-1], kind)


def test_a_forwarding_server_changes_nothing() -> None:
    """SMTP-39 (RFC 5321 3.4): 251 is a 2yz as any other: the recipient is done under the address that it had."""
    mail = message("a@example.com")
    (verdict,) = rule(mail, replied(mail, Reply(251, "will go to <b@other.example>", "", "RCPT")), GOOD)
    assert isinstance(verdict, Done)
    assert verdict.recipients == mail.recipient_ids


@pytest.mark.parametrize("transaction_mail", [None, Reply(250, "ok", "", "MAIL")])
@pytest.mark.parametrize("trouble", [Trouble.LOST, Trouble.TIMEOUT, Trouble.CLOSING, Trouble.PROTOCOL])
def test_a_lost_connection_waits(trouble: Trouble, transaction_mail: Reply | None) -> None:
    """SMTP-28, SMTP-29: no reply is 451: accepted recipients wait, and the reason says how the connection went."""
    mail = message("a@example.com")
    lost = replace(GOOD, trouble=trouble, text="gone")
    recipients = {mail.recipient_ids[0]: OK} if transaction_mail else {}
    (verdict,) = rule(mail, Transaction(transaction_mail, recipients, lost="gone before the reply"), lost)
    assert isinstance(verdict, Defer)
    assert verdict.reason.code == str(trouble)
    assert "gone before the reply" in verdict.reason.text
    assert verdict.reason.status[0] == "4"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("5.3.4", "content.too_large"),
        ("5.6.3", "content.eight_bit"),
        ("5.6.7", "content.smtputf8_address"),
        ("5.6.9", "content.smtputf8_header"),
        ("5.1.3", "content.unable"),
    ],
)
def test_what_a_server_cannot_have_is_refused(status: str, code: str) -> None:
    """EXT-04, EXT-07, EXT-09: too large, 8-bit and internationalised mail is refused with the status that says so."""
    mail = message("a@example.com")
    (verdict,) = rule(mail, Transaction(unable=(status, "it cannot")), GOOD)
    assert isinstance(verdict, Refuse)
    assert (verdict.reason.code, verdict.reason.status, verdict.reason.reply) == (code, status, "")


@pytest.mark.parametrize(
    ("notify", "offered", "relayed"),
    [
        (frozenset({Notify.SUCCESS}), False, True),
        (frozenset({Notify.SUCCESS}), True, False),
        (frozenset({Notify.FAILURE}), False, False),
        (frozenset({Notify.NEVER}), False, False),
        (None, False, False),
    ],
)
def test_relayed_is_for_those_who_asked(notify: frozenset[Notify] | None, offered: bool, relayed: bool) -> None:  # noqa: FBT001
    """DSN-09, DSN-11, DSN-12, DSN-14, EXT-24: relayed only without DSN at the next hop, for NOTIFY=SUCCESS."""
    mail = message(recipient(notify=notify))
    (verdict,) = rule(mail, replied(mail, OK, dsn_offered=offered), GOOD)
    assert isinstance(verdict, Done)
    assert verdict.relayed is relayed


# Without a host


def test_a_mismatch_everywhere_is_what_policy_makes_of_it() -> None:
    """DANE-109: refused at once by the profile mailmarshal, waited for by rfc7672; the certificate is in the facts."""
    bad = replace(
        GOOD, trouble=Trouble.MISMATCH, text="no match", handshake=Handshake("encrypted", facts={"base": "b"})
    )
    mail = message("a@example.com")
    (refuse,) = rule(mail, None, bad)
    assert isinstance(refuse, Refuse)
    assert refuse.reason.status == "5.7.5"
    assert refuse.reason.facts["certificate"] == {"base": "b"}
    (defer,) = rule(mail, None, bad, policy=Policy(dane_policy(Profile.RFC7672)))
    assert isinstance(defer, Defer)


def test_one_host_that_merely_is_down_keeps_the_mail() -> None:
    """SMTP-16: a refusal on DANE grounds needs every host; one that could not be reached may yet match."""
    bad = replace(GOOD, trouble=Trouble.MISMATCH, text="no match")
    down = HostAttempt("mx2.example.com", "192.0.2.2", 25, "dane", Trouble.CONNECT, "refused")
    (verdict,) = rule(message("a@example.com"), None, bad, down)
    assert isinstance(verdict, Defer)
    assert verdict.reason.code == "dane.mismatch"


@pytest.mark.parametrize("demand", ["dane", "encrypt", "verify", "may"])
@pytest.mark.parametrize(
    "trouble", [Trouble.CONNECT, Trouble.LOST, Trouble.TIMEOUT, Trouble.CLOSING, Trouble.PROTOCOL, Trouble.UNTRUSTED]
)
def test_trouble_of_the_network_never_refuses(trouble: Trouble, demand: str) -> None:
    """SMTP-28, SMTP-51: only time makes a refusal of what may pass."""
    attempt = HostAttempt("mx.example.com", "192.0.2.1", 25, demand, trouble, "x")
    (verdict,) = rule(message(recipient(failures=1000)), None, attempt)
    assert isinstance(verdict, Defer)


def test_missing_tls_is_refused_only_after_its_attempts() -> None:
    """TLS-08: required TLS that is not offered waits, and after `no_tls_attempts` in a row is refused."""
    attempt = HostAttempt("mx.example.com", "192.0.2.1", 25, "dane", Trouble.NO_STARTTLS, "no STARTTLS")
    (early,) = rule(message(recipient(failures=3)), None, attempt)
    (late,) = rule(message(recipient(failures=4)), None, attempt)
    assert isinstance(early, Defer)
    assert early.reason.status == "4.7.10"
    assert isinstance(late, Refuse)


def test_audit_never_refuses_for_tls() -> None:
    """DANE-100: in audit mode broken TLS and then a dead connection is no missing TLS, however often."""
    policy = Policy(DanePolicy(on_no_tls=OnNoTls.BOUNCE))
    broken = HostAttempt("mx", "192.0.2.1", 25, "dane", Trouble.HANDSHAKE, "broken", audit_failure="broken")
    down = replace(broken, trouble=Trouble.CONNECT, audit_failure="broken")
    (verdict,) = rule(message(recipient(failures=1000)), None, broken, down, policy=policy)
    assert isinstance(verdict, Defer)


def test_a_greeting_that_refuses_counts_with_the_rest() -> None:
    """SMTP-21: 554 in every greeting refuses, with the reply; 450 waits."""
    no = replace(GOOD, trouble=Trouble.GREETING, text="554", reply=Reply(554, "5.7.1 no", "5.7.1", "greeting"))
    (refuse,) = rule(message("a@example.com"), None, no)
    assert isinstance(refuse, Refuse)
    assert refuse.reason.reply == "554 5.7.1 no"
    (defer,) = rule(message("a@example.com"), None, replace(no, reply=Reply(450, "later")))
    assert isinstance(defer, Defer)


def test_hosts_that_were_left_out_count_too() -> None:
    """A host left out for a lookup error keeps the mail waiting, whatever the others did."""
    plan = replace(PLAN, skipped=(Skipped("mx2.example.com", 20, Trouble.LOOKUP_TLSA, "SERVFAIL"),))
    bad = replace(GOOD, trouble=Trouble.MISMATCH, text="no match")
    (verdict,) = rule(message("a@example.com"), None, bad, plan=plan)
    assert isinstance(verdict, Defer)


def test_a_plan_without_hosts_waits() -> None:
    """Nothing tried and nothing left out: wait, never refuse."""
    (verdict,) = rule(message("a@example.com"), None, plan=replace(PLAN, hosts=()))
    assert isinstance(verdict, Defer)


def test_where_to_go_after_a_try() -> None:
    """SMTP-16, RFC 7435: mail where the session is good, clear text where TLS may be left out, else the next address."""
    policy = Policy()
    assert after(GOOD, policy) is Step.MAIL
    assert after(replace(GOOD, demand="may", trouble=Trouble.HANDSHAKE), policy) is Step.CLEAR
    assert after(replace(GOOD, trouble=Trouble.HANDSHAKE), policy) is Step.ADDRESS
    assert after(replace(GOOD, trouble=Trouble.HANDSHAKE, audit_failure="x"), policy) is Step.CLEAR
    assert after(replace(GOOD, demand="may", trouble=Trouble.LOST), policy) is Step.ADDRESS
    waits = Policy(DanePolicy(on_mismatch=OnFailure.DEFER))
    assert after(replace(GOOD, trouble=Trouble.MISMATCH), waits) is Step.ADDRESS


_CODES = st.integers(200, 599)
_REPLIES = st.builds(Reply, _CODES, st.text(max_size=20), st.sampled_from(["", "4.2.1", "5.5.3", "2.0.0"]))


@given(
    st.none() | _REPLIES,
    st.lists(st.none() | _REPLIES, min_size=3, max_size=3),
    st.none() | _REPLIES,
    st.none() | st.sampled_from(list(Trouble)),
)
def test_nothing_is_done_without_a_250_for_the_recipient_and_the_content(
    mail_reply: Reply | None, replies: list[Reply | None], data: Reply | None, trouble: Trouble | None
) -> None:
    """SMTP-50, SMTP-30, DSN-21: whatever a server says, each recipient has one verdict, and Done needs three 2yz."""
    mail = message("a@example.com", "b@example.com", "c@example.com")
    given_replies = {one: reply for one, reply in zip(mail.recipient_ids, replies, strict=True) if reply is not None}
    transaction = Transaction(mail_reply, given_replies, data)
    for verdict in rule(mail, transaction, replace(GOOD, trouble=trouble)):
        for one in verdict.recipients:
            decisive = (mail_reply, given_replies.get(one), data)
            taken = all(reply is not None and reply.code // 100 == 2 for reply in decisive)
            assert isinstance(verdict, Done) == taken
            if isinstance(verdict, Refuse):
                assert any(reply is not None and reply.code // 100 == 5 for reply in decisive)
