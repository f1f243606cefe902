"""Values for tests of stages: a message that is all right, of which a test changes one thing."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from stages.message import Address, Content, Envelope, Message, MessageId, Origin, Recipient, recipient_id

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ID = MessageId("M1")


def address(text: str) -> Address:
    """Read `local@domain` as ingest does, the local part unquoted."""
    local, _, domain = text.rpartition("@")
    domain = domain if domain.startswith("[") else domain.lower()
    if not domain.isascii():
        domain = domain.encode("idna").decode()
    return Address(local.strip('"'), domain, text)


def envelope(sender: str | None = "sender@here.example", **changes: Any) -> Envelope:
    """Make an envelope accepted at NOW; `sender` None is the null one."""
    made = Envelope(
        sender=address(sender) if sender else None,
        accepted=NOW,
        origin=Origin("smtp", "192.0.2.10", "client.here.example"),
        content=Content(1000),
    )
    return replace(made, **changes)


def recipient(text: str = "user@example.com", number: int = 1, **changes: Any) -> Recipient:
    """Make a recipient of the message ID."""
    return replace(Recipient(recipient_id(ID, number), address(text)), **changes)


def message(*recipients: Recipient | str, of: Envelope | None = None) -> Message:
    """Make a message; recipients given as text get numbers in order."""
    made: Sequence[Recipient] = [
        one if isinstance(one, Recipient) else recipient(one, number) for number, one in enumerate(recipients, 1)
    ]
    return Message(ID, of or envelope(), tuple(made))
