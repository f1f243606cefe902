"""The runner on a real Redis: verdicts become effects once, and a fault of ours costs no mail."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from delivery.courier import Parcel
from pipeline.facts import Gatherer
from pipeline.hands import Handed
from pipeline.line import Line, registered
from pipeline.runner import Limits, Runner, StageBroke, Tools, TransientLookup
from pipeline.store.codec import encode
from pipeline.store.ledger import Ledger
from stages.attempt import Attempt, HostAttempt, Reply, Transaction
from stages.contract import Consignment, Facts, Notice, Planned, Stage
from stages.destination import Destination
from stages.exclude import Exclusion, Exclusions
from stages.message import Message, MessageId, State
from stages.plan import Host, MayDemand, Plan, Trouble
from stages.policy import Policy
from stages.reason import Reason
from stages.retry import Schedule
from stages.route import Action, RouteTable, Rule
from stages.verdict import Defer, Done, Proceed, Refuse, Verdict
from tests.pipeline.test_ledger import message, passes

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEY = "mx:example.com:25:dane"


async def nothing_is_delivered(_parcel: Parcel) -> Attempt:
    """Be a far end that nobody calls."""
    raise AssertionError("nothing is delivered here")


@dataclass
class FarEnd:
    """A courier whose attempts a test makes, one for each parcel."""

    answer: Callable[[Parcel], Awaitable[Attempt]]

    async def deliver(
        self, _plan: Plan, _policy: Policy, parcels: AsyncIterator[Parcel], *_others: object
    ) -> AsyncGenerator[Attempt]:
        """Give an attempt for each parcel."""
        async for parcel in parcels:
            yield await self.answer(parcel)


@dataclass
class Bench:
    """A runner with what it was told and what it sent."""

    ledger: Ledger
    runner: Runner
    line: Line
    nudges: list[str] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


Make = Callable[..., Bench]


@pytest.fixture
def bench(redis: Any) -> Make:
    """Make a runner over our own message stages, and destination stages that a test gives."""

    def make(
        *,
        resolve: Callable[[Any, Facts, datetime], tuple[Verdict, ...]] | None = None,
        rules: Sequence[Rule] = (),
        exclusions: Sequence[Exclusion] = (),
        route: Stage | None = None,
        exclude: Stage | None = None,
        deliver: Stage | None = None,
        answer: Callable[[Parcel], Awaitable[Attempt]] = nothing_is_delivered,
        runs: Callable[[Stage], bool] = lambda _stage: True,
    ) -> Bench:
        known = registered()
        second = replace(known["resolve"], wants=(), decide=resolve) if resolve else known["resolve"]
        line = Line(
            (route or known["route"], exclude or known["exclude"]),
            (second, deliver or known["deliver"]),
            known["bounce"],
        )
        ledger = Ledger(redis)
        made: Bench

        async def post(notice: Notice) -> MessageId:
            made.notices.append(notice)
            return MessageId("R1")

        async def nudge(names: Sequence[str]) -> None:
            made.nudges.extend(names)

        async def table(_item: object) -> RouteTable:
            return RouteTable(tuple(rules))

        async def entries(_item: object) -> Exclusions:
            return Exclusions(exclusions)

        runner = Runner(
            Tools(
                line=line,
                ledger=ledger,
                gatherers={
                    RouteTable: Gatherer(RouteTable, table),
                    Exclusions: Gatherer(Exclusions, entries),
                },
                courier=FarEnd(answer),  # type: ignore[arg-type]
                schedule=Schedule((timedelta(minutes=5),), jitter=0.0),
                post=post,
                nudge=nudge,
                policy_for=lambda _destination: Policy(),
                now=lambda: NOW,
                chance=lambda: 0.5,
                limits=Limits(batch=3),
                runs=runs,
            )
        )
        made = Bench(ledger, runner, line)
        return made

    return make


async def _through_message_stages(made: Bench) -> None:
    for stage in made.line.messages:
        await made.runner.run_place(stage)


async def test_recipients_reach_the_ready_queue_of_their_destination(bench: Make) -> None:
    """Route and exclude carry each recipient to its destination; an exclusion makes a destination of its own."""
    made = bench(exclusions=[Exclusion("u1@example.com")])
    await made.ledger.accept(message(count=2), b"x")
    await _through_message_stages(made)
    assert await made.ledger.backlog(KEY) == 1
    assert await made.ledger.backlog(f"{KEY}+excluded") == 1
    assert sorted(made.nudges) == [f"to:{KEY}", f"to:{KEY}+excluded"]


async def test_a_process_that_does_not_run_the_next_stage_hands_over_by_redis(bench: Make) -> None:
    """Where other workers run `exclude`, it gets from Redis what `route` gave, and nothing else changes."""
    made = bench(runs=lambda stage: stage.name != "exclude")
    await made.ledger.accept(message(count=2), b"x")
    await made.runner.run_place(made.line.first)
    assert made.nudges == ["exclude"]
    assert await _places(made, "M1") == ["place:exclude", "place:exclude"]
    await made.runner.run_place(made.line.messages[1])
    assert made.nudges == ["exclude", f"to:{KEY}"]
    assert await made.ledger.backlog(KEY) == 1


async def test_a_fault_of_the_next_stage_shows_in_its_own_place(bench: Make) -> None:
    """What `route` has ruled stands when `exclude` breaks behind it in the same job: the mail waits before `exclude`."""

    def broken(_item: object, _facts: Facts, _now: datetime) -> tuple[Verdict, ...]:
        raise ZeroDivisionError

    made = bench(exclude=replace(registered()["exclude"], decide=broken))
    await made.ledger.accept(message(count=1), b"x")
    await made.runner.run_place(made.line.first)
    assert made.nudges == ["exclude"]
    assert await _places(made, "M1") == ["place:exclude"]


async def test_a_copy_becomes_a_recipient_of_its_own_once(bench: Make) -> None:
    """A `copy` rule adds a second destination, and a second passage through `route` adds none."""
    made = bench(rules=[Rule("archive", Action.COPY, host="archive.example")])
    await made.ledger.accept(message(count=1), b"x")
    await _through_message_stages(made)
    stored = await made.ledger.stored(MessageId("M1"))
    assert stored is not None
    assert [(r.id, r.copy_rule) for r in stored.message.recipients] == [("M1/0", None), ("M1/0+1", "archive")]
    assert stored.open == 2
    assert await made.ledger.backlog("host:archive.example:25:dane") == 1
    assert stored.message.recipients[0].copied


async def test_a_refusal_fails_the_recipient_and_owes_one_notice(bench: Make) -> None:
    """Refuse settles, `bounce` rules on what is owed, the notice is posted, and the message is then gone."""
    made = bench(rules=[Rule("no", Action.REFUSE)])
    await made.ledger.accept(message(count=2), b"x")
    await made.runner.run_place(made.line.first)
    await made.runner.run_place(made.line.notices)
    (notice,) = made.notices
    assert [recipient.state for recipient in notice.message.recipients] == [State.FAILED, State.FAILED]
    stored = await made.ledger.stored(MessageId("M1"))
    assert stored is not None
    assert stored.open == 0


async def test_a_stage_that_raises_keeps_the_mail_where_it_was(bench: Make) -> None:
    """A fault of ours is no verdict: the group rests, then returns to its place, and the job is to come back."""
    known = registered()

    def broken(_item: Message, _facts: Facts, _now: datetime) -> tuple[Verdict, ...]:
        raise ZeroDivisionError

    made = bench(route=replace(known["route"], decide=broken))
    await made.ledger.accept(message(), b"x")
    with pytest.raises(StageBroke, match="ZeroDivisionError"):
        await made.runner.run_place(made.line.first)
    repaired = bench()
    await passes(made.ledger.redis, Limits().aside)
    await made.ledger.reap()
    await repaired.runner.run_place(repaired.line.first)
    assert repaired.nudges == [f"to:{KEY}"]


async def test_a_stage_that_loses_a_recipient_is_stopped(bench: Make) -> None:
    """Verdicts that leave a recipient out are a fault of the stage, and nothing of them is committed."""
    known = registered()

    def forgetful(item: Message, _facts: Facts, _now: datetime) -> tuple[Verdict, ...]:
        return (Done(item.recipient_ids[:1], Reason("route", "x.done", "2.0.0", "done")),)

    made = bench(route=replace(known["route"], decide=forgetful))
    await made.ledger.accept(message(count=2), b"x")
    with pytest.raises(StageBroke, match="lost="):
        await made.runner.run_place(made.line.first)
    stored = await made.ledger.stored(MessageId("M1"))
    assert stored is not None
    assert stored.open == 2
    assert {recipient.state for recipient in stored.message.recipients} == {State.QUEUED}


async def test_a_stage_that_gives_another_type_is_stopped(bench: Make) -> None:
    """A Proceed bears an item of the declared type, or the next stage would get what it cannot read."""
    made = bench(route=replace(registered()["route"], gives=Planned))
    await made.ledger.accept(message(), b"x")
    with pytest.raises(StageBroke, match="gave Routed, declared Planned"):
        await made.runner.run_place(made.line.first)


def _deferring(trouble: Trouble) -> Callable[[Any, Facts, datetime], tuple[Verdict, ...]]:
    def decide(item: Consignment, _facts: Facts, _now: datetime) -> tuple[Verdict, ...]:
        everyone = tuple(recipient for one in item.messages for recipient in one.recipient_ids)
        return (Defer(everyone, Reason("resolve", str(trouble), "4.4.3", "no answer")),)

    return decide


async def test_a_transient_lookup_failure_first_leaves_the_queue_untouched(bench: Make) -> None:
    """DNS trouble comes back within seconds as the job's retry; on the last try it becomes a Defer (DANE-06)."""
    made = bench(resolve=_deferring(Trouble.LOOKUP_MX))
    await made.ledger.accept(message(count=1), b"x")
    await _through_message_stages(made)
    stage = made.line.destinations[0]
    with pytest.raises(TransientLookup):
        await made.runner.run_destination(stage, KEY, last_try=False)
    assert await made.ledger.backlog(KEY) == 1
    await made.runner.run_destination(stage, KEY, last_try=True)
    assert await made.ledger.backlog(KEY) == 0
    assert await made.ledger.next_due() == NOW + timedelta(minutes=5)
    stored = await made.ledger.stored(MessageId("M1"))
    assert stored is not None
    assert stored.message.recipients[0].state is State.DEFERRED


async def test_a_refusal_at_a_destination_reports_every_message(bench: Make) -> None:
    """A verdict over a ready queue settles each message by itself, with a notice for each."""

    def refuse(item: Consignment, _facts: Facts, _now: datetime) -> tuple[Verdict, ...]:
        everyone = tuple(recipient for one in item.messages for recipient in one.recipient_ids)
        return (Refuse(everyone, Reason("resolve", str(Trouble.NXDOMAIN), "5.1.2", "no such domain")),)

    made = bench(resolve=refuse)
    await made.ledger.accept(message("M1", 1), b"x")
    await made.ledger.accept(message("M2", 2), b"x")
    await _through_message_stages(made)
    await made.runner.run_destination(made.line.destinations[0], KEY, last_try=True)
    await made.runner.run_place(made.line.notices)
    assert sorted(notice.message.id for notice in made.notices) == ["M1", "M2"]
    assert await made.ledger.backlog(KEY) == 0


async def test_a_rule_decides_the_ready_queue(bench: Make) -> None:
    """What `route` gives is what `exclude` takes, through Redis and back: a rule-based host has a queue of its own."""
    made = bench(rules=[Rule("relay", Action.HOST, host="relay.example")])
    await made.ledger.accept(message(count=1), b"x")
    await _through_message_stages(made)
    assert await made.ledger.backlog("host:relay.example:25:dane") == 1


def _planning(life: int) -> Callable[[Any, Facts, datetime], tuple[Verdict, ...]]:
    def decide(item: Consignment, _facts: Facts, _now: datetime) -> tuple[Verdict, ...]:
        everyone = tuple(recipient for one in item.messages for recipient in one.recipient_ids)
        host = Host("mx.example.com", 10, ("192.0.2.1",), MayDemand("no TLSA records", "mx.example.com"))
        plan = Plan(item.destination, (host,), (), NOW, NOW + timedelta(seconds=life))
        return (Proceed(everyone, Planned(plan, item.messages), Reason("resolve", "resolve.planned", "2.0.0", "x")),)

    return decide


async def test_the_whole_queue_decides_how_many_connections_are_nudged(bench: Make) -> None:
    """A long queue is worth more connections than the one that this job opens, up to the limit of the destination."""
    made = bench(resolve=_planning(30), answer=_take)
    for number in range(70):
        await made.ledger.accept(message(f"M{number}", 1), b"x")
    for stage in made.line.messages:
        while await made.runner.run_place(stage):
            pass
    made.nudges.clear()
    await made.runner.run_destination(made.line.destinations[0], KEY, last_try=True)
    assert made.nudges[:2] == [f"deliver:to:{KEY}"] * 2  # 60 wait behind the first ten
    assert set(made.nudges) == {f"deliver:to:{KEY}"}
    assert await made.ledger.backlog(KEY) == 0


@pytest.mark.parametrize(("life", "at_least", "at_most"), [(1, 4, 5), (30, 29, 30), (86_400, 59, 60)])
async def test_a_plan_is_used_for_a_minute_at_most(bench: Make, life: int, at_least: int, at_most: int) -> None:
    """DANE-108: a plan goes with the answers it rests on, and soon, so that it cannot outlive the trust in a resolver."""
    made = bench(resolve=_planning(life), answer=_take)
    await made.ledger.accept(message(count=1), b"x")
    await _through_message_stages(made)
    await made.runner.run_destination(made.line.destinations[0], KEY, last_try=True)
    left = await made.ledger.redis.pttl(f"dp:given:deliver:{KEY}")
    assert at_least * 1000 < left <= at_most * 1000


async def _ready(made: Bench, *names: str) -> Stage:
    """Bring messages of one recipient each to the ready queue, with a plan, and give the last stage."""
    for name in names:
        await made.ledger.accept(message(name, 1), b"x")
    await _through_message_stages(made)
    handed = Handed(Planned(Plan(Destination.parse(KEY), (), (), NOW, NOW + timedelta(hours=1)), ()))
    await made.ledger.hand_over("deliver", KEY, encode(Handed, handed), timedelta(hours=1))
    return made.line.destinations[1]


async def _places(made: Bench, *names: str) -> list[str]:
    found: list[str] = []
    for name in names:
        stored = await made.ledger.stored(MessageId(name))
        assert stored is not None
        found += stored.places.values()
    return found


async def _take(parcel: Parcel) -> Attempt:
    """Be a host that takes everything."""
    (recipient,) = parcel.message.recipient_ids
    host = HostAttempt("mx.example.com", "192.0.2.1", 25, "may")
    yes = Reply(250, "2.0.0 fine")
    return Attempt((recipient,), (host,), Transaction(yes, {recipient: yes}, yes))


async def test_broken_messages_stop_no_others(bench: Make) -> None:
    """A place whose head is a whole batch of messages that break the stage still lets all others through."""
    route = registered()["route"]

    def picky(item: Message, facts: Facts, now: datetime) -> tuple[Verdict, ...]:
        if item.id != "M4":
            raise ZeroDivisionError
        return route.decide(item, facts, now)

    made = bench(route=replace(route, decide=picky))
    for name in ("M1", "M2", "M3", "M4"):
        await made.ledger.accept(message(name, 1), b"x")
    with pytest.raises(StageBroke):
        await made.runner.run_place(made.line.first)
    await made.runner.run_place(made.line.first)
    assert await _places(made, "M1", "M4") == ["place:route", f"ready:{KEY}"]
    assert not await made.runner.run_place(made.line.first)  # a job that comes back finds nothing, and ends


async def test_an_item_that_cannot_be_read_stops_no_others(bench: Make) -> None:
    """What another version wrote, or a hand, breaks the stage for that one message."""
    made = bench(runs=lambda stage: stage.name != "exclude")
    for name in ("M1", "M2"):
        await made.ledger.accept(message(name, 1), b"x")
    await made.runner.run_place(made.line.first)
    await made.ledger.redis.hset("dp:item:exclude", "M1/0", b"{}")
    with pytest.raises(StageBroke, match="CodecError"):
        await made.runner.run_place(made.line.messages[1])
    assert await _places(made, "M1", "M2") == ["place:exclude", f"ready:{KEY}"]


async def test_a_message_that_breaks_a_destination_stage_stops_no_others(bench: Make) -> None:
    """The batch is taken one by one, the one that breaks rests, and the others are ruled on."""

    def picky(item: Consignment, _facts: Facts, _now: datetime) -> tuple[Verdict, ...]:
        if any(one.id == "M1" for one in item.messages):
            raise ZeroDivisionError
        everyone = tuple(recipient for one in item.messages for recipient in one.recipient_ids)
        return (Done(everyone, Reason("resolve", "x.done", "2.0.0", "done")),)

    made = bench(resolve=picky)
    await _ready(made, "M1", "M2", "M3")
    with pytest.raises(StageBroke, match="ZeroDivisionError"):
        await made.runner.run_destination(made.line.destinations[0], KEY, last_try=True)
    assert await _places(made, "M1", "M2", "M3") == [f"ready:{KEY}", "delivered", "delivered"]
    assert await made.ledger.backlog(KEY) == 0
    await passes(made.ledger.redis, Limits().aside)
    await made.ledger.reap()
    assert await made.ledger.backlog(KEY) == 1


async def test_a_message_that_breaks_the_courier_stops_no_others(bench: Make) -> None:
    """What cannot even be tried rests; the next job delivers what stood behind it."""

    async def picky(parcel: Parcel) -> Attempt:
        if parcel.message.id == "M1":
            raise ZeroDivisionError
        return await _take(parcel)

    made = bench(answer=picky)
    stage = await _ready(made, "M1", "M2")
    with pytest.raises(StageBroke):
        await made.runner.run_destination(stage, KEY, last_try=True)
    await made.runner.run_destination(stage, KEY, last_try=True)
    assert await _places(made, "M1", "M2") == [f"ready:{KEY}", "delivered"]


async def test_what_a_host_took_is_not_sent_again_for_a_fault_of_ours(bench: Make) -> None:
    """SMTP-57: a stage that breaks over a message after its 250 gets it held for an operator, not delivered again."""

    def broken(_item: Planned, _facts: Facts, _now: datetime) -> tuple[Verdict, ...]:
        raise ZeroDivisionError

    made = bench(deliver=replace(registered()["deliver"], decide=broken), answer=_take)
    stage = await _ready(made, "M1")
    with pytest.raises(StageBroke):
        await made.runner.run_destination(stage, KEY, last_try=True)
    assert await _places(made, "M1") == ["held"]
    stored = await made.ledger.stored(MessageId("M1"))
    assert stored is not None
    (recipient,) = stored.message.recipients
    assert recipient.state is State.HELD
    assert recipient.reason is not None
    assert "ZeroDivisionError" in recipient.reason.text
