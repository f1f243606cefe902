"""When deferred mail is tried again, when its sender hears of it, and when it is given up."""

from datetime import timedelta
from typing import Any

import pytest

from stages.message import Envelope, Notify, Recipient
from stages.plan import Trouble
from stages.policy import DanePolicy, Mode, Profile, dane_policy
from stages.reason import Reason
from stages.retry import GiveUp, Schedule, Wait, after_defer, note_failure
from tests.stages.make import DAY, HOUR, MINUTE, NOW, envelope, recipient

SCHEDULE = Schedule(
    intervals=(30 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR),
    lifetime=5 * DAY,
    bounce_lifetime=DAY,
    delay_notice=4 * HOUR,
    jitter=0.0,
)
MISMATCH = Reason("deliver", str(Trouble.MISMATCH), "4.7.5", "mx.example.com: no certificate matches")
BUSY = Reason("deliver", "smtp.refused", "4.3.2", "mx.example.com said: 450 later", remote="mx.example.com")


def tried(times: int, reason: Reason = BUSY, *, every: timedelta = HOUR, **changes: Any) -> Recipient:
    """Make a recipient with so many attempts in a row that ended alike, the last at NOW + (times - 1) * every."""
    made = recipient(**changes)
    for turn in range(times):
        made = note_failure(made, reason, NOW + turn * every)
    return made


def rule(
    who: Recipient,
    reason: Reason = BUSY,
    *,
    after: timedelta = HOUR,
    of: Envelope | None = None,
    dane: DanePolicy | None = None,
    **changes: Any,
) -> Wait | GiveUp:
    """Ask what follows an attempt made `after` acceptance."""
    given = {"not_before": None, "schedule": SCHEDULE, "chance": 0.5} | changes
    return after_defer(who, reason, envelope=of or envelope(), dane=dane or DanePolicy(), now=NOW + after, **given)


SUSPENDED = Reason("resolve", str(Trouble.SUSPENDED), "4.4.3", "our resolver fails its self-test")


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("after", [HOUR, 5 * DAY, 30 * DAY], ids=["young", "at the end", "long after"])
def test_a_fault_of_ours_gives_nobody_up(profile: Profile, after: timedelta) -> None:
    """DANE-01, SEC-85: while our resolver fails its self-test mail waits, minutes at a time, beyond its lifetime if need be."""
    outcome = rule(tried(40, SUSPENDED), SUSPENDED, after=after, dane=dane_policy(profile))
    assert isinstance(outcome, Wait)
    assert NOW + after < outcome.at <= NOW + after + 5 * MINUTE


def test_the_sender_hears_of_a_fault_of_ours_and_of_what_comes_after_it() -> None:
    """DSN-06: a delay notice goes out all the same, and the first other failure after the lifetime gives up."""
    assert rule(tried(1, SUSPENDED), SUSPENDED, after=5 * HOUR) == Wait(NOW + 5 * HOUR + 5 * MINUTE, notice=True)
    assert isinstance(rule(tried(1, BUSY), BUSY, after=6 * DAY), GiveUp)


def test_an_attempt_is_noted() -> None:
    """SMTP-51: attempts are counted; equal codes in a row are counted apart and start anew with another code."""
    once = note_failure(recipient(), BUSY, NOW)
    assert (once.attempts, once.failures, once.first_attempt, once.last_attempt) == (1, 1, NOW, NOW)
    assert once.failing_since == NOW
    twice = note_failure(once, BUSY, NOW + HOUR)
    assert (twice.attempts, twice.failures, twice.failing_since) == (2, 2, NOW)
    assert (twice.first_attempt, twice.last_attempt) == (NOW, NOW + HOUR)
    other = note_failure(twice, MISMATCH, NOW + 2 * HOUR)
    assert (other.attempts, other.failures, other.failing_since) == (3, 1, NOW + 2 * HOUR)
    assert other.reason is MISMATCH


@pytest.mark.parametrize(
    ("attempts", "wait"),
    [(1, 30 * MINUTE), (2, 30 * MINUTE), (3, HOUR), (4, 2 * HOUR), (5, 3 * HOUR), (6, 3 * HOUR), (20, 3 * HOUR)],
)
def test_waits_grow_and_the_last_repeats(attempts: int, wait: timedelta) -> None:
    """SMTP-51, RFC 5321 4.5.4.1: the sender must delay retries, half an hour first and longer later."""
    assert rule(tried(attempts, delay_noticed=True)) == Wait(NOW + HOUR + wait, notice=False)


def test_jitter_spreads_both_ways_and_no_further() -> None:
    """SMTP-51: many messages that failed together do not come back together, and the chance is an argument."""
    jittery = Schedule((100 * MINUTE,), jitter=0.1)
    waits = [rule(tried(1), schedule=jittery, chance=chance) for chance in (0.0, 0.5, 0.999999)]
    ats = [(wait.at - NOW - HOUR) / MINUTE for wait in waits if isinstance(wait, Wait)]
    assert ats == pytest.approx([90, 100, 110], abs=0.01)


def test_not_before_counts_only_if_it_is_later() -> None:
    """SMTP-55: a stage may ask for a later time than the schedule, never for an earlier one."""
    assert rule(tried(1), not_before=NOW + 3 * HOUR) == Wait(NOW + 3 * HOUR, notice=False)
    assert rule(tried(1), not_before=NOW + HOUR + MINUTE) == Wait(NOW + HOUR + 30 * MINUTE, notice=False)


def test_the_last_attempt_is_at_the_end_of_the_lifetime() -> None:
    """SMTP-52, DANE-109: mail is tried until the lifetime is over, the last time at its end, and then given up."""
    who = tried(30, delay_noticed=True)
    assert rule(who, after=5 * DAY - HOUR) == Wait(NOW + 5 * DAY, notice=False)
    assert isinstance(rule(who, after=5 * DAY - timedelta(seconds=1)), Wait)
    assert isinstance(rule(who, after=5 * DAY), GiveUp)
    assert rule(who, after=5 * DAY - HOUR, not_before=NOW + 9 * DAY) == Wait(NOW + 5 * DAY, notice=False)


def test_reports_have_a_shorter_lifetime() -> None:
    """SMTP-52: a message with a null sender is given up by `bounce_lifetime`."""
    assert isinstance(rule(tried(3), after=DAY, of=envelope(None)), GiveUp)
    assert isinstance(rule(tried(3), after=DAY), Wait)


def test_giving_up_keeps_the_last_problem() -> None:
    """DSN-48, DANE-109: the code and status of the last problem stay, and the text says that the time is over."""
    outcome = rule(tried(30, MISMATCH), MISMATCH, after=5 * DAY, dane=dane_policy(Profile.RFC7672))
    assert isinstance(outcome, GiveUp)
    assert (outcome.reason.code, outcome.reason.status) == ("dane.mismatch", "4.7.5")
    assert outcome.reason.text.endswith("given up, as the queue lifetime (5 days) is over")
    assert outcome.reason.facts["given_up_after"] == 5 * 86400


@pytest.mark.parametrize(
    ("lifetime", "words"), [(HOUR, "1 hour"), (90 * MINUTE, "90 minutes"), (timedelta(seconds=45), "45 seconds")]
)
def test_the_time_that_is_over_is_named(lifetime: timedelta, words: str) -> None:
    """DSN-48: the text says which time, in the largest unit that fits."""
    outcome = rule(tried(1), after=2 * HOUR, schedule=Schedule((MINUTE,), lifetime=lifetime))
    assert isinstance(outcome, GiveUp)
    assert f"({words})" in outcome.reason.text


@pytest.mark.parametrize(("failures", "minutes"), [(1, 15), (2, 15), (3, 60), (4, 60), (19, 60)])
def test_exchange_has_a_schedule_of_its_own(failures: int, minutes: int) -> None:
    """DANE-109: profile `exchange` tries a DANE failure again after 15 m, 15 m, then hourly, whatever the queue says."""
    who = tried(failures, MISMATCH, every=MINUTE)
    outcome = rule(who, MISMATCH, dane=dane_policy(Profile.EXCHANGE))
    assert outcome == Wait(NOW + HOUR + minutes * MINUTE, notice=False)


def test_exchange_gives_up_a_dane_failure_after_a_day() -> None:
    """DANE-109: NDR after 24 h of the same DANE failure, with an attempt at the very end; other failures go on."""
    exchange = dane_policy(Profile.EXCHANGE)
    who = tried(20, MISMATCH, every=MINUTE, delay_noticed=True)
    assert rule(who, MISMATCH, after=DAY - 10 * MINUTE, dane=exchange) == Wait(NOW + DAY, notice=False)
    outcome = rule(who, MISMATCH, after=DAY, dane=exchange)
    assert isinstance(outcome, GiveUp)
    assert "24 hours" in outcome.reason.text or "1 day" in outcome.reason.text
    assert isinstance(rule(tried(20, every=MINUTE), after=DAY, dane=exchange), Wait)


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.AUDIT])
def test_dane_schedules_count_only_where_dane_is_enforced(mode: Mode) -> None:
    """DANE-100, DANE-101: with DANE off or only audited, bogus DNS delays mail by the queue's own schedule and lifetime."""
    dane = dane_policy(Profile.EXCHANGE, {"mode": mode})
    who = tried(4, MISMATCH, delay_noticed=True)
    assert rule(who, MISMATCH, dane=dane) == Wait(NOW + 3 * HOUR, notice=False)
    assert isinstance(rule(who, MISMATCH, after=2 * DAY, dane=dane), Wait)


@pytest.mark.parametrize("profile", [Profile.RFC7672, Profile.MAILMARSHAL])
def test_other_profiles_use_the_queue_schedule(profile: Profile) -> None:
    """SMTP-55: DANE delays use the normal schedule unless policy has one."""
    assert rule(tried(3, MISMATCH), MISMATCH, dane=dane_policy(profile)) == Wait(NOW + 2 * HOUR, notice=False)


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        (None, True),
        (frozenset({Notify.DELAY}), True),
        (frozenset({Notify.DELAY, Notify.FAILURE}), True),
        (frozenset({Notify.FAILURE}), False),
        (frozenset({Notify.SUCCESS}), False),
        (frozenset({Notify.NEVER}), False),
    ],
)
def test_a_delay_notice_needs_leave(notify: frozenset[Notify] | None, told: bool) -> None:  # noqa: FBT001
    """DSN-06, DSN-07, RFC 3461 5.2.5: a delay may be told if DELAY is listed or NOTIFY absent, and not otherwise."""
    outcome = rule(tried(5, notify=notify), after=4 * HOUR)
    assert isinstance(outcome, Wait)
    assert outcome.notice is told


@pytest.mark.parametrize(
    ("changes", "of"),
    [
        ({"delay_noticed": True}, envelope()),
        ({"copy_rule": "archive"}, envelope()),
        ({}, envelope(None)),
    ],
    ids=["told before", "a copy", "null sender"],
)
def test_some_are_never_told_of_a_delay(changes: dict[str, Any], of: Envelope) -> None:
    """DSN-01, DSN-06: one delay notice, none about copies, none to the null sender."""
    outcome = rule(tried(5, **changes), after=4 * HOUR, of=of)
    assert isinstance(outcome, Wait)
    assert not outcome.notice


def test_a_delay_notice_comes_at_its_age() -> None:
    """DSN-06: not before `delay_notice`, at it, and never if it is switched off."""
    early, late = rule(tried(5), after=4 * HOUR - MINUTE), rule(tried(5), after=4 * HOUR)
    silent = rule(tried(5), after=4 * DAY, schedule=Schedule((HOUR,), delay_notice=None))
    assert [wait.notice for wait in (early, late, silent) if isinstance(wait, Wait)] == [False, True, False]


def test_a_dane_failure_may_be_told_early() -> None:
    """DANE-105, section 12: `notify_delay_after` tells of a DANE failure early, and of nothing else."""
    dane = dane_policy(Profile.RFC7672, {"notify_delay_after": 15 * MINUTE})
    who = tried(2, MISMATCH, every=10 * MINUTE)
    outcomes = [
        rule(who, MISMATCH, after=10 * MINUTE, dane=dane),
        rule(who, MISMATCH, after=15 * MINUTE, dane=dane),
        rule(tried(2, every=10 * MINUTE), after=15 * MINUTE, dane=dane),
    ]
    assert [wait.notice for wait in outcomes if isinstance(wait, Wait)] == [False, True, False]


@pytest.mark.parametrize(
    "settings",
    [
        {"intervals": ()},
        {"intervals": (-HOUR,)},
        {"intervals": (HOUR,), "jitter": 1.0},
        {"intervals": (HOUR,), "lifetime": -DAY},
    ],
)
def test_a_schedule_that_cannot_work_is_refused(settings: dict[str, Any]) -> None:
    """SMTP-52: the parameters are settings, so a wrong one is said at once."""
    with pytest.raises(ValueError, match=r"retry schedule|jitter"):
        Schedule(**settings)
