"""Rollovers: a certificate that does not match makes DNS be asked again, once for all workers, before it counts.

What that gives is the plan of the destination from then on, in all workers. A destination that mismatches all the same
is left alone by all workers until `stages.rollover.rests_until`: what waits or comes for it is ruled by what was seen,
without a connection, and all of it comes back together; one job then tries, and the rest follows if that goes well.
Raises `StoreUnavailable` and `StoreFull`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pipeline import log
from pipeline.gates import Gates
from pipeline.store.rollover import Asked, Parked, RolloverStore
from stages.answer import Question
from stages.attempt import Attempt, HostAttempt
from stages.destination import Destination
from stages.plan import Plan
from stages.policy import Policy
from stages.resolve import Survey, make_plan
from stages.rollover import Rest, holds_until, is_settled, rests_until, same_hosts

CLAIM = timedelta(minutes=2)  # for which one worker may be asking while the others wait
LOOK = 0.1  # seconds between two looks at whether it has


@dataclass(frozen=True, slots=True)
class Dns:
    """Ways to ask past every cache of ours, and to make this process forget answers that others found outdated."""

    ask: Callable[[Destination], Awaitable[Survey]]
    drop: Callable[[tuple[Question, ...]], None]


class Rollover:
    """What one process does about mismatches."""

    def __init__(
        self, store: RolloverStore, gates: Gates, dns: Dns, policy_for: Callable[[Destination], Policy],
        now: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._store = store
        self._gates = gates
        self._dns = dns
        self._policy_for = policy_for
        self._now = now

    # Asking again

    async def second(self, old: Plan, attempt: HostAttempt) -> Plan:
        """Give the plan that holds now for a destination, one of whose hosts has just shown a wrong certificate."""
        destination = old.destination
        key = destination.key
        while True:
            known, asked = await self._store.asked(key)
            if asked is not None:
                self._dns.drop(asked.questions)  # what this process kept may be older than that
                return asked.plan
            if not known and await self._store.claim(key, CLAIM):
                break
            await asyncio.sleep(LOOK)
        try:
            survey = await self._dns.ask(destination)
        except BaseException:
            await self._store.unclaim(key)
            raise
        now = self._now()
        made = make_plan(survey, self._policy_for(destination), now)
        plan = replace(made, facts={**made.facts, "asked_again": now.isoformat()})
        await self._store.answered(key, Asked(plan, tuple(survey.answers)), holds_until(plan, now) - now)
        log.emit(
            "dane.asked_again", destination=key, host=attempt.host, address=attempt.address,
            outcome="same" if same_hosts(old, plan) else "changed", text=attempt.text,
            hosts=[{"host": one.name, "demand": one.demand.kind, **one.facts} for one in plan.hosts],
            skipped=[{"host": one.name, "trouble": str(one.trouble), "text": one.text} for one in plan.skipped],
        )  # fmt: skip
        return plan

    # Leaving alone

    async def barred(self, plan: Plan, token: str) -> Parked | bool:
        """Tell whether a destination is left alone: by what was seen, True while somebody else tries it, False if not.

        Whoever gets False calls `over` in the end.
        """
        key = plan.destination.key
        if not self._gates.parked(key):
            return False
        parked = await self._store.parked(key)
        if parked is None or not same_hosts(parked.plan, plan):
            return False
        if self._now() < parked.until:
            return parked
        return not await self._store.probe(key, token, self._gates.setting.patience)

    async def over(self, plan: Plan, token: str) -> None:
        """Hear that a job is over that may have been the one to try a destination."""
        if self._gates.parked(plan.destination.key):
            await self._store.probed(plan.destination.key, token)

    async def heard(self, plan: Plan, attempt: Attempt) -> Attempt:
        """Leave a destination alone that mismatches, and one no more where a host is good for mail.

        Gives the attempt, with the time until which the destination is left alone.
        """
        key, now = plan.destination.key, self._now()
        if attempt.transaction is not None:
            if self._gates.parked(key):
                self._gates.note_parked(key, parked=False)
                if await self._store.release(key):
                    log.emit("dane.released", destination=key, host=attempt.hosts[-1].host)
            return attempt
        if not attempt.hosts or not self._gates.setting.pauses.first or not is_settled(plan, attempt.hosts):
            return attempt
        before = await self._store.parked(key) if self._gates.parked(key) else None
        if before is not None and now < before.until and same_hosts(before.plan, plan):
            return replace(attempt, until=before.until)
        pauses = 0 if before is None else before.pauses
        rest = Rest(self._gates.setting.pauses.first, self._gates.setting.pauses.longest)
        until = rests_until(plan, self._policy_for(plan.destination), rest, pauses, now)
        since = now if before is None else before.since
        await self._store.park(key, Parked(plan, attempt.hosts, since, until, pauses + 1), now)
        self._gates.note_parked(key, parked=True)
        log.emit(
            "dane.parked", level="warning", destination=key, since=since, until=until, pauses=pauses + 1,
            host=attempt.hosts[-1].host, text=attempt.hosts[-1].text,
        )  # fmt: skip
        return replace(attempt, until=until)
