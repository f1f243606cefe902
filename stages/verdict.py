"""Every way in which a stage can rule over a recipient.

`Defer` means *they* asked us to wait, `Refuse` that a non-delivery report is owed (if its sender may have one),
`Done` that nothing remains to be done, `Proceed` that the next stage takes over. A fault of ours is never a
verdict: it is an exception, and the message stays where it is.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from stages.message import RecipientId
from stages.reason import Reason


@dataclass(frozen=True, slots=True)
class Proceed:
    """These recipients go on to the next stage; `gives` is what this stage adds for them (of the type it declares)."""

    recipients: tuple[RecipientId, ...]
    gives: object
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Defer:
    """These recipients wait and re-enter at `route`; `not_before` overrides the retry schedule if it is later.

    `together`: they come at `not_before` itself, with all mail of the destination, and no schedule of the queue counts.
    """

    recipients: tuple[RecipientId, ...]
    reason: Reason
    not_before: datetime | None = None
    together: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """These recipients have failed for good, and whoever is entitled to a notice gets one."""

    recipients: tuple[RecipientId, ...]
    reason: Reason


@dataclass(frozen=True, slots=True)
class Done:
    """These recipients are settled without failure; `relayed` if the next hop did not promise DSN (RFC 3461 5.2.2)."""

    recipients: tuple[RecipientId, ...]
    reason: Reason
    relayed: bool = False


Verdict = Proceed | Defer | Refuse | Done


class PartitionError(Exception):
    """A stage's verdicts do not name each recipient of its item exactly once."""


def check_partition(expected: tuple[RecipientId, ...], verdicts: tuple[Verdict, ...]) -> None:
    """Raise `PartitionError`, naming the recipients concerned, unless the verdicts cover `expected` exactly once."""
    if len(verdicts) == 1 and verdicts[0].recipients == expected and len(set(expected)) == len(expected):
        return  # as it nearly always is
    named = [recipient for verdict in verdicts for recipient in verdict.recipients]
    twice = sorted(recipient for recipient, times in Counter(named).items() if times > 1)
    lost = sorted(set(expected) - set(named))
    unknown = sorted(set(named) - set(expected))
    if twice or lost or unknown:
        raise PartitionError(f"verdicts must name each recipient once: lost={lost} twice={twice} unknown={unknown}")
