"""The ledger on a real Redis: each group stands in one place, and a lost lease writes nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.store.changes import Changes, group_of
from pipeline.store.codec import CodecError, decode, encode
from pipeline.store.ledger import ENTERING, LATE, Ledger
from stages.contract import NoticeKind, Owed
from stages.message import (
    Address,
    Content,
    Envelope,
    Message,
    MessageId,
    Origin,
    Recipient,
    RecipientId,
    State,
    recipient_id,
)
from stages.reason import Reason

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LEASE = timedelta(minutes=1)
KEY = "mx:example.com:25:dane"


def message(name: str = "M1", count: int = 2) -> Message:
    """Make a message with `count` recipients."""
    envelope = Envelope(
        Address("sender", "example.org", "sender@example.org"),
        NOW,
        Origin("smtp", "127.0.0.1"),
        Content(size=9),
    )
    recipients = tuple(
        Recipient(recipient_id(MessageId(name), n), Address(f"u{n}", "example.com", f"u{n}@example.com"))
        for n in range(count)
    )
    return Message(MessageId(name), envelope, recipients)


async def passes(redis: Any, time: timedelta) -> None:
    """Let leases and slots be as if so much time had passed: they rest on the clock of Redis, which nobody can set."""
    for key in [b"dp:claims", *await redis.keys("dp:slots:*")]:
        for token in await redis.zrange(key, 0, -1):
            await redis.zincrby(key, -time.total_seconds() * 1000, token)


@pytest.fixture
def ledger(redis: Any) -> Ledger:
    """Give a ledger on an empty Redis."""
    return Ledger(redis)


async def test_accept_keeps_everything(ledger: Ledger) -> None:
    """What was accepted comes back equal, octet for octet (SMTP-50, RFC 5321 6.1), and the first stage is nudged once."""
    assert await ledger.accept(message(), b"a\r\nb\x00\xff\r\n") is True
    assert await ledger.accept(message("M2"), b"x") is False
    stored = await ledger.stored(MessageId("M1"))
    assert stored is not None
    assert stored.message == message()
    assert stored.open == 2
    assert await ledger.content(message()) == b"a\r\nb\x00\xff\r\n"


async def test_accepting_twice_changes_nothing(ledger: Ledger) -> None:
    """A message id is accepted once, so a report written twice is sent once (SMTP-57)."""
    await ledger.accept(message(), b"first")
    assert await ledger.accept(message(), b"second") is None
    assert await ledger.content(message()) == b"first"
    assert await ledger.claim("place:route", "t", 10, LEASE) == ["M1/0,1"]


async def test_claim_is_exclusive_and_ordered(ledger: Ledger) -> None:
    """Two claims never share a group, and the oldest comes first."""
    for name in ("M1", "M2", "M3"):
        await ledger.accept(message(name, 1), b"x")
    assert await ledger.claim("place:route", "a", 2, LEASE) == ["M1/0", "M2/0"]
    assert await ledger.claim("place:route", "b", 2, LEASE) == ["M3/0"]
    assert await ledger.claim("place:route", "c", 2, LEASE) == []


async def test_commit_moves_to_ready_queue_and_schedule(ledger: Ledger) -> None:
    """One commit may send recipients different ways, and each then stands in exactly one place."""
    await ledger.accept(message(), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    changes = Changes()
    changes.to_ready(KEY, "M1/0")
    changes.put(replace(message().recipients[1], state=State.DEFERRED))
    changes.later("M1/1", NOW + timedelta(minutes=30))
    committed = await ledger.commit("t", "M1/0,1", changes)
    assert committed is not None
    assert committed.nudges == (f"to:{KEY}",)
    stored = await ledger.stored(MessageId("M1"))
    assert stored is not None
    assert stored.places == {"M1/0": f"ready:{KEY}", "M1/1": "schedule"}
    assert await ledger.backlog(KEY) == 1
    assert await ledger.next_due() == NOW + timedelta(minutes=30)


async def test_lost_lease_writes_nothing(ledger: Ledger) -> None:
    """DSN-21: a worker whose lease was reaped cannot settle, so nobody is settled twice: the fence is the claim itself."""
    await ledger.accept(message(), b"x")
    await ledger.claim("place:route", "slow", 1, LEASE)
    assert await ledger.reap() == []
    await passes(ledger.redis, LEASE)
    assert await ledger.reap() == [("slow", "place:route", 1)]
    await ledger.claim("place:route", "fast", 1, LEASE)
    changes = Changes(settled=2)
    assert await ledger.commit("slow", "M1/0,1", changes) is None
    stored = await ledger.stored(MessageId("M1"))
    assert stored is not None
    assert stored.open == 2
    assert await ledger.commit("fast", "M1/0,1", changes) is not None


async def test_extended_lease_is_not_reaped(ledger: Ledger) -> None:
    """Whoever prolongs in time keeps the work; a lease that is gone is not brought back by prolonging it."""
    await ledger.accept(message(), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    await passes(ledger.redis, LEASE / 2)
    await ledger.extend("t", LEASE)
    await passes(ledger.redis, LEASE * 3 / 4)
    assert await ledger.reap() == []
    await passes(ledger.redis, LEASE / 4)
    assert len(await ledger.reap()) == 1
    await ledger.extend("t", LEASE)
    assert not await ledger.redis.exists("dp:claims")


async def test_give_back_keeps_order(ledger: Ledger) -> None:
    """Groups given back stand at the head again, in their order."""
    for name in ("M1", "M2", "M3"):
        await ledger.accept(message(name, 1), b"x")
    await ledger.claim("place:route", "t", 2, LEASE)
    assert await ledger.give_back("t", ["M1/0", "M2/0"]) == ("place:route",)
    assert await ledger.claim("place:route", "u", 3, LEASE) == ["M1/0", "M2/0", "M3/0"]


async def test_settled_message_leaves_no_content(ledger: Ledger) -> None:
    """With the last recipient settled the octets are deleted, and the record stays for a while to be looked at."""
    await ledger.accept(message(count=1), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    changes = Changes(settled=1)
    changes.put(replace(message(count=1).recipients[0], state=State.DELIVERED))
    committed = await ledger.commit("t", "M1/0", changes)
    assert committed is not None
    assert committed.open == 0
    with pytest.raises(KeyError):
        await ledger.content(message())
    stored = await ledger.stored(MessageId("M1"))
    assert stored is not None
    assert stored.places == {"M1/0": "delivered"}
    assert (await ledger.counts())["messages"] == 0


async def test_notice_owed_keeps_the_message(ledger: Ledger) -> None:
    """A failed recipient's message is kept until the stage that rules on notices has ruled (DSN-04)."""
    await ledger.accept(message(count=1), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    failed = replace(message(count=1).recipients[0], state=State.FAILED, reason=Reason("route", "c", "5.1.2", "no"))
    owed = Owed(NoticeKind.FAILED, replace(message(count=1), recipients=(failed,)))
    changes = Changes(settled=1)
    changes.put(failed)
    changes.owe(owed)
    committed = await ledger.commit("t", "M1/0", changes)
    assert committed is not None
    assert (committed.open, committed.nudges) == (1, ("bounce",))
    assert await ledger.content(message()) == b"x"
    ((group, row),) = (await ledger.take("place:bounce", "b", 1, LEASE, bring="item:bounce")).groups
    assert row[0] is not None
    assert decode(Owed, row[0]) == owed
    done = await ledger.commit("b", group, Changes(settled=1, forget=["item:bounce"]))
    assert done is not None
    assert done.open == 0


@pytest.mark.parametrize("by", ["commit", "move"])
async def test_notices_go_to_the_stage_that_the_line_names(redis: Any, by: str) -> None:
    """A line may end in a notice stage of another name than ours: what is owed reaches it (SMTP-53)."""
    ledger = Ledger(redis, notices="report")
    await ledger.accept(message(count=1), b"x")
    failed = replace(message(count=1).recipients[0], state=State.FAILED, reason=Reason("route", "c", "5.1.2", "no"))
    owed = Owed(NoticeKind.FAILED, replace(message(count=1), recipients=(failed,)))
    if by == "move":
        assert await ledger.move(failed, "failed", NOW, owed) == "moved"
    else:
        await ledger.claim("place:route", "t", 1, LEASE)
        changes = Changes(settled=1)
        changes.put(failed)
        changes.owe(owed)
        committed = await ledger.commit("t", "M1/0", changes)
        assert committed is not None
        assert committed.nudges == ("report",)
    ((_, row),) = (await ledger.take("place:report", "b", 1, LEASE, bring="item:report")).groups
    assert row == [encode(Owed, owed)]


async def test_due_mail_enters_the_first_stage_again(ledger: Ledger) -> None:
    """The schedule hands a group back when its time has come, and not before (RFC 5321 4.5.4.1)."""
    await ledger.accept(message(count=1), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    changes = Changes()
    changes.later("M1/0", NOW + timedelta(minutes=30))
    await ledger.commit("t", "M1/0", changes)
    await ledger.redis.delete("dp:nudge:route")
    assert await ledger.due(NOW + timedelta(minutes=29)) == (0, False)
    assert await ledger.due(NOW + timedelta(minutes=30)) == (1, True)
    assert await ledger.claim("place:route", "t2", 1, LEASE) == ["M1/0"]


@pytest.mark.parametrize("target", ["held", "route", "dropped"])
async def test_operator_moves_one_of_several(ledger: Ledger, target: str) -> None:
    """Moving one recipient by hand leaves the others of its group where they were."""
    await ledger.accept(message(count=3), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    changes = Changes()
    changes.to_ready(KEY, "M1/0,1,2")
    await ledger.commit("t", "M1/0,1,2", changes)
    assert await ledger.move(message().recipients[1], target, NOW) == "moved"
    assert await ledger.claim(f"ready:{KEY}", "d", 9, LEASE) == ["M1/0,2"]
    stored = await ledger.stored(MessageId("M1"))
    assert stored is not None
    assert stored.open == (2 if target == "dropped" else 3)


async def test_operator_cannot_move_what_is_in_a_workers_hands(ledger: Ledger) -> None:
    """A claimed recipient is busy: no hand can pull it from under a delivery."""
    await ledger.accept(message(count=1), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    assert await ledger.move(message().recipients[0], "held", NOW) == "busy"
    unknown = replace(message().recipients[0], id=RecipientId("M9/0"))
    assert await ledger.move(unknown, "held", NOW) == "unknown"


async def test_a_hand_that_knows_an_old_state_moves_nothing(ledger: Ledger) -> None:
    """What an operator read before a worker changed it cannot undo that: no copy is made twice (SMTP-57)."""
    (old,) = message(count=1).recipients
    await ledger.accept(message(count=1), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    changes = Changes()
    changes.put(replace(old, copied=True))
    changes.to_ready(KEY, "M1/0")
    await ledger.commit("t", "M1/0", changes)
    assert await ledger.move(old, "route", NOW) == "busy"
    assert await ledger.move(replace(old, copied=True), "route", NOW) == "moved"


async def test_a_hand_leaves_no_item_behind(ledger: Ledger) -> None:
    """What was handed to a stage goes with the recipient that an operator takes out of its place."""
    await ledger.accept(message(count=1), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    changes = Changes()
    changes.to_place("exclude", "M1/0", b"{}")
    await ledger.commit("t", "M1/0", changes)
    assert await ledger.move(message(count=1).recipients[0], "dropped", NOW) == "moved"
    assert not await ledger.redis.hexists("dp:item:exclude", "M1/0")


async def test_a_group_set_aside_lets_others_pass_and_comes_back(ledger: Ledger) -> None:
    """A group over which a stage broke rests out of the way, an operator can reach it, and it comes back in time."""
    for name in ("M1", "M2"):
        await ledger.accept(message(name, 1), b"x")
    await ledger.claim("place:route", "t", 2, LEASE)
    assert await ledger.set_aside("t", "M1/0", LEASE)
    assert await ledger.set_aside("t", "M2/0", LEASE)
    assert not await ledger.set_aside("t", "M2/0", LEASE)
    assert await ledger.claim("place:route", "u", 2, LEASE) == []
    assert await ledger.move(message("M1", 1).recipients[0], "held", NOW) == "moved"
    await passes(ledger.redis, LEASE / 2)
    assert await ledger.reap() == []
    await passes(ledger.redis, LEASE / 2)
    assert await ledger.reap() == [("aside:M2/0", "place:route", 1)]
    assert await ledger.claim("place:route", "u", 2, LEASE) == ["M2/0"]


async def test_slots_hold_over_all_workers(ledger: Ledger) -> None:
    """SMTP-38 (RFC 5321 4.5.4.1): no more connections than the limit, over all workers; an expired slot frees itself."""
    assert await ledger.open_slot(KEY, "a", 2, LEASE)
    assert await ledger.open_slot(KEY, "b", 2, LEASE)
    assert not await ledger.open_slot(KEY, "c", 2, LEASE)
    await ledger.extend("a", 2 * LEASE, KEY)
    await passes(ledger.redis, LEASE)
    assert await ledger.open_slot(KEY, "c", 2, LEASE)
    assert not await ledger.open_slot(KEY, "b", 2, LEASE)
    assert await ledger.close_slot(KEY, "c") == 0


async def test_sweep_finds_what_stands_still(ledger: Ledger) -> None:
    """A place with mail and no nudge on its way is found; one that was nudged just now is left alone."""
    await ledger.accept(message(count=1), b"x")
    assert await ledger.waiting_places(["route"]) == []
    await ledger.redis.delete("dp:nudge:route")
    assert await ledger.waiting_places(["route", "exclude"]) == ["route"]
    assert await ledger.waiting_places(["route", "exclude"]) == []


@pytest.mark.parametrize("by", ["reap", "give back", "move"])
async def test_mail_that_comes_back_is_found_by_the_sweep(ledger: Ledger, by: str) -> None:
    """A ready queue is visited again however mail came into it, also after it had been emptied and forgotten."""
    await ledger.accept(message(), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    changes = Changes()
    changes.to_ready(KEY, "M1/0,1")
    await ledger.commit("t", "M1/0,1", changes)
    if by == "move":
        await ledger.redis.srem("dp:destinations", KEY)
        assert await ledger.move(message().recipients[0], "held", NOW) == "moved"
    else:
        await ledger.claim(f"ready:{KEY}", "dead", 1, LEASE)
        assert await ledger.open_slot(KEY, "other", 1, LEASE)
        assert await ledger.close_slot(KEY, "other") == 0  # the queue is empty: forgotten
        if by == "reap":
            await passes(ledger.redis, LEASE)
            assert await ledger.reap() == [("dead", f"ready:{KEY}", 1)]
        else:
            assert await ledger.give_back("dead") == (f"ready:{KEY}",)
    await ledger.redis.delete(f"dp:nudge:to:{KEY}")
    assert await ledger.waiting_places([]) == [f"to:{KEY}"]


async def test_sweep_forgets_idle_destinations(ledger: Ledger) -> None:
    """A destination without mail costs nothing for ever: the sweep drops it, and mail brings it back."""
    await ledger.accept(message(), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    changes = Changes()
    changes.to_ready(KEY, "M1/0,1")
    await ledger.commit("t", "M1/0,1", changes)
    await ledger.claim(f"ready:{KEY}", "u", 1, LEASE)
    await ledger.commit("u", "M1/0,1", Changes(settled=2))
    assert await ledger.waiting_places([]) == []
    assert await ledger.redis.scard("dp:destinations") == 0


async def test_nudges_that_are_late_are_not_sent_again(ledger: Ledger) -> None:
    """While jobs wait by the hundred, destinations whose nudge is old get no other; stages do, and all do afterwards."""
    await ledger.accept(message(), b"x")
    await ledger.claim("place:route", "t", 1, LEASE)
    changes = Changes()
    changes.to_ready(KEY, "M1/0,1")
    await ledger.commit("t", "M1/0,1", changes)
    await ledger.accept(message("M2"), b"x")
    await ledger.redis.delete("dp:nudge:route", f"dp:nudge:to:{KEY}")
    await ledger.redis.rpush("dp:dramatiq:resolve", *["job"] * (LATE + 1))
    assert await ledger.waiting_places(["route"], "dp:dramatiq:resolve") == ["route"]
    await ledger.redis.lpop("dp:dramatiq:resolve")
    assert await ledger.waiting_places(["route"], "dp:dramatiq:resolve") == [f"to:{KEY}"]


async def test_pages_walk_all_messages(ledger: Ledger) -> None:
    """Listing goes page by page and shows every open message once."""
    for n in range(25):
        await ledger.accept(message(f"M{n:02}", 1), b"x")
    seen, cursor = [], ""
    while True:
        page, cursor = await ledger.page(cursor, 10)
        seen += [stored.message.id for stored in page]
        if not cursor:
            break
    assert seen == [f"M{n:02}" for n in range(25)]


@pytest.mark.parametrize("settled", [range(10), [9], range(5, 15), range(25)], ids=["page", "last", "both", "all"])
async def test_no_page_misses_a_message_while_others_are_settled(ledger: Ledger, settled: Any) -> None:
    """What is settled between two pages, the last one seen included, shifts nothing: the rest is seen once, in order."""
    for n in range(25):
        await ledger.accept(message(f"M{n:02}", 1), b"x")
    first, cursor = await ledger.page("", 10)
    seen = [stored.message.id for stored in first]
    for n in settled:
        assert await ledger.move(message(f"M{n:02}", 1).recipients[0], "dropped", NOW) == "moved"
    while cursor:
        page, cursor = await ledger.page(cursor, 10)
        seen += [stored.message.id for stored in page]
    assert seen == [f"M{n:02}" for n in range(25) if n < 10 or n not in settled]


async def test_a_group_of_thousands_is_named_once(ledger: Ledger) -> None:
    """What a message takes in Redis grows with its recipients, wherever they stand, and not with their square."""
    few, many = message("M1", 500), message("M2", 2000)
    taken: dict[str, int] = {}
    for one in (few, many):
        await ledger.accept(one, b"x")
        groups = await ledger.claim("place:route", one.id, 1, LEASE)
        assert groups == [group_of(one.id, map(str, range(len(one.recipients))))]
        changes = Changes()
        changes.later(groups[0], NOW)
        assert await ledger.commit(one.id, groups[0], changes) is not None
        taken[one.id] = await ledger.redis.memory_usage(f"dp:msg:{one.id}", samples=0)
    assert taken["M2"] < 5 * taken["M1"]
    assert (await ledger.due(NOW))[0] == 2
    stored = await ledger.stored(MessageId("M2"))
    assert stored is not None
    assert set(stored.places.values()) == {"place:route"}
    assert await ledger.move(many.recipients[0], "held", NOW) == "moved"
    assert await ledger.move(many.recipients[1999], "held", NOW) == "moved"
    stored = await ledger.stored(MessageId("M2"))
    assert stored is not None
    places = list(stored.places.values())
    assert (places[0], places[1999], set(places[1:-1])) == ("held", "held", {"place:route"})


async def test_a_batch_of_messages_to_thousands_is_cut_short(ledger: Ledger) -> None:
    """What one worker has in hand is bounded by recipients too; what it leaves keeps its order, and nothing is lost."""
    for name in ("M1", "M2", "M3", "M4"):
        await ledger.accept(message(name, 1500 if name == "M1" else 3000), b"x")
    seen = []
    for token in "abcd":
        taken = await ledger.take("place:route", token, 100, LEASE)
        seen.append([group.partition("/")[0] for group, _ in taken.groups])
        assert taken.left == 4 - sum(map(len, seen))
    assert seen == [["M1"], ["M2"], ["M3"], ["M4"]]


async def test_many_changes_are_made_in_several_trips(ledger: Ledger) -> None:
    """Verdicts on many recipients are no one script, which would keep everybody waiting, and all of them come true."""
    for name in ("M1", "M2", "M3"):
        await ledger.accept(message(name, 1000), b"x")
        await ledger.claim("place:route", "t", 1, LEASE)
    settled = []
    for name in ("M1", "M2", "M3"):
        changes = Changes(settled=1000)
        for one in message(name, 1000).recipients:
            changes.put(replace(one, state=State.DELIVERED))
        settled.append((group_of(MessageId(name), map(str, range(1000))), changes))
    committed = await ledger.commit_all("t", [*settled, ("M9/0", Changes())])
    assert [one is not None and one.open == 0 for one in committed] == [True, True, True, False]
    assert await ledger.redis.zcard("dp:claims") == 0


async def test_due_mail_waits_where_it_is_while_the_first_stage_is_busy(ledger: Ledger) -> None:
    """A whole queue that becomes due enters little by little, so that new mail is not behind all of it (SMTP-51)."""
    await ledger.redis.zadd("dp:schedule", {f"M{n}/0": 1 for n in range(2 * ENTERING)})
    moved = 0
    while some := (await ledger.due(NOW))[0]:
        moved += some
    assert moved == ENTERING
    await ledger.claim("place:route", "t", 30, LEASE)
    assert (await ledger.due(NOW))[0] == 30
    assert await ledger.redis.zcard("dp:schedule") == ENTERING - 30


def test_foreign_json_is_a_clear_error() -> None:
    """What this version did not write is refused by name, never half read."""
    with pytest.raises(CodecError, match="not a Recipient"):
        decode(Recipient, b'{"id": 5}')
    assert decode(Message, encode(Message, message())) == message()
    assert group_of(MessageId("M"), ["0", "0+1"]) == "M/0,0+1"
