"""Ask DNS everything that the plan for a destination rests on, round by round, each round at once."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from delivery.resolver import Resolver
from stages.answer import Answer, Question
from stages.destination import Destination, RouteKind, TlsLevel
from stages.policy import Mode, Policy
from stages.resolve import Survey, missing

MAX_ROUNDS = 12  # MX, addresses, alias, and a TLSA question for each candidate; more is a fault of ours


async def survey(
    destination: Destination, policy: Policy, resolver: Resolver, now: Callable[[], datetime], chance: float,
    *, afresh: bool = False,
) -> Survey:  # fmt: skip
    """Gather the answers for a destination, `afresh` past all caches of ours.

    Raises RuntimeError if the questions do not come to an end.
    """
    began = now()
    answers: dict[Question, Answer] = {}
    needs = _needs_security(destination, policy)
    for _ in range(MAX_ROUNDS):
        questions = missing(destination, policy, answers)
        if not questions:
            return Survey(destination, answers, began, (now() - began).total_seconds(), chance)
        found = await asyncio.gather(
            *(resolver.ask(question, needs_security=needs, afresh=afresh) for question in questions)
        )
        answers.update(zip(questions, found, strict=True))
    raise RuntimeError(f"the survey of {destination} still lacks {missing(destination, policy, answers)}")


def _needs_security(destination: Destination, policy: Policy) -> bool:
    """Tell whether anything rests on the security of the answers."""
    on = policy.dane.mode is not Mode.OFF and not destination.excluded
    return on and destination.tls is TlsLevel.DANE and destination.kind is not RouteKind.LOCAL
