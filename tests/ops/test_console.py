"""Who gets into the web console and who does not, by real requests to a real process, on a real Redis."""

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from redis import Redis

from ops.console.login import door
from ops.console.rendering import span
from ops.console.server import POLICY
from ops.console.table import PAGES
from pipeline.embedded import EmbeddedRedis
from pipeline.store.users import FREE
from tests.needs import redis_server
from tests.ops.conftest import Run
from tests.ops.console_site import PASSWORD, Site, Visit, running
from tests.ops.manual_pages import SCHEMA

TEST = "/resolvers/test"  # a page that acts, and harms nobody


@pytest.fixture
def visit(site: Site) -> Iterator[Visit]:
    """Give a browser at a console without users."""
    with site.visit() as one:
        yield one


def test_every_answer_keeps_strangers_out(visit: Visit) -> None:
    """Pages, files and errors carry the policy that lets in our own files alone, and pages are kept by nobody."""
    for path in ("/", "/resolvers", "/rates", "/login", "/nothing", "/static/console.css", "/static/nothing.css"):
        headers = visit.get(path).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert path.startswith("/static/") or headers["cache-control"] == "no-store"
        assert "server" not in headers
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'; script-src 'self'; ")


def test_files_are_kept_by_what_they_hold(visit: Visit) -> None:
    """A file with its digest may be kept for ever; without it, or with that of an older version, it may not."""
    page = visit.see("/").text
    names = [part.partition('"')[0] for part in page.split("/static/")[1:]]
    assert len(names) >= 6
    for name in names:
        answer = visit.get(f"/static/{name}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert visit.get("/static/console.css").headers["cache-control"] == "no-cache"
    assert visit.get("/static/../server.py").status_code == 404
    assert visit.get("/static/vendor/LICENSE-htmx").status_code == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8025", "127.0.0.1.evil.example", "localhost.evil", "", "[::2]"]
)
def test_no_other_name_reaches_it(site: Site, visit: Visit, host: str) -> None:
    """A site that points its own name at our address (DNS rebinding) gets nothing, and that is an event."""
    answer = visit.get("/", headers={"Host": host})
    assert answer.status_code == 421
    assert "<" not in answer.text
    site.told("console.refused", status=421, text=f"a request for the host {host}, which is none of console.names")


@pytest.mark.parametrize("host", ["localhost:1", "LOCALHOST", "127.0.0.1:8025", "[::1]:8025"])
def test_its_own_names_reach_it(visit: Visit, host: str) -> None:
    """The names of loopback are its own, with any port: a tunnel may have another one."""
    assert visit.get("/", headers={"Host": host}).status_code == 200


def test_forms_of_other_sites_do_nothing(site: Site, visit: Visit) -> None:
    """Neither another origin, nor none, nor a form without the token of this browser does anything."""
    visit.see("/resolvers")
    for origin in ("https://evil.example", "null", f"{site.url}.evil.example", "http://127.0.0.1:1", "", "http://["):
        answer = visit.post(TEST, data={"token": visit.token}, headers={"Origin": origin})
        assert answer.status_code == 403
        assert "another site" in answer.text
    for token in ("", "0" * 64, "\N{GREEK SMALL LETTER ALPHA}"):
        answer = visit.post(TEST, data={"token": token})
        assert answer.status_code == 403
        assert "out of date" in answer.text
    with site.visit() as other:
        other.see("/resolvers")
        assert visit.post(TEST, data={"token": other.token}).status_code == 403
    assert visit.submit(TEST).status_code == 200


def test_other_sites_may_link_and_no_more(site: Site, visit: Visit) -> None:
    """What browsers say of a request (Fetch Metadata): a link is followed; no picture, frame or script asks for a page."""
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert visit.get("/explain?address=example.org", headers=link).status_code == 200
    for change in ({"Sec-Fetch-Dest": "iframe"}, {"Sec-Fetch-Mode": "no-cors"}, {"Sec-Fetch-Mode": "cors"}):
        for origin in ("cross-site", "same-site"):  # another port of this machine is the same site
            answer = visit.get("/explain?address=example.org", headers={**link, **change, "Sec-Fetch-Site": origin})
            assert answer.status_code == 403
            assert "<" not in answer.text
    site.told("console.refused", status=403, path="/explain", text="a request for a part of a page of another site")
    assert visit.get("/rates", headers={**link, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}).is_success


@pytest.mark.parametrize(
    ("left", "shown"),
    [
        (["good", "It was done."], "It was done."), ([["good"], "a list"], "a list"), ([{}, "no word"], "no word"),
        ("ab", "b"), (["good"], ""), (7, ""), ({"good": 1}, ""),
    ],
)  # fmt: skip
def test_what_is_to_be_said_is_read_with_care(visit: Visit, left: Any, shown: str) -> None:
    """The cookie with what the next page says may come from anybody at this machine: it breaks no page."""
    visit.cookies.set("danepipe_said", base64.urlsafe_b64encode(json.dumps(left).encode()).decode())
    page = visit.get("/")
    assert page.status_code == 200
    said = re.findall(r'<p class="said (?:good|warn|bad)" role="status">(.*)</p>', page.text)
    assert said == ([shown] if shown else [])


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3661, "1 h 1 min"), (7205, "2 h"), (3 * 86400 + 34, "3 d"),
     (3 * 86400 + 7200, "3 d 2 h"), (-90, "-1 min 30 s")],
)  # fmt: skip
def test_a_length_of_time_has_two_units_that_follow_each_other(seconds: int, written: str) -> None:
    """Nobody wants to know the seconds of days."""
    assert span(seconds) == written


def test_a_body_that_is_no_form_is_refused(visit: Visit) -> None:
    """Too much, too many fields, and octets that are no text are answered with a page, and not with a fault of ours."""
    visit.see("/")
    token = f"token={visit.token}&"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert visit.post(TEST, content=token + "a=" + "x" * 100_000, headers=kind).status_code == 413
    assert visit.post(TEST, content=token + "a&" * 3000, headers=kind).status_code == 400
    assert visit.post(TEST, content=token.encode() + b"a=\xff", headers=kind).status_code == 400
    assert visit.put(TEST).status_code == 405
    assert visit.request("POST", "/").status_code == 405
    assert visit.head("/").status_code == 200


def test_without_users_it_is_open_to_this_machine(visit: Visit) -> None:
    """On loopback nobody needs a password while there is no user, and there is nothing to log out of."""
    assert "Log out" not in visit.see("/").text
    assert visit.get("/login").headers["location"] == "/"
    cookie = visit.get("/", headers={"Cookie": ""}).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_with_users_a_login_is_asked_for(site: Site, visit: Visit) -> None:
    """As soon as there is a user every page wants one, and after the login the browser is where it wanted to be."""
    visit.see("/resolvers")
    site.add_user("alice")
    for page in PAGES:
        if not page.open:
            answer = visit.submit(page.path) if page.method == "POST" else visit.get(page.path.replace("{id}", "X"))
            assert (answer.status_code, answer.headers["location"][:6]) == (303, "/login"), page
    part = visit.get("/resolvers", headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["hx-redirect"]) == (401, "/login?next=/resolvers")
    assert visit.get("/nothing").headers["location"] == "/login?next=/nothing"
    visit.see("/resolvers")
    before = visit.cookies["danepipe"]
    answer = visit.submit("/login", name="alice", password=PASSWORD, next="/resolvers")
    assert (answer.status_code, answer.headers["location"]) == (303, "/resolvers")
    assert visit.cookies["danepipe"] != before  # nobody who knew the one from before is let in with it
    assert "alice" in visit.see("/").text
    site.told("console.login", who="alice", outcome="right")
    assert visit.submit("/logout").headers["location"] == "/login"
    assert visit.get("/").status_code == 303
    site.told("console.login", who="alice", outcome="left")


@pytest.mark.parametrize(
    "place", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:x", "/\r\nX: y"]
)
def test_a_login_leads_to_no_other_site(site: Site, visit: Visit, place: str) -> None:
    """Where the browser goes after a login is a page of ours, whatever the link that brought it says."""
    site.add_user("alice")
    visit.see("/login")
    answer = visit.submit("/login", name="alice", password=PASSWORD, next=place)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_a_login_ends(site: Site) -> None:
    """With another password, and with the end of the user, every login ends at once, whoever knows its cookie."""
    site.add_user("alice")
    site.add_user("bob")
    with site.visit() as one, site.visit() as two, site.visit() as other:
        for visit in (one, two):
            visit.login("alice")
        other.login("bob")
        site.command("user", "password", "alice", given="another password\n")
        assert [visit.get("/").status_code for visit in (one, two, other)] == [303, 303, 200]
        assert one.login("alice").status_code == 200  # the old password
        one.login("alice", "another password")
        site.command("user", "remove", "alice")
        site.add_user("alice")
        assert [visit.get("/").status_code for visit in (one, other)] == [303, 200]
        cookie = other.cookies["danepipe"]
        other.submit("/logout")
        other.cookies.set("danepipe", cookie, domain="127.0.0.1")
        assert other.get("/").status_code == 303
    with Redis.from_url(site.redis_url) as client:
        assert all(0 < client.pttl(key) <= 12 * 3600 * 1000 for key in client.scan_iter("dp:session:*"))
        assert all(cookie.encode() not in key for key in client.scan_iter("dp:*"))  # secrets are kept nowhere


def test_guessing_takes_ever_longer(site: Site) -> None:
    """After some wrong passwords even the right one has to wait, for a name that is none as for a user's."""
    site.add_user("alice")
    for name in ("alice", "nobody"):
        with Redis.from_url(site.redis_url) as client:
            for key in client.scan_iter("dp:guesses:*"):
                client.delete(key)
        with site.visit() as visit:
            visit.see("/login")
            tries = 0
            while (answer := visit.submit("/login", name=name, password="wrong password")).status_code == 200:
                assert "do not belong together" in answer.text
                tries += 1
            assert tries >= FREE  # each further one is slower than the one before it
            late = visit.submit("/login", name=name, password=PASSWORD)
            assert late.status_code == 429
            assert int(late.headers["retry-after"]) >= 1
            assert "set-cookie" not in late.headers
        site.told("console.login", who=name, outcome="paused")
    with Redis.from_url(site.redis_url) as client:
        keys = list(client.scan_iter("dp:guesses:*"))
        assert all(0 < client.pttl(key) <= 3600 * 1000 for key in keys)


@pytest.mark.parametrize(
    ("peer", "kept_for"),
    [("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::/64"), ("", "")],
)
def test_patience_is_kept_for_a_host(peer: str, kept_for: str) -> None:
    """Who has a network of IPv6 addresses has no more tries than who has one address."""
    assert door(peer) == kept_for


def test_who_may_only_look_may_not_act(site: Site, visit: Visit) -> None:
    """A user with the role read sees every page, has no button, and hears 403 where something would be done."""
    site.add_user("bob", role="read")
    visit.login("bob")
    page = visit.see("/resolvers")
    assert "Test now" not in page.text
    answer = visit.submit(TEST)
    assert answer.status_code == 403
    assert "The user bob may look, and may not act." in answer.text
    site.told("console.refused", who="bob", path=TEST, status=403)


def test_events_are_as_documented(site: Site, visit: Visit) -> None:
    """Every event of the console fits the schema, names of strangers included."""
    site.add_user("alice")
    visit.see("/login")
    visit.submit("/login", name="\N{RIGHT-TO-LEFT OVERRIDE}<b>", password="wrong password")
    visit.get("/%7F%0A", headers={"Host": "events.example"})
    site.told("console.login", who="?<b>", outcome="wrong")
    site.told("console.refused", text="a request for the host events.example, which is none of console.names")
    check = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    told = [event for kind in ("console.started", "console.login", "console.refused") for event in site.events(kind)]
    assert {event["event"] for event in told} == {"console.started", "console.login", "console.refused"}
    assert [error.message for event in told for error in check.iter_errors(event)] == []


def test_what_strangers_wrote_is_shown_and_does_nothing(site: Site, visit: Visit) -> None:
    """Markup is escaped, and a character that would turn the text around is shown as its code."""
    site.add_user("alice")
    visit.see("/login")
    answer = visit.submit("/login", name="<script>x</script>\N{RIGHT-TO-LEFT OVERRIDE}", password="wrong password")
    assert "<script>x" not in answer.text
    assert "&lt;script&gt;x&lt;/script&gt;⟨U+202E⟩" in answer.text


def test_redis_away_is_a_page(tmp_path: Path) -> None:
    """While Redis is away each page is answered with 503 and says so, and with its return all is as before (SMTP-50)."""
    server = EmbeddedRedis(tmp_path / "redis", binary=redis_server())
    with asyncio.Runner() as runner:
        runner.run(server.start())
        with running(tmp_path, server.url) as site, site.visit() as visit:
            assert visit.get("/").status_code == 200
            runner.run(server.stop())
            for path in ("/", "/resolvers", "/rates", "/login", "/nothing"):
                answer = visit.get(path)
                assert answer.status_code == 503
                assert "Redis cannot be reached" in answer.text
            runner.run(server.start())
            assert visit.get("/").status_code == 200
        runner.run(server.stop())


def test_beyond_loopback_it_wants_a_user(kept: Run) -> None:
    """By address, by name or by proxy: where others may reach it, it does not start without users, and says what to do."""
    proxy = {"CONSOLE__LISTEN": "0.0.0.0:0", "CONSOLE__TRUST_PROXY": "192.0.2.1", "CONSOLE__NAMES": "mail.example.org"}
    for more in (proxy, {"CONSOLE__NAMES": "mail.example.org"}, {"CONSOLE__TRUST_PROXY": "127.0.0.1"}):
        result = kept("console", **{"CONSOLE__LISTEN": "127.0.0.1:0", **more})
        assert result.exit_code == 1
        assert "there is no user: make one first, with danepipe user add NAME" in result.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"LISTEN": "0.0.0.0:8025", "NAMES": "mail.example.org"}, "passwords would travel in clear text"),
        ({"LISTEN": "0.0.0.0:8025", "TRUST_PROXY": "192.0.2.1"}, "say in names under which host names"),
        (
            {"LISTEN": "none"},
            "is no address and port, expected something like '127.0.0.1:2525' or '[::1]:2525', or 'off'",
        ),
        ({"CERTIFICATE": "x.pem"}, "certificate and key belong together"),
        ({"SESSION": "1s"}, "console.session"),
    ],
    ids=["clear text", "every address", "no address", "half a certificate", "short"],
)
def test_settings_that_would_not_protect_are_refused(cli: Run, given: dict[str, str], said: str) -> None:
    """What would send passwords in clear text, or answer under any name, is no configuration."""
    result = cli("console", **{f"CONSOLE__{name}": value for name, value in given.items()})
    assert result.exit_code == 1
    assert said in result.stderr


def test_nobody_comes_past_the_proxy(tmp_path: Path, redis_url: str) -> None:
    """Where a proxy ends TLS, no other machine gets even the form for a password in clear text; a tunnel does."""
    with Redis.from_url(redis_url) as client:
        client.flushall()
    with running(tmp_path, redis_url) as site:
        site.add_user("alice")
    more = {"CONSOLE__TRUST_PROXY": "127.0.0.1", "CONSOLE__NAMES": "mail.example.org"}
    with running(tmp_path, redis_url, "0.0.0.0", **more) as site, site.visit() as visit:
        far = {"Host": "mail.example.org", "X-Forwarded-For": "192.0.2.9"}
        answer = visit.get("/login", headers=far)
        assert answer.status_code == 403
        assert "over TLS alone" in answer.text
        assert "set-cookie" not in answer.headers
        site.told("console.refused", peer="192.0.2.9", text="a request in clear text from another machine")
        assert visit.get("/login", headers={**far, "X-Forwarded-Proto": "https"}).status_code == 200
        assert visit.get("/login").status_code == 200


def test_behind_a_proxy_cookies_are_for_tls_alone(tmp_path: Path, redis_url: str) -> None:
    """A proxy that is trusted says that the browser speaks TLS: the cookie is then one that only TLS carries."""
    with Redis.from_url(redis_url) as client:
        client.flushall()
    with running(tmp_path, redis_url) as site:
        site.add_user("alice")
    with running(tmp_path, redis_url, CONSOLE__TRUST_PROXY="127.0.0.1", CONSOLE__NAMES="mail.example.org") as site:
        headers = {"Host": "mail.example.org", "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.9"}
        with httpx.Client(base_url=site.url, headers=headers) as client:
            cookie = client.get("/login").headers["set-cookie"]
            assert cookie.startswith("__Host-danepipe=")
            assert "Secure" in cookie
            client.post("/login", data={"name": "alice"}, headers={"Origin": "https://evil.example"})
            for origin, said in (("http", "another site"), ("https", "out of date")):
                answer = client.post("/login", headers={"Origin": f"{origin}://mail.example.org"})
                assert said in answer.text
        site.told("console.refused", peer="192.0.2.9")
