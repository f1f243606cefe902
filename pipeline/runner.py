"""Run the stages: claim, gather facts, decide, log, commit. The only place where a verdict becomes an effect.

A verdict counts once it is committed under the lease it was made under; a lost lease means that somebody else has
the work, and nothing is written. An exception out of a stage or a gatherer is a fault of ours: it is logged, the
group over which it came is set aside for a while so that it stops no other, and `StageBroke` is raised so that
Dramatiq brings the job back. What a host has taken is never sent again for a fault of ours: it is held.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from delivery.courier import Courier, Parcel
from pipeline import log
from pipeline.facts import Gatherer
from pipeline.line import Line
from pipeline.store.codec import CodecError, decode, encode
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.ledger import Changes, Committed, Ledger, group_of, number_of
from stages.attempt import Attempt, HostAttempt
from stages.contract import Consigned, Consignment, Facts, Level, Notice, NoticeKind, Owed, Planned, Routed, Stage
from stages.destination import Destination
from stages.message import Message, MessageId, Recipient, RecipientId, State, recipient_id
from stages.plan import Trouble
from stages.policy import DanePolicy, Policy
from stages.reason import Reason
from stages.retry import GiveUp, Schedule, after_defer, note_failure
from stages.verdict import Defer, Done, Proceed, Refuse, Verdict, check_partition

RETRY_STORE = 1.0  # seconds between tries while Redis is away
TRANSIENT = frozenset({Trouble.LOOKUP_MX, Trouble.LOOKUP_ADDRESS, Trouble.LOOKUP_TLSA, Trouble.SUSPENDED})


class StageBroke(Exception):  # noqa: N818 - it says what happened
    """A stage or gatherer raised. The mail returns to its place; the job comes back by Dramatiq's retries."""


class TransientLookup(Exception):  # noqa: N818 - not a fault of ours
    """DNS failed in a way that may pass within seconds. The ready queue is untouched; the job should come back."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one job: groups a claim, seconds of lease, messages a connection job may take, seconds it may last.

    `commits`: groups of a batch that are committed at a time, which then share one write to the disk of Redis.
    `aside`: how long a group over which a stage broke rests before it is tried again.
    """

    batch: int = 100
    commits: int = 16
    lease: timedelta = timedelta(seconds=60)
    fair_share: int = 100
    fair_time: timedelta = timedelta(seconds=30)
    plan_floor: timedelta = timedelta(seconds=5)
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


class Runner:
    """Runs one job at a time for each caller; holds no state between jobs."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.ledger = tools.ledger

    # Message stages and notices: batches of groups from the place before the stage

    async def run_place(self, stage: Stage) -> bool:
        """Take one batch through a stage of level MESSAGE or NOTICE; returns whether more may be waiting."""
        tools = self._tools
        await self.ledger.nudged(stage.name)
        token = uuid4().hex
        groups = await self.ledger.claim(f"place:{stage.name}", token, tools.limits.batch, self._lease_end())
        if not groups:
            return False
        broken: Exception | None = None
        nudges: set[str] = set()
        gate = asyncio.Semaphore(tools.limits.commits)

        async def rule(group: str, read: Callable[[], object | None]) -> None:
            nonlocal broken
            async with gate:
                try:
                    nudges.update(await self._rule(stage, token, group, read()))
                except (StoreFull, StoreUnavailable):
                    raise
                except Exception as error:  # noqa: BLE001 - a stage may raise anything; all of it is a fault of ours
                    broken = error
                    await self._set_aside(stage, token, group, error)

        async with self._leased(token):
            items = await self._items(stage, groups)
            try:
                async with asyncio.TaskGroup() as tasks:
                    for group, read in zip(groups, items, strict=True):
                        tasks.create_task(rule(group, read))
            except ExceptionGroup as several:  # Redis is away: what it interrupted comes back when the lease is over
                raise several.exceptions[0] from several
        await tools.nudge(sorted(nudges))
        if broken is not None:
            raise StageBroke(f"stage {stage.name}: {broken!r}") from broken
        return len(groups) == tools.limits.batch

    async def _set_aside(self, stage: Stage, token: str, group: str, error: Exception) -> None:
        log.emit("stage.error", level="error", stage=stage.name, group=group, error=repr(error))
        await self.ledger.set_aside(token, group, self._tools.now() + self._tools.limits.aside)

    async def _items(self, stage: Stage, groups: Sequence[str]) -> list[Callable[[], object | None]]:
        """Fetch the items of a batch; each is read by itself, so that one that cannot be read stops no other."""
        if stage is self._tools.line.first:
            rows = await self.ledger.rows(groups)
            return [partial(self.ledger.read, group, row) for group, row in zip(groups, rows, strict=True)]
        return [partial(_read, stage.takes, payload) for payload in await self.ledger.payloads(stage.name, groups)]

    async def _rule(self, stage: Stage, token: str, group: str, item: object | None) -> set[str]:
        if item is None:  # settled and gone: nothing is owed to it any more
            await self.ledger.commit(token, group, Changes(forget=[f"item:{stage.name}"]))
            return set()
        started = self._tools.now()
        message = message_of(item)
        verdicts = await self._decide(stage, item, message.recipient_ids)
        changes = Changes(forget=[f"item:{stage.name}"])
        for verdict in verdicts:
            self._log(stage, message, verdict, self._tools.now() - started)
        if stage.level is Level.NOTICE:
            for verdict in verdicts:
                if isinstance(verdict, Proceed) and isinstance(verdict.gives, Notice):
                    await self._post(verdict.gives)
            changes.settled = 1
        else:
            for verdict in verdicts:
                if isinstance(verdict, Proceed):
                    self._pass_on(stage, verdict, changes)
                else:
                    self._settle(stage, message, verdict, changes, DanePolicy())
        committed = await self.ledger.commit(token, group, changes)
        return self._after(message, group, committed)

    async def _decide(self, stage: Stage, item: object, expected: tuple[RecipientId, ...]) -> tuple[Verdict, ...]:
        facts: dict[type, object] = {}
        for wanted in stage.wants:
            facts[wanted] = await self._gatherer(stage, wanted).gather(item)
        return self._checked(stage, item, facts, expected)

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

    def _pass_on(self, stage: Stage, verdict: Proceed, changes: Changes) -> None:
        gives = verdict.gives
        if isinstance(gives, Routed):
            gives = self._make_copies(gives, changes)
        if not isinstance(gives, stage.gives):
            raise StageBroke(f"stage {stage.name} gave {type(gives).__name__}, declared {stage.gives.__name__}")
        following = self._tools.line.after(stage)
        if following is not None:
            message = message_of(gives)
            group = group_of(message.id, map(number_of, message.recipient_ids))
            changes.to_place(following.name, group, encode(following.takes, gives))
        elif isinstance(gives, Consigned):
            shares: dict[Destination, list[str]] = {}
            for recipient, destination in gives.destinations.items():
                shares.setdefault(destination, []).append(number_of(recipient))
            for destination, numbers in shares.items():
                changes.to_ready(destination.key, group_of(gives.message.id, numbers))

    def _make_copies(self, routed: Routed, changes: Changes) -> Routed:
        """Turn copy legs into recipients of their own, numbered so that a second run makes the same ones."""
        recipients, routes = list(routed.message.recipients), dict(routed.routes)
        counts: dict[RecipientId, int] = {}
        by_id = {recipient.id: recipient for recipient in recipients}
        for leg in routed.copies:
            original = by_id[leg.of]
            counts[leg.of] = counts.get(leg.of, 0) + 1
            number = int(number_of(leg.of))
            new = recipient_id(routed.message.id, number, counts[leg.of])
            recipients.append(Recipient(new, original.address, copy_rule=leg.rule))
            routes[new] = leg.route
            changes.put(recipients[-1])
            changes.added.append(number_of(new))
        made = tuple(replace(one, copied=True) if one.id in counts else one for one in recipients)
        for recipient in made:
            if recipient.id in counts:
                changes.put(recipient)
        return replace(routed, message=replace(routed.message, recipients=made), routes=routes, copies=())

    # Effects of verdicts

    def _settle(
        self,
        stage: Stage,
        message: Message,
        verdict: Defer | Refuse | Done,
        changes: Changes,
        dane: DanePolicy,
    ) -> None:
        ruled = set(verdict.recipients)
        named = [recipient for recipient in message.recipients if recipient.id in ruled]
        match verdict:
            case Defer():
                self._defer(message, named, verdict, changes, dane)
            case Refuse(reason=reason):
                self._fail(message, [self._noted(recipient, reason) for recipient in named], changes)
            case Done(reason=reason, relayed=relayed):
                state = State.RELAYED if relayed else State.DELIVERED
                if stage.level is not Level.DESTINATION:
                    state = State.DROPPED
                done = tuple(replace(self._noted(recipient, reason), state=state) for recipient in named)
                self._close(done, changes)
                if relayed:
                    changes.owe(Owed(NoticeKind.RELAYED, replace(message, recipients=done)))

    def _noted(self, recipient: Recipient, reason: Reason) -> Recipient:
        return note_failure(recipient, reason, self._tools.now())

    def _defer(
        self,
        message: Message,
        named: list[Recipient],
        verdict: Defer,
        changes: Changes,
        dane: DanePolicy,
    ) -> None:
        chance = self._tools.chance()  # one for the group, so that it stays one transaction
        later: dict[datetime, list[Recipient]] = {}
        given_up, noticed = [], []
        for before in named:
            recipient = self._noted(before, verdict.reason)
            outcome = after_defer(
                recipient, verdict.reason, verdict.not_before, message.envelope, dane, self._tools.schedule,
                self._tools.now(), chance,
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
            changes.later(group_of(message.id, (number_of(recipient.id) for recipient in recipients)), at)
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

    async def _post(self, notice: Notice) -> None:
        identifier = await self._tools.post(notice)
        sender = notice.message.envelope.sender
        log.emit(
            "bounce.sent", message=notice.message.id, notice=identifier, kind=notice.kind,
            to=str(sender) if sender else "", recipients=[str(r.address) for r in notice.message.recipients],
            codes=sorted({r.reason.code for r in notice.message.recipients if r.reason}),
        )  # fmt: skip

    def _after(self, message: Message, group: str, committed: Committed | None) -> set[str]:
        if committed is None:
            log.emit("lease.lost", level="warning", message=message.id, group=group)
            return set()
        if committed.open <= 0:
            log.emit("message.done", message=message.id)
        return set(committed.nudges)

    def _log(self, stage: Stage, message: Message, verdict: Verdict, elapsed: timedelta) -> None:
        if isinstance(verdict, Proceed) and verdict.reason is None:
            verdict = replace(verdict, reason=Reason(stage.name, f"{stage.name}.passed", "2.0.0", "passed on"))
        reason = verdict.reason
        if reason is None:
            raise StageBroke(f"stage {stage.name} ruled without a reason")
        named = set(verdict.recipients)
        log.emit(
            "stage.verdict",
            stage=stage.name,
            verdict=type(verdict).__name__.lower(),
            message=message.id,
            recipients=[str(recipient.address) for recipient in message.recipients if recipient.id in named],
            destination=str(reason.facts.get("destination", "")),
            code=reason.code,
            status=reason.status,
            text=reason.text,
            remote=reason.remote,
            reply=reason.reply,
            facts=dict(reason.facts),
            seconds=round(elapsed.total_seconds(), 6),
        )

    # Destination stages

    async def run_destination(self, stage: Stage, key: str, *, last_try: bool) -> None:
        """Rule on what waits for a destination. Raises `TransientLookup` for a DNS failure, but not on the last try."""
        await self.ledger.nudged(f"to:{key}")
        if Attempt in stage.wants:
            await self._deliver(stage, key)
            return
        facts: dict[type, object] = {}
        while True:
            token = uuid4().hex
            groups = await self.ledger.claim(f"ready:{key}", token, self._tools.limits.batch, self._lease_end())
            if not groups:
                return
            async with self._leased(token):
                rule = partial(self._rule_batch, stage, key, token, facts=facts, last_try=last_try)
                try:
                    going_on = await self._unbroken(stage, token, groups, rule)
                except TransientLookup:
                    await self.ledger.give_back(token)
                    raise
            if going_on:
                return

    async def _unbroken(
        self, stage: Stage, token: str, groups: list[str], rule: Callable[[list[str]], Awaitable[bool]]
    ) -> bool:
        """Rule on a batch; where that breaks, on each group by itself, so that only those rest that break it."""
        try:
            return await rule(groups)
        except (StoreFull, StoreUnavailable, TransientLookup):
            raise
        except Exception as error:  # noqa: BLE001 - a stage may raise anything; all of it is a fault of ours
            broken = error
        alone = len(groups) == 1 or isinstance(broken, StageBroke)  # facts are about all of them
        for group in groups:
            try:
                if not alone:
                    await rule([group])
                    continue
            except (StoreFull, StoreUnavailable, TransientLookup):
                raise
            except Exception as error:  # noqa: BLE001 - see above
                broken = error
            await self._set_aside(stage, token, group, broken)
        raise StageBroke(f"stage {stage.name}: {broken!r}") from broken

    async def _rule_batch(
        self,
        stage: Stage,
        key: str,
        token: str,
        groups: list[str],
        *,
        facts: dict[type, object],
        last_try: bool,
    ) -> bool:
        """Rule on one batch; returns True when it was passed on (the next stage then takes the whole queue)."""
        started = self._tools.now()
        loaded = dict(zip(groups, await self.ledger.load(groups), strict=True))
        present = {group: message for group, message in loaded.items() if message is not None}
        for group in groups:
            if group not in present:
                await self.ledger.commit(token, group, Changes())
        if not present:
            return False
        item = await self._destination_item(stage, key, tuple(present.values()))
        if item is None:
            await self.ledger.give_back(token)
            await self._tools.nudge([f"to:{key}"])
            return True
        for wanted in stage.wants:
            if wanted not in facts:  # one survey for the whole queue
                facts[wanted] = await self._gathered(stage, wanted, item)
        expected = tuple(recipient for message in present.values() for recipient in message.recipient_ids)
        verdicts = self._checked(stage, item, facts, expected)
        if not last_try and any(isinstance(v, Defer) and v.reason.code in TRANSIENT for v in verdicts):
            raise TransientLookup(next(v.reason.text for v in verdicts if isinstance(v, Defer)))
        elapsed = self._tools.now() - started
        passing: set[RecipientId] = set()
        gave: object = None
        for verdict in verdicts:
            if isinstance(verdict, Proceed):
                passing |= set(verdict.recipients)
                gave = verdict.gives
        if isinstance(gave, Planned):
            await self._hand_over(stage, key, gave)
        back = []
        for group, message in present.items():
            self._log_shares(stage, message, verdicts, elapsed)
            if passing.issuperset(message.recipient_ids):
                back.append(group)
                continue
            await self._commit_share(stage, key, token, group, message, verdicts)
        if back:
            await self.ledger.give_back(token, back)
            await self._send_on(stage, key)
        return bool(passing)

    async def _destination_item(self, stage: Stage, key: str, messages: tuple[Message, ...]) -> object | None:
        if stage is self._tools.line.destinations[0]:
            return Consignment(Destination.parse(key), messages)
        payload = await self.ledger.handed(stage.name, key)
        return None if payload is None else replace(decode(Planned, payload), messages=messages)

    async def _hand_over(self, stage: Stage, key: str, planned: Planned) -> None:
        following = self._tools.line.after(stage)
        if following is None:
            return
        lasts = max(planned.plan.expires - self._tools.now(), self._tools.limits.plan_floor)
        await self.ledger.hand_over(following.name, key, encode(Planned, replace(planned, messages=())), lasts)

    async def _send_on(self, stage: Stage, key: str) -> None:
        """Nudge the next stage, once for each connection that the whole queue of the destination is worth."""
        following = self._tools.line.after(stage)
        if following is None:
            return
        limits = self._tools.policy_for(Destination.parse(key)).limits
        backlog = await self.ledger.backlog(key)
        wanted = max(1, min(limits.connections, -(-backlog // max(1, limits.messages_per_connection))))
        await self._tools.nudge([f"{following.name}:to:{key}"] * (wanted if Attempt in following.wants else 1))

    def _log_shares(self, stage: Stage, message: Message, verdicts: Sequence[Verdict], elapsed: timedelta) -> None:
        mine = set(message.recipient_ids)
        for verdict in verdicts:
            share = tuple(recipient for recipient in verdict.recipients if recipient in mine)
            if share:
                self._log(stage, message, replace(verdict, recipients=share), elapsed)

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
        """Commit the verdicts on one group; recipients that proceed stay in the ready queue."""
        changes = Changes()
        if held:
            for recipient in held:
                changes.put(recipient)
            changes.hold(group_of(message.id, (number_of(one.id) for one in held)), self._tools.now())
        dane = self._tools.policy_for(Destination.parse(key)).dane
        mine = set(message.recipient_ids)
        for verdict in verdicts:
            share = tuple(recipient for recipient in verdict.recipients if recipient in mine)
            if share and isinstance(verdict, Proceed):
                changes.to_ready(key, group_of(message.id, map(number_of, share)))
            elif share and not isinstance(verdict, Proceed):
                self._settle(stage, message, replace(verdict, recipients=share), changes, dane)
        committed = await self._commit(token, group, changes)
        await self._tools.nudge(sorted(self._after(message, group, committed)))

    async def _commit(self, token: str, group: str, changes: Changes) -> Committed | None:
        """Commit what a host may have answered; while Redis is away, try for as long as the lease may hold."""
        ends = self._lease_end()
        while True:
            try:
                return await self.ledger.commit(token, group, changes)
            except (StoreFull, StoreUnavailable):
                if self._tools.now() >= ends:
                    raise
                await asyncio.sleep(RETRY_STORE)

    async def _deliver(self, stage: Stage, key: str) -> None:
        """Drain the ready queue over one connection, up to a fair share, committing each message as it is settled."""
        tools = self._tools
        payload = await self.ledger.handed(stage.name, key)
        if payload is None:
            if await self.ledger.backlog(key):
                await tools.nudge([f"to:{key}"])
            return
        planned = decode(Planned, payload)
        policy = tools.policy_for(planned.plan.destination)
        token = uuid4().hex
        if not await self.ledger.open_slot(key, token, policy.limits.connections, tools.now(), self._lease_end()):
            return
        backlog = 0
        under_way: dict[MessageId, _UnderWay] = {}
        try:
            async with self._leased(token, slot=key):
                try:
                    await self._drain(stage, token, planned, policy, under_way)
                except (StoreFull, StoreUnavailable):
                    raise
                except Exception as error:
                    for work in under_way.values():
                        await self._put_away(stage, key, token, work, error)
                    raise StageBroke(f"stage {stage.name}: {error!r}") from error
        finally:
            await self.ledger.give_back(token)
            backlog = await self.ledger.close_slot(key, token)
        if backlog:
            await tools.nudge([f"{stage.name}:to:{key}"])

    async def _drain(
        self, stage: Stage, token: str, planned: Planned, policy: Policy, under_way: "dict[MessageId, _UnderWay]"
    ) -> None:
        tools = self._tools
        key = planned.plan.destination.key
        deadline = tools.now() + tools.limits.fair_time

        async def parcels() -> AsyncIterator[Parcel]:
            for _ in range(tools.limits.fair_share):
                if tools.now() > deadline:
                    return
                groups = await self.ledger.claim(f"ready:{key}", token, 1, self._lease_end())
                if not groups:
                    return
                (row,) = await self.ledger.rows(groups)
                try:
                    message = self.ledger.read(groups[0], row)
                except CodecError as error:
                    await self._set_aside(stage, token, groups[0], error)
                    continue
                if message is None or not message.recipients:
                    await self.ledger.commit(token, groups[0], Changes())
                    continue
                under_way[message.id] = _UnderWay(groups[0], message, tools.now())
                yield Parcel(message, partial(self.ledger.content, message.id))

        async with aclosing(tools.courier.deliver(planned.plan, policy, parcels())) as attempts:
            async for attempt in attempts:
                await self._judge(stage, token, planned, policy, attempt, under_way)

    async def _judge(
        self, stage: Stage, token: str, planned: Planned, policy: Policy, attempt: Attempt,
        under_way: "dict[MessageId, _UnderWay]",
    ) -> None:  # fmt: skip
        message_id = MessageId(attempt.recipients[0].partition("/")[0])
        work = under_way[message_id]
        work.taken |= _taken(attempt)
        asked = set(attempt.recipients)
        part = replace(work.message, recipients=tuple(r for r in work.message.recipients if r.id in asked))
        for host in attempt.hosts:
            log.emit(
                "delivery.attempt", message=message_id, destination=planned.plan.destination.key, **_host_fields(host)
            )
        item = replace(planned, messages=(part,))
        facts: dict[type, object] = {Attempt: attempt, Policy: policy}
        for wanted in stage.wants:
            if wanted not in facts:
                facts[wanted] = await self._gathered(stage, wanted, item)
        verdicts = self._checked(stage, item, facts, part.recipient_ids)
        self._log_shares(stage, part, verdicts, self._tools.now() - work.started)
        work.verdicts.extend(verdicts)
        work.left -= asked
        if not work.left:  # the group commits as one; more than one transaction comes only from splitting it
            del under_way[message_id]
            await self._commit_share(
                stage, planned.plan.destination.key, token, work.group, work.message, work.verdicts
            )

    async def _put_away(self, stage: Stage, key: str, token: str, work: "_UnderWay", error: Exception) -> None:
        """Settle a group over which delivering broke: what was ruled stands, what was taken is held, the rest waits."""
        log.emit("stage.error", level="error", stage=stage.name, group=work.group, error=repr(error))
        ruled = {recipient for verdict in work.verdicts for recipient in verdict.recipients}
        taken = [one for one in work.message.recipients if one.id in work.taken - ruled]
        if not ruled and not taken:
            await self.ledger.set_aside(token, work.group, self._tools.now() + self._tools.limits.aside)
            return
        left = tuple(one for one in work.message.recipient_ids if one not in ruled | work.taken)
        verdicts = [*work.verdicts, *([Proceed(left, None)] if left else [])]
        text = f"a host took it, then stage {stage.name} broke: {error!r}; drop it, or release it to send it once more"
        reason = Reason("queue", "queue.held", "4.3.0", text)
        await self._commit_share(
            stage, key, token, work.group, work.message, verdicts,
            [replace(self._noted(one, reason), state=State.HELD) for one in taken],
        )  # fmt: skip

    # Leases

    def _lease_end(self) -> datetime:
        return self._tools.now() + self._tools.limits.lease

    @asynccontextmanager
    async def _leased(self, token: str, *, slot: str | None = None) -> AsyncIterator[None]:
        """Prolong the lease three times within its length for as long as the block runs."""

        async def prolong() -> None:
            pause = third = self._tools.limits.lease.total_seconds() / 3
            while True:
                await asyncio.sleep(pause)
                try:
                    await self.ledger.extend(token, self._lease_end())
                    if slot is not None:
                        await self.ledger.extend_slot(slot, token, self._lease_end())
                    pause = third
                except (StoreFull, StoreUnavailable):  # the lease may still be ours when Redis is back
                    pause = min(third, RETRY_STORE)

        task = asyncio.create_task(prolong())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)  # its failure shows as a lost lease at the commit


class _UnderWay:
    """A group that is being delivered: what has been ruled of it and which recipients are left."""

    __slots__ = ("group", "left", "message", "started", "taken", "verdicts")

    def __init__(self, group: str, message: Message, started: datetime) -> None:
        self.group = group
        self.message = message
        self.started = started
        self.left = set(message.recipient_ids)
        self.taken: set[RecipientId] = set()
        self.verdicts: list[Verdict] = []


def _read(kind: type, payload: bytes | None) -> object | None:
    return None if payload is None else decode(kind, payload)


def message_of(item: object) -> Message:
    """Give the message that an item of a message or notice stage is about. Raises TypeError for other items."""
    if isinstance(item, Message):
        return item
    message = getattr(item, "message", None)
    if isinstance(message, Message):
        return message
    raise TypeError(f"{type(item).__name__} is about no message")


def _taken(attempt: Attempt) -> set[RecipientId]:
    """List those for whom a host has taken the message, whatever is ruled of that."""
    transaction = attempt.transaction
    if transaction is None or transaction.data is None or transaction.data.code // 100 != 2:
        return set()
    return {one for one, reply in transaction.recipients.items() if reply.code // 100 == 2}


def _host_fields(host: HostAttempt) -> dict[str, Any]:
    return {
        "host": host.host,
        "address": host.address,
        "port": host.port,
        "demand": host.demand,
        "outcome": str(host.trouble) if host.trouble else "session",
        "text": host.text,
        "reply": f"{host.reply.code} {host.reply.text}" if host.reply else "",
        "security": host.handshake.level if host.handshake else "none",
        "tls": dict(host.handshake.facts) | {"version": host.handshake.version, "cipher": host.handshake.cipher}
        if host.handshake
        else {},
        "audit_failure": host.audit_failure,
        "seconds": round(host.seconds, 6),
    }
