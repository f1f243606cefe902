"""What every stage's work has in common: facts, verdicts checked and logged, their effects, commits and leases.

A verdict counts once it is committed under the lease it was made under; a lost lease means that somebody else has
the work, and nothing is written. An exception out of a stage or a gatherer is a fault of ours: it is logged, the
group over which it came is set aside for a while so that it stops no other, and `StageBroke` is raised so that
Dramatiq brings the job back.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from delivery.courier import Courier
from pipeline import log
from pipeline.facts import Gatherer
from pipeline.gates import Gates
from pipeline.leases import Lease
from pipeline.line import Line
from pipeline.parking import Parking
from pipeline.rollover import Rollover
from pipeline.store.changes import Changes, Committed, group_of, number_of
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.ledger import Ledger
from stages.contract import Facts, Level, Notice, NoticeKind, Owed, Stage
from stages.destination import Destination
from stages.message import Message, MessageId, Recipient, RecipientId, State, message_of
from stages.policy import DanePolicy, Policy
from stages.reason import Reason
from stages.retry import GiveUp, Schedule, after_defer, note_failure
from stages.verdict import Defer, Done, Proceed, Refuse, Verdict, check_partition

RETRY_STORE = 1.0  # seconds between tries while Redis is away


class StageBroke(Exception):  # noqa: N818 - it says what happened
    """A stage or gatherer raised. The mail returns to its place; the job comes back by Dramatiq's retries."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one job: groups a claim, seconds of lease, messages a connection job may take, seconds it may last.

    `commits`: groups of a batch that are committed at a time, which then share one write to the disk of Redis. `hand`:
    groups that a connection takes at a time.
    `plan_floor` and `plan_ceiling` bound how long a plan is used, and so how long it can outlive the trust in the
    resolver that it rests on. `aside`: how long a group over which a stage broke rests before it is tried again.
    """

    batch: int = 100
    commits: int = 50
    hand: int = 10
    lease: timedelta = timedelta(seconds=60)
    fair_share: int = 100
    fair_time: timedelta = timedelta(seconds=30)
    plan_floor: timedelta = timedelta(seconds=5)
    plan_ceiling: timedelta = timedelta(seconds=60)
    aside: timedelta = timedelta(seconds=30)


@dataclass(slots=True)
class Tools:
    """All that the runner works with."""

    line: Line
    ledger: Ledger
    gatherers: Mapping[type, Gatherer]
    courier: Courier
    schedule: Schedule
    post: Callable[[Notice], Awaitable[MessageId]]
    nudge: Callable[[Sequence[str]], Awaitable[None]]
    policy_for: Callable[[Destination], Policy]
    now: Callable[[], datetime]
    chance: Callable[[], float]
    limits: Limits
    runs: Callable[[Stage], bool] = lambda _stage: True  # whether this process runs a stage
    parking: Parking | None = None
    gates: Gates | None = None
    rollover: Rollover | None = None


def shares_of(verdicts: Sequence[Verdict]) -> dict[MessageId, list[Verdict]]:
    """Split verdicts over several messages into those over each."""
    shares: dict[MessageId, list[Verdict]] = {}
    for verdict in verdicts:
        named: dict[MessageId, list[RecipientId]] = {}
        for recipient in verdict.recipients:
            named.setdefault(message_of(recipient), []).append(recipient)
        for message, recipients in named.items():
            shares.setdefault(message, []).append(replace(verdict, recipients=tuple(recipients)))
    return shares


def parts_of(message: Message, verdicts: Sequence[Verdict]) -> Iterator[tuple[Verdict, Message]]:
    """Give each verdict on a message with that part of it which the verdict names.

    The recipients are looked up, as a message to thousands may get a verdict for each.
    """
    known = {recipient.id: recipient for recipient in message.recipients}
    for verdict in verdicts:
        named = tuple(known[one] for one in verdict.recipients if one in known)
        yield verdict, replace(message, recipients=named)


class Desk:
    """Holds the tools, and no state between jobs; `ending` asks those that run to take nothing new."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.ledger = tools.ledger
        self.ending = False

    # Facts and verdicts

    async def _gathered(self, stage: Stage, wanted: type, item: object) -> object:
        try:
            return await self._gatherer(stage, wanted).gather(item)
        except (StageBroke, StoreFull, StoreUnavailable):
            raise
        except Exception as error:
            raise StageBroke(f"stage {stage.name} wants {wanted.__name__}: {error!r}") from error

    def _gatherer(self, stage: Stage, wanted: type) -> Gatherer:
        try:
            return self._tools.gatherers[wanted]
        except KeyError:
            raise StageBroke(f"stage {stage.name} wants {wanted.__name__}, which no gatherer gives") from None

    def _checked(
        self, stage: Stage, item: object, facts: Facts, expected: tuple[RecipientId, ...]
    ) -> tuple[Verdict, ...]:
        verdicts = stage.decide(item, facts, self._tools.now())
        check_partition(expected, verdicts)
        return verdicts

    def _log(self, stage: Stage, part: Message, verdict: Verdict, elapsed: timedelta) -> None:
        if isinstance(verdict, Proceed) and verdict.reason is None:
            verdict = replace(verdict, reason=Reason(stage.name, f"{stage.name}.passed", "2.0.0", "passed on"))
        reason = verdict.reason
        if reason is None:
            raise StageBroke(f"stage {stage.name} ruled without a reason")
        log.emit(
            "stage.verdict",
            stage=stage.name,
            verdict=type(verdict).__name__.lower(),
            message=part.id,
            recipients=[str(recipient.address) for recipient in part.recipients],
            destination=str(reason.facts.get("destination", "")),
            code=reason.code,
            status=reason.status,
            text=reason.text,
            remote=reason.remote,
            reply=reason.reply,
            facts=dict(reason.facts),
            seconds=round(elapsed.total_seconds(), 6),
            age=round((self._tools.now() - part.envelope.accepted).total_seconds(), 6),
            tried=max((recipient.attempts for recipient in part.recipients), default=0),
            relayed=isinstance(verdict, Done) and verdict.relayed,
        )

    def _log_shares(self, stage: Stage, message: Message, shares: Sequence[Verdict], elapsed: timedelta) -> None:
        for share, part in parts_of(message, shares):
            self._log(stage, part, share, elapsed)

    # Effects of verdicts

    def _settle(
        self,
        stage: Stage,
        part: Message,
        verdict: Defer | Refuse | Done,
        changes: Changes,
        dane: DanePolicy,
        key: str = "",
    ) -> None:
        match verdict:
            case Defer():
                self._defer(part, verdict, changes, dane, key)
            case Refuse(reason=reason):
                self._fail(part, [self._noted(recipient, reason) for recipient in part.recipients], changes)
            case Done(reason=reason, relayed=relayed):
                state = State.RELAYED if relayed else State.DELIVERED
                if stage.level is not Level.DESTINATION:
                    state = State.DROPPED
                done = tuple(replace(self._noted(recipient, reason), state=state) for recipient in part.recipients)
                self._close(done, changes)
                if relayed:
                    changes.owe(Owed(NoticeKind.RELAYED, replace(part, recipients=done)))

    def _noted(self, recipient: Recipient, reason: Reason) -> Recipient:
        return note_failure(recipient, reason, self._tools.now())

    def _defer(
        self,
        message: Message,
        verdict: Defer,
        changes: Changes,
        dane: DanePolicy,
        key: str,
    ) -> None:
        chance = self._tools.chance()  # one for the group, so that it stays one transaction
        later: dict[datetime, list[Recipient]] = {}
        given_up, noticed = [], []
        for before in message.recipients:
            recipient = self._noted(before, verdict.reason)
            outcome = after_defer(
                recipient, verdict.reason, verdict.not_before, message.envelope, dane, self._tools.schedule,
                self._tools.now(), chance, together=verdict.together,
            )  # fmt: skip
            if isinstance(outcome, GiveUp):
                given_up.append(replace(recipient, reason=outcome.reason))
                continue
            recipient = replace(
                recipient, state=State.DEFERRED, next_attempt=outcome.at,
                delay_noticed=recipient.delay_noticed or outcome.notice,
            )  # fmt: skip
            later.setdefault(outcome.at, []).append(recipient)
            if outcome.notice:
                noticed.append(recipient)
        for at, recipients in later.items():
            for recipient in recipients:
                changes.put(recipient)
            changes.later(group_of(message.id, (number_of(recipient.id) for recipient in recipients)), at, key)
        if noticed:
            changes.owe(Owed(NoticeKind.DELAYED, replace(message, recipients=tuple(noticed))))
        if given_up:
            self._fail(message, given_up, changes)

    def _fail(self, message: Message, recipients: list[Recipient], changes: Changes) -> None:
        failed = tuple(replace(recipient, state=State.FAILED) for recipient in recipients)
        self._close(failed, changes)
        changes.owe(Owed(NoticeKind.FAILED, replace(message, recipients=failed)))

    @staticmethod
    def _close(recipients: Sequence[Recipient], changes: Changes) -> None:
        for recipient in recipients:
            changes.put(replace(recipient, next_attempt=None))
        changes.settled += len(recipients)

    # Commits and leases

    async def _commit_share(
        self,
        stage: Stage,
        key: str,
        token: str,
        group: str,
        message: Message,
        verdicts: Sequence[Verdict],
        held: Sequence[Recipient] = (),
    ) -> None:
        """Commit the verdicts on one group, which name nobody else; recipients that proceed stay in the ready queue."""
        changes = Changes()
        if held:
            for recipient in held:
                changes.put(recipient)
            changes.hold(group_of(message.id, (number_of(one.id) for one in held)), self._tools.now())
        self._write(stage, key, message, verdicts, changes)
        committed = await self._commit(token, group, changes)
        await self._tools.nudge(sorted(self._after(message, group, committed)))

    def _write(self, stage: Stage, key: str, message: Message, verdicts: Sequence[Verdict], changes: Changes) -> None:
        for verdict, part in parts_of(message, verdicts):
            if isinstance(verdict, Proceed):
                changes.to_ready(key, group_of(message.id, map(number_of, verdict.recipients)))
            else:
                dane = self._tools.policy_for(Destination.parse(key)).dane
                self._settle(stage, part, verdict, changes, dane, key)

    async def _commit(self, token: str, group: str, changes: Changes) -> Committed | None:
        """Commit what a host may have answered; while Redis is away, try until it is back.

        However long that takes, the lease is ours then: whoever takes work back grants us time (see `Ledger.reap`).
        """
        while True:
            try:
                return await self.ledger.commit(token, group, changes)
            except (StoreFull, StoreUnavailable):
                await asyncio.sleep(RETRY_STORE)

    def _after(self, message: Message, group: str, committed: Committed | None) -> set[str]:
        if committed is None:
            log.emit("lease.lost", level="warning", message=message.id, group=group)
            return set()
        if committed.open <= 0:
            log.emit("message.done", message=message.id)
        return set(committed.nudges)

    async def _set_aside(self, stage: Stage, token: str, group: str, error: Exception) -> None:
        log.emit("stage.error", level="error", stage=stage.name, group=group, error=repr(error))
        await self.ledger.set_aside(token, group, self._tools.limits.aside)

    @asynccontextmanager
    async def _leased(self, lease: Lease, *, slot: str = "") -> AsyncIterator[None]:
        """Prolong the lease three times within its length for as long as the block runs."""

        async def prolong() -> None:
            pause = third = self._tools.limits.lease.total_seconds() / 3
            while True:
                await asyncio.sleep(pause)
                try:
                    asked = lease.asked()
                    if await self.ledger.extend(lease.token, lease.length, slot):
                        lease.given(asked)
                    pause = third
                except (StoreFull, StoreUnavailable):  # the lease may still be ours when Redis is back
                    pause = min(third, RETRY_STORE)

        task = asyncio.create_task(prolong())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)  # its failure shows as a lost lease at the commit
