"""Replies cut out of octets: the same whatever the pieces, and bounded."""

import pytest
from aiosmtplib.errors import SMTPResponseException
from hypothesis import given
from hypothesis import strategies as st

from delivery.replies import ReplyReader

_REPLY = st.tuples(
    st.integers(0, 999), st.lists(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=9), min_size=1, max_size=4)
)  # fmt: skip


def written(code: int, texts: list[str], end: str = "\r\n") -> str:
    """Write a reply."""
    last = len(texts) - 1
    return "".join(f"{code:03}{' ' if at == last else '-'}{text}{end}" for at, text in enumerate(texts))


def read(octets: bytes, size: int) -> list[tuple[int, str]]:
    """Read all replies from pieces of a size."""
    reader, got = ReplyReader(), []
    for at in range(0, len(octets), size):
        reader.feed(octets[at : at + size])
        while (reply := reader.next()) is not None:
            got.append((reply.code, reply.message))
    assert not reader.rest
    return got


@given(st.lists(_REPLY, min_size=1, max_size=5), st.integers(1, 60), st.sampled_from(["\r\n", "\n"]))
def test_the_pieces_make_no_difference(replies: list[tuple[int, list[str]]], size: int, end: str) -> None:
    """SMTP-24, EXT-14 (RFC 5321 4.2): replies of any number of lines, cut anywhere, come out one by one and in order."""
    octets = "".join(written(code, texts, end) for code, texts in replies).encode()
    assert read(octets, size) == [(code, "\n".join(texts)) for code, texts in replies]


def test_the_code_of_the_last_line_rules() -> None:
    """SMTP-25 (RFC 5321 4.2.1): lines whose codes differ are one reply, with the code of its last."""
    assert read(b"250-fine\r\n550 no\r\n", 5) == [(550, "fine\nno")]


@pytest.mark.parametrize(
    "line", [b"hello", b"25", b"", b"2 0 x", b"+50 x", b"2_0 x", "²50 x".encode(), b" 250 x", b"-25 x"]
)
def test_what_is_no_reply(line: bytes) -> None:
    """SMTP-24 (RFC 5321 4.2): a line without three digits at its start is none, also within a longer reply."""
    for said in (line + b"\r\n", b"250-fine\r\n" + line + b"\r\n"):
        reader = ReplyReader()
        reader.feed(said)
        with pytest.raises(SMTPResponseException, match="Malformed"):
            reader.next()


@pytest.mark.parametrize(
    "said", [b"250 " + b"x" * 9000, b"250 " + b"x" * 9000 + b"\r\n", (b"250-" + b"x" * 70 + b"\r\n") * 600]
)
def test_no_reply_is_without_end(said: bytes) -> None:
    """SMTP-27: a line of more than 8 KiB or a reply of more than 32 KiB is given up, with or without a line end."""
    reader = ReplyReader()
    reader.feed(said)
    with pytest.raises(SMTPResponseException, match="too long"):
        reader.next()
