"""No recipient is ever lost: whatever comes, the verdicts of a stage name each recipient exactly once."""

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages import bounce, deliver, exclude, resolve, route
from stages.attempt import Attempt
from stages.contract import Consigned, Consignment, CopyLeg, Notice, NoticeKind, Owed, Planned, Routed, Stage
from stages.destination import Destination
from stages.exclude import Exclusions
from stages.message import Message, Recipient, RecipientId, recipient_id
from stages.plan import Trouble
from stages.policy import Policy
from stages.refusal import without_host
from stages.resolve import Survey
from stages.retry import OWN_FAULT_WAIT, GiveUp, Schedule, Wait, after_defer, note_failure
from stages.route import RouteTable
from stages.verdict import Defer, Done, PartitionError, Proceed, Refuse, Verdict, check_partition
from tests.stages import worlds
from tests.stages.make import DAY, HOUR, NOW

often = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
Ids = tuple[RecipientId, ...]


def rule(stage: Stage, item: Any, facts: dict[type, Any], expected: Ids) -> tuple[Verdict, ...]:
    """Run a stage and check all that its contract promises of verdicts."""
    verdicts = stage.decide(item, facts, NOW)
    check_partition(expected, verdicts)
    for verdict in verdicts:
        assert verdict.recipients
        if isinstance(verdict, Proceed):
            assert isinstance(verdict.gives, stage.gives)
            assert named(verdict.gives) >= set(verdict.recipients)
        else:
            assert verdict.reason.stage == stage.name
            assert verdict.reason.code
    return verdicts


def named(item: Any) -> set[RecipientId]:
    """List the recipients that a handed-over item is about."""
    messages: tuple[Message, ...] = item.messages if isinstance(item, Planned) else (item.message,)
    return {recipient for message in messages for recipient in message.recipient_ids}


@often
@given(worlds.messages(), worlds.tables())
def test_route_names_everybody_once(message: Message, table: RouteTable) -> None:
    """Design, section 4; SMTP-50: whatever rules and recipients there are."""
    for verdict in rule(route.STAGE, message, {RouteTable: table}, message.recipient_ids):
        assert not isinstance(verdict, Defer)
        if isinstance(verdict, Proceed):
            assert isinstance(verdict.gives, Routed)
            assert set(verdict.gives.routes) == set(verdict.recipients) == named(verdict.gives)
            assert {leg.of for leg in verdict.gives.copies} <= set(verdict.recipients)


@often
@given(worlds.messages(), worlds.tables(), worlds.exclusions)
def test_exclude_names_everybody_once(message: Message, table: RouteTable, exclusions: Exclusions) -> None:
    """Design, section 4; SMTP-50: whatever the routes and patterns; every recipient has one destination."""
    for routed in routed_of(message, table):
        verdicts = rule(exclude.STAGE, routed, {Exclusions: exclusions}, routed.message.recipient_ids)
        for verdict in verdicts:
            assert isinstance(verdict, Proceed)
            assert isinstance(verdict.gives, Consigned)
            assert set(verdict.gives.destinations) == set(verdict.recipients) == named(verdict.gives)


def routed_of(message: Message, table: RouteTable) -> list[Routed]:
    """Run `route` and make recipients of the copies, as happens between the stages."""
    found = []
    for verdict in route.STAGE.decide(message, {RouteTable: table}, NOW):
        if isinstance(verdict, Proceed):
            assert isinstance(verdict.gives, Routed)
            found.append(with_copies(verdict.gives))
    return found


def with_copies(routed: Routed) -> Routed:
    """Make a recipient of each copy leg."""
    recipients, routes = list(routed.message.recipients), dict(routed.routes)
    legs: dict[RecipientId, list[CopyLeg]] = {}
    for leg in routed.copies:
        legs.setdefault(leg.of, []).append(leg)
    for original in routed.message.recipients:
        for turn, leg in enumerate(legs.get(original.id, []), 1):
            number = int(original.id.rpartition("/")[2])
            made = Recipient(recipient_id(routed.message.id, number, turn), original.address, copy_rule=leg.rule)
            recipients.append(made)
            routes[made.id] = leg.route
    return Routed(replace(routed.message, recipients=tuple(recipients)), routes)


@st.composite
def consignments(draw: st.DrawFn) -> tuple[Consignment, Policy, Survey]:
    """Make a ready queue with up to three messages, a policy and a survey."""
    destination: Destination = draw(worlds.destinations)
    policy = draw(worlds.policies())
    messages = tuple(draw(worlds.messages(f"M{number}")) for number in range(1, draw(st.integers(1, 3)) + 1))
    return Consignment(destination, messages), policy, draw(worlds.surveys(destination, policy))


@often
@given(consignments())
def test_resolve_names_everybody_once(given_: tuple[Consignment, Policy, Survey]) -> None:
    """Design, section 4; SMTP-50: whatever DNS says, over all messages of a destination."""
    item, policy, survey = given_
    everyone = tuple(recipient for message in item.messages for recipient in message.recipient_ids)
    rule(resolve.STAGE, item, {Survey: survey, Policy: policy}, everyone)


@often
@given(consignments(), st.data())
def test_a_failed_attempt_names_everybody_once(given_: tuple[Consignment, Policy, Survey], data: st.DataObject) -> None:
    """Design, section 4: whatever hosts were tried in vain, each recipient waits or is refused, with a fitting status."""
    item, policy, survey = given_
    plan = resolve.make_plan(survey, policy, NOW)
    tried = data.draw(worlds.attempts(plan, item.messages[0])).hosts
    for recipient in item.messages[0].recipients:
        verdict = without_host("deliver", plan, tried, recipient, policy, NOW, extra={})
        assert verdict.recipients == (recipient.id,)
        assert verdict.reason.status[0] in ("45" if isinstance(verdict, Refuse) else "4")


@often
@given(consignments(), st.data())
def test_deliver_names_everybody_once(given_: tuple[Consignment, Policy, Survey], data: st.DataObject) -> None:
    """Design, section 4; SMTP-50: whatever hosts and servers do, also to recipients that were never asked."""
    item, policy, survey = given_
    plan = resolve.make_plan(survey, policy, NOW)
    message = item.messages[0]
    attempt = data.draw(worlds.attempts(plan, message))
    facts = {Attempt: attempt, Policy: policy}
    for verdict in rule(deliver.STAGE, Planned(plan, (message,)), facts, message.recipient_ids):
        match verdict:
            case Defer(reason=reason):
                assert reason.status.startswith("4")
            case Refuse(reason=reason):
                assert reason.status[0] in "45"
            case Done(recipients=done):
                assert attempt.transaction is not None
                assert attempt.transaction.data is not None
                assert all(attempt.transaction.recipients[one].code // 100 == 2 for one in done)
            case _:
                raise AssertionError(verdict)


@often
@given(st.sampled_from(NoticeKind), worlds.messages())
def test_bounce_names_everybody_once(kind: NoticeKind, message: Message) -> None:
    """Design, section 4; DSN-19, DSN-20: one notice at most, and whoever gets none is named too."""
    verdicts = rule(bounce.STAGE, Owed(kind, message), {}, message.recipient_ids)
    notices = [verdict for verdict in verdicts if isinstance(verdict, Proceed)]
    assert len(notices) <= 1
    for verdict in notices:
        assert isinstance(verdict.gives, Notice)
        assert named(verdict.gives) == set(verdict.recipients)
        assert message.envelope.sender is not None
    assert all(isinstance(verdict, (Proceed, Done)) for verdict in verdicts)


SCHEDULE = Schedule((HOUR, 3 * HOUR), lifetime=5 * DAY, jitter=0.2)


@often
@given(
    worlds.messages(),
    worlds.policies(),
    worlds.reasons,
    st.none() | worlds.durations,
    st.floats(0, 1, exclude_max=True),
)
def test_a_deferred_recipient_comes_back_or_is_given_up(
    message: Message, policy: Policy, reason: Any, later: Any, chance: float
) -> None:
    """SMTP-51, SMTP-52: nobody waits for the past, or beyond the lifetime but by minutes for a fault of ours."""
    not_before = None if later is None else NOW + later
    for before in message.recipients:
        noted = note_failure(before, reason, NOW)
        outcome = after_defer(noted, reason, not_before, message.envelope, policy.dane, SCHEDULE, NOW, chance)
        ends = message.envelope.accepted + SCHEDULE.lifetime_of(message.envelope)
        match outcome:
            case Wait(at=at, notice=notice):
                ours = reason.code == str(Trouble.SUSPENDED)
                assert NOW < at <= (NOW + OWN_FAULT_WAIT if ours else ends)
                assert not (notice and (before.delay_noticed or message.envelope.sender is None))
            case GiveUp(reason=last):
                assert (last.code, last.status) == (reason.code, reason.status)


@often
@given(worlds.messages(), st.data())
def test_a_broken_partition_is_found(message: Message, data: st.DataObject) -> None:
    """Design, section 4: the check itself sees whoever is lost, named twice, or unknown."""
    ids = message.recipient_ids
    reason = data.draw(worlds.reasons)
    one = data.draw(st.sampled_from(ids))
    lost = tuple(recipient for recipient in ids if recipient != one)
    for verdicts in (
        (Refuse(lost, reason),),
        (Refuse(ids, reason), Defer((one,), reason)),
        (Refuse((*ids, RecipientId("M9/1")), reason),),
    ):
        try:
            check_partition(ids, verdicts)
        except PartitionError:
            continue
        raise AssertionError(verdicts)
