"""The whole decision for an address, dry: what delivery would do, by the code that does it.

`explain` runs the stages of the configured line over a message that does not exist: route, exclusion, then for each
destination the survey of DNS and the plan, with nothing kept and nothing sent. With `connect` it also opens a
connection to every address of every host up to the TLS handshake and the match, and says QUIT; if delivery would find
no host to send to, the stage that judges deliveries rules on that, as at a first attempt. A stage that raises is a
fault of ours and raises here too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from pipeline.facts import Gatherer
from pipeline.line import Line
from stages.attempt import Attempt, HostAttempt
from stages.contract import Consigned, Consignment, CopyLeg, Planned, Routed, Stage
from stages.deliver import Step, after
from stages.destination import Destination
from stages.message import Address, Content, Envelope, Message, MessageId, Origin, Recipient, recipient_id
from stages.plan import Host, Plan
from stages.policy import Policy
from stages.reason import Reason
from stages.resolve import Survey
from stages.verdict import Proceed, Verdict, check_partition


class Connect(Protocol):
    """Connects to one address of a host, up to TLS and the match, and leaves; `clear` leaves TLS out."""

    async def __call__(
        self, host: Host, address: str, destination: Destination, policy: Policy, *, clear: bool
    ) -> HostAttempt:
        """Connect."""


IDENTIFIER = MessageId("EXPLAIN")


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one stage said: its name, the kind of verdict in lower case, the recipients concerned, and why."""

    stage: str
    verdict: str
    recipients: tuple[str, ...]
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Tried:
    """A connection that was made, and whether delivery would have come as far as this address."""

    attempt: HostAttempt
    reached: bool


@dataclass(frozen=True, slots=True)
class Bound:
    """One destination: who goes there, the policy, the answers, the plan (None: refused or deferred), connections."""

    destination: Destination
    recipients: tuple[str, ...]
    policy: Policy
    survey: Survey | None
    plan: Plan | None
    rulings: tuple[Ruling, ...]
    connections: tuple[Tried, ...] = ()

    @property
    def outcome(self) -> str:
        """Tell what would come of it: `proceed` (delivery is tried), `defer`, `refuse` or `done`."""
        words = {ruling.verdict for ruling in self.rulings}
        return next((word for word in ("refuse", "defer", "done") if word in words), "proceed")


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything about one address. `notes` says what could not be looked at, in sentences."""

    address: Address
    sender: Address | None
    made: datetime
    rulings: tuple[Ruling, ...]
    bound: tuple[Bound, ...]
    notes: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """Tell what would come of the address itself, as `Bound.outcome` does; copies do not count."""
        own = [bound for bound in self.bound if recipient_id(IDENTIFIER, 0) in bound.recipients]
        if own:
            return own[0].outcome
        words = {ruling.verdict for ruling in self.rulings}
        return next((word for word in ("refuse", "defer", "done") if word in words), "proceed")


@dataclass(frozen=True, slots=True)
class Means:
    """What explaining needs: the line, a gatherer for each fact, the policies, the time, how to connect if wanted."""

    line: Line
    gatherers: Mapping[type, Gatherer]
    policy_for: Callable[[Destination], Policy]
    now: Callable[[], datetime]
    connect: Connect | None = None


def message_to(address: Address, sender: Address | None, origin: Origin, now: datetime) -> Message:
    """Make the message that stands for mail to an address."""
    envelope = Envelope(sender, now, origin, Content(0))
    return Message(IDENTIFIER, envelope, (Recipient(recipient_id(IDENTIFIER, 0), address),))


async def explain(message: Message, means: Means, notes: tuple[str, ...] = ()) -> Explanation:
    """Decide, without effect. Raises what stages and gatherers raise."""
    rulings: list[Ruling] = []
    items: list[object] = [message]
    for stage in means.line.messages:
        following: list[object] = []
        for item in items:
            verdicts = await _ruled(stage, item, means, rulings)
            following += [_with_copies(verdict.gives) for verdict in verdicts if isinstance(verdict, Proceed)]
        items = following
    bound = []
    for destination, share in _shares(items).items():
        bound.append(await _bound(destination, share, means))
    only = message.recipients[0].address
    return Explanation(only, message.envelope.sender, means.now(), tuple(rulings), tuple(bound), notes)


async def explain_destination(destination: Destination, means: Means) -> Bound:
    """Decide for a destination alone, without effect: what would become of mail that is to go there."""
    somebody = Address("postmaster", destination.name, f"postmaster@{destination.name}")
    return await _bound(destination, message_to(somebody, None, Origin("send"), means.now()), means)


async def _ruled(stage: Stage, item: object, means: Means, into: list[Ruling]) -> tuple[Verdict, ...]:
    facts = {wanted: await means.gatherers[wanted].gather(item) for wanted in stage.wants}
    return _decided(stage, item, facts, means, into)


def _decided(
    stage: Stage, item: object, facts: Mapping[type, object], means: Means, into: list[Ruling]
) -> tuple[Verdict, ...]:
    verdicts = stage.decide(item, facts, means.now())
    check_partition(tuple(r for message in _messages(item) for r in message.recipient_ids), verdicts)
    into += [Ruling(stage.name, type(v).__name__.lower(), tuple(v.recipients), v.reason) for v in verdicts]
    return verdicts


def _messages(item: object) -> tuple[Message, ...]:
    if isinstance(item, (Consignment, Planned)):
        return item.messages
    if isinstance(item, Message):
        return (item,)
    if isinstance(item, (Routed, Consigned)):
        return (item.message,)
    raise TypeError(f"{type(item).__name__} is about no message")


def _with_copies(routed: object) -> object:
    """Make each copy leg a recipient of its own, as the runner does before the next stage sees it."""
    if not isinstance(routed, Routed) or not routed.copies:
        return routed
    by_id = {recipient.id: recipient for recipient in routed.message.recipients}
    recipients, routes = list(routed.message.recipients), dict(routed.routes)
    for number, leg in enumerate(routed.copies, 1):
        made = _copy(by_id[leg.of], leg, number)
        recipients.append(made)
        routes[made.id] = leg.route
    return Routed(replace(routed.message, recipients=tuple(recipients)), routes)


def _copy(original: Recipient, leg: CopyLeg, number: int) -> Recipient:
    return Recipient(recipient_id(IDENTIFIER, 0, number), original.address, copy_rule=leg.rule)


def _shares(items: list[object]) -> dict[Destination, Message]:
    shares: dict[Destination, Message] = {}
    for item in items:
        if not isinstance(item, Consigned):
            raise TypeError(f"the last message stage gave {type(item).__name__}, expected Consigned")
        for recipient in item.message.recipients:
            destination = item.destinations[recipient.id]
            before = shares[destination].recipients if destination in shares else ()
            shares[destination] = replace(item.message, recipients=(*before, recipient))
    return shares


async def _bound(destination: Destination, message: Message, means: Means) -> Bound:
    policy = means.policy_for(destination)
    item: object = Consignment(destination, (message,))
    rulings: list[Ruling] = []
    survey: Survey | None = None
    plan: Plan | None = None
    for stage in means.line.destinations:
        if Attempt in stage.wants:
            break
        facts = {wanted: await means.gatherers[wanted].gather(item) for wanted in stage.wants}
        found = facts.get(Survey)
        survey = found if isinstance(found, Survey) else survey
        going = [v for v in _decided(stage, item, facts, means, rulings) if isinstance(v, Proceed)]
        if not going:
            return Bound(destination, message.recipient_ids, policy, survey, None, tuple(rulings))
        item = going[0].gives
        if isinstance(item, Planned):
            plan = item.plan
    tried: tuple[Tried, ...] = ()
    if means.connect is not None and plan is not None:
        tried = await _walked(plan, policy, means.connect)
        reached = tuple(one.attempt for one in tried if one.reached)
        if reached and after(reached[-1], policy) is not Step.MAIL:
            _judged(item, Attempt(message.recipient_ids, reached), policy, means, rulings)
    return Bound(destination, message.recipient_ids, policy, survey, plan, tuple(rulings), tried)


async def _walked(plan: Plan, policy: Policy, connect: Connect) -> tuple[Tried, ...]:
    """Connect everywhere, in the order of delivery, and note how far delivery would have come."""
    tried: list[Tried] = []
    ended = False
    for host in plan.hosts:
        for address in host.addresses:
            step, clear = Step.CLEAR, False
            while step is Step.CLEAR:
                attempt = await connect(host, address, plan.destination, policy, clear=clear)
                tried.append(Tried(attempt, not ended))
                step = after(attempt, policy) if not clear else _not_again(after(attempt, policy))
                clear = True
            ended = ended or step in {Step.MAIL, Step.STOP}
    return tuple(tried)


def _not_again(step: Step) -> Step:
    return Step.ADDRESS if step is Step.CLEAR else step


def _judged(item: object, attempt: Attempt, policy: Policy, means: Means, into: list[Ruling]) -> None:
    """Let the stages that judge an attempt rule on one that found no host."""
    for stage in means.line.destinations:
        if Attempt in stage.wants:
            _decided(stage, item, {Attempt: attempt, Policy: policy}, means, into)
            return
