"""Strings of strangers, made harmless for a terminal and for a page.

A log holds what remote servers and clients said. `inert` keeps what can be printed, blanks included, and puts a `?` in
the place of everything else: escape sequences, line breaks, and characters that turn the direction of text around.
"""

import re

_STRANGE = re.compile(r"[^\n\t -~]")  # what may not be for a page; the rest is most of any text


def inert(text: str) -> str:
    """Give the text with a `?` for each character that does not print."""
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)


def visible(text: str) -> str:
    """Give the text with each character that does not print as its code (`⟨U+202E⟩`); line breaks and tabs stay.

    For pages: who reads them sees that something is hidden there, and it can no longer turn the text around.
    """
    if text.isprintable():
        return text
    return _STRANGE.sub(lambda one: one[0] if one[0].isprintable() else f"⟨U+{ord(one[0]):04X}⟩", text)
