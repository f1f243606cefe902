"""Turns on the event loop: hostile zones, however many are asked about at once, do not hold up a plain one."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dns.message
import dns.name
import dns.rdatatype
import pytest

from delivery.dnssec.anchors import Anchors
from delivery.dnssec.limits import Budget, Rules
from delivery.dnssec.replies import Response, Status
from delivery.dnssec.validator import validate
from delivery.local import LocalSettings, LocalValidator
from delivery.turns import ORDINARY, Slices, Turns
from ops.bench.dnssec import far
from ops.bench.hostile import STORIES, Answers, Story, answer, build, serve_hostile
from stages.answer import Question

HOSTILE = 51
MAKERS = {one.question.name.rpartition(".")[2]: one for one in STORIES}
COSTLY = ("traps", "nsec3", "denials")  # to the processor, without many questions


def _plain(zone: Any, answers: Answers) -> None:
    answer(answers, zone.origin, "A", zone.signed(zone.records(zone.origin, "A", "192.0.2.1")))


PLAIN = Story("a zone as they should be", Question("plain", "A"), _plain)


def crowd() -> tuple[Story, ...]:
    """Give hostile zones, each with a name of its own, and the plain one."""
    made = []
    for number in range(HOSTILE):
        one = MAKERS[COSTLY[number % len(COSTLY)]]
        name = f"{one.question.name}{number}"
        made.append(replace(one, name=name, question=Question(name, one.question.rdtype)))
    return (*made, PLAIN)


def _now() -> datetime:
    return datetime.now(UTC)


async def test_one_plain_zone_beside_fifty_hostile_ones() -> None:
    """SEC-64: keys and signatures that fit nothing, hashes and denials that cost time: who asked last and costs little is first.

    All are asked about at once, the plain zone last. Without turns the loop works off what came before it. Of three
    times the middle one counts, since the system may keep the nameserver waiting at the wrong moment.
    """
    places: list[int] = []
    with far(serve_hostile, crowd) as there:
        for _ in range(3):
            finished: list[str] = []
            validator = LocalValidator(LocalSettings(there.anchors), _now)

            async def ask(story: Story, of: LocalValidator = validator, among: list[str] = finished) -> Status:
                outcome = await of.judge(there.server, story.question)
                among.append(story.name)
                return outcome.status

            found = await asyncio.gather(*map(ask, crowd()))
            assert found[-1] is Status.SECURE
            assert set(found[:-1]) == {Status.INDETERMINATE}
            places.append(finished.index(PLAIN.name))
    assert sorted(places)[1] < HOSTILE // 10


def slices(story: Story, budget: Budget) -> Iterator[bool]:
    """Validate the answer of a zone; gives at the end of each slice whether it was a pause."""
    answers, anchor = build((story,))

    def reply(question: Question) -> Response:
        query = dns.message.make_query(question.name, question.rdtype, use_edns=0, want_dnssec=True).to_wire()
        end = query.index(b"\0", 12) + 5
        return Response.of(dns.message.from_wire(query[:2] + answers[query[12:end].lower()]))

    work = validate(story.question, reply(story.question), Anchors.parse(anchor), budget, _now(), {})
    with contextlib.suppress(StopIteration):
        wanted = next(work)
        while True:
            yield wanted is None
            wanted = next(work) if wanted is None else work.send(reply(wanted))


@pytest.mark.parametrize("number", [0, 2], ids=["signatures that fit no key", "denials that prove nothing"])
def test_a_slice_is_a_few_checks_and_no_more(number: int) -> None:
    """SEC-64: between two pauses there are at most as many checks as begin a slice and one record set may cost."""
    rules = Rules(checks=64)
    budget = Budget(rules)
    pauses, before = 0, 0
    for paused in slices(crowd()[number], budget):
        assert budget.checks - before <= 8 - 1 + rules.checks_per_set
        before, pauses = budget.checks, pauses + paused
    assert pauses >= 4


def test_many_iterations_are_computed_when_the_others_have_had_their_turn() -> None:
    """SEC-61, SEC-64: the proof of a zone that wants a hundred iterations for each name begins a slice of its own."""
    budget = Budget(Rules())
    *_, last = ((paused, budget.hashes) for paused in slices(crowd()[1], budget))
    paused, hashes = last
    assert paused
    assert hashes == 0 < budget.hashes


async def test_the_least_costly_goes_first_one_in_each_turn_of_the_loop() -> None:
    """SEC-64: alone, nobody waits; else who has used less goes before who came earlier, and the loop turns between them."""
    turns, order, turned = Turns(), list[str](), [0]
    going = True

    def count() -> None:
        turned[0] += 1
        if going:
            asyncio.get_running_loop().call_soon(count)

    async def come(name: str, used: float) -> int:
        await turns.come(used)
        order.append(name)
        return turned[0]

    asyncio.get_running_loop().call_soon(count)
    callers = come("alone", 9.0), come("dear", 3.0), come("first", 1.0), come("second", 1.0), come("free", 0.0)
    at = await asyncio.gather(*callers)
    going = False
    assert order == ["alone", "free", "first", "second", "dear"]
    assert len(set(at)) == len(at)


async def test_who_goes_away_takes_no_turn() -> None:
    """SEC-63: a question that has run out of time while it waited does not keep the others waiting."""
    turns = Turns()

    def go_away() -> None:
        for task in gone:
            task.cancel()

    async def hold() -> None:
        asyncio.get_running_loop().call_soon(go_away)  # when the others wait, and before the next one is called
        await turns.come(0.0)

    has_one = asyncio.create_task(hold())
    gone = [asyncio.create_task(turns.come(0.0)) for _ in range(2)]
    left = asyncio.create_task(turns.come(1.0))
    await asyncio.wait_for(left, 5)
    await asyncio.wait_for(turns.come(0.0), 5)
    assert has_one.done()
    assert all(task.cancelled() for task in gone)


async def test_a_slice_counts_what_it_uses() -> None:
    """SEC-64: the processor's time is what counts, also of the slice that ends the work."""
    slices, ended = Slices(Turns()), False
    try:
        async with slices:
            began = time.thread_time()
            while time.thread_time() == began:
                pass
            next(iter(()))
    except StopIteration:
        ended = True
    assert ended
    assert slices.used > 0


async def test_an_ordinary_question_waits_for_nobody() -> None:
    """SEC-64: whoever has used little goes on at once when an answer comes, but not after a pause, nor having used more."""
    turns, turned = Turns(), [0]

    def count() -> None:
        turned[0] += 1
        asyncio.get_running_loop().call_soon(count)

    async def at(slices: Slices) -> int:
        async with slices:
            return turned[0]

    await turns.come(0.0)  # somebody has this turn of the loop
    asyncio.get_running_loop().call_soon(count)
    ordinary, dear = Slices(turns), Slices(turns)
    assert await at(ordinary) == await at(ordinary) == 0
    ordinary.pause()
    assert await at(ordinary) > 0
    dear.used, before = ORDINARY, turned[0]
    await turns.come(0.0)
    assert await at(dear) > before
