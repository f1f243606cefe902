"""What a listener has to bear: odd paths and contents, clients that stall or go, a Redis that is away, full or hangs."""

import asyncio
import inspect
import os
import select
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.accept.door import Submission, prepare
from pipeline.accept.smtp import Listener, ListenerSettings
from pipeline.config import load
from pipeline.embedded import EmbeddedRedis
from pipeline.spine import Spine, new_id
from pipeline.store.connection import connect
from pipeline.store.ledger import Ledger
from stages.message import Message, MessageId
from tests.pipeline.test_listener import OPEN, Client, Far, _client, _listening, _send, _settings

MAIL = b"Subject: x\r\n\r\nx"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"@a.example,@b.example:u@d.example", "u@d.example"),
        (b"@[IPv6:2001:db8::2]:u@d.example", "u@d.example"),
        (b"u@[IPv6:2001:db8::1]", "u@[IPv6:2001:db8::1]"),
        (b'"a@b:c"@d.example', '"a@b:c"@d.example'),
    ],
)
async def test_a_source_route_is_dropped_and_nothing_else(path: bytes, text: str) -> None:
    """DSN-52, SUB-05 (RFC 5321 4.1.1.3, appendix C): of a route the last hop stays; colons elsewhere are no route."""
    far = Far()
    async with _listening(far, _settings()) as listener:
        client = await _client(listener)
        commands = (b"EHLO c.example", b"MAIL FROM:<" + path + b">", b"RCPT TO:<" + path + b">", b"DATA")
        assert [reply[:3] for reply in await client.script(*commands)] == ["250", "250", "250", "354"]
        assert (await client.say(MAIL + b"\r\n.\r\n")).startswith("250")
    (submission,) = far.taken
    assert (str(submission.sender), str(submission.recipients[0].address)) == (text, text)


async def test_what_is_relayed_is_not_mended() -> None:
    """SUB-08, SMTP-44, SMTP-46 (RFC 5321 6.4, 4.4): a relay adds no Date and no Message-ID, and takes out no Return-Path."""
    far = Far()
    content = b"Return-Path: <old@example.org>\r\nSubject: neither date nor id\r\n\r\nx\r\n"
    async with _listening(far, _settings()) as listener:
        await _send(await _client(listener), content.removesuffix(b"\r\n"))
    assert far.taken[0].content == content


async def test_an_empty_message_is_a_message() -> None:
    """SUB-13 (RFC 5321 4.1.1.4): nothing between DATA and the dot is mail all the same, and gets its trace field."""
    far = Far()
    async with _listening(far, _settings()) as listener:
        client = await _client(listener)
        await client.script(*OPEN, b"DATA")
        assert (await client.say(b".\r\n")).startswith("250")
    assert far.taken[0].content == b""


async def test_100_mb_by_default_are_read_to_their_end_and_refused() -> None:
    """SUB-24 (RFC 1870 6.3): a client that says no SIZE hears 552 at its dot, and the session is good for other mail."""
    far = Far()
    async with _listening(far, _settings()) as listener:
        client = await _client(listener)
        await client.script(*OPEN, b"DATA")
        block = (b"x" * 998 + b"\r\n") * 1024
        for _ in range(100 * 1024**2 // len(block) + 1):
            client.writer.write(block)
            await client.writer.drain()
        assert (await client.say(b".\r\n")).startswith("552 5.3.4")
        assert (await _send(client, MAIL)).startswith("250")
    assert [submission.content for submission in far.taken] == [MAIL + b"\r\n"]


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_client_that_goes_within_data_leaves_nothing(how: str) -> None:
    """SUB-30 (RFC 5321 4.1.1.4): without CRLF.CRLF there is no message, however the connection ended."""
    far = Far()
    async with _listening(far, _settings()) as listener:
        client = await _client(listener)
        await client.script(*OPEN, b"DATA")
        client.writer.write(MAIL + b"\r\n.")
        await client.writer.drain()
        if how == "end":
            client.writer.write_eof()
            assert await client.reader.read() == b""
        else:
            client.writer.transport.abort()
        assert (await _send(await _client(listener), MAIL)).startswith("250")
    assert len(far.taken) == 1


async def test_a_client_that_stalls_within_data_is_sent_away() -> None:
    """SUB-35, SUB-36 (RFC 5321 4.5.3.2.7): silence in the middle of a message ends in 421, and nothing is kept."""
    far = Far()
    async with _listening(far, _settings(timeout=timedelta(milliseconds=200))) as listener:
        client = await _client(listener)
        await client.script(*OPEN, b"DATA")
        assert (await client.say(MAIL)).startswith("421 4.4.2")
        assert await client.read() == ""
    assert not far.taken


async def test_a_client_that_reads_no_replies_is_dropped() -> None:
    """SUB-35, SUB-38: who sends commands and never reads is cut off after the timeout, and holds no place for ever."""
    async with _listening(Far(), _settings(timeout=timedelta(milliseconds=200))) as listener:
        deaf = socket.create_connection(("127.0.0.1", listener.port))
        await asyncio.to_thread(deaf.recv, 100)

        def talk() -> int:
            try:
                deaf.sendall(b"HELP\r\n" * 400_000)
            except OSError:
                return select.POLLERR
            poller = select.poll()
            poller.register(deaf, 0)  # hears of the end of the connection alone
            return poller.poll(20_000)[0][1]

        assert await asyncio.to_thread(talk)
        deaf.close()


async def test_connections_over_the_limit_are_turned_away() -> None:
    """SUB-38 (RFC 5321 3.8): one client too many hears 421, and its place is free again when another goes."""
    async with _listening(Far(), _settings(max_connections=1)) as listener:
        first = await _client(listener)
        second = Client(*await asyncio.open_connection("127.0.0.1", listener.port))
        assert (await second.read()).startswith("421 4.3.2")
        assert (await first.say(b"QUIT\r\n")).startswith("221")
        assert await first.read() == ""
        await _client(listener)


async def test_a_thousand_recipients_of_one_message() -> None:
    """SUB-20, SUB-21 (RFC 5321 4.5.3.1.8, 4.5.3.1.10): 1000 are taken by default, the next one hears 452."""
    far = Far()
    async with _listening(far, _settings()) as listener:
        client = await _client(listener)
        recipients = b"".join(b"RCPT TO:<u%d@example.com>\r\n" % number for number in range(1001))
        client.writer.write(b"\r\n".join(OPEN[:2]) + b"\r\n" + recipients + b"DATA\r\n")
        replies = [await client.read() for _ in range(1004)]
        assert replies[-2].startswith("452 4.5.3")
        assert (await client.say(MAIL + b"\r\n.\r\n")).startswith("250")
    assert len(far.taken[0].recipients) == 1000


# A real Redis


@asynccontextmanager
async def _on_redis(directory: Path) -> AsyncIterator[tuple[EmbeddedRedis, Spine, Client]]:
    redis = EmbeddedRedis(directory)
    await redis.start()

    async def nudge(_names: object) -> None:
        """Nobody works here."""

    config = directory / "danepipe.toml"
    config.write_text(f'hostname = "listener.example"\n[redis]\nurl = "{redis.url}"\n')
    try:
        async with Spine.open(load(config, {}), nudge) as spine:
            listener = Listener(_settings(), spine.submit)
            await listener.start()
            yield redis, spine, await _client(listener)
            await listener.close()
    finally:
        await redis.stop()


async def _kept(spine: Spine) -> list[bytes]:
    page, _ = await spine.ledger.page()
    return [await spine.ledger.content(stored.message) for stored in page]


async def test_redis_dies_in_the_middle_of_a_message(tmp_path: Path) -> None:
    """SUB-30, SMTP-50 (RFC 5321 4.2.5): 451 while Redis is away, 250 when it is back, and what had 250 is still there."""
    async with _on_redis(tmp_path) as (redis, spine, client):
        assert (await _send(client, b"Subject: before\r\n\r\nx")).startswith("250")
        await client.script(*OPEN, b"DATA")
        os.kill(redis.pid, signal.SIGKILL)
        assert (await client.say(b"Subject: away\r\n\r\nx\r\n.\r\n")).startswith("451 4.3.0")
        assert (await _send(client, b"Subject: still away\r\n\r\nx")).startswith("451 4.3.0")
        await redis.start()
        assert (await _send(client, b"Subject: after\r\n\r\nx")).startswith("250")
        subjects = sorted(content.split(b"Subject: ")[1].split(b"\r\n")[0] for content in await _kept(spine))
    assert subjects == [b"after", b"before"]


async def test_redis_fills_up_in_the_middle_of_a_session(tmp_path: Path) -> None:
    """SUB-31 (RFC 5321 4.2.5): 452 while Redis takes no more, nothing half kept, 250 once there is room again."""
    async with _on_redis(tmp_path) as (_, spine, client):
        assert (await _send(client, b"Subject: before\r\n\r\nx")).startswith("250")
        used = (await spine.redis.info("memory"))["used_memory"]
        await spine.redis.config_set("maxmemory", used // 2)
        assert (await _send(client, b"Subject: full\r\n\r\nx")).startswith("452 4.3.1")
        assert len(await _kept(spine)) == 1
        await spine.redis.config_set("maxmemory", 0)
        async with asyncio.timeout(10):  # the door looks four times a second
            while (reply := await _send(client, b"Subject: after\r\n\r\nx")).startswith("452 4.3.1"):
                continue
        assert reply.startswith("250")
        assert len(await _kept(spine)) == 2


async def test_a_redis_that_hangs_is_answered_for_in_time(tmp_path: Path) -> None:
    """SUB-10, SUB-30 (RFC 6409 5.3): a server that answers nothing is 451 after a timer, well within two minutes."""
    redis = EmbeddedRedis(tmp_path)
    await redis.start()
    client = connect(redis.url, timeout=0.2)

    async def submit(submission: Submission) -> MessageId:
        envelope, recipients, content = prepare(submission, "listener.example", new_id(), datetime.now(UTC))
        await Ledger(client).accept(Message(new_id(), envelope, recipients), content)
        return new_id()

    listener = Listener(ListenerSettings(port=0, hostname="listener.example"), submit)
    await listener.start()
    try:
        os.kill(redis.pid, signal.SIGSTOP)
        assert (await _send(await _client(listener), MAIL)).startswith("451 4.3.0")
    finally:
        os.kill(redis.pid, signal.SIGCONT)
        await listener.close()
        await client.aclose()
        await redis.stop()
    assert inspect.signature(connect).parameters["timeout"].default * 4 < 120
