"""What travels: an envelope with its recipients, and where each of them stands.

The content is not here: stages decide on the envelope and a few facts about the content (`Content`), and the
octets stay in the content store until delivery sends them.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from stages.reason import Reason

MessageId = NewType("MessageId", str)
RecipientId = NewType("RecipientId", str)  # "<message id>/<number>", a copy leg has "<message id>/<number>+<k>"


class Notify(StrEnum):
    """What a sender wants to hear (RFC 3461 section 4.1); `NEVER` stands alone."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class Ret(StrEnum):
    """How much of the message a failure report returns (RFC 3461 section 4.3)."""

    FULL = "FULL"
    HDRS = "HDRS"


class State(StrEnum):
    """Where a recipient stands. DELIVERED, RELAYED, FAILED and DROPPED are final and exclusive (RFC 3464 2.3.3)."""

    QUEUED = "queued"
    DEFERRED = "deferred"
    HELD = "held"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    FAILED = "failed"
    DROPPED = "dropped"


FINAL = frozenset({State.DELIVERED, State.RELAYED, State.FAILED, State.DROPPED})


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox. `local` is kept as given (RFC 5321 2.4), unquoted; `domain` is lower-case A-labels or a literal.

    `text` is what was accepted, for the wire and for reports; `[192.0.2.1]` and `[IPv6:2001:db8::1]` are literals.
    """

    local: str
    domain: str
    text: str

    def __str__(self) -> str:
        """Give the address as it was accepted."""
        return self.text

    @property
    def is_literal(self) -> bool:
        """Tell whether the domain is an address literal (RFC 5321 section 4.1.3)."""
        return self.domain.startswith("[")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the message came from: how, peer address, HELO name, TLS.

    `source` is `smtp`, `send`, `sendmail`, `api`, `bounce` or `copy`.
    """

    source: str
    peer: str = ""
    helo: str = ""
    protocol: str = "ESMTP"  # the WITH keyword of Received (RFC 5321 section 4.4, RFC 3848)


@dataclass(frozen=True, slots=True)
class Content:
    """What delivery must know of the content: octets with CRLF, 8-bit octets in it, UTF-8 in the header."""

    size: int
    eight_bit: bool = False
    utf8_header: bool = False
    received: int = 0  # number of Received fields, ours included


@dataclass(frozen=True, slots=True)
class Envelope:
    """The reverse-path (None is the null one), ESMTP parameters and origin. `envid` is xtext as given."""

    sender: Address | None
    accepted: datetime
    origin: Origin
    content: Content
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None


@dataclass(frozen=True, slots=True)
class Recipient:
    """One forward-path and where it stands. `orcpt` is xtext as given; `notify` None means that none was given."""

    id: RecipientId
    address: Address
    notify: frozenset[Notify] | None = None
    orcpt: str | None = None
    copy_rule: str | None = None  # the `copy` rule whose leg this is: failures of a copy are logged, never reported
    state: State = State.QUEUED
    attempts: int = 0
    first_attempt: datetime | None = None
    last_attempt: datetime | None = None
    next_attempt: datetime | None = None
    failing_since: datetime | None = None  # first attempt that ended with the present reason code
    failures: int = 0  # attempts in a row that ended with the present reason code
    delay_noticed: bool = False
    reason: Reason | None = None
    copied: bool = False  # its copy legs have been made: never again, even if it comes to stage `route` anew


@dataclass(frozen=True, slots=True)
class Message:
    """A message and those of its recipients that the item in hand is about."""

    id: MessageId
    envelope: Envelope
    recipients: tuple[Recipient, ...]

    @property
    def recipient_ids(self) -> tuple[RecipientId, ...]:
        """List the recipients by id, in order."""
        return tuple(recipient.id for recipient in self.recipients)


def recipient_id(message: MessageId, number: int, copy: int = 0) -> RecipientId:
    """Make the id of a recipient: its place in the envelope and, for a copy, which."""
    return RecipientId(f"{message}/{number}+{copy}" if copy else f"{message}/{number}")


def message_of(recipient: RecipientId) -> MessageId:
    """Give the message that a recipient id belongs to."""
    return MessageId(recipient.partition("/")[0])
