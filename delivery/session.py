"""One SMTP conversation with one address, from the last EHLO on: transactions, one message each.

`Session.transact` raises nothing for what a server does: it gives replies, recipient by recipient, and once `ended`
is set the session is of no more use. `Ended.sent` says whether the server may have taken the message although its
reply never came (RFC 5321 section 6.1). How a session is opened and what it must prove first: `delivery.opening`.
"""

import contextlib
from dataclasses import dataclass, field, replace

from delivery.envelope import Offers, mail_command, rcpt_command, unable, uses_utf8
from delivery.tls import TlsSettings
from delivery.wire import Timeouts, Wire, WireError
from stages.attempt import Reply, Transaction
from stages.message import Message, RecipientId
from stages.plan import Trouble


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """`hostname` is said in EHLO, an FQDN or address literal in ASCII. `source_addresses`: at most one per family."""

    hostname: str
    source_addresses: tuple[str, ...] = ()
    timeouts: Timeouts = field(default_factory=Timeouts)
    tls: TlsSettings = field(default_factory=TlsSettings)

    def __post_init__(self) -> None:
        """Raise ValueError for a name that must not be said in EHLO (RFC 5321 4.1.1.1, RFC 6531 section 3.7.1)."""
        if not self.hostname.isascii() or not self.hostname or any(ord(c) <= 32 for c in self.hostname):
            raise ValueError(f"hostname is {self.hostname!r}, expected a domain name in ASCII")

    def source(self, address: str) -> str | None:
        """Give the local address to send from to this one, if there is any of its family."""
        return next((one for one in self.source_addresses if (":" in one) == (":" in address)), None)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a session ended. `sent`: the final dot was out, so the message in hand may have been taken."""

    trouble: Trouble
    text: str
    reply: Reply | None = None
    sent: bool = False


class Session:
    """A connection that is good for mail. `finished` counts the transactions that came to their end."""

    def __init__(self, wire: Wire, timeouts: Timeouts, offers: Offers) -> None:
        self._wire = wire
        self._timeouts = timeouts
        self._begun = False
        self._busy = False  # within a transaction: QUIT would be read as a part of it
        self.offers = offers
        self.ended: Ended | None = None
        self.finished = 0

    async def transact(self, message: Message, content: bytes) -> Transaction:
        """Offer a message, of `normal` content, to the recipients that it bears (RFC 5321 section 3.3)."""
        done = Transaction(dsn_offered="DSN" in self.offers)
        refused = unable(message, content, self.offers)
        if refused is not None:
            return replace(done, unable=refused)
        replies: dict[RecipientId, Reply] = {}
        self._busy = True
        try:
            if self._begun:
                await self._reset()
            mail = await self._mail(message, content)
            done = replace(done, mail=mail)
            if mail.code // 100 == 2:
                self._begun = True
                utf8 = uses_utf8(message)
                for recipient in message.recipients:
                    line = rcpt_command(recipient, self.offers, utf8=utf8)
                    replies[recipient.id] = await self._ask(line, "RCPT", self._timeouts.command)
                if any(reply.code // 100 == 2 for reply in replies.values()):
                    done = replace(done, data=await self._data(content))
            self.finished += 1
        except WireError as error:
            self.ended = Ended(error.trouble, error.text, error.reply, error.sent)
            self._wire.abort()
            done = replace(done, lost=error.text)
        self._busy = False
        return replace(done, recipients=replies)

    async def _mail(self, message: Message, content: bytes) -> Reply:
        """Say MAIL, and once more without SIZE where the server stumbles over a parameter (RFC 5321 4.1.1.11)."""
        seconds = self._timeouts.command
        reply = await self._ask(mail_command(message, content, self.offers), "MAIL", seconds)
        if reply.code in {501, 504, 555} and "SIZE" in self.offers:
            line = mail_command(message, content, self.offers, with_size=False)
            reply = await self._ask(line, "MAIL", seconds)
        return reply

    async def _data(self, content: bytes) -> Reply:
        reply = await self._ask("DATA", "DATA", self._timeouts.data)
        if reply.code != 354:
            if reply.code < 400:
                raise WireError(Trouble.PROTOCOL, f"the reply to DATA is {reply.code}, expected 354")
            return reply
        reply = await self._wire.send_content(content, self._timeouts)
        self._begun = False
        if reply.command != ".":  # refused in the middle: the rest would be read as commands
            self.ended = Ended(Trouble.PROTOCOL, "the server refused the content before its end", reply)
            self._wire.abort()
        elif self._wire.surplus:  # the reply stands, but what follows it answers nothing that was asked
            self.ended = Ended(Trouble.PROTOCOL, "more came after the reply to the content", reply)
            self._wire.abort()
        elif reply.code == 421:
            self.ended = Ended(Trouble.CLOSING, "the server is closing", reply)
            self._wire.hang_up()
        return reply

    async def _reset(self) -> None:
        """Undo a transaction that came to nothing (RFC 5321 section 4.1.1.5)."""
        reply = await self._ask("RSET", "RSET", self._timeouts.command)
        if reply.code // 100 != 2:
            raise WireError(Trouble.PROTOCOL, f"RSET was refused: {reply.code} {reply.text}", reply=reply)
        self._begun = False

    async def _ask(self, line: str, command: str, seconds: float) -> Reply:
        return unless_closing(await self._wire.ask(line, command, seconds))

    async def quit(self) -> None:
        """Say QUIT, wait a little for 221, hang up (RFC 5321 section 4.1.1.10); within a transaction just drop it."""
        if self._busy:
            self._wire.abort()
        elif self.ended is None:
            self.ended = Ended(Trouble.CLOSING, "we said QUIT")
            await leave(self._wire, self._timeouts)


def unless_closing(reply: Reply) -> Reply:
    """Raise `WireError` for 421, which may answer anything (RFC 5321 section 3.8)."""
    if reply.code == 421:
        raise WireError(Trouble.CLOSING, f"the server is closing: {reply.text}", reply=reply)
    return reply


async def leave(wire: Wire, timeouts: Timeouts) -> None:
    """Say QUIT, wait a little for 221, hang up; whatever comes of it."""
    with contextlib.suppress(WireError):  # we are going anyway
        await wire.ask("QUIT", "QUIT", timeouts.quit)
    wire.hang_up()
