"""An explanation as a tree that a person opens where it interests them.

`tree_of` makes plain nodes of it, in the order of the decision; what decided stands in `decisive`, above them. The
words are those of `danepipe explain` (`ops.explain_views`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from ops.explain import Bound, Explanation, Ruling, Tried
from ops.explain_views import WORDS, demand_text, plain, record_text
from stages.answer import Absent, Answer, Failed, Found, Security
from stages.dane import describe
from stages.plan import DaneDemand, Host, Skipped

KINDS = {"proceed": "good", "defer": "warn", "refuse": "bad", "done": "dim"}


@dataclass(frozen=True, slots=True)
class Node:
    """One step: what it is about, a word for its outcome and the kind of that, a sentence, and what is below it."""

    label: str
    badge: str = ""
    kind: str = "dim"
    text: str = ""
    below: tuple["Node", ...] = ()
    open: bool = False
    mono: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What would come of the mail, and why."""

    outcome: str
    words: str
    kind: str
    code: str
    text: str


def decisive(found: Explanation) -> Verdict:
    """Give the ruling that decides; where delivery would be tried, what the first host must show."""
    own = found.bound[:1]
    rulings = [*found.rulings, *(ruling for bound in own for ruling in bound.rulings)]
    against = [one for one in rulings if one.verdict == found.outcome and one.reason is not None]
    words = WORDS[found.outcome]
    if found.outcome != "proceed" and against and against[-1].reason is not None:
        why = against[-1].reason
        return Verdict(found.outcome, words, KINDS[found.outcome], why.code, why.text)
    text = ""
    if own and own[0].plan is not None and own[0].plan.hosts:
        host = own[0].plan.hosts[0]
        text = f"First to {host.name}: {demand_text(host.demand)}."
    return Verdict(found.outcome, words, KINDS[found.outcome], "", text)


def tree_of(found: Explanation) -> tuple[Node, ...]:
    """Make the tree."""
    return (*map(_ruling, found.rulings), *map(_destination, found.bound))


def _ruling(ruling: Ruling) -> Node:
    why = ruling.reason
    if why is None:
        return Node(ruling.stage, ruling.verdict, KINDS.get(ruling.verdict, "dim"), "passed on")
    kind = KINDS.get(ruling.verdict, "dim")
    return Node(
        f"Stage {ruling.stage}", ruling.verdict, kind, f"{why.text} ({why.code} {why.status})",
        tuple(_facts(plain(why.facts))),
    )  # fmt: skip


def _facts(facts: Mapping[str, Any]) -> Iterator[Node]:
    for name, value in facts.items():
        yield _fact(name.replace("_", " "), value)


def _fact(name: str, value: Any) -> Node:
    if isinstance(value, Mapping):
        return Node(name, below=tuple(_facts(value)))
    if isinstance(value, Sequence) and not isinstance(value, str):
        if all(isinstance(one, (str, int, float)) for one in value):
            text = ", ".join(map(str, value))
            if len(text) < 100:
                return Node(name, text=text or "none", mono=True)
            return Node(name, below=tuple(Node(str(one), mono=True) for one in value))
        return Node(name, below=tuple(_named(one) for one in value))
    return Node(name, text=str(value), mono=True)


def _named(value: Any) -> Node:
    """Give an entry of a list of facts its own name, where it has one."""
    if not isinstance(value, Mapping):
        return _fact("", value)
    name = next((key for key in ("host", "record", "name") if key in value), None)
    rest = {key: one for key, one in value.items() if key != name and one not in ("", None, [], {})}
    return Node(str(value[name]) if name else "one of them", below=tuple(_facts(rest)), mono=bool(name))


def _destination(bound: Bound) -> Node:
    policy = bound.policy.dane
    excluded = ", excluded from DANE" if bound.destination.excluded else ""
    text = f"mode {policy.mode}, profile {policy.profile}{excluded}"
    below = [*_answers(bound)]
    if bound.plan is not None:
        hosts = tuple(_host(number, host) for number, host in enumerate(bound.plan.hosts, 1))
        skipped = tuple(map(_skipped, bound.plan.skipped))
        count = f"{len(hosts)} host{'s' if len(hosts) != 1 else ''}"
        out = f", {len(skipped)} left out" if skipped else ""
        below.append(Node("Plan", text=f"{count}{out}, in this order", below=(*hosts, *skipped), open=True))
    if bound.connections:
        tried = tuple(map(_connection, bound.connections))
        below.append(Node("Connections", text="made just now, up to TLS and the match", below=tried, open=True))
    below += map(_ruling, bound.rulings)
    kind = KINDS[bound.outcome]
    return Node(f"Destination {bound.destination.key}", WORDS[bound.outcome], kind, text, tuple(below), open=True)


def _answers(bound: Bound) -> Iterator[Node]:
    if bound.survey is None:
        return
    answers = tuple(bound.survey.answers.values())
    if not answers:
        yield Node("DNS", text="no answer was needed")
        return
    shown: set[str] = set()
    nodes = []
    for answer in answers:
        nodes.append(_answer(answer, tuple(step for step in answer.chain if step not in shown)))
        shown.update(answer.chain)
    bad = sum(isinstance(one, Failed) for one in answers)
    failed = f", {bad} of them failed" if bad else ""
    text = f"{len(answers)} answer{'s' if len(answers) != 1 else ''}{failed}"
    yield Node("DNS", text=text, below=tuple(nodes), open=True)


def _answer(answer: Answer, steps: tuple[str, ...]) -> Node:
    below: list[Node] = []
    match answer:
        case Found():
            badge, kind = str(answer.security), _security(answer.security)
            text = f"{len(answer.records)} record{'s' if len(answer.records) != 1 else ''}"
            below += [Node(record_text(record), mono=True) for record in answer.records]
            below += [Node("alias of", text=" → ".join(answer.aliases), mono=True)] if answer.aliases else []
        case Absent():
            badge, kind = str(answer.security), _security(answer.security)
            text = "there is no such name" if answer.nxdomain else "there is no such record"
            below += [Node("alias of", text=" → ".join(answer.aliases), mono=True)] if answer.aliases else []
        case Failed():
            badge, kind, text = str(answer.failure), "bad", answer.text or describe(answer)
            below += [
                Node(f"Extended DNS Error {one.code}", text=one.text or "without a text") for one in answer.ede
            ]  # fmt: skip
            below += [Node("Shown to be the zone's fault by", text=str(proof)) for proof in answer.proofs]
        case _:
            assert_never(answer)
    if answer.resolver:
        below.append(Node("Asked", text=str(answer.resolver), mono=True))
    if steps:
        proof = tuple(Node(step, mono=True) for step in steps)
        count = f"{len(steps)} step{'s' if len(steps) != 1 else ''} not shown above"
        below.append(Node("Chain of trust", text=count, below=proof))
    return Node(str(answer.question), badge, kind, text, tuple(below), isinstance(answer, Failed), mono=True)


def _security(security: Security) -> str:
    return "good" if security is Security.SECURE else "dim"


def _host(number: int, host: Host) -> Node:
    demand = host.demand
    below = [Node("Addresses", text=", ".join(host.addresses), mono=True)]
    if isinstance(demand, DaneDemand):
        below += [Node(record_text(record), mono=True) for record in demand.records]
    below += _facts(plain(host.facts))
    kind = {"dane": "good", "may": "dim"}.get(demand.kind, "warn")
    label = f"{number}. {host.name} (preference {host.preference})"
    return Node(label, demand.kind, kind, demand_text(demand), tuple(below))


def _skipped(one: Skipped) -> Node:
    label = f"{one.name} (preference {one.preference})"
    return Node(label, "left out", "bad", f"{one.text} ({one.trouble})", tuple(_facts(plain(one.facts))), open=True)


def _connection(tried: Tried) -> Node:
    attempt = tried.attempt
    label = f"{attempt.host} [{attempt.address}]:{attempt.port}"
    badge, kind = (str(attempt.trouble), "bad") if attempt.trouble else ("good for mail", "good")
    below: list[Node] = []
    if not tried.reached:
        below.append(Node("Only for this explanation", text="delivery would not come so far"))
    if attempt.reply is not None:
        said = f"{attempt.reply.code} {attempt.reply.text}"
        below.append(Node(f"Reply to {attempt.reply.command or 'the greeting'}", text=said, mono=True))
    if attempt.handshake is not None:
        shown = attempt.handshake
        facts = {"version": shown.version, "cipher": shown.cipher, **shown.facts}
        known = tuple(_facts({key: value for key, value in plain(facts).items() if value not in ("", None, [], {})}))
        level = f"security {shown.level}"
        below.append(Node("TLS and certificate", text=level, below=known, open=bool(attempt.trouble)))
    if attempt.audit_failure:
        below.append(Node("Enforcing would have refused", text=str(attempt.audit_failure)))
    text = f"{attempt.text or 'demand ' + attempt.demand} ({attempt.seconds:.3f} s)"
    return Node(label, badge, kind, text, tuple(below), open=True)
