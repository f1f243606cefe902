"""From a refusal on the wire to a report in a mailbox: the whole line on a real Redis, with a scripted server."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Any

import flufl.bounce
import pytest

from pipeline.accept.address import parse_address
from pipeline.accept.door import RecipientRequest, Submission
from pipeline.config import load
from pipeline.outfit import resolver_of, runner_of
from pipeline.spine import Spine
from stages.message import Notify, Origin, Ret
from tests.delivery.mailhost import EHLO, MailHost, Script, mailhost

SENDER = "sender@here.example"
CONTENT = b"From: sender@here.example\r\nMessage-ID: <1@here.example>\r\nSubject: x\r\n\r\nbody\r\n"
NO_DSN = "250-mail.test\n250-8BITMIME"
EVERYTHING = frozenset({Notify.SUCCESS, Notify.FAILURE, Notify.DELAY})
Send = Callable[..., Any]


@asynccontextmanager
async def line(directory: Path, redis_url: str, script: Script) -> AsyncIterator[tuple[Send, MailHost, Spine]]:
    """Run the line by hand, nudge by nudge, with a route for all mail to one server."""
    async with mailhost(script) as host:
        config = directory / "danepipe.toml"
        config.write_text(
            f"""
            hostname = "out.here.example"
            [redis]
            url = "{redis_url}"
            [dns]
            servers = ["127.0.0.1@9"]
            [queue]
            delay_notice = "0s"
            [[route]]
            action = "host"
            host = "[127.0.0.1]"
            port = {host.port}
            tls = "may"
            """
        )
        nudges: list[str] = []

        async def nudge(names: Sequence[str]) -> None:
            nudges.extend(names)

        async with Spine.open(load(config, {}), nudge) as spine:
            runner = runner_of(spine, resolver_of(spine))

            async def send(submission: Submission) -> None:
                await spine.submit(submission)
                while nudges:
                    name, to, key = nudges.pop(0).partition("to:")
                    stage = next(
                        (s for s in spine.line.stages if s.name == name.rstrip(":")), spine.line.destinations[0]
                    )
                    if to:
                        await runner.run_destination(stage, key, last_try=True)
                    else:
                        while await runner.run_place(stage):
                            pass

            yield send, host, spine


def mail(*recipients: tuple[str, frozenset[Notify] | None], sender: str | None = SENDER, **changes: Any) -> Submission:
    """Make a message."""
    requests = tuple(RecipientRequest(parse_address(text), notify) for text, notify in recipients)
    path = parse_address(sender) if sender else None
    return Submission(path, requests, Origin("smtp", "192.0.2.7", "client.here.example"), CONTENT, **changes)


def commands(host: MailHost, verb: str) -> list[str]:
    """List what all connections heard of a verb."""
    return [line for seen in host.seen for line in seen.commands(verb)]


def contents(host: MailHost) -> list[bytes]:
    """List the messages that arrived."""
    return [content for seen in host.seen for content in seen.contents]


async def test_a_refusal_becomes_a_report_that_arrives(redis: Any, redis_url: str, tmp_path: Path) -> None:
    """DSN-02, DSN-19, DSN-20, DSN-24, DSN-27, SMTP-53: to the sender, from <>, NEVER, no RET; about those entitled alone."""
    assert await redis.dbsize() == 0
    script = Script(starttls=False, replies={"RCPT TO:<no": "550 5.1.1 nobody here"})
    never = frozenset({Notify.NEVER})
    async with line(tmp_path, redis_url, script) as (send, host, spine):
        everyone = (
            ("no1@example.com", None),
            ("no2@example.com", None),
            ("no3@example.com", never),
            ("yes@example.com", None),
        )
        await send(mail(*everyone, ret=Ret.FULL, envid="QQ1"))
        page, _ = await spine.ledger.page()
    original, report = contents(host)
    assert original.endswith(CONTENT)
    assert commands(host, "MAIL")[1].startswith("MAIL FROM:<> SIZE=")
    assert not {"RET", "ENVID"} & {word.partition("=")[0] for word in commands(host, "MAIL")[1].split()}
    assert commands(host, "RCPT")[-1] == f"RCPT TO:<{SENDER}> NOTIFY=NEVER"
    parsed = message_from_bytes(report)
    assert parsed["To"] == f"<{SENDER}>"
    assert [part.get_content_type() for part in parsed.get_payload()] == [  # type: ignore[union-attr]
        "text/plain", "message/delivery-status", "message/rfc822",
    ]  # fmt: skip
    temporary, permanent = flufl.bounce.all_failures(parsed)
    assert (set(temporary), set(permanent)) == (set(), {b"no1@example.com", b"no2@example.com"})
    assert b"Status: 5.1.1\r\n" in report
    assert b"Remote-MTA: dns; [127.0.0.1]\r\n" in report
    assert not page  # nothing is open any more


@pytest.mark.parametrize("sender", [SENDER, None])
@pytest.mark.parametrize(
    ("script", "action"),
    [
        (Script(starttls=False, replies={"RCPT TO:<u": "550 5.1.1 nobody"}), b"failed"),
        (Script(starttls=False, replies={"RCPT TO:<u": "450 4.2.1 later"}), b"delayed"),
        (Script(starttls=False, ehlo=NO_DSN), b"relayed"),
    ],
)
async def test_the_null_sender_causes_no_report(
    redis: Any, redis_url: str, tmp_path: Path, script: Script, action: bytes, sender: str | None
) -> None:
    """DSN-01, DSN-03, DSN-06, DSN-09, SMTP-54: what a sender would hear of, the null one never does, whatever it asked."""
    assert await redis.dbsize() == 0
    async with line(tmp_path, redis_url, script) as (send, host, spine):
        await send(mail(("u@example.com", EVERYTHING), sender=sender))
        page, _ = await spine.ledger.page()
    reports = [content for content in contents(host) if b"multipart/report" in content]
    assert [b"Action: " + action + b"\r\n" in report for report in reports] == ([True] if sender else [])
    assert len(commands(host, "MAIL")) == (2 if sender else 1)
    assert len(page) == (1 if action == b"delayed" else 0)  # it alone is still open


async def test_a_server_with_dsn_tells_of_success_itself(redis: Any, redis_url: str, tmp_path: Path) -> None:
    """DSN-14 (RFC 3461 5.2.1): the wish is passed on, and no report is made here."""
    assert await redis.dbsize() == 0
    async with line(tmp_path, redis_url, Script(starttls=False, ehlo=EHLO)) as (send, host, _):
        await send(mail(("u@example.com", frozenset({Notify.SUCCESS}))))
    assert commands(host, "RCPT") == ["RCPT TO:<u@example.com> NOTIFY=SUCCESS"]
    assert len(contents(host)) == 1


async def test_a_report_that_is_refused_is_the_end(redis: Any, redis_url: str, tmp_path: Path) -> None:
    """DSN-03, SMTP-54 (RFC 5321 3.6.3): nobody hears of a report that its own addressee's server refuses."""
    assert await redis.dbsize() == 0
    script = Script(starttls=False, replies={"RCPT": "550 5.1.1 nobody"})
    async with line(tmp_path, redis_url, script) as (send, host, spine):
        await send(mail(("u@example.com", None)))
        page, _ = await spine.ledger.page()
    assert commands(host, "RCPT") == ["RCPT TO:<u@example.com>", f"RCPT TO:<{SENDER}> NOTIFY=NEVER"]
    assert not contents(host)
    assert not page  # nothing is open any more
