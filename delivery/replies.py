"""Replies: cut out of what a server sends, however its octets are spread over packets (RFC 5321 section 4.2).

`WireError` is every way in which a connection ends, a reply that SMTP does not have among them. `ReplyReader` is fed
and asked; it gives a reply once its last line is whole, and raises aiosmtplib's `SMTPResponseException` for what is
none: no code of three digits at the start of a line, a line of more than 8 KiB, a reply of more than 32 KiB. Its
memory is bounded by these and the last octets it was fed.
"""

import re

from aiosmtplib.errors import SMTPResponseException
from aiosmtplib.protocol import MAX_LINE_LENGTH, MAX_RESPONSE_LENGTH
from aiosmtplib.response import SMTPResponse
from aiosmtplib.typing import SMTPStatus

from stages.attempt import Reply
from stages.plan import Trouble

_ENHANCED = re.compile(r"([245])\.\d{1,3}\.\d{1,3}(?=\s|$)")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class WireError(Exception):
    """The connection is no longer usable: `trouble` says why, `text` in which phase; `reply` is a 421, if one came.

    `sent`: the final dot had been handed over, so that the server may have taken the message (RFC 5321 section 6.1).
    `ours`: this machine could not even try, which says nothing of the server.
    """

    def __init__(
        self, trouble: Trouble, text: str, *, reply: Reply | None = None, sent: bool = False, ours: bool = False
    ) -> None:
        super().__init__(text)
        self.trouble = trouble
        self.text = text
        self.reply = reply
        self.sent = sent
        self.ours = ours


def read_reply(response: SMTPResponse, command: str) -> Reply:
    """Make a reply of what came. Raises `WireError` for a code that SMTP does not have (RFC 5321 section 4.2)."""
    code = response.code
    text = response.message
    if not text.isprintable():  # a line end, another control character, or octets that are not UTF-8
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        text = _UNPRINTABLE.sub(" ", text)
    text = text.strip()
    if not 200 <= code <= 599:
        raise WireError(Trouble.PROTOCOL, f"the reply to {command} has no code of SMTP: {code} {text}")
    enhanced = _ENHANCED.match(text)
    fits = enhanced is not None and int(enhanced[1]) == code // 100
    return Reply(code, text, enhanced[0] if enhanced is not None and fits else "", command)


class ReplyReader:
    """Reads one connection's replies in order. After an exception nothing more can be read."""

    __slots__ = ("_at", "_data", "_size", "_texts")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._texts: list[bytes] = []  # of a reply whose last line has not come
        self._size = 0

    @property
    def rest(self) -> bool:
        """Tell whether octets are left that belong to no reply given so far."""
        return self._at < len(self._data) or bool(self._texts)

    def feed(self, data: bytes) -> None:
        """Take octets as they came."""
        self._data = self._data[self._at :] + data
        self._at = 0

    def next(self) -> SMTPResponse | None:
        """Give the next reply once it is whole: code of its last line (RFC 5321 4.2.1), and its texts line by line."""
        while True:
            start, end = self._at, self._data.find(b"\n", self._at)
            length = (end if end >= 0 else len(self._data)) - start
            if length >= MAX_LINE_LENGTH or self._size + length > MAX_RESPONSE_LENGTH:
                raise SMTPResponseException(SMTPStatus.invalid_response.value, "Response too long")
            if end < 0:
                return None
            self._at = end + 1
            code = self._data[start : start + 3]
            if length < 3 or not code.isdigit():
                shown = self._data[start:end].decode("utf-8", "replace")
                text = f"Malformed SMTP response line: {shown}"
                raise SMTPResponseException(SMTPStatus.invalid_response.value, text)
            self._texts.append(self._data[start + 4 : end].strip(b" \t\r\n"))
            self._size += length
            if self._data[start + 3 : start + 4] != b"-":
                break
        text = (self._texts[0] if len(self._texts) == 1 else b"\n".join(self._texts)).decode("utf-8", "surrogateescape")
        self._texts.clear()
        self._size = 0
        return SMTPResponse(int(code), text)
