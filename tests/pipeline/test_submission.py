"""Messages from files and sendmail: octets kept, addresses found, faults named."""

from pathlib import Path

import pytest

from pipeline.accept.address import AddressError, parse_address
from pipeline.accept.door import SubmissionError, prepare
from pipeline.accept.submission import read_file, read_message, until_dot
from stages.message import MessageId
from tests.pipeline.test_ledger import NOW

MAIL = b"From: A <a@example.org>\r\nTo: B <b@example.com>, c@example.com\r\nSubject: x\r\n\r\nbody\r\n"


def test_a_message_with_attachments_is_kept_octet_for_octet() -> None:
    """SUB-19 (RFC 5321 4.4): one Received field is put in front, with date and numeric offset, and nothing else changes."""
    raw = (
        MAIL.replace(b"Subject", b"Content-Type: multipart/mixed; boundary=x\r\nSubject")
        + b"--x\r\n\r\n\xff\x00\xfe\r\n--x--\r\n"
    )
    submission = read_message(raw, source="send", sender="a@example.org", recipients=["z@example.com"])
    _, recipients, content = prepare(submission, "out.example", MessageId("M1"), NOW)
    received, rest = content[: -len(raw)], content[-len(raw) :]
    assert rest == raw
    assert received == (
        b"Received: by out.example (danepipe, send) id M1\r\n\tfor <z@example.com>; Mon, 23 Nov 2026 12:00:00 +0000\r\n"
    )
    assert [str(recipient.address) for recipient in recipients] == ["z@example.com"]


def test_recipients_and_sender_come_from_the_header_where_none_are_given() -> None:
    """To, Cc and Bcc are recipients, Bcc is taken out, and Sender outranks From (RFC 5322 3.6.2, 3.6.3)."""
    raw = MAIL.replace(b"Subject", b"Sender: s@example.org\r\nBCC: hidden@example.com,\r\n more@example.com\r\nSubject")
    submission = read_message(raw, source="send")
    texts = [request.address.text for request in submission.recipients]
    assert texts == ["b@example.com", "c@example.com", "hidden@example.com", "more@example.com"]
    assert str(submission.sender) == "s@example.org"
    assert b"hidden" not in submission.content
    assert submission.content.endswith(b"\r\n\r\nbody\r\n")
    kept = read_message(raw, source="send", recipients=["z@example.com"])
    assert b"hidden" in kept.content


def test_line_ends_become_crlf() -> None:
    """Files have LF; the wire has CRLF (RFC 5321 2.3.8)."""
    submission = read_message(MAIL.replace(b"\r\n", b"\n").rstrip(), source="send")
    assert submission.content == MAIL


def test_the_null_sender_and_smtputf8() -> None:
    """`-f ''` and `<>` are the null sender; UTF-8 in addresses or header asks for SMTPUTF8 (RFC 6531 3.2)."""
    assert read_message(MAIL, source="sendmail", sender="<>").sender is None
    assert not read_message(MAIL, source="send").smtputf8
    assert read_message(MAIL.replace(b"Subject: x", "Subject: é".encode()), source="send").smtputf8
    assert read_message(MAIL, source="send", recipients=["é@example.com"]).smtputf8


@pytest.mark.parametrize(
    ("raw", "options", "wanted"),
    [
        (b"", {}, "the message is empty"),
        (b" \r\n\r\n", {}, "the message is empty"),
        (b"Subject: x\r\n\r\nx", {}, "no recipient"),
        (b"To: b@example.com\r\n\r\nx", {}, "no From field"),
        (b"To: b@@example.com\r\nFrom: a@example.org\r\n\r\nx", {}, "header field To"),
        (MAIL, {"recipients": ["nobody"]}, "'nobody' has no domain, expected something like user@example.com"),
        (MAIL, {"sender": "a@host"}, "'host' is not fully qualified"),
        (MAIL + b"y" * 999, {}, "line 6 has 999 octets"),
        (MAIL, {"max_size": 10}, "at most 10 are taken"),
    ],
)
def test_a_fault_is_named(raw: bytes, options: dict[str, object], wanted: str) -> None:
    """Whoever sends it learns what is wrong and what would be right."""
    with pytest.raises(SubmissionError, match=wanted.replace("(", r"\(")):
        read_message(raw, source="send", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "field",
    [
        "b@example.com c@example.com", "b@example.com; c@example.com", "b@example.com, c d@example.com", "b@example.com, x",
        "b@example.com, <c@example.com", "Foo [bar] <b@example.com>", "=?utf-8?q?b=0D=0A?=@example.com",
    ],
)  # fmt: skip
def test_no_recipient_is_lost_to_a_field_that_cannot_be_read(field: str) -> None:
    """SUB-05 (RFC 5322 3.4): a list that a reader would have to mend is refused by name, never half taken."""
    with pytest.raises(SubmissionError, match=r"header field To: .* is no list of addresses") as caught:
        read_message(f"From: a@example.org\nTo: {field}\n\nx".encode(), source="send")
    assert (caught.value.code, caught.value.status) == (501, "5.1.3")


@pytest.mark.parametrize(
    ("field", "texts"),
    [
        ("Doe. J <b@example.com>, , c@example.com,", ["b@example.com", "c@example.com"]),
        ("friends: b@example.com, c@example.com;", ["b@example.com", "c@example.com"]),
        ('"a, b" <b@example.com>,\n\t=?utf-8?q?J=2C?= <c@example.com>', ["b@example.com", "c@example.com"]),
        ('"b c"@example.com (comment, here)', ['"b c"@example.com']),
        ("ü <ü@bücher.example>", ["ü@bücher.example"]),
    ],
)
def test_lists_of_addresses_are_read(field: str, texts: list[str]) -> None:
    """Groups, comments, folding, encoded words, obsolete commas (RFC 5322 3.4, 4.4) and UTF-8 (RFC 6532 3.2) are read."""
    submission = read_message(f"From: a@example.org\nTo: {field}\n\nx".encode(), source="send")
    assert [request.address.text for request in submission.recipients] == texts


def test_the_body_is_no_header() -> None:
    """Text that looks like a field is left alone in a body, also where there is no header at all (RFC 5322 3.5)."""
    raw = b"\r\nhello\r\nBcc: stays@example.com\r\n\r\nmore\r\n"
    submission = read_message(
        raw, source="sendmail", sender="a@example.org", recipients=["b@example.com"], header="also"
    )
    assert submission.content == raw
    assert len(submission.recipients) == 1
    read = read_message(MAIL + b"Bcc: stays@example.com\r\n", source="sendmail", header="also")
    assert read.content == MAIL + b"Bcc: stays@example.com\r\n"


def test_a_header_of_blind_copies_alone_leaves_none() -> None:
    """Bcc goes whole, with its folded lines, and the empty line that ends the header stays (RFC 5322 3.6.3)."""
    raw = b"Bcc: b@example.com,\r\n c@example.com\r\n\r\nbody\r\n"
    submission = read_message(raw, source="sendmail", sender="a@example.org", header="also")
    assert submission.content == b"\r\nbody\r\n"
    assert len(submission.recipients) == 2


def test_an_old_character_set_does_not_ask_for_smtputf8() -> None:
    """A header in Latin-1 is no UTF-8 header (RFC 6532 3): asking for SMTPUTF8 would only make it undeliverable."""
    assert not read_message(MAIL.replace(b"Subject: x", b"Subject: \xe9"), source="send").smtputf8


def test_a_file_that_is_missing_or_too_large_is_named(tmp_path: Path) -> None:
    """The path stands in the sentence; 100 MB are refused before they are read."""
    with pytest.raises(SubmissionError, match=r"none\.eml: there is no such file"):
        read_file(tmp_path / "none.eml", 10)
    large = tmp_path / "large.eml"
    with large.open("wb") as file:
        file.truncate(100 * 1024**2)
    with pytest.raises(SubmissionError, match=r"large\.eml: the message has 104857600 octets, and listen\.max_size"):
        read_file(large, 50 * 1024**2)


def test_a_dot_alone_ends_what_sendmail_reads() -> None:
    """Without -i, as every sendmail does."""
    assert until_dot(b"a\n.\nb\n") == b"a\n"
    assert until_dot(b"a\r\n.\r\nb") == b"a\r\n"
    assert until_dot(b"a\n..\nb") == b"a\n..\nb"


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("User.Name+tag@Example.COM", "User.Name+tag", "example.com"),
        ('"a b\\"c"@example.com', 'a b"c', "example.com"),
        ("u@[192.0.2.1]", "u", "[192.0.2.1]"),
        ("u@[IPv6:2001:DB8::1]", "u", "[IPv6:2001:db8::1]"),
        ("ü@bücher.example", "ü", "xn--bcher-kva.example"),
        ("u@bücher.example", "u", "xn--bcher-kva.example"),
        ("a" * 64 + "@example.com", "a" * 64, "example.com"),
    ],
)
def test_addresses_are_read(text: str, local: str, domain: str) -> None:
    """SUB-05, SUB-20 (RFC 5321 4.1.2, 4.5.3.1; RFC 6531 3.3): the local part is kept, the domain becomes A-labels."""
    address = parse_address(text)
    assert (address.local, address.domain, address.text) == (local, domain, text)


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "@example.com", "a@", "a@b@example.com", ".a@example.com", "a..b@example.com", "a@-x.example",
        "a@example..com", "a@host", "a@192.0.2.1", "a@[300.1.1.1]", '"a@example.com', "a b@example.com",
        "a" * 65 + "@example.com", "a@" + "b" * 64 + ".example", "a@" + "b." * 130 + "example", "a\r\n@example.com",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    """SUB-03, SUB-05 (RFC 6409 4.2, 5.1): each with a sentence, none with a crash."""
    with pytest.raises(AddressError):
        parse_address(text)
