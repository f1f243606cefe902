"""Destination stages: rule on the ready queue of a destination, and go on to deliver by the plan that comes of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from uuid import uuid4

from pipeline.deferring import Deferrer
from pipeline.delivering import Deliverer
from pipeline.desk import StageBroke, Tools, shares_of
from pipeline.hands import Hand, Handed, hands
from pipeline.leases import Lease
from pipeline.store.changes import Changes
from pipeline.store.codec import decode
from pipeline.store.connection import StoreFull, StoreUnavailable
from stages.attempt import Attempt
from stages.contract import Consignment, Planned, Stage
from stages.destination import Destination
from stages.message import Message, RecipientId
from stages.reason import Reason
from stages.rollover import LOOKUPS
from stages.verdict import Defer, Proceed

EACH = 25  # groups that wait for each connection before one more is asked for at once


class TransientLookup(Exception):  # noqa: N818 - not a fault of ours
    """DNS failed in a way that may pass within seconds. The ready queue is untouched; the job should come back."""


class Planner(Deferrer):
    """Runs destination stages; the one that delivers is the work of `pipeline.delivering`."""

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._deliverer = Deliverer(tools)

    async def run_destination(self, stage: Stage, key: str, *, last_try: bool) -> None:
        """Rule on what waits for a destination. Raises `TransientLookup` for a DNS failure, but not on the last try.

        Where the next stage delivers and this process runs it, the job goes on to deliver what it has in hand.
        """
        if Attempt in stage.wants:
            await self._deliverer.deliver(stage, key)
            return
        if self._tools.gates is not None and await self._tools.gates.halted(key):
            return
        limits, facts = self._tools.limits, dict[type, object]()
        following = self._tools.line.after(stage)
        here = following is not None and Attempt in following.wants and self._tools.runs(following)
        bring, count = ("mail", limits.hand) if here else ("rows", limits.batch)
        while True:
            token = uuid4().hex
            taken = await self.ledger.take(f"ready:{key}", token, count, limits.lease, bring=bring)
            if not taken.groups:
                return
            async with self._leased(Lease(token, self._tools.limits.lease)):
                rule = partial(self._rule_batch, stage, key, token, facts=facts, last_try=last_try)
                try:
                    planned = await self._unbroken(stage, token, hands(self.ledger, taken, bring, ruled=True), rule)
                except TransientLookup:
                    await self.ledger.give_back(token)
                    raise
            if planned is not None:
                if following is not None:
                    await self._send_on(following, key, token, planned, taken.left if here else None)
                return
            bring, count = "rows", limits.batch  # nobody delivers these: there may be many

    async def _unbroken(
        self, stage: Stage, token: str, held: "list[Hand]",
        rule: "Callable[[list[Hand]], Awaitable[_Passing | None]]",
    ) -> "_Passing | None":  # fmt: skip
        """Rule on a batch; where that breaks, on each group by itself, so that only those rest that break it."""
        try:
            return await rule(held)
        except (StoreFull, StoreUnavailable, TransientLookup):
            raise
        except Exception as error:  # noqa: BLE001 - a stage may raise anything; all of it is a fault of ours
            broken = error
        alone = len(held) == 1 or isinstance(broken, StageBroke)  # facts are about all of them
        for hand in held:
            try:
                if not alone:
                    if await rule([hand]) is not None:
                        await self.ledger.give_back(token, [hand.group])
                    continue
            except (StoreFull, StoreUnavailable, TransientLookup):
                raise
            except Exception as error:  # noqa: BLE001 - see above
                broken = error
            await self._set_aside(stage, token, hand.group, broken)
        raise StageBroke(f"stage {stage.name}: {broken!r}") from broken

    async def _rule_batch(
        self,
        stage: Stage,
        key: str,
        token: str,
        held: "list[Hand]",
        *,
        facts: dict[type, object],
        last_try: bool,
    ) -> "_Passing | None":
        """Rule on one batch; returns what goes on to the next stage, which then takes the whole queue."""
        started = self._tools.now()
        messages = [hand.read() for hand in held]
        present = [
            (hand, message)
            for hand, message in zip(held, messages, strict=True)
            if message is not None and not await self._put_aside(token, hand.group, message)
        ]
        gone = [hand.group for hand, message in zip(held, messages, strict=True) if message is None]
        if gone:
            await self.ledger.commit_all(token, [(group, Changes()) for group in gone])
        if not present:
            return None
        item = await self._destination_item(stage, key, tuple(message for _, message in present))
        if item is None:
            await self.ledger.give_back(token)
            await self._tools.nudge([f"to:{key}"])
            return _Passing([], None, None)
        for wanted in stage.wants:
            if wanted not in facts:  # one survey for the whole queue
                facts[wanted] = await self._gathered(stage, wanted, item)
        expected = tuple(recipient for _, message in present for recipient in message.recipient_ids)
        verdicts = self._checked(stage, item, facts, expected)
        if not last_try and any(isinstance(v, Defer) and v.reason.code in LOOKUPS for v in verdicts):
            raise TransientLookup(next(v.reason.text for v in verdicts if isinstance(v, Defer)))
        elapsed = self._tools.now() - started
        passing: set[RecipientId] = set()
        going: Proceed | None = None
        for verdict in verdicts:
            if isinstance(verdict, Proceed):
                passing |= set(verdict.recipients)
                going = verdict
        on = []
        shares = shares_of(verdicts)
        for hand, message in present:
            mine = shares[message.id]
            self._log_shares(stage, message, mine, elapsed)
            if passing.issuperset(message.recipient_ids):
                on.append(hand)
                continue
            await self._commit_share(stage, key, token, hand.group, message, mine)
        if going is None:
            return None
        planned = going.gives if isinstance(going.gives, Planned) else None
        return _Passing(on, planned, going.reason)

    async def _destination_item(self, stage: Stage, key: str, messages: tuple[Message, ...]) -> object | None:
        if stage is self._tools.line.destinations[0]:
            return Consignment(Destination.parse(key), messages)
        payload = await self.ledger.handed(stage.name, key)
        return None if payload is None else replace(decode(Handed, payload).planned, messages=messages)

    async def _send_on(self, stage: Stage, key: str, token: str, passing: "_Passing", left: int | None) -> None:
        """Leave the plan for the next stage; deliver here (`left`: groups that wait besides), or nudge who does."""
        planned = passing.planned
        handed = None if planned is None else await self.leave_plan(stage, planned, passing.reason)
        if left is None or handed is None:
            await self.ledger.give_back(token)
            await self._tools.nudge([f"{stage.name}:to:{key}"])
            return
        wanted = min(self._tools.policy_for(handed.planned.plan.destination).limits.connections, 1 + left // EACH)
        await self._tools.nudge([f"{stage.name}:to:{key}"] * (wanted - 1))
        await self._deliverer.carry(stage, key, token, handed, passing.hands)


@dataclass(frozen=True, slots=True)
class _Passing:
    """What of a batch goes on to the next destination stage, with the plan and the reason that it goes on with."""

    hands: "list[Hand]"
    planned: Planned | None
    reason: Reason | None
