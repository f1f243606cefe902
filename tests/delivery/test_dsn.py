"""Reports as mail: form, fields, what comes back, and what they say to people."""

import re
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from quopri import decodestring
from typing import Any

import flufl.bounce
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.advice import explain
from delivery.dsn import Report, compose
from delivery.settings import DsnSettings
from stages.attempt import Handshake, HostAttempt
from stages.contract import Notice, NoticeKind
from stages.destination import Destination, RouteKind
from stages.message import Content, Envelope, Origin, Recipient
from stages.plan import DaneDemand, Host, Plan, Skipped, Trouble
from stages.policy import Policy
from stages.reason import Reason
from stages.records import TLSA
from stages.refusal import without_host
from stages.resolve import plan_facts
from tests.stages.make import DAY, HOUR, NOW, envelope, message, recipient

SETTINGS = DsnSettings("mail.here.example", "postmaster@here.example")
ORIGINAL = (
    b"From: Sender <sender@here.example>\r\nTo: user@example.com\r\nMessage-ID: <orig-1@here.example>\r\n"
    b"Subject: Hello\r\n\r\nThe body.\r\n"
)
GONE = Reason(
    "deliver", "smtp.refused", "5.1.1", "mx.example.com refused the recipient",
    remote="mx.example.com", reply="550 5.1.1 no such user here",
)  # fmt: skip
FAILED, DELAYED, RELAYED = NoticeKind.FAILED, NoticeKind.DELAYED, NoticeKind.RELAYED


def failed(text: str = "user@example.com", number: int = 1, **changes: Any) -> Recipient:
    """Make a recipient that failed after three attempts."""
    given = {
        "reason": GONE, "attempts": 3, "first_attempt": NOW, "last_attempt": NOW + HOUR,
    } | changes  # fmt: skip
    return recipient(text, number, **given)


def report(
    *recipients: Recipient,
    kind: NoticeKind = FAILED,
    of: Envelope | None = None,
    original: bytes = ORIGINAL,
    full: bool = False,
    settings: DsnSettings = SETTINGS,
    boundary: str = "=b=",
) -> Report:
    """Write a report."""
    notice = Notice(kind, message(*(recipients or (failed(),)), of=of), full)
    return compose(notice, original, settings, "<R1@mail.here.example>", boundary, NOW + 2 * HOUR)


def parts(made: Report) -> tuple[Message, list[tuple[str, str, bytes]]]:
    """Take a report apart by its boundary: the header, and (type, encoding, body octets) of each part."""
    whole = message_from_bytes(made.content)
    boundary = whole.get_boundary()
    assert boundary is not None
    pieces = made.content.split(f"--{boundary}".encode())
    assert pieces[-1] == b"--\r\n"
    found = []
    for piece in pieces[1:-1]:
        head, _, body = piece.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n")
        fields = message_from_bytes(head + b"\r\n\r\n")
        encoding = fields["Content-Transfer-Encoding"]
        if encoding == "quoted-printable":
            body = decodestring(body.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
        elif encoding == "base64":
            body = message_from_bytes(b"Content-Transfer-Encoding: base64\r\n\r\n" + body).get_payload(decode=True)  # type: ignore[assignment]
        found.append((fields.get_content_type(), encoding, body))
    return whole, found


def groups(made: Report) -> list[Message]:
    """Give the field groups of the delivery status: the message's, then one for each recipient."""
    _, found = parts(made)
    text = re.sub(r"\r\n(?=[ \t])", "", found[1][2].decode())
    return [message_from_bytes(group.encode() + b"\r\n\r\n") for group in text.strip("\r\n").split("\r\n\r\n")]


def words(made: Report) -> str:
    """Give the text for people, with the line breaks of wrapping undone."""
    return re.sub(r"\s+", " ", parts(made)[1][0][2].decode())


def test_the_report_is_a_multipart_report() -> None:
    """DSN-23, DSN-28, RFC 3464 2, RFC 6522 3: human text, message/delivery-status in 7bit, returned content."""
    made = report()
    whole, found = parts(made)
    assert whole.get_content_type() == "multipart/report"
    assert whole.get_param("report-type") == "delivery-status"
    assert [kind for kind, _, _ in found] == ["text/plain", "message/delivery-status", "text/rfc822-headers"]
    assert found[1][1] == "7bit"
    assert made.content.isascii()
    assert not made.smtputf8
    assert b"\n" not in made.content.replace(b"\r\n", b"")
    parsed = message_from_bytes(made.content, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    assert [part.get_content_type() for part in parsed.iter_parts()] == [kind for kind, _, _ in found]
    assert not parsed.defects


def test_the_header_of_the_report() -> None:
    """DSN-02, DSN-24, DSN-25, DSN-26, DSN-27: to the return path, from a person, auto-submitted, with an id and a date."""
    whole, _ = parts(report())
    assert whole["To"] == "<sender@here.example>"
    assert whole["From"] == "Mail Delivery System <postmaster@here.example>"
    assert whole["Auto-Submitted"] == "auto-replied"
    assert whole["Message-ID"] == "<R1@mail.here.example>"
    assert whole["In-Reply-To"] == whole["References"] == "<orig-1@here.example>"
    assert whole["Date"] == "Mon, 02 Mar 2026 14:00:00 +0000"
    assert whole["MIME-Version"] == "1.0"
    assert "Return-Path" not in whole


def test_a_notice_to_nobody_is_a_fault() -> None:
    """DSN-01, DSN-03: a report to the null sender cannot be written."""
    with pytest.raises(ValueError, match="no sender"):
        report(of=envelope(None))


def test_the_fields_of_a_failure() -> None:
    """DSN-29, DSN-31, DSN-33, DSN-34, DSN-35, DSN-37, DSN-38, DSN-40, DSN-41: one group, in the words of RFC 3464 section 2.3."""
    about, one = groups(report(failed("User.Name@Example.com")))
    assert about["Reporting-MTA"] == "dns; mail.here.example"
    assert about["Arrival-Date"] == "Mon, 02 Mar 2026 12:00:00 +0000"
    assert about["Received-From-MTA"] == "dns; client.here.example"
    assert one["Final-Recipient"] == "rfc822; User.Name@Example.com"
    assert one["Action"] == "failed"
    assert one["Status"] == "5.1.1"
    assert one["Remote-MTA"] == "dns; mx.example.com"
    assert one["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user here"
    assert one["Last-Attempt-Date"] == "Mon, 02 Mar 2026 13:00:00 +0000"
    assert "Will-Retry-Until" not in one
    assert "Last-Attempt-Date" not in groups(report(failed(last_attempt=None)))[1]


def test_a_group_for_each_recipient() -> None:
    """DSN-20, DSN-28: one report, a blank line between the groups, and each recipient in one."""
    made = report(failed("a@example.com", 1), failed("b@example.com", 2), failed("c@example.com", 3))
    finals = [group["Final-Recipient"] for group in groups(made)[1:]]
    assert finals == ["rfc822; a@example.com", "rfc822; b@example.com", "rfc822; c@example.com"]


def test_other_programs_recognise_the_report() -> None:
    """DSN-23, DSN-28: a bounce detector that others wrote finds the failed, and the delayed as temporary."""
    made = message_from_bytes(report(failed("a@example.com", 1), failed("b@example.com", 2)).content)
    temporary, permanent = flufl.bounce.all_failures(made)
    assert (set(temporary), set(permanent)) == (set(), {b"a@example.com", b"b@example.com"})
    delayed = message_from_bytes(report(kind=DELAYED).content)
    temporary, permanent = flufl.bounce.all_failures(delayed)
    assert (set(temporary), set(permanent)) == ({b"user@example.com"}, set())


@pytest.mark.parametrize(
    ("envid", "expected"),
    [
        (None, None),
        ("a+2Bb", "a+b"),
        ("QQ314159", "QQ314159"),
        ("a+0D+0AAction:+20delivered", "a+0D+0AAction:+20delivered"),
    ],
)
def test_the_envelope_id_is_decoded(envid: str | None, expected: str | None) -> None:
    """DSN-30, DSN-47, RFC 3461 6.3 a: present iff ENVID was given, xtext undone, and never a way to add a field."""
    assert groups(report(of=envelope(envid=envid)))[0]["Original-Envelope-Id"] == expected


@pytest.mark.parametrize(
    ("orcpt", "expected"),
    [
        (None, None),
        ("rfc822;Bob@Example.COM", "rfc822;Bob@Example.COM"),
        ("RFC822;a+2Bb@example.com", "RFC822;a+b@example.com"),
        ("x400;/C=de/+0A", "x400;/C=de/+0A"),
        (r"utf-8;j\x{FC}rgen@example.com", r"utf-8;j\x{FC}rgen@example.com"),
    ],
)
def test_the_original_recipient_is_what_was_given(orcpt: str | None, expected: str | None) -> None:
    """DSN-32, RFC 3461 6.3 d: present iff ORCPT was given, same type and value."""
    assert groups(report(failed(orcpt=orcpt)))[1]["Original-Recipient"] == expected


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        (FAILED, "5.7.5", "5.7.5"),
        (FAILED, "4.7.5", "4.7.5"),
        (FAILED, "", "5.0.0"),
        (FAILED, "2.0.0", "5.0.0"),
        (FAILED, "5.07.1", "5.0.0"),
        (FAILED, "5.7.1 (comment)", "5.0.0"),
        (DELAYED, "4.4.3", "4.4.3"),
        (DELAYED, "5.4.4", "4.0.0"),
        (RELAYED, "2.1.5", "2.1.5"),
        (RELAYED, "", "2.0.0"),
    ],
)
def test_the_status_is_well_formed_and_fits(kind: NoticeKind, status: str, expected: str) -> None:
    """DSN-35, DSN-36, DSN-49, RFC 3463 2: d.d.d without zeros in front; 4.0.0 or 5.0.0 where nothing fits."""
    made = report(failed(reason=replace(GONE, status=status)), kind=kind)
    assert groups(made)[1]["Status"] == expected


def test_what_we_found_out_ourselves_names_no_remote() -> None:
    """DSN-37, DSN-39: no Remote-MTA where no reply decided, and a diagnostic of our own type."""
    own = Reason("resolve", "dns.mx_lookup", "4.4.3", "MX lookup of example.com/MX: servfail: no answer")
    one = groups(report(failed(reason=own)))[1]
    assert "Remote-MTA" not in one
    assert one["Diagnostic-Code"] == "x-danepipe; MX lookup of example.com/MX: servfail: no answer"


def test_a_delay_is_told_with_its_end() -> None:
    """DSN-06, DSN-41: Action delayed, Will-Retry-Until only there, and the sender need do nothing."""
    made = report(kind=DELAYED, settings=replace(SETTINGS, lifetime=5 * DAY))
    one = groups(made)[1]
    assert (one["Action"], one["Status"]) == ("delayed", "4.0.0")
    assert one["Will-Retry-Until"] == "Sat, 07 Mar 2026 12:00:00 +0000"
    assert "no need to send it a second time" in words(made)
    assert "Will-Retry-Until" not in groups(report(settings=replace(SETTINGS, lifetime=5 * DAY)))[1]


def test_a_relay_is_told_with_its_reply() -> None:
    """DSN-09, DSN-34: Action relayed, class 2, the host that took it."""
    taken = Reason("deliver", "smtp.relayed", "2.0.0", "taken", remote="mx.example.com", reply="250 2.0.0 ok")
    one = groups(report(failed(reason=taken), kind=RELAYED))[1]
    assert (one["Action"], one["Status"], one["Remote-MTA"]) == ("relayed", "2.0.0", "dns; mx.example.com")


EVIL = "550 x\r\nAction: delivered\r\n\r\nFinal-Recipient: rfc822; victim@example.net\x00\x1b[2J\u2028z"


def test_a_reply_cannot_add_fields() -> None:
    """DSN-47, RFC 3464 2.1: line ends and controls in remote text end up inside one field."""
    reason = replace(GONE, reply=EVIL, text=EVIL, remote="mx.example.com\r\nStatus: 2.0.0", status=EVIL)
    made = report(failed(reason=reason))
    about, one = groups(made)
    assert len(groups(made)) == 2
    assert one.get_all("Action") == ["failed"]
    assert one.get_all("Status") == ["5.0.0"]
    assert len(one.get_all("Final-Recipient", [])) == 1
    assert about.keys() == ["Reporting-MTA", "Received-From-MTA", "Arrival-Date"]
    assert "\x1b" not in made.content.decode()


def test_a_long_reply_is_cut() -> None:
    """DSN-47: length is capped, and lines keep to 998 octets (RFC 5322 2.1.1)."""
    made = report(failed(reason=replace(GONE, reply="550 " + "x" * 5000, text="ü" * 5000)))
    assert max(len(line) for line in made.content.split(b"\r\n")) <= 998
    assert groups(made)[1]["Diagnostic-Code"].endswith("x...")


def test_a_message_id_that_is_none_is_left_alone() -> None:
    """DSN-47: the original's header cannot write into ours."""
    whole, _ = parts(report(original=b"Message-ID: <a b\x01@c>\r\n\r\n"))
    assert "In-Reply-To" not in whole


@pytest.mark.parametrize(
    ("full", "original", "kind", "body"),
    [
        (True, ORIGINAL, "message/rfc822", ORIGINAL),
        (False, ORIGINAL, "text/rfc822-headers", ORIGINAL.partition(b"\r\n\r\n")[0] + b"\r\n"),
        (True, b"Subject: x\r\n\r\n\xfcber\r\n", "text/rfc822-headers", b"Subject: x\r\n"),
        (True, b"Subject: x\r\n\r\n" + b"y" * 1000 + b"\r\n", "text/rfc822-headers", b"Subject: x\r\n"),
        (True, b"Subject: x\r\n\r\n" + b"y\r\n" * 500_000, "text/rfc822-headers", b"Subject: x\r\n"),
        (False, b"Subject: \xfcx\r\n\r\n", "text/rfc822-headers", b"Subject: \xfcx\r\n"),
        (False, b"", "text/rfc822-headers", b"\r\n"),
        (True, b"Subject: no end", "message/rfc822", b"Subject: no end"),
    ],
    ids=["full", "headers", "8-bit body", "long line", "too large", "8-bit header", "empty", "no body"],
)
def test_what_comes_back(full: bool, original: bytes, kind: str, body: bytes) -> None:  # noqa: FBT001
    """DSN-42, DSN-43, DSN-44: the whole message only on request, small and 7-bit; else its header, encoded if need be."""
    made = report(full=full, original=original)
    assert made.content.isascii()
    _, found = parts(made)
    assert (found[2][0], found[2][2]) == (kind, body)
    if full and kind == "text/rfc822-headers":
        assert "Only the header of your message is returned" in words(made)


UTF8 = envelope("jürgen@here.example", smtputf8=True, content=Content(100, eight_bit=True, utf8_header=True))
UTF8_ORIGINAL = "From: jürgen@here.example\r\nSubject: Grüße\r\n\r\nMit Grüßen\r\n".encode()


@pytest.mark.parametrize("full", [True, False])
def test_a_utf8_message_is_reported_in_utf8_types(full: bool) -> None:  # noqa: FBT001
    """DSN-45, DSN-46, RFC 6533 4: global types, native addresses, a 7-bit encoding for servers without SMTPUTF8."""
    taken = failed("müller@example.com", orcpt=r"utf-8;m\x{FC}ller@example.com")
    made = report(taken, of=UTF8, original=UTF8_ORIGINAL, full=full)
    _, found = parts(made)
    assert [kind for kind, _, _ in found] == [
        "text/plain", "message/global-delivery-status", "message/global" if full else "message/global-headers",
    ]  # fmt: skip
    fields = found[1][2].decode()
    assert "Final-Recipient: utf-8; müller@example.com" in fields
    assert "Original-Recipient: utf-8;müller@example.com" in fields
    expected = UTF8_ORIGINAL if full else UTF8_ORIGINAL.partition(b"\r\n\r\n")[0] + b"\r\n"
    assert found[2][2] == expected
    assert made.smtputf8
    assert made.content.partition(b"\r\n\r\n")[2].isascii()


def test_an_ascii_sender_gets_a_report_that_passes_everywhere() -> None:
    """DSN-45, RFC 6533 4.5: if the return path may lack SMTPUTF8, header and body are 7-bit throughout."""
    made = report(failed("müller@example.com"), of=replace(UTF8, sender=envelope().sender), original=UTF8_ORIGINAL)
    assert not made.smtputf8
    assert made.content.isascii()
    assert parts(made)[1][1][0] == "message/global-delivery-status"


def test_a_diagnostic_is_ascii_in_every_report() -> None:
    """DSN-46, RFC 6533 4.1: Diagnostic-Code is ASCII; what is not is written by its code point."""
    one = groups(report(failed(reason=replace(GONE, reply="550 für Sie"))))[1]
    assert one["Diagnostic-Code"] == r"smtp; 550 f\x{FC}r Sie"


def test_a_name_without_a_dot_is_no_dns_name() -> None:
    """DSN-29, RFC 3461 6.3 b: `dns` only for a fully qualified name."""
    about = groups(report(settings=DsnSettings("localhost", "postmaster@localhost")))[0]
    assert about["Reporting-MTA"] == "x-local-hostname; localhost"


def test_the_boundary_cannot_be_guessed_into_the_text() -> None:
    """DSN-47: a message that holds the boundary does not end its part."""
    original = b"Subject: x\r\n\r\n--=b=\r\n\r\nmore\r\n--=b=x--\r\n"
    _, found = parts(report(original=original, full=True))
    assert found[2][2] == original


def test_private_parts_of_the_envelope_stay_private() -> None:
    """DSN-50: neither the client's address nor a HELO name that is none are told."""
    made = report(of=envelope(origin=Origin("smtp", "192.0.2.77", "bad name\r\nX: y")))
    assert b"192.0.2.77" not in made.content
    assert "Received-From-MTA" not in groups(made)[0]


# The words


RECORD = TLSA(3, 1, 1, bytes(32))
SEEN = {
    "base": "mx.example.com",
    "records": [str(RECORD)],
    "cert_sha256": "aa" * 32,
    "spki_sha256": "bb" * 32,
    "names": ["mx.example.com", "example.com"],
    "issuer": "CN=Example CA",
    "not_before": "2026-01-01T00:00:00+00:00",
    "not_after": "2026-06-01T00:00:00+00:00",
    "mismatch": [{"record": str(RECORD), "why": f"the server's public key is {'bb' * 32}"}],
}


def refused(trouble: Trouble, facts: dict[str, Any], text: str = "what happened", **skipped: Any) -> Reason:
    """Let the stages themselves make the reason for a host that failed in this way."""
    destination = Destination(RouteKind.MX, "example.com", 25)
    demand = DaneDemand("mx.example.com", (RECORD,), ("mx.example.com",))
    host = Host("mx.example.com", 10, ("192.0.2.25",), demand, {"base": "mx.example.com", "records": [str(RECORD)]})
    if skipped:
        left_out = Skipped("mx.example.com", 10, trouble, text, facts=facts, **skipped)
        plan = Plan(destination, (), (left_out,), NOW, NOW)
        tried: tuple[HostAttempt, ...] = ()
    else:
        plan = Plan(destination, (host,), (), NOW, NOW)
        shake = Handshake("none", "TLSv1.3", "TLS_AES_256_GCM_SHA384", facts) if facts else None
        tried = (HostAttempt("mx.example.com", "192.0.2.25", 25, "dane", trouble, text, handshake=shake),)
    return without_host("deliver", plan, tried, recipient(), Policy(), NOW, extra=plan_facts(plan)).reason


def test_a_mismatch_is_explained_to_both() -> None:
    """DSN-50: domain, host, the records expected, the certificate seen (digest, names, dates), times, and the remedy."""
    reason = refused(Trouble.MISMATCH, SEEN, "no TLSA record matches")
    text = words(report(failed(reason=reason)))
    assert "The domain example.com says in signed DNS which certificate" in text
    assert "Your message is not at fault" in text
    assert f"Published: _25._tcp.mx.example.com. TLSA {RECORD}" in text
    assert f"SHA-256 of the certificate: {'aa' * 32}" in text
    assert "Names in it: mx.example.com; example.com" in text
    assert "Valid until: 2026-06-01" in text
    assert f"TLSA {RECORD}: the server's public key is {'bb' * 32}" in text
    assert (
        f"publish a record for the one it shows, if it is yours, for example: _25._tcp.mx.example.com. TLSA 3 1 1 {'bb' * 32}"
        in text
    )
    assert "Tried 3 times, first Mon, 02 Mar 2026 12:00:00 +0000" in text


def test_a_bogus_answer_is_explained_by_record_and_ede() -> None:
    """DSN-50, section 14.2: which record, that DNSSEC says bogus, which extended error, and what to do about it."""
    facts = {
        "question": "_25._tcp.mx.example.com/TLSA",
        "ede": [{"code": 7, "text": "signature expired\r\n<evil>"}],
        "proofs": ["cd-requery", "ede"],
    }
    text = words(report(failed(reason=refused(Trouble.BOGUS_TLSA, facts, proven=True))))
    assert "fail their DNSSEC check" in text
    assert "Record asked for: _25._tcp.mx.example.com TLSA" in text
    assert "DNSSEC state: bogus" in text
    assert "Extended DNS error 7 (signature expired): signature expired" in text
    assert "sign the zone anew" in text
    assert "delv TLSA _25._tcp.mx.example.com" in text


def test_a_zone_full_of_records_does_not_fill_the_report() -> None:
    """DSN-47, DSN-50: what a report tells of is bounded."""
    many = SEEN | {
        "records": [str(RECORD)] * 500,
        "names": ["a.example"] * 500,
        "mismatch": [{"record": "r", "why": "w"}] * 500,
    }
    assert len(report(failed(reason=refused(Trouble.MISMATCH, many))).content) < 10_000


@pytest.mark.parametrize("trouble", list(Trouble))
def test_every_trouble_has_words(trouble: Trouble) -> None:
    """DSN-50: whatever goes wrong, the report is a plain sentence that names the domain or our own part in it."""
    reason = refused(trouble, {}, f"mx.example.com: {trouble}")
    advice = explain(reason, "example.com")
    assert advice.sender.endswith(".")
    assert "example.com" in advice.sender or "Our own" in advice.sender
    assert str(trouble) not in advice.sender or trouble.name in advice.sender or advice.facts or "mx." in advice.sender


def test_other_stages_reasons_have_words_too() -> None:
    """DSN-50: a code nobody has explained is told by its own sentence."""
    text = words(report(failed(reason=Reason("scan", "scan.virus", "5.7.1", "The message holds a virus."))))
    assert "The message holds a virus. " in text


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "smtp.rcpt_refused",
            "The mail server mx.example.com of example.com refused this address. It said: 550 5.1.1 no such user",
        ),
        ("smtp.data_deferred", "mx.example.com of example.com does not take the message for now. It said: 550"),
        ("content.too_large", "takes no messages of this size. Please send a smaller one."),
    ],
)
def test_replies_and_unfit_content_have_words(code: str, said: str) -> None:
    """DSN-38, DSN-50: what the server said stands in the report, and what the sender can do about the message."""
    assert said in words(report(failed(reason=replace(GONE, code=code))))


def test_an_expiry_tells_the_cause() -> None:
    """DSN-48, DANE-109: the last problem's status stays, and the text says that the time is over."""
    reason = replace(refused(Trouble.NO_STARTTLS, {}), status="4.7.10")
    made = report(failed(reason=replace(reason, facts={**reason.facts, "given_up_after": 432000})))
    assert groups(made)[1]["Status"] == "4.7.10"
    assert "The time for trying is over." in words(made)


@given(st.text(), st.text(), st.text(), st.text())
@settings(max_examples=60, deadline=timedelta(seconds=2))
def test_nothing_said_by_others_changes_the_form(reply: str, remote: str, text: str, status: str) -> None:
    """DSN-28, DSN-47: whatever a server says, there is one group, one of each field, and nothing but CRLF line ends."""
    reason = Reason("deliver", text, status, text, {"ede": [{"code": 6, "text": text}], "host": remote}, remote, reply)
    made = report(failed(reason=reason, orcpt=f"rfc822;{text}"), of=envelope(envid=reply))
    about, one = groups(made)
    assert b"\n" not in made.content.replace(b"\r\n", b"")
    assert one.get_all("Action") == ["failed"]
    assert one.get_all("Final-Recipient") == ["rfc822; user@example.com"]
    assert about.get_all("Reporting-MTA") == ["dns; mail.here.example"]
    assert made.content.isascii()
