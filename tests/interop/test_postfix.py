"""Mail to a real Postfix that plays a receiving MX with a certificate pinned by TLSA."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from delivery.courier import Courier, Parcel
from delivery.settings import SmtpSettings
from stages.attempt import Attempt
from stages.destination import Destination, RouteKind
from stages.message import Message, Notify
from stages.plan import DaneDemand, Demand, EncryptDemand, Host, Plan, Trouble
from stages.policy import Policy
from stages.records import TLSA
from tests.delivery.certificates import Certificate, authority, leaf
from tests.interop.postfix import Postfix, postfix
from tests.stages.make import NOW, address, message, recipient

NAME = "mx.example.com"
CONTENT = b"Subject: dots\r\n\r\n.\r\n..two\r\nplain .\r\nthe end\r\n"


def settings(certificate: Certificate, **more: str) -> dict[str, str]:
    """Make Postfix take mail for example.com under TLS with a certificate."""
    return {
        "smtpd_tls_chain_files": str(certificate.pem),
        "smtpd_tls_security_level": "may",
        "smtpd_tls_loglevel": "1",
        "virtual_mailbox_domains": "example.com",
        "virtual_mailbox_maps": "static:inbox/",
        "smtpd_relay_restrictions": "reject_unauth_destination",
        "smtpd_recipient_restrictions": "check_recipient_access inline:{ nobody@example.com=REJECT, later@example.com=DEFER }, reject_unauth_destination",
        **more,
    }


def pinned(*records: TLSA) -> DaneDemand:
    """Demand one of these records at NAME."""
    return DaneDemand(NAME, records, (NAME,))


async def carry(host: Postfix, demand: Demand, *messages: Message, content: bytes = CONTENT) -> list[Attempt]:
    """Deliver messages to Postfix."""
    to = Plan(
        Destination(RouteKind.MX, "example.com", host.port), (Host(NAME, 10, ("127.0.0.1",), demand),), (), NOW, NOW
    )

    async def load() -> bytes:
        return content

    async def parcels() -> AsyncIterator[Parcel]:
        for one in messages:
            yield Parcel(one, load)

    courier = Courier(SmtpSettings("out.here.example"), now=lambda: datetime.now(UTC))
    return [attempt async for attempt in courier.deliver(to, Policy(), parcels())]


async def test_postfix_takes_mail_that_dane_verified(spool: Path) -> None:
    """DANE-92, DANE-96, DANE-107, SMTP-40, SMTP-44: 3 1 1 in a rollover set; two messages over one connection, whole."""
    shown = leaf(NAME)
    demand = pinned(leaf("next.example.com").tlsa(), shown.tlsa())
    async with postfix(spool / "postfix", settings(shown)) as host:
        attempts = await carry(host, demand, message("a@example.com"), message("b@example.com"))
        mailed = await _delivered(host, 2)
        log = host.log()
    for attempt in attempts:
        assert attempt.transaction is not None
        assert attempt.transaction.data is not None, attempt
        assert attempt.transaction.data.enhanced == "2.0.0"
        assert attempt.hosts[-1].handshake is not None
        assert attempt.hosts[-1].handshake.level == "dane"
    assert log.count("TLS connection established") == 1
    for one in mailed:
        _, _, body = one.partition(b"\n\n")
        assert body == CONTENT.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n")


async def test_postfix_with_a_trust_anchor_and_one_recipient_too_many(spool: Path) -> None:
    """SMTP-30, EXT-22, EXT-23: 2 0 1 of the authority; each recipient has Postfix's own reply and status."""
    odd = message(recipient("a@example.com", 1, notify=frozenset({Notify.NEVER}), orcpt="rfc822;a@old.example"))
    more = tuple(recipient(f"{name}@example.com", number) for number, name in ((2, "nobody"), (3, "later")))
    mail = replace(odd, recipients=odd.recipients + more)
    async with postfix(spool / "postfix", settings(leaf(NAME))) as host:
        (attempt,) = await carry(host, pinned(authority().tlsa(2, 0)), mail)
    assert attempt.transaction is not None
    replies = attempt.transaction.recipients
    assert [(reply.code, reply.enhanced) for reply in replies.values()] == [
        (250, "2.1.5"),
        (554, "5.7.1"),
        (450, "4.7.1"),
    ]
    assert attempt.transaction.data is not None
    assert attempt.transaction.dsn_offered


async def test_postfix_with_another_certificate_sees_no_mail_command(spool: Path) -> None:
    """DANE-96, DANE-102: where no record matches, Postfix logs a TLS connection and no mail."""
    async with postfix(spool / "postfix", settings(leaf(NAME))) as host:
        (attempt,) = await carry(host, pinned(leaf("other.example").tlsa()), message("a@example.com"))
        log = host.log()
    assert attempt.transaction is None
    assert attempt.hosts[-1].trouble is Trouble.MISMATCH
    assert "mail=" not in log
    assert not host.messages()


async def test_postfix_without_tls_gets_nothing_where_it_is_required(spool: Path) -> None:
    """TLS-08, DANE-104: smtpd_tls_security_level = none: not offered, so nothing is sent."""
    async with postfix(spool / "postfix", settings(leaf(NAME), smtpd_tls_security_level="none")) as host:
        attempts = [
            *await carry(host, pinned(leaf(NAME).tlsa()), message("a@example.com")),
            *await carry(host, EncryptDemand("x", NAME), message("a@example.com")),
        ]
    assert [attempt.hosts[-1].trouble for attempt in attempts] == [Trouble.NO_STARTTLS] * 2
    assert not host.messages()


async def test_postfix_takes_internationalised_mail(spool: Path) -> None:
    """EXT-06, EXT-08, EXT-10: an internationalised local part and 8-bit text pass whole."""
    mail = message(replace(recipient("x@example.com"), address=address("jürgen@example.com")))
    content = "Subject: Grüße\r\n\r\nschön\r\n".encode()
    async with postfix(spool / "postfix", settings(leaf(NAME))) as host:
        (attempt,) = await carry(host, pinned(leaf(NAME).tlsa()), mail, content=content)
        (mailed,) = await _delivered(host, 1)
    assert attempt.transaction is not None
    assert attempt.transaction.data is not None
    assert "schön".encode() in mailed
    assert b"with UTF8SMTPS" in mailed


async def test_postfix_says_that_a_message_is_too_large(spool: Path) -> None:
    """EXT-04: SIZE is read from Postfix's EHLO, and nothing is sent."""
    async with postfix(spool / "postfix", settings(leaf(NAME), message_size_limit="20")) as host:
        (attempt,) = await carry(host, pinned(leaf(NAME).tlsa()), message("a@example.com"))
    assert attempt.transaction is not None
    assert attempt.transaction.unable is not None
    assert attempt.transaction.unable[0] == "5.3.4"


async def _delivered(host: Postfix, count: int) -> list[bytes]:
    """Wait until Postfix has put messages into its mailbox."""
    async with asyncio.timeout(20):
        while len(host.messages()) < count:  # noqa: ASYNC110 - another program, which tells us nothing
            await asyncio.sleep(0.05)
    return host.messages()
