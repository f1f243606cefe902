"""The door: what every way in hands over, and how it becomes a message.

`prepare` puts one `Received` field in front and changes nothing else; the octets below it are those that were given.
It raises `SubmissionError` for mail that must not be taken (no recipient, a loop). Whoever calls `Spine.submit` also
meets `StoreUnavailable` (answer 451) and `StoreFull` (answer 452): nothing was promised then.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache

from pipeline.store.connection import StoreFull, StoreUnavailable
from stages.message import (
    Address,
    Content,
    Envelope,
    MessageId,
    Notify,
    Origin,
    Recipient,
    Ret,
    recipient_id,
)

__all__ = ["RecipientRequest", "StoreFull", "StoreUnavailable", "Submission", "SubmissionError", "prepare"]

MAX_RECEIVED = 50  # a message that comes with more Received fields than this loops (RFC 5321 section 6.3)
_MESSAGE_ID = re.compile(rb"^message-id[ \t]*:(?:\r\n[ \t]|[ \t])*([^\r\n]{0,998})", re.IGNORECASE | re.MULTILINE)
_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)


class SubmissionError(Exception):
    """Mail that cannot be taken; `code` and `status` are the SMTP reply for it."""

    def __init__(self, text: str, code: int = 554, status: str = "5.6.0") -> None:
        super().__init__(text)
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class RecipientRequest:
    """A forward-path with what its sender wants to hear (RFC 3461 sections 4.1 and 4.2)."""

    address: Address
    notify: frozenset[Notify] | None = None
    orcpt: str | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """A message as it was given: `content` with CRLF line ends, the rest as in `Envelope`."""

    sender: Address | None
    recipients: tuple[RecipientRequest, ...]
    origin: Origin
    content: bytes
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None


def prepare(
    submission: Submission, hostname: str, identifier: MessageId, now: datetime
) -> tuple[Envelope, tuple[Recipient, ...], bytes]:
    """Make the envelope, the recipients (each mailbox once) and the content to keep. Raises `SubmissionError`."""
    requests: dict[tuple[str, str], RecipientRequest] = {}
    for request in submission.recipients:  # by mailbox: how its domain is spelt makes it no other one
        requests.setdefault((request.address.local, request.address.domain), request)
    if not requests:
        raise SubmissionError("the message has no recipient", 554, "5.5.1")
    recipients = tuple(
        Recipient(recipient_id(identifier, number), request.address, request.notify, request.orcpt)
        for number, request in enumerate(requests.values())
    )
    only = recipients[0].address if len(recipients) == 1 else None
    content = _received(submission, hostname, identifier, now, only) + submission.content
    header = content[: _header_end(content)]
    hops = len(_RECEIVED.findall(header))
    if hops - 1 > MAX_RECEIVED:
        raise SubmissionError(f"the message has passed {hops - 1} hops: it loops (RFC 5321 section 6.3)", 554, "5.4.6")
    facts = Content(len(content), not content.isascii(), not header.isascii(), hops)
    envelope = Envelope(
        submission.sender, now, submission.origin, facts, submission.smtputf8, submission.ret, submission.envid
    )
    return envelope, recipients, content


def message_id(content: bytes) -> str:
    """Give the content of the Message-ID field as it stands there, for the log; empty without one."""
    found = _MESSAGE_ID.search(content, 0, _header_end(content))
    return found[1].decode(errors="replace").strip() if found else ""


def _header_end(content: bytes) -> int:
    end = content.find(b"\r\n\r\n")
    return len(content) if end < 0 else end + 2


def _received(
    submission: Submission, hostname: str, identifier: MessageId, now: datetime, only: Address | None
) -> bytes:
    """Write the trace field (RFC 5321 section 4.4); a single recipient is named, several never are (section 7.2)."""
    origin = submission.origin
    lines = []
    if origin.peer:
        literal = f"IPv6:{origin.peer}" if ":" in origin.peer else origin.peer
        lines.append(f"from {_harmless(origin.helo) or 'unknown'} ([{literal}])")
        lines.append(f"by {hostname} (danepipe) with {origin.protocol} id {identifier}")
    else:
        lines.append(f"by {hostname} (danepipe, {origin.source}) id {identifier}")
    if only is not None and (only.text.isascii() or submission.smtputf8):
        lines.append(f"for <{only.text}>")
    date = _written(now.replace(microsecond=0), now.utcoffset())
    return ("Received: " + "\r\n\t".join(lines) + f"; {date}\r\n").encode()


@lru_cache(maxsize=2)
def _written(second: datetime, _offset: timedelta | None) -> str:
    """Write a date; that of a second is written once, and not for each of its messages (in each zone, though)."""
    return format_datetime(second)


def _harmless(helo: str) -> str:
    """Keep of a client's greeting what may stand in a header field."""
    return re.sub(r"[^A-Za-z0-9.:\[\]_-]", "?", helo)[:255]
