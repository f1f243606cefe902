"""One SMTP conversation with one address, from the last EHLO on: transactions, one message each.

`Session.transact` raises nothing for what a server does: it gives replies, recipient by recipient, and once `ended`
is set the session is of no more use. `Ended.sent` says whether the server may have taken the message although its
reply never came (RFC 5321 section 6.1). How a session is opened and what it must prove first: `delivery.opening`.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from delivery.envelope import Offers, mail_command, rcpt_command, unable, uses_utf8
from delivery.replies import WireError
from delivery.settings import Timeouts
from delivery.tls import peer_chain
from delivery.wire import Wire
from stages.attempt import Reply, Transaction
from stages.message import Message, RecipientId
from stages.plan import Trouble


@dataclass(frozen=True, slots=True)
class Ended:
    """How a session ended. `sent`: the final dot was out, so the message in hand may have been taken."""

    trouble: Trouble
    text: str
    reply: Reply | None = None
    sent: bool = False


class _Heard:
    """What a transaction has heard so far: replies to MAIL, to each recipient, and to DATA or the content."""

    __slots__ = ("_asked", "data", "mail", "recipients")

    def __init__(self, asked: int) -> None:
        self._asked = asked
        self.mail: Reply | None = None
        self.recipients: dict[RecipientId, Reply] = {}
        self.data: Reply | None = None

    @property
    def accepted(self) -> bool:
        """Tell whether there is somebody to send the content for."""
        return any(reply.code // 100 == 2 for reply in self.recipients.values())

    @property
    def settled(self) -> bool:
        """Tell whether all is refused: what happens to the connection then changes nothing for anybody."""
        if self.mail is None:
            return False
        refused = len(self.recipients) == self._asked and not self.accepted
        return self.mail.code // 100 != 2 or refused

    def forget(self) -> None:
        """Trust nothing that was heard."""
        self.mail = self.data = None
        self.recipients.clear()


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
        self._last_look: Callable[[], None] = lambda: None

    async def transact(
        self, message: Message, content: bytes, last_look: Callable[[], None] = lambda: None
    ) -> Transaction:
        """Offer a message, of `normal` content, to the recipients that it bears (RFC 5321 section 3.3).

        Raises what `last_look` does, which is called before the final dot; the session cannot be used then.
        """
        refused = unable(message, content, self.offers)
        if refused is not None:
            return Transaction(unable=refused, dsn_offered="DSN" in self.offers)
        heard = _Heard(len(message.recipients))
        lost = ""
        self._last_look = last_look
        self._busy = True
        try:
            if self._begun:
                await self._reset()
            if "PIPELINING" in self.offers:
                await self._in_a_group(message, content, heard)
            else:
                await self._one_by_one(message, content, heard)
        except WireError as error:
            lost = "" if heard.settled else error.text
            self.ended = Ended(error.trouble, error.text, error.reply, error.sent and not heard.settled)
            self._wire.abort()
        self._busy = False
        if not lost:
            self.finished += 1
        return Transaction(heard.mail, heard.recipients, heard.data, lost=lost, dsn_offered="DSN" in self.offers)

    async def _one_by_one(self, message: Message, content: bytes, heard: _Heard) -> None:
        """Ask each thing when the one before is answered."""
        seconds = self._timeouts.command
        mail = await self._ask(mail_command(message, content, self.offers), "MAIL", seconds)
        if self._stumbles(mail):
            line = mail_command(message, content, self.offers, with_size=False)
            mail = await self._ask(line, "MAIL", seconds)
        heard.mail = mail
        if mail.code // 100 != 2:
            return
        self._begun = True
        for recipient, line in self._rcpt_commands(message):
            heard.recipients[recipient] = await self._ask(line, "RCPT", seconds)
        if heard.accepted:
            reply = await self._ask("DATA", "DATA", self._timeouts.data)
            heard.data = await self._content(content) if _go_on(reply) else reply

    async def _in_a_group(self, message: Message, content: bytes, heard: _Heard) -> None:
        """Send all commands at once, DATA the last of them, and then read what each came to (RFC 2920 section 3.1)."""
        try:
            data = await self._group(message, mail_command(message, content, self.offers), heard)
            if heard.mail is None:
                if self._begun:
                    await self._reset()
                line = mail_command(message, content, self.offers, with_size=False)
                data = await self._group(message, line, heard, last=True)
        except WireError as error:
            if error.trouble is Trouble.PROTOCOL:  # which reply is whose can no longer be told
                heard.forget()
            raise
        if heard.accepted:
            heard.data = await self._content(content) if data.code == 354 else data

    async def _group(self, message: Message, mail_line: str, heard: _Heard, *, last: bool = False) -> Reply:
        """Ask all, and give the reply to DATA; where nobody was accepted, 354 has been answered with a lone dot.

        `heard.mail` stays None where the server stumbles over a parameter and this was not the last try.
        """
        wire, seconds = self._wire, self._timeouts.command
        commands = self._rcpt_commands(message)
        wire.send([mail_line, *(line for _, line in commands), "DATA"], "MAIL")
        mail = unless_closing(await wire.answer("MAIL", seconds))
        good = mail.code // 100 == 2
        if last or not self._stumbles(mail):
            heard.mail = mail
        for recipient, _ in commands:
            reply = unless_closing(await wire.answer("RCPT", seconds))
            self._begun |= good or reply.code // 100 == 2  # without MAIL it counts for nothing, but RSET undoes it
            if good:
                heard.recipients[recipient] = reply
        data = unless_closing(await wire.answer("DATA", self._timeouts.data))
        wire.check_alone("DATA")
        if _go_on(data) and not heard.accepted:
            unless_closing(await wire.send_content(b"", self._timeouts))
            wire.check_alone("the lone dot")
            self._begun = True  # whatever it made of that
        return data

    def _rcpt_commands(self, message: Message) -> list[tuple[RecipientId, str]]:
        utf8 = uses_utf8(message)
        return [(one.id, rcpt_command(one, self.offers, utf8=utf8)) for one in message.recipients]

    def _stumbles(self, mail: Reply) -> bool:
        """Tell whether a server may have stumbled over SIZE, which can be left out (RFC 5321 section 4.1.1.11)."""
        return mail.code in {501, 504, 555} and "SIZE" in self.offers

    async def _content(self, content: bytes) -> Reply:
        reply = await self._wire.send_content(content, self._timeouts, self._last_look)
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

    @property
    def chain(self) -> tuple[bytes, ...]:
        """Give the certificates that the server sent, DER, leaf first; empty without TLS, or once the wire is gone."""
        connection = self._wire.connection
        return () if connection is None else peer_chain(connection)

    async def quit(self) -> None:
        """Say QUIT, wait a little for 221, hang up (RFC 5321 section 4.1.1.10); within a transaction just drop it."""
        if self._busy:
            self._wire.abort()
        elif self.ended is None:
            self.ended = Ended(Trouble.CLOSING, "we said QUIT")
            await leave(self._wire, self._timeouts)

    async def close(self) -> None:
        """Say QUIT, and wait until the connection is gone: an event loop must not end before that."""
        await self.quit()
        try:
            async with asyncio.timeout(self._timeouts.quit):
                await self._wire.gone.wait()
        except TimeoutError:
            self._wire.abort()


def _go_on(reply: Reply) -> bool:
    """Tell whether a reply to DATA asks for the content; raises `WireError` if it is neither 354 nor a refusal."""
    if reply.code != 354 and reply.code < 400:
        raise WireError(Trouble.PROTOCOL, f"the reply to DATA is {reply.code}, expected 354")
    return reply.code == 354


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
