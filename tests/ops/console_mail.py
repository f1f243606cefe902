"""Mail for tests of the console: some that waits in every way, and a log that tells of some that is settled."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from pipeline.spine import utc_now
from pipeline.store.changes import Changes
from pipeline.store.ledger import Ledger
from stages.message import (
    Address,
    Content,
    Envelope,
    Message,
    MessageId,
    Notify,
    Origin,
    Recipient,
    State,
    recipient_id,
)  # fmt: skip
from stages.reason import Reason
from tests.ops.console_site import Site
from tests.pipeline.test_ledger import LEASE

WAITS, HELD, NULL = MessageId("WAITS00000000001"), MessageId("HELD000000000002"), MessageId("NULL000000000003")
GONE = MessageId("MWWL9JVU4Q3BN7WN")
HOSTILE = "<script>alert(1)</script>\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe \x1b[31mred"
CONTENT = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <jurgen@example.org>\r\nTo: u0@example.com\r\n"
    b"Subject: =?utf-8?b?4oCuPHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==?= and\r\n more\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
    b"Message-ID: <one@example.org>\r\n\r\nhello \x1b[31m<b>world</b>\r\n"
)  # fmt: skip
REFUSED = Reason(
    "deliver", "smtp.reply", "4.7.1", "the host asked us to try again later", {"host": "mx.example.com"},
    "mx.example.com", f"450 4.7.1 {HOSTILE}",
)  # fmt: skip


def message(name: MessageId, people: tuple[str, ...], *, sender: bool = True) -> Message:
    """Make a message to some people, accepted a while ago."""
    who = Address("jurgen", "example.org", "jurgen@example.org") if sender else None
    envelope = Envelope(
        who, utc_now().replace(microsecond=0) - timedelta(minutes=42), Origin("smtp", "192.0.2.10", "client.example"),
        Content(len(CONTENT)),
    )  # fmt: skip
    made = [Address(one.rpartition("@")[0], one.rpartition("@")[2], one) for one in people]
    return Message(name, envelope, tuple(Recipient(recipient_id(name, n), one) for n, one in enumerate(made)))


async def kept(ledger: Ledger) -> None:
    """Keep one that waits for a retry and for its destination, one that is held, and a report."""
    one = message(WAITS, ("u0@example.com", "u1@example.com", "u2@example.net"))
    one = replace(one, recipients=(*one.recipients[:2], replace(one.recipients[2], notify=frozenset({Notify.NEVER}))))
    await ledger.accept(one, CONTENT)
    await ledger.claim("place:route", "t", 1, LEASE)
    changes, at = Changes(), utc_now() + timedelta(minutes=30)
    first, tried = one.recipients[0], utc_now() - timedelta(minutes=3)
    changes.put(replace(
        first, state=State.DEFERRED, attempts=4, first_attempt=one.envelope.accepted, last_attempt=tried,
        next_attempt=at, reason=REFUSED,
    ))  # fmt: skip
    changes.later(f"{WAITS}/0", at, "mx:example.com:25:dane")
    changes.to_ready("mx:example.com:25:dane", f"{WAITS}/1")
    changes.to_ready("mx:example.net:25:dane", f"{WAITS}/2")
    assert await ledger.commit("t", f"{WAITS}/0,1,2", changes) is not None
    two = message(HELD, ("held@example.com",))
    await ledger.accept(two, b"no header at all")
    why = Reason("queue", "queue.held", "4.7.0", "asked to wait")
    await ledger.move(replace(two.recipients[0], state=State.HELD, reason=why), "held", utc_now())
    await ledger.accept(message(NULL, ("postmaster@example.net",), sender=False), b"Subject: x\r\n\r\ny\r\n")


def on(redis_url: str, work: Callable[[Ledger], Awaitable[Any]]) -> Any:
    """Do something with the ledger."""

    async def connected() -> Any:
        client = Redis.from_url(redis_url)
        try:
            return await work(Ledger(client))
        finally:
            await client.aclose()

    return asyncio.run(connected())


def line(at: datetime, event: str, **fields: Any) -> str:
    """Make a log line."""
    stamp = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return json.dumps({"timestamp": stamp, "event": event, "level": "info", "role": "work", "pid": 1, **fields})


def life(name: str, at: datetime, person: str = "gone@example.com", reply: str = HOSTILE) -> list[str]:
    """Tell of a message that was delivered after a failed try."""
    people = {"message": name, "recipients": [person]}
    target = f"mx:{person.rpartition('@')[2]}:25:dane"
    tried = {
        "message": name, "destination": target, "host": "mx.example.com", "address": "192.0.2.25", "port": 25,
        "demand": "dane", "audit_failure": "", "seconds": 0.094,
    }  # fmt: skip
    hosts = [{"host": "mx.example.com", "preference": 10, "demand": "dane", "tlsa": "secure", "records": ["3 1 1 ab"]}]
    tls = {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "matched": "3 1 1 ab"}
    return [
        line(at, "message.accepted", **people, sender="jurgen@example.org", size=900, source="smtp", peer="192.0.2.10",
             protocol="ESMTPS", message_id=f"<{name}@example.org>"),
        line(at + timedelta(seconds=1), "delivery.attempt", **tried, outcome="smtp.greeting", text="greeted with 421",
             reply=f"421 {reply}", security="none", tls={}),
        line(at + timedelta(seconds=2), "stage.verdict", **people, stage="deliver", verdict="defer", destination=target,
             code="smtp.greeting", status="4.3.2", text="no host took the mail", remote="mx.example.com", reply=reply,
             facts={"mx": "secure", "hosts": hosts}, seconds=1.0),
        line(at + timedelta(minutes=5), "delivery.attempt", **tried, outcome="session", text="", reply="",
             security="dane", tls=tls),
        line(at + timedelta(minutes=5, seconds=1), "stage.verdict", **people, stage="deliver", verdict="done",
             destination=target, code="smtp.delivered", status="2.0.0", text="the host took the mail",
             remote="mx.example.com", reply="250 2.0.0 ok", facts={}, seconds=0.5),
        line(at + timedelta(minutes=5, seconds=1), "message.done", message=name),
    ]  # fmt: skip


GONE_AT = datetime(2026, 11, 25, 20, 41, 20, tzinfo=UTC)


def write_log(site: Site, lines: list[str]) -> None:
    """Write lines before those that the console wrote itself."""
    after = site.log.read_text().splitlines() if site.log.exists() else []
    own = [one for one in after if '"role": "work"' not in one]
    site.log.write_text("\n".join([*lines, *own]) + "\n")
