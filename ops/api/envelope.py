"""Messages as a request has them: JSON, one or a batch, or RFC 5322 octets with the envelope in headers.

`submissions` makes what the door takes, of all messages or of none: a fault in one, or in one recipient, refuses the
whole request with every fault named, so that nothing was sent when a request is mended and sent again.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request

from ops.api.body import Body, json_of, made, media_type
from ops.api.problem import FieldError, Problem, faulty
from ops.cli.send import xtext
from pipeline.accept.address import AddressError, parse_address
from pipeline.accept.door import Submission, SubmissionError, prepare
from pipeline.accept.submission import Asked, read_message
from pipeline.config import Config
from pipeline.spine import new_id
from stages.message import Notify, Ret

RAW = "message/rfc822"
MAX_ENVID = 100  # characters as xtext (RFC 3461 section 4.4)
HEADERS = {
    "*Danepipe-Sender": "sender of a message/rfc822 body; <> is the null sender",
    "*Danepipe-Recipients": "its recipients, separated by commas; may be repeated",
    "Danepipe-Notify": "what to report: NEVER, or of SUCCESS, FAILURE, DELAY, separated by commas",
    "Danepipe-Ret": "how much of it to return with a report: FULL or HDRS",
    "Danepipe-Envid": "envelope id, for reports",
}
_KEYS = {name.lstrip("*").lower() for name in HEADERS}


class Mail(Body):
    """A message with its envelope."""

    sender: str = Field(max_length=512, description="address to which reports go; empty or <>: the null sender")
    recipients: list[str] = Field(min_length=1, max_length=100_000, description="addresses")
    message: str = Field(min_length=1, description="RFC 5322 message: header, empty line, body")
    encoding: Literal["text", "base64"] = Field("text", description="how message is written")
    notify: list[Literal["NEVER", "SUCCESS", "FAILURE", "DELAY"]] = Field(
        [], max_length=4, description="what to report (RFC 3461); default: failures and delays"
    )
    ret: Literal["FULL", "HDRS"] | None = Field(None, description="how much to return with a report")
    envid: str | None = Field(None, max_length=MAX_ENVID, description="envelope id, for reports")


class Batch(Body):
    """Several messages."""

    messages: list[Mail] = Field(min_length=1, description="messages, each with its envelope")


def most_octets(config: Config) -> int:
    """Tell how large a body may be: base64 takes four octets for three, and the envelope takes some."""
    return config.listen.max_size * 4 // 3 + (1 << 20)


def submissions(request: Request, octets: bytes, config: Config, now: datetime) -> list[Submission]:
    """Make what the door takes. Raises `Problem`."""
    if media_type(request) == RAW:
        given: list[tuple[str, Mail, bytes | None]] = [("", _from_headers(request), octets)]
    else:
        value = json_of(request, octets)
        if isinstance(value, dict) and "messages" in value:
            batch = made(Batch, value)
            if len(batch.messages) > config.api.max_batch:
                raise faulty("messages", f"a request may have {config.api.max_batch} messages at most", 413)
            given = [(f"messages[{number}].", mail, None) for number, mail in enumerate(batch.messages)]
        else:
            given = [("", made(Mail, value), None)]
    found: list[Submission] = []
    errors: list[FieldError] = []
    status = 422
    for place, mail, raw in given:
        try:
            found.append(_submission(mail, raw, config, now))
        except Problem as problem:
            errors += [FieldError(place + one.field, one.detail) for one in problem.errors]
            status = int(problem.status)
    if errors:
        raise Problem(status, f"{errors[0].field}: {errors[0].detail}", errors)
    return found


def _submission(mail: Mail, raw: bytes | None, config: Config, now: datetime) -> Submission:
    errors = list(_faults(mail, config.listen.max_recipients))
    if errors:
        raise Problem(422, "the envelope has faults", errors)
    content = _content(mail) if raw is None else raw
    asked = Asked(
        frozenset(Notify(word) for word in mail.notify) if mail.notify else None,
        Ret(mail.ret) if mail.ret else None,
        xtext(mail.envid) if mail.envid else None,
    )
    try:
        submission = read_message(
            content, source="api", sender=mail.sender, recipients=mail.recipients, header="never",
            max_size=config.listen.max_size, asked=asked,
        )  # fmt: skip
        prepare(submission, config.hostname, new_id(), now)  # what it refuses must not be found after others are kept
    except SubmissionError as error:
        raise faulty("message", str(error), 413 if error.code == 552 else 422) from error
    return submission


def _faults(mail: Mail, most: int) -> Iterator[FieldError]:
    if mail.sender not in {"", "<>"} and (fault := _fault(mail.sender)):
        yield FieldError("sender", fault)
    if len(mail.recipients) > most:
        yield FieldError("recipients", f"a message may have {most} recipients at most")
        return
    for number, text in enumerate(mail.recipients):
        if fault := _fault(text):
            yield FieldError(f"recipients[{number}]", fault)
    if len(set(mail.notify)) != len(mail.notify) or ("NEVER" in mail.notify and len(mail.notify) > 1):
        yield FieldError("notify", "NEVER stands alone, and each of the others at most once")
    if mail.envid is not None and not (mail.envid.isascii() and mail.envid.isprintable()):
        yield FieldError("envid", "printable ASCII only (RFC 3461 section 4.4)")
    elif mail.envid is not None and not 0 < len(xtext(mail.envid)) <= MAX_ENVID:
        yield FieldError("envid", f"has 1 to {MAX_ENVID} characters, some of which count three times")


def _fault(text: str) -> str:
    try:
        parse_address(text)
    except AddressError as error:
        return str(error)
    return ""


def _content(mail: Mail) -> bytes:
    if mail.encoding == "text":
        return mail.message.encode()
    try:
        return b64decode(mail.message, validate=True)
    except (binascii.Error, ValueError) as error:
        raise faulty("message", f"is no base64: {error}") from error


def _from_headers(request: Request) -> Mail:
    given: dict[str, list[str]] = {}
    for name, value in request.headers.raw:
        key = name.decode("latin-1").lower()
        if key.startswith("danepipe-"):
            if key not in _KEYS:
                raise faulty(_titled(key), "is not known here")
            given.setdefault(key, []).append(_text(key, value))
    for key, values in given.items():
        if len(values) > 1 and key != "danepipe-recipients":
            raise faulty(_titled(key), "is given twice")
    fields: dict[str, Any] = {key.removeprefix("danepipe-"): values[0].strip() for key, values in given.items()}
    if "recipients" in fields:
        fields["recipients"] = split(",".join(given["danepipe-recipients"]))
    if "notify" in fields:
        fields["notify"] = [word.strip().upper() for word in fields["notify"].split(",")]
    try:
        return made(Mail, {**fields, "message": "in the body"})
    except Problem as problem:
        errors = [FieldError(_header_of(one.field), one.detail) for one in problem.errors]
        raise Problem(422, f"{errors[0].field}: {errors[0].detail}", errors) from problem


def _text(key: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise faulty(_titled(key), "is not valid UTF-8") from None


def _titled(key: str) -> str:
    return key.title()


def _header_of(field: str) -> str:
    name, bracket, rest = field.partition("[")
    return f"Danepipe-{name.title()}{bracket}{rest}"


def split(text: str) -> Sequence[str]:
    """Part addresses at the commas that stand in no quoted local part."""
    parts, quoted = [""], False
    for piece in re.findall(r"\\.|[^\\]|\\", text, re.DOTALL):
        if piece == '"':
            quoted = not quoted
        if piece == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts]
