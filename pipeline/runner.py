"""Run the stages: claim, gather facts, decide, log, commit. The only place where a verdict becomes an effect.

Message stages and notices take batches of groups from their place; destination stages rule on a ready queue, and the
one that delivers is `pipeline.delivering`. What all of them do with verdicts, faults and leases is in `pipeline.desk`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from uuid import uuid4

from pipeline import log
from pipeline.delivering import Deliverer
from pipeline.desk import Desk, Limits, StageBroke, Tools
from pipeline.store.codec import decode, encode
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.ledger import Changes, group_of, number_of
from stages.attempt import Attempt
from stages.contract import Consigned, Consignment, Level, Notice, Planned, Routed, Stage
from stages.destination import Destination
from stages.message import Message, Recipient, RecipientId, recipient_id
from stages.plan import Trouble
from stages.policy import DanePolicy
from stages.verdict import Defer, Proceed, Verdict

__all__ = ["Limits", "Runner", "StageBroke", "Tools", "TransientLookup"]

TRANSIENT = frozenset({Trouble.LOOKUP_MX, Trouble.LOOKUP_ADDRESS, Trouble.LOOKUP_TLSA, Trouble.SUSPENDED})


class TransientLookup(Exception):  # noqa: N818 - not a fault of ours
    """DNS failed in a way that may pass within seconds. The ready queue is untouched; the job should come back."""


class Runner(Desk):
    """Runs one job at a time for each caller; holds no state between jobs."""

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._deliverer = Deliverer(tools)

    def end(self) -> None:
        """Ask the jobs that run to finish what they have in hand and to take nothing new."""
        self.ending = self._deliverer.ending = True

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

    async def _post(self, notice: Notice) -> None:
        identifier = await self._tools.post(notice)
        sender = notice.message.envelope.sender
        log.emit(
            "bounce.sent", message=notice.message.id, notice=identifier, kind=notice.kind,
            to=str(sender) if sender else "", recipients=[str(r.address) for r in notice.message.recipients],
            codes=sorted({r.reason.code for r in notice.message.recipients if r.reason}),
        )  # fmt: skip

    # Destination stages

    async def run_destination(self, stage: Stage, key: str, *, last_try: bool) -> None:
        """Rule on what waits for a destination. Raises `TransientLookup` for a DNS failure, but not on the last try."""
        await self.ledger.nudged(f"to:{key}")
        if Attempt in stage.wants:
            await self._deliverer.deliver(stage, key)
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
        limits = self._tools.limits
        lasts = min(max(planned.plan.expires - self._tools.now(), limits.plan_floor), limits.plan_ceiling)
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
