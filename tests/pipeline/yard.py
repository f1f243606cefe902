"""A runner that delivers to real servers on loopback by a given plan, over a real Redis, with everything that it logs."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from delivery.courier import Courier
from delivery.settings import SmtpSettings
from pipeline import log
from pipeline.config import Config
from pipeline.gates import Gates, Setting
from pipeline.hands import Handed
from pipeline.line import Line, build, registered
from pipeline.parking import Parking
from pipeline.rollover import Dns, Rollover
from pipeline.runner import Limits, Runner, Tools
from pipeline.spine import Spine
from pipeline.store.changes import group_of, number_of
from pipeline.store.codec import encode
from pipeline.store.gates import GateStore, Pauses
from pipeline.store.ledger import Ledger
from pipeline.store.rollover import RolloverStore
from stages.contract import Notice, Planned
from stages.destination import Destination
from stages.message import Message, MessageId, Recipient
from stages.plan import Plan
from stages.policy import Limits as PolicyLimits
from stages.policy import Policy
from stages.retry import Schedule
from tests.delivery.test_courier import QUICK
from tests.pipeline.test_ledger import message

RETRY = timedelta(minutes=30)


def utc_now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


@contextmanager
def logged(path: Path) -> Iterator[Path]:
    """Let events go to a file."""
    log.configure(role="test", file=path, level="info")
    try:
        yield path
    finally:
        log._writer.flush()
        log._output.stream.close()
        log._output.stream = sys.stderr


@dataclass
class Lookout:
    """What a job of the clock runs on: a Redis, where events go, a configuration, and the time, set ahead by a test."""

    redis: Any
    log: Path
    config: Config
    ahead: timedelta = field(default_factory=timedelta)

    def now(self) -> datetime:
        """Tell the time."""
        return utc_now() + self.ahead

    def spine(self) -> Spine:
        """Make what a clock runs on."""

        async def nudge(_names: Any) -> None:
            pass

        return Spine(self.config, self.redis, build(self.config.pipeline.stages), nudge)

    def told(self) -> list[Mapping[str, Any]]:
        """Give all events so far."""
        log._writer.flush()
        return [orjson.loads(line) for line in self.log.read_bytes().splitlines()]


@dataclass
class Yard:
    """A worker process with its gates; `job` runs one job of stage `deliver` for the destination of a plan."""

    redis: Any
    file: Path
    policy: Policy = field(default_factory=Policy)
    pauses: Pauses = field(default_factory=lambda: Pauses(jitter=0.0))
    limits: Limits = field(default_factory=Limits)
    settings: SmtpSettings = field(default_factory=lambda: SmtpSettings("out.here.example", timeouts=QUICK))
    parking: Parking | None = None
    dns: Dns | None = None
    now: Callable[[], datetime] = utc_now
    nudges: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the runner."""
        known = registered()
        self.ledger = Ledger(self.redis)
        self.store = GateStore(self.redis)
        self.gates = Gates(self.store, Setting(self.pauses), utc_now, lambda: 0.5, self.ledger.hush, self.parking)
        rollover = None
        if self.dns is not None:
            rollover = Rollover(RolloverStore(self.redis), self.gates, self.dns, self._policy_for, self.now)
        self.deliver = known["deliver"]
        line = Line((known["route"], known["exclude"]), (known["resolve"], self.deliver), known["bounce"])
        self.runner = Runner(
            Tools(
                line=line, ledger=self.ledger, gatherers={}, courier=Courier(self.settings, now=utc_now),
                schedule=Schedule((RETRY,), jitter=0.0), post=_post, nudge=self._nudge,
                policy_for=self._policy_for, now=self.now, chance=lambda: 0.5, limits=self.limits,
                gates=self.gates, parking=self.parking, rollover=rollover,
            )
        )  # fmt: skip

    def _policy_for(self, _destination: Destination) -> Policy:
        return self.policy

    async def _nudge(self, names: Sequence[str]) -> None:
        self.nudges += names

    async def ready(self, plan: Plan, *names: str, sender: str | None = None, **envelope: Any) -> None:
        """Put messages of one recipient each into the ready queue of a plan, and leave the plan for stage `deliver`."""
        key = plan.destination.key
        for name in names:
            made = message(name, 1)
            made = replace(made, envelope=replace(made.envelope, **{"accepted": utc_now(), **envelope}))
            if sender is not None:
                local, _, domain = sender.partition("@")
                address = replace(made.recipients[0].address, local=local, domain=domain, text=sender)
                made = replace(made, envelope=replace(made.envelope, sender=address))
            await self.ledger.accept(made, b"Subject: x\r\n\r\nhello\r\n")
            await self._to_ready(made, key)
        await self.plan(plan)

    async def plan(self, plan: Plan) -> None:
        """Leave a plan for stage `deliver`."""
        handed = Handed(Planned(plan, ()))
        await self.ledger.hand_over("deliver", plan.destination.key, encode(Handed, handed), timedelta(hours=1))

    async def _to_ready(self, made: Message, key: str) -> None:
        group = group_of(made.id, map(number_of, made.recipient_ids))
        await self.redis.lrem("dp:place:route", 1, group)
        await self.redis.delete("dp:nudge:route")
        await self.redis.rpush(f"dp:ready:{key}", group)
        await self.redis.sadd("dp:destinations", key)
        await self.redis.hset(f"dp:msg:{made.id}", f"w:{number_of(made.recipient_ids[0])}", f"ready:{key}|{group}")

    async def job(self, plan: Plan) -> None:
        """Run one job of stage `deliver`."""
        await self.runner.run_destination(self.deliver, plan.destination.key, last_try=True)

    async def recipient(self, name: str) -> tuple[Recipient, str]:
        """Give the recipient of a message, and where it stands."""
        stored = await self.ledger.stored(MessageId(name))
        assert stored is not None
        (recipient,) = stored.message.recipients
        return recipient, stored.places[recipient.id]

    async def places(self, *names: str) -> list[str]:
        """Tell where the recipients of messages stand."""
        return [(await self.recipient(name))[1] for name in names]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Give the events of a kind that were logged."""
        log._writer.flush()
        found = [orjson.loads(line) for line in self.file.read_bytes().splitlines()]
        return [one for one in found if one["event"] == kind]


async def _post(_notice: Notice) -> MessageId:
    raise AssertionError("no notice is posted here")


def limited(**limits: Any) -> Policy:
    """Make a policy with some limits."""
    return Policy(limits=PolicyLimits(**limits))


async def yard_for(redis: Any, path: Path, **changes: Any) -> AsyncIterator[Yard]:
    """Give a yard that logs to a file."""
    with logged(path):
        yield Yard(redis, path, **changes)
