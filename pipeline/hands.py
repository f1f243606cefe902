"""What a connection has in hand: groups as Redis gave them, and the plan that they go by."""

from dataclasses import dataclass
from datetime import datetime

from pipeline.store.changes import Row, Taken
from pipeline.store.ledger import Ledger
from stages.contract import Planned
from stages.message import Message
from stages.reason import Reason


@dataclass(slots=True)
class Handed:
    """A plan as it is left for the stage that delivers: why it was made, and until when it may be used."""

    planned: Planned
    reason: Reason | None = None
    until: datetime | None = None


class Hand:
    """A group as Redis gave it when it was taken, its content packed. `ruled`: the stage before has ruled on it."""

    __slots__ = ("_ledger", "_row", "content", "group", "ruled")

    def __init__(self, ledger: Ledger, group: str, row: Row, content: bytes | None, *, ruled: bool) -> None:
        self._ledger = ledger
        self._row = row
        self.group = group
        self.content = content
        self.ruled = ruled

    def read(self) -> Message | None:
        """Give the message; None if it is gone. Raises `CodecError`."""
        return self._ledger.read(self.group, self._row)


def hands(ledger: Ledger, taken: Taken, bring: str, *, ruled: bool = False) -> list[Hand]:
    """Split what was taken: with "mail" the content stands in front of the row."""
    mail = bring == "mail"
    return [Hand(ledger, group, row[mail:], row[0] if mail else None, ruled=ruled) for group, row in taken.groups]
