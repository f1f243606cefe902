"""Find citations of RFC sections in text, such as `RFC 7672 section 2.2.2`, `RFC 5321 5.1` or `RFC 7672 s3.2`.

A list goes on as long as numbers follow: `RFC 7672 2.1.1, 2.2, RFC 5321 5.1` cites three sections, and a number of
four digits in a list is the RFC of those after it (`RFC 7672 2.1.1, 4035 4.3`). A citation may be broken over lines.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_RFC = re.compile(r"\bRFC[ \n]?(\d{4})\b")
_WORD = re.compile(r"(?:sections?|appendix|appendices|s(?=\d))\s*", re.IGNORECASE)
_SECTION = re.compile(r"((?:\d{1,2}|[A-H])(?:\.\d{1,2})*)\b(?!\s*(?:octets|seconds|digits|days|hours|minutes|%))")
_NEXT_RFC = re.compile(r"(\d{4})\b")
_JOINT = re.compile(r"\s*(?:,\s*(?:and\s+)?|and\s+|to\s+|or\s+|/\s*)")
_BREAK = re.compile(r"\s*\n\s*(?:#\s*)?")


@dataclass(frozen=True, slots=True)
class Citation:
    """A section of an RFC, and the line of the text that names it."""

    rfc: str
    section: str
    line: int


def citations(text: str) -> Iterator[Citation]:
    """Give every cited section, in the order of the text."""
    for found in _RFC.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        rest = _BREAK.sub(" ", text[found.end() : found.end() + 300])
        for rfc, section in _sections(found[1], rest):
            yield Citation(rfc, section, line)


def _sections(rfc: str, rest: str) -> Iterator[tuple[str, str]]:
    place = len(rest) - len(rest.lstrip(" "))
    while True:
        word = _WORD.match(rest, place)
        place = word.end() if word else place
        section = _SECTION.match(rest, place)
        if section is None or (not word and section[1].isalpha()):
            return
        yield rfc, section[1]
        joint = _JOINT.match(rest, section.end())
        if joint is None:
            return
        place = joint.end()
        other = _NEXT_RFC.match(rest, place)
        if other is not None:
            rfc, place = other[1], other.end()
            place += len(rest[place:]) - len(rest[place:].lstrip(" "))
