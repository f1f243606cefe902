"""A transaction as one group of commands (RFC 2920): what goes out in which piece, and what each set of replies comes to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from delivery.session import Session
from stages.attempt import Transaction
from stages.message import Message
from stages.plan import Trouble
from tests.delivery.certificates import leaf
from tests.delivery.mailhost import DROP, EHLO, SILENCE, MailHost, Script, mailhost
from tests.delivery.test_session import BODY, CLEAR, NAME, QUICK, dane, opened, sent
from tests.stages.make import message, recipient

OFFER = f"{EHLO}\n250-PIPELINING"
THREE = message("a@example.com", "b@example.com", "c@example.com")
SAID = b"250-mail.test\r\n250 PIPELINING\r\n"
GROUP = b"MAIL FROM:<sender@here.example>\r\nRCPT TO:<user@example.com>\r\nDATA\r\n"


@dataclass
class Pieces:
    """A server that counts in pieces: `heard` are the octets as each read gave them, and each gets the next of `says`."""

    says: Sequence[Sequence[bytes]]
    heard: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Greet, and answer each piece with some pieces, every one of them sent by itself."""
        writer.write(b"220 mail.test\r\n")
        for said in self.says:
            self.heard.append(await reader.read(1 << 20))
            for piece in said:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)  # the client reads this piece before the next is there
        writer.close()


@asynccontextmanager
async def served(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Session]:
    """Run a server and open a session with it."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        session, attempt = await opened(MailHost("127.0.0.1", server.sockets[0].getsockname()[1], Script()))
        assert session is not None, attempt
        yield session
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def pieces(*says: Sequence[bytes]) -> AsyncIterator[tuple[Pieces, Session]]:
    """Run a server that counts in pieces, and open a session with it."""
    made = Pieces(says)
    async with served(made.serve) as session:
        yield made, session


async def grouped(
    mail: Message = THREE, content: bytes = BODY, **script: object
) -> tuple[Transaction, Session, MailHost]:
    """Send one message to a host that offers PIPELINING, and say QUIT."""
    return await sent(replace(Script(starttls=False, ehlo=OFFER), **script), mail, content)  # type: ignore[arg-type]


def octet_by_octet(said: bytes) -> list[bytes]:
    """Cut into single octets."""
    return [said[at : at + 1] for at in range(len(said))]


# On the wire


@pytest.mark.parametrize(
    "replies",
    [
        [b"250 2.1.0 a\r\n250 2.1.5 b\r\n354 go\r\n"],
        [b"250 2.1.0 a\r\n", b"250 2.1.5 b\r\n", b"354 go\r\n"],
        [b"250 2.1.0 a\r\n250 2.", b"1.5 b\r", b"\n354 go\r\n"],
        [b"250-2.1.0 a\r\n250 2.1.0\r\n250-2.1.5 b\r\n", b"250 2.1.5\r\n354 go\r\n"],
        octet_by_octet(b"250 2.1.0 a\r\n250 2.1.5 b\r\n354 go\r\n"),
    ],
    ids=["together", "one by one", "split within a line", "split within a reply", "octet by octet"],
)
async def test_a_group_is_one_piece_and_its_replies_come_as_they_like(replies: list[bytes]) -> None:
    """EXT-13, EXT-14 (RFC 2920 3.1): MAIL, RCPT and DATA leave in one write, the content in the next, after 354."""
    async with pieces([SAID], replies, [b"250 2.0.0 kept\r\n"], [b"221 bye\r\n"]) as (server, session):
        transaction = await session.transact(message("user@example.com"), BODY)
        await session.quit()
    assert server.heard == [b"EHLO out.here.example\r\n", GROUP, BODY + b".\r\n", b"QUIT\r\n"]
    assert transaction.mail is not None
    assert transaction.data is not None
    (reply,) = transaction.recipients.values()
    heard = (transaction.mail, reply, transaction.data)
    assert [(one.code, one.enhanced, one.command) for one in heard] == [
        (250, "2.1.0", "MAIL"), (250, "2.1.5", "RCPT"), (250, "2.0.0", "."),
    ]  # fmt: skip


async def test_messages_follow_each_other_in_groups() -> None:
    """EXT-13 (RFC 2920 3.1): two messages over one connection take two round trips each, and no RSET between them."""
    replies = [b"250 a\r\n250 b\r\n354 go\r\n"]
    dot = [b"250 kept\r\n"]
    async with pieces([SAID], replies, dot, replies, dot, [b"221 bye\r\n"]) as (server, session):
        for _ in range(2):
            await session.transact(message("user@example.com"), BODY)
        await session.quit()
    assert server.heard[1:5] == [GROUP, BODY + b".\r\n"] * 2


async def test_pipelining_counts_only_where_the_last_ehlo_offers_it() -> None:
    """EXT-01, TLS-04 (RFC 3207 4.2): offered in the clear and not inside TLS, it is not used."""
    script = Script(context=leaf(NAME).server(), ehlo=OFFER, ehlo_tls=EHLO, replies={"MAIL": "550 no"})
    _, _, host = await sent(script, demand=dane())
    assert not host.seen[0].commands("RCPT")


@pytest.mark.parametrize("demand", [CLEAR, dane()], ids=["clear", "tls"])
async def test_a_very_large_group_blocks_nobody(demand: object) -> None:
    """EXT-16 (RFC 2920 3.1): 10,000 RCPT, to a server that stops reading while its own replies are not read."""
    mail = message(*(recipient(f"u{number}@example.com", number) for number in range(10_000)))
    context = None if demand is CLEAR else leaf(NAME).server()
    script = Script(ehlo=OFFER, context=context, replies={"RCPT": f"250 {'x' * 400}"})
    transaction, _, host = await sent(script, mail, demand=demand)  # type: ignore[arg-type]
    assert len(transaction.recipients) == 10_000
    assert transaction.data is not None
    assert len(host.seen[0].contents) == 1


# What the replies come to


@pytest.mark.parametrize(
    "script",
    [
        Script(),
        Script(replies={"RCPT TO:<b@": "450 4.2.1 later", "RCPT TO:<c@": "550-5.1.1 no\n550 5.1.1 one"}),
        Script(replies={"RCPT": "550 no", "DATA": "554 5.5.1 nobody"}),
        Script(replies={"MAIL": "550 5.7.1 no", "RCPT": "503 MAIL first", "DATA": "503 RCPT first"}),
        Script(replies={"DATA": "451 4.3.0 later"}),
        Script(dot="451 later"),
        Script(dot="554-5.6.0 spam\n554 5.6.0 really"),
        Script(dot="421 closing"),
        Script(replies={"RCPT TO:<c@": "421 closing"}),
        Script(replies={"DATA": "421 closing"}),
        Script(replies={"MAIL": "421 closing"}),
        Script(dot=DROP),
        Script(replies={"DATA": DROP}),
        Script(early="552 5.3.4 too large"),
    ],
    ids=[
        "all well", "recipients differ", "nobody", "no sender", "no DATA", "dot 451", "dot 554", "dot 421",
        "third recipient 421", "DATA 421", "MAIL 421", "lost after the dot", "lost at DATA", "refused within the content",
    ],
)  # fmt: skip
async def test_a_group_comes_to_what_single_commands_come_to(script: Script) -> None:
    """EXT-14, SMTP-30, SMTP-31, SMTP-57 (RFC 2920 3.1): the same replies, commands and end, in a group or one by one."""
    outcomes = []
    for ehlo in (EHLO, OFFER):
        made = replace(script, starttls=False, ehlo=ehlo, used={})
        transaction, session, host = await sent(made, THREE, BODY * 20_000 if script.early else BODY)
        outcomes.append((transaction, session.ended, session.finished, host.seen[0].contents))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("dot", ["250 taken", "554 no recipients", "299 odd"])
async def test_a_refused_sender_is_refused_whatever_follows(dot: str) -> None:
    """EXT-14, EXT-15 (RFC 2920 3.1): MAIL 550 with RCPT 250 and DATA 354: a lone dot, nothing delivered, RSET."""
    script = Script(starttls=False, ehlo=OFFER, replies={"MAIL": ["550 5.7.1 no", "250 ok"]}, dot=[dot, "250 kept"])
    async with mailhost(script) as host:
        session, _ = await opened(host)
        assert session is not None
        first = await session.transact(THREE, BODY)
        second = await session.transact(THREE, BODY)
        await session.quit()
    assert first.mail is not None
    assert (first.mail.code, first.recipients, first.data, first.lost) == (550, {}, None, "")
    assert second.data is not None
    assert host.seen[0].contents == [b"", BODY]
    group = ["MAIL", "RCPT", "RCPT", "RCPT", "DATA", "<content>"]
    assert [line.partition(" ")[0] for line in host.seen[0].lines] == ["EHLO", *group, "RSET", *group, "QUIT"]


@pytest.mark.parametrize(
    ("dot", "trouble"),
    [
        ("250 taken", Trouble.CLOSING),
        ("554 no recipients", Trouble.CLOSING),
        ("421 closing", Trouble.CLOSING),
        (DROP, Trouble.LOST),
        (SILENCE, Trouble.TIMEOUT),
    ],
)
async def test_nobody_accepted_and_354_is_a_lone_dot(dot: str, trouble: Trouble) -> None:
    """EXT-15 (RFC 2920 3.1): whatever comes of the dot, nothing is delivered and each refusal stands."""
    transaction, session, host = await grouped(replies={"RCPT": "550 5.1.1 nobody"}, dot=dot)
    assert [reply.code for reply in transaction.recipients.values()] == [550, 550, 550]
    assert (transaction.data, transaction.lost) == (None, "")
    assert host.seen[0].contents == [b""]
    assert session.ended is not None
    assert (session.ended.trouble, session.ended.sent) == (trouble, False)


@pytest.mark.parametrize("reply", ["421 closing", DROP, SILENCE])
@pytest.mark.parametrize("refused", ["MAIL", "RCPT"])
async def test_what_is_refused_stays_refused_when_the_connection_goes(refused: str, reply: str) -> None:
    """SMTP-29, SMTP-37, EXT-14: once all is refused, 421, loss or silence behind it end only the session."""
    transaction, session, _ = await grouped(replies={refused: "550 no", "DATA": reply})
    assert transaction.mail is not None
    assert transaction.mail.code == (550 if refused == "MAIL" else 250)
    assert (len(transaction.recipients), transaction.data, transaction.lost) == (
        0 if refused == "MAIL" else 3,
        None,
        "",
    )
    assert session.ended is not None
    assert not session.ended.sent


@pytest.mark.parametrize("data", ["354 go on", "503 RCPT first"])
async def test_size_is_left_out_in_a_second_group(data: str) -> None:
    """EXT-02, EXT-15 (RFC 5321 4.1.1.11): 501 to MAIL: the rest is heard out, undone if need be, and all sent again."""
    odd = data[:3] == "354"
    replies: dict[str, str | list[str]] = {
        "MAIL": ["501 what", "250 ok"],
        "RCPT": ["250 odd" if odd else "503 MAIL first", "250 ok"],
        "DATA": [data, "354 go on"],
    }
    transaction, session, host = await grouped(message("user@example.com"), replies=replies)
    assert transaction.mail is not None
    assert (transaction.mail.code, [one.code for one in transaction.recipients.values()]) == (250, [250])
    assert transaction.data is not None
    assert host.seen[0].commands("MAIL") == [
        f"MAIL FROM:<sender@here.example> SIZE={len(BODY)}", "MAIL FROM:<sender@here.example>",
    ]  # fmt: skip
    assert host.seen[0].contents == ([b"", BODY] if odd else [BODY])
    assert len(host.seen[0].commands("RSET")) == odd
    assert session.finished == 1


async def test_a_parameter_that_is_refused_twice_is_refused() -> None:
    """EXT-02 (RFC 5321 4.1.1.11): a second 501 is the answer."""
    transaction, _, host = await grouped(replies={"MAIL": "501 what", "RCPT": "503 no", "DATA": "503 no"})
    assert transaction.mail is not None
    assert transaction.mail.code == 501
    assert len(host.seen[0].commands("MAIL")) == 2


@pytest.mark.parametrize(
    "replies",
    [
        {"MAIL": "250 fine\n250 extra"},
        {"RCPT TO:<a@": "550 no\n250 extra"},
        {"RCPT TO:<a@": "550 no\n550 again"},
        {"RCPT TO:<c@": "550 no\n354 extra"},
        {"DATA": "354 go on\n250 extra"},
        {"DATA": "554 no\n250 extra"},
        {"DATA": "250 what"},
        {"RCPT TO:<b@": "what"},
        {"RCPT": "550 no", "DATA": "250 what"},
    ],
)
async def test_replies_that_do_not_add_up_are_nobody_s(replies: dict[str, str]) -> None:
    """EXT-14, SMTP-25, SMTP-30 (RFC 2920 3.1): one reply too many or of no use: no content, and no recipient is judged."""
    transaction, session, host = await grouped(replies=replies)
    assert session.ended is not None
    assert (session.ended.trouble, session.ended.sent) == (Trouble.PROTOCOL, False)
    assert (transaction.mail, transaction.recipients, transaction.data) == (None, {}, None)
    assert transaction.lost
    assert not host.seen[0].contents


async def test_a_reply_before_its_question_is_never_taken() -> None:
    """SMTP-25, EXT-14: replies that come ahead of the commands, while nothing is asked, end the session unread."""
    ahead = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test\r\n")
        for said in (SAID, b"250 a\r\n250 b\r\n354 go\r\n", b"250 kept\r\n"):
            await reader.read(65_536)
            writer.write(said)
        await ahead.wait()
        writer.write(b"250 a\r\n250 b\r\n354 go\r\n")
        heard.append(await reader.read())
        writer.close()

    heard: list[bytes] = []
    async with served(serve) as session:
        first = await session.transact(message("user@example.com"), BODY)
        assert session.ended is None
        ahead.set()
        while not session._wire.surplus:  # noqa: ASYNC110 - asyncio alone tells the wire
            await asyncio.sleep(0)
        second = await session.transact(message("user@example.com"), BODY)
        assert first.data is not None
        assert (second.mail, second.recipients, second.data) == (None, {}, None)
        assert "something came before MAIL was sent" in second.lost
    assert heard in ([], [b""])


async def test_a_reply_that_drips_is_bounded_by_its_timer() -> None:
    """SMTP-26: the timer is that of the whole reply, however many lines of it come in time."""
    lines = [b"250-still\r\n"] * 3

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test\r\n")
        await reader.readline()
        writer.write(SAID)
        await reader.readline()
        loop = asyncio.get_running_loop()
        for number, line in enumerate(lines, 1):
            loop.call_later(number * QUICK.command * 0.6, writer.write, line)
        await reader.read()
        writer.close()

    async with served(serve) as session:
        began = asyncio.get_running_loop().time()
        transaction = await session.transact(message("user@example.com"), BODY)
        assert asyncio.get_running_loop().time() - began < 3 * QUICK.command * 0.6
    assert "no reply to MAIL in time" in transaction.lost
