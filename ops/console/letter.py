"""What a message says, as far as an operator needs it: a few header fields, decoded, and the first lines.

Strangers wrote it: fields may be huge, in a charset that is none, or no header at all. Nothing here raises for what
they wrote; what hides in the text is made visible where it is shown.
"""

import binascii
import re
from email.errors import HeaderParseError
from email.header import decode_header

FIELDS = ("From", "To", "Cc", "Subject", "Date", "Message-ID")
LARGEST = 32 << 20  # octets of a message that is fetched for its header
_HEADER = 1 << 16  # octets of a header that are looked at
_FIELD = 2000  # characters of a field
_TWICE = 3  # fields of one name that are shown
_LINES, _SHOWN = 60, 8 << 10  # of the content


def fields(content: bytes) -> list[tuple[str, str]]:
    """Give the fields that say who wrote what to whom, in the order of `FIELDS`."""
    head = re.split(rb"\r?\n\r?\n", content[:_HEADER], maxsplit=1)[0]
    lines = re.sub(rb"\r?\n(?=[ \t])", b"", head).splitlines()
    found: dict[str, list[str]] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            found.setdefault(name.strip().lower().decode("latin-1"), []).append(_decoded(value))
    return [(name, value) for name in FIELDS for value in found.get(name.lower(), [])[:_TWICE]]


def _decoded(value: bytes) -> str:
    """Decode a field (RFC 2047), or give it as it stands where it cannot be decoded."""
    text = value.strip().decode("utf-8", "replace")
    cut = text[:_FIELD]
    try:
        parts = decode_header(cut)
    except (HeaderParseError, ValueError, binascii.Error):
        parts = [(cut, None)]
    made = "".join(part if isinstance(part, str) else _text(part, charset) for part, charset in parts)
    return f"{made} ..." if len(text) > _FIELD else made


def _text(part: bytes, charset: str | None) -> str:
    try:
        return part.decode(charset or "latin-1", "replace")
    except (LookupError, ValueError):
        return part.decode("latin-1")


def beginning(content: bytes) -> str:
    """Give the first lines of a message as they stand, header and all."""
    lines = content[:_SHOWN].decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    more = len(content) > _SHOWN or len(lines) > _LINES
    return "\n".join([*lines[:_LINES], *(["..."] if more else [])])
