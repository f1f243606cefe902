"""A bounded look at the queue: some recipients that fit, and where to go on.

By domain, the lists of the destination that mail to it goes to by MX are read, whatever else waits. Held mail is read
from the list of what is held. All else is a walk over the queue in the order of acceptance, which ends after
`PATIENCE` or a full page, and says how many messages it looked at. Raises `StoreUnavailable`.
"""

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.spine import Spine
from pipeline.store.backlog import BacklogStore
from pipeline.store.changes import Stored, milliseconds
from stages.destination import Destination, RouteKind, TlsLevel
from stages.message import FINAL, MessageId, Recipient, State

PAGE = 50  # recipients
PATIENCE = 0.12  # seconds after which a walk ends
_CURSOR = re.compile(r"(to [0-9]{1,2} [0-9]{1,12}|held [0-9]{1,18}|[0-9]{1,16} [0-9A-Z]{0,40})")


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked for; what is empty says nothing. `whole`: walk over all of the queue, though there is an index."""

    recipient: str = ""
    domain: str = ""
    sender: str = ""
    state: str = ""
    since: datetime | None = None
    until: datetime | None = None
    whole: bool = False

    @property
    def target(self) -> str:
        """Give the domain that is looked for, by itself or in an address."""
        return self.domain or self.recipient.rpartition("@")[2].lower()

    def fits(self, stored: Stored, recipient: Recipient) -> bool:
        """Tell whether a recipient is one that is looked for."""
        envelope = stored.message.envelope
        sender = str(envelope.sender) if envelope.sender else "<>"
        return (
            recipient.state not in FINAL
            and (not self.state or recipient.state == self.state)
            and (not self.recipient or str(recipient.address).lower() == self.recipient.lower())
            and (not self.domain or recipient.address.domain == self.domain)
            and (not self.sender or sender.lower() == self.sender.lower())
            and (self.since is None or envelope.accepted >= self.since)
            and (self.until is None or envelope.accepted < self.until)
        )


@dataclass(slots=True)
class Seen:
    """What was found, where to go on (empty: nothing is left), and at how many messages was looked up to which time."""

    rows: list[tuple[Stored, Recipient]] = field(default_factory=list)
    cursor: str = ""
    looked: int = 0
    reached: datetime | None = None
    indexed: bool = False


Step = tuple[list[Stored], str, int]  # some messages, the cursor behind them, and at how many was looked


def is_cursor(text: str) -> bool:
    """Tell whether a text can be where a look goes on."""
    return _CURSOR.fullmatch(text) is not None


async def look(spine: Spine, sought: Sought, cursor: str = "") -> Seen:
    """Look at some of the queue."""
    seen, ends = Seen(), time.monotonic() + PATIENCE
    steps, seen.indexed = _steps(spine, sought, cursor)
    async for messages, following, count in steps:
        seen.cursor = following
        seen.looked += count
        for stored in messages:
            seen.rows += [(stored, one) for one in stored.message.recipients if sought.fits(stored, one)]
        if following and not following.startswith(("to ", "held ")):
            seen.reached = datetime.fromtimestamp(int(following.partition(" ")[0]) / 1000, UTC)
            if sought.until is not None and seen.reached >= sought.until:
                seen.cursor = ""
        if not seen.cursor or len(seen.rows) >= PAGE or time.monotonic() > ends:
            break
    return seen


def _steps(spine: Spine, sought: Sought, cursor: str) -> tuple[AsyncIterator[Step], bool]:
    kind = cursor.partition(" ")[0] if cursor.startswith(("to ", "held ")) else "walk" if cursor else ""
    if kind == "held" or (not kind and sought.state == State.HELD):
        return _held(spine, int(cursor.partition(" ")[2] or 0)), False
    if kind == "to" or (not kind and sought.target and not sought.whole):
        return _waiting(spine, _destinations(spine, sought.target), cursor), True
    start = cursor or (f"{milliseconds(sought.since)} " if sought.since else "")
    return _walk(spine, start, sought.target), False


def _destinations(spine: Spine, domain: str) -> list[str]:
    """Name the destinations of mail that goes to a domain by MX, whatever TLS is asked for."""
    port = spine.config.route_table().port
    return [
        Destination(RouteKind.MX, domain, port, level, excluded).key
        for level in TlsLevel
        for excluded in (False, True)
    ]  # fmt: skip


async def _walk(spine: Spine, cursor: str, domain: str) -> AsyncIterator[Step]:
    while True:
        count = 10 * PAGE if domain else PAGE  # those that do not fit are not even read
        page, cursor = await spine.ledger.page(cursor, count, domain)
        yield page, cursor, count if cursor else len(page)
        if not cursor:
            return


async def _waiting(spine: Spine, names: list[str], cursor: str) -> AsyncIterator[Step]:
    backlog = BacklogStore(spine.redis, prefix=spine.ledger.prefix)
    number, start = map(int, cursor.split()[1:]) if cursor else (0, 0)
    while number < len(names):
        groups = await backlog.waiting(names[number], PAGE, start)
        more = len(groups) == PAGE
        number, start = (number, start + PAGE) if more else (number + 1, 0)
        yield await _messages(spine, groups), f"to {number} {start}" if number < len(names) else "", len(groups)


async def _held(spine: Spine, cursor: int) -> AsyncIterator[Step]:
    backlog = BacklogStore(spine.redis, prefix=spine.ledger.prefix)
    while True:
        cursor, groups = await backlog.held_from(cursor, PAGE)
        yield await _messages(spine, groups), f"held {cursor}" if cursor else "", len(groups)
        if not cursor:
            return


async def _messages(spine: Spine, groups: list[str]) -> list[Stored]:
    names = dict.fromkeys(MessageId(group.partition("/")[0]) for group in groups)
    return [stored for stored in await spine.ledger.all_stored(list(names)) if stored is not None]
