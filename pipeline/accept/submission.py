"""Messages from files, standard input and the sendmail command.

`read_message` turns octets into a `Submission`: line ends become CRLF, the rest stays as it was given, except that a
`Bcc` field is taken out where the recipients were read from the header, and `Return-Path` for sendmail. Raises
`SubmissionError` whose text names what is wrong and where: no octets, no recipient, an address, a line that SMTP
cannot carry.
"""

import email.policy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.errors import InvalidHeaderDefect
from email.parser import HeaderParser
from pathlib import Path
from typing import Literal

from pipeline.accept.address import AddressError, parse_address
from pipeline.accept.channel import MAX_LINE
from pipeline.accept.door import RecipientRequest, Submission, SubmissionError
from stages.message import Address, Notify, Origin, Ret

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BCC = re.compile(rb"^bcc[ \t]*:.*\r\n(?:[ \t].*\r\n)*", re.IGNORECASE | re.MULTILINE)
_RETURN_PATH = re.compile(rb"^return-path[ \t]*:.*\r\n(?:[ \t].*\r\n)*", re.IGNORECASE | re.MULTILINE)
_MBOX = re.compile(rb"\A(?:>?From [^\r\n]*(?:\r\n|\r|\n))+")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the sender wants to hear (RFC 3461 section 4)."""

    notify: frozenset[Notify] | None = None
    ret: Ret | None = None
    envid: str | None = None


def read_file(path: Path, max_size: int) -> bytes:
    """Read a message file. Raises `SubmissionError` naming the file: missing, unreadable, or too large."""
    try:
        size = path.stat().st_size
        if size > max_size:
            raise SubmissionError(
                f"{path}: the message has {size} octets, and listen.max_size allows {max_size}", 552, "5.3.4"
            )
        with path.open("rb") as file:
            return file.read(max_size + 1)  # a device or pipe has no size, and need not end
    except FileNotFoundError:
        raise SubmissionError(f"{path}: there is no such file") from None
    except OSError as error:
        raise SubmissionError(f"{path}: cannot be read: {error.strerror}") from error


def read_message(
    raw: bytes,
    *,
    source: str,
    sender: str | None = None,
    recipients: Sequence[str] = (),
    header: Literal["never", "fallback", "also"] = "fallback",
    max_size: int = 50 * 1024**2,
    asked: Asked | None = None,
) -> Submission:
    """Make a submission.

    `sender` is an address, or "" or "<>" for the null sender; None takes it from the header (Sender, else From).
    `header` says whether To, Cc and Bcc give recipients: never, where none are given (`fallback`), or beside them
    (`also`, as `sendmail -t`). Raises `SubmissionError`.
    """
    asked = asked or Asked()
    content = _MBOX.sub(b"", raw) if source == "sendmail" else raw
    content = _LINE_END.sub(b"\r\n", content)
    if not content.strip():
        raise SubmissionError("the message is empty", 554, "5.6.0")
    if len(content) > max_size:
        raise SubmissionError(f"the message has {len(content)} octets, at most {max_size} are taken", 552, "5.3.4")
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    _check_lines(content)
    # A message that begins with an empty line has no header: nothing in its body is a field.
    head, end, body = (b"", b"", content) if content.startswith(b"\r\n") else content.partition(b"\r\n\r\n")
    given = [_address(text, "recipient") for text in recipients]
    unwanted: list[re.Pattern[bytes]] = []
    if header == "also" or (header == "fallback" and not given):
        given += _header_recipients(head)
        unwanted = [_BCC]
    if source == "sendmail":  # where mail originates, it has no Return-Path yet (RFC 5321 section 4.4)
        unwanted.append(_RETURN_PATH)
    if head and unwanted:
        content = _without(unwanted, head + b"\r\n" if end else head) + (b"\r\n" + body if end else b"")
    if not given:
        raise SubmissionError("the message has no recipient: give one, or a To, Cc or Bcc field", 554, "5.5.1")
    path = _header_sender(head) if sender is None else _sender(sender)
    everybody = [*given, *([path] if path is not None else [])]
    utf8 = _is_utf8(head) or not all(address.text.isascii() for address in everybody)
    requests = tuple(RecipientRequest(address, asked.notify) for address in given)
    return Submission(path, requests, Origin(source), content, utf8, asked.ret, asked.envid)


def _without(fields: list[re.Pattern[bytes]], header: bytes) -> bytes:
    for field in fields:
        header = field.sub(b"", header)
    return header


def _is_utf8(head: bytes) -> bool:
    """Tell whether a header needs SMTPUTF8 (RFC 6532). One in an old 8-bit character set does not: it is no UTF-8."""
    if head.isascii():
        return False
    try:
        head.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_lines(content: bytes) -> None:
    for number, line in enumerate(content.split(b"\r\n"), 1):
        if len(line) > MAX_LINE:
            raise SubmissionError(
                f"line {number} has {len(line)} octets, and SMTP carries {MAX_LINE} (RFC 5321 section 4.5.3.1.6): "
                "encode the message as quoted-printable or base64",
                554,
                "5.6.0",
            )


def _address(text: str, what: str) -> Address:
    try:
        return parse_address(text.strip().removeprefix("<").removesuffix(">"))
    except AddressError as error:
        raise SubmissionError(f"{what}: {error}", 501, error.status) from error


def _sender(text: str) -> Address | None:
    return None if text.strip() in {"", "<>"} else _address(text, "sender")


def _fields(head: bytes, *names: str) -> list[Address]:
    parsed = HeaderParser(policy=email.policy.SMTPUTF8).parsestr(head.decode("utf-8", "surrogateescape") + "\r\n\r\n")
    found = []
    for name in names:
        for text in (value for key, value in parsed.raw_items() if key.lower() == name.lower()):
            addresses = _addresses(name, str(text))
            found += [_address(address, f"header field {name}") for address in addresses]
    return found


def _addresses(name: str, text: str) -> list[str]:
    """Read a list of addresses. One that the reader has to mend is refused: what it leaves out could be a recipient."""
    try:
        field = email.policy.SMTPUTF8.header_factory(name, re.sub(r"[\r\n]+", "", text))
        faults = [str(fault) for fault in field.defects if isinstance(fault, InvalidHeaderDefect)]
    except ValueError as error:  # encoded words with line ends in them
        raise _no_list(name, text, str(error)) from error
    if faults:
        raise _no_list(name, text, faults[0])
    return [one.addr_spec for one in field.addresses if one.addr_spec]


def _no_list(name: str, text: str, fault: str) -> SubmissionError:
    return SubmissionError(
        f"header field {name}: {text.strip()[:200]!r} is no list of addresses ({fault}), "
        "expected something like: A B <a@example.com>, c@example.com",
        501,
        "5.1.3",
    )


def _header_recipients(head: bytes) -> list[Address]:
    return _fields(head, "To", "Cc", "Bcc")


def _header_sender(head: bytes) -> Address:
    found = _fields(head, "Sender") or _fields(head, "From")
    if not found:
        raise SubmissionError("the message has no From field: give a sender", 554, "5.5.1")
    return found[0]


def until_dot(raw: bytes) -> bytes:
    """End a message at the first line that holds a dot alone, as sendmail does without `-i`."""
    found = re.search(rb"(?:\A|\n)\.\r?(?:\n|\Z)", raw)
    if not found:
        return raw
    return raw[: found.start() + (1 if raw[found.start() : found.start() + 1] == b"\n" else 0)]
