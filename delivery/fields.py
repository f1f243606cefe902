"""The fields of a delivery status notification (RFC 3464 section 2, RFC 3461 section 6.3, RFC 6533 section 4.1).

One group about the message and one for each recipient. Original-Envelope-Id and Original-Recipient stand only where
ENVID and ORCPT were given. Remote-MTA and an `smtp` diagnostic stand only where a reply of that host decided; what we
found out ourselves is an `x-danepipe` diagnostic. Text from outside is escaped to ASCII, cut, and folded, and so
can add no field.
"""

import re
import textwrap
from datetime import timedelta
from email.utils import format_datetime

from delivery.advice import clean
from stages.contract import Notice, NoticeKind
from stages.message import Envelope, Recipient
from stages.reason import Reason
from stages.refusal import DANE_TROUBLES

_STATUS = re.compile(r"[245]\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})")
_CLASSES = {NoticeKind.FAILED: "45", NoticeKind.DELAYED: "4", NoticeKind.RELAYED: "2"}
_GENERAL = {NoticeKind.FAILED: "5.0.0", NoticeKind.DELAYED: "4.0.0", NoticeKind.RELAYED: "2.0.0"}
_DANE_CODES = frozenset(str(trouble) for trouble in DANE_TROUBLES)


def status_fields(notice: Notice, reporting_mta: str, lifetime: timedelta | None, *, utf8: bool) -> str:
    r"""Write all groups, lines ended by `\n`; `utf8` lets addresses stand in UTF-8 (message/global-delivery-status)."""
    groups = [_per_message(notice.message.envelope, reporting_mta)]
    groups += [_per_recipient(notice, recipient, lifetime, utf8=utf8) for recipient in notice.message.recipients]
    return "\n".join("".join(f"{_folded(name, value)}\n" for name, value in group) for group in groups)


def _per_message(envelope: Envelope, reporting_mta: str) -> list[tuple[str, str]]:
    name = clean(reporting_mta)
    kind = "dns" if "." in name else "x-local-hostname"
    fields = []
    if envelope.envid is not None:
        fields.append(("Original-Envelope-Id", _ascii(_xtext_decoded(envelope.envid))))
    fields.append(("Reporting-MTA", f"{kind}; {name}"))
    if re.fullmatch(r"[A-Za-z0-9.-]+\.[A-Za-z0-9.-]+", envelope.origin.helo):
        fields.append(("Received-From-MTA", f"dns; {envelope.origin.helo}"))
    fields.append(("Arrival-Date", format_datetime(envelope.accepted)))
    return fields


def _per_recipient(
    notice: Notice,
    recipient: Recipient,
    lifetime: timedelta | None,
    *,
    utf8: bool,
) -> list[tuple[str, str]]:
    reason = recipient.reason or Reason("", "", "", "")
    fields = []
    if recipient.orcpt is not None:
        fields.append(("Original-Recipient", _original_recipient(recipient.orcpt, utf8=utf8)))
    fields += [
        ("Final-Recipient", _final_recipient(clean(recipient.address), utf8=utf8)),
        ("Action", str(notice.kind)),
        ("Status", _status(notice.kind, reason.status)),
    ]
    if reason.remote and reason.reply:
        fields += [
            ("Remote-MTA", f"dns; {_ascii(reason.remote)}"),
            ("Diagnostic-Code", f"smtp; {_ascii(reason.reply)}"),
        ]
    elif reason.text:
        fields.append(("Diagnostic-Code", f"x-danepipe; {_ascii(reason.text)}"))
    if recipient.last_attempt is not None:
        fields.append(("Last-Attempt-Date", format_datetime(recipient.last_attempt)))
    # A DANE failure may be given up earlier than the queue's lifetime, so no time is promised for it.
    if notice.kind is NoticeKind.DELAYED and lifetime is not None and reason.code not in _DANE_CODES:
        fields.append(("Will-Retry-Until", format_datetime(notice.message.envelope.accepted + lifetime)))
    return fields


def _status(kind: NoticeKind, status: str) -> str:
    """Give the status if it fits the action, else the general one (RFC 3461 section 6.3 g)."""
    if _STATUS.fullmatch(status) and status[0] in _CLASSES[kind]:
        return status
    return _GENERAL[kind]


def _xtext_decoded(text: str) -> str:
    """Undo xtext (RFC 3461 section 4), but never into octets that may not stand in a field."""
    decoded = re.sub(r"\+([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), text)
    return clean(decoded) if decoded.isprintable() and decoded.isascii() else clean(text)


def _unitext_decoded(text: str) -> str:
    r"""Undo `\x{HEX}` (RFC 6533 section 3), leaving alone what would be no printable character."""

    def character(found: re.Match[str]) -> str:
        point = int(found[1], 16)
        made = chr(point) if point < 0x110000 else ""
        return made if made.isprintable() and made else found[0]

    return clean(re.sub(r"\\x\{([0-9A-Fa-f]{2,6})\}", character, text))


def _unitext(text: str) -> str:
    r"""Write every character that is not plain ASCII as `\x{HEX}` (utf-8-addr-xtext)."""
    special = set("\\+= ")
    return "".join(
        character if "!" <= character <= "~" and character not in special else f"\\x{{{ord(character):02X}}}"
        for character in text
    )


def _original_recipient(orcpt: str, *, utf8: bool) -> str:
    kind, _, value = orcpt.partition(";")
    kind = _ascii(kind)
    if kind.lower() != "utf-8":
        return f"{kind};{_ascii(_xtext_decoded(value))}"
    native = _unitext_decoded(value)
    return f"{kind};{native if utf8 else clean(_unitext(native))}"


def _final_recipient(address: str, *, utf8: bool) -> str:
    if address.isascii():
        return f"rfc822; {address}"
    return f"utf-8; {address if utf8 else _unitext(address)}"


def _ascii(text: str) -> str:
    r"""Write what is not ASCII as `\x{HEX}`: these fields are ASCII also in a report with UTF-8 (RFC 6533 4.1)."""
    plain = "".join(character if character.isascii() else f"\\x{{{ord(character):02X}}}" for character in text)
    return clean(plain)


def _folded(name: str, value: str) -> str:
    return textwrap.fill(
        f"{name}: {value}", 76, subsequent_indent=" ", break_long_words=False, break_on_hyphens=False
    )  # fmt: skip
