"""Make content fit for the wire: line ends, and dots that must not be taken for its end.

Both functions are pure and pass over everything else: no octet is added but CR, LF and a dot.
"""

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")


def normal(content: bytes) -> bytes:
    """Give content with CRLF line ends only, the last line ended too (RFC 5321 sections 2.3.8 and 4.1.1.4)."""
    whole = content.count(b"\r\n")  # counting is many times faster than any search for a bare one
    if content.count(b"\n") != whole or content.count(b"\r") != whole:
        content = _LINE_END.sub(b"\r\n", content)
    return content if not content or content.endswith(b"\r\n") else content + b"\r\n"


def stuffed(content: bytes) -> bytes:
    """Double the dot that begins a line (RFC 5321 section 4.5.2); `content` is `normal`."""
    content = content.replace(b"\r\n.", b"\r\n..")
    return b"." + content if content.startswith(b".") else content
