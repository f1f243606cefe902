"""What happened on the wire: host by host, reply by reply.

A session reports and never rules: `stages/deliver.py` alone turns these values into verdicts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from stages.message import RecipientId
from stages.plan import Trouble
from stages.reason import Fact


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: three-digit code, enhanced status if it began with a fitting one (RFC 2034), text with lines joined."""

    code: int
    text: str
    enhanced: str = ""
    command: str = ""  # the command it answered: "greeting", "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "."

    @property
    def positive(self) -> bool:
        """Tell whether it is 2yz or 3yz (RFC 5321 section 4.2.1)."""
        return 200 <= self.code < 400

    @property
    def permanent(self) -> bool:
        """Tell whether it is 5yz."""
        return 500 <= self.code < 600


@dataclass(frozen=True, slots=True)
class Handshake:
    """A finished TLS handshake and what it proved. `level` is none, encrypted, dane, dane-host-only or verified.

    `facts` holds what a reader asks for: TLS version, cipher, leaf digest (SHA-256 of the certificate and of the
    SPKI), names, issuer, validity, the TLSA record that matched with the depth, or record by record why not.
    """

    level: str
    version: str = ""
    cipher: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HostAttempt:
    """One try at one address of one host. `trouble` None means that the session was good for mail.

    `reached` says whether there is a mail server at the address: it greeted or refused us for good, or it could not be
    connected to, hung up, kept silent or asked us to come later before it greeted. None: nobody asked, or the fault
    may be ours. What became of TLS says nothing of it.
    """

    host: str
    address: str
    port: int
    demand: str  # kind of the demand: dane, encrypt, verify, may
    trouble: Trouble | None = None
    text: str = ""
    reply: Reply | None = None
    handshake: Handshake | None = None
    started: datetime | None = None
    seconds: float = 0.0
    audit_failure: str = ""  # what enforcing would have refused, in audit mode
    reached: bool | None = None


@dataclass(frozen=True, slots=True)
class Transaction:
    """One MAIL transaction: a reply to each recipient asked, and the replies to MAIL and to the final dot.

    `data` None with accepted recipients means that the connection went before the reply came (RFC 5321 section 3.8).
    `unable` is set instead of any reply when the content must not be sent to this host, as (status, sentence):
    too large for SIZE, 8-bit without 8BITMIME, SMTPUTF8 not offered.
    """

    mail: Reply | None = None
    recipients: Mapping[RecipientId, Reply] = field(default_factory=dict)
    data: Reply | None = None
    unable: tuple[str, str] | None = None
    lost: str = ""  # how the connection ended inside the transaction, if it did
    dsn_offered: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """All that was tried for a group of recipients of one message: hosts in order, and the transaction if one began.

    `until`: the destination is left alone until then, and tried by one message then (`stages/rollover.py`).
    """

    recipients: tuple[RecipientId, ...]
    hosts: tuple[HostAttempt, ...]
    transaction: Transaction | None = None
    until: datetime | None = None
