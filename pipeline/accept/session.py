"""One SMTP client: takes mail from those who may send it, and answers 250 only once it is durable.

It relays for the networks of `allow` and for nobody else. It refuses what other servers read differently (bare CR and
LF, over-long lines), loops, and clients that only make errors. Redis away is 451, Redis full 452: nothing is lost, as
nothing was promised. Each refusal is logged with the command, the reply and the reason.
"""

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pipeline import log
from pipeline.accept.channel import Channel, ClientGone, LineTooLong, TooLarge, has_bare_ends, has_long_line
from pipeline.accept.door import RecipientRequest, StoreFull, StoreUnavailable, Submission, SubmissionError
from pipeline.accept.parameters import Mail, Refused, read_mail, read_rcpt
from stages.message import MessageId, Origin

COMMAND_LIMIT = 2048  # octets: 512 and what the extensions add (RFC 5321 section 4.5.3.1.4, RFC 3461 section 5)
MAX_ERRORS = 20  # without one recipient that was taken in between

Submit = Callable[[Submission], Awaitable[MessageId]]


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """Where to listen, for whom, and the bounds of a session."""

    address: str = "127.0.0.1"
    port: int = 2525
    hostname: str = "localhost"
    max_size: int = 50 * 1024**2
    max_recipients: int = 1000
    allow: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = (
        ipaddress.ip_network("127.0.0.0/8"),
        ipaddress.ip_network("::1/128"),
    )
    certificate: Path | None = None
    key: Path | None = None
    timeout: timedelta = timedelta(minutes=5)
    max_connections: int = 1000
    share_port: bool = False  # with other processes of the same user that ask for it, too

    def allows(self, peer: str) -> bool:
        """Tell whether a client may send mail through this server."""
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.allow)


class Session:
    """One client, from the greeting to QUIT."""

    def __init__(
        self, settings: ListenerSettings, channel: Channel, peer: str, submit: Submit, context: ssl.SSLContext | None,
        *, source: str = "smtp", allowed: bool | None = None,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._channel = channel
        self._peer = peer
        self._submit = submit
        self._context = context
        self._source = source
        self._allowed = settings.allows(peer) if allowed is None else allowed
        self._secure = False
        self._helo = ""
        self._extended = False
        self._mail: Mail | None = None
        self._recipients: list[RecipientRequest] = []
        self._errors = 0
        self._going = True
        self._stopping = False
        self.busy = False  # a message is being taken: its reply must not be mistaken for another

    async def run(self) -> None:
        """Talk until one side ends it."""
        settings = self._settings
        try:
            for _ in range(2):  # turns of the event loop, in which it reads what was sent before we came
                await asyncio.sleep(0)
            if self._channel.unread:  # talks before it is greeted: no mail server does
                return self._refuse("connect", 554, "5.5.0", "you must wait for the greeting", close=True)
            self._channel.reply(220, f"{settings.hostname} ESMTP danepipe")
            while self._going:
                try:
                    line = await self._channel.line(COMMAND_LIMIT)
                except LineTooLong:
                    self._refuse("", 500, "5.5.2", f"a command has at most {COMMAND_LIMIT} octets")
                    continue
                await self._command(line)
        except ClientGone as gone:
            if gone.timed_out:
                self._channel.reply(421, f"4.4.2 {settings.hostname} you were silent for too long")
        finally:
            if self._stopping:  # the server goes away: RFC 5321 section 3.8
                self._channel.reply(421, f"4.3.2 {settings.hostname} is going down, come back later")
            with contextlib.suppress(ClientGone):
                await self._channel.close()

    def stop(self) -> None:
        """Take no further command: a message under way is finished first, then the client is told."""
        self._stopping = True
        self._going = False

    async def _command(self, line: bytes) -> None:
        if b"\0" in line or b"\n" in line or b"\r" in line:
            what = "null bytes" if b"\0" in line else "bare CR or LF"
            return self._refuse("", 500, "5.5.2", f"{what} must not stand in a command")
        text = line.decode("utf-8", "surrogateescape")
        verb, _, argument = text.partition(" ")
        handler = _COMMANDS.get(verb.upper())
        if handler is None:
            return self._refuse(verb, 500, "5.5.1", "this command is not known here")
        try:
            await handler(self, argument.strip())
        except Refused as refused:
            self._refuse(text, refused.code, refused.status, str(refused))
        return None

    def _refuse(self, command: str, code: int, status: str, text: str, *, close: bool = False) -> None:
        """Refuse, log it, and end the session of a client that does nothing else."""
        shown = "".join(char if char.isprintable() else "?" for char in text)
        reply = f"{status} {shown}".encode("utf-8", "replace").decode()
        self._channel.reply(code, reply)
        sender = str(self._mail.sender or "") if self._mail else ""
        log.emit(
            "message.refused", level="warning", peer=self._peer, helo=self._helo, sender=sender,
            recipients=[str(request.address) for request in self._recipients],
            command="".join(char if char.isprintable() else "?" for char in command)[:200],
            reply=f"{code} {reply}", text=shown,
        )  # fmt: skip
        if code >= 500:  # a 4xx is no error of the client: one recipient too many must not cost it the message
            self._errors += 1
        if close or self._errors >= MAX_ERRORS:
            if not close:
                self._channel.reply(421, "4.7.0 too many errors")
            self._going = False

    def _reset(self) -> None:
        self._mail = None
        self._recipients = []

    # Commands

    async def _ehlo(self, argument: str) -> None:
        self._hello(argument, extended=True)
        offered = [self._settings.hostname, "PIPELINING", f"SIZE {self._settings.max_size}", "8BITMIME", "SMTPUTF8"]
        offered += ["DSN", "ENHANCEDSTATUSCODES"]
        if self._context is not None and not self._secure:
            offered.append("STARTTLS")
        self._channel.reply(250, *offered)

    async def _helo_command(self, argument: str) -> None:
        self._hello(argument, extended=False)
        self._channel.reply(250, self._settings.hostname)

    def _hello(self, argument: str, *, extended: bool) -> None:
        if not argument or not argument.isascii() or " " in argument:
            raise Refused(501, "5.5.4", "expected your host name")
        self._reset()
        self._helo = argument[:255]
        self._extended = extended

    async def _starttls(self, argument: str) -> None:
        if self._context is None or self._secure:
            raise Refused(502, "5.5.1", "STARTTLS is not offered")
        if argument:
            raise Refused(501, "5.5.4", "STARTTLS takes no argument")
        if self._channel.unread:  # commands in clear text behind STARTTLS would run inside the TLS session
            return self._refuse(
                "STARTTLS", 501, "5.5.1", "nothing may follow STARTTLS before the handshake", close=True
            )
        self._channel.reply(220, "2.0.0 go ahead")
        try:
            await self._channel.start_tls(self._context)
        except OSError as error:  # SSLError is one
            self._going = False
            log.emit(
                "message.refused", level="warning", peer=self._peer, helo=self._helo, sender="", recipients=[],
                command="STARTTLS", reply="", text=f"the TLS handshake failed: {error}",
            )  # fmt: skip
            return None
        self._secure = True
        self._helo = ""
        self._reset()
        return None

    async def _mail_command(self, argument: str) -> None:
        if not self._helo:
            raise Refused(503, "5.5.1", "say EHLO first")
        if self._mail is not None:
            raise Refused(503, "5.5.1", "a transaction is under way")
        if not self._allowed:
            raise Refused(530, "5.7.0", f"{self._peer} may not send mail through this server")
        self._mail = read_mail(argument, self._settings.max_size)
        self._channel.reply(250, "2.1.0 sender ok")

    async def _rcpt(self, argument: str) -> None:
        if self._mail is None:
            raise Refused(503, "5.5.1", "say MAIL first")
        if len(self._recipients) >= self._settings.max_recipients:
            raise Refused(452, "4.5.3", f"a message may have {self._settings.max_recipients} recipients at most")
        given = read_rcpt(argument, smtputf8=self._mail.smtputf8, hostname=self._settings.hostname)
        self._recipients.append(RecipientRequest(given.address, given.notify, given.orcpt))
        self._errors = 0
        self._channel.reply(250, "2.1.5 recipient ok")

    async def _data(self, argument: str) -> None:
        if self._mail is None:
            raise Refused(503, "5.5.1", "say MAIL first")
        if not self._recipients:
            raise Refused(554, "5.5.1", "no valid recipient was given")
        if argument:
            raise Refused(501, "5.5.4", "DATA takes no argument")
        self._channel.reply(354, "end with a line that holds a dot alone")
        self.busy = True
        try:
            content = await self._channel.message(self._settings.max_size)
        except TooLarge:
            self._refuse("DATA", 552, "5.3.4", f"the message may have {self._settings.max_size} octets at most")
        else:
            await self._take(content)
        finally:
            self.busy = False
        self._reset()

    async def _take(self, content: bytes) -> None:
        if self._mail is None:
            raise Refused(503, "5.5.1", "say MAIL first")
        if has_bare_ends(content):
            return self._refuse("DATA", 554, "5.6.0", "bare CR or LF in the message (RFC 5321 section 2.3.8)")
        if has_long_line(content):
            return self._refuse("DATA", 554, "5.6.0", "a line has more than 998 octets (RFC 5322 section 2.1.1)")
        origin = Origin(self._source, self._peer, self._helo, self._protocol())
        submission = Submission(
            self._mail.sender, tuple(self._recipients), origin, content,
            self._mail.smtputf8, self._mail.ret, self._mail.envid,
        )  # fmt: skip
        try:
            identifier = await self._submit(submission)
        except SubmissionError as error:
            return self._refuse("DATA", error.code, error.status, str(error))
        except StoreFull:
            return self._refuse("DATA", 452, "4.3.1", "the queue is full, try again later")
        except StoreUnavailable as error:
            log.emit("redis.unavailable", level="error", text=str(error))
            return self._refuse("DATA", 451, "4.3.0", "the queue cannot be reached, try again later")
        except Exception as error:  # noqa: BLE001 - a fault of ours: the client keeps the message and tries again
            log.emit("stage.error", level="error", stage="accept", group="", error=repr(error))
            return self._refuse("DATA", 451, "4.3.0", "an error on our side, try again later")
        self._channel.reply(250, f"2.0.0 queued as {identifier}")
        return None

    def _protocol(self) -> str:
        """Give the WITH keyword of the Received field (RFC 3848, RFC 6531 section 4.3)."""
        if not self._extended:
            return "SMTP"
        name = "UTF8SMTP" if self._mail is not None and self._mail.smtputf8 else "ESMTP"
        return f"{name}S" if self._secure else name

    async def _rset(self, _argument: str) -> None:
        self._reset()
        self._channel.reply(250, "2.0.0 ok")

    async def _noop(self, _argument: str) -> None:
        self._channel.reply(250, "2.0.0 ok")

    async def _vrfy(self, argument: str) -> None:
        if not argument:
            raise Refused(501, "5.5.4", "expected an address")
        self._channel.reply(252, "2.5.0 send some mail, and it will be tried")

    async def _help(self, _argument: str) -> None:
        self._channel.reply(214, "2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT STARTTLS")

    async def _quit(self, _argument: str) -> None:
        self._channel.reply(221, f"2.0.0 {self._settings.hostname} bye")
        self._going = False


_COMMANDS: dict[str, Callable[[Session, str], Awaitable[None]]] = {
    "EHLO": Session._ehlo,  # noqa: SLF001 - its own table
    "HELO": Session._helo_command,  # noqa: SLF001 - see above
    "STARTTLS": Session._starttls,  # noqa: SLF001 - see above
    "MAIL": Session._mail_command,  # noqa: SLF001 - see above
    "RCPT": Session._rcpt,  # noqa: SLF001 - see above
    "DATA": Session._data,  # noqa: SLF001 - see above
    "RSET": Session._rset,  # noqa: SLF001 - see above
    "NOOP": Session._noop,  # noqa: SLF001 - see above
    "VRFY": Session._vrfy,  # noqa: SLF001 - see above
    "HELP": Session._help,  # noqa: SLF001 - see above
    "QUIT": Session._quit,  # noqa: SLF001 - see above
}
