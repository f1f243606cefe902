"""Run the stages: claim, gather facts, decide, log, commit. The only place where a verdict becomes an effect.

Message stages and notices, here, take batches of groups from their place; destination stages, in `pipeline.planning`,
rule on a ready queue, and the one that delivers is `pipeline.delivering`. What all of them do with verdicts, faults and
leases is in `pipeline.desk`.
"""

import asyncio
from dataclasses import dataclass, replace
from uuid import uuid4

from pipeline import log
from pipeline.desk import Limits, StageBroke, Tools, parts_of
from pipeline.leases import Lease
from pipeline.planning import Planner, TransientLookup
from pipeline.store.changes import Call, Changes, Row, group_of, number_of
from pipeline.store.codec import decode, encode
from pipeline.store.connection import StoreFull, StoreUnavailable
from stages.contract import Consigned, Level, Notice, Routed, Stage
from stages.destination import Destination
from stages.message import Message, Recipient, RecipientId, recipient_id
from stages.policy import DanePolicy
from stages.verdict import Proceed, Verdict

__all__ = ["Limits", "Runner", "StageBroke", "Tools", "TransientLookup"]


class Runner(Planner):
    """Runs one job at a time for each caller; holds no state between jobs."""

    def end(self) -> None:
        """Ask the jobs that run to finish what they have in hand and to take nothing new."""
        self.ending = self._deliverer.ending = True
        if self._tools.parking is not None:
            self._tools.parking.end()

    # Message stages and notices: batches of groups from the place before the stage

    async def run_place(self, stage: Stage) -> bool:
        """Take one batch through a stage of level MESSAGE or NOTICE; returns whether there was any.

        A batch goes on through the message stages behind it in the same job, where this process runs them too, and is
        committed once: what Redis and Dramatiq cost is paid for a batch, not for each message at each stage.
        """
        tools = self._tools
        token = uuid4().hex
        bring = "rows" if stage is tools.line.first else f"item:{stage.name}"
        call = Call(f"more:{stage.name}")
        taken = await self.ledger.take(
            f"place:{stage.name}", token, tools.limits.batch, tools.limits.lease, bring=bring, call=call
        )
        if not taken.groups:
            return False
        if taken.more:
            await tools.nudge([stage.name])
        broken: Exception | None = None
        nudges: set[str] = set()

        async def rule(group: str, row: Row) -> _Ruled | None:
            nonlocal broken
            try:
                return await self._rule(stage, group, row)
            except (StoreFull, StoreUnavailable):
                raise
            except Exception as error:  # noqa: BLE001 - a stage may raise anything; all of it is a fault of ours
                broken = error
                await self._set_aside(stage, token, group, error)
                return None

        async with self._leased(Lease(token, self._tools.limits.lease)):
            for first in range(0, len(taken.groups), tools.limits.commits):
                share = taken.groups[first : first + tools.limits.commits]
                ruled = [one for one in await asyncio.gather(*(rule(*each) for each in share)) if one is not None]
                committed = await self.ledger.commit_all(token, [(one.group, one.changes) for one in ruled])
                for one, result in zip(ruled, committed, strict=True):
                    if one.message is not None:
                        nudges |= self._after(one.message, one.group, result)
        await tools.nudge(sorted(nudges))
        if broken is not None:
            raise StageBroke(f"stage {stage.name}: {broken!r}") from broken
        return True

    def _item(self, stage: Stage, group: str, row: Row) -> object | None:
        if stage is self._tools.line.first:
            return self.ledger.read(group, row)
        return None if row[0] is None else decode(stage.takes, row[0])

    async def _rule(self, stage: Stage, group: str, row: Row) -> "_Ruled":
        changes = Changes(forget=[] if stage is self._tools.line.first else [f"item:{stage.name}"])
        item = self._item(stage, group, row)
        if item is None:  # settled and gone: nothing is owed to it any more
            return _Ruled(group, None, changes)
        message = message_of(item)
        if stage.level is Level.NOTICE:
            for verdict in await self._verdicts(stage, item, message):
                if isinstance(verdict, Proceed) and isinstance(verdict.gives, Notice):
                    await self._post(verdict.gives)
            changes.settled = 1
        else:
            await self._go_through(stage, item, message, changes)
        return _Ruled(group, message, changes)

    async def _verdicts(self, stage: Stage, item: object, message: Message) -> tuple[Verdict, ...]:
        started = self._tools.now()
        verdicts = await self._decide(stage, item, message.recipient_ids)
        self._log_shares(stage, message, verdicts, self._tools.now() - started)
        return verdicts

    async def _go_through(self, stage: Stage, item: object, message: Message, changes: Changes) -> None:
        for verdict, part in parts_of(message, await self._verdicts(stage, item, message)):
            if isinstance(verdict, Proceed):
                await self._pass_on(stage, verdict, changes)
            else:
                self._settle(stage, part, verdict, changes, DanePolicy())

    async def _decide(self, stage: Stage, item: object, expected: tuple[RecipientId, ...]) -> tuple[Verdict, ...]:
        facts: dict[type, object] = {}
        for wanted in stage.wants:
            facts[wanted] = await self._gatherer(stage, wanted).gather(item)
        return self._checked(stage, item, facts, expected)

    async def _pass_on(self, stage: Stage, verdict: Proceed, changes: Changes) -> None:
        gives = verdict.gives
        if isinstance(gives, Routed):
            gives = self._make_copies(gives, changes)
        if not isinstance(gives, stage.gives):
            raise StageBroke(f"stage {stage.name} gave {type(gives).__name__}, declared {stage.gives.__name__}")
        following = self._tools.line.after(stage)
        if following is not None:
            await self._next(following, gives, message_of(gives), changes)
        elif isinstance(gives, Consigned):
            shares: dict[Destination, list[str]] = {}
            for recipient, destination in gives.destinations.items():
                shares.setdefault(destination, []).append(number_of(recipient))
            for destination, numbers in shares.items():
                changes.to_ready(destination.key, group_of(gives.message.id, numbers))

    async def _next(self, stage: Stage, item: object, message: Message, changes: Changes) -> None:
        """Go on with the next stage here; where this process does not run it, or it breaks, it gets the item by Redis.

        So a fault shows in the place of the stage that has it, and what the stages before have ruled stands.
        """
        group = group_of(message.id, map(number_of, message.recipient_ids))
        if self._tools.runs(stage):
            trial = Changes()
            try:
                await self._go_through(stage, item, message, trial)
            except (StoreFull, StoreUnavailable):
                raise
            except Exception as error:  # noqa: BLE001 - a stage may raise anything; all of it is a fault of ours
                log.emit("stage.error", level="error", stage=stage.name, group=group, error=repr(error))
            else:
                changes.add(trial)
                return
        changes.to_place(stage.name, group, encode(stage.takes, item))

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


@dataclass(frozen=True, slots=True)
class _Ruled:
    """What is to be committed of a group; `message` is None where nothing was left of it."""

    group: str
    message: Message | None
    changes: Changes


def message_of(item: object) -> Message:
    """Give the message that an item of a message or notice stage is about. Raises TypeError for other items."""
    if isinstance(item, Message):
        return item
    message = getattr(item, "message", None)
    if isinstance(message, Message):
        return message
    raise TypeError(f"{type(item).__name__} is about no message")
