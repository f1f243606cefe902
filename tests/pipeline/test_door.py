"""The door: one Received field in front, not an octet changed below it, and the facts that delivery needs."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.accept.address import parse_address
from pipeline.accept.door import RecipientRequest, Submission, SubmissionError, message_id, prepare
from stages.message import Content, MessageId, Notify, Origin, Ret, State

NOW = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)
ID = MessageId("MSG1")
HOST = "mx.danepipe.example"


def _to(*texts: str) -> tuple[RecipientRequest, ...]:
    return tuple(RecipientRequest(parse_address(text)) for text in texts)


SUBMISSION = Submission(
    parse_address("a@example.org"), _to("b@example.com"), Origin("smtp", "192.0.2.7", "client.example", "ESMTPS"),
    b"Subject: x\r\n\r\nbody\r\n",
)  # fmt: skip


def _trace(submission: Submission, now: datetime = NOW) -> str:
    content = prepare(submission, HOST, ID, now)[2]
    assert content.endswith(submission.content)
    return content[: len(content) - len(submission.content)].decode()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"From: x\r\nMessage-ID: <a@b>\r\n\r\nMessage-ID: <no@b>\r\n", "<a@b>"),
        (b"MESSAGE-ID:\r\n <a@b>\r\nFrom: x\r\n\r\n", "<a@b>"),
        (b"X-Message-ID: <no@b>\r\n\r\nMessage-ID: <no@b>\r\n", ""),
        (b"Message-ID: " + b"x" * 5000 + b"\r\n\r\n", "x" * 998),
        (b"Message-ID: \xff@b\r\n\r\n", "\ufffd@b"),
    ],
)
def test_the_message_id_is_that_of_the_header(content: bytes, expected: str) -> None:
    """RFC 5322 3.6.4: the field's content, folded or not, from the header alone and never longer than a line."""
    assert message_id(content) == expected


def test_one_received_field_stands_in_front() -> None:
    """SUB-19 (RFC 5321 4.4): from, by, with, id and, for one recipient, for; the date has a numeric offset."""
    assert _trace(SUBMISSION) == (
        "Received: from client.example ([192.0.2.7])\r\n"
        f"\tby {HOST} (danepipe) with ESMTPS id {ID}\r\n"
        "\tfor <b@example.com>; Sun, 01 Mar 2026 12:30:05 +0000\r\n"
    )


def test_the_date_keeps_its_offset() -> None:
    """SUB-19 (RFC 5321 4.4): the zone is given as a number, whatever zone the clock has."""
    assert _trace(SUBMISSION, NOW.astimezone(timezone(timedelta(hours=-3, minutes=-30)))).endswith("-0330\r\n")


def test_an_ipv6_client_and_a_local_way_in() -> None:
    """SUB-19 (RFC 5321 4.4, 4.1.3): an IPv6 address is a tagged literal; mail from this machine has no `from`."""
    assert "([IPv6:2001:db8::7])" in _trace(replace(SUBMISSION, origin=Origin("smtp", "2001:db8::7", "c.example")))
    assert _trace(replace(SUBMISSION, origin=Origin("send"))).startswith(
        f"Received: by {HOST} (danepipe, send) id {ID}\r\n"
    )


def test_several_recipients_are_not_shown_to_each_other() -> None:
    """SUB-19 (RFC 5321 7.2): with more than one recipient none is named, as one may be a blind copy."""
    assert "for <" not in _trace(replace(SUBMISSION, recipients=_to("b@example.com", "c@example.com")))


def test_a_utf8_recipient_is_named_only_where_the_header_may_hold_it() -> None:
    """SUB-26 (RFC 6531 3.7.3): without SMTPUTF8 the field is ASCII; with it the address stands as it is."""
    request = replace(SUBMISSION, recipients=_to("ü@example.com"))
    assert _trace(request).isascii()
    assert "for <ü@example.com>" in _trace(replace(request, smtputf8=True))


@pytest.mark.parametrize("helo", ["x\r\nSubject: forged", "a) (b", "é", "\0", "x" * 300])
def test_a_greeting_cannot_write_fields(helo: str) -> None:
    """SUB-09 (RFC 5322 2.2): whatever a client calls itself, the result is one well-formed field."""
    trace = _trace(replace(SUBMISSION, origin=replace(SUBMISSION.origin, helo=helo)))
    assert re.findall(r"^\S[^:]*:", trace, re.MULTILINE) == ["Received:"]
    assert trace.isascii()
    assert max(len(line) for line in trace.split("\r\n")) <= 998


@given(st.binary(max_size=300))
def test_what_was_given_arrives_octet_for_octet(content: bytes) -> None:
    """SUB-09, SUB-18: below the added field nothing is changed, and the size is that of the whole."""
    envelope, _, kept = prepare(replace(SUBMISSION, content=content), HOST, ID, NOW)
    assert kept.endswith(content)
    assert envelope.content.size == len(kept)


def test_the_result_reads_as_mail() -> None:
    """SUB-09 (RFC 5322 3.6): a reader of mail finds the fields, the trace first, and no defect."""
    message = message_from_bytes(prepare(SUBMISSION, HOST, ID, NOW)[2], policy=policy.default)
    assert message.keys() == ["Received", "Subject"]
    assert not message.defects


@pytest.mark.parametrize(
    ("content", "eight_bit", "utf8_header"),
    [
        (b"Subject: x\r\n\r\nbody\r\n", False, False),
        ("Subject: x\r\n\r\nbödy\r\n".encode(), True, False),
        ("Subject: ü\r\n\r\nbody\r\n".encode(), True, True),
        ("Subject: ü\r\n".encode(), True, True),
        ("\r\nbödy without a header\r\n".encode(), True, False),
    ],
)
def test_what_delivery_must_know_of_the_content(content: bytes, eight_bit: bool, utf8_header: bool) -> None:  # noqa: FBT001 - a table
    """SUB-26 (RFC 6152, RFC 6531 3.4): octets above 127 are told apart by header and body; our field counts as a hop."""
    envelope, _, kept = prepare(replace(SUBMISSION, content=content), HOST, ID, NOW)
    assert envelope.content == Content(len(kept), eight_bit, utf8_header, 1)


@pytest.mark.parametrize("field", [b"Received: x\r\n", b"received : x\r\n", b"RECEIVED:\r\n\tx\r\n"])
def test_a_loop_is_stopped_at_fifty_hops(field: bytes) -> None:
    """SUB-33, SMTP-49 (RFC 5321 6.3): what has passed fifty hops is taken, one hop more is refused with 5.4.6."""
    envelope, _, _ = prepare(replace(SUBMISSION, content=field * 50 + b"\r\nReceived: in the body\r\n"), HOST, ID, NOW)
    assert envelope.content.received == 51
    with pytest.raises(SubmissionError, match="it loops") as caught:
        prepare(replace(SUBMISSION, content=field * 51 + b"\r\nx"), HOST, ID, NOW)
    assert (caught.value.code, caught.value.status) == (554, "5.4.6")


def test_recipients_are_numbered_in_order_and_each_stands_once() -> None:
    """SUB-22: ids follow the envelope, a repeated mailbox counts once with its first request, DSN wishes are kept."""
    first = RecipientRequest(parse_address("b@example.com"), frozenset({Notify.DELAY}), "rfc822;b@example.com")
    again = RecipientRequest(parse_address("b@EXAMPLE.com"))
    submission = replace(SUBMISSION, recipients=(first, *_to("c@example.com", "B@example.com"), again))
    _, recipients, _ = prepare(submission, HOST, ID, NOW)
    assert [recipient.id for recipient in recipients] == ["MSG1/0", "MSG1/1", "MSG1/2"]
    assert [recipient.address.text for recipient in recipients] == ["b@example.com", "c@example.com", "B@example.com"]
    assert recipients[0].notify == frozenset({Notify.DELAY})
    assert recipients[0].orcpt == "rfc822;b@example.com"
    assert {recipient.state for recipient in recipients} == {State.QUEUED}


def test_the_envelope_keeps_what_was_asked() -> None:
    """SUB-22, SUB-23 (RFC 3461 5): sender, RET, ENVID, SMTPUTF8, origin and the time stand in the envelope."""
    submission = replace(SUBMISSION, sender=None, ret=Ret.HDRS, envid="e+2B1", smtputf8=True)
    envelope, _, _ = prepare(submission, HOST, ID, NOW)
    assert (envelope.sender, envelope.ret, envelope.envid, envelope.smtputf8) == (None, Ret.HDRS, "e+2B1", True)
    assert (envelope.origin, envelope.accepted) == (SUBMISSION.origin, NOW)


def test_mail_for_nobody_is_refused() -> None:
    """SUB-04 (RFC 6409 4.1): a message without a recipient is refused with 554."""
    with pytest.raises(SubmissionError, match="no recipient") as caught:
        prepare(replace(SUBMISSION, recipients=()), HOST, ID, NOW)
    assert caught.value.code == 554
