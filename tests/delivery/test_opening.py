"""How a session is opened, to the octet: what goes out before a reply is in, and which name is shown to whom."""

from dataclasses import replace

import pytest

from delivery.content import normal
from stages.attempt import Transaction
from stages.message import Content, Message
from stages.plan import DaneDemand, Demand, EncryptDemand, Trouble, VerifyDemand
from tests.delivery.certificates import authority, leaf
from tests.delivery.mailhost import EHLO, SILENCE, MailHost, Script, mailhost
from tests.delivery.test_session import BODY, CLEAR, NAME, dane, opened, sent
from tests.stages.make import envelope, message

BASE = "base.example.net"  # where TLSA was found; the host that is knocked at is called NAME


@pytest.mark.parametrize(
    "demand",
    [
        DaneDemand(BASE, (leaf(BASE).tlsa(),), (BASE, "example.com")),
        DaneDemand(BASE, (authority().tlsa(2, 0),), (BASE, "example.com")),
        EncryptDemand("unusable records", BASE),
    ],
    ids=["3 1 1", "2 0 1", "unusable"],
)
async def test_the_base_domain_is_asked_for_and_not_the_host(demand: Demand) -> None:
    """DANE-92, DANE-46, DANE-36 (RFC 7672 8.1): SNI is the TLSA base domain, whatever the MX host is called, and also for DANE-EE."""
    async with mailhost(Script(context=leaf(BASE).server())) as host:
        session, attempt = await opened(host, demand)
        assert session is not None
        await session.quit()
    assert attempt.host == NAME
    assert host.seen[0].sni == BASE


@pytest.mark.parametrize("code", ["454", "500", "501", "502", "554"])
@pytest.mark.parametrize("demand", [dane(), EncryptDemand("", NAME), VerifyDemand(NAME, (NAME,))])
async def test_any_refusal_of_starttls_ends_the_session_where_tls_is_required(demand: Demand, code: str) -> None:
    """DANE-25, TLS-09 (RFC 3207 4): 454 and every 5yz are "no TLS": QUIT, and no mail command."""
    async with mailhost(Script(starttls_reply=f"{code} no")) as host:
        session, attempt = await opened(host, demand)
    assert (session, attempt.trouble) == (None, Trouble.NO_STARTTLS)
    assert host.seen[0].lines == ["EHLO out.here.example", "STARTTLS", "QUIT"]


@pytest.mark.parametrize("code", ["454", "500", "501", "502", "554"])
async def test_any_refusal_of_starttls_leaves_clear_text_where_it_is_allowed(code: str) -> None:
    """TLS-09 (RFC 3207 4): the same replies, and the mail goes on over the same connection."""
    transaction, _, host = await sent(Script(starttls_reply=f"{code} no"))
    assert transaction.data is not None
    assert len(host.seen) == 1


@pytest.mark.parametrize("demand", [dane(), CLEAR], ids=["dane", "may"])
async def test_nothing_follows_starttls_before_its_reply(demand: Demand) -> None:
    """TLS-02, TLS-01 (RFC 3207 4, RFC 2920 3.1): while the server keeps silent nothing more is said, no hello and no command."""
    async with mailhost(Script(replies={"STARTTLS": SILENCE})) as host:
        session, attempt = await opened(host, demand)
    assert (session, attempt.trouble) == (None, Trouble.TIMEOUT)
    assert (host.seen[0].lines[-1], host.seen[0].unasked) == ("STARTTLS", b"")


@pytest.mark.parametrize("command", ["EHLO", "MAIL", "RCPT TO:<a@", "RCPT TO:<b@", "DATA"])
async def test_each_command_waits_for_the_reply_to_the_one_before(command: str) -> None:
    """EXT-13, EXT-01 (RFC 2920 3.1): where PIPELINING is not offered no group is ever sent."""
    script = Script(starttls=False, replies={command: SILENCE})
    async with mailhost(script) as host:
        session, _ = await opened(host)
        if session is not None:
            await session.transact(message("a@example.com", "b@example.com"), BODY)
    assert host.seen[0].lines[-1].startswith(command)
    assert host.seen[0].unasked == b""


@pytest.mark.parametrize("command", ["EHLO", "RSET", "DATA"])
async def test_nothing_follows_what_ends_a_group(command: str) -> None:
    """EXT-13 (RFC 2920 3.1): also where PIPELINING is offered, EHLO, RSET and DATA wait for their reply."""
    replies: dict[str, str | list[str]] = {"RCPT": ["550 no", "250 ok"], "DATA": ["554 nobody", "354 go on"]}
    replies[command] = ["554 nobody", SILENCE] if command == "DATA" else SILENCE
    script = Script(starttls=False, ehlo=f"{EHLO}\n250-PIPELINING", replies=replies)
    async with mailhost(script) as host:
        session, _ = await opened(host)
        if session is not None:
            await session.transact(message("a@example.com"), BODY)
            await session.transact(message("a@example.com"), BODY)
    assert host.seen[0].lines[-1] == ("EHLO out.here.example" if command == "EHLO" else command)
    assert host.seen[0].unasked == b""


@pytest.mark.parametrize("inject", [b"250 AUTH\r\n", b"\r\n", b"\x16", b"250-mail.test\r\n250-AUTH PLAIN\r\n250 X\r\n"])
@pytest.mark.parametrize("demand", [dane(), EncryptDemand("", NAME), CLEAR], ids=["dane", "encrypt", "may"])
async def test_no_octet_behind_the_220_reaches_the_session(demand: Demand, inject: bytes) -> None:
    """TLS-03 (RFC 3207 4.2): one octet is enough to end it, and nothing is said after STARTTLS."""
    script = Script(context=leaf(NAME).server(), inject=inject)
    async with mailhost(script) as host:
        session, attempt = await opened(host, demand)
    assert (session, attempt.trouble) == (None, Trouble.PROTOCOL)
    assert host.seen[0].lines[-1] == "STARTTLS"


async def test_only_the_offers_inside_tls_count() -> None:
    """TLS-04, EXT-01 (RFC 3207 4.2): SIZE and DSN of before are forgotten, SMTPUTF8 and 8BITMIME of now are used."""
    script = Script(
        context=leaf(NAME).server(), ehlo="250-mail.test\n250-SIZE 5\n250-DSN", ehlo_tls="250-mail.test\n250-8BITMIME"
    )
    mail = message("user@example.com", of=envelope(envid="QQ314159"))
    transaction, _, host = await sent(script, mail, "é\r\n".encode(), dane())
    assert transaction.data is not None
    assert host.seen[0].commands("MAIL") == ["MAIL FROM:<sender@here.example> BODY=8BITMIME"]


@pytest.mark.parametrize("dot", ["250-queued", "250"])
@pytest.mark.parametrize("demand", [CLEAR, dane()], ids=["clear", "tls"])
async def test_half_a_reply_is_none(dot: str, demand: Demand) -> None:
    """TLS-10 (RFC 3207 4, RFC 5321 4.2.1): a reply that breaks off before its last line is a lost connection and no success."""
    script = Script(
        context=None if demand is CLEAR else leaf(NAME).server(),
        dot=dot,
        close_after_dot=True,
        starttls=demand is not CLEAR,
    )
    transaction, session, _ = await sent(script, demand=demand)
    assert session.ended is not None
    whole = dot == "250"
    assert (transaction.data is not None, bool(transaction.lost)) == (whole, not whole)


# Parameters


@pytest.mark.parametrize(
    "ehlo", ["250-mail.test\n250-size 9999\n250-8bitmime", "250-mail.test\n250-Size 9999\n250-8BitMime"]
)
async def test_keywords_are_known_in_any_case(ehlo: str) -> None:
    """EXT-01 (RFC 5321 2.4, 4.1.1.1): `size` is SIZE."""
    _, _, host = await sent(Script(starttls=False, ehlo=ehlo), content="é\r\n".encode())
    assert host.seen[0].commands("MAIL") == ["MAIL FROM:<sender@here.example> SIZE=4 BODY=8BITMIME"]


@pytest.mark.parametrize("content", [b".\r\n..x\r\n.\r\n", b"a\nb", b"", b"x"])
async def test_the_size_said_is_that_of_the_content(content: bytes) -> None:
    """EXT-03 (RFC 1870 6): octets with CRLF as they will arrive, without the dots that the wire doubles."""
    transaction, _, host = await sent(Script(starttls=False), content=content)
    assert transaction.data is not None
    assert host.seen[0].commands("MAIL") == [f"MAIL FROM:<sender@here.example> SIZE={len(normal(content))}"]
    (got,) = host.seen[0].contents
    assert len(got) - sum(line.startswith(b".") for line in got.split(b"\r\n")) == len(normal(content))


UTF8 = "250-mail.test\n250-8BITMIME\n250-SMTPUTF8"


@pytest.mark.parametrize("code", ["501", "504", "555"])
async def test_what_cannot_be_dropped_is_not_tried_without(code: str) -> None:
    """EXT-02 (RFC 5321 4.1.1.11): SIZE may go, and SMTPUTF8 stays; without SIZE the refusal is an answer like others."""
    mail = message("jürgen@example.com")
    script = Script(starttls=False, ehlo=f"{UTF8}\n250-SIZE 9999", replies={"MAIL": f"{code} what"})
    transaction, _, host = await sent(script, mail)
    assert host.seen[0].commands("MAIL") == [
        f"MAIL FROM:<sender@here.example> SIZE={len(BODY)} SMTPUTF8",
        "MAIL FROM:<sender@here.example> SMTPUTF8",
    ]
    assert transaction.mail is not None
    assert transaction.mail.code == int(code)
    script = Script(starttls=False, ehlo=UTF8, replies={"MAIL": f"{code} what"})
    transaction, _, host = await sent(script, mail)
    assert len(host.seen[0].commands("MAIL")) == 1
    assert not host.seen[0].commands("RCPT")


@pytest.mark.parametrize(
    ("mail", "said"),
    [
        (message("user@example.com", of=envelope("jürgen@here.example")), True),
        (message("user@example.com", of=envelope(content=Content(10, utf8_header=True))), True),
        (message("jürgen@example.com"), True),
        (message("user@example.com", of=envelope("sender@müller.example")), False),
        (message("user@example.com", of=envelope(smtputf8=True)), False),
        (message("user@example.com"), False),
    ],
    ids=["sender", "header", "recipient", "domain alone", "was allowed and not needed", "plain"],
)
async def test_smtputf8_is_said_where_the_mail_needs_it(mail: Message, said: bool) -> None:  # noqa: FBT001 - a column
    """EXT-08, EXT-10 (RFC 6531 3.4): an address or a header beyond ASCII needs it; a domain, which has A-labels, does not."""
    _, _, host = await sent(Script(starttls=False, ehlo=UTF8), mail)
    (command,) = host.seen[0].commands("MAIL")
    assert command.endswith(" SMTPUTF8") is said
    assert command.isascii() or said


async def _carried(content: bytes) -> tuple[Transaction, MailHost]:
    script = Script(context=leaf(NAME).server(), ehlo=f"{EHLO}\n250-CHUNKING\n250-BINARYMIME")
    transaction, _, host = await sent(script, content=content, demand=dane())
    return transaction, host


@pytest.mark.parametrize("content", [b"a\nb\n.\nc", b"a\rb\r.\rc", b"\0\r\n", bytes(range(256))])
async def test_chunking_is_no_way_around_the_rules_for_lines(content: bytes) -> None:
    """EXT-21, EXT-17, EXT-19, EXT-20: bare line ends are made whole and go by DATA, also where CHUNKING is offered."""
    transaction, host = await _carried(content)
    assert transaction.data is not None
    assert not host.seen[0].commands("BDAT")
    (got,) = host.seen[0].contents
    assert b"\n" not in got.replace(b"\r\n", b"")
    assert got.replace(b"\r\n..", b"\r\n.").removeprefix(b".") == normal(content).removeprefix(b".")


async def test_may_never_hides_that_tls_was_left_out() -> None:
    """DANE-110 (RFC 7435): without TLS the attempt bears no handshake, with it the level is encrypted and no more."""
    async with mailhost(Script(starttls=False)) as host:
        session, attempt = await opened(host)
        assert session is not None
        await session.quit()
    assert attempt.handshake is None
    async with mailhost(Script(context=leaf(NAME).server())) as host:
        session, attempt = await opened(host, replace(CLEAR, why="no TLSA"))
        assert session is not None
        await session.quit()
    assert attempt.handshake is not None
    assert attempt.handshake.level == "encrypted"
