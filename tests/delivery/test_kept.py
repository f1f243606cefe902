"""Answers that are asked for anew before their life is over: who uses them waits for nothing, and nothing is asked in vain."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import dns.message
import dns.rcode
import pytest
from dns.rdatatype import RRSIG

from delivery.dnssec.anchors import Anchors
from delivery.kept import CACHE_SIZE, Kept
from delivery.resolver import DnsSettings, Resolver
from stages.answer import Absent, Answer, Failed, Failure, Found, Proof, Question, Security
from tests.delivery.mangled import Mangled, nothing, without
from tests.dnssec.zones import NOW, TTL, Tree, Zone

TREE = Tree((Zone(records=("@ MX 10 mx", "mx A 192.0.2.1")),))
MX = Question("example", "MX")
LIFE = timedelta(seconds=TTL)
LATE = LIFE - LIFE / 10  # when the last tenth of a life begins
MOMENT = timedelta(seconds=1)


class _Resolved:
    """A resolver of ours with a clock that is moved by hand, over a name server that counts."""

    def __init__(self, mangled: Mangled, resolver: Resolver, clock: list[datetime]) -> None:
        self.mangled = mangled
        self.resolver = resolver
        self._clock = clock

    async def ask(self, question: Question, after: timedelta) -> Answer:
        """Ask at a time after the start."""
        self._clock[0] = NOW + after
        return await self.resolver.ask(question)

    async def settle(self) -> None:
        """Wait for what is asked in the background."""
        await asyncio.gather(*self.resolver._asking.values())

    def times(self, question: Question) -> int:
        """Say how often the question was asked."""
        return sum(over.count(str(question)) for over in self.mangled.asked_over.values())


@contextmanager
def _resolved() -> Iterator[_Resolved]:
    clock = [NOW]
    mangled = Mangled(TREE)
    with mangled.served() as server:
        settings = DnsSettings((server,), "local", Anchors.parse(TREE.anchor), attempts=1, canaries=())
        yield _Resolved(mangled, Resolver(settings, now=lambda: clock[0]), clock)


@pytest.mark.parametrize(
    ("question", "kind"), [(MX, Found), (Question("example", "TXT"), Absent), (Question("no.example", "A"), Absent)]
)
async def test_what_is_used_again_at_the_end_of_its_life_is_asked_for_anew(
    question: Question, kind: type[Answer]
) -> None:
    """SEC-81, SEC-31: in the last tenth of its life and not before, so that it is there, and holds longer, when that is over."""
    with _resolved() as there:
        first = await there.ask(question, timedelta())
        assert isinstance(first, kind)
        assert await there.ask(question, LATE - MOMENT) == first
        assert there.times(question) == 1
        assert await there.ask(question, LATE) == first
        await there.settle()
        assert there.times(question) == 2
        second = await there.ask(question, LIFE)
        assert there.times(question) == 2
    assert isinstance(second, Found | Absent)
    assert (second.security, second.expires) == (Security.SECURE, NOW + LATE + LIFE)


async def test_whoever_uses_it_waits_for_nothing_and_it_is_asked_for_once() -> None:
    """SEC-59: while the new answer has not come, all get the old one; whoever comes after its end joins the asking."""
    go = threading.Event()

    def hold(_message: dns.message.Message) -> None:
        assert go.wait(30)

    with _resolved() as there:
        first = await there.ask(MX, timedelta())
        there.mangled.changes["udp"] = hold
        for later in range(20):
            assert await there.ask(MX, LATE + later * MOMENT) == first
        late = asyncio.create_task(there.ask(MX, LIFE))
        go.set()
        second = await late
        assert isinstance(second, Found)
        assert second.expires > first.expires
        assert there.times(MX) == 2


async def test_what_nobody_uses_is_not_asked_for() -> None:
    """SEC-59: an answer that was asked for anew, and of which there was one use since, is left to its end."""
    with _resolved() as there:
        await there.ask(MX, timedelta())
        await there.ask(MX, LATE)
        await there.settle()
        await there.ask(MX, LATE + LATE)
        await there.settle()
        assert there.times(MX) == 2
        await there.ask(MX, LATE + LATE)
        await there.settle()
        assert there.times(MX) == 3


def _fail(message: dns.message.Message) -> None:
    message.answer, message.authority = [], []
    message.set_rcode(dns.rcode.SERVFAIL)


@pytest.mark.parametrize("change", [_fail, without(RRSIG)], ids=["no answer", "bogus"])
async def test_a_failure_leaves_what_is_kept_until_its_end(change: object) -> None:
    """SEC-31, SEC-21: nothing is tried twice, the old answer serves as long as it may, and then the failure counts."""
    with _resolved() as there:
        first = await there.ask(MX, timedelta())
        there.mangled.changes = {"udp": change, "tcp": change}  # type: ignore[dict-item]
        assert await there.ask(MX, LATE) == first
        await there.settle()
        asked = there.times(MX)
        assert asked > 1
        assert await there.ask(MX, LIFE - MOMENT) == first
        await there.settle()
        assert there.times(MX) == asked
        after = await there.ask(MX, LIFE)
        assert isinstance(after, Failed)
        there.mangled.changes = {"udp": nothing, "tcp": nothing}
        assert isinstance(await there.ask(MX, LIFE + timedelta(minutes=1)), Found)


# What is kept, by itself


def _kept(clock: list[datetime]) -> Kept:
    return Kept(None, lambda: clock[0], lambda _name, _fields: None)


FOUND = Found(MX, Security.SECURE, (), "example", (), NOW + LIFE, "r")
KEY = (MX, True)


@pytest.mark.parametrize("failure", list(Failure))
def test_failures_are_never_asked_for_anew(failure: Failure) -> None:
    """SEC-65: what is bogus, or has failed in another way, is asked for when its time is over, and not before."""
    clock = [NOW]
    kept = _kept(clock)
    failed = Failed(MX, failure, "", NOW + LIFE, (), (Proof.VALIDATOR,), "r")
    kept.put(KEY, failed)
    clock[0] = NOW + LATE
    assert [kept.take(KEY), kept.take(KEY)] == [(failed, False)] * 2


@pytest.mark.parametrize(("life", "is_due"), [(10, False), (11, True)])
def test_a_short_life_is_not_worth_it(life: int, *, is_due: bool) -> None:
    """SEC-59: for a TTL of seconds, one question more is no gain."""
    clock = [NOW]
    kept = _kept(clock)
    kept.put(KEY, replace(FOUND, expires=NOW + timedelta(seconds=life)))
    clock[0] = NOW + timedelta(seconds=life - 0.5)
    assert kept.take(KEY)[1] is is_due


@pytest.mark.parametrize(("more", "is_due"), [(0.0, False), (1.0, False), (1.5, True)])
def test_a_resolver_that_gives_no_more_time_is_not_asked_again(more: float, *, is_due: bool) -> None:
    """SEC-59: one with a cache of its own counts the same TTL down, which seconds that are rounded do not change."""
    clock = [NOW]
    kept = _kept(clock)
    kept.put(KEY, FOUND)
    clock[0] = NOW + LATE
    assert kept.take(KEY) == (FOUND, True)
    new = replace(FOUND, expires=FOUND.expires + timedelta(seconds=more))
    kept.put(KEY, new, FOUND)
    clock[0] = FOUND.expires - MOMENT
    assert [kept.take(KEY), kept.take(KEY)] == [(new, False), (new, is_due)]


def test_what_is_over_is_not_given() -> None:
    """SEC-31: at the very end of its life an answer is over."""
    clock = [NOW]
    kept = _kept(clock)
    kept.put(KEY, FOUND)
    assert kept.take((MX, False)) == (None, False)
    clock[0] = NOW + LIFE
    assert kept.take(KEY) == (None, False)


def test_as_many_are_kept_as_there_is_room_for() -> None:
    """SEC-59: those that were not used for the longest time go first."""
    kept = _kept([NOW])
    for number in range(CACHE_SIZE):
        kept.put((Question(f"d{number}", "MX"), True), FOUND)
    assert kept.take((Question("d0", "MX"), True))[0]
    kept.put(KEY, FOUND)
    assert kept.take((Question("d0", "MX"), True))[0]
    assert kept.take((Question("d1", "MX"), True)) == (None, False)
