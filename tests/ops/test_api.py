"""The HTTP API as programs use it: real requests to a real process, on a real Redis."""

import asyncio
import base64
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from redis import Redis

from ops.api.table import OPERATIONS
from tests.delivery.certificates import authority, leaf
from tests.needs import free_port
from tests.ops.conftest import Run
from tests.ops.manual_pages import SCHEMA
from tests.ops.test_cli_up import until

ROOT = Path(__file__).parents[2]
MAIL = "From: a@example.org\r\nTo: b@example.com\r\nSubject: hello\r\n\r\nbody\r\n"
MOST = 50  # messages in the queue at which new ones are put off
NEW = {"sender": "a@example.org", "recipients": ["b@example.com"], "message": MAIL}


class Server:
    """A running `danepipe api`: its address, its log, and tokens."""

    def __init__(self, port: int, log: Path, redis_url: str) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self.redis_url = redis_url

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Read the log as far as it is written."""
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [event for event in found if event["event"] == kind]


def environ_of(port: int, log: Path, redis_url: str, **more: str) -> dict[str, str]:
    """Give the environment of a process that listens there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DANEPIPE_")}
    ours = {
        "API__LISTEN": f"127.0.0.1:{port}", "API__TIMEOUT": "1s", "API__MAX_BATCH": "60", "HOSTNAME": "mail.example.org",
        "LISTEN__MAX_SIZE": "100K", "LISTEN__MAX_RECIPIENTS": "100", "LOG__FILE": str(log), "REDIS__URL": redis_url,
        "BACKPRESSURE__MAX_QUEUE": str(MOST), "BACKPRESSURE__MIN_DISK_FREE": "0", "DNS__SERVERS": "127.0.0.1@1",
        "DNS__TIMEOUT": "50ms", "DNS__ATTEMPTS": "1", "DNS__RETRY": "1ms", **more,
    }  # fmt: skip
    return {**kept, **{f"DANEPIPE_{name}": value for name, value in ours.items()}, "PYTHONPATH": str(ROOT)}


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(place: Path, redis_url: str, **more: str) -> Iterator[Server]:
    """Run a process of it; it ends well when asked."""
    port, log = free_port(), place / "log.jsonl"
    command = [sys.executable, "-m", "ops.cli", "api"]
    with subprocess.Popen(command, env=environ_of(port, log, redis_url, **more), cwd=place) as process:
        try:
            asyncio.run(until(lambda: _answers(port) or process.poll() is not None))
            yield Server(port, log, redis_url)
        finally:
            process.terminate()
            assert process.wait(20) == 0


@pytest.fixture(scope="module")
def server(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run one process for all tests."""
    with running(tmp_path_factory.mktemp("api"), redis_url) as one:
        yield one


Client = Callable[..., httpx.Client]


@pytest.fixture
def client(server: Server, kept: Run) -> Iterator[Client]:
    """Give `client(*scopes)`, with a new token of these scopes, on an empty queue."""
    made: list[httpx.Client] = []

    def new(*scopes: str, name: str = "test") -> httpx.Client:
        options = [word for scope in scopes for word in ("--scope", scope)]
        result = kept("token", "add", name, *options)
        assert result.exit_code == 0, result.stderr
        secret = result.stdout.strip()
        made.append(httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {secret}"}, timeout=30))
        return made[-1]

    yield new
    for one in made:
        one.close()


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Give what an error says of itself; it is a problem document of that status (RFC 9457)."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert told["status"] == status
    assert told["title"]
    assert told["detail"]
    return told


def fields(response: httpx.Response, status: int = 422) -> list[str]:
    """Give the fields that are named as faulty."""
    return [one["field"] for one in problem(response, status)["errors"]]


def rows(kept: Run) -> list[dict[str, Any]]:
    """Give what the queue holds, by the command line."""
    return [json.loads(line) for line in kept("queue", "list", "--json").stdout.splitlines()]


def test_a_message_is_in_the_queue_when_it_is_answered(client: Client, kept: Run, server: Server) -> None:
    """202 names an id whose every recipient is in the ledger, with a Received field in front and nothing else changed."""
    with client("send", "read") as api:
        answer = api.post("/v1/messages", json={**NEW, "recipients": ["b@example.com", "c@example.net"]})
        assert answer.status_code == 202
        (taken,) = answer.json()["messages"]
        assert answer.headers["location"] == taken["location"]
        state = api.get(taken["location"]).json()
    assert state["source"] == "api"
    assert [(one["recipient"], one["state"]) for one in state["recipients"]] == [
        ("b@example.com", "queued"), ("c@example.net", "queued"),
    ]  # fmt: skip
    content = kept("queue", "show", taken["id"], "--content").stdout_bytes
    assert content.startswith(b"Received: by mail.example.org (danepipe, api) id ")
    assert content.endswith(MAIL.encode())
    check = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    event = server.events("api.request")[-2]
    assert [error.message for error in check.iter_errors(event)] == []
    assert (event["who"], event["status"], event["messages"]) == ("test", 202, [taken["id"]])


def test_octets_with_the_envelope_in_headers(client: Client, kept: Run) -> None:
    """A message/rfc822 body is taken as it is, for the recipients of the headers and not for those of its own header."""
    headers = {
        "Content-Type": "message/rfc822", "Danepipe-Sender": "<>", "Danepipe-Recipients": '"x,y"@example.com, z@example.net',
    }  # fmt: skip
    with client("send") as api:
        answer = api.post("/v1/messages", content=MAIL.replace("\r\n", "\n").encode(), headers=headers)
        assert answer.status_code == 202, answer.text
        assert fields(api.post("/v1/messages", content=MAIL, headers={**headers, "Danepipe-Sendr": "x"})) == [
            "Danepipe-Sendr"
        ]
        assert fields(api.post("/v1/messages", content=MAIL, headers={"Content-Type": "message/rfc822"})) == [
            "Danepipe-Sender", "Danepipe-Recipients",
        ]  # fmt: skip
        assert fields(api.post("/v1/messages", content=b"", headers=headers)) == ["message"]
    assert [row["recipient"] for row in rows(kept)] == ['"x,y"@example.com', "z@example.net"]
    assert {row["sender"] for row in rows(kept)} == {"<>"}


def test_a_batch_is_taken_whole_or_not_at_all(client: Client, kept: Run) -> None:
    """A fault in one recipient of one message names it, and nothing of the request is in the queue."""
    encoded = {**NEW, "message": base64.b64encode(MAIL.encode()).decode(), "encoding": "base64"}
    bad = {**NEW, "recipients": ["b@example.com", "nobody", "x@[1.2.3]"], "sender": "a@b@c"}
    with client("send") as api:
        faulty = fields(api.post("/v1/messages", json={"messages": [NEW, bad, {**encoded, "message": "?"}]}))
        assert faulty == [
            "messages[1].sender", "messages[1].recipients[1]", "messages[1].recipients[2]", "messages[2].message",
        ]  # fmt: skip
        assert rows(kept) == []
        answer = api.post("/v1/messages", json={"messages": [NEW, encoded]})
        assert len(answer.json()["messages"]) == 2
        assert fields(api.post("/v1/messages", json={"messages": [NEW] * 61}), 413) == ["messages"]
    assert len(rows(kept)) == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"recipients": ["b@example.com\r\nBcc: c@example.com"]}, "recipients[0]"),
        ({"recipients": ["b@example.com\n"]}, "recipients[0]"),
        ({"sender": "a@example.org> SIZE=1\r\nRCPT TO:<c@example.com"}, "sender"),
        ({"envid": "x\r\nBcc: c@example.com"}, "envid"),
        ({"recipients": []}, "recipients"),
        ({"recipients": "b@example.com"}, "recipients"),
        ({"recipients": [f"b{number}@example.com" for number in range(101)]}, "recipients"),
        ({"bcc": "c@example.com"}, "bcc"),
        ({"message": "x" * 999 + "\r\n"}, "message"),
        ({"notify": ["NEVER", "FAILURE"]}, "notify"),
        ({"message": "Received: by x\r\n" * 60 + MAIL}, "message"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_smtp_would_refuse_is_refused(client: Client, kept: Run, change: dict[str, Any], field: str) -> None:
    """Line ends in an address or an envelope id, unknown fields, loops and lines too long are named; nothing is kept."""
    with client("send") as api:
        assert fields(api.post("/v1/messages", json={**NEW, **change})) == [field]
    assert rows(kept) == []


def test_hostile_text_is_only_text(client: Client, kept: Run, server: Server) -> None:
    """A subject that would be another field, markup, a terminal's escape or a format changes nothing but itself."""
    subject = "Subject: \x1b[2J<script>alert(1)</script> {0} %s ${jndi:x} =?utf-8?q?=0ABcc:_c=40example.com?=\r\n"
    with client("send", "read") as api:
        answer = api.post("/v1/messages", json={**NEW, "message": subject + MAIL})
        assert answer.status_code == 202
        shown = api.get(answer.json()["messages"][0]["location"])
        assert "script" not in shown.text
        told = problem(api.get("/v1/messages/%1b%5b2J%0d%0aX-A:%20b"), 404)
        assert "x-a" not in shown.headers
    assert "\x1b" not in told["detail"]
    assert [row["recipient"] for row in rows(kept)] == ["b@example.com"]
    assert "\x1b" not in server.log.read_text()


def test_the_same_key_sends_once(client: Client, kept: Run) -> None:
    """The same request with the same key has the same ids; another body is 422; another token has keys of its own."""
    with client("send") as api:
        first = api.post("/v1/messages", json=NEW, headers={"Idempotency-Key": "order 7"})
        again = api.post("/v1/messages", json=NEW, headers={"Idempotency-Key": "order 7"})
        assert (first.status_code, again.status_code) == (202, 202)
        assert first.json() == again.json()
        assert "idempotency-replayed" not in first.headers
        assert again.headers["idempotency-replayed"] == "true"
        other = api.post(
            "/v1/messages", json={**NEW, "sender": "x@example.org"}, headers={"Idempotency-Key": "order 7"}
        )
        assert fields(other) == ["Idempotency-Key"]
        for wrong in (b"", b"x" * 256, b"\xe9"):
            refused = api.post("/v1/messages", json=NEW, headers={b"Idempotency-Key": wrong})
            assert fields(refused) == ["Idempotency-Key"]
    assert len(rows(kept)) == 1
    with client("send", name="other") as api:
        assert api.post("/v1/messages", json=NEW, headers={"Idempotency-Key": "order 7"}).json() != first.json()


def test_a_request_that_broke_off_is_taken_up(client: Client, kept: Run, server: Server) -> None:
    """A process that died between the message and its answer left a key that is not done: the next try sends nothing twice.

    While somebody is at it, the same key is 409.
    """
    with client("send") as api, Redis.from_url(server.redis_url) as redis:
        first = api.post("/v1/messages", json={"messages": [NEW, NEW]}, headers={"Idempotency-Key": "k"}).json()
        (name,) = redis.keys("dp:once:*")
        asked = json.loads(redis.get(name))
        redis.set(name, json.dumps({**asked, "done": False}))
        redis.delete(f"dp:msg:{asked['messages'][1]}")  # as if it had died before the second one
        redis.set(name.replace(b"dp:once:", b"dp:once-now:"), b"")
        busy = api.post("/v1/messages", json={"messages": [NEW, NEW]}, headers={"Idempotency-Key": "k"})
        assert problem(busy, 409)
        assert busy.headers["retry-after"] == "1"
        redis.delete(name.replace(b"dp:once:", b"dp:once-now:"))
        again = api.post("/v1/messages", json={"messages": [NEW, NEW]}, headers={"Idempotency-Key": "k"})
        assert again.json() == first
        assert json.loads(redis.get(name))["done"] is True
        assert redis.llen("dp:place:route") == 3  # two of the first try, and one that was brought back
        assert redis.zcard("dp:messages") == 2


def test_scopes_and_revoked_tokens(client: Client, kept: Run, server: Server) -> None:
    """Without a token 401, without its scope 403, `admin` may all, and a revoked or expired token nothing from then on."""
    with client("send") as api:
        assert problem(api.get("/v1/exclusions"), 403)
        assert 'scope="exclude"' in api.get("/v1/exclusions").headers["www-authenticate"]
        assert problem(api.post("/v1/queue/hold", json={"all": True}), 403)
        nobody = api.get("/v1/exclusions", headers={"Authorization": ""})
        assert problem(nobody, 401)
        assert nobody.headers["www-authenticate"].startswith("Bearer")
        assert problem(api.get("/v1/exclusions", headers={"Authorization": "Basic eDp5"}), 401)
    with client("admin", name="all") as api:
        assert api.get("/v1/exclusions").json() == {"exclusions": []}
        assert kept("token", "revoke", "all").exit_code == 0
        assert problem(api.get("/v1/exclusions"), 401)
    secret = kept("token", "add", "short", "--scope", "admin", "--expires", "300ms").stdout.strip()
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {secret}"}) as api:
        asyncio.run(until(lambda: api.get("/v1/exclusions").status_code != 200))
        assert problem(api.get("/v1/exclusions"), 401)


def test_no_operation_is_open(server: Server) -> None:
    """Every operation of the table answers 401 to those who have no token, whatever else is wrong with the request."""
    with httpx.Client(base_url=server.url) as api:
        for operation in OPERATIONS:
            path = operation.path.replace("{id}", "X").replace("{pattern}", "*@example.com")
            assert problem(api.request(operation.method, path), 401)


def test_guessing_is_slowed(client: Client) -> None:
    """After ten wrong tokens a peer hears 429 with the time to wait, while a right token is heard all the same."""
    with client("read") as api:
        answers = [api.get("/v1/messages/X", headers={"Authorization": f"Bearer x{one}"}) for one in range(12)]
        assert problem(answers[0], 401)
        assert problem(answers[-1], 429)
        assert 0 < int(answers[-1].headers["retry-after"]) <= 61
        assert problem(api.get("/v1/messages/X"), 404)


def test_secrets_are_kept_nowhere(client: Client, kept: Run, server: Server) -> None:
    """The secret of a token stands in no key of Redis, in no list and in no event."""
    with client("send") as api, Redis.from_url(server.redis_url) as redis:
        secret = api.headers["authorization"].partition(" ")[2]
        assert api.post("/v1/messages", json=NEW).status_code == 202
        assert secret.startswith("danepipe_")
        stored = str([redis.hgetall(key) for key in (b"dp:tokens", b"dp:token-names")])
    assert "test" in stored
    for place in (stored, server.log.read_text(), kept("token", "list").stdout, kept("token", "list", "--json").stdout):
        assert secret not in place
    assert kept("token", "add", "test", "--scope", "read").stderr.startswith("danepipe: there is a token test already")
    assert kept("token", "revoke", "nobody").exit_code == 1
    assert kept("token", "add", "a b", "--scope", "read").exit_code == 1


def test_bodies_have_bounds(client: Client, server: Server) -> None:
    """What is too large is 413 by its length and by its octets, compressed 415, no JSON 400, and a lie about the type 415."""
    with client("send") as api:
        large = {**NEW, "message": MAIL + "x\r\n" * 70_000}
        assert problem(api.post("/v1/messages", json={**NEW, "message": MAIL + ("x" * 70 + "\r\n") * 1600}), 413)
        assert problem(api.post("/v1/messages", content=iter([b"x" * 100_000] * 20)), 413)
        assert problem(api.post("/v1/queue/hold", content=b" " * 2_000_000), 403)
        assert problem(api.post("/v1/messages", content=b"{", headers={"Content-Type": "application/json"}), 400)
        assert fields(api.post("/v1/messages", content=b"{}", headers={"Content-Type": "text/xml"}), 415) == [
            "Content-Type"
        ]
        packed = api.post("/v1/messages", json=large, headers={"Content-Encoding": "gzip"})
        assert fields(packed, 415) == ["Content-Encoding"]


def _said(server: Server, *parts: bytes) -> bytes:
    """Send octets and read until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        for part in parts:
            raw.sendall(part)
        found = b""
        while octets := raw.recv(65536):
            found += octets
        return found


def test_the_slow_are_not_waited_for(client: Client, server: Server) -> None:
    """A body that does not arrive in time is 408, and a head that does not is cut off: neither holds a place for ever."""
    with client("send") as api:
        token = api.headers["authorization"].encode()
    head = (
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: " + token + b"\r\nContent-Type: application/json\r\n"
    )
    assert _said(server, head + b"Content-Length: 50\r\n\r\n{").startswith(b"HTTP/1.1 408 ")
    assert _said(server, b"GET /docs HTTP/1.1\r\nHost:") == b""
    assert _said(server) == b""


def test_two_lengths_are_no_request(server: Server) -> None:
    """Requests that two servers would part differently (both a length and chunks, two lengths) are refused."""
    head = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\n"
    for lengths in (b"Content-Length: 1\r\nContent-Length: 2\r\n", b"Content-Length: x\r\n"):
        assert _said(server, head + lengths + b"\r\n").startswith(b"HTTP/1.1 400 ")


def test_the_queue_is_worked_by_the_same_code(client: Client, kept: Run, server: Server) -> None:
    """Hold, release and bounce do what the commands do; bounce wants the number; each event has the token's name."""
    with client("send", "queue") as api:
        names = [api.post("/v1/messages", json=NEW).json()["messages"][0]["id"] for _ in range(2)]
        held = api.post("/v1/queue/hold", json={"messages": [names[0]], "reason": "why not"}).json()
        assert held["counts"]["moved"] == 1
        assert {row["id"]: row["state"] for row in rows(kept)} == {f"{names[0]}/0": "held", f"{names[1]}/0": "queued"}
        event = server.events("queue.action")[-1]
        assert (event["who"], event["action"], event["reason"]) == ("test", "hold", "why not")
        assert api.post("/v1/queue/release", json={"all": True}).json()["counts"]["moved"] == 1
        assert problem(api.post("/v1/queue/drop", json={"domain": "example.com"}), 409)["count"] == 2
        assert problem(api.post("/v1/queue/drop", json={"domain": "example.com", "confirm": 1}), 409)["count"] == 2
        assert len(rows(kept)) == 2
        done = api.post("/v1/queue/drop", json={"domain": "EXAMPLE.com", "confirm": 2}).json()
        assert done["counts"]["moved"] == 2
        assert problem(api.post("/v1/queue/hold", json={"messages": ["NOBODY"]}), 404)
        assert fields(api.post("/v1/queue/hold", json={})) == ["messages"]
        assert fields(api.post("/v1/queue/hold", json={"all": "yes", "reason": "a\nb"})) == ["all", "reason"]
        assert fields(api.post("/v1/queue/hold", json={"domain": "é" * 100})) == ["domain"]
    assert rows(kept) == []


def test_suspensions_and_exclusions(client: Client, kept: Run, server: Server) -> None:
    """What is suspended or excluded over HTTP is what the commands list, and the events have the token's name."""
    with client("queue", "exclude") as api:
        assert (
            api.post("/v1/queue/suspend", json={"kind": "destination", "name": "Example.com", "expires": "1d"}).json()[
                "name"
            ]
            == "example.com"
        )
        assert "destination example.com" in kept("queue", "suspensions").stdout
        assert fields(api.post("/v1/queue/suspend", json={"kind": "site", "name": "a b"})) == ["name"]
        assert fields(
            api.post("/v1/queue/suspend", json={"kind": "site", "name": "x.example", "expires": "2001-01-01"})
        ) == ["expires"]
        assert api.post("/v1/queue/resume", json={"kind": "destination", "name": "example.com"}).status_code == 200
        assert problem(api.post("/v1/queue/resume", json={"kind": "destination", "name": "example.com"}), 404)
        assert api.post("/v1/exclusions", json={"pattern": "a/b@example.net", "reason": "x"}).status_code == 201
        assert api.post("/v1/exclusions", json={"pattern": "a/b@example.net", "reason": "y"}).status_code == 200
        assert "a/b@example.net" in kept("exclude", "list").stdout
        assert [one["reason"] for one in api.get("/v1/exclusions").json()["exclusions"]] == ["y"]
        assert fields(api.post("/v1/exclusions", json={"pattern": "*@"})) == ["pattern"]
        refused = api.post("/v1/exclusions", json={"pattern": "*@*.example.net", "until_passing": True})
        assert fields(refused) == ["until_passing"]
        assert api.delete("/v1/exclusions/a/b@example.net").status_code == 204
        assert problem(api.delete("/v1/exclusions/a%2Fb@example.net"), 404)
    assert [event["who"] for event in server.events("exclusion.changed")] == ["test"] * 3


def test_explain_is_that_of_the_command(client: Client) -> None:
    """The decision for an address has the form of `danepipe explain --json`; parameters that are none are named."""
    with client("explain") as api:
        told = api.get("/v1/explain", params={"address": "x@example.com"}).json()
        assert (told["version"], told["address"]) == (1, "x@example.com")
        assert fields(api.get("/v1/explain", params={"address": "x"})) == ["address"]
        assert fields(api.get("/v1/explain", params={"address": "x@example.com", "connect": "1"})) == ["connect"]
        assert fields(api.get("/v1/explain")) == ["address"]


def test_paths_and_methods_that_are_none(server: Server) -> None:
    """Other paths are 404 and other methods 405, as problems; the document and its page are open and ask no other server."""
    with httpx.Client(base_url=server.url) as api:
        for path in ("/", "/v1", "/v1/messages/", "/../etc/passwd", "/docs/x"):
            assert problem(api.get(path), 404)
        assert problem(api.put("/v1/messages"), 405)
        assert api.put("/v1/messages").headers["allow"] == "POST"
        assert problem(api.post("/docs"), 405)
        page = api.get("/docs")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "//" not in page.text.replace("<!doctype", "")
        assert api.get("/openapi.json").json()["openapi"] == "3.1.0"


def test_without_a_token_it_does_not_listen_beyond_loopback(kept: Run) -> None:
    """On an address that others reach it wants TLS or a proxy that ends it, and a token, before it starts."""
    open_, proxied = {"API__LISTEN": "0.0.0.0:0"}, {"API__TRUST_PROXY": "192.0.2.1"}
    assert "clear text" in kept("api", **open_).stderr
    refused = kept("api", **open_, **proxied)
    assert refused.exit_code == 1
    assert "there is no token: make one first, with danepipe token add" in refused.stderr


def test_https_and_the_proxies_that_are_believed(kept: Run, redis_url: str, tmp_path: Path) -> None:
    """With a certificate it speaks HTTPS alone; `X-Forwarded-For` counts from `trust_proxy`, and then names the peer."""
    identity = str(leaf("127.0.0.1").pem)
    tls = {"API__CERTIFICATE": identity, "API__KEY": identity, "API__TRUST_PROXY": "127.0.0.0/8"}
    with running(tmp_path, redis_url, **tls) as server:
        context = ssl.create_default_context(cafile=str(authority().pem))
        context.check_hostname = False
        with httpx.Client(base_url=server.url.replace("http:", "https:"), verify=context) as api:
            assert problem(api.get("/v1/exclusions", headers={"X-Forwarded-For": "192.0.2.7"}), 401)
        asyncio.run(until(lambda: bool(server.events("api.request"))))  # it is written when the answer has gone
        assert server.events("api.request")[-1]["peer"] == "192.0.2.7"
        with httpx.Client(base_url=server.url) as api, pytest.raises(httpx.TransportError):
            api.get("/docs")
    wrong = kept("api", API__LISTEN="127.0.0.1:0", API__CERTIFICATE=str(tmp_path / "log.jsonl"), API__KEY=identity)
    assert wrong.exit_code == 1
    assert "are no certificate with its key" in wrong.stderr


def test_back_pressure_is_503(client: Client, kept: Run) -> None:
    """A full queue answers 503 with the time to wait and names what it had kept; with room again it takes mail again."""
    with client("send", "queue") as api:
        answers = [api.post("/v1/messages", json={"messages": [NEW] * 20})]
        while answers[-1].status_code == 202:
            answers.append(api.post("/v1/messages", json={"messages": [NEW] * 20}))
        told = problem(answers[-1], 503)
        assert answers[-1].headers["retry-after"] == "30"
        held = len(rows(kept))  # near the limit: between two looks the door reckons
        assert MOST // 2 < held < 2 * MOST
        assert len(told["accepted"]) == held - 20 * (len(answers) - 1)
        assert api.post("/v1/queue/drop", json={"all": True, "confirm": held}).json()["counts"]["moved"] == held
        asyncio.run(until(lambda: api.post("/v1/messages", json=NEW).status_code == 202))


CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method"
)


def test_it_is_what_its_document_says(client: Client, server: Server, tmp_path: Path) -> None:
    """Schemathesis asks every operation what the document allows and what it does not: no answer differs, none is a 5xx.

    What a schema cannot say (that a text is an address) may be refused: so not every request that fits it must succeed.
    """
    with client("admin") as api:
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--checks", CHECKS,
            "--header", f"Authorization: {api.headers['authorization']}", "--generation-deterministic", "--no-shrink",
            "--max-examples", "10", "--max-time", "8", "--phases", "coverage,fuzzing", "--no-color",
            "--warnings", "off",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
