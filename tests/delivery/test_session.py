"""One SMTP conversation with a scripted server on loopback: what is said when, and what each reply leads to."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from delivery.content import normal, stuffed
from delivery.opening import Door, Terms, open_session
from delivery.replies import WireError
from delivery.session import Session
from delivery.settings import SmtpSettings, Timeouts, TlsSettings
from stages.attempt import HostAttempt, Transaction
from stages.message import Content, Message, Notify, Ret
from stages.plan import DaneDemand, Demand, EncryptDemand, MayDemand, Trouble, VerifyDemand
from stages.policy import DanePolicy
from tests.delivery.certificates import authority, leaf
from tests.delivery.mailhost import DROP, EHLO, SILENCE, MailHost, Script, mailhost
from tests.stages.make import envelope, message, recipient

NAME = "mx.example.com"
CLEAR = MayDemand("a test", NAME)
QUICK = Timeouts(connect=2, greeting=0.3, command=0.3, tls=0.5, data=0.3, block=0.5, dot=0.3, quit=0.3)
BODY = b"Subject: x\r\n\r\nhello\r\n"


def dane(**changes: bool) -> DaneDemand:
    """Demand the certificate of NAME."""
    return replace(DaneDemand(NAME, (leaf(NAME).tlsa(),), (NAME,)), **changes)  # type: ignore[arg-type]


def settings(**changes: object) -> SmtpSettings:
    """Make settings with the name that we say and timers that a test can wait for."""
    return replace(SmtpSettings("out.here.example", timeouts=QUICK), **changes)  # type: ignore[arg-type]


async def opened(
    host: MailHost, demand: Demand = CLEAR, *, clear: bool = False, **changes: object
) -> tuple[Session | None, HostAttempt]:
    """Open a session with a host."""
    terms = Terms(settings(**changes), DanePolicy(), lambda: datetime.now(UTC))
    return await open_session(Door(NAME, host.address, host.port, demand), terms, clear=clear)


async def sent(
    script: Script, mail: Message | None = None, content: bytes = BODY, demand: Demand = CLEAR
) -> tuple[Transaction, Session, MailHost]:
    """Send one message and say QUIT."""
    async with mailhost(script) as host:
        session, attempt = await opened(host, demand)
        assert session is not None, attempt
        transaction = await session.transact(mail or message("user@example.com"), normal(content))
        await session.quit()
    return transaction, session, host


# The opening


async def test_a_session_in_clear_text() -> None:
    """SMTP-21, SMTP-22, SMTP-30, SMTP-31, SMTP-35: greeting, EHLO with our name, MAIL, RCPT, DATA, QUIT, in order."""
    transaction, session, host = await sent(Script(starttls=False))
    (seen,) = host.seen
    assert seen.lines == [
        "EHLO out.here.example",
        f"MAIL FROM:<sender@here.example> SIZE={len(BODY)}",
        "RCPT TO:<user@example.com>",
        "DATA",
        "<content>",
        "QUIT",
    ]
    assert seen.contents == [BODY]
    assert transaction.data is not None
    assert (transaction.data.code, transaction.data.enhanced, transaction.data.command) == (250, "2.0.0", ".")
    assert session.finished == 1


async def test_tls_to_the_demand_comes_before_any_mail_command() -> None:
    """DANE-96, TLS-01, TLS-04, DANE-92: EHLO, STARTTLS, handshake, EHLO anew, and only then MAIL; SNI is the base."""
    async with mailhost(Script(context=leaf(NAME).server(), ehlo_tls="250-mail.test\n250-SIZE 9")) as host:
        session, attempt = await opened(host, dane())
        assert session is not None
        assert attempt.handshake is not None
        assert attempt.handshake.level == "dane"
        assert session.offers.keywords == {"SIZE": "9"}
        await session.quit()
    (seen,) = host.seen
    assert seen.lines == ["EHLO out.here.example", "STARTTLS", "<tls>", "EHLO out.here.example", "QUIT"]
    assert seen.sni == NAME


async def test_a_second_starttls_is_never_sent() -> None:
    """TLS-05, RFC 3207 4.2: STARTTLS listed inside TLS is left alone."""
    script = Script(context=leaf(NAME).server(), ehlo_tls=f"{EHLO}\n250-STARTTLS")
    _, _, host = await sent(script, demand=dane())
    assert len(host.seen[0].commands("STARTTLS")) == 1


@pytest.mark.parametrize("demand", [dane(), EncryptDemand("", NAME), VerifyDemand(NAME, (NAME,))])
@pytest.mark.parametrize(
    "script",
    [
        Script(starttls=False),
        Script(starttls_reply="454 not now"),
        Script(replies={"EHLO": "502 what"}),
    ],
    ids=["not offered", "454", "HELO only"],
)
async def test_required_tls_that_is_not_offered_is_never_clear_text(demand: Demand, script: Script) -> None:
    """DANE-25, TLS-08, TLS-09, SMTP-23, DANE-104: no STARTTLS where it is required: QUIT, no mail command."""
    async with mailhost(replace(script, used={})) as host:
        session, attempt = await opened(host, demand)
        assert session is None
        assert attempt.trouble is Trouble.NO_STARTTLS
        with pytest.raises(ValueError, match="clear text"):
            await opened(host, demand, clear=True)
    assert host.seen[0].lines[-1] == "QUIT"
    assert not host.seen[0].commands("MAIL")


async def test_a_mismatch_ends_the_session_at_once() -> None:
    """DANE-96, TLS-07, RFC 7672 3.2: after a certificate that does not match comes QUIT, and nothing before it."""
    async with mailhost(Script(context=leaf("other.example").server())) as host:
        session, attempt = await opened(host, dane())
    assert session is None
    assert attempt.trouble is Trouble.MISMATCH
    assert attempt.handshake is not None
    assert host.seen[0].lines == ["EHLO out.here.example", "STARTTLS", "<tls>", "QUIT"]


async def test_an_untrusted_certificate_ends_the_session() -> None:
    """A route with tls = verify: no path to a CA, no mail."""
    async with mailhost(Script(context=leaf(NAME).server())) as host:
        _, attempt = await opened(host, VerifyDemand(NAME, (NAME,)))
        session, good = await opened(host, VerifyDemand(NAME, (NAME,)), tls=TlsSettings(ca_file=authority().pem))
        assert session is not None
        await session.quit()
    assert attempt.trouble is Trouble.UNTRUSTED
    assert good.handshake is not None
    assert good.handshake.level == "verified"


@pytest.mark.parametrize("demand", [dane(), CLEAR])
async def test_clear_text_behind_the_starttls_reply_ends_the_session(demand: Demand) -> None:
    """TLS-03, TLS-02, RFC 3207 6: octets injected before the handshake are never taken for replies inside TLS."""
    script = Script(context=leaf(NAME).server(), inject=b"250-mail.test\r\n250 AUTH\r\n")
    async with mailhost(script) as host:
        session, attempt = await opened(host, demand)
    assert session is None
    assert attempt.trouble is Trouble.PROTOCOL
    assert "clear text" in attempt.text
    assert host.seen[0].lines[-1] == "STARTTLS"


@pytest.mark.parametrize("demand", [dane(), CLEAR])
async def test_a_failed_handshake_closes_the_connection(demand: Demand) -> None:
    """TLS-06: the server hangs up in the handshake; the connection is not used further, and the trouble is named."""
    async with mailhost(Script(starttls=True)) as host:
        session, attempt = await opened(host, demand)
    assert session is None
    assert attempt.trouble is Trouble.HANDSHAKE
    assert host.seen[0].lines == ["EHLO out.here.example", "STARTTLS"]


async def test_a_handshake_that_stalls_is_bounded() -> None:
    """TLS-13: a server that says 220 and then nothing counts as failed TLS after its own timer."""
    script = Script(replies={"STARTTLS": "220 go"})
    async with mailhost(script) as host:
        _, attempt = await opened(host, dane(), timeouts=replace(QUICK, tls=0.2))
    assert attempt.trouble is Trouble.HANDSHAKE


async def test_opportunistic_tls_goes_on_in_clear_text_after_454() -> None:
    """TLS-09: where TLS may be left out, a refused STARTTLS leaves the connection good."""
    transaction, _, host = await sent(Script(starttls_reply="454 not now"))
    assert transaction.data is not None
    assert len(host.seen) == 1


@pytest.mark.parametrize("script", [Script(starttls=False), Script(starttls_reply="454 not now")])
async def test_audit_goes_on_and_says_what_failed(script: Script) -> None:
    """DANE-100: in audit mode missing STARTTLS is noted, and the mail goes."""
    async with mailhost(script) as host:
        session, attempt = await opened(host, dane(audit=True))
        assert session is not None
        await session.quit()
    assert attempt.trouble is None
    assert "STARTTLS" in attempt.audit_failure


async def test_an_old_server_gets_helo_and_no_parameters() -> None:
    """SMTP-23, EXT-01, RFC 5321 3.2: EHLO refused with 500 leads to HELO, without extensions."""
    transaction, _, host = await sent(Script(replies={"EHLO": "500 what"}))
    assert host.seen[0].lines[:3] == [
        "EHLO out.here.example",
        "HELO out.here.example",
        "MAIL FROM:<sender@here.example>",
    ]
    assert transaction.data is not None


@pytest.mark.parametrize(
    ("script", "trouble", "code"),
    [
        (Script(greeting="554 no"), Trouble.GREETING, 554),
        (Script(greeting="450 later"), Trouble.GREETING, 450),
        (Script(greeting="421 closing"), Trouble.CLOSING, 421),
        (Script(greeting=DROP), Trouble.LOST, None),
        (Script(greeting=SILENCE), Trouble.TIMEOUT, None),
        (Script(greeting="hello there"), Trouble.PROTOCOL, None),
        (Script(greeting="999 what"), Trouble.PROTOCOL, None),
        (Script(replies={"EHLO": "421 closing"}), Trouble.CLOSING, 421),
        (Script(replies={"EHLO": "550 go away"}), Trouble.GREETING, 550),
        (Script(replies={"EHLO": DROP}), Trouble.LOST, None),
        (Script(replies={"EHLO": SILENCE}), Trouble.TIMEOUT, None),
        (Script(replies={"EHLO": "502 what", "HELO": "550 no"}), Trouble.GREETING, 550),
        (Script(replies={"STARTTLS": SILENCE}), Trouble.TIMEOUT, None),
        (Script(replies={"STARTTLS": "421 closing"}), Trouble.CLOSING, 421),
    ],
)
async def test_what_can_go_wrong_before_mail(script: Script, trouble: Trouble, code: int | None) -> None:
    """SMTP-21, SMTP-26, SMTP-29: each way in which an opening fails has its trouble, and its reply if there was one."""
    async with mailhost(script) as host:
        session, attempt = await opened(host)
    assert session is None
    assert attempt.trouble is trouble
    assert (attempt.reply.code if attempt.reply else None) == code
    assert not host.seen[0].commands("MAIL")


async def test_nothing_is_said_before_the_greeting() -> None:
    """SMTP-21 (RFC 5321 3.1): a server that does not greet hears nothing until the patience with it is over."""
    async with mailhost(Script(greeting=SILENCE)) as host:
        await opened(host)
    assert (host.seen[0].lines, host.seen[0].unasked) == ([], b"")


async def test_goodbye_does_not_wait_for_ever() -> None:
    """SMTP-35: QUIT waits for 221, and no longer than its own timer."""
    transaction, _, host = await sent(Script(starttls=False, replies={"QUIT": SILENCE}))
    assert transaction.data is not None
    assert host.seen[0].lines[-1] == "QUIT"


async def test_nobody_at_home() -> None:
    """SMTP-13: a refused connection is CONNECT, with the address and port in the text."""
    async with mailhost(Script()) as host:
        pass
    _, attempt = await opened(host)
    assert attempt.trouble is Trouble.CONNECT
    assert f"{host.address} port {host.port}" in attempt.text


@pytest.mark.parametrize("greeting", ["220-" + "x" * 200_000, "\n".join(["220-" + "x" * 70] * 3000)])
async def test_an_endless_greeting_is_cut_off(greeting: str) -> None:
    """SMTP-27: a reply of more than 64 KiB, in one line or in many, ends the session instead of filling memory."""
    async with mailhost(Script(greeting=greeting)) as host:
        _, attempt = await opened(host)
    assert attempt.trouble is Trouble.PROTOCOL


async def test_a_long_line_is_still_a_reply() -> None:
    """SMTP-27: a line of 4096 octets, eight times what RFC 5321 asks for, is read."""
    transaction, _, _ = await sent(Script(starttls=False, replies={"RCPT": "550 " + "x" * 4092}))
    (reply,) = transaction.recipients.values()
    assert (reply.code, len(reply.text)) == (550, 4092)


@pytest.mark.parametrize(("said", "code"), [("250-fine\n550 no", 550), ("550-no\n250 fine", 250)])
async def test_codes_that_differ_within_a_reply(said: str, code: int) -> None:
    """SMTP-25 (RFC 5321 4.2.1): the last line decides, and the reply to the next command is that command's own."""
    script = Script(starttls=False, replies={"MAIL": said, "RCPT": "450 later"})
    transaction, session, _ = await sent(script)
    assert transaction.mail is not None
    assert transaction.mail.code == code
    assert [reply.code for reply in transaction.recipients.values()] == ([450] if code == 250 else [])
    assert session.finished == 1


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA", "RSET"])
async def test_a_reply_too_many_is_never_taken_for_the_next(command: str) -> None:
    """SMTP-25, SMTP-30: a second reply to one command ends the session: no recipient gets the answer of another."""
    code = "354" if command == "DATA" else "250"
    script = Script(starttls=False, replies={command: f"{code} fine\n250 extra"})
    if command == "RSET":
        script.replies["RCPT"] = ["550 no", "250 ok"]
    async with mailhost(script) as host:
        session, _ = await opened(host)
        assert session is not None
        transaction = await session.transact(message("a@example.com"), BODY)
        if command == "RSET":
            transaction = await session.transact(message("a@example.com"), BODY)
    assert session.ended is not None
    assert (session.ended.trouble, session.ended.sent) == (Trouble.PROTOCOL, False)
    assert transaction.data is None
    assert "more came after the reply" in transaction.lost


async def test_the_source_address_is_used_for_its_family() -> None:
    """`source_addresses` binds to the local address of the family of the target."""
    made = settings(source_addresses=("::1", "127.0.0.2"))
    assert (made.source("192.0.2.1"), made.source("2001:db8::1")) == ("127.0.0.2", "::1")
    async with mailhost(Script(starttls=False)) as host:
        session, _ = await opened(host, source_addresses=("127.0.0.2",))
        assert session is not None
        await session.quit()


@pytest.mark.parametrize("name", ["", "bücher.example", "a b", "x\r\nMAIL"])
def test_what_must_not_be_said_in_ehlo(name: str) -> None:
    """SMTP-22, EXT-11: our name is ASCII, without blanks or line ends."""
    with pytest.raises(ValueError, match="hostname"):
        SmtpSettings(name)


# Transactions


async def test_recipients_are_judged_one_by_one() -> None:
    """SMTP-30, SMTP-33, EXT-14: {250, 450, 550} in one transaction: one DATA, a reply to each recipient."""
    script = Script(replies={"RCPT TO:<b@": "450 4.2.1 later", "RCPT TO:<c@": "550 5.1.1 nobody"})
    transaction, _, host = await sent(script, message("a@example.com", "b@example.com", "c@example.com"))
    assert [reply.code for reply in transaction.recipients.values()] == [250, 450, 550]
    assert [reply.enhanced for reply in transaction.recipients.values()] == ["2.1.0", "4.2.1", "5.1.1"]
    assert len(host.seen[0].contents) == 1


async def test_without_a_recipient_there_is_no_data() -> None:
    """SMTP-30, SMTP-35, EXT-15: all refused: no DATA, and RSET before the next message."""
    async with mailhost(Script(starttls=False, replies={"RCPT": ["550 no", "250 ok"]})) as host:
        session, _ = await opened(host)
        assert session is not None
        first = await session.transact(message("a@example.com"), BODY)
        second = await session.transact(message("b@example.com"), BODY)
        await session.quit()
    assert first.data is None
    assert not first.lost
    assert second.data is not None
    verbs = [line.partition(" ")[0] for line in host.seen[0].lines]
    assert verbs == ["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA", "<content>", "QUIT"]


async def test_a_refused_sender_leaves_the_session_good() -> None:
    """SMTP-37, RFC 5321 4.5.4.1: 5yz to MAIL is about that message; the next tries MAIL again."""
    async with mailhost(Script(starttls=False, replies={"MAIL": ["550 5.7.1 no", "250 ok"]})) as host:
        session, _ = await opened(host)
        assert session is not None
        first = await session.transact(message("a@example.com"), BODY)
        second = await session.transact(message("a@example.com"), BODY)
        await session.quit()
    assert first.mail is not None
    assert (first.mail.code, first.recipients, first.data) == (550, {}, None)
    assert second.data is not None


@pytest.mark.parametrize(
    ("dot", "code"), [("250 ok", 250), ("451 later", 451), ("554 5.6.0 spam", 554), ("299 odd", 299)]
)
async def test_the_reply_to_the_dot_is_for_all_who_were_accepted(dot: str, code: int) -> None:
    """SMTP-31, SMTP-24, EXT-05: the final reply is told as it came, also with a code that nobody knows."""
    transaction, session, _ = await sent(Script(dot=dot))
    assert transaction.data is not None
    assert transaction.data.code == code
    assert session.finished == 1


@pytest.mark.parametrize("code", ["451", "554"])
async def test_data_refused(code: str) -> None:
    """SMTP-31: a refusal of DATA is the reply for all recipients, and RSET comes before anything else."""
    transaction, _, host = await sent(Script(replies={"DATA": f"{code} no"}))
    assert transaction.data is not None
    assert (transaction.data.code, transaction.data.command) == (int(code), "DATA")
    assert not host.seen[0].contents


@pytest.mark.parametrize(
    ("script", "trouble", "may_be_taken"),
    [
        (Script(replies={"MAIL": "421 closing"}), Trouble.CLOSING, False),
        (Script(replies={"MAIL": DROP}), Trouble.LOST, False),
        (Script(replies={"RCPT": DROP}), Trouble.LOST, False),
        (Script(replies={"RCPT": SILENCE}), Trouble.TIMEOUT, False),
        (Script(replies={"DATA": "421 closing"}), Trouble.CLOSING, False),
        (Script(replies={"DATA": DROP}), Trouble.LOST, False),
        (Script(replies={"DATA": SILENCE}), Trouble.TIMEOUT, False),
        (Script(replies={"DATA": "250 what"}), Trouble.PROTOCOL, False),
        (Script(dot=DROP), Trouble.LOST, True),
        (Script(dot=SILENCE), Trouble.TIMEOUT, True),
        (Script(dot="garbage"), Trouble.PROTOCOL, True),
    ],
)
@pytest.mark.parametrize("demand", [CLEAR, dane()], ids=["clear", "tls"])
@pytest.mark.parametrize("ehlo", [EHLO, f"{EHLO}\n250-PIPELINING"], ids=["one by one", "in a group"])
async def test_a_session_that_ends_in_a_transaction(
    script: Script,
    trouble: Trouble,
    may_be_taken: bool,  # noqa: FBT001 - a column of the table
    demand: Demand,
    ehlo: str,
) -> None:
    """SMTP-26, SMTP-28, SMTP-29, SMTP-57, TLS-10: nobody counts as served, and whether the dot was out is told."""
    context = None if demand is CLEAR else leaf(NAME).server()
    made = replace(script, context=context, ehlo=ehlo, used={})
    transaction, session, _ = await sent(made, demand=demand)
    assert session.ended is not None
    assert session.ended.trouble is trouble
    assert session.ended.sent is may_be_taken
    assert transaction.data is None
    assert transaction.lost


async def test_421_to_the_third_recipient() -> None:
    """SMTP-29: earlier recipients keep their replies, no content went, and the third has no reply."""
    script = Script(replies={"RCPT TO:<c@": "421 closing"})
    transaction, session, host = await sent(script, message("a@example.com", "b@example.com", "c@example.com"))
    assert len(transaction.recipients) == 2
    assert session.ended is not None
    assert session.ended.trouble is Trouble.CLOSING
    assert not host.seen[0].contents


async def test_421_to_the_dot_is_an_answer_and_the_end() -> None:
    """SMTP-29, SMTP-31: 421 in place of 250 says that the message was not taken, and the session is over."""
    transaction, session, _ = await sent(Script(dot="421 closing"))
    assert transaction.data is not None
    assert transaction.data.code == 421
    assert session.ended is not None


@pytest.mark.parametrize("demand", [CLEAR, dane()], ids=["clear", "tls"])
async def test_a_refusal_in_the_middle_of_the_content(demand: Demand) -> None:
    """SMTP-31: a server that refuses before the end is heard, and its connection is not used again."""
    big = b"x" * 70 + b"\r\n"
    script = Script(early="552 5.3.4 too large", context=None if demand is CLEAR else leaf(NAME).server())
    transaction, session, _ = await sent(script, content=big * 100_000, demand=demand)
    assert transaction.data is not None
    assert (transaction.data.code, transaction.data.enhanced) == (552, "5.3.4")
    assert session.ended is not None
    assert not transaction.lost


async def test_an_early_reply_that_is_no_refusal_is_no_answer() -> None:
    """SMTP-31, SMTP-57: 250 before the end of the content cannot be about it: nothing has been taken."""
    content = (b"x" * 70 + b"\r\n") * 100_000
    transaction, session, _ = await sent(Script(starttls=False, early="250 fine"), content=content)
    assert transaction.data is None
    assert session.ended is not None
    assert (session.ended.trouble, session.ended.sent) == (Trouble.PROTOCOL, False)


@pytest.mark.parametrize("ehlo", [EHLO, f"{EHLO}\n250-PIPELINING"], ids=["one by one", "in a group"])
async def test_a_refused_rset_ends_the_session(ehlo: str) -> None:
    """SMTP-35 (RFC 5321 4.1.1.5): what cannot be undone is left by hanging up, and the next message is not begun."""
    refuses = {"RCPT": "550 no", "DATA": "554 nobody", "RSET": "502 what"}
    async with mailhost(Script(starttls=False, ehlo=ehlo, replies={**refuses})) as host:
        session, _ = await opened(host)
        assert session is not None
        first = await session.transact(message("a@example.com"), BODY)
        second = await session.transact(message("a@example.com"), BODY)
    assert not first.lost
    assert second.mail is None
    assert "RSET was refused: 502" in second.lost
    assert host.seen[0].lines[-1] == "RSET"


async def test_a_connection_that_goes_within_the_content() -> None:
    """SMTP-28, SMTP-57: before the dot was out nothing can have been taken, and it is told so."""
    transaction, session, _ = await sent(Script(drop_content=True), content=(b"y" * 70 + b"\r\n") * 100_000)
    assert transaction.data is None
    assert session.ended is not None
    assert session.ended.trouble is Trouble.LOST
    assert not session.ended.sent


async def test_a_server_that_reads_nothing_is_given_up() -> None:
    """SMTP-26, EXT-16: each block has its timer; a full window ends in TIMEOUT and not in a wait for ever."""
    transaction, session, _ = await sent(Script(starttls=False, deaf=True), content=(b"z" * 70 + b"\r\n") * 100_000)
    assert transaction.data is None
    assert session.ended is not None
    assert session.ended.trouble is Trouble.TIMEOUT


@pytest.mark.parametrize("demand", [CLEAR, dane()], ids=["clear", "tls"])
async def test_a_large_message_arrives_whole(demand: Demand) -> None:
    """EXT-16, SMTP-44: several megabytes go through flow control octet by octet."""
    content = b"".join(b"%d %s\r\n" % (number, b"." * (number % 70)) for number in range(60_000))
    script = Script(context=None if demand is CLEAR else leaf(NAME).server())
    transaction, _, host = await sent(script, content=content, demand=demand)
    assert transaction.data is not None
    assert host.seen[0].contents == [stuffed(content)]


async def test_a_server_that_reads_late_gets_all_of_it() -> None:
    """EXT-16, SMTP-26: the content stops while windows are full and goes on when there is room, within the block's time."""
    content = (b"w" * 898 + b"\r\n") * 18_000  # more than the buffers of both sides hold
    script = Script(starttls=False, ehlo="250 mail.test", late=QUICK.block / 4)
    transaction, _, host = await sent(script, content=content)
    assert transaction.data is not None
    assert host.seen[0].contents == [content]


async def test_many_recipients_complete() -> None:
    """EXT-16: a thousand RCPT commands, each answered in turn, end in one DATA."""
    mail = message(*(recipient(f"u{number}@example.com", number) for number in range(1000)))
    transaction, _, _ = await sent(Script(starttls=False), mail)
    assert len(transaction.recipients) == 1000
    assert transaction.data is not None


# Content


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b".\r\n", b"..\r\n"),
        (b"a\r\n..x\r\n.", b"a\r\n...x\r\n..\r\n"),
        (b"a\nb\rc", b"a\r\nb\r\nc\r\n"),
        (b"a\r\n", b"a\r\n"),
        (b"a", b"a\r\n"),
        (b"", b""),
        (b"x" * 65_535 + b"\r\n.y\r\n", b"x" * 65_535 + b"\r\n..y\r\n"),
    ],
)
async def test_lines_and_dots_on_the_wire(content: bytes, wire: bytes) -> None:
    """SMTP-40, SMTP-41, SMTP-42: dots doubled also at block borders, CRLF alone, no line end too few or too many."""
    _, _, host = await sent(Script(starttls=False), content=content)
    assert host.seen[0].contents == [wire]


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r", b"\r\n\0.\r\n", b"\n\n.\n", b"\r\r.\n"]
)
async def test_no_content_ends_itself(end: bytes) -> None:
    """SMTP-43: no variant of an early end is an end to any receiver: one message arrives, with no bare CR or LF."""
    content = b"a" + end + b"MAIL FROM:<evil@example>\r\n"
    _, _, host = await sent(Script(starttls=False), content=content)
    (got,) = host.seen[0].contents
    assert len(host.seen[0].commands("MAIL")) == 1
    assert b"." not in got.split(b"\r\n")
    assert b"\n" not in got.replace(b"\r\n", b"")
    assert b"\r" not in got.replace(b"\r\n", b"")


# Extensions


async def test_only_what_is_offered_is_said() -> None:
    """EXT-01, EXT-03, EXT-23: every parameter where all is offered, as it was given; the case of ORCPT stays."""
    mail = message(
        recipient(notify=frozenset({Notify.SUCCESS, Notify.DELAY}), orcpt="rfc822;User+2B@Example.COM"),
        of=envelope(ret=Ret.HDRS, envid="QQ314159"),
    )
    transaction, _, host = await sent(Script(), mail, "é".encode())
    assert host.seen[0].commands("MAIL") == [
        "MAIL FROM:<sender@here.example> SIZE=4 BODY=8BITMIME RET=HDRS ENVID=QQ314159"
    ]
    assert host.seen[0].commands("RCPT") == [
        "RCPT TO:<user@example.com> NOTIFY=DELAY,SUCCESS ORCPT=rfc822;User+2B@Example.COM"
    ]
    assert transaction.dsn_offered


async def test_nothing_is_added_that_the_sender_did_not_ask_for() -> None:
    """EXT-23, EXT-06, EXT-08: plain mail gets neither DSN parameters nor BODY nor SMTPUTF8, even where all is offered."""
    _, _, host = await sent(Script(), message("user@example.com", of=envelope(smtputf8=True)))
    assert host.seen[0].commands("MAIL") == [f"MAIL FROM:<sender@here.example> SIZE={len(BODY)}"]
    assert host.seen[0].commands("RCPT") == ["RCPT TO:<user@example.com>"]


async def test_never_goes_with_its_sender() -> None:
    """DSN-13, DSN-11 (RFC 3461 5.2.2): NOTIFY=NEVER is passed on, and nobody is sent apart with the null sender."""
    mail = message(recipient("a@example.com", 1, notify=frozenset({Notify.NEVER})), recipient("b@example.com", 2))
    _, _, host = await sent(Script(starttls=False), mail)
    assert host.seen[0].commands("MAIL") == [f"MAIL FROM:<sender@here.example> SIZE={len(BODY)}"]
    assert host.seen[0].commands("RCPT") == ["RCPT TO:<a@example.com> NOTIFY=NEVER", "RCPT TO:<b@example.com>"]


async def test_no_dsn_parameter_without_dsn() -> None:
    """EXT-24, EXT-01: ENVID, RET, NOTIFY and ORCPT stay home where DSN is not offered, and that is told."""
    mail = message(
        recipient(notify=frozenset({Notify.SUCCESS}), orcpt="rfc822;x@y.example"), of=envelope(ret=Ret.FULL, envid="e")
    )
    transaction, _, host = await sent(Script(ehlo="250-mail.test\n250-8BITMIME"), mail)
    assert host.seen[0].lines[1:3] == ["MAIL FROM:<sender@here.example>", "RCPT TO:<user@example.com>"]
    assert not transaction.dsn_offered


_PLAIN = Script(starttls=False, ehlo="250-mail.test\n250-SIZE 30\n250-PIPELINING")


@pytest.mark.parametrize(
    ("mail", "content", "status"),
    [
        (message("user@example.com"), b"x" * 40, "5.3.4"),
        (message("user@example.com"), "é".encode(), "5.6.3"),
        (message("jürgen@example.com"), b"x", "5.6.7"),
        (message("user@example.com", of=envelope("jürgen@here.example")), b"x", "5.6.7"),
        (message("user@example.com", of=envelope(content=Content(1, utf8_header=True))), b"x", "5.6.9"),
        (message(recipient("a\0b@example.com")), b"x", "5.1.3"),
        (message(recipient("a\ud800b@example.com")), b"x", "5.6.7"),
        (message(recipient(orcpt="rfc822;a b")), b"x", "5.5.4"),
        (message("user@example.com", of=envelope(envid="a\r\nDATA")), b"x", "5.5.4"),
        (message("user@example.com", of=envelope("a\rb@here.example")), b"x", "5.1.7"),
    ],
)
async def test_what_a_server_cannot_have_is_not_sent(mail: Message, content: bytes, status: str) -> None:
    """EXT-04, EXT-07, EXT-09, SMTP-47: too large, 8-bit, internationalised, unquotable: no command, and a status."""
    transaction, session, host = await sent(_PLAIN, mail, content)
    assert transaction.unable is not None
    assert transaction.unable[0] == status
    assert session.ended is not None
    assert host.seen[0].lines == ["EHLO out.here.example", "QUIT"]


@pytest.mark.parametrize("size", ["SIZE", "SIZE 0", "SIZE lots"])
async def test_a_size_without_a_limit_is_none(size: str) -> None:
    """EXT-04, RFC 1870 4: SIZE without a number, or 0, limits nothing."""
    transaction, _, _ = await sent(Script(ehlo=f"250-mail.test\n250-{size}"))
    assert transaction.data is not None


async def test_internationalised_mail_says_so() -> None:
    """EXT-08, EXT-10, EXT-12: SMTPUTF8 with what follows its keyword ignored; the domain goes as it was written."""
    script = Script(starttls=False, ehlo="250-mail.test\n250-8BITMIME\n250-SMTPUTF8 x")
    _, _, host = await sent(script, message("jürgen@müller.example"))
    assert host.seen[0].commands("MAIL") == ["MAIL FROM:<sender@here.example> SMTPUTF8"]
    assert host.seen[0].commands("RCPT") == ["RCPT TO:<jürgen@müller.example>"]


async def test_an_internationalised_domain_alone_goes_as_a_labels() -> None:
    """EXT-10, SMTP-48: user@müller.example needs no SMTPUTF8; the case of the local part stays."""
    _, _, host = await sent(Script(starttls=False, ehlo="250 mail.test"), message("User@müller.example"))
    assert host.seen[0].commands("RCPT") == ["RCPT TO:<User@xn--mller-kva.example>"]


async def test_an_internationalised_orcpt_is_written_for_old_servers() -> None:
    """EXT-25, RFC 6533 3: without SMTPUTF8 the utf-8 address of ORCPT takes its escaped form."""
    script = Script(starttls=False, ehlo="250-mail.test\n250-DSN")
    _, _, host = await sent(script, message(recipient(orcpt="utf-8;jürgen@müller.example")))
    assert host.seen[0].commands("RCPT") == [r"RCPT TO:<user@example.com> ORCPT=utf-8;j\x{FC}rgen@m\x{FC}ller.example"]


@pytest.mark.parametrize(
    ("local", "wire"),
    [("a b", '"a b"'), ('q"\\', r'"q\"\\"'), (">", '">"'), ("a..b", '"a..b"'), ("", '""'), ("o'x+y", "o'x+y")],
)
async def test_local_parts_are_quoted_where_they_must_be(local: str, wire: str) -> None:
    """SMTP-47, SMTP-48, RFC 5321 4.1.2: quoting that holds whatever is in the local part, and only where needed."""
    one = recipient()
    odd = replace(one, address=replace(one.address, local=local))
    _, _, host = await sent(Script(starttls=False), message(odd))
    assert host.seen[0].commands("RCPT") == [f"RCPT TO:<{wire}@example.com>"]


async def test_the_null_path_is_empty() -> None:
    """RFC 5321 4.5.5: a report goes out with MAIL FROM:<> (DSN-02)."""
    _, _, host = await sent(Script(ehlo="250 mail.test", starttls=False), message("a@example.com", of=envelope(None)))
    assert host.seen[0].commands("MAIL") == ["MAIL FROM:<>"]


@pytest.mark.parametrize("code", ["501", "504", "555"])
async def test_a_server_that_stumbles_over_size_is_asked_again(code: str) -> None:
    """EXT-02, RFC 5321 4.1.1.11: once more without SIZE, which may be dropped."""
    script = Script(starttls=False, replies={"MAIL": [f"{code} what", "250 ok"]})
    transaction, _, host = await sent(script)
    assert transaction.data is not None
    assert host.seen[0].commands("MAIL")[1] == "MAIL FROM:<sender@here.example>"


@pytest.mark.parametrize(
    ("reply", "code", "enhanced", "text"),
    [
        ("250", 250, "", ""),
        ("250 4.1.1 odd", 250, "", "4.1.1 odd"),
        ("550-5.1.1 no\n550 5.1.1 such user", 550, "5.1.1", "5.1.1 no 5.1.1 such user"),
        ("550 5.1.1.1 x", 550, "", "5.1.1.1 x"),
        ("450 \xff\x1b[2J", 450, "", "\N{REPLACEMENT CHARACTER} [2J"),
    ],
)
async def test_replies_are_read_by_their_code(reply: str, code: int, enhanced: str, text: str) -> None:
    """SMTP-24, EXT-22: no text, several lines, statuses that do not fit, octets that no log should see."""
    transaction, _, _ = await sent(Script(starttls=False, replies={"RCPT": reply}))
    (got,) = transaction.recipients.values()
    assert (got.code, got.enhanced, got.text, got.command) == (code, enhanced, text, "RCPT")


async def test_a_control_character_never_becomes_a_command() -> None:
    """SMTP-47: the wire itself refuses a line with CR or LF in it, whoever made it."""
    async with mailhost(Script(starttls=False)) as host:
        session, _ = await opened(host)
        assert session is not None
        with pytest.raises(ValueError, match="control"):
            await session._wire.ask("RCPT TO:<a>\r\nDATA", "RCPT", 1)
        await session.quit()
    assert not host.seen[0].commands("DATA")


async def test_what_is_heard_after_the_end_is_an_error_that_is_told() -> None:
    """SMTP-28: a connection that the server closed while idle is LOST at the next command."""
    async with mailhost(Script(starttls=False, close_after_dot=True)) as host:
        session, _ = await opened(host)
        assert session is not None
        first = await session.transact(message("a@example.com"), BODY)
        second = await session.transact(message("a@example.com"), BODY)
        assert first.data is not None
        assert session.ended is not None
        assert (session.ended.trouble, session.ended.sent, second.mail) == (Trouble.LOST, False, None)
        with pytest.raises(WireError):
            await session._wire.ask("NOOP", "NOOP", 1)


async def test_what_is_not_spoken_here_is_never_said() -> None:
    """EXT-17, EXT-18, EXT-19, EXT-20, EXT-21, EXT-26, EXT-27, EXT-01: no BDAT, BINARYMIME, REQUIRETLS or AUTH.

    They are met by never being used, however much is offered: no chunk is sent, nothing binary, no credentials.
    """
    offered = f"{EHLO}\n250-CHUNKING\n250-BINARYMIME\n250-REQUIRETLS\n250-AUTH PLAIN LOGIN\n250-PIPELINING"
    script = Script(context=leaf(NAME).server(), ehlo=offered)
    transaction, _, host = await sent(script, content="é\r\n".encode(), demand=dane())
    assert transaction.data is not None
    assert [line.partition(" ")[0] for line in host.seen[0].lines] == [
        "EHLO", "STARTTLS", "<tls>", "EHLO", "MAIL", "RCPT", "DATA", "<content>", "QUIT",
    ]  # fmt: skip
    assert not any(word in line for line in host.seen[0].lines for word in ("BINARYMIME", "REQUIRETLS", "AUTH"))
