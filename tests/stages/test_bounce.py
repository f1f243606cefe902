"""Who is owed a notice about whom."""

import pytest

from stages.attempt import Attempt, Handshake, HostAttempt, Reply, Transaction
from stages.bounce import STAGE
from stages.contract import Level, Notice, NoticeKind, Owed, Planned
from stages.deliver import STAGE as DELIVER
from stages.destination import Destination, RouteKind
from stages.message import Envelope, Notify, Recipient, Ret
from stages.plan import Host, MayDemand, Plan
from stages.policy import Policy
from stages.reason import Reason
from stages.verdict import Done, Proceed, Verdict, check_partition
from tests.stages.make import NOW, envelope, message, recipient

GONE = Reason("deliver", "smtp.refused", "5.1.1", "no such user", remote="mx.example.com", reply="550 no such user")
FAILED, DELAYED, RELAYED = NoticeKind.FAILED, NoticeKind.DELAYED, NoticeKind.RELAYED
N = Notify


def rule(kind: NoticeKind, *recipients: Recipient, of: Envelope | None = None) -> tuple[Verdict, ...]:
    """Run the stage and check the partition."""
    item = Owed(kind, message(*recipients, of=of))
    verdicts = STAGE.decide(item, {}, NOW)
    check_partition(item.message.recipient_ids, verdicts)
    return verdicts


def notice(verdicts: tuple[Verdict, ...]) -> Notice | None:
    """Give the one notice among the verdicts."""
    found = [verdict.gives for verdict in verdicts if isinstance(verdict, Proceed)]
    assert len(found) <= 1
    made = found[0] if found else None
    assert made is None or isinstance(made, Notice)
    return made


@pytest.mark.parametrize("kind", list(NoticeKind))
def test_the_null_sender_never_hears(kind: NoticeKind) -> None:
    """DSN-01, DSN-03, SMTP-54, RFC 5321 3.6.3, 6.1: no notification about a failing notification, whatever NOTIFY says."""
    everything = frozenset({N.SUCCESS, N.FAILURE, N.DELAY})
    verdicts = rule(kind, recipient(reason=GONE, notify=everything), of=envelope(None))
    assert notice(verdicts) is None
    assert [verdict.reason.code for verdict in verdicts if isinstance(verdict, Done)] == ["bounce.null_sender"]


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        (None, {FAILED, DELAYED}),
        (frozenset({N.NEVER}), set()),
        (frozenset({N.FAILURE}), {FAILED}),
        (frozenset({N.DELAY}), {DELAYED}),
        (frozenset({N.SUCCESS}), {RELAYED}),
        (frozenset({N.FAILURE, N.DELAY}), {FAILED, DELAYED}),
        (frozenset({N.SUCCESS, N.FAILURE}), {FAILED, RELAYED}),
        (frozenset({N.SUCCESS, N.FAILURE, N.DELAY}), {FAILED, DELAYED, RELAYED}),
    ],
)
def test_notify_decides(notify: frozenset[Notify] | None, told: set[NoticeKind]) -> None:
    """DSN-04, DSN-05, DSN-06, DSN-07, DSN-09, DSN-10, DSN-11, DSN-12, SMTP-53, RFC 3461 5.2.2 to 5.2.6."""
    kinds = {kind for kind in NoticeKind if notice(rule(kind, recipient(reason=GONE, notify=notify))) is not None}
    assert kinds == told


def test_a_copy_is_nobodys_business() -> None:
    """A copy that a rule made fails in the log only; the sender never asked for it."""
    copy = recipient(reason=GONE, copy_rule="archive", notify=frozenset({N.FAILURE, N.SUCCESS, N.DELAY}))
    for kind in NoticeKind:
        assert notice(rule(kind, copy)) is None


def test_one_notice_about_all_who_are_entitled() -> None:
    """DSN-19, DSN-20, RFC 3461 5.2.8: one report for one event, about the entitled recipients only."""
    first = recipient("a@example.com", 1, reason=GONE)
    silent = recipient("b@example.com", 2, reason=GONE, notify=frozenset({N.NEVER}))
    last = recipient("c@example.com", 3, reason=GONE, notify=frozenset({N.FAILURE}))
    verdicts = rule(FAILED, first, silent, last)
    made = notice(verdicts)
    assert made is not None
    assert made.message.recipients == (first, last)
    assert [v.recipients for v in verdicts if isinstance(v, Done)] == [(silent.id,)]


@pytest.mark.parametrize(
    ("kind", "ret", "full"),
    [
        (FAILED, Ret.FULL, True),
        (FAILED, Ret.HDRS, False),
        (FAILED, None, False),
        (DELAYED, Ret.FULL, False),
        (RELAYED, Ret.FULL, False),
    ],
)
def test_how_much_goes_back(kind: NoticeKind, ret: Ret | None, full: bool) -> None:  # noqa: FBT001
    """DSN-42, RFC 3461 6.2: the whole message only in a failure report and on request, else its header."""
    made = notice(
        rule(kind, recipient(reason=GONE, notify=frozenset({N.SUCCESS, N.DELAY, N.FAILURE})), of=envelope(ret=ret))
    )
    assert made is not None
    assert made.return_full is full


@pytest.mark.parametrize(("offered", "notify", "relayed"), [
    (False, frozenset({N.SUCCESS}), True),
    (True, frozenset({N.SUCCESS}), False),
    (False, None, False),
    (False, frozenset({N.FAILURE}), False),
])  # fmt: skip
def test_success_is_told_only_where_the_next_server_will_not(
    offered: bool,  # noqa: FBT001
    notify: frozenset[Notify] | None,
    relayed: bool,  # noqa: FBT001
) -> None:
    """DSN-09, DSN-12, DSN-14, RFC 3461 5.2.1, 5.2.2: a server with DSN reports success itself, and nobody else asked."""
    who = recipient(notify=notify)
    host = Host("mx.example.com", 10, ("192.0.2.25",), MayDemand("", ""))
    planned = Planned(Plan(Destination(RouteKind.MX, "example.com", 25), (host,), (), NOW, NOW), (message(who),))
    ok = Reply(250, "ok", "2.0.0")
    tried = (HostAttempt("mx.example.com", "192.0.2.25", 25, "may", handshake=Handshake("none")),)
    attempt = Attempt((who.id,), tried, Transaction(ok, {who.id: ok}, ok, dsn_offered=offered))
    (verdict,) = DELIVER.decide(planned, {Attempt: attempt, Policy: Policy()}, NOW)
    assert isinstance(verdict, Done)
    assert verdict.relayed is relayed


def test_what_never_happens_here_is_never_reported() -> None:
    """DSN-15, DSN-16, DSN-17, DSN-18: mail is neither finally delivered nor expanded here, so those actions do not exist."""
    assert {str(kind) for kind in NoticeKind} == {"failed", "delayed", "relayed"}


def test_the_stage_takes_what_is_owed() -> None:
    """The stage stands at the end of the line and needs no facts."""
    assert (STAGE.name, STAGE.level, STAGE.takes, STAGE.wants, STAGE.gives) == (
        "bounce",
        Level.NOTICE,
        Owed,
        (),
        Notice,
    )
