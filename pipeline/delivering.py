"""Deliver: drain the ready queue of a destination over one connection, and settle each message as it is answered.

What a host has taken is never sent again for a fault of ours: where ruling on it breaks, it is held for an operator.
Redis being away after the host's reply is waited out, however long that takes (SMTP-57).
"""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from delivery.courier import Parcel
from pipeline import log
from pipeline.behind import Behind
from pipeline.deferring import Deferrer
from pipeline.desk import StageBroke
from pipeline.hands import Hand, Handed, hands
from pipeline.leases import Lease, LeaseOver
from pipeline.store.changes import Call, Changes
from pipeline.store.codec import CodecError, decode
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.content import ContentGone
from pipeline.walk import Pace, Walk
from stages.attempt import Attempt, HostAttempt
from stages.contract import Planned, Stage
from stages.message import Message, MessageId, RecipientId, State, message_of
from stages.plan import Plan
from stages.policy import Policy
from stages.reason import Reason
from stages.rollover import rests_on_error
from stages.verdict import Proceed, Verdict


class Deliverer(Deferrer):
    """Runs the stage that wants an `Attempt`, one connection a job."""

    async def deliver(self, stage: Stage, key: str) -> None:
        """Deliver by the plan that was left for the destination; without one, have a new plan made if mail waits."""
        payload = await self.ledger.handed(stage.name, key)
        try:
            handed = None if payload is None else decode(Handed, payload)
        except CodecError:  # as another version writes it: a new one is made soon
            handed = None
        if handed is not None:
            await self.carry(stage, key, uuid4().hex, handed, [])
        elif await self.ledger.backlog(key):
            await self._tools.nudge([f"to:{key}"])

    async def carry(self, stage: Stage, key: str, token: str, handed: Handed, held: list[Hand]) -> None:
        """Drain the ready queue over one connection if there may be one, and if no host of the plan is out of reach.

        `held` is what the token has taken already; it comes first.
        """
        gates, plan = self._tools.gates, handed.planned.plan
        if gates is None:
            await self._connect(stage, key, token, handed, held, None)
            return
        if await gates.halted(key, plan):
            await self.ledger.give_back(token)
            return
        walk = Walk(gates, token)
        barred = await walk.barred_all(plan)
        if barred is not None:
            await self.turn_back(stage, key, token, handed.planned, barred)
            return
        if await self.left_alone(stage, key, token, handed.planned):
            return

        async def call(waiting: Sequence[str]) -> None:
            await self._tools.nudge([f"{stage.name}:to:{one}" for one in waiting])

        async with gates.seated(plan, token, self._tools.policy_for(plan.destination).limits, call) as seated:
            if seated:
                try:
                    await self._connect(stage, key, token, handed, held, walk)
                finally:
                    if self._tools.rollover is not None:
                        await self._tools.rollover.over(plan, token)
            else:  # it stands in line, and is called
                await self.ledger.give_back(token)

    async def _connect(
        self, stage: Stage, key: str, token: str, handed: Handed, held: list[Hand], walk: Walk | None
    ) -> None:
        """Drain the ready queue up to a fair share, committing each message as it is settled."""
        tools = self._tools
        policy = tools.policy_for(handed.planned.plan.destination)
        lease = Lease(token, tools.limits.lease)
        opened = await self.ledger.open_slot(key, token, policy.limits.connections, lease.length)
        if not opened:
            await self.ledger.give_back(token)  # those who hold the connections will take it
            return
        backlog = 0
        pace = Pace(tools.gates, key, policy.limits.rate)
        under_way: dict[MessageId, _UnderWay] = {}
        try:
            async with self._leased(lease, slot=key):
                try:
                    ours = deque(held if opened == 2 else ())  # what was taken before may have been taken back since
                    await self._drain(stage, lease, handed, policy, ours, under_way, walk, pace)
                except (StoreFull, StoreUnavailable):
                    raise
                except LeaseOver:
                    for work in under_way.values():
                        log.emit("lease.lost", level="warning", message=work.message.id, group=work.group)
                except ContentGone as gone:
                    await self._hold(stage, key, token, under_way[gone.message], gone)
                except Exception as error:
                    if not under_way:  # it broke between two messages
                        log.emit("stage.error", level="error", stage=stage.name, group="", error=repr(error))
                    for work in under_way.values():
                        await self._put_away(stage, key, token, work, error)
                    raise StageBroke(f"stage {stage.name}: {error!r}") from error
        finally:
            backlog = await self.ledger.close_slot(key, token)
            if walk is not None:
                walk.end()
            await pace.end()
        if backlog and not pace.over:
            await tools.nudge([f"{stage.name}:to:{key}"])

    async def _drain(  # noqa: PLR0913, PLR0917 - what one connection takes
        self, stage: Stage, lease: Lease, handed: Handed, policy: Policy, held: deque[Hand],
        under_way: "dict[MessageId, _UnderWay]", walk: Walk | None, pace: Pace,
    ) -> None:  # fmt: skip
        tools, planned, token = self._tools, handed.planned, lease.token
        deadline = tools.now() + tools.limits.fair_time
        stands = False  # a session, which may wait: what comes later is not to be judged by hosts that failed before
        if handed.until is not None:  # as long as the plan may be used
            deadline = min(deadline, handed.until)

        async def parcels() -> AsyncIterator[Parcel]:
            for left in range(tools.limits.fair_share, 0, -1):
                while not held:
                    if self.ending or tools.now() > deadline:
                        return
                    idle = min(policy.limits.idle, deadline - tools.now()).total_seconds()
                    idle *= stands and not rests_on_error(planned.plan)  # what comes later may have a better plan
                    count, asked = min(left, tools.limits.hand), lease.asked()
                    if not await self._take(stage, planned.plan, token, count, policy, held, idle):
                        return
                    if held:
                        lease.given(asked)
                if tools.now() > deadline or not await pace.go(min(left, len(held)), handed.until):
                    return
                if self.ending:
                    return
                hand = held.popleft()
                try:
                    message = hand.read()
                except CodecError as error:
                    await self._set_aside(stage, token, hand.group, error)
                    continue
                if message is None or not message.recipients:
                    await self.ledger.commit(token, hand.group, Changes())
                    continue
                if await self._put_aside(token, hand.group, message):
                    continue
                self._log_plan(handed, message, hand)
                under_way[message.id] = _UnderWay(hand.group, message, tools.now())
                yield Parcel(message, partial(self.ledger.content, message, hand.content), lease.check)

        async def second(plan: Plan, attempt: HostAttempt) -> Plan:
            nonlocal planned
            assert tools.rollover is not None  # noqa: S101 - see below
            planned = replace(planned, plan=await tools.rollover.second(plan, attempt))
            if not rests_on_error(planned.plan):  # else it would stand for longer than the error
                await self.leave_plan(stage, planned, handed.reason)
            return planned.plan

        again = None if tools.rollover is None else second
        async with aclosing(tools.courier.deliver(planned.plan, policy, parcels(), walk, again)) as attempts:
            behind = Behind()
            try:
                async for attempt in attempts:
                    stands = attempt.transaction is not None
                    await self._judge(stage, token, planned, policy, attempt, under_way, behind)
            finally:
                await behind.end()

    async def _take(
        self, stage: Stage, plan: Plan, token: str, count: int, policy: Policy, held: deque[Hand], idle: float
    ) -> bool:
        """Take some more of the ready queue, and call for one more connection where that is long.

        Where there is nothing, wait for a while; returns whether to go on.
        """
        key, parking = plan.destination.key, self._tools.parking
        if self._tools.gates is not None and await self._tools.gates.halted(key, plan):
            return False
        shared = policy.limits.site_connections is not None  # others of the site may wait for this connection
        if parking is None or shared or idle <= 0 or not parking.worth(key):
            await self._fetch(stage, key, token, count, policy, held, 0.0)
            return bool(held)
        with parking.ready(token) as word:
            parked = await self._fetch(stage, key, token, count, policy, held, idle)
            return bool(held) or (parked and await parking.wait(word, key, token, idle))

    async def _fetch(
        self, stage: Stage, key: str, token: str, count: int, policy: Policy, held: deque[Hand], wait: float
    ) -> bool:
        more = f"{stage.name}:to:{key}"
        call = Call(more, policy.limits.connections, wait)
        taken = await self.ledger.take(f"ready:{key}", token, count, self._tools.limits.lease, bring="mail", call=call)
        if taken.more:
            await self._tools.nudge([more])
        held.extend(hands(self.ledger, taken, "mail"))
        return taken.parked

    def _log_plan(self, handed: Handed, message: Message, hand: Hand) -> None:
        """Say of a message that came after the plan was made that it goes by that plan, as the stage before would."""
        if handed.reason is not None and not hand.ruled:
            before = self._tools.line.destinations[-2]
            verdict = Proceed(message.recipient_ids, None, handed.reason)
            self._log(before, message, verdict, timedelta(0))

    async def _judge(
        self, stage: Stage, token: str, planned: Planned, policy: Policy, attempt: Attempt,
        under_way: "dict[MessageId, _UnderWay]", behind: Behind,
    ) -> None:  # fmt: skip
        if self._tools.rollover is not None:
            attempt = await self._tools.rollover.heard(planned.plan, attempt)
        message_id = message_of(attempt.recipients[0])
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
            key = planned.plan.destination.key
            await behind.then(self._commit_share(stage, key, token, work.group, work.message, work.verdicts))

    async def _put_away(self, stage: Stage, key: str, token: str, work: "_UnderWay", error: Exception) -> None:
        """Settle a group over which delivering broke: what was ruled stands, what was taken is held, the rest waits."""
        log.emit("stage.error", level="error", stage=stage.name, group=work.group, error=repr(error))
        ruled = {recipient for verdict in work.verdicts for recipient in verdict.recipients}
        taken = [one for one in work.message.recipients if one.id in work.taken - ruled]
        if not ruled and not taken:
            await self.ledger.set_aside(token, work.group, self._tools.limits.aside)
            return
        left = tuple(one for one in work.message.recipient_ids if one not in ruled | work.taken)
        verdicts = [*work.verdicts, *([Proceed(left, None)] if left else [])]
        text = f"a host took it, then stage {stage.name} broke: {error!r}; drop it, or release it to send it once more"
        reason = Reason("queue", "queue.held", "4.3.0", text)
        await self._commit_share(
            stage, key, token, work.group, work.message, verdicts,
            [replace(self._noted(one, reason), state=State.HELD) for one in taken],
        )  # fmt: skip

    async def _hold(self, stage: Stage, key: str, token: str, work: "_UnderWay", gone: ContentGone) -> None:
        """Hold a group whose content is lost: an operator may bring it back, and nobody is told what is not so."""
        gone.tell()
        ruled = {recipient for verdict in work.verdicts for recipient in verdict.recipients}
        text = f"{gone}; bring it back and release the message, or return or drop it"
        reason = Reason("queue", "queue.content_gone", "4.3.0", text)
        left = [one for one in work.message.recipients if one.id not in ruled]
        await self._commit_share(
            stage, key, token, work.group, work.message, work.verdicts,
            [replace(self._noted(one, reason), state=State.HELD) for one in left],
        )  # fmt: skip


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
