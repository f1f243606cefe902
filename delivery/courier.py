"""Carry the messages of one destination to the first host that may have them, over one connection.

`Courier.deliver` walks the hosts of a plan in order, and the addresses of each; `stages.deliver.after` alone says what
follows a failed try. A connection serves one plan and is never lent to another destination. What a dying connection
leaves open goes on to the next host, unless the final dot was out: then the attempt says that the message may have
been taken (`Transaction.lost`). Raises only what the parcel and the lookout raise, and OSError for a `ca_file` that
cannot be read.
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from delivery.content import normal
from delivery.envelope import Offers, address_needs_utf8, header_needs_utf8
from delivery.opening import Door, Terms, open_session
from delivery.session import Ended, Session
from delivery.settings import SmtpSettings
from stages.attempt import Attempt, HostAttempt, Transaction
from stages.deliver import Step, after
from stages.message import Message, Recipient, RecipientId
from stages.plan import Plan
from stages.policy import Policy
from stages.rollover import same_demand

__all__ = ["Courier", "Door", "Lookout", "Parcel"]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message with the recipients that it is to be taken to, and how to get its octets.

    `last_look` is called before each final dot: what it raises keeps the message from being taken.
    """

    message: Message
    load: Callable[[], Awaitable[bytes]]
    last_look: Callable[[], None] = lambda: None


class Lookout(Protocol):
    """Somebody who knows which addresses are not worth a knock, and wants to hear what came of the others."""

    async def barred(self, door: Door) -> HostAttempt | None:
        """Give what is to stand for a try at this door; None to knock. Whoever was let knock tells what came of it."""

    async def knocked(self, door: Door, attempt: HostAttempt) -> None:
        """Hear of a try. With a session, `left` follows."""

    def left(self, door: Door) -> None:
        """Hear that the session is over."""


Second = Callable[[Plan, HostAttempt], Awaitable[Plan]]
"""Asks DNS again past every cache, for a plan whose host showed a certificate that does not match."""


class Everybody:
    """Knocks at every door."""

    async def barred(self, door: Door) -> HostAttempt | None:  # noqa: ARG002 - see `Lookout`
        """Bar none."""
        return None

    async def knocked(self, door: Door, attempt: HostAttempt) -> None:
        """Keep nothing."""

    def left(self, door: Door) -> None:
        """Keep nothing."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Courier:
    """Holds settings only; every call of `deliver` has a connection of its own."""

    def __init__(self, settings: SmtpSettings, now: Callable[[], datetime] = _utc_now) -> None:
        self._settings = settings
        self._now = now

    async def deliver(
        self, plan: Plan, policy: Policy, parcels: AsyncIterator[Parcel], lookout: Lookout | None = None,
        second: Second | None = None,
    ) -> AsyncGenerator[Attempt, None]:  # fmt: skip
        """Give attempts that together name each recipient of each parcel once; the next parcel is taken after them.

        Nothing is connected before there is a parcel. A message whose recipients are too many for one transaction,
        or of whom only some may have it here, gives several attempts. With `second`, the first mismatch is judged again
        by the plan that it gives, and all that follows goes by that.
        """
        run = _Run(plan, policy, Terms(self._settings, policy.dane, self._now), lookout or Everybody(), second)
        try:
            async for parcel in parcels:
                async for attempt in run.carry(parcel):
                    yield attempt
        finally:
            await run.close()


def doors_of(plan: Plan) -> list[Door]:
    """List where a plan lets one knock, in order."""
    port = plan.destination.port
    return [Door(host.name, address, port, host.demand) for host in plan.hosts for address in host.addresses]


class _Run:
    """A walk along the hosts of a plan, and the session that stands."""

    def __init__(self, plan: Plan, policy: Policy, terms: Terms, lookout: Lookout, second: Second | None) -> None:
        self._plan = plan
        self._second = second  # None once it was asked
        self._policy = policy
        self._terms = terms
        self._lookout = lookout
        self._doors = deque(doors_of(plan))
        self._clear = False
        self._failed: list[HostAttempt] = []
        self._knocked: list[Door] = []  # where those were
        self._session: Session | None = None
        self._attempt: HostAttempt | None = None
        self._told = False  # an attempt has named the hosts that failed before this session

    async def carry(self, parcel: Parcel) -> AsyncIterator[Attempt]:
        """Take one message as far as it goes; each attempt is told before the next is made."""
        parts = deque(_portions(parcel.message, self._policy.limits.recipients_per_transaction))
        content: bytes | None = None
        while parts:
            part = parts.popleft()
            session = await self._ready()
            if session is None:
                yield Attempt(part.recipient_ids, tuple(self._failed))
                continue
            part, *others = _by_ability(part, session.offers)
            parts.extendleft(reversed(others))
            if content is None:
                content = normal(await parcel.load())
            transaction = await session.transact(part, content, parcel.last_look)
            if session.ended is None or not transaction.lost:
                yield Attempt(part.recipient_ids, self._hosts(), transaction)
                await self._finish(session)
                continue
            hosts = self._lose(session, session.ended)
            done, left = _left_over(part, transaction, session.ended)
            if done:
                yield Attempt(done, hosts, transaction)
            if left:
                parts.appendleft(replace(part, recipients=left))

    async def close(self) -> None:
        """Say goodbye."""
        if self._session is not None:
            self._lookout.left(self._doors[0])
            await self._session.quit()
            self._session = None

    async def _ready(self) -> Session | None:
        """Give the session that stands, or open the next; None once no host is left."""
        while self._session is None and self._doors:
            session, attempt = await self._knock(self._doors[0])
            if self._clear and self._failed:  # what an audited demand would have refused, still holds
                attempt = replace(attempt, audit_failure=attempt.audit_failure or self._failed[-1].audit_failure)
            step = after(attempt, self._policy, asked=self._second is None)
            if step is Step.MAIL:
                self._session, self._attempt, self._told = session, attempt, False
                break
            self._fail(attempt)
            if step is Step.ASK and await self._ask_again(attempt):
                continue
            if step is Step.ASK:
                step = after(attempt, self._policy)
            if step is Step.CLEAR and not self._clear:
                self._clear = True
            elif step is Step.STOP:
                self._doors.clear()
            else:
                self._next_door()
        return self._session

    def _fail(self, attempt: HostAttempt) -> None:
        self._failed.append(attempt)
        self._knocked.append(self._doors[0])

    async def _ask_again(self, attempt: HostAttempt) -> bool:
        """Go by a new plan. What failed where it demands what was demanded before stays, and is not tried again.

        Tells whether there is something else to try at the host in question than what has just failed.
        """
        assert self._second is not None  # noqa: S101 - else the step is another
        ask, self._second = self._second, None
        plan = await ask(self._plan, attempt)
        mismatched = self._doors[0]
        doors = doors_of(plan)
        failed = list(zip(self._knocked, self._failed, strict=True))
        stay = [(old, one) for old, one in failed if any(_same(old, new) for new in doors)]
        self._knocked, self._failed = [old for old, _ in stay], [one for _, one in stay]
        self._plan = plan
        same = any(_same(mismatched, new) for new in doors)
        self._doors = deque(door for door in doors if not any(_same(old, door) for old in self._knocked))
        if same:  # it is still the one that has just failed
            self._doors.appendleft(mismatched)
        return not same

    async def _knock(self, door: Door) -> tuple[Session | None, HostAttempt]:
        barred = None if self._clear else await self._lookout.barred(door)
        if barred is not None:
            return None, barred
        session, attempt = await open_session(door, self._terms, clear=self._clear)
        try:
            await self._lookout.knocked(door, attempt)
        except BaseException:
            if session is not None:
                await session.quit()
            raise
        return session, attempt

    def _next_door(self) -> None:
        self._doors.popleft()
        self._clear = False

    def _hosts(self) -> tuple[HostAttempt, ...]:
        """Name the hosts for an attempt: all that failed and the one in use, or just that once they have been told."""
        before = () if self._told else tuple(self._failed)
        self._told = True
        return before if self._attempt is None else (*before, self._attempt)

    async def _finish(self, session: Session) -> None:
        """Keep the session for the next message, unless it ended or has had its share (SMTP-36)."""
        if session.ended is None and session.finished < self._policy.limits.messages_per_connection:
            return
        self._lookout.left(self._doors[0])
        await session.quit()
        self._session = None
        self._clear = False

    def _lose(self, session: Session, ended: Ended) -> tuple[HostAttempt, ...]:
        """Note how the session was lost. A server that took something before is knocked at once more."""
        assert self._attempt is not None  # noqa: S101 - there was a session
        lost = replace(self._attempt, trouble=ended.trouble, text=ended.text, reply=ended.reply)
        hosts = (*self._failed, lost)
        self._lookout.left(self._doors[0])
        self._session = None
        if session.finished == 0:
            self._fail(lost)
            self._next_door()
        self._clear = False
        return hosts


def _same(one: Door, other: Door) -> bool:
    at = (one.host, one.address, one.port) == (other.host, other.address, other.port)
    return at and same_demand(one.demand, other.demand)


def _portions(message: Message, most: int) -> list[Message]:
    """Split a message into transactions of so many recipients (RFC 5321 section 4.5.3.1.8)."""
    everyone = message.recipients
    return [replace(message, recipients=everyone[at : at + most]) for at in range(0, len(everyone), most)]


def _by_ability(message: Message, offers: Offers) -> list[Message]:
    """Set the recipients apart whom this server cannot reach without SMTPUTF8, if the message can do without."""
    if "SMTPUTF8" in offers or header_needs_utf8(message):
        return [message]
    plain = tuple(one for one in message.recipients if not address_needs_utf8(one))
    other = tuple(one for one in message.recipients if address_needs_utf8(one))
    return [replace(message, recipients=group) for group in (plain, other) if group]


def _left_over(
    part: Message, transaction: Transaction, ended: Ended
) -> tuple[tuple[RecipientId, ...], tuple[Recipient, ...]]:
    """Tell who is settled by a transaction that broke off, and who is still to be served elsewhere.

    A reply that refused a recipient stands; one that accepted means nothing without the content (RFC 5321 3.3, 3.8).
    """
    if ended.sent:
        return part.recipient_ids, ()
    refused = {one for one, reply in transaction.recipients.items() if reply.code // 100 != 2}
    done = tuple(one.id for one in part.recipients if one.id in refused)
    return done, tuple(one for one in part.recipients if one.id not in refused)
