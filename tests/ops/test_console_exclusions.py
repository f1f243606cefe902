"""Exclusions and suspensions in the web console: real requests to a real process, on a real Redis."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from ops.console.history import MOST, REACH, history
from pipeline.config import Config, load
from pipeline.store.exclusions import ExclusionStore
from pipeline.store.gates import GateStore, Kind, Suspension
from pipeline.store.rechecks import RecheckStore, Tried
from stages.exclude import Exclusion
from tests.ops.conftest import WithLedger
from tests.ops.console_site import Site, Visit, running
from tests.ops.manual_pages import SCHEMA
from tests.ops.test_cli_suspend import ready

EVIL = "</td><script>alert(1)</script>\N{RIGHT-TO-LEFT OVERRIDE}\"'&"
CONFIGURED = """
[[exclude]]
pattern = "*@old.example"
reason = "their records are out of date"
owner = "postmaster"

[[exclude]]
pattern = "*@*.old.example"
expires = "2020-01-01"
"""
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def visit(site: Site) -> Iterator[Visit]:
    """Give a browser at a console without users."""
    with site.visit() as one:
        yield one


def entries(site: Site) -> list[dict[str, Any]]:
    """List the exclusions as the command does."""
    return [json.loads(line) for line in site.command("exclude", "list", "--json").splitlines()]


def suspensions(site: Site) -> list[dict[str, Any]]:
    """List the suspensions as the command does."""
    return [json.loads(line) for line in site.command("queue", "suspensions", "--json").splitlines()]


def fits_the_schema(site: Site, *kinds: str) -> None:
    """The events of these kinds are as documented."""
    check = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    told = [event for kind in kinds for event in site.events(kind)]
    assert told
    assert [error.message for event in told for error in check.iter_errors(event)] == []


def test_an_exclusion_comes_and_goes(site: Site, visit: Visit) -> None:
    """What is added here is what the command lists, with owner and end; who did it stands in the event and on the page."""
    site.add_user("alice")
    visit.login("alice")
    assert "Nothing is excluded" in visit.see("/exclusions").text
    done = visit.submit(
        "/exclusions", pattern="*@Bücher.example", reason="broken until May", expires="30d", until_passing="yes"
    )
    assert (done.status_code, done.headers["location"]) == (303, "/exclusions")
    (entry,) = entries(site)
    assert (entry["pattern"], entry["reason"], entry["owner"], entry["origin"], entry["until_passing"]) == (
        "*@xn--bcher-kva.example", "broken until May", "alice", "command", True,
    )  # fmt: skip
    assert datetime.fromisoformat(entry["expires"]) - datetime.now(UTC) > timedelta(days=29)
    event = site.told("exclusion.changed", action="add", who="alice")
    assert event["pattern"] == "*@xn--bcher-kva.example"
    page = visit.see("/exclusions").text
    assert "*@xn--bcher-kva.example: added." in page
    assert "by <bdi>alice</bdi>" in page
    assert "not yet tried" in page
    assert "or when it passes DANE" in page
    again = visit.submit("/exclusions", pattern="*@xn--bcher-kva.example", owner="bob")
    assert again.status_code == 303
    assert "replaced the entry that was there" in visit.see("/exclusions").text
    assert [one["owner"] for one in entries(site)] == ["bob"]
    asked = visit.submit("/exclusions/remove", pattern="*@xn--bcher-kva.example")
    assert asked.status_code == 200
    assert "DANE will apply again" in asked.text
    assert len(entries(site)) == 1
    visit.submit("/exclusions/remove", pattern="*@xn--bcher-kva.example", confirm="yes")
    assert entries(site) == []
    site.told("exclusion.changed", action="remove", who="alice", pattern="*@xn--bcher-kva.example")
    page = visit.see("/exclusions").text
    assert ": removed." in page
    assert page.count("<td><bdi>alice</bdi></td>") >= 3
    fits_the_schema(site, "exclusion.changed")
    assert visit.submit("/exclusions/remove", pattern="*@xn--bcher-kva.example").status_code == 404
    assert visit.submit("/exclusions/remove", pattern="*@xn--bcher-kva.example", confirm="yes").status_code == 404


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"pattern": ""}, {"pattern": "This is needed."}),
        ({"pattern": "a@b@"}, {"pattern": "Pattern"}),
        ({"pattern": "*@x.example", "expires": "2001-01-01"}, {"expires": "that is over already"}),
        ({"pattern": "@", "expires": "soon"}, {"pattern": "", "expires": "write a day"}),
        ({"pattern": "*@*.example", "until_passing": "yes"}, {"until": "names no single domain"}),
        ({"pattern": "*@x.example", "reason": "x" * 501}, {"reason": "at most 500 characters"}),
        ({"pattern": "*@x.example", "owner": "a\u202eb"}, {"owner": "characters that do not print"}),
    ],
    ids=["nothing", "no pattern", "over", "two at once", "cannot be tried", "long", "hidden"],
)
def test_what_is_wrong_stands_beside_it(site: Site, visit: Visit, fields: dict[str, str], said: dict[str, str]) -> None:
    """A form that is wrong comes again as it was filled in; the field says what would be right, and nothing is kept."""
    visit.see("/exclusions")
    page = visit.submit("/exclusions", **{"reason": "because", "owner": "me", "expires": "7d", **fields}).text
    for name, text in said.items():
        assert f'id="h-{name}" class="bad"' in page
        told = page.split(f'id="h-{name}" class="bad">')[1].partition("</small>")[0]
        assert text in told
        field = page.split(f'id="f-{name}"')[1].partition(">")[0]
        assert 'aria-invalid="true"' in field
        assert f'aria-describedby="h-{name}"' in field
        assert "autofocus" in field
    assert page.count("aria-invalid") == len(said)
    for name in ("reason", "owner", "expires"):
        if name not in fields:
            assert f'value="{ {"reason": "because", "owner": "me", "expires": "7d"}[name] }"' in page
    assert '<details class="card fold" open>' in page
    assert entries(site) == []


def test_entries_of_the_configuration_are_read_only(tmp_path: Path, redis_url: str) -> None:
    """They stand on the page with what a try found, have no button, and hear that they are removed in the file."""
    with Redis.from_url(redis_url) as client:
        client.flushall()
    (tmp_path / "danepipe.toml").write_text(CONFIGURED)

    async def tried() -> None:
        client = AsyncRedis.from_url(redis_url)
        await RecheckStore(client).keep("*@old.example", Tried(NOW, passes=True, text=""))
        await RecheckStore(client).keep("*@new.example", Tried(NOW, passes=False, text=f"mx: {EVIL}"))
        await ExclusionStore(client).add(Exclusion("*@new.example", EVIL, EVIL, NOW, origin="command"))
        await client.aclose()

    asyncio.run(tried())
    with running(tmp_path, redis_url, CONFIG=str(tmp_path / "danepipe.toml")) as site, site.visit() as visit:
        page = visit.see("/exclusions").text
        rows = page.split("<tbody>")[1].partition("</tbody>")[0].split("<tr")[1:]
        assert ["new.example" in row for row in rows] == [True, False, False]
        assert ["Remove" in row for row in rows] == [True, False, False]
        assert "does not pass" in rows[0]
        assert ">passes<" in rows[1]
        assert "configuration" in rows[1]
        assert 'class="over"' in rows[2]
        assert "ended" in rows[2]
        assert "names no single domain" in rows[2]
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;⟨U+202E⟩" in rows[0]
        for more in ({}, {"confirm": "yes"}):
            refused = visit.submit("/exclusions/remove", pattern="*@old.example", **more)
            assert refused.status_code == 409
            assert "stands in the configuration: remove it there" in refused.text


def test_which_exclusion_holds(site: Site, visit: Visit) -> None:
    """The check says what `danepipe exclude test` says: the most specific live entry, none, or that it is no address."""
    site.command("exclude", "add", "*@*.example.com")
    site.command("exclude", "add", "info@mail.example.com")
    for address, said in (
        ("INFO@mail.example.com", "info@mail.example.com</bdi>."),
        ("bob@mail.example.com", "*@*.example.com</bdi>."),
        ("bob@example.com", "No exclusion holds for"),
        ("<b>\N{RIGHT-TO-LEFT OVERRIDE}", 'id="h-address" class="bad"'),
    ):
        answer = visit.get("/exclusions", params={"address": address})
        assert answer.status_code == 200
        assert said in answer.text
        assert "<b>" not in answer.text


def test_a_long_list_has_pages(site: Site, visit: Visit) -> None:
    """A hundred entries stand on a page; a cursor that is none is refused."""

    async def many() -> None:
        client = AsyncRedis.from_url(site.redis_url)
        for number in range(101):
            await ExclusionStore(client).add(Exclusion(f"*@x{number:03}.example", added=NOW, origin="command"))
        await client.aclose()

    asyncio.run(many())
    first, second = visit.get("/exclusions").text, visit.get("/exclusions?cursor=100").text
    assert "101 exclusions" in first
    assert first.count("/exclusions/remove") == 100
    assert "cursor=100" in first
    assert second.count("/exclusions/remove") == 1
    assert "x100.example" in second
    for cursor in ("-1", "x", "1" * 20, "\N{SUPERSCRIPT TWO}"):
        assert visit.get("/exclusions", params={"cursor": cursor}).status_code == 422


def test_mail_is_suspended_and_goes_on(site: Site, visit: Visit, ledger: WithLedger) -> None:
    """What is suspended here is what the command lists; it is resumed after a question that says how much waits."""
    ledger(ready)
    visit.see("/suspensions")
    for kind, name in (("destination", "*.Example.NET"), ("site", "mx.example.com"), ("sender", "*@example.org")):
        done = visit.submit(
            "/suspensions", kind=kind, name=name, reason="complaints", owner="postmaster", expires="2099-12-31"
        )
        assert done.headers["location"] == "/suspensions"
    assert {(one["kind"], one["name"], one["waiting"]) for one in suspensions(site)} == {
        ("destination", "*.example.net", 0), ("site", "mx.example.com", 1), ("sender", "*@example.org", 1),
    }  # fmt: skip
    site.told("queue.action", action="suspend", target="sender *@example.org", who="console", owner="postmaster")
    page = visit.see("/suspensions").text
    assert "3 suspensions" in page
    assert "2100-01-01 00:00:00" in page
    asked = visit.submit("/suspensions/resume", kind="sender", name="*@example.org")
    assert "1 group of recipients waits for it" in asked.text
    assert len(suspensions(site)) == 3
    visit.submit("/suspensions/resume", kind="sender", name="*@example.org", confirm="yes")
    assert "sender *@example.org: resumed." in visit.see("/suspensions").text
    assert len(suspensions(site)) == 2
    assert "M2/0" in {json.loads(one)["id"] for one in site.command("queue", "list", "--json").splitlines()}
    with Redis.from_url(site.redis_url) as client:
        assert client.llen("dp:suspended:sender:*@example.org") == 0
    site.told("queue.action", action="resume", target="sender *@example.org", who="console")
    fits_the_schema(site, "queue.action")
    for more in ({}, {"confirm": "yes"}):
        gone = visit.submit("/suspensions/resume", kind="sender", name="*@example.org", **more)
        assert gone.status_code == 404
    assert visit.submit("/suspensions/resume", kind="all", name="x").status_code == 422
    again = visit.submit("/suspensions", kind="site", name="mx.example.com")
    assert again.status_code == 303
    assert "replaced the suspension that was there" in visit.see("/suspensions").text


def test_a_wrong_suspension_is_no_suspension(site: Site, visit: Visit) -> None:
    """The form comes again with what was wrong beside each field and all that was filled in."""
    visit.see("/suspensions")
    page = visit.submit(
        "/suspensions", kind="sender", name=f"no name{EVIL}", expires="never", reason=f"because {EVIL}"
    ).text
    assert "<script>alert" not in page
    assert page.count('class="bad"') == page.count("aria-invalid") >= 2
    assert '<option value="sender" selected>' in page
    page = visit.submit("/suspensions", kind="sender", name="no name", expires="never", reason="because").text
    for name, said in (("name", "no name"), ("expires", "write a day")):
        assert said in page.split(f'id="h-{name}" class="bad">')[1].partition("</small>")[0]
    assert 'value="because"' in page
    assert "This is needed." in visit.submit("/suspensions", kind="site", name="").text
    assert 'id="h-kind"' in visit.submit("/suspensions", kind="all", name="x.example").text
    assert suspensions(site) == []


def test_a_suspension_that_is_over_is_said_to_be(site: Site, visit: Visit) -> None:
    """Until a clock has let its mail go on it stands there as ended; strange reasons are shown and do nothing."""

    async def over() -> None:
        client = AsyncRedis.from_url(site.redis_url)
        then = NOW - timedelta(hours=1)
        await GateStore(client).suspend(Suspension(Kind.SITE, "mx.example.com", EVIL, EVIL, then, then))
        await client.aclose()

    asyncio.run(over())
    page = visit.see("/suspensions").text
    assert "ended" in page
    assert "<script>alert" not in page
    assert "⟨U+202E⟩" in page


def test_who_may_look_sees_all_and_does_nothing(site: Site, visit: Visit) -> None:
    """A user with the role read has neither forms nor buttons, and every action is refused."""
    site.add_user("bob", role="read")
    site.command("exclude", "add", "*@x.example", "--reason", "because")
    site.command("queue", "suspend", "site", "mx.example.com")
    visit.login("bob")
    for path in ("/exclusions", "/suspensions"):
        page = visit.see(path).text
        assert 'method="post" action="/exclusions' not in page
        assert 'method="post" action="/suspensions' not in page
    assert "because" in visit.see("/exclusions").text
    for path in ("/exclusions", "/exclusions/remove", "/suspensions", "/suspensions/resume"):
        answer = visit.submit(path, pattern="*@x.example", kind="site", name="mx.example.com", confirm="yes")
        assert answer.status_code == 403
    assert (len(entries(site)), len(suspensions(site))) == (1, 1)


def _config(file: Path | None, form: str = "json") -> Config:
    config = load(None, {})
    return config.model_copy(update={"log": config.log.model_copy(update={"file": file, "format": form})})


async def test_the_history_is_bounded(tmp_path: Path) -> None:
    """The last changes are found from the end, across blocks and long lines; what is not JSON, or too far, is not."""
    log = tmp_path / "log"

    def change(number: int, **more: Any) -> bytes:
        event = {"timestamp": NOW.isoformat(), "event": "exclusion.changed", "pattern": f"*@x{number}.example", **more}
        return json.dumps(event, separators=(",", ":")).encode() + b"\n"

    other = b'{"event":"stage.error","pattern":"x","error":"exclusion.changed"}\n'
    with log.open("wb") as file:
        file.write(change(0))
        file.truncate(REACH + (32 << 20))
        file.seek(0, 2)
        file.write(b"\n" + change(1, who="alice", expires="nonsense") + b'{"pattern":"' + b"y" * (3 << 20) + b"\n")
        for number in range(2, 9):
            file.write(change(number) + other * 20_000)
        file.write(change(9)[:-20])
    found = await history(_config(log), "exclusion.changed", "pattern")
    assert [one.event["pattern"] for one in found.changes] == [f"*@x{number}.example" for number in range(8, 0, -1)]
    assert (found.changes[-1].who, found.changes[-1].ends, found.changes[-1].at) == ("alice", None, NOW)
    log.write_bytes(b"".join(map(change, range(100))))
    found = await history(_config(log), "exclusion.changed", "pattern")
    assert [one.event["pattern"] for one in found.changes] == [f"*@x{99 - one}.example" for one in range(MOST)]


async def test_without_a_log_the_history_says_where_it_stands(tmp_path: Path) -> None:
    """No file, one for a terminal, and one that cannot be read: each is told of in a sentence."""
    for file, form, said in (
        (None, "json", "log.file"), (tmp_path, "console", "log.format"), (tmp_path, "json", "cannot be read"),
    ):  # fmt: skip
        found = await history(_config(file, form), "exclusion.changed", "pattern")
        assert found.changes == ()
        assert said in found.nowhere
