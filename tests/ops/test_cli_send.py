"""`danepipe send` and `sendmail` on a real Redis: what is printed is kept, and what is not kept is told."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from pipeline.store.changes import Stored
from pipeline.store.ledger import Ledger
from stages.message import MessageId, Notify, Ret
from tests.ops.conftest import Run, WithLedger

MAIL = b"From: a@example.com\nTo: b@example.org\nBcc: c@example.org\nSubject: x\n\nhello\n.\nmore\n"


async def kept_mail(ledger: Ledger) -> list[tuple[Stored, bytes]]:
    """Fetch all messages with their contents."""
    page, _ = await ledger.page()
    return [(stored, await ledger.content(stored.message)) for stored in page]


def test_ids_are_of_kept_messages(kept: Run, ledger: WithLedger, place: Path) -> None:
    """Each id printed names a message that is durable, with the recipients of its header and no Bcc field (SMTP-50)."""
    for name in ("1.eml", "2.eml"):
        (place / name).write_bytes(MAIL)
    result = kept("send", "1.eml", "2.eml")
    assert result.exit_code == 0
    mails = ledger(kept_mail)
    assert sorted(result.stdout.split()) == sorted(stored.message.id for stored, _ in mails)
    stored, content = mails[0]
    assert [str(one.address) for one in stored.message.recipients] == ["b@example.org", "c@example.org"]
    assert str(stored.message.envelope.sender) == "a@example.com"
    assert b"c@example.org" not in content
    assert content.endswith(b"Subject: x\r\n\r\nhello\r\n.\r\nmore\r\n")


def test_envelope_from_the_command_line(kept: Run, ledger: WithLedger) -> None:
    """Sender, recipients and DSN parameters given in words outweigh the header (RFC 3461 section 4)."""
    arguments = (
        "--from",
        "<>",
        "--to",
        "x@example.net",
        "--notify",
        "success,delay",
        "--ret",
        "hdrs",
        "--envid",
        "a+b",
    )
    assert kept("send", "-", *arguments, input=MAIL).exit_code == 0
    ((stored, content),) = ledger(kept_mail)
    envelope, (recipient,) = stored.message.envelope, stored.message.recipients
    assert envelope.sender is None
    assert (envelope.ret, envelope.envid) == (Ret.HDRS, "a+2Bb")
    assert recipient.notify == {Notify.SUCCESS, Notify.DELAY}
    assert b"Bcc: c@example.org" in content


def test_one_bad_file_spares_the_others(kept: Run, ledger: WithLedger, place: Path) -> None:
    """A file that cannot be sent is named with the reason; the others go, and the status tells."""
    (place / "good.eml").write_bytes(MAIL)
    (place / "empty.eml").write_bytes(b"")
    result = kept("send", "missing.eml", "empty.eml", "good.eml")
    assert result.exit_code == 1
    assert len(result.stdout.split()) == 1
    assert "missing.eml: there is no such file" in result.stderr
    assert "empty.eml: the message is empty" in result.stderr
    assert len(ledger(kept_mail)) == 1


def test_bad_address_is_named(kept: Run) -> None:
    """A malformed recipient is refused before anything is kept."""
    result = kept("send", "-", "--to", "not an address", input=MAIL)
    assert result.exit_code == 1
    assert "not an address" in result.stderr
    assert kept("queue", "list").stdout == ""


@pytest.mark.parametrize(
    ("mail", "said"),
    [
        (b"Received: x\n" * 51 + MAIL, "has passed 51 hops: it loops"),
        (MAIL + b"y" * 999, "has 999 octets, and SMTP carries 998"),
        (b"\n \n", "the message is empty"),
        (b"\0\0\0", "no recipient"),
        (MAIL.replace(b"To: b@", b"To: b\0@"), "is no local part"),
        (MAIL.replace(b"a@example.com", b"a@host"), "is not fully qualified"),
    ],
)
def test_mail_that_cannot_be_taken_is_named(kept: Run, place: Path, mail: bytes, said: str) -> None:
    """SMTP-15, SMTP-45, SMTP-49, SUB-03, SUB-05: one sentence with the file and the fault, status 1, and nothing is kept."""
    (place / "bad.eml").write_bytes(mail)
    result = kept("send", "bad.eml")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("danepipe: bad.eml: ")
    assert said in line
    assert kept("queue", "list").stdout == ""


def test_odd_octets_are_kept_as_they_are(kept: Run, ledger: WithLedger, place: Path) -> None:
    """SMTP-41, SMTP-46: a lone CR or LF is a line end, NULs and a Return-Path stay; `send` mends nothing else."""
    (place / "odd.eml").write_bytes(b"Return-Path: <old@example.net>\r\n" + MAIL + b"a\rb\0c\n\xff")
    assert kept("send", "odd.eml", "--to", "x@example.net").exit_code == 0
    ((_, content),) = ledger(kept_mail)
    assert b"\r\nReturn-Path: <old@example.net>\r\nFrom: a@example.com\r\n" in content
    assert content.endswith(b"\r\nmore\r\na\r\nb\0c\r\n\xff\r\n")


def test_what_is_no_file_is_no_message(kept: Run, place: Path) -> None:
    """A directory is named with the system's own word for why; a device that never ends is cut off at the limit."""
    endless = kept("send", "/dev/zero", LISTEN__MAX_SIZE="1M")
    assert endless.exit_code == 1
    assert "/dev/zero: the message has 1048577 octets" in endless.stderr
    (place / "dir.eml").mkdir()
    result = kept("send", "dir.eml")
    assert result.exit_code == 1
    assert "dir.eml: cannot be read: Is a directory" in result.stderr


def test_many_recipients_on_the_command_line(kept: Run, ledger: WithLedger) -> None:
    """Two thousand recipients are one message, each of them once."""
    names = [f"u{number}@example.net" for number in range(2000)]
    assert (
        kept("send", "-", *(word for name in [*names, names[0]] for word in ("--to", name)), input=MAIL).exit_code == 0
    )
    ((stored, _),) = ledger(kept_mail)
    assert [str(one.address) for one in stored.message.recipients] == names


def test_100_mb_need_a_limit_that_allows_them(kept: Run, ledger: WithLedger, place: Path) -> None:
    """SUB-24: too large by default, for a file and for sendmail's standard input; whole where `listen.max_size` is raised."""
    large = MAIL + (b"x" * 99 + b"\n") * 1024**2
    (place / "large.eml").write_bytes(large)
    result = kept("send", "large.eml")
    assert result.exit_code == 1
    assert "listen.max_size allows 52428800" in result.stderr
    assert kept("sendmail", "-i", "b@example.org", input=large).exit_code == 65
    assert kept("queue", "list").stdout == ""
    assert kept("send", "large.eml", "--to", "b@example.org", LISTEN__MAX_SIZE="200M").exit_code == 0
    ((stored, content),) = ledger(kept_mail)
    assert stored.message.envelope.content.size == len(content)
    assert content.count(b"\r\n" + b"x" * 99) == 1024**2


def test_a_full_redis_is_told(redis_url: str, kept: Run) -> None:
    """SUB-31: `send` and sendmail say what ran out, and "try again" with 75; afterwards mail goes again."""
    with Redis.from_url(redis_url) as client:
        client.config_set("maxmemory", 1024)
        try:
            full = kept("send", "-", input=MAIL)
            assert (full.exit_code, full.stdout) == (75, "")
            assert "try again later" in full.stderr
            assert "octets of Redis' memory are in use" in full.stderr
            assert kept("sendmail", "-t", "-i", input=MAIL).exit_code == 75
        finally:
            client.config_set("maxmemory", 0)
    assert kept("send", "-", input=MAIL).exit_code == 0


def test_a_full_queue_is_told(kept: Run, ledger: WithLedger, place: Path) -> None:
    """SUB-31: what is kept is told with its id, then the limit in one sentence, with 75; sendmail says the same."""
    files = [f"{number}.eml" for number in range(4)]
    for name in files:
        (place / name).write_bytes(MAIL)
    full = kept("send", *files, BACKPRESSURE__MAX_QUEUE="2", BACKPRESSURE__SLOW_QUEUE="1")
    assert full.exit_code == 75
    assert sorted(full.stdout.split()) == sorted(stored.message.id for stored, _ in ledger(kept_mail))
    assert len(full.stdout.split()) == 2
    (line,) = full.stderr.splitlines()
    assert line.startswith("danepipe: nothing more can be kept now, try again later: the queue holds ")
    assert line.endswith("and backpressure.max_queue is 2")
    again = kept("sendmail", "-t", "-i", input=MAIL, BACKPRESSURE__MAX_QUEUE="2")
    assert (again.exit_code, again.stdout) == (75, "")
    assert "the queue holds 2 messages, and backpressure.max_queue is 2" in again.stderr


def test_sendmail_takes_out_an_old_return_path(kept: Run, ledger: WithLedger) -> None:
    """SMTP-46, SUB-08 (RFC 5321 4.4, RFC 6409 8): where mail originates, it has a date and an id, and no Return-Path."""
    old = b"Return-Path:\n\t<old@example.net>\n"
    assert kept("sendmail", "-i", "-f", "a@example.com", "x@example.net", input=old + MAIL + old).exit_code == 0
    ((_, content),) = ledger(kept_mail)
    head, _, body = content.partition(b"\r\n\r\n")
    assert b"Return-Path" not in head
    assert b"\r\nDate: " in head
    assert b"\r\nMessage-ID: <" in head
    assert body.endswith(old.replace(b"\n", b"\r\n"))


def test_sendmail_as_programs_call_it(kept: Run, ledger: WithLedger) -> None:
    """Flags of all habits are understood; a lone dot ends the message; missing fields are added (RFC 5322 3.6)."""
    mail = b"Subject: x\n\nhello\n.\nlost\n"
    result = kept(
        "sendmail", "-FSome One", "-f", "me@example.com", "-oem", "-N", "never", "root, x@example.net", input=mail
    )
    assert (result.exit_code, result.stdout) == (0, "")
    ((stored, content),) = ledger(kept_mail)
    assert [str(r.address) for r in stored.message.recipients] == ["root@mail.example.org", "x@example.net"]
    assert stored.message.envelope.origin.source == "sendmail"
    assert str(stored.message.envelope.sender) == "me@example.com"
    assert b"From: Some One <me@example.com>\r\n" in content
    assert b"\r\nDate: " in content
    assert b"\r\nMessage-ID: <" in content
    assert content.endswith(b"Subject: x\r\n\r\nhello\r\n")


def test_sendmail_takes_the_header(kept: Run, ledger: WithLedger) -> None:
    """-t -i: recipients are those of the header, Bcc goes out of it, and a dot ends nothing."""
    assert kept("sendmail", "-ti", input=MAIL).exit_code == 0
    ((stored, content),) = ledger(kept_mail)
    assert len(stored.message.recipients) == 2
    assert b"Bcc" not in content
    assert content.endswith(b"hello\r\n.\r\nmore\r\n")


def test_sendmail_gives_a_text_without_header_one(kept: Run, ledger: WithLedger) -> None:
    """What has no header at all becomes the body whole."""
    assert kept("sendmail", "b@example.org", input=b"disk full\non host\n").exit_code == 0
    ((_, content),) = ledger(kept_mail)
    assert content.endswith(b"\r\n\r\ndisk full\r\non host\r\n")


@pytest.mark.parametrize(
    ("arguments", "mail", "status"),
    [
        (("-t",), b"", 66),
        ((), MAIL, 64),
        (("-Z", "b@example.org"), MAIL, 64),
        (("-bd",), MAIL, 64),
        (("-R", "some", "b@example.org"), MAIL, 64),
        (("-N", "never,delay", "b@example.org"), MAIL, 64),
        (("-f",), MAIL, 64),
        (("b@@example.org",), MAIL, 65),
        (("b@example.org",), b"Subject: x\n\n" + b"y" * 1200 + b"\n", 65),
    ],
)
def test_sendmail_statuses(kept: Run, arguments: tuple[str, ...], mail: bytes, status: int) -> None:
    """SMTP-45, SUB-05: exit statuses are those of sysexits.h, with one sentence each, and nothing is kept."""
    result = kept("sendmail", *arguments, input=mail)
    assert result.exit_code == status, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert kept("queue", "list").stdout == ""


def test_sendmail_says_try_again(cli: Run) -> None:
    """With Redis away the status is 75, so that the caller keeps the mail; a bad configuration is 78."""
    away = cli("sendmail", "b@example.org", input=MAIL, REDIS__URL="redis://127.0.0.1:1/0")
    assert away.exit_code == 75
    assert cli("sendmail", "b@example.org", input=MAIL, SMTP__PORTS="1").exit_code == 78


def test_sendmail_speaks_smtp(redis_url: str, kept: Run, ledger: WithLedger, place: Path) -> None:
    """-bs is a session with the listener's own rules on standard input and output, commands written ahead or not."""
    commands = [
        "EHLO localhost", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>", "DATA", "Subject: x", "", "hi", ".", "QUIT",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli", "sendmail", "-bs"],
        input="".join(f"{line}\r\n" for line in commands).encode(),
        capture_output=True,
        timeout=30,
        check=False,
        env={**os.environ, "DANEPIPE_REDIS__URL": redis_url, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    codes = [line[:3] for line in done.stdout.decode().splitlines() if line[3:4] == " "]
    assert codes == ["220", "250", "250", "250", "354", "250", "221"]
    ((stored, _),) = ledger(kept_mail)
    assert stored.message.id in done.stdout.decode()
    assert stored.message.id != MessageId("")


def test_the_name_sendmail(redis_url: str, kept: Run, ledger: WithLedger, place: Path) -> None:
    """A program of the name `sendmail` is that command, whatever flags it is called with."""
    program = place / "sendmail"
    program.write_text(f"#!{sys.executable}\nfrom ops.cli import main\n\nmain()\n")
    program.chmod(0o755)
    environ = {**os.environ, "DANEPIPE_REDIS__URL": redis_url, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([program, "-t", "-oi"], input=MAIL, capture_output=True, timeout=30, check=False, env=environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(ledger(kept_mail)) == 1
    assert kept("queue", "list").stdout.count("b@example.org") == 1


def test_progress_on_a_terminal(redis_url: str, kept: Run, place: Path) -> None:
    """Several files show progress on a terminal, and the ids stay alone on standard output."""
    names = ["1.eml", "2.eml", "3.eml"]
    for name in names:
        (place / name).write_bytes(MAIL)
    ours, theirs = pty.openpty()
    environ = {
        **os.environ,
        "DANEPIPE_REDIS__URL": redis_url,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TERM": "xterm",
    }
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli", "send", *names],
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=30,
        check=True,
        env=environ,
    )
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert "sending" in shown
    assert len(done.stdout.split()) == 3
    assert len(kept("queue", "list").stdout.splitlines()) == 6
