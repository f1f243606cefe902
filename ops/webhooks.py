"""Webhooks: tell servers over HTTP what became of each recipient, beside the mail and never in its way.

`Teller` follows the stream of outcomes for one webhook. A request is signed with HMAC-SHA256 over the time and the
body, so that its receiver knows who sent it and that it is new. Only a 2xx says that it was taken; anything else, or no
answer in time, is tried again after a pause that doubles up to five minutes. After `give_up` in vain it is put aside,
and so are those after it that fail, until one is taken. Outcomes come in order, and at least once. Redirections are not
followed. Raises `StoreUnavailable`.
"""

import asyncio
import contextlib
import hashlib
import hmac
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson

from pipeline import log
from pipeline.store.outcomes import Aside, Outcome, OutcomeStore, Told
from pipeline.tables import Webhook
from stages.message import State, message_of

IDLE = 1.0  # seconds between two looks when there is nothing to tell
HELD = 20.0  # seconds after which a process that waits says that it is still its turn
FIRST, LONGEST = 1.0, 300.0  # seconds of the pauses between tries
ANSWER = 1 << 16  # octets of a line of an answer
_KINDS = {
    State.DELIVERED: "delivered", State.RELAYED: "delivered", State.FAILED: "failed", State.DEFERRED: "deferred",
    State.DROPPED: "dropped",
}  # fmt: skip


def row_of(outcome: Outcome) -> dict[str, Any]:
    """Give an outcome as a webhook is told of it."""
    recipient, reason = outcome.recipient, outcome.recipient.reason
    return {
        "id": outcome.place,
        "event": _KINDS[recipient.state],
        "message": message_of(recipient.id),
        "recipient_id": recipient.id,
        "recipient": str(recipient.address),
        "state": str(recipient.state),
        "copy_rule": recipient.copy_rule,
        "at": datetime_of(outcome.place),
        "attempts": recipient.attempts,
        "next_attempt": recipient.next_attempt.isoformat(timespec="seconds") if recipient.next_attempt else None,
        "code": reason.code if reason else "",
        "status": reason.status if reason else "",
        "reason": reason.text if reason else "",
        "remote": reason.remote if reason else "",
        "reply": reason.reply if reason else "",
    }


def datetime_of(place: str) -> str:
    """Give the time of an outcome from its place in the stream, which begins with the millisecond."""
    moment = timedelta(milliseconds=int(place.partition("-")[0]))
    return (datetime.fromisoformat("1970-01-01T00:00:00+00:00") + moment).isoformat(timespec="milliseconds")


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Sign a request: the time in seconds, a dot, and the body."""
    return "sha256=" + hmac.new(secret.encode(), b"%d.%s" % (timestamp, body), hashlib.sha256).hexdigest()


def shown(url: str) -> str:
    """Give an address without what may be secret in it."""
    parts = urlsplit(url)
    return parts._replace(query="", fragment="").geturl()


async def post(webhook: Webhook, body: bytes, now: datetime) -> str:
    """Post a body. Returns what went wrong; empty if it was taken."""
    timestamp = int(now.timestamp())
    parts = urlsplit(webhook.url)
    secure = parts.scheme == "https"
    target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    head = (
        f"POST {target if target.startswith('/') else '/' + target} HTTP/1.1\r\n"
        f"Host: {parts.netloc}\r\n"
        "User-Agent: danepipe\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Danepipe-Timestamp: {timestamp}\r\n"
        f"Danepipe-Signature: {signature(webhook.secret.get_secret_value(), timestamp, body)}\r\n"
        "Connection: close\r\n\r\n"
    ).encode()
    try:
        async with asyncio.timeout(webhook.timeout.total_seconds()):
            reader, writer = await asyncio.open_connection(
                parts.hostname, parts.port or (443 if secure else 80), limit=ANSWER,
                ssl=ssl.create_default_context() if secure else None,
            )  # fmt: skip
            try:
                writer.write(head + body)
                await writer.drain()
                line = await reader.readline()
            finally:
                writer.transport.abort()
    except TimeoutError:
        return "no answer in time"
    except (OSError, ValueError) as error:  # SSLError is an OSError; a line without an end is a ValueError
        return str(error) or type(error).__name__
    words = line.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        return "the answer was no HTTP"
    return "" if words[1].startswith(b"2") else f"the answer was {words[1].decode()}"


class Teller:
    """Tells one webhook of outcomes, from `run` until `ends` is set."""

    def __init__(self, webhook: Webhook, store: OutcomeStore, process: str, now: Callable[[], datetime]) -> None:
        self._webhook = webhook
        self._store = store
        self._process = process
        self._now = now
        self._pause = FIRST

    async def run(self, ends: asyncio.Event) -> None:
        """Tell, as long as it is this process's turn."""
        name = self._webhook.name
        while not ends.is_set():
            wait = await self._step() if await self._store.take_turn(name, self._process) else IDLE
            while wait > 0 and not ends.is_set():
                await _rest(ends, min(wait, HELD))
                wait -= HELD
                if wait > 0 and not await self._store.take_turn(name, self._process):
                    break
        await self._store.leave(name)

    async def _step(self) -> float:
        """Tell of some outcomes; returns the seconds until the next step."""
        webhook, told = self._webhook, await self._store.told(self._webhook.name)
        found = await self._store.after(told.place, webhook.batch)
        if not found:
            return IDLE
        if told.number and found[0].number > told.number + 1:
            missed = found[0].number - told.number - 1
            log.emit("webhook.missed", level="error", url=shown(webhook.url), count=missed)
            told = replace(told, number=found[0].number - 1)
        rows = [row for row in map(row_of, found) if row["event"] in webhook.events]
        failing = told.failing
        if rows:
            now = self._now()
            body = orjson.dumps({"outcomes": rows})
            error = await post(webhook, body, now)
            failing = (told.failing or now) if error else None
            if failing is not None and now - failing < webhook.give_up:
                return await self._later(replace(told, failing=failing), len(rows), error)
            if failing is not None:
                log.emit("webhook.failed", level="error", url=shown(webhook.url), count=len(rows), error=error)
                await self._store.put_aside(Aside(webhook.url, body.decode(), error, now))
        await self._store.tell(webhook.name, Told(found[-1].place, found[-1].number, failing))
        self._pause = FIRST
        return 0.0

    async def _later(self, told: Told, count: int, error: str) -> float:
        """Keep that it failed; returns the seconds to wait."""
        wait, self._pause = self._pause, min(self._pause * 2, LONGEST)
        await self._store.tell(self._webhook.name, told)
        url = shown(self._webhook.url)
        log.emit("webhook.deferred", level="warning", url=url, count=count, wait=wait, error=error)
        return wait


async def _rest(ends: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ends.wait()
