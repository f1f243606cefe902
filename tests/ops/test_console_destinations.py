"""The destinations in the web console: each page and each action, over HTTP, with a real process and a real Redis."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from redis import Redis

from ops.bench.fill import fill, filling
from ops.bound import MOST_HELD
from pipeline.spine import Spine
from pipeline.store.chores import SILENT, Chore, ChoreStore
from pipeline.store.gates import Kind, Suspension
from stages.message import MessageId, State
from tests.ops.console_places import EVIL, every_state, key, put, spine_at
from tests.ops.console_site import Site, Visit, running
from tests.ops.test_cli_up import until

FLOW, RETRY = (f"/destinations/{key(name)}" for name in ("flow.example", "retry.example"))
WAITING = 1 + 2 + 3 + 1 + 2  # recipients that wait for retry.example
SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
MANY = 3000


def at(site: Site, work: Callable[[Spine], Awaitable[Any]]) -> Any:
    """Do something to the queue of a console, as another process would."""

    async def done() -> Any:
        async with spine_at(site.redis_url) as spine:
            return await work(spine)

    return asyncio.run(done())


@pytest.fixture
def visit(site: Site) -> Iterator[Visit]:
    """Give a browser at a console without users, whose queue has a destination in every state."""
    at(site, every_state)
    with site.visit() as one:
        yield one


def asked_at(page: str) -> str:
    """Give the moment at which a page asked whether all mail is to be returned."""
    found = re.search(r'name="asked" value="([^"]+)"', page)
    assert found is not None
    return unescape(found[1])


def states(site: Site, name: str) -> list[State]:
    """Give the states of the recipients of a message."""
    stored = at(site, lambda spine: spine.ledger.stored(MessageId(name)))
    return [one.state for one in stored.message.recipients]


def names(text: str) -> list[str]:
    """Give the destinations of a table, in its order."""
    return [part.partition(".example")[0] for part in text.split('id="to-mx:')[1:]]


def ended(visit: Visit, path: str) -> str:
    """Wait until what is under way for a destination has ended, and give its page then."""
    seen: list[str] = []

    def over() -> bool:
        seen.append(visit.see(path).text)
        return "Under way" not in seen[-1]

    asyncio.run(until(over))
    return seen[-1]


def inert(text: str) -> None:
    """Nothing of what strangers said is markup or hides."""
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in text
    assert "\x1b" not in text


def test_the_table_sorts_filters_and_says_how(visit: Visit) -> None:
    """The fullest first; each column turns around; a part of a name and a state leave the others out."""
    first = visit.see("/destinations").text
    assert names(first)[:3] == ["down", "flow", "retry"]
    assert 'aria-sort="descending"><a class="sort" id="sort-backlog"' in first
    assert names(visit.see("/destinations?sort=name&order=up").text) == sorted(names(first))
    assert names(visit.see("/destinations?sort=name&order=down").text) == sorted(names(first), reverse=True)
    for column in ("backlog", "rate", "troubles", "state", "security", "error", "next"):
        both = [names(visit.see(f"/destinations?sort={column}&order={order}").text) for order in ("up", "down")]
        assert sorted(both[0]) == sorted(both[1]) == sorted(names(first))
        assert both[0] != both[1]
    assert names(visit.see("/destinations?state=parked+for+DANE").text) == ["parked"]
    assert names(visit.see("/destinations?q=SUSP").text) == ["suspended"]
    assert "No destination has such a name" in visit.see("/destinations?q=nobody").text
    assert sorted(names(visit.see("/destinations/all").text)) == sorted(names(first))
    inert(first)
    assert "450 4.2.0 &lt;script&gt;alert(1)&lt;/script&gt;⟨U+202E⟩gnp.exe⟨U+001B⟩[31mred" in first


def test_what_is_looked_for_is_inert(visit: Visit) -> None:
    """What was typed stands in the form again, and is no markup there."""
    text = visit.see(f"/destinations?q={quote(EVIL)}").text
    inert(text)
    assert "No destination has such a name" in text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/destinations?sort=password", 422), ("/destinations?order=sideways", 422), ("/destinations?state=x", 422),
        (f"/destinations?q={'x' * 300}", 422), ("/destinations/all?cursor=x", 422), ("/destinations/nothing", 404),
        (f"/destinations/all?cursor=ready+{'9' * 20}", 422), (f"/destinations/all?cursor=seen+{'9' * 19}", 422),
        (f"{FLOW}?cursor=-1", 422), ("/destinations/mx:%3Cscript%3E:x:dane", 404), ("/destinations/x/pulse", 404),
        ("/destinations/x/bounce", 404),
    ],
)  # fmt: skip
def test_wrong_addresses_are_answered_with_a_page(visit: Visit, path: str, status: int) -> None:
    """What the pages do not know is said, with a status that fits, and is no fault of ours."""
    answer = visit.see(path)
    assert answer.status_code == status
    inert(answer.text)


def test_all_about_one(visit: Visit) -> None:
    """State, plan with demands and records, addresses left alone, ten minutes, and mail with its reasons (DANE-105)."""
    text = visit.see(FLOW).text
    inert(text)
    assert "one of 2 TLSA records of mx1.flow.example" in text
    assert "DANE-EE(3) SPKI(1) SHA2-256(1) 000102030405" in text
    assert "TLSA records are bogus: &lt;script&gt;" in text
    assert "left alone" in text
    assert "refused &lt;script&gt;" in text
    assert text.count('<a id="message-') == 7
    assert '<a id="message-FLOW1/0" href="/messages/FLOW1">' in text
    assert "and 1 more" in text
    assert "7 of 7" not in text
    pulse = visit.get(f"{FLOW}/pulse").json()
    assert len(pulse["at"]) == 10
    assert sum(pulse["failed"]) == 1
    suspended = visit.see(f"/destinations/{key('suspended.example')}").text
    assert "destination suspended.example is suspended, by alice: asked by them" in suspended
    assert "No certificate matched" in visit.see(f"/destinations/{key('parked.example')}").text
    assert "could not be reached" in visit.see(f"/destinations/{key('down.example')}").text
    nobody = visit.see(f"/destinations/{key('nobody.example')}").text
    assert "Nothing waits" in nobody


def test_a_hostile_name_is_inert(site: Site, visit: Visit) -> None:
    """Even a key that is no domain at all, as long as it can be read, is shown and linked without harm."""
    text = visit.see(f"/destinations/{quote('mx:<script>alert(1)<:25:dane')}").text
    inert(text)


def test_mail_that_waits_comes_in_pages(site: Site, visit: Visit) -> None:
    """Each group once, those that are ready before those that were put off, whatever the place."""

    async def many(spine: Spine) -> None:
        for number in range(70):
            await put(spine, f"MANY{number:03}", "many.example", None if number < 20 else SOON)

    at(site, many)
    path = f"/destinations/{key('many.example')}"
    first, second = visit.see(path).text, visit.see(f"{path}?cursor=50").text
    found = [[part.partition("/")[0] for part in text.split('id="message-')[1:]] for text in (first, second)]
    assert [len(one) for one in found] == [50, 20]
    assert found[0][:20] == [f"MANY{number:03}" for number in range(20)]
    assert sorted(found[0] + found[1]) == [f"MANY{number:03}" for number in range(70)]
    assert 'href="?cursor=50"' in first
    assert "Next page" not in second


def outcome(visit: Visit, answer: httpx.Response) -> str:
    """Give the page that follows an action, once that is over: on a busy machine it goes on beside the request."""
    place = answer.headers["location"]
    text = visit.see(place).text
    ends = time.monotonic() + 30
    while "<strong>Under way:" in text and time.monotonic() < ends:
        text = visit.see(place).text
    return text


def test_try_now_hold_and_release(site: Site, visit: Visit) -> None:
    """All recipients that wait are moved, each with an event that names who, and the page says how many it was."""
    visit.see(RETRY)
    done = outcome(visit, visit.submit(f"{RETRY}/hold", reason="their request"))
    assert f"{WAITING} recipients held." in done
    assert f"Release {WAITING} held" in done
    assert states(site, "RETRY2") == [State.HELD] * 3
    event = site.told("queue.action", action="hold", message="RETRY2")
    assert (event["who"], event["reason"], event["outcome"]) == ("console", "their request", "moved")
    assert "Nothing waits for retry.example." in outcome(visit, visit.submit(f"{RETRY}/hold"))
    done = outcome(visit, visit.submit(f"{RETRY}/release"))
    assert f"{WAITING} recipients released." in done
    assert states(site, "RETRY2") == [State.QUEUED] * 3
    done = outcome(visit, visit.submit(f"{RETRY}/release"))
    assert "Nothing is held for retry.example." in done
    done = outcome(visit, visit.submit(f"{FLOW}/retry"))
    assert "10 recipients set free for another try." in done
    assert len([one for one in site.events("queue.action") if one["action"] == "retry"]) == 10


def test_much_that_is_held_is_not_counted_for_a_page(site: Site, visit: Visit) -> None:
    """Where too much is held to look at all of it the page says so, and release finds what is meant all the same."""
    with Redis.from_url(site.redis_url) as client:
        client.hset("dp:held", mapping={f"GONE{number}/0": "1" for number in range(MOST_HELD)})
    visit.see(RETRY)
    visit.submit(f"{RETRY}/hold")
    assert "Release what is held" in visit.see(RETRY).text
    done = outcome(visit, visit.submit(f"{RETRY}/release"))
    assert f"{WAITING} recipients released." in done


def test_a_return_is_confirmed_by_number_and_name(site: Site, visit: Visit) -> None:
    """The page names how many; without the name or the tick nothing is done; never more than were named are touched."""
    asked = visit.see(f"{RETRY}/bounce").text
    assert f"<strong>{WAITING} recipients</strong>" in asked
    when = asked_at(asked)
    for fields in ({}, {"name": "other.example"}, {"sure": "no"}):
        assert "Nothing was done." in visit.submit(f"{RETRY}/bounce", named=str(WAITING), asked=when, **fields).text
    for named in ("", "0", "-1", "x", "1" * 30):
        assert visit.submit(f"{RETRY}/bounce", named=named, asked=when, sure="yes").status_code == 422
    for wrong in ("", "yesterday"):
        assert visit.submit(f"{RETRY}/bounce", named="1", asked=wrong, sure="yes").status_code == 422
    assert states(site, "RETRY0") == [State.DEFERRED]
    at(site, lambda spine: put(spine, "LATE", "retry.example", SOON, count=2))
    done = visit.submit(f"{RETRY}/bounce", named=str(WAITING), asked=when, name="Retry.Example.", reason="closed")
    text = outcome(visit, done)
    assert f"{WAITING} recipients returned to their senders." in text
    assert "2 ready" not in text
    events = [one for one in site.events("queue.action") if one["action"] == "bounce"]
    assert len(events) == WAITING
    assert {(one["who"], one["reason"]) for one in events} == {("console", "closed")}
    left = at(site, lambda spine: spine.redis.zcard(f"dp:deferred:{key('retry.example')}"))
    assert left >= 1
    again = visit.submit(f"{RETRY}/bounce", named="900", asked=when, sure="yes")
    assert "0 of 900 recipients returned to their senders; 900 no longer" in outcome(visit, again)
    assert states(site, "LATE") == [State.DEFERRED] * 2
    when = asked_at(visit.see(f"{RETRY}/bounce").text)
    done = visit.submit(f"{RETRY}/bounce", named="900", asked=when, sure="yes")
    assert "2 of 900 recipients returned to their senders; 898 no longer waited." in outcome(visit, done)
    assert "Nothing waits for it" in visit.see(f"{RETRY}/bounce").text


def test_a_return_leaves_alone_what_came_in_after_the_question(site: Site, visit: Visit) -> None:
    """Mail of the question that is gone meanwhile is not made up for by mail that nobody was asked about."""
    when = asked_at(visit.see(f"{RETRY}/bounce").text)

    async def late(spine: Spine) -> None:
        for number in range(8):
            await put(spine, f"LATE{number}", "retry.example", SOON if number < 4 else None)

    at(site, late)
    visit.submit("/messages/RETRY2", do="hold")  # three recipients
    done = visit.submit(f"{RETRY}/bounce", named=str(WAITING), asked=when, sure="yes")
    text = outcome(visit, done)
    assert f"{WAITING - 3} of {WAITING} recipients returned to their senders; 3 no longer waited." in text
    for number in range(8):
        assert states(site, f"LATE{number}") == [State.DEFERRED if number < 4 else State.QUEUED]


def test_what_redis_has_no_room_for_is_not_said_to_be_nothing(site: Site, visit: Visit) -> None:
    """A full Redis breaks an action off, and the page says that; nobody is told that nothing waits."""
    visit.see(RETRY)
    with Redis.from_url(site.redis_url) as client:
        client.config_set("maxmemory", "1")
        try:
            done = visit.submit(f"{RETRY}/hold")
        finally:
            client.config_set("maxmemory", "0")
    text = visit.see(done.headers["location"]).text
    assert "Nothing waits" not in text
    assert f"0 of {WAITING} recipients held. It was broken off" in text


def test_suspend_and_resume(site: Site, visit: Visit) -> None:
    """Mail waits in place until a time or until it is resumed; wrong words are told beside their field."""
    visit.see(RETRY)
    wrong = visit.submit(f"{RETRY}/suspend", reason="because", expires="yesterday")
    assert "write a day" in wrong.text
    assert 'value="because"' in wrong.text
    assert at(site, lambda spine: spine.gates.board()).suspensions[0].name == "suspended.example"
    done = visit.see(visit.submit(f"{RETRY}/suspend", reason="because", expires="2h").headers["location"]).text
    assert "Mail to retry.example waits in place." in done
    assert "destination retry.example is suspended: because" in done
    site.told("queue.action", action="suspend", target="destination retry.example", who="console", reason="because")
    again = visit.see(visit.submit(f"{RETRY}/suspend").headers["location"]).text
    assert "by new terms" in again
    done = visit.see(visit.submit(f"{RETRY}/resume").headers["location"]).text
    assert "Mail to retry.example goes on." in done
    site.told("queue.action", action="resume", target="destination retry.example", who="console")
    assert visit.submit(f"{RETRY}/resume").status_code == 404
    at(site, lambda spine: spine.gates.suspend(Suspension(Kind.DESTINATION, "*.example")))
    wide = visit.see(RETRY).text
    assert 'href="/suspensions">Suspensions</a>' in wide
    assert f'action="{RETRY}/resume"' not in wide


def test_who_may_only_look_changes_nothing(site: Site, visit: Visit) -> None:
    """A user whose role only reads sees every page without a button that acts, and 403 for whatever would act."""
    before = len(site.events("queue.action"))
    site.add_user("bob", "read")
    with site.visit() as bob:
        bob.login("bob")
        for path in ("/destinations", "/destinations/all", RETRY):
            text = bob.see(path).text
            assert "Retry now" not in text
            assert "Suspend<" not in text
        for act in ("retry", "hold", "release", "bounce", "suspend", "resume"):
            assert bob.submit(f"{RETRY}/{act}", named="9", sure="yes").status_code == 403
        assert bob.get(f"{RETRY}/bounce").status_code == 403
        assert bob.submit(f"{RETRY}/dns").status_code == 200  # it asks, and changes nothing
    assert states(site, "RETRY0") == [State.DEFERRED]
    assert len(site.events("queue.action")) == before
    site.add_user("alice")
    with site.visit() as alice:
        alice.login("alice")
        alice.see(RETRY)
        assert alice.submit(f"{RETRY}/hold").status_code == 303
        assert site.told("queue.action", action="hold", who="alice")["message"].startswith("RETRY")
        alice.see(RETRY)
        alice.submit(f"{RETRY}/suspend")
        assert "is suspended, by alice." in alice.see(RETRY).text


def test_dns_is_asked_within_a_time(visit: Visit) -> None:
    """The decision by what DNS says now stands as a tree below its verdict; here no resolver answers."""
    visit.see(FLOW)
    text = visit.submit(f"{FLOW}/dns").text
    assert "By what DNS says now the mail would wait" in text
    assert "MX lookup of flow.example/MX" in text
    inert(text)


def test_much_is_done_beside_the_requests(site: Site, visit: Visit) -> None:
    """Thousands do not hold up a request; the page shows how far it is; one thing at a time for each destination."""
    with Redis.from_url(site.redis_url) as client:
        fill(client, filling(MANY, 1, 10))
    path = f"/destinations/{key('d00000000.example')}"
    visit.see(path)
    begun = visit.submit(f"{path}/hold")
    text = visit.see(begun.headers["location"]).text
    assert f"Begun: hold, for {MANY:,} recipients." in text
    assert "Under way: hold" in text
    assert visit.submit(f"{path}/retry").status_code == 409
    assert visit.submit(f"{RETRY}/hold").status_code == 303  # another destination does not wait for it
    last = ended(visit, path)
    assert f"{MANY:,} recipients held." in last
    assert len([one for one in site.events("queue.action") if one.get("message", "").startswith("MILLION")]) == MANY


def test_a_chore_that_nobody_is_at_is_said_to_be_broken_off(site: Site, visit: Visit) -> None:
    """Where the process died over it the page says so, and how much waits still."""
    long_ago = datetime.now(UTC) - SILENT - timedelta(seconds=5)
    chore = Chore("bounce", "alice", 100, long_ago, long_ago, {"moved": 40, "busy": 1})
    at(site, lambda spine: ChoreStore(spine.redis).tell(key("retry.example"), chore))
    text = visit.see(RETRY).text
    assert "bounce by alice was broken off" in text
    assert "40 of 100 recipients returned to their senders; 1 were being worked on and left alone." in text
    assert "What was not done waits as before: 5 groups of recipients." in text


def test_the_end_of_the_console_loses_nothing(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A console that ends over a chore breaks it off: what was not done waits as before, and the next one says so."""
    with Redis.from_url(redis_url) as client:
        client.flushall()
        fill(client, filling(MANY, 1, 10))
        name = key("d00000000.example")
        path = f"/destinations/{name}"
        with running(tmp_path_factory.mktemp("first"), redis_url) as site, site.visit() as visit:
            visit.see(path)
            assert "Begun" in visit.see(visit.submit(f"{path}/hold").headers["location"]).text
        held, left = client.hlen("dp:held"), client.zcard(f"dp:deferred:{name}")
        assert held + left == MANY
        assert left > 0
        with running(tmp_path_factory.mktemp("second"), redis_url) as site, site.visit() as visit:
            text = visit.see(path).text
        assert "It was broken off when the console ended or failed; what was not done waits as before." in text
        assert f"{held:,} of {MANY:,} recipients held" in text
