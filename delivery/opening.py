"""Open an SMTP session with one address: connect, greeting, EHLO, and TLS to the demand.

There is a session only if the server has shown what its demand asks for, and that is settled before any mail command
(RFC 7672 section 3.2, RFC 3207 section 4.1). A demand is never lowered here: clear text after failed TLS takes a
second call with `clear`, on a new connection, and raises ValueError where TLS is required.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from delivery.envelope import Offers
from delivery.replies import WireError, read_reply
from delivery.session import Session, leave, unless_closing
from delivery.settings import SmtpSettings
from delivery.tls import context_for, judge, server_name
from delivery.wire import Wire
from stages.attempt import Handshake, HostAttempt, Reply
from stages.plan import DaneDemand, Demand, EncryptDemand, MayDemand, Trouble, VerifyDemand
from stages.policy import DanePolicy

_NOT_KNOWN = frozenset({500, 501, 502, 504, 555})


@dataclass(frozen=True, slots=True)
class Door:
    """Where to knock: host name, IP address, port, the demand on the host."""

    host: str
    address: str
    port: int
    demand: Demand


@dataclass(frozen=True, slots=True)
class Terms:
    """What an opening goes by besides the door."""

    settings: SmtpSettings
    dane: DanePolicy
    now: Callable[[], datetime]


class _Failed(Exception):  # noqa: N818 - it says what happened
    """The opening came to nothing; the connection still stands, and QUIT ends it."""

    def __init__(self, trouble: Trouble, text: str, reply: Reply | None = None) -> None:
        super().__init__(text)
        self.trouble = trouble
        self.text = text
        self.reply = reply


async def open_session(door: Door, terms: Terms, *, clear: bool = False) -> tuple[Session | None, HostAttempt]:
    """Connect, greet and meet the demand; without a session the attempt bears the trouble.

    `clear` leaves TLS out, as a second connection after TLS failed may. Raises ValueError for it where TLS is required.
    """
    if clear and required(door.demand):
        raise ValueError(f"{door.host} must not be spoken to in clear text: {door.demand.kind}")
    clock = asyncio.get_running_loop().time
    began = clock()
    attempt = HostAttempt(door.host, door.address, door.port, door.demand.kind, started=terms.now())
    opening = _Opening(door, terms, clear=clear)
    try:
        session = await opening.run()
    except (WireError, _Failed) as error:
        await opening.leave(polite=isinstance(error, _Failed))
        reached = opening.greeted or _reached(error)
        tolerated = error.trouble is Trouble.HANDSHAKE and audited(door.demand)
        return None, replace(
            attempt, trouble=error.trouble, text=error.text, reply=error.reply, handshake=opening.handshake,
            seconds=clock() - began, audit_failure=error.text if tolerated else opening.audit_failure, reached=reached,
        )  # fmt: skip
    except BaseException:
        await opening.leave(polite=False)
        raise
    return session, replace(
        attempt, handshake=opening.handshake, seconds=clock() - began, audit_failure=opening.audit_failure, reached=True
    )


def _reached(error: WireError | _Failed) -> bool | None:
    """Tell what an opening that came to no greeting of 220 says of the address (`HostAttempt.reached`)."""
    if isinstance(error, WireError):
        return None if error.ours else error.trouble is Trouble.PROTOCOL
    return error.reply is None or error.reply.code // 100 != 4


class _Opening:
    """The steps from the connection to the last EHLO."""

    def __init__(self, door: Door, terms: Terms, *, clear: bool) -> None:
        self._door = door
        self._terms = terms
        self._clear = clear
        self._wire: Wire | None = None
        self.handshake: Handshake | None = None
        self.audit_failure = ""
        self.greeted = False

    async def run(self) -> Session:
        settings, door = self._terms.settings, self._door
        source = settings.source(door.address)
        wire = self._wire = await Wire.dial(door.address, door.port, source, settings.timeouts.connect)
        greeting = unless_closing(await wire.greeting(settings.timeouts.greeting))
        if greeting.code != 220:
            raise _Failed(Trouble.GREETING, f"the greeting is {greeting.code} {greeting.text}", greeting)
        self.greeted = True
        offers = await self._hello(wire, helo=not required(door.demand))
        if not self._clear and await self._secure(wire, offers):
            try:
                offers = await self._hello(wire, helo=False)
            except WireError as error:  # with TLS 1.3 a server's refusal of our side comes only with its first reply
                if wire.tls_failure is None:
                    raise
                self.handshake = None
                raise WireError(Trouble.HANDSHAKE, f"the TLS handshake failed: {wire.tls_failure}") from error
        return Session(wire, settings.timeouts, offers)

    async def _hello(self, wire: Wire, *, helo: bool) -> Offers:
        """Say EHLO, or HELO to a server that does not know it (RFC 5321 section 3.2)."""
        settings = self._terms.settings
        seconds = settings.timeouts.command
        raw = await wire.ask_raw(f"EHLO {settings.hostname}", "EHLO", seconds)
        reply = unless_closing(read_reply(raw, "EHLO"))
        if reply.code // 100 == 2:
            return Offers.read(raw.message)
        if reply.code in _NOT_KNOWN and not helo:
            raise _Failed(Trouble.NO_STARTTLS, f"TLS is required, and EHLO is not known: {reply.code}", reply)
        if reply.code in _NOT_KNOWN:
            reply = unless_closing(await wire.ask(f"HELO {settings.hostname}", "HELO", seconds))
            if reply.code // 100 == 2:
                return Offers({})
        raise _Failed(Trouble.GREETING, f"{reply.command} was refused: {reply.code} {reply.text}", reply)

    async def _secure(self, wire: Wire, offers: Offers) -> bool:
        """Do what the demand says of TLS; returns False to go on in clear text, where that is allowed."""
        demand, terms = self._door.demand, self._terms
        if "STARTTLS" not in offers:
            return self._without("the server does not offer STARTTLS", None)
        context = context_for(demand.kind, terms.settings.tls)
        upgraded = await wire.secure(context, server_name(demand), terms.settings.timeouts)
        if isinstance(upgraded, Reply):
            unless_closing(upgraded)
            return self._without(f"the server refused STARTTLS: {upgraded.code} {upgraded.text}", upgraded)
        judgement = judge(demand, upgraded, terms.now(), terms.dane)
        self.handshake = judgement.handshake
        self.audit_failure = judgement.audit_failure
        if judgement.trouble is not None:
            raise _Failed(judgement.trouble, judgement.text)
        return True

    def _without(self, text: str, reply: Reply | None) -> bool:
        if required(self._door.demand):
            raise _Failed(Trouble.NO_STARTTLS, text, reply)
        if audited(self._door.demand):
            self.audit_failure = text
        return False

    async def leave(self, *, polite: bool) -> None:
        if self._wire is None:
            return
        if polite:
            await leave(self._wire, self._terms.settings.timeouts)
        else:
            self._wire.abort()


def required(demand: Demand) -> bool:
    """Tell whether mail may go only under TLS."""
    match demand:
        case DaneDemand(audit=audit) | EncryptDemand(audit=audit):
            return not audit
        case VerifyDemand():
            return True
        case MayDemand():
            return False
        case _:
            assert_never(demand)


def audited(demand: Demand) -> bool:
    """Tell whether a failure of the demand is only noted (RFC 7672 section 9.1)."""
    return isinstance(demand, (DaneDemand, EncryptDemand)) and demand.audit
