"""`danepipe trace`: the story is told in the order of time, from log and ledger, and says what it does not know."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops.trace import read, story
from pipeline.store.changes import Stored
from pipeline.store.ledger import Ledger
from stages.message import MessageId, State
from stages.reason import Reason
from tests.ops.conftest import Run, WithLedger
from tests.pipeline.test_ledger import message


def line(second: int, event: str, **fields: Any) -> str:
    """Make a log line."""
    stamp = f"2026-11-23T12:00:{second:02}.123456Z"
    return json.dumps({"timestamp": stamp, "event": event, "level": "info", "role": "work", "pid": 1, **fields})


MISMATCH = {
    "destination": "mx:example.com:25:dane", "mx": "secure",
    "hosts": [{"host": "mx.example.com", "preference": 10, "demand": "dane", "tlsa": "secure", "records": ["3 1 1 ab"]}],
    "skipped": [{"host": "mx2.example.com", "preference": 20, "trouble": "dns.bogus_tlsa", "text": "signature expired"}],
}  # fmt: skip
LINES = [
    line(5, "stage.verdict", stage="deliver", verdict="refuse", message="M1", recipients=["u0@example.com"],
         destination="mx:example.com:25:dane", code="dane.mismatch", status="5.7.5", text="no record matches",
         remote="mx.example.com", reply="", facts=MISMATCH, seconds=0.1),
    line(1, "message.accepted", message="M1", sender="", recipients=["u0@example.com"], size=9, source="smtp",
         peer="127.0.0.1", protocol="ESMTP"),
    line(4, "delivery.attempt", message="M1", destination="mx:example.com:25:dane", host="mx.example.com",
         address="192.0.2.1", port=25, demand="dane", outcome="dane.mismatch", text="no record matches", reply="",
         security="none", tls={"version": "TLSv1.3", "cipher": "X"}, audit_failure="", seconds=0.25),
    line(6, "bounce.sent", message="M1", notice="R1", kind="failed", to="s@example.org", recipients=["u0@example.com"],
         codes=["dane.mismatch"]),
    line(7, "message.done", message="M1"),
    line(3, "lease.lost", message="M1", group="M1/0"),
    line(2, "stage.error", stage="route", group="M1/0", error="ValueError('M1 x')"),
    line(2, "message.accepted", message="M11", sender="", recipients=[], size=1, source="smtp", peer="", protocol=""),
    "M1 is half a line {",
]  # fmt: skip


def test_the_story_in_order() -> None:
    """Lines of several processes come out by time; every kind becomes a sentence with what decided."""
    text = story("M1", read(LINES, "M1"), None)
    told = ["accepted by smtp from 127.0.0.1: <> -> u0@example.com", "fault of ours in stage route", "finished too late",
            "tried mx.example.com [192.0.2.1]:25, demand dane: not used: dane.mismatch", "TLS version TLSv1.3",
            "deliver: refused: u0@example.com [mx:example.com:25:dane]: dane.mismatch 5.7.5", "MX secure",
            "host mx.example.com (dane)", "left out mx2.example.com: dns.bogus_tlsa signature expired",
            "failed report R1 to s@example.org", "done: the last recipient is settled", "1 lines name it"]  # fmt: skip
    places = [text.index(part) for part in told]
    assert places == sorted(places), text
    assert "M11" not in text
    assert "the ledger does not know it" in text


def test_a_report_tells_what_it_is_about() -> None:
    """The story of a report names the message that it reports on."""
    assert "this is the failed report about message M1" in story("R1", read(LINES, "R1"), None)


def test_where_it_stands_now() -> None:
    """What the ledger knows comes last: state, place, attempts and reason of each recipient."""
    one = message()
    why = Reason("deliver", "smtp.connect", "4.4.1", "no route")
    first = replace(one.recipients[0], state=State.DEFERRED, attempts=3, reason=why)
    stored = Stored(replace(one, recipients=(first, one.recipients[1])), {"M1/0": "schedule", "M1/1": "place:route"}, 2)
    text = story("M1", read([], "M1"), stored)
    assert "the log holds nothing about it" in text
    assert "M1/0 u0@example.com: deferred in schedule, attempts 3: smtp.connect no route" in text
    assert "M1/1 u1@example.com: queued in place:route" in text


def test_the_command_reads_log_and_ledger(kept: Run, ledger: WithLedger, place: Path) -> None:
    """The log file of the configuration and the ledger are read; neither alone is needed."""

    async def accept(ledger: Ledger) -> None:
        await ledger.accept(message("M1"), b"x")

    ledger(accept)
    (place / "log.jsonl").write_text("\n".join(LINES))
    both = kept("trace", "M1", LOG__FILE="log.jsonl")
    assert both.exit_code == 0
    assert "accepted by smtp" in both.stdout
    assert "M1/1 u1@example.com: queued in place:route" in both.stdout
    assert "place:route" in kept("trace", "M1/0").stdout
    unknown = kept("trace", "NOPE", LOG__FILE="log.jsonl")
    assert unknown.exit_code == 1
    assert "message NOPE" in unknown.stderr


def test_a_log_is_enough(cli: Run, place: Path) -> None:
    """With Redis away the log alone tells the story, and the command says that it does."""
    (place / "a.jsonl").write_text("\n".join(LINES[:3]))
    (place / "b.jsonl").write_text("\n".join(LINES[3:]))
    result = cli("trace", "M1", "--log", "a.jsonl", "--log", "b.jsonl")
    assert result.exit_code == 0
    assert "from the log alone" in result.stderr
    assert result.stdout.index("accepted by") < result.stdout.index("finished too late") < result.stdout.index("done:")
    missing = cli("trace", str(MessageId("M1")), "--log", "c.jsonl")
    assert missing.exit_code == 1
    assert "c.jsonl" in missing.stderr


FINDABLE = [
    line(1, "message.accepted", message="M1", sender="a@out.example", recipients=["u0@Example.com", "u1@example.net"], size=9,
         source="smtp", peer="", protocol="ESMTP", message_id="<one@out.example>"),
    line(2, "stage.verdict", stage="deliver", verdict="refuse", message="M1", recipients=["u0@Example.com"],
         destination="", code="smtp.rcpt_refused", status="", text="", remote="", reply="", facts={}, seconds=0.1),
    line(3, "stage.verdict", stage="bounce", verdict="proceed", message="M1", recipients=["u0@Example.com"],
         destination="", code="bounce.owed", status="", text="", remote="", reply="", facts={}, seconds=0.1),
    line(4, "message.accepted", message="M2", sender="", recipients=["u1@example.net\x1b[2J"], size=9, source="smtp",
         peer="", protocol="ESMTP", message_id=""),
    line(5, "stage.verdict", stage="deliver", verdict="defer", message="M0", recipients=["u1@example.net"],
         destination="", code="smtp.connect", status="", text="", remote="", reply="", facts={}, seconds=0.1),
    '"message.accepted" half a line {', '["message.accepted"]',
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "messages"),
    [
        (["--recipient", "U0@example.com"], ["M1"]),
        (["--recipient", "u1@example.net"], ["M1", "M0"]),
        (["--domain", "EXAMPLE.com"], ["M1"]),
        (["--message-id", "one@out.example"], ["M1"]),
        (["--message-id", "<one@out.example>", "--domain", "example.net"], ["M1"]),
        (["--from", "2026-11-23T12:00:04"], ["M2", "M0"]),
        (["--from", "2026-11-23T12:00:00Z", "--to", "2026-11-23T12:00:05Z"], ["M1", "M2"]),
        (["--since", "5000w"], ["M1", "M2", "M0"]),
    ],
)
def test_messages_are_found_by_what_people_know(cli: Run, place: Path, asked: list[str], messages: list[str]) -> None:
    """By recipient, domain, Message-ID and time, all at once or each alone; one is told of, several are listed."""
    (place / "log").write_bytes(gzip.compress("\n".join(FINDABLE).encode()))
    result = cli("trace", "--log", "log", *asked)
    assert result.exit_code == 0, result.stderr
    assert "\x1b" not in result.stdout
    if len(messages) == 1:
        assert result.stdout.startswith(f"message {messages[0]}\n")
    else:
        assert [row.split("  ")[1] for row in result.stdout.splitlines()] == messages
    piped = cli("trace", "--log", "-", *asked, input="\n".join(FINDABLE).encode() + b"\n\xff\n")
    assert piped.stdout == result.stdout


def test_a_list_says_what_became_of_each(cli: Run, place: Path) -> None:
    """A line has time, id, sender, recipients, Message-ID and the last verdict that is not about a report."""
    (place / "log").write_text("\n".join(FINDABLE))
    first = cli("trace", "--log", "log", "--since", "5000w").stdout.splitlines()[0]
    assert first == (
        "2026-11-23 12:00:01  M1  a@out.example -> u0@Example.com, u1@example.net  <one@out.example>  "
        "deliver: refuse smtp.rcpt_refused"
    )


def test_what_cannot_be_found_or_asked(cli: Run, place: Path) -> None:
    """Nothing found, nothing asked, or two things at once: a sentence and exit status 1."""
    (place / "log").write_text("\n".join(FINDABLE))
    for arguments, told in (
        (["--domain", "nowhere.example", "--log", "log"], "no such message"),
        ([], "name one message"),
        (["M1", "--domain", "example.com"], "name one message"),
        (["--domain", "example.com"], "log.file is not set"),
    ):
        result = cli("trace", *arguments)
        assert (result.exit_code, told in result.stderr) == (1, True), result.stderr


def test_a_story_is_inert() -> None:
    """What strangers said reaches no terminal as a control character, and makes no line of its own."""
    evil = line(
        1, "delivery.attempt", message="M1", host="mx\x1b[2J", address="1", port=25, outcome="x", text="a\nb\u202e"
    )
    text = story("M1", read([evil], "M1"), None)
    assert "tried mx?[2J [1]:25, demand None: not used: x a?b? (0.000 s)" in text
