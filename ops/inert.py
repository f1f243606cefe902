"""Strings of strangers, made harmless for a terminal.

A log holds what remote servers and clients said. `inert` keeps what can be printed, blanks included, and puts a `?` in
the place of everything else: escape sequences, line breaks, and characters that turn the direction of text around.
"""


def inert(text: str) -> str:
    """Give the text with a `?` for each character that does not print."""
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)
