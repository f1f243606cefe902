"""Webhooks with a real server that is told, on a real Redis: signed, in order, again after a failure, and put aside."""

import asyncio
import hashlib
import hmac
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from ops.webhooks import Teller, post
from pipeline.store.changes import Changes
from pipeline.store.ledger import Ledger
from pipeline.store.outcomes import Aside, OutcomeStore
from pipeline.tables import Webhook
from stages.message import State
from stages.reason import Reason
from tests.needs import free_port
from tests.ops.conftest import Run
from tests.ops.manual_pages import SCHEMA
from tests.ops.test_api import environ_of
from tests.ops.test_cli_up import until
from tests.pipeline.test_ledger import LEASE, message

SECRET = "sixteen characters"


class Far:
    """A server that is told: keeps each request, and answers with the next of its statuses (204 at the end)."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.silent = False
        self.port = 0

    @property
    def told(self) -> list[dict[str, Any]]:
        """Give all outcomes of all requests that were answered."""
        return [row for _, body in self.requests for row in json.loads(body)["outcomes"]]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        if self.silent:
            await reader.read()
        else:
            self.requests.append((headers, body))
            status = self.statuses.pop(0) if self.statuses else 204
            writer.write(f"HTTP/1.1 {status} x\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Far]:
    """Run such a server."""
    far = Far()
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    far.port = server.sockets[0].getsockname()[1]
    async with server:
        yield far


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    """Give a server that is told."""
    async with listening() as one:
        yield one


def webhook(far: Far, **changes: object) -> Webhook:
    """Make the settings of a webhook to it."""
    return Webhook(**{"url": f"http://127.0.0.1:{far.port}/mail?key=hidden", "secret": SECRET, **changes})


async def settle(ledger: Ledger, name: str, state: State) -> bool:
    """Accept a message, and let a worker commit what became of it; tells whether the commit was taken."""
    await ledger.accept(message(name, 1), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    (recipient,) = message(name, 1).recipients
    reason = Reason("deliver", "smtp.rcpt_refused", "5.1.1", "no", {}, reply="550 \x1b[2J<b>")
    changes = Changes(settled=1)
    changes.put(replace(recipient, state=state, attempts=1, reason=reason))
    return await ledger.commit("t", f"{name}/0", changes) is not None


@asynccontextmanager
async def telling(teller: Teller) -> AsyncIterator[None]:
    """Let it tell for the while."""
    ends = asyncio.Event()
    running = asyncio.create_task(teller.run(ends))
    try:
        yield
    finally:
        ends.set()
        await running


def now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


async def test_nothing_is_kept_where_nobody_is_told(redis: Redis) -> None:
    """Without a webhook a commit writes no outcome; with one it does, and with a lost lease or a held message it does not."""
    assert await settle(Ledger(redis), "M1", State.DELIVERED)
    assert not await redis.exists("dp:outcomes")
    ledger = Ledger(redis, outcomes=10)
    assert await settle(ledger, "M2", State.DELIVERED)
    changes = Changes()
    changes.put(replace(message("M2", 1).recipients[0], state=State.FAILED))
    assert await ledger.commit("t", "M2/0", changes) is None
    await settle(ledger, "M3", State.HELD)
    (found,) = await OutcomeStore(redis).after("0-0", 10)
    assert (found.recipient.id, found.recipient.state, found.number) == ("M2/0", State.DELIVERED, 1)


async def test_outcomes_are_told_signed_and_in_order(redis: Redis, far: Far) -> None:
    """Each outcome that is asked for comes once, with its reply as text, in a request whose signature holds (HMAC-SHA256)."""
    ledger, store = Ledger(redis, outcomes=100), OutcomeStore(redis)
    for number, state in enumerate((State.DELIVERED, State.DEFERRED, State.RELAYED, State.FAILED)):
        await settle(ledger, f"M{number}", state)
    async with telling(Teller(webhook(far, batch=2, events=["delivered", "failed"]), store, "p", now)):
        await until(lambda: len(far.told) == 3)
    assert [(row["message"], row["event"], row["state"]) for row in far.told] == [
        ("M0", "delivered", "delivered"), ("M2", "delivered", "relayed"), ("M3", "failed", "failed"),
    ]  # fmt: skip
    assert far.told[2]["reply"] == "550 \x1b[2J<b>"
    assert len(far.requests) == 2
    for headers, body in far.requests:
        signed = headers["danepipe-timestamp"].encode() + b"." + body
        assert (
            headers["danepipe-signature"] == "sha256=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        )
        assert abs(int(headers["danepipe-timestamp"]) - now().timestamp()) < 60
        assert SECRET not in str(headers)


async def test_one_process_tells(redis: Redis, far: Far) -> None:
    """Of two processes one has its turn; when it ends, the other goes on after what was told."""
    ledger, store = Ledger(redis, outcomes=100), OutcomeStore(redis)
    await settle(ledger, "M1", State.DELIVERED)
    one, other = (Teller(webhook(far), store, name, now) for name in ("one", "other"))
    async with telling(other):
        async with telling(one):
            await until(lambda: len(far.told) == 1)
        await settle(ledger, "M2", State.DELIVERED)
        await until(lambda: len(far.told) == 2)
    assert [row["message"] for row in far.told] == ["M1", "M2"]


@pytest.mark.parametrize("status", [500, 404, 302, 100])
async def test_what_is_not_taken_is_told_again(redis: Redis, far: Far, status: int) -> None:
    """Only a 2xx says that it was taken: after anything else, a redirection too, the same is told again after a pause."""
    await settle(Ledger(redis, outcomes=100), "M1", State.DELIVERED)
    far.statuses = [status]
    async with telling(Teller(webhook(far), OutcomeStore(redis), "p", now)):
        await until(lambda: len(far.requests) == 2)
    assert far.requests[0][1] == far.requests[1][1]


async def test_servers_that_are_none(far: Far) -> None:
    """A server that never answers, one that is away, one without TLS, and one that speaks no HTTP are told of as such."""
    far.silent = True
    assert await post(webhook(far, timeout="100ms"), b"{}", now()) == "no answer in time"
    assert await post(webhook(far, url=f"http://127.0.0.1:{free_port()}/"), b"{}", now())
    assert await post(webhook(far, url=f"https://127.0.0.1:{far.port}/", timeout="500ms"), b"{}", now())

    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 200_000)
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await post(webhook(far, url=f"http://127.0.0.1:{port}/"), b"{}", now())


async def test_what_fell_out_of_the_stream_is_counted(
    redis: Redis, far: Far, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stream is bounded, as nothing may wait for a webhook: how many were missed is an event, and the rest is told."""
    ledger, store = Ledger(redis, outcomes=100), OutcomeStore(redis)
    await settle(ledger, "M0", State.DELIVERED)
    async with telling(Teller(webhook(far), store, "p", now)):
        await until(lambda: len(far.told) == 1)
    for number in range(1, 6):
        await settle(ledger, f"M{number}", State.DELIVERED)
    await redis.xtrim("dp:outcomes", maxlen=2, approximate=False)
    async with telling(Teller(webhook(far), store, "p", now)):
        await until(lambda: len(far.told) == 3)
    assert [row["message"] for row in far.told] == ["M0", "M4", "M5"]
    assert [one.number async for one in _each(store)] == [5, 6]


async def _each(store: OutcomeStore) -> AsyncIterator[Any]:
    for one in await store.after("0-0", 10):
        yield one


def test_what_was_put_aside_is_listed_and_told_again(kept: Run, redis_url: str) -> None:
    """After `give_up` in vain a request is put aside, for `webhooks failed` to show and `retry` to tell once more."""

    async def work() -> tuple[list[Any], list[tuple[int, str, str]]]:
        redis = Redis.from_url(redis_url)
        async with listening() as far:
            hook = webhook(far, give_up="0s")
            await settle(Ledger(redis, outcomes=100), "M1", State.FAILED)
            far.statuses = [500]
            store = OutcomeStore(redis)
            async with telling(Teller(hook, store, "p", now)):
                while not [one async for one in store.aside()]:  # noqa: ASYNC110 - another task puts it there
                    await asyncio.sleep(0.02)
            environ = {"WEBHOOK": f'[{{url = "{hook.url}", secret = "{SECRET}"}}]'}
            said = []
            for arguments in (
                ("failed",),
                ("failed", "--json"),
                ("retry",),
                ("retry", "9-9"),
                ("retry", "--all"),
                ("failed",),
            ):
                result = await asyncio.to_thread(kept, "webhooks", *arguments, **environ)
                said.append((result.exit_code, result.stdout, result.stderr))
            await redis.aclose()
            return far.told, said

    told, said = asyncio.run(work())
    assert [row["message"] for row in told] == ["M1", "M1"]
    assert "/mail: 1 outcomes, the answer was 500" in said[0][1]
    assert "hidden" not in said[0][1] + said[1][1]
    assert json.loads(said[1][1])["outcomes"][0]["message"] == "M1"
    assert said[2][0] == 2
    assert said[3][0] == 1
    assert said[4][0] == 0
    assert said[4][1].endswith(": told\n")
    assert said[5] == (0, "", "")


def test_many_that_were_put_aside_are_all_listed(kept: Run, redis_url: str) -> None:
    """The list goes on past a page."""

    async def fill() -> list[str]:
        redis = Redis.from_url(redis_url)
        store = OutcomeStore(redis)
        for number in range(250):
            await store.put_aside(Aside("http://x.example/", "{}", str(number), now()))
        found = [one.why async for _, one in store.aside()]
        await redis.aclose()
        return found

    assert asyncio.run(fill()) == [str(number) for number in range(250)]


async def test_the_command_tells_until_it_is_ended(redis_url: str, redis: Redis, far: Far, tmp_path: Path) -> None:
    """`danepipe webhooks run` is a process of its own that ends when asked; its events are documented, and hide the secret."""
    await settle(Ledger(redis, outcomes=100), "M1", State.DELIVERED)
    far.statuses = [503]
    log = tmp_path / "log.jsonl"
    hook = f'[{{url = "http://127.0.0.1:{far.port}/mail?key=hidden", secret = "{SECRET}"}}]'
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops.cli", "webhooks", "run", env=environ_of(0, log, redis_url, WEBHOOK=hook),
        cwd=tmp_path, stdin=PIPE,
    )  # fmt: skip
    try:
        await until(lambda: len(far.requests) == 2)
    finally:
        process.terminate()
        assert await process.wait() == 0
    events = [json.loads(line) for line in log.read_text().splitlines()]
    check = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert [error.message for event in events for error in check.iter_errors(event)] == []
    assert [event["error"] for event in events if event["event"] == "webhook.deferred"] == ["the answer was 503"]
    assert SECRET not in log.read_text()
    assert "hidden" not in log.read_text()


@pytest.mark.parametrize("url", ["ftp://x.example/", "https://u:p@x.example/", "https:///x", "https://x.example/ HTTP/1.1", "https://x.example/\r\nX: y", "https://bücher.example/"])  # fmt: skip
def test_addresses_that_are_none(kept: Run, url: str) -> None:
    """A webhook's address has a host, no password, and nothing that would be another line of the request."""
    with pytest.raises(ValueError, match="url"):
        Webhook(url=url, secret=SecretStr(SECRET))
    environ = {"WEBHOOK": f'[{{url = "https://x.example", secret = "{SECRET}"}}]', "DNS__SERVERS": "127.0.0.1@1"}
    shown = kept("config", "show", **environ)
    assert shown.exit_code == 0
    assert "https://x.example" in shown.stdout
    assert SECRET not in shown.stdout
