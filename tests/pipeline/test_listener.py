"""The listener over real sockets: what it takes, what it refuses, and that 250 comes only after the message is kept."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.accept.channel import has_long_line
from pipeline.accept.door import StoreFull, StoreUnavailable, Submission, SubmissionError, prepare
from pipeline.accept.smtp import Listener, ListenerError, ListenerSettings
from stages.message import MessageId, Notify, Ret
from tests.delivery.certificates import authority, leaf


class Far:
    """The spine's side: keeps what is submitted, or fails as told."""

    def __init__(self) -> None:
        self.taken: list[Submission] = []
        self.failure: Exception | None = None

    async def submit(self, submission: Submission) -> MessageId:
        """Keep a submission."""
        prepare(submission, "listener.example", MessageId("ID"), datetime.now(UTC))
        if self.failure is not None:
            raise self.failure
        self.taken.append(submission)
        return MessageId(f"ID{len(self.taken)}")


class Client:
    """A client that sends exactly the octets it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read(self) -> str:
        """Read one reply; its last line, with those before it in front."""
        lines = []
        while True:
            line = (await self.reader.readline()).decode()
            lines.append(line.rstrip("\r\n"))
            if not line or line[3:4] != "-":
                return "\n".join(lines)

    async def say(self, octets: bytes) -> str:
        """Send and read one reply."""
        self.writer.write(octets)
        return await self.read()

    async def script(self, *commands: bytes) -> list[str]:
        """Send commands one by one, each with its CRLF."""
        return [await self.say(command + b"\r\n") for command in commands]


Connect = Callable[..., Awaitable[Client]]


@asynccontextmanager
async def _listening(far: Far, settings: ListenerSettings) -> AsyncIterator[Listener]:
    listener = Listener(settings, far.submit)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.close()


def _settings(**changes: object) -> ListenerSettings:
    return ListenerSettings(**{"port": 0, "hostname": "listener.example", **changes})  # type: ignore[arg-type]


async def _client(listener: Listener) -> Client:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    client = Client(reader, writer)
    assert (await client.read()).startswith("220 listener.example")
    return client


OPEN = (b"EHLO client.example", b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.com>")


async def _send(client: Client, content: bytes) -> str:
    await client.script(*OPEN)
    assert (await client.say(b"DATA\r\n")).startswith("354")
    return await client.say(content + b"\r\n.\r\n")


async def test_a_message_is_taken_octet_for_octet() -> None:
    """SUB-13, SUB-18, SUB-30 (RFC 5321 4.1.1.4, 4.5.2): dots are unstuffed, all else is kept, 250 names the id."""
    far = Far()
    async with _listening(far, _settings()) as listener:
        client = await _client(listener)
        assert await _send(client, b"Subject: x\r\n\r\n..dot\r\n\xe9\x00") == "250 2.0.0 queued as ID1"
    assert far.taken[0].content == b"Subject: x\r\n\r\n.dot\r\n\xe9\x00\r\n"
    assert str(far.taken[0].sender) == "a@example.org"
    assert far.taken[0].origin.protocol == "ESMTP"


async def test_extensions_are_offered() -> None:
    """SUB-11, SUB-26 (RFC 6409 7, RFC 6531 3.1): these and no others: SMTPUTF8 beside 8BITMIME, no AUTH, no CHUNKING."""
    async with _listening(Far(), _settings(max_size=1000)) as listener:
        client = await _client(listener)
        reply = await client.say(b"EHLO client.example\r\n")
    offered = {line[4:] for line in reply.split("\n")[1:]}
    assert offered == {"PIPELINING", "SIZE 1000", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"}


@pytest.mark.parametrize(
    "ending", [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r"], ids=repr
)
async def test_smuggled_ends_of_data_never_make_two_messages(ending: bytes) -> None:
    """SUB-16, SUB-17, SMTP-43 (RFC 5321 2.3.8, 4.1.1.4): what others take for the end of data is refused as a whole."""
    far = Far()
    async with _listening(far, _settings()) as listener:
        client = await _client(listener)
        inner = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nspoofed"
        reply = await _send(client, b"Subject: x\r\n\r\nbody" + ending + inner)
        assert reply.startswith("554 5.6.0 bare CR or LF")
        assert (await client.say(b"NOOP\r\n")).startswith("250")
    assert not far.taken


@pytest.mark.parametrize(
    ("commands", "wanted"),
    [
        ((b"MAIL FROM:<a@example.org>",), "503 5.5.1"),
        ((b"EHLO c.example", b"RCPT TO:<b@example.com>"), "503 5.5.1"),
        ((b"EHLO c.example", b"DATA"), "503 5.5.1"),
        ((b"EHLO c.example", b"MAIL FROM:<a@example.org>", b"DATA"), "554 5.5.1"),
        ((b"EHLO c.example", b"MAIL FROM:<a@example.org>", b"MAIL FROM:<a@example.org>"), "503 5.5.1"),
        ((b"EHLO",), "501 5.5.4"),
        ((b"HELO c.example",), "250 listener.example"),
        ((b"AUTH PLAIN AGEAYg==",), "500 5.5.1"),
        ((*OPEN, b"BDAT 5 LAST"), "500 5.5.1"),
        ((b"EHLO c.example", b"MAIL FROM:<a@example.org> REQUIRETLS"), "555 5.5.4"),
        ((b"EHLO c.example", b"MAIL FROM:<a@example.org> BODY=BINARYMIME"), "501 5.5.4"),
        ((b"EHLO c.example", b"MAIL FROM:<a@example.org> ENVID=" + b"e" * 101), "501 5.5.4"),
        ((b"EHLO c.example", b"MAIL FROM: a@example.org"), "501 5.5.4"),
        ((b"BOGUS",), "500 5.5.1"),
        ((b"NOOP\0x",), "500 5.5.2 null bytes"),
        ((b"NOOP\nMAIL FROM:<a@example.org>",), "500 5.5.2 bare CR or LF"),
        ((b"NOOP " + b"x" * 3000,), "500 5.5.2"),
        ((b"EHLO c.example", b"MAIL FROM:<a@@example.org>"), "501 5.1.3"),
        ((b"EHLO c.example", b"MAIL FROM:<a@host>"), "501 5.1.2"),
        ((b"EHLO c.example", b"MAIL FROM:<a@example.org> SIZE=99999999999"), "552 5.3.4"),
        ((b"EHLO c.example", b"MAIL FROM:<a@example.org> RET=ALL"), "501 5.5.4"),
        ((b"EHLO c.example", b"MAIL FROM:<a@example.org> RET=FULL RET=FULL"), "501 5.5.4"),
        ((b"EHLO c.example", b"MAIL FROM:<a@example.org> FOO=1"), "555 5.5.4"),
        ((b"EHLO c.example", "MAIL FROM:<é@example.org>".encode()), "553 5.6.7"),
        ((*OPEN[:2], b"RCPT TO:<b@example.com> NOTIFY=NEVER,DELAY"), "501 5.5.4"),
        ((*OPEN[:2], b"RCPT TO:<b@example.com> ORCPT=rfc822"), "501 5.5.4"),
        ((*OPEN[:2], b"RCPT TO:<b@example.com> ORCPT=rfc822;" + b"o" * 494), "501 5.5.4"),
        ((*OPEN[:2], b"RCPT TO:<b@example.com> NOTIFY=DELAY NOTIFY=DELAY"), "501 5.5.4"),
        ((*OPEN[:2], b"RCPT TO:<b@example.com> notify=success,Delay"), "250 2.1.5"),
        ((*OPEN[:2], b"RCPT TO:<>"), "501 5.1.3"),
        ((*OPEN[:2], b"RCPT TO:<b@host>"), "501 5.1.2"),
        ((*OPEN[:2], b"RCPT TO:<b@example.com"), "501 5.5.4"),
        ((*OPEN[:2], b"RCPT TO:<b@example.com>x"), "501 5.5.4"),
        ((*OPEN[:2], b"RCPT TO:<b\0@example.com>"), "500 5.5.2 null bytes"),
        ((b"STARTTLS",), "502 5.5.1"),
        ((b"VRFY x",), "252"),
        ((b"RSET",), "250"),
        ((b"HELP",), "214"),
        ((b"QUIT",), "221"),
    ],
)
async def test_each_command_has_its_reply(commands: tuple[bytes, ...], wanted: str) -> None:
    """DSN-08, SMTP-15, SUB-03, SUB-04, SUB-05, SUB-06, SUB-13, SUB-15, SUB-22, SUB-24, SUB-27: order, syntax, limits, by code."""
    async with _listening(Far(), _settings()) as listener:
        client = await _client(listener)
        assert (await client.script(*commands))[-1].startswith(wanted)


async def test_minimum_sizes_are_accepted() -> None:
    """SUB-20 (RFC 5321 4.5.3.1): 64-octet local part, 255-octet domain within a path, 998-octet line, 100 recipients."""
    far = Far()
    async with _listening(far, _settings()) as listener:
        client = await _client(listener)
        await client.script(b"EHLO c.example", b"MAIL FROM:<" + b"l" * 64 + b"@example.org>")
        for number in range(100):
            assert (await client.say(f"RCPT TO:<u{number}@example.com>\r\n".encode())).startswith("250")
        await client.say(b"DATA\r\n")
        assert (await client.say(b"x" * 998 + b"\r\n" + b"y\r\n" * 22000 + b".\r\n")).startswith("250")
    assert len(far.taken[0].recipients) == 100


async def test_limits_of_the_message() -> None:
    """SMTP-45, SUB-21, SUB-24, SUB-33 (RFC 5321 4.5.3.1, 6.3): recipients over the limit, size, long lines, loops; the session goes on."""
    far = Far()
    async with _listening(far, _settings(max_size=5000, max_recipients=2)) as listener:
        client = await _client(listener)
        await client.script(*OPEN, b"RCPT TO:<c@example.com>")
        assert (await client.say(b"RCPT TO:<d@example.com>\r\n")).startswith("452 4.5.3")
        await client.say(b"DATA\r\n")
        assert (await client.say(b"x\r\n" * 3000 + b".\r\n")).startswith("552 5.3.4")
        assert (await _send(client, b"x" * 999)).startswith("554 5.6.0 a line")
        assert (await _send(client, b"Received: x\r\n" * 51 + b"\r\nbody")).startswith("554 5.4.6")
        assert (await _send(client, b"Received: x\r\n" * 50 + b"\r\nbody")).startswith("250")
    assert len(far.taken) == 1


async def test_recipients_over_the_limit_do_not_cost_the_message() -> None:
    """SUB-21, SUB-38 (RFC 5321 4.5.3.1.10): the first hundred get the mail, however many more a client names at once."""
    far = Far()
    async with _listening(far, _settings(max_recipients=100)) as listener:
        client = await _client(listener)
        recipients = b"".join(b"RCPT TO:<u%d@example.com>\r\n" % number for number in range(150))
        client.writer.write(b"EHLO c.example\r\nMAIL FROM:<a@example.org>\r\n" + recipients + b"DATA\r\n")
        replies = [await client.read() for _ in range(153)]
        assert [reply[:9] for reply in replies[2:152]] == ["250 2.1.5"] * 100 + ["452 4.5.3"] * 50
        assert replies[152].startswith("354")
        assert (await client.say(b"x\r\n.\r\n")).startswith("250")
    assert len(far.taken[0].recipients) == 100


async def test_only_those_who_may_send_are_relayed_for() -> None:
    """SUB-01, SUB-32 (RFC 6409 4.3, RFC 5321 7.8): a client outside `allow` gets no further than EHLO."""
    far = Far()
    async with _listening(far, _settings(allow=())) as listener:
        client = await _client(listener)
        replies = await client.script(b"EHLO c.example", b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.com>")
    assert replies[1].startswith("530 5.7.0")
    assert replies[2].startswith("503")
    assert not far.taken


@pytest.mark.parametrize(
    ("failure", "wanted"),
    [
        (StoreUnavailable("away"), "451 4.3.0"),
        (StoreFull("full"), "452 4.3.1"),
        (SubmissionError("no", 554, "5.6.0"), "554 5.6.0"),
        (ZeroDivisionError(), "451 4.3.0"),
    ],
)
async def test_nothing_is_promised_that_is_not_kept(failure: Exception, wanted: str) -> None:
    """SUB-30, SUB-31, SMTP-50 (RFC 5321 4.2.5): Redis away is 451, full 452, a fault of ours 451."""
    far = Far()
    far.failure = failure
    async with _listening(far, _settings()) as listener:
        client = await _client(listener)
        assert (await _send(client, b"Subject: x\r\n\r\nx")).startswith(wanted)
        far.failure = None
        assert (await _send(client, b"Subject: x\r\n\r\nx")).startswith("250")


@pytest.mark.parametrize("before", [0, 1, 500, 996, 997, 998])
@pytest.mark.parametrize("after", [0, 1, 998])
def test_a_long_line_is_found_wherever_it_stands(before: int, after: int) -> None:
    """SUB-20 (RFC 5321 4.5.3.1.6): 998 octets are a line, 999 are too many, whatever the lines around have."""
    for length, wanted in ((998, False), (999, True), (1000, True), (3000, True)):
        lines = (b"a" * before, b"b" * length, b"c" * after)
        assert has_long_line(b"\r\n".join(lines)) is wanted
        assert has_long_line(b"\r\n".join((b"", *lines, b""))) is wanted


async def test_pipelined_commands_are_answered_in_order() -> None:
    """SUB-29 (RFC 2920 3.2): all commands in one write, replies in order, input never flushed."""
    far = Far()
    async with _listening(far, _settings()) as listener:
        client = await _client(listener)
        client.writer.write(b"\r\n".join((*OPEN, b"RCPT TO:<bad>", b"DATA")) + b"\r\n")
        assert [(await client.read())[:3] for _ in range(5)] == ["250", "250", "250", "501", "354"]
        assert (await client.say(b"x\r\n.\r\nQUIT\r\n")).startswith("250")
        assert (await client.read()).startswith("221")


async def test_a_client_that_talks_before_the_greeting_is_refused() -> None:
    """SUB-29 (RFC 5321 3.1, RFC 2920 3.1): commands that are there before the greeting are not run."""
    far = Far()
    async with _listening(far, _settings()) as listener:
        early = socket.create_connection(
            ("127.0.0.1", listener.port)
        )  # the kernel takes it: we have not come to it yet
        early.sendall(b"\r\n".join((*OPEN, b"DATA", b"x", b".", b"")))
        client = Client(*await asyncio.open_connection(sock=early))
        assert (await client.read()).startswith("554 5.5.0 you must wait for the greeting")
        assert await client.read() == ""
        client.writer.close()
    assert not far.taken


async def test_dsn_parameters_and_postmaster() -> None:
    """SUB-06, SUB-14, SUB-22, SUB-23 (RFC 3461 5, RFC 5321 4.5.1): kept as given; <postmaster> is that of this host."""
    far = Far()
    async with _listening(far, _settings()) as listener:
        client = await _client(listener)
        replies = await client.script(
            b"EHLO c.example",
            b"MAIL FROM:<> RET=HDRS ENVID=" + b"e" * 100,
            b"RCPT TO:<Postmaster>",
            b"RCPT TO:<@hop.example:b@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;" + b"o" * 493,
        )
        assert all(reply.startswith("250") for reply in replies)
        await client.say(b"DATA\r\n")
        await client.say(b"x\r\n.\r\n")
    (submission,) = far.taken
    assert (submission.sender, submission.ret, submission.envid) == (None, Ret.HDRS, "e" * 100)
    postmaster, other = submission.recipients
    assert postmaster.address.text == "Postmaster@listener.example"
    assert (other.address.text, other.notify) == ("b@example.com", frozenset({Notify.SUCCESS, Notify.DELAY}))


async def test_smtputf8_addresses() -> None:
    """SUB-26, SUB-27 (RFC 6531 3.2, 3.5): taken when asked for, with the domain in A-labels for routing."""
    far = Far()
    async with _listening(far, _settings()) as listener:
        client = await _client(listener)
        await client.script(b"EHLO c.example", "MAIL FROM:<é@example.org> SMTPUTF8".encode())
        assert (await client.say("RCPT TO:<ü@bücher.example>\r\n".encode())).startswith("250")
        await client.say(b"DATA\r\n")
        assert (await client.say(b"x\r\n.\r\n")).startswith("250")
    assert far.taken[0].recipients[0].address.domain == "xn--bcher-kva.example"
    assert far.taken[0].origin.protocol == "UTF8SMTP"


async def test_starttls_forgets_and_does_not_run_what_was_said_before() -> None:
    """SUB-28 (RFC 3207 4.2): the state is forgotten; clear-text commands behind STARTTLS end the session."""
    far, identity = Far(), leaf("listener.example").pem
    async with _listening(far, _settings(certificate=identity, key=identity)) as listener:
        client = await _client(listener)
        assert "STARTTLS" in await client.say(b"EHLO c.example\r\n")
        assert (await client.say(b"STARTTLS\r\n")).startswith("220")
        context = ssl.create_default_context(cafile=str(authority().pem))
        await client.writer.start_tls(context, server_hostname="listener.example")
        assert (await client.say(b"MAIL FROM:<a@example.org>\r\n")).startswith("503")
        reply = await client.say(b"EHLO c.example\r\n")
        assert "STARTTLS" not in reply
        assert (await _send(client, b"x")).startswith("250")
        assert far.taken[0].origin.protocol == "ESMTPS"
        injected = await _client(listener)
        await injected.say(b"EHLO c.example\r\n")
        assert (await injected.say(b"STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n")).startswith("501")
        assert await injected.read() == ""


async def test_a_certificate_that_is_missing_or_wrong_is_named(tmp_path: Path) -> None:
    """A missing or broken file stops the start with a sentence that names it."""
    with pytest.raises(ListenerError, match=r"none\.pem: there is no such file"):
        Listener(_settings(certificate=tmp_path / "none.pem", key=tmp_path / "none.pem"), Far().submit)
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with pytest.raises(ListenerError, match=r"broken\.pem .* are no certificate with its key"):
        Listener(_settings(certificate=broken, key=broken), Far().submit)


async def test_a_port_in_use_is_named() -> None:
    """The second listener on a port says which address it could not have."""
    async with _listening(Far(), _settings()) as listener:
        second = Listener(_settings(port=listener.port), Far().submit)
        with pytest.raises(ListenerError, match=rf"cannot listen on 127\.0\.0\.1:{listener.port}"):
            await second.start()


async def test_a_client_that_only_errs_is_sent_away() -> None:
    """SUB-38: after twenty errors the session ends with 421."""
    async with _listening(Far(), _settings()) as listener:
        client = await _client(listener)
        replies = [await client.say(b"X\r\n") for _ in range(20)]
        assert replies[-1].startswith("500")
        assert (await client.read()).startswith("421 4.7.0")


async def test_shutdown_tells_idle_clients_and_finishes_messages() -> None:
    """SUB-36 (RFC 5321 3.8): an idle client hears 421; one that waits for its 250 gets it first."""
    far = Far()
    listener = Listener(_settings(), far.submit)
    await listener.start()
    idle, busy = await _client(listener), await _client(listener)
    await busy.script(*OPEN)
    assert (await busy.say(b"DATA\r\n")).startswith("354")
    closing = asyncio.create_task(listener.close(grace=20))
    assert (await idle.read()).startswith("421 4.3.2")
    assert (await busy.say(b"x\r\n.\r\n")).startswith("250")
    assert (await busy.read()).startswith("421 4.3.2")
    await closing
    assert len(far.taken) == 1


async def test_a_silent_client_is_closed_with_421() -> None:
    """SUB-35, SUB-36 (RFC 5321 4.5.3.2.7): after the timeout, 421; the default is five minutes."""
    async with _listening(Far(), _settings(timeout=timedelta(milliseconds=100))) as listener:
        client = await _client(listener)
        assert (await client.read()).startswith("421 4.4.2")
    assert ListenerSettings().timeout >= timedelta(minutes=5)


async def test_a_message_of_100_mb_goes_through_when_the_limit_allows_it() -> None:
    """SUB-20, SUB-24: large mail is taken whole, and its size is what was sent."""
    far = Far()
    size = 100 * 1024**2
    async with _listening(far, _settings(max_size=size + 1024)) as listener:
        client = await _client(listener)
        await client.script(*OPEN)
        await client.say(b"DATA\r\n")
        line = b"x" * 70 + b"\r\n"
        for _ in range(size // (len(line) * 10000)):
            client.writer.write(line * 10000)
            await client.writer.drain()
        assert (await client.say(b".\r\n")).startswith("250")
    assert len(far.taken[0].content) == size // (72 * 10000) * 720_000
