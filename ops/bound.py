"""The recipients bound for one destination, for an operator's hand: those that wait there, and those held for it.

They are found by what the ledger keeps of each destination, so that it costs the same however long the queue is. Mail
that is held belongs to no destination: it is known again by the domain of the recipient, so none is found for a
destination that is a named host. What is acted on goes elsewhere, which the walk bears. Raises `StoreUnavailable`.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

from pipeline.spine import Spine, utc_now
from pipeline.store.backlog import BacklogStore
from pipeline.store.changes import Stored
from stages.destination import Destination, RouteKind
from stages.message import FINAL, MessageId, Recipient, State

_AT_ONCE = 50  # messages that are fetched together
_SKEW = timedelta(seconds=10)  # by which the clock of a worker may be ahead of ours
MOST_HELD = 300  # groups that are looked at to say how many are held for one destination


def _backlog(spine: Spine) -> BacklogStore:
    return BacklogStore(spine.redis, prefix=spine.ledger.prefix)


async def waiting(
    spine: Spine, destination: str, until: datetime | None = None
) -> AsyncIterator[tuple[Stored, Recipient]]:
    """Find the recipients that wait for a destination; one that is tried meanwhile does not come again.

    With `until`, mail that was accepted after that moment is left out.
    """
    later = utc_now() + _SKEW
    async for groups in _backlog(spine).all_of(destination):
        async for stored, recipient in _recipients(spine, groups):
            new = until is not None and stored.message.envelope.accepted > until
            if not new and (recipient.last_attempt is None or recipient.last_attempt <= later):
                yield stored, recipient


async def count(spine: Spine, destination: str) -> int:
    """Count the recipients that wait for a destination, by the names of their groups alone."""
    total = 0
    async for groups in _backlog(spine).all_of(destination):
        total += sum(1 + group.count(",") for group in groups)
    return total


async def held(spine: Spine, destination: str) -> AsyncIterator[tuple[Stored, Recipient]]:
    """Find the recipients held whose mail is for a domain that is a destination by itself."""
    target = Destination.parse(destination)
    if target.kind is not RouteKind.MX:
        return
    async for groups in _backlog(spine).held():
        async for stored, recipient in _recipients(spine, groups):
            if recipient.state is State.HELD and recipient.address.domain == target.name:
                yield stored, recipient


async def count_held(spine: Spine, destination: str) -> int | None:
    """Count the recipients held; None where too much is held to look at all of it."""
    if Destination.parse(destination).kind is not RouteKind.MX:
        return 0
    if (await spine.ledger.counts())["held"] > MOST_HELD:
        return None
    found = 0
    async for _ in held(spine, destination):
        found += 1
    return found


async def _recipients(spine: Spine, groups: Sequence[str]) -> AsyncIterator[tuple[Stored, Recipient]]:
    for first in range(0, len(groups), _AT_ONCE):
        for stored, recipients in await grouped(spine, groups[first : first + _AT_ONCE]):
            for recipient in recipients:
                if recipient.state not in FINAL:
                    yield stored, recipient


async def grouped(spine: Spine, groups: Sequence[str]) -> list[tuple[Stored, list[Recipient]]]:
    """Fetch the messages of some groups, each with the recipients that it names; the forgotten are left out."""
    parts = [group.partition("/") for group in groups]
    names = list(dict.fromkeys(MessageId(message) for message, _, _ in parts))
    messages = dict(zip(names, await spine.ledger.all_stored(names), strict=True))
    found = []
    for message, _, numbers in parts:
        stored = messages[MessageId(message)]
        meant = {f"{message}/{number}" for number in numbers.split(",")}
        if stored is not None:
            found.append((stored, [one for one in stored.message.recipients if one.id in meant]))
    return found
