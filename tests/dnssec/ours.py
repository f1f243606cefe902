"""Our own validator as it judges a case: driven by hand, at the clock of the trees, with the same anchor as Unbound."""

from collections.abc import Callable
from datetime import datetime

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
from dns.rdatatype import RdataType

from delivery.dnssec.anchors import Anchors
from delivery.dnssec.limits import Budget, Rules
from delivery.dnssec.replies import Outcome, Reply, Response, Unanswered, Zone
from delivery.dnssec.validator import validate
from delivery.responses import rcode_failure
from stages.answer import Failure, Question
from tests.dnssec.cases import Case
from tests.dnssec.zones import NOW, Tree

Answering = Callable[[dns.name.Name, RdataType], dns.message.Message]
ANCHORS = Anchors.parse(Tree().anchor)


def judge(
    name: dns.name.Name, rdtype: RdataType, answering: Answering, *, anchors: Anchors = ANCHORS, rules: Rules | None = None,
    now: datetime = NOW, known: dict[dns.name.Name, Zone] | None = None, asked: list[Question] | None = None,
) -> Outcome:  # fmt: skip
    """Judge a question; `answering` gives the response to it and to whatever is asked for the proof."""

    def reply(question: Question) -> Reply:
        if asked is not None:
            asked.append(question)
        wanted = dns.rdatatype.from_text(question.rdtype)
        message = answering(dns.name.from_text(question.name), wanted)
        failure = rcode_failure(message)
        if failure is not None:
            return Unanswered(failure, f"answered {dns.rcode.to_text(message.rcode())}")
        return Response.of(dns.message.from_wire(message.to_wire(max_size=65535)))

    question = Question(name.to_text(omit_final_dot=True) or ".", dns.rdatatype.to_text(rdtype))
    work = validate(question, reply(question), anchors, Budget(rules or Rules()), now, {} if known is None else known)
    try:
        wanted = next(work)
        while True:
            wanted = next(work) if wanted is None else work.send(reply(wanted))
    except StopIteration as done:
        outcome: Outcome = done.value
        return outcome


def judged(case: Case) -> Outcome:
    """Judge a case."""
    return judge(*case.question, case.respond)


def state(outcome: Outcome) -> str:
    """Give the state in Unbound's words: a lookup error is "failed"."""
    return "failed" if outcome.status == "indeterminate" else str(outcome.status)


__all__ = ["ANCHORS", "Failure", "judge", "judged", "state"]
