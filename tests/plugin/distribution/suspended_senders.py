"""Hold back the mail of suspended senders: a stage for danepipe, and the gatherer of the fact that it wants.

The list is a file with an address a line, named by the variable SUSPENDED_SENDERS, else `suspended-senders.txt` in the
data directory. It is read for each message, so that a change counts at once; no file means that nobody is suspended.
A line that is no address raises: the mail waits where it is until the list is mended.
"""

import asyncio
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pipeline.facts import Context, Gatherer
from stages.contract import Facts, Level, Routed, Stage
from stages.reason import Reason
from stages.verdict import Defer, Proceed, Verdict

NAME = "suspend"
PAUSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SuspendedSenders:
    """The fact: addresses in lower case whose mail is held back."""

    addresses: frozenset[str]


def decide(item: Routed, facts: Facts, now: datetime) -> tuple[Verdict, ...]:
    """Let all recipients wait if the sender is suspended, else pass all on unchanged."""
    suspended: SuspendedSenders = facts[SuspendedSenders]
    everyone, sender = item.message.recipient_ids, item.message.envelope.sender
    if sender is not None and str(sender).lower() in suspended.addresses:
        reason = Reason(NAME, "suspend.held", "4.7.1", f"{sender} is suspended", {"sender": str(sender)})
        return (Defer(everyone, reason, now + PAUSE),)
    return (Proceed(everyone, item, Reason(NAME, "suspend.passed", "2.0.0", "the sender is not suspended")),)


STAGE = Stage(NAME, Level.MESSAGE, takes=Routed, wants=(SuspendedSenders,), gives=Routed, decide=decide)


def suspended_senders(context: Context) -> Gatherer:
    """Make the gatherer; danepipe calls this once in each worker process."""
    place = Path(os.environ.get("SUSPENDED_SENDERS", context.config.store.dir / "suspended-senders.txt"))

    async def gather(_item: object) -> SuspendedSenders:
        return SuspendedSenders(await asyncio.to_thread(_read, place))

    return Gatherer(SuspendedSenders, gather)


def _read(place: Path) -> frozenset[str]:
    try:
        lines = place.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return frozenset()
    wrong = [line for line in lines if "@" not in line]
    if wrong:
        raise ValueError(f"{place}: {wrong[0]!r} is no address")
    return frozenset(line.lower() for line in lines)
