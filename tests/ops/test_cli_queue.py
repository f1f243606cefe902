"""`danepipe queue` on a real Redis: what it shows is where mail stands, and what it does is done once."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.spine import utc_now
from pipeline.store.changes import Changes, Stored
from pipeline.store.codec import decode
from pipeline.store.ledger import Ledger
from stages.contract import Owed
from stages.message import MessageId, State
from stages.reason import Reason
from tests.ops.conftest import Run, WithLedger
from tests.pipeline.test_ledger import LEASE, NOW, message

WHY = Reason("deliver", "smtp.connect", "4.4.1", "no route to mx.example.com")


async def deferred(ledger: Ledger) -> None:
    """Keep M1 with two recipients: u0 waits for a retry, u1 is ready for its destination."""
    await ledger.accept(message(), b"Subject: x\r\n\r\nhello\r\n")
    await ledger.claim("place:route", "t", 1, LEASE)
    changes = Changes()
    first = message().recipients[0]
    at = NOW + timedelta(minutes=30)
    changes.put(replace(first, state=State.DEFERRED, attempts=1, next_attempt=at, reason=WHY))
    changes.later("M1/0", at)
    changes.to_ready("mx:example.com:25:dane", "M1/1")
    assert await ledger.commit("t", "M1/0,1", changes) is not None


async def stored(ledger: Ledger) -> Stored:
    """Fetch M1."""
    found = await ledger.stored(MessageId("M1"))
    assert found is not None
    return found


def test_list_and_show(kept: Run, ledger: WithLedger) -> None:
    """Every open recipient is listed with its state, next attempt and reason, and shown whole by its message."""
    ledger(deferred)
    result = kept("queue", "list", "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["id"], row["state"], row["code"]) for row in rows] == [
        ("M1/0", "deferred", "smtp.connect"),
        ("M1/1", "queued", ""),
    ]
    assert rows[0]["next_attempt"] == "2026-11-23T12:30:00+00:00"
    assert len(kept("queue", "list", "--state", "deferred").stdout.splitlines()) == 1
    assert kept("queue", "list", "--domain", "example.net").stdout == ""
    assert len(kept("queue", "list", "--domain", "EXAMPLE.com").stdout.splitlines()) == 2
    assert "bü" in kept("queue", "list", "--domain", "bü cher.example").stderr
    assert "u0@example.com" in kept("sendmail", "-bp").stdout
    shown = kept("queue", "show", "M1").stdout
    assert "smtp.connect" in shown
    assert "no route to mx.example.com" in shown
    assert kept("queue", "show", "M1", "--content").stdout_bytes == b"Subject: x\r\n\r\nhello\r\n"


def test_retry_goes_to_the_first_stage(kept: Run, ledger: WithLedger) -> None:
    """A retry by hand takes the recipient out of the schedule and to the first stage, at once (SMTP-51 is the rule)."""
    ledger(deferred)
    assert kept("queue", "retry", "M1/0").exit_code == 0
    after = ledger(stored)
    assert after.places == {"M1/0": "place:route", "M1/1": "ready:mx:example.com:25:dane"}
    assert after.message.recipients[0].state is State.QUEUED
    assert after.message.recipients[0].attempts == 1


def test_hold_keeps_back_until_release(kept: Run, ledger: WithLedger) -> None:
    """Held mail is in no queue and is not retried by accident; release lets it go on."""
    ledger(deferred)
    assert kept("queue", "hold", "M1").exit_code == 0
    assert ledger(stored).places == {"M1/0": "held", "M1/1": "held"}
    again = kept("queue", "retry", "M1/0")
    assert again.exit_code == 1
    assert "release it" in again.stderr
    assert kept("queue", "release", "--domain", "example.com").exit_code == 0
    assert ledger(stored).places == {"M1/0": "place:route", "M1/1": "place:route"}
    assert "not held" in kept("queue", "release", "M1/0").stderr


def test_bounce_owes_the_sender_a_report(kept: Run, ledger: WithLedger) -> None:
    """A bounce by hand settles the recipient and owes one failure notice with the reason given (RFC 3461 5.2)."""
    ledger(deferred)
    assert kept("queue", "bounce", "M1/0", "--reason", "the domain is gone").exit_code == 0

    async def owed(ledger: Ledger) -> Owed:
        ((group, row),) = (await ledger.take("place:bounce", "t", 10, LEASE, bring="item:bounce")).groups
        assert group == "M1/0!failed"
        assert row[0] is not None
        return decode(Owed, row[0])

    notice = ledger(owed)
    (recipient,) = notice.message.recipients
    assert recipient.state is State.FAILED
    assert recipient.reason is not None
    assert recipient.reason.text == "the domain is gone"
    assert ledger(stored).message.recipients[0].state is State.FAILED


def test_drop_settles_without_a_report(kept: Run, ledger: WithLedger) -> None:
    """Dropped mail leaves nothing behind: no notice, no content, and the message is done."""
    ledger(deferred)
    assert kept("queue", "drop", "--all").exit_code == 0

    async def left(ledger: Ledger) -> list[str]:
        with pytest.raises(KeyError):
            await ledger.content(message())
        return await ledger.claim("place:bounce", "t", 10, LEASE)

    assert ledger(left) == []
    assert kept("queue", "list").stdout == ""


def test_busy_mail_is_left_alone(kept: Run, ledger: WithLedger) -> None:
    """A recipient in a worker's hands is not touched: the command says so and its status tells."""

    async def claimed(ledger: Ledger) -> None:
        await ledger.accept(message(count=1), b"x")
        await ledger.claim("place:route", "worker", 1, LEASE)

    ledger(claimed)
    result = kept("queue", "drop", "M1")
    assert result.exit_code == 1
    assert "being worked on" in result.stderr
    assert ledger(stored).message.recipients[0].state is State.QUEUED


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("queue", "show", "NOPE"), "NOPE"),
        (("queue", "retry", "NOPE/0"), "NOPE"),
        (("queue", "drop", "M1/7"), "M1/7"),
    ],
)
def test_unknown_targets_are_named(kept: Run, ledger: WithLedger, arguments: tuple[str, ...], names: str) -> None:
    """What is not there is said in one sentence with its name."""
    ledger(deferred)
    result = kept(*arguments)
    assert result.exit_code == 1
    assert names in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_all_named_are_there_or_nothing_is_done(kept: Run, ledger: WithLedger) -> None:
    """A typing mistake in one of several targets leaves the others as they were."""
    ledger(deferred)
    assert kept("queue", "drop", "M1", "NOPE").exit_code == 1
    assert ledger(stored).places == {"M1/0": "schedule", "M1/1": "ready:mx:example.com:25:dane"}
    assert kept("queue", "drop", "M1", "--domain", "bü cher.example").exit_code == 1
    assert ledger(stored).places["M1/0"] == "schedule"


def test_all_mail_is_walked_in_pages_while_it_moves(kept: Run, ledger: WithLedger) -> None:
    """More mail than a page holds is acted upon once each, and what comes in meanwhile is not meant."""

    async def many(ledger: Ledger) -> None:
        for n in range(250):
            await ledger.accept(message(f"M{n:03}", 1), b"x")
        new = message("NEW", 1)
        later = replace(new.envelope, accepted=utc_now() + timedelta(hours=1))
        await ledger.accept(replace(new, envelope=later), b"x")

    async def left(ledger: Ledger) -> dict[str, int]:
        return await ledger.counts()

    ledger(many)
    assert len(kept("queue", "drop", "--all").stdout.splitlines()) == 250
    assert ledger(left)["messages"] == 1


def test_actions_need_a_target(kept: Run) -> None:
    """No action means all mail unless all mail is asked for."""
    assert kept("queue", "drop").exit_code == 2
