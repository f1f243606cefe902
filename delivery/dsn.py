"""Delivery status notifications as mail (RFC 3464 in a multipart/report of RFC 6522, RFC 6533 for SMTPUTF8).

`compose` writes one report about all recipients of a notice: words for people, fields for programs, and what came
back of the message. The body is 7-bit whatever the original was, so that the report passes every server on the way
back; only a header with a UTF-8 address of the sender asks for SMTPUTF8. What others said (replies, DNS texts,
parameters) can add no field and no line: it is one line, cut and folded (RFC 3464 section 2.1). The time, the
Message-ID and the boundary are arguments; the boundary is lengthened if the text happens to hold it.
"""

import re
import textwrap
from base64 import encodebytes
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from quopri import encodestring
from typing import assert_never

from delivery.advice import clean, explain
from delivery.fields import status_fields
from delivery.settings import DsnSettings
from stages.contract import Notice, NoticeKind
from stages.message import Address, Message, Recipient

MAX_HEADER = 64 * 1024  # octets of the original's header that are returned
_ENDED = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Report:
    """A finished report, lines ended by CRLF; `smtputf8` says that its header can only travel with SMTPUTF8."""

    content: bytes
    smtputf8: bool


@dataclass(frozen=True, slots=True)
class _Part:
    type: str
    encoding: str
    body: bytes
    description: str


def compose(
    notice: Notice,
    original: bytes,
    settings: DsnSettings,
    message_id: str,
    boundary: str,
    now: datetime,
) -> Report:
    """Write the report. Raises ValueError for a notice to the null sender, which nobody may be owed (RFC 5321 6.1)."""
    sender = notice.message.envelope.sender
    if sender is None:
        raise ValueError(f"a notice about {notice.message.id} has no sender to go to")
    utf8 = _is_utf8(notice.message)
    returned, remark = _returned(notice, original, settings, utf8=utf8)
    words = _words(notice, settings, remark)
    parts = [
        _text(words),
        _status_part(notice, settings, utf8=utf8),
        returned,
    ]
    while any(boundary.encode() in part.body for part in parts):
        boundary += "x"
    header = _header(notice, sender, original, settings, message_id, boundary, now)
    body = b"".join(_framed(part, boundary) for part in parts)
    content = header.encode() + b"\r\n" + body + f"--{boundary}--\r\n".encode()
    return Report(content, smtputf8=not header.isascii())


def _is_utf8(message: Message) -> bool:
    """Tell whether the report must be able to speak UTF-8 (RFC 6533)."""
    envelope = message.envelope
    addresses = [recipient.address for recipient in message.recipients]
    texts = [str(address) for address in (envelope.sender, *addresses) if address is not None]
    return envelope.smtputf8 or envelope.content.utf8_header or not all(text.isascii() for text in texts)


# The header and the frame


_SUBJECTS = {
    NoticeKind.FAILED: "Undeliverable: your message was not delivered",
    NoticeKind.DELAYED: "Delayed: your message has not been delivered yet",
    NoticeKind.RELAYED: "Relayed: your message was passed on",
}


def _header(
    notice: Notice,
    sender: Address,
    original: bytes,
    settings: DsnSettings,
    message_id: str,
    boundary: str,
    now: datetime,
) -> str:
    status = "delivery-status"
    lines = [
        f"From: Mail Delivery System <{clean(settings.postmaster)}>",
        f"To: <{clean(sender)}>",
        f"Subject: {_SUBJECTS[notice.kind]}",
        f"Date: {format_datetime(now)}",
        f"Message-ID: {clean(message_id)}",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type={status};\r\n boundary="{boundary}"',
    ]
    about = _message_id(original)
    if about:
        lines[5:5] = [f"In-Reply-To: {about}", f"References: {about}"]
    return "".join(f"{line}\r\n" for line in lines)


def _message_id(original: bytes) -> str:
    """Give the original's Message-ID if it is a plain one (RFC 5322 section 3.6.4)."""
    header = _ENDED.split(original[:MAX_HEADER], maxsplit=1)[0]
    found = re.search(
        rb"^message-id:[ \t]*(?:\r?\n[ \t]+)?(<[\x21-\x7e]{3,250}>)[ \t]*\r?$", header, re.IGNORECASE | re.MULTILINE
    )
    return found[1].decode("ascii") if found else ""


def _framed(part: _Part, boundary: str) -> bytes:
    lines = (
        f"--{boundary}",
        f"Content-Type: {part.type}",
        f"Content-Transfer-Encoding: {part.encoding}",
        f"Content-Description: {part.description}",
    )
    # The CRLF before a boundary belongs to the boundary (RFC 2046 section 5.1.1), so the part keeps its own.
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + part.body + b"\r\n"


def _encoded(text: str) -> tuple[str, bytes]:
    """Give lines as 7-bit octets with CRLF, quoted-printable only where needed."""
    data = text.encode()
    if data.isascii() and all(len(line) <= 998 for line in data.split(b"\n")):
        return "7bit", data.replace(b"\n", b"\r\n")
    return "quoted-printable", encodestring(data).replace(b"\n", b"\r\n")


# For people


def _text(words: str) -> _Part:
    encoding, body = _encoded(words)
    charset = "us-ascii" if words.isascii() else "utf-8"
    return _Part(f"text/plain; charset={charset}", encoding, body, "Notification")


def _words(notice: Notice, settings: DsnSettings, remark: str) -> str:
    envelope = notice.message.envelope
    head = f"This is the mail system at {clean(settings.reporting_mta)}."
    match notice.kind:
        case NoticeKind.FAILED:
            what = "could not be delivered to the recipients named below, and will not be tried again."
        case NoticeKind.DELAYED:
            what = (
                "has not been delivered yet to the recipients named below. It will be tried again: there is no need "
                "to send it a second time."
            )
        case NoticeKind.RELAYED:
            what = (
                "was passed on to a server that sends no delivery reports. It has probably arrived at the recipients "
                "named below; you will hear no more about it from here."
            )
        case _ as never:
            assert_never(never)
    paragraphs = [_wrapped(head), _wrapped(f"Your message of {format_datetime(envelope.accepted)} {what}")]
    paragraphs += [_about(notice.kind, recipient) for recipient in notice.message.recipients]
    if remark:
        paragraphs.append(_wrapped(remark))
    paragraphs.append(_wrapped(f"If you need help, write to {clean(settings.postmaster)} and include this report."))
    return "\n\n".join(paragraphs) + "\n"


def _about(kind: NoticeKind, recipient: Recipient) -> str:
    lines = [f"<{clean(recipient.address)}>"]
    reason = recipient.reason
    if kind is NoticeKind.RELAYED or reason is None:
        return lines[0]
    advice = explain(reason, clean(recipient.address.domain))
    lines.append(_wrapped(advice.sender, "    "))
    if recipient.first_attempt and recipient.last_attempt:
        first, last = format_datetime(recipient.first_attempt), format_datetime(recipient.last_attempt)
        times = f"Tried {recipient.attempts} times, first {first}, last {last}."
        lines.append(_wrapped(times if recipient.attempts > 1 else f"Tried once, {last}.", "    "))
    if "given_up_after" in reason.facts:
        lines.append(_wrapped("The time for trying is over.", "    "))
    if advice.facts or advice.remedy:
        lines += ["", f"    For the postmaster of {clean(recipient.address.domain)}:"]
        lines += [_wrapped(f"- {fact}", "    ", "      ") for fact in advice.facts]
        if advice.remedy:
            lines.append(_wrapped(f"What to do: {advice.remedy}", "    "))
    return "\n".join(lines)


def _wrapped(text: str, indent: str = "", hanging: str | None = None) -> str:
    return textwrap.fill(
        text, 76, initial_indent=indent, subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


# For programs


def _status_part(notice: Notice, settings: DsnSettings, *, utf8: bool) -> _Part:
    text = status_fields(notice, settings.reporting_mta, settings.lifetime, utf8=utf8)
    encoding, body = _encoded(text)
    return _Part(f"message/{'global-' if utf8 else ''}delivery-status", encoding, body, "Delivery report")


# What came back


def _returned(notice: Notice, original: bytes, settings: DsnSettings, *, utf8: bool) -> tuple[_Part, str]:
    """Give the third part, and a remark if less comes back than was asked for (DSN-42 to DSN-45)."""
    remark = ""
    if notice.return_full:
        if len(original) > settings.max_returned:
            remark = "Only the header of your message is returned, as the message is large."
        elif utf8:
            return _Part("message/global", "base64", _base64(original), "Undelivered message"), ""
        elif _is_seven_bit(original):
            return _Part("message/rfc822", "7bit", original, "Undelivered message"), ""
        else:
            remark = "Only the header of your message is returned, as the message holds 8-bit data."
    header = _ENDED.split(original[: MAX_HEADER + 4], maxsplit=1)[0][:MAX_HEADER]
    lines = re.sub(rb"\r\n?", b"\n", header).rstrip(b"\n") + b"\n"
    kind = "message/global-headers" if utf8 else "text/rfc822-headers"
    if _is_seven_bit(lines.replace(b"\n", b"\r\n")):
        return _Part(kind, "7bit", lines.replace(b"\n", b"\r\n"), "Header of the message"), remark
    return _Part(kind, "quoted-printable", encodestring(lines).replace(b"\n", b"\r\n"), "Header of the message"), remark


def _is_seven_bit(data: bytes) -> bool:
    """Tell whether octets may stand in a 7bit part (RFC 2045 section 2.7)."""
    if not data.isascii() or b"\0" in data:
        return False
    bare = data.replace(b"\r\n", b"")
    return b"\r" not in bare and b"\n" not in bare and all(len(line) <= 998 for line in data.split(b"\r\n"))


def _base64(data: bytes) -> bytes:
    return encodebytes(data).replace(b"\n", b"\r\n")
