"""When a deferred recipient is tried again, when its sender hears of the delay, and when it is given up.

The queue's schedule counts attempts; a DANE failure whose policy has a schedule of its own (`DanePolicy.retry`)
follows that one, counted by failures of the same kind in a row. Nothing is given up before its lifetime is over and
one attempt has been made at its very end; `DanePolicy.bounce_after` shortens the lifetime of a DANE failure. Whoever is
given up keeps the reason and the status of the last attempt (RFC 3463 section 3.5, X.4.7: the cause is preferred).
While our own resolver is at fault, nothing is given up, and mail is tried again soon: it may be mended at any time.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from stages.message import Envelope, Notify, Recipient
from stages.plan import Trouble
from stages.policy import DanePolicy, Mode
from stages.reason import Reason
from stages.refusal import DANE_TROUBLES

OWN_FAULT_WAIT = timedelta(minutes=5)  # longest wait of mail that waits for our own resolver
_OWN_FAULT = str(Trouble.SUSPENDED)
_DANE_CODES = frozenset(str(trouble) for trouble in DANE_TROUBLES)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Waits after the first, second, ... attempt (the last repeats), lifetimes, and the age for a delay notice.

    `bounce_lifetime` is that of messages with a null sender; `delay_notice` None sends none. A wait varies by
    the share `jitter` up and down. Raises ValueError for a schedule that cannot work.
    """

    intervals: tuple[timedelta, ...]
    lifetime: timedelta = timedelta(days=5)
    bounce_lifetime: timedelta = timedelta(days=1)
    delay_notice: timedelta | None = timedelta(hours=4)
    jitter: float = 0.1

    def __post_init__(self) -> None:
        """Refuse an empty schedule, negative durations and a jitter out of range."""
        durations = (*self.intervals, self.lifetime, self.bounce_lifetime, self.delay_notice or timedelta(0))
        if not self.intervals or any(duration < timedelta(0) for duration in durations):
            raise ValueError("a retry schedule needs one interval at least, and no negative durations")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter is {self.jitter}, expected a share from 0 up to, but not including, 1")

    def lifetime_of(self, envelope: Envelope) -> timedelta:
        """Give how long a message is tried: reports are given up earlier (SMTP-52)."""
        return self.lifetime if envelope.sender is not None else self.bounce_lifetime


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again at `at`; `notice` says that the sender is now owed a delay notice."""

    at: datetime
    notice: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The time is over: the recipient fails with the last problem as its reason."""

    reason: Reason


def note_failure(recipient: Recipient, reason: Reason, now: datetime) -> Recipient:
    """Write an attempt and what it ended with into a recipient; `failures` counts equal reason codes in a row."""
    same = recipient.reason is not None and recipient.reason.code == reason.code
    return replace(
        recipient,
        reason=reason,
        attempts=recipient.attempts + 1,
        first_attempt=recipient.first_attempt or now,
        last_attempt=now,
        failing_since=(recipient.failing_since if same else None) or now,
        failures=recipient.failures + 1 if same else 1,
    )


def after_defer(  # noqa: PLR0913, PLR0917 - everything that decides is an argument, none of it belongs together
    recipient: Recipient,
    reason: Reason,
    not_before: datetime | None,
    envelope: Envelope,
    dane: DanePolicy,
    schedule: Schedule,
    now: datetime,
    chance: float,
    *,
    together: bool = False,
) -> Wait | GiveUp:
    """Rule on a recipient that `note_failure` has just noted the attempt in; `chance` lies in [0, 1).

    `together` is that of `Defer`: the destination has its own time, whatever the schedule says.
    """
    by_dane = reason.code in _DANE_CODES and dane.mode in {Mode.ENFORCE, Mode.MANDATORY}
    since = recipient.failing_since or now
    lifetime = schedule.lifetime_of(envelope)
    ends = envelope.accepted + lifetime
    own_fault = reason.code == _OWN_FAULT
    if now >= ends and not own_fault:
        return GiveUp(_given_up(reason, lifetime, "the queue lifetime"))
    if by_dane and dane.bounce_after is not None:
        if now >= since + dane.bounce_after:
            return GiveUp(_given_up(reason, dane.bounce_after, "the time that policy allows a DANE failure"))
        ends = min(ends, since + dane.bounce_after)
    wait = _interval(recipient, dane, schedule, by_dane=by_dane) * (1 + schedule.jitter * (2 * chance - 1))
    at = not_before if together and not_before is not None else max(now + wait, not_before or now)
    latest = now + OWN_FAULT_WAIT if own_fault else ends
    notice = _may_hear(recipient, envelope) and _is_late(envelope, dane, schedule, now, since if by_dane else None)
    return Wait(min(at, latest), notice)


def _interval(recipient: Recipient, dane: DanePolicy, schedule: Schedule, *, by_dane: bool) -> timedelta:
    if by_dane and dane.retry:
        return dane.retry[min(max(recipient.failures, 1), len(dane.retry)) - 1]
    return schedule.intervals[min(max(recipient.attempts, 1), len(schedule.intervals)) - 1]


def _may_hear(recipient: Recipient, envelope: Envelope) -> bool:
    """Tell whether a delay notice about this recipient is allowed and the first one (DSN-06, DSN-07)."""
    if envelope.sender is None or recipient.copy_rule is not None or recipient.delay_noticed:
        return False
    return recipient.notify is None or Notify.DELAY in recipient.notify


def _is_late(
    envelope: Envelope,
    dane: DanePolicy,
    schedule: Schedule,
    now: datetime,
    dane_since: datetime | None,
) -> bool:
    if schedule.delay_notice is not None and now - envelope.accepted >= schedule.delay_notice:
        return True
    early = dane.notify_delay_after
    return early is not None and dane_since is not None and now - dane_since >= early


def _given_up(reason: Reason, after: timedelta, what: str) -> Reason:
    text = f"{reason.text}; given up, as {what} ({_words(after)}) is over"
    return replace(reason, text=text, facts={**reason.facts, "given_up_after": round(after.total_seconds())})


def _words(duration: timedelta) -> str:
    seconds = round(duration.total_seconds())
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"{count} {word}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"
