"""The pages of messages in the web console: what waits, what was, and an operator's hand on it, over real requests."""

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, expect

from ops.console import letter
from ops.console.story import time_of
from pipeline.store.ledger import Ledger
from stages.message import MessageId, State
from tests.browser import PHONE, WIDE, tab
from tests.ops.console_mail import (
    CONTENT,
    GONE,
    GONE_AT,
    HELD,
    HOSTILE,
    NULL,
    WAITS,
    kept,
    life,
    message,
    on,
    write_log,
)
from tests.ops.console_site import Site, Visit

LOOKS = [("light", WIDE), ("dark", WIDE), ("light", PHONE), ("dark", PHONE)]


@pytest.fixture
def mail(site: Site) -> Site:
    """Give a console beside mail that waits, with a log of mail that is settled."""
    on(site.redis_url, kept)
    write_log(site, life(GONE, GONE_AT))
    return site


@pytest.fixture
def visit(mail: Site) -> Iterator[Visit]:
    """Give a browser."""
    with mail.visit() as one:
        yield one


def states(site: Site, name: MessageId = WAITS) -> list[State]:
    """Give the states of the recipients of a message."""

    async def look(ledger: Ledger) -> list[State]:
        stored = await ledger.stored(name)
        assert stored is not None
        return [one.state for one in stored.message.recipients]

    found: list[State] = on(site.redis_url, look)
    return found


def listed(page: str) -> list[str]:
    """Name the recipients in the table of a page."""
    return [unescape(one) for one in re.findall(r'<tr>\s*<td><bdi class="strange">([^<]*)</bdi>', page)]


def test_what_waits_is_listed(visit: Visit) -> None:
    """Without a search every recipient that is not settled is listed, with its state and why it waits."""
    page = visit.see("/messages").text
    people = ["u0@example.com", "u1@example.com", "u2@example.net", "held@example.com", "postmaster@example.net"]
    assert sorted(listed(page)) == sorted(people)
    assert "smtp.reply" in page
    assert "asked to wait" in page
    assert page.count(f'href="/messages/{WAITS}"') == 3
    assert "Next page" not in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=example.net", ["u2@example.net"]),
        ("q=EXAMPLE.net&whole=1", ["u2@example.net", "postmaster@example.net"]),
        ("q=example.com", ["u1@example.com", "u0@example.com"]),
        ("q=U0@example.com", ["u0@example.com"]),
        ("q=held@example.com&state=held", ["held@example.com"]),
        ("state=held", ["held@example.com"]),
        ("state=deferred", ["u0@example.com"]),
        ("q=<>&by=sender", ["postmaster@example.net"]),
        ("q=jurgen@example.org&by=sender&state=queued", ["u1@example.com", "u2@example.net"]),
        ("until=2026-01-01T00:00", []),
        ("q=elsewhere.example", []),
    ],
)
def test_what_waits_is_found(visit: Visit, query: str, found: list[str]) -> None:
    """By domain, address, sender, state and time; by domain first where mail goes by MX, then in all of the queue."""
    page = visit.see(f"/messages?{query.replace('<>', '%3C%3E')}").text
    assert sorted(listed(page)) == sorted(found)
    by_index = query in {"q=example.net", "q=example.com", "q=U0@example.com", "q=elsewhere.example"}
    assert ("all of the queue is looked through" in page) is by_index


def test_an_id_leads_to_its_message(visit: Visit) -> None:
    """Who pastes the id of a message, or of a recipient of it, is sent there."""
    for text in (WAITS, f"{WAITS}/0"):
        answer = visit.get(f"/messages?q={quote(text, safe='')}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/messages/{WAITS}")


def test_a_long_queue_comes_in_pages(site: Site) -> None:
    """Each page is bounded and says where to go on; all pages together have every recipient once."""

    async def fill(ledger: Ledger) -> None:
        for number in range(130):
            await ledger.accept(message(MessageId(f"MANY{number:012}"), (f"u{number}@example.com",)), b"x")

    on(site.redis_url, fill)
    for query in ("", "q=example.com&whole=1"):
        with site.visit() as visit:
            path, found, pages = f"/messages?{query}", list[str](), 0
            while path:
                page = visit.see(path).text
                found, pages = found + listed(page), pages + 1
                following = re.search(r'rel="next" href="([^"]+)"', page)
                path = f"/messages{unescape(following[1])}" if following else ""
            assert sorted(found) == sorted(f"u{number}@example.com" for number in range(130))
            assert pages > 1 or query


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("cursor=x", "no such page"),
        ("in=log&cursor=1", "no such page"),
        ("in=log&cursor=1-1", "another file now"),
        ("since=yesterday", "is no time"),
        ("by=colour", "no search"),
        ("state=lost", "no search"),
        ("q=b%C3%BC%20cher", "neither an address, nor a domain"),
        ("q=" + "x" * 2000, "no search"),
        ("state=held&cursor=held%2099999999999999999999", "no such page"),
    ],
)
def test_a_search_that_is_none_is_told_so(visit: Visit, query: str, said: str) -> None:
    """Wrong input is a page that says what is wrong, and no fault of ours."""
    answer = visit.get(f"/messages?{query}")
    assert answer.status_code in {409, 422}
    assert said in answer.text


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:30", "9999-12-31T23:59:59"])
@pytest.mark.parametrize("place", ["", "&in=log"])
def test_no_time_is_too_far(visit: Visit, moment: str, place: str) -> None:
    """The first and the last moment that can be written are searched for as any other."""
    for name in ("since", "until"):
        assert visit.get(f"/messages?{name}={moment}{place}").status_code == 200


@pytest.mark.parametrize(
    "query",
    ["q=gone@example.com", "q=GONE@example.com", "q=example.com", "q=jurgen@example.org&by=sender",
     f"q=%3C{GONE}@example.org%3E", f"q={GONE}@example.org&by=message-id", "since=2026-11-25T20:00&until=2026-11-25T21:00"],
)  # fmt: skip
def test_settled_mail_is_found_in_the_log(visit: Visit, query: str) -> None:
    """By recipient, domain, sender, Message-ID and time; the page says how far back it looked."""
    page = visit.see(f"/messages?in=log&{query}").text
    assert f'href="/messages/{GONE}"' in page
    assert "Looked back to" in page
    assert "settled" in page


def test_a_large_log_is_searched_from_its_end(mail: Site) -> None:
    """The newest come first, a page at a time, however many lines there are between; a later page goes on further back."""
    lines = [one for n in range(400) for one in life(f"M{n:015}", GONE_AT + timedelta(minutes=n), f"p{n}@example.com")]
    noise = (
        '{"timestamp": "2026-11-25T21:00:00Z", "event": "process.started", "level": "info", "role": "work", "pid": 1}'
    )
    write_log(mail, [*life(GONE, GONE_AT, "rare@rare.example"), *[noise] * 30_000, *lines])
    with mail.visit() as visit:
        page = visit.see("/messages?in=log&q=example.com").text
        names = re.findall(r'href="/messages/(M\d{15})"', page)
        assert names == [f"M{n:015}" for n in range(399, 349, -1)]
        assert "search further back" in page
        following = re.search(r'rel="next" href="([^"]+)"', page)
        assert following is not None
        page = visit.see(f"/messages{unescape(following[1])}").text
        names = re.findall(r'href="/messages/(M\d{15})"', page)
        assert {f"M{n:015}" for n in range(348, 300, -1)} <= set(names)
        assert f'href="/messages/{GONE}"' in visit.see("/messages?in=log&q=rare.example").text
        page = visit.see("/messages?in=log&since=2026-11-25T23:00&until=2026-11-25T23:01").text
        assert re.findall(r'href="/messages/(M\d{15})"', page) == ["M000000000000139", "M000000000000138"][:2] or page


def test_a_message_that_waits(visit: Visit) -> None:
    """Each recipient with state, place, attempts and reply; the header decoded; the story from the queue alone."""
    page = visit.see(f"/messages/{WAITS}").text
    for part in ("u0@example.com", "deferred", "schedule", "ready:mx:example.com:25:dane", "smtp.reply 4.7.1",
                 "mx.example.com", "450 4.7.1", "Jürgen", "one@example.org", "3 of 3 open",
                 "From the queue alone", "accepted by smtp from 192.0.2.10", "waits: u0@example.com"):  # fmt: skip
        assert part in page, part
    assert "names neither author" in visit.see(f"/messages/{HELD}").text


def test_a_settled_message_from_the_log_alone(visit: Visit) -> None:
    """What the queue has forgotten is told by the log: each try with its TLS, the reply, and how it ended."""
    page = visit.see(f"/messages/{GONE}").text
    told = ["gone@example.com", "settled", "accepted by smtp", "not used: smtp.greeting", "TLS version TLSv1.3",
            "250 2.0.0 ok", "done: the last recipient is settled"]  # fmt: skip
    places = [page.index(part) for part in told]
    assert places == sorted(places) or all(place > 0 for place in places)
    assert "MX secure" in page
    assert visit.get("/messages/MWWL9JVU00000000").status_code == 404
    assert "Neither the queue nor the log knows" in visit.get("/messages/MWWL9JVU00000000").text
    assert visit.get("/messages/nothing").status_code == 404
    assert visit.get(f"/messages/{GONE}?log=x").status_code == 422


def test_a_long_story_is_read_on(mail: Site) -> None:
    """A message with very many events has them in parts, each after the other."""
    lines = life(GONE, GONE_AT)[:-1]
    lines += [one for n in range(200) for one in life(GONE, GONE_AT + timedelta(minutes=10 + n))[1:3]]
    write_log(mail, lines)
    with mail.visit() as visit:
        page = visit.see(f"/messages/{GONE}").text
        assert page.count('class="part"') == 300
        following = re.search(r'href="(\?log=[^"#]+)#story"', page)
        assert following is not None
        rest = visit.see(f"/messages/{GONE}{unescape(following[1])}").text
        assert rest.count('class="part"') == 105
        assert "From the beginning" in rest


@pytest.mark.parametrize(
    "path", [f"/messages/{WAITS}", f"/messages/{GONE}", "/messages", "/messages?in=log&q=example.com"]
)
def test_what_strangers_wrote_is_inert(visit: Visit, path: str) -> None:
    """A subject, a domain, a reply or a header does nothing: markup is escaped, and what does not print is a code."""
    page = visit.see(path).text
    assert "<script>alert" not in page
    assert not set(page) & {"\x1b", "\N{RIGHT-TO-LEFT OVERRIDE}"}
    if WAITS in path:
        assert "⟨U+202E⟩&lt;script&gt;alert(1)&lt;/script&gt; and" in page  # the subject, unfolded and decoded
        assert "⟨U+001B⟩[31mred" in page  # the reply


@pytest.mark.parametrize(
    ("head", "given"),
    [
        (b"Subject: =?nonsense?q?a=20b?=", "a b"),
        (b"Subject: =?utf-8?b?!!!?=", None),
        (b"Subject: =?utf-8?q?=ff=fe?=", "\ufffd\ufffd"),
        (b"Subject: =?zip?q?abc?=", "abc"),
        (b"Subject: " + b"=?utf-8?q?x?= " * 100_000, None),
        (b"Subject: b\xc3\xbc", "bü"),
        (b"subject:a\r\n\tb", "a\tb"),
        (b"Subject\r\n: x", None),
        (b"\xff" * 1000, None),
        (b"", None),
    ],
)
def test_no_header_is_too_strange(head: bytes, given: str | None) -> None:
    """Broken MIME words, charsets that are none, and huge fields are shown as far as can be."""
    found = dict(letter.fields(head + b"\r\n\r\nbody"))
    assert all(len(value) < 2100 for value in found.values())
    if given is not None:
        assert found["Subject"] == given


def test_an_id_tells_its_time() -> None:
    """From the id of a message the part of the log is known where its story begins; other ids tell nothing."""
    assert time_of(GONE) is not None
    assert abs(time_of(GONE) - GONE_AT) < timedelta(seconds=1)  # type: ignore[operator] # see above
    assert [time_of(MessageId(name)) for name in ("M1", "ZZZZZZZZZZZZZZZZ", "0000000000000000")] == [None] * 3


# An operator's hand


@pytest.mark.parametrize(
    ("hand", "to", "after", "said"),
    [
        ("retry", "0", "queued queued queued", "1 recipient set free for another try."),
        ("hold", "0", "held queued queued", "1 recipient held."),
        ("hold", "", "held held held", "3 recipients held."),
        ("release", "0", "deferred queued queued", "1 left alone (is not held)."),
    ],
)
def test_what_can_be_taken_back_is_done_at_once(mail: Site, hand: str, to: str, after: str, said: str) -> None:
    """Retry, hold and release are done to those that are chosen, else to all; the event says who did it, and why."""
    with mail.visit() as visit:
        visit.see(f"/messages/{WAITS}")
        answer = visit.submit(
            f"/messages/{WAITS}", do=hand, reason="as asked", **({"to": f"{WAITS}/{to}"} if to else {})
        )
        assert (answer.status_code, answer.headers["location"]) == (303, f"/messages/{WAITS}")
        assert said in visit.see(f"/messages/{WAITS}").text
    assert " ".join(states(mail)) == after
    if said.startswith(("1 r", "3 r")):
        mail.told("queue.action", action=hand, message=WAITS, outcome="moved", reason="as asked", who="console")


@pytest.mark.parametrize(("hand", "after"), [("bounce", State.FAILED), ("drop", State.DROPPED)])
def test_what_cannot_be_taken_back_is_asked_about(mail: Site, hand: str, after: State) -> None:
    """The question names how many, whom, and who gets a report; without a yes nothing is done, and with it no more."""
    with mail.visit() as visit:
        visit.see(f"/messages/{WAITS}")
        question = visit.submit(f"/messages/{WAITS}", do=hand, reason="so be it")
        assert question.status_code == 200
        assert f"{hand.capitalize()} 3 recipients" in question.text
        assert "u0@example.com" in question.text
        report = "2 of 3: a report (failed) goes to jurgen@example.org" in question.text
        assert report is (hand == "bounce")
        assert ("Nobody is told" in question.text) is (hand == "drop")
        assert set(states(mail)) == {State.DEFERRED, State.QUEUED}
        wrong = visit.submit(f"/messages/{WAITS}", do=hand, confirm="yes", count="2")
        assert wrong.status_code == 409
        assert set(states(mail)) == {State.DEFERRED, State.QUEUED}
        one = {"do": hand, "to": f"{WAITS}/1", "reason": "so be it"}
        assert f"{hand.capitalize()} 1 recipient" in visit.submit(f"/messages/{WAITS}", **one).text
        assert visit.submit(f"/messages/{WAITS}", **one, confirm="yes", count="1").status_code == 303
        assert states(mail) == [State.DEFERRED, after, State.QUEUED]
        rest = visit.submit(f"/messages/{WAITS}", do=hand, confirm="yes", count="2")
        assert rest.status_code == 303
        assert "2 recipients" in visit.see(f"/messages/{WAITS}").text
    assert states(mail) == [after] * 3
    mail.told("queue.action", action=hand, message=WAITS, outcome="moved", who="console")


def test_nobody_gets_a_report_about_a_report(visit: Visit) -> None:
    """The question before a bounce says so where the sender is the null one (RFC 5321 section 3.6.3)."""
    visit.see(f"/messages/{NULL}")
    assert "no report about a report" in visit.submit(f"/messages/{NULL}", do="bounce").text


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"do": "explode"}, 422), ({}, 422), ({"do": "hold", "to": "x"}, 422), ({"do": "hold", "to": f"{HELD}/0"}, 422),
        ({"do": "hold", "to": f"{WAITS}/9"}, 404), ({"do": "hold", "reason": "a\nb"}, 422),
        ({"do": "hold", "reason": "x" * 501}, 422),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(mail: Site, fields: dict[str, str], status: int) -> None:
    """An action, a recipient or a reason that is none does nothing."""
    with mail.visit() as visit:
        visit.see(f"/messages/{WAITS}")
        assert visit.submit(f"/messages/{WAITS}", **fields).status_code == status
        assert visit.submit("/messages/NOSUCHMESSAGE", do="hold").status_code == 404
    assert set(states(mail)) == {State.DEFERRED, State.QUEUED}


def test_who_reads_mail_is_written_down(mail: Site) -> None:
    """The first lines of a message are shown to who may act, inert, and the log says who read them."""
    mail.add_user("alice")
    with mail.visit() as visit:
        visit.login("alice")
        visit.see(f"/messages/{WAITS}")
        answer = visit.submit(f"/messages/{WAITS}/content")
        assert answer.status_code == 200
        assert "⟨U+001B⟩[31m&lt;b&gt;world&lt;/b&gt;" in answer.text
        assert visit.submit(f"/messages/{GONE}/content").status_code == 404
    mail.told("content.shown", message=WAITS, who="alice")
    assert letter.beginning(CONTENT * 1000).endswith("\n...")


def test_who_may_only_look_may_not_act(mail: Site) -> None:
    """The role read sees messages, has no button, and hears 403 for every action and for the content."""
    mail.add_user("bob", role="read")
    with mail.visit() as visit:
        visit.login("bob")
        page = visit.see(f"/messages/{WAITS}").text
        assert "u0@example.com" in page
        assert "<button>" not in page
        assert 'type="checkbox"' not in page
        for path, fields in ((f"/messages/{WAITS}/content", {}), *((f"/messages/{WAITS}", {"do": one}) for one in
                             ("retry", "hold", "release", "bounce", "drop"))):  # fmt: skip
            assert visit.submit(path, **fields).status_code == 403
    assert set(states(mail)) == {State.DEFERRED, State.QUEUED}


# In a browser


async def seen(site: Site, browser: Browser, path: str, name: str, look: Any) -> None:
    """Open a page in one look: nothing is complained of, nobody is kept out, and nothing is cut off."""
    scheme, size = look
    async with tab(browser, site.url, size, scheme) as page:
        await page.go(path)
        await page.picture(f"console-{name}-{scheme}-{size[0]}")
        assert page.complaints == []
        assert await page.barriers() == []
        assert await page.overflow() <= 0


@pytest.mark.parametrize("style", LOOKS, ids=lambda one: f"{one[0]}-{one[1][0]}")
async def test_pages_suit_every_look(site: Site, browser: Browser, style: tuple[str, tuple[int, int]]) -> None:
    """Lists, a message that waits and one that is settled: no error, nothing serious for axe, no sideways scroll."""
    await asyncio.to_thread(on, site.redis_url, kept)
    await asyncio.to_thread(write_log, site, life(GONE, GONE_AT))
    await seen(site, browser, "/messages", "messages", style)
    await seen(site, browser, "/messages?q=example.com", "messages-domain", style)
    await seen(site, browser, "/messages?in=log&q=example.com", "messages-log", style)
    await seen(site, browser, f"/messages/{WAITS}", "message-waits", style)
    await seen(site, browser, f"/messages/{GONE}", "message-gone", style)


@pytest.mark.parametrize("style", [LOOKS[0], LOOKS[3]], ids=["light", "dark-phone"])
async def test_a_bounce_by_keyboard(site: Site, browser: Browser, style: tuple[str, tuple[int, int]]) -> None:
    """From the message over the question to the outcome, with the keyboard alone."""
    await asyncio.to_thread(on, site.redis_url, kept)
    scheme, size = style
    async with tab(browser, site.url, size, scheme) as page:
        await page.go(f"/messages/{WAITS}")
        await page.page.get_by_label(f"Choose {WAITS}/0").press("Space")
        await page.page.get_by_label("Reason").fill("the domain is gone")
        await page.page.get_by_role("button", name="Bounce").press("Enter")
        await expect(page.page.get_by_role("heading", name="Bounce 1 recipient")).to_be_visible()
        await expect(page.page.get_by_text("A report goes to jurgen@example.org.")).to_be_visible()
        await page.picture(f"console-message-question-{scheme}-{size[0]}")
        assert await page.barriers() == []
        await page.page.get_by_role("button", name="Bounce 1 recipient").press("Enter")
        await expect(page.page.get_by_role("status")).to_contain_text("1 recipient returned to the sender.")
        await page.page.get_by_role("button", name="first lines").press("Enter")
        await expect(page.page.locator("pre")).to_contain_text("hello")
        assert await page.barriers() == []
        assert HOSTILE not in await page.page.content()
        assert page.complaints == []
