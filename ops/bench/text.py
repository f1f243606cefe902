"""Text for messages that are sent to be measured: as easy to compress as what people write, and no easier.

One line said again and again takes a hundredth of its octets when it is kept, which no mail does. Words here are made
of syllables and come as often as words of a language do (the nth most frequent one n times as rarely as the first).
"""

import base64
import random
import textwrap
from functools import cache

_WORDS = 4000
_ENDS = (*[" "] * 7, ", ", ". ")


@cache
def prose(size: int) -> bytes:
    """Write lines of text, up to so many octets, that Zstandard makes two fifths of."""
    chance = random.Random(size)  # noqa: S311 - the same text in every run
    syllables = [one + two for one in "bcdfghklmnprstvwz" for two in ("a", "e", "i", "o", "u", "an", "er", "is", "on")]
    words = ["".join(chance.choices(syllables, k=1 + number % 3)) for number in range(_WORDS)]
    chosen = chance.choices(words, [1 / (rank + 2) for rank in range(_WORDS)], k=size // 3)
    text = "".join(word + chance.choice(_ENDS) for word in chosen)
    return _cut("\r\n".join(textwrap.wrap(text, 72)).encode(), size)


@cache
def attachment(size: int) -> bytes:
    """Write lines of base64, up to so many octets, of what is compressed already."""
    octets = random.Random(size).randbytes(size)  # noqa: S311 - the same in every run
    return _cut(base64.encodebytes(octets).replace(b"\n", b"\r\n"), size)


def _cut(lines: bytes, size: int) -> bytes:
    """Cut to whole lines, none where not even one fits."""
    end = lines.rfind(b"\r\n", 0, size)
    return lines[: end + 2] if end >= 0 else b""
