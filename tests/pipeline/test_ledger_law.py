"""The law of the ledger on a real Redis: whatever happens in whatever order, nobody is lost and nobody stands twice.

Hypothesis plays workers, the clock and an operator against one ledger: they accept, claim, commit, give back, set
aside, lose leases and move by hand. After each step the whole of Redis is read and held against the law.
"""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from pipeline.store.changes import Changes, group_of, number_of
from pipeline.store.codec import decode, encode
from pipeline.store.ledger import Ledger
from stages.contract import NoticeKind, Owed
from stages.message import FINAL, Message, MessageId, Recipient, State, recipient_id
from stages.reason import Reason
from tests.pipeline.test_ledger import LEASE, NOW, message, passes

DESTINATIONS = ("mx:example.com:25:dane", "mx:example.net:25:dane")
STAGES = ("route", "exclude", "bounce")
LISTS = tuple(f"place:{stage}" for stage in STAGES) + tuple(f"ready:{destination}" for destination in DESTINATIONS)
WHY = Reason("test", "test.code", "4.0.0", "because")
FATES = st.lists(
    st.sampled_from(("ready 0", "ready 1", "exclude", "later", "hold", "delivered", "failed", "copy")),
    min_size=1,
    max_size=4,
)
HANDS = {"route": State.QUEUED, "held": State.HELD, "failed": State.FAILED, "dropped": State.DROPPED}


class Law(RuleBasedStateMachine):
    """One ledger, its users, and the law."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis: Any = Redis.from_url(url)
        self.ledger = Ledger(self.redis)
        self.now: datetime = NOW
        self.count = 0
        self.claims: dict[str, list[str]] = {}  # what each worker believes that it holds
        self.tokens = 0
        self.holding: list[str] = []

    def run(self, work: Any) -> Any:
        """Run a coroutine to its end."""
        return self.runner.run(work)

    def teardown(self) -> None:
        """Let all go on: leases end, time passes, and what holds mail is found by the sweep (SMTP-50)."""
        self.run(self._everything_is_found())
        self.run(self.redis.aclose())
        self.runner.close()

    async def _everything_is_found(self) -> None:
        far = self.now + timedelta(days=9)
        await passes(self.redis, timedelta(days=9))
        while await self.ledger.reap():
            pass
        while (await self.ledger.due(far))[0]:
            pass
        for key in await self.redis.keys("dp:nudge:*"):
            await self.redis.delete(key)
        found = set(await self.ledger.waiting_places(STAGES))
        holding = {key.decode() for key in await self.redis.keys("dp:place:*")}
        holding |= {key.decode() for key in await self.redis.keys("dp:ready:*")}
        assert found == {key.removeprefix("dp:place:").replace("dp:ready:", "to:") for key in holding}
        groups = [group for key in holding for group in await self.redis.lrange(key, 0, -1)]
        groups += await self.redis.hkeys("dp:held")
        assert not await self.redis.zcard("dp:claims")
        left = {group.decode().partition("/")[0] for group in groups}
        assert left == {name.decode() for name in await self.redis.zrange("dp:messages", 0, -1)}

    @initialize()
    def empty(self) -> None:
        """Begin with nothing."""
        self.run(self.redis.flushall())

    @rule(recipients=st.integers(1, 4))
    def accept(self, recipients: int) -> None:
        """A message comes in."""
        self.count += 1
        assert self.run(self.ledger.accept(message(f"M{self.count}", recipients), b"x")) is not None

    @precondition(lambda self: self.holding)
    @rule(data=st.data(), most=st.integers(1, 3))
    def claim(self, data: st.DataObject, most: int) -> None:
        """A worker takes some."""
        list_ = data.draw(st.sampled_from(self.holding))
        self.tokens += 1
        token = f"t{self.tokens}"
        groups = self.run(self.ledger.claim(list_, token, most, LEASE))
        if groups:
            self.claims[token] = groups

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), fates=FATES)
    def commit(self, data: st.DataObject, fates: list[str]) -> None:
        """A worker settles a group, with or without its lease."""
        token = data.draw(st.sampled_from(sorted(self.claims)))
        group = data.draw(st.sampled_from(self.claims[token]))
        self._done_with(token, group)
        self.run(self._commit(token, group, fates))

    def _done_with(self, token: str, group: str) -> None:
        self.claims[token].remove(group)
        if not self.claims[token]:
            del self.claims[token]

    async def _commit(self, token: str, group: str, fates: list[str]) -> None:
        changes = Changes(forget=[f"item:{stage}" for stage in STAGES])
        if "!" in group:
            changes.settled = 1
        else:
            name, _, numbers = group.partition("/")
            stored = await self.ledger.stored(MessageId(name))
            assert stored is not None
            by_number = {number_of(one.id): one for one in stored.message.recipients}
            item = replace(stored.message, recipients=tuple(by_number[number] for number in numbers.split(",")))
            shares: dict[str, list[Recipient]] = {}
            for place, recipient in enumerate(item.recipients):
                shares.setdefault(fates[place % len(fates)], []).append(recipient)
            for fate, share in shares.items():
                self._fate(changes, item, fate, share)
        await self.ledger.commit(token, group, changes)

    def _fate(self, changes: Changes, item: Message, fate: str, share: list[Recipient]) -> None:
        part = replace(item, recipients=tuple(share))
        group = group_of(item.id, map(number_of, part.recipient_ids))
        match fate:
            case "exclude":
                changes.to_place("exclude", group, encode(Message, part))
            case "later":
                for one in share:
                    changes.put(replace(one, state=State.DEFERRED, attempts=one.attempts + 1))
                at = self.now + timedelta(minutes=len(share))
                changes.later(group, at, DESTINATIONS[len(share) % 2] if self.count % 3 else "")
            case "hold":
                for one in share:
                    changes.put(replace(one, state=State.HELD, reason=WHY))
                changes.hold(group, self.now)
            case "delivered" | "failed":
                done = tuple(replace(one, state=State(fate), reason=WHY) for one in share)
                for one in done:
                    changes.put(one)
                changes.settled += len(done)
                if fate == "failed":
                    changes.owe(Owed(NoticeKind.FAILED, replace(part, recipients=done)))
            case "copy":
                self._copy(changes, part, group)
            case _:
                changes.to_ready(DESTINATIONS[int(fate[-1])], group)

    @staticmethod
    def _copy(changes: Changes, part: Message, group: str) -> None:
        changes.to_ready(DESTINATIONS[0], group)
        for one in part.recipients:
            if not one.copied and one.copy_rule is None:
                changes.put(replace(one, copied=True))
                copy = Recipient(recipient_id(part.id, int(number_of(one.id)), 1), one.address, copy_rule="rule")
                changes.put(copy)
                changes.added.append(number_of(copy.id))
                changes.to_ready(DESTINATIONS[1], group_of(part.id, [number_of(copy.id)]))

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), everything=st.booleans())
    def give_back(self, data: st.DataObject, *, everything: bool) -> None:
        """A worker gives back one group, or all."""
        token = data.draw(st.sampled_from(sorted(self.claims)))
        if everything:
            del self.claims[token]
            if data.draw(st.booleans()):
                self.run(self.ledger.close_slot(DESTINATIONS[0], token))
            else:
                self.run(self.ledger.give_back(token))
            return
        group = data.draw(st.sampled_from(self.claims[token]))
        self._done_with(token, group)
        self.run(self.ledger.give_back(token, [group]))

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def set_aside(self, data: st.DataObject) -> None:
        """A worker's stage broke over a group."""
        token = data.draw(st.sampled_from(sorted(self.claims)))
        group = data.draw(st.sampled_from(self.claims[token]))
        self._done_with(token, group)
        self.run(self.ledger.set_aside(token, group, LEASE))

    @precondition(lambda self: self.count)
    @rule(data=st.data(), hand=st.sampled_from(sorted(HANDS)), stale=st.booleans())
    def move(self, data: st.DataObject, hand: str, *, stale: bool) -> None:
        """An operator moves one recipient, perhaps by what was read some time ago."""
        stored = self.run(self.ledger.stored(MessageId(f"M{data.draw(st.integers(1, self.count))}")))
        recipient = data.draw(st.sampled_from(stored.message.recipients))
        if stale:
            recipient = replace(recipient, attempts=0, copied=False)
        after = replace(recipient, state=HANDS[hand], reason=WHY)
        owed = Owed(NoticeKind.FAILED, replace(stored.message, recipients=(after,))) if hand == "failed" else None
        self.run(self.ledger.move(after, hand, self.now, owed))

    @rule(seconds=st.sampled_from((1, 30, 90)))
    def tick(self, seconds: int) -> None:
        """Time passes: leases end, mail is due, the sweep runs; workers notice none of it."""
        self.now += timedelta(seconds=seconds)
        self.run(self.ledger.due(self.now))
        self.run(passes(self.redis, timedelta(seconds=seconds)))
        self.run(self.ledger.reap())
        self.run(self.ledger.waiting_places(STAGES))

    @rule(destination=st.sampled_from(DESTINATIONS))
    def connect(self, destination: str) -> None:
        """A connection opens and closes, which may forget an idle destination."""
        self.run(self.ledger.open_slot(destination, "slot", 1, LEASE))
        self.run(self.ledger.close_slot(destination, "slot"))

    @invariant()
    def law(self) -> None:
        """Each open recipient stands in exactly one place, and all that is counted is counted right."""
        self.run(self._law())

    async def _law(self) -> None:
        stands, notices, handed = await self._groups()
        self.holding = [list_ for list_ in LISTS if await self.redis.llen(f"dp:{list_}")]
        open_ = Counter[str]()
        messages = set()
        for key in await self.redis.keys("dp:msg:*"):
            name = key.decode().removeprefix("dp:msg:")
            row = await self.redis.hgetall(key)
            for field, value in row.items():
                if field.startswith(b"r:"):
                    recipient = decode(Recipient, value)
                    number = field[2:].decode()
                    still = recipient.state not in FINAL
                    assert len(stands.get(f"{name}/{number}", [])) == still, (name, number, stands)
                    open_[name] += still
                    self._where(row, number, stands.get(f"{name}/{number}", []))
            open_[name] += notices[name]
            assert int(row[b"open"]) == open_[name], (name, row[b"open"], open_[name])
            if open_[name]:
                messages.add(name)
        assert {name.decode() for name in await self.redis.zrange("dp:messages", 0, -1)} == messages
        assert {key.decode().removeprefix("dp:body:") for key in await self.redis.keys("dp:body:*")} == messages
        for stage in STAGES[1:]:
            payloads = {field.decode() for field in await self.redis.hkeys(f"dp:item:{stage}")}
            assert payloads == handed.get(f"place:{stage}", set())
        await self._indexed()

    async def _indexed(self) -> None:
        """The index of destinations has what the groups themselves say, no more and no less, with the same times."""
        found: dict[str, dict[bytes, float]] = {}
        for group, at in await self.redis.zrange("dp:schedule", 0, -1, withscores=True):
            name, _, numbers = group.decode().partition("/")
            says = (await self.redis.hget(f"dp:msg:{name}", f"w:{numbers.partition(',')[0]}")).decode()
            if says.startswith("schedule:"):
                found.setdefault(says.rpartition("|")[0].removeprefix("schedule:"), {})[group] = at
        counts = {name.decode(): n for name, n in await self.redis.zrange("dp:deferred", 0, -1, withscores=True)}
        assert counts == {name: len(groups) for name, groups in found.items()}
        assert {key.decode().removeprefix("dp:deferred:") for key in await self.redis.keys("dp:deferred:*")} == set(
            found
        )
        for name, groups in found.items():
            assert dict(await self.redis.zrange(f"dp:deferred:{name}", 0, -1, withscores=True)) == groups

    @staticmethod
    def _where(row: dict[bytes, bytes], number: str, stands: list[tuple[str, str]]) -> None:
        """A group says with its first recipient where it stands, and the others name that one."""
        for place, group in stands:
            first = group.partition("/")[2].partition(",")[0]
            says = row.get(f"w:{number}".encode(), b"").decode()
            if says.startswith("schedule:"):  # with its destination
                says = f"schedule|{says.rpartition('|')[2]}"
            assert says == (f"{place.removeprefix('claimed ')}|{group}" if number == first else f"={first}")

    async def _groups(self) -> tuple[dict[str, list[tuple[str, str]]], Counter[str], dict[str, set[str]]]:
        """Read where each recipient stands, how many notices a message owes, and the groups handed to each place."""
        found: list[tuple[str, str]] = [("schedule", g.decode()) for g in await self.redis.zrange("dp:schedule", 0, -1)]
        found += [("held", group.decode()) for group in await self.redis.hkeys("dp:held")]
        for list_ in LISTS:
            found += [(list_, group.decode()) for group in await self.redis.lrange(f"dp:{list_}", 0, -1)]
        tokens = {token.decode() for token in await self.redis.zrange("dp:claims", 0, -1)}
        assert {key.decode().removeprefix("dp:claim:") for key in await self.redis.keys("dp:claim:*")} == tokens
        for token in tokens:
            for group, list_ in (await self.redis.hgetall(f"dp:claim:{token}")).items():
                if group:
                    found.append((f"claimed {list_.decode()}", group.decode()))
        stands: dict[str, list[tuple[str, str]]] = {}
        notices = Counter[str]()
        handed: dict[str, set[str]] = {}
        for place, group in found:
            handed.setdefault(place.removeprefix("claimed "), set()).add(group)
            name, _, numbers = group.partition("/")
            if "!" in numbers:
                notices[name] += 1
                continue
            for number in numbers.split(","):
                stands.setdefault(f"{name}/{number}", []).append((place, group))
        return stands, notices, handed


def test_the_law_of_the_ledger(redis_url: str) -> None:
    """SMTP-50: in any order of events each open recipient stands in one place, counts match, and the sweep finds all."""
    run_state_machine_as_test(
        lambda: Law(redis_url),  # type: ignore[arg-type] # a function that makes one is documented
        settings=settings(
            max_examples=70, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
