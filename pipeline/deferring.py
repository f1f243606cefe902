"""Let mail wait without connecting: that of a suspended sender, and of a destination whose hosts are all out of reach.

Of a ready queue, a batch is taken and committed at a time. Each message stands as if it had been tried and its hosts
could not be reached, with its own next try, lifetime and reports, which the stage that delivers and the schedule rule.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from pipeline.desk import Desk, StageBroke
from pipeline.gates import TRIED
from pipeline.hands import Handed
from pipeline.leases import Lease
from pipeline.store.changes import Changes, Row
from pipeline.store.codec import CodecError, encode
from pipeline.store.connection import StoreFull, StoreUnavailable
from stages.attempt import Attempt, HostAttempt
from stages.contract import Planned, Stage
from stages.message import Message
from stages.policy import Policy
from stages.reason import Reason


class Deferrer(Desk):
    """A desk that knows of gates."""

    async def _put_aside(self, token: str, group: str, message: Message) -> bool:
        """Let a group wait whose sender is suspended; tells whether it is so. It comes back at the first stage."""
        gates, sender = self._tools.gates, message.envelope.sender
        if gates is None or gates.sender(sender) is None:
            return False
        suspension = await gates.confirmed(sender)
        if suspension is None:
            return False
        changes = Changes()
        changes.aside(suspension.list, group)
        self._after(message, group, await self._commit(token, group, changes))
        return True

    async def leave_plan(self, stage: Stage, planned: Planned, reason: Reason | None) -> Handed:
        """Leave a plan for the stage that delivers, for as long as it may be used; one without hosts is made anew."""
        limits, plan, now = self._tools.limits, planned.plan, self._tools.now()
        lasts = min(max(plan.expires - now, limits.plan_floor), limits.plan_ceiling)
        handed = Handed(replace(planned, messages=()), reason, now + lasts)
        if plan.hosts:
            await self.ledger.hand_over(stage.name, plan.destination.key, encode(Handed, handed), lasts)
        return handed

    async def turn_back(
        self, stage: Stage, key: str, token: str, planned: Planned, barred: tuple[HostAttempt, ...],
        until: datetime | None = None,
    ) -> None:  # fmt: skip
        """Rule on the ready queue by what stands for tries of its hosts; with nothing, somebody tries one now.

        `until` is that of `Attempt`.
        """
        await self.ledger.give_back(token)
        if not barred and self._tools.gates is not None:
            await self._tools.gates.hush(key, TRIED)
            return
        async with self._leased(Lease(token, self._tools.limits.lease)):
            try:
                await self._defer_all(stage, key, token, planned, barred, until)
            finally:
                await self.ledger.give_back(token)

    async def left_alone(self, stage: Stage, key: str, token: str, planned: Planned) -> bool:
        """Turn back from a destination that is parked for its certificates, or tried by somebody else right now."""
        rollover = self._tools.rollover
        parked = False if rollover is None else await rollover.barred(planned.plan, token)
        if parked is True:
            await self.turn_back(stage, key, token, planned, ())
        elif parked is not False:
            seen = replace(planned, plan=parked.plan)
            await self.turn_back(stage, key, token, seen, parked.hosts, parked.until)
        return parked is not False

    async def _defer_all(
        self, stage: Stage, key: str, token: str, planned: Planned, hosts: tuple[HostAttempt, ...],
        until: datetime | None,
    ) -> None:  # fmt: skip
        list_, limits = f"ready:{key}", self._tools.limits
        while not self.ending:
            taken = await self.ledger.take(list_, token, limits.batch, limits.lease, bring="rows")
            if not taken.groups:
                return
            await self._defer_batch(stage, key, token, planned, hosts, until, taken.groups)

    async def _defer_batch(
        self, stage: Stage, key: str, token: str, planned: Planned, hosts: tuple[HostAttempt, ...],
        until: datetime | None, groups: Sequence[tuple[str, Row]],
    ) -> None:  # fmt: skip
        messages: dict[str, Message] = {}
        settled: list[tuple[str, Changes]] = []
        for group, row in groups:
            try:
                message = self.ledger.read(group, row)
            except CodecError as error:
                await self._set_aside(stage, token, group, error)
                continue
            if message is None or not message.recipients:
                settled.append((group, Changes()))
            elif not await self._put_aside(token, group, message):
                messages[group] = message
        broken: Exception | None = None
        for group, message in messages.items():
            try:
                settled.append((group, await self._ruled(stage, key, planned, hosts, until, message)))
            except (StoreFull, StoreUnavailable):
                raise
            except Exception as error:  # noqa: BLE001 - a stage may raise anything; all of it is a fault of ours
                broken = error
                await self._set_aside(stage, token, group, error)
        for first in range(0, len(settled), self._tools.limits.commits):
            share = settled[first : first + self._tools.limits.commits]
            nudges: set[str] = set()
            for (group, _), result in zip(share, await self.ledger.commit_all(token, share), strict=True):
                if group in messages:
                    nudges |= self._after(messages[group], group, result)
            await self._tools.nudge(sorted(nudges))
        if broken is not None:
            raise StageBroke(f"stage {stage.name}: {broken!r}") from broken

    async def _ruled(
        self, stage: Stage, key: str, planned: Planned, hosts: tuple[HostAttempt, ...], until: datetime | None,
        message: Message,
    ) -> Changes:  # fmt: skip
        started = self._tools.now()
        item = replace(planned, messages=(message,))
        facts: dict[type, object] = {
            Attempt: Attempt(message.recipient_ids, hosts, until=until),
            Policy: self._tools.policy_for(planned.plan.destination),
        }
        for wanted in stage.wants:
            if wanted not in facts:
                facts[wanted] = await self._gathered(stage, wanted, item)
        verdicts = self._checked(stage, item, facts, message.recipient_ids)
        self._log_shares(stage, message, verdicts, self._tools.now() - started)
        changes = Changes()
        self._write(stage, key, message, verdicts, changes)
        return changes
