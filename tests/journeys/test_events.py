"""One run of the demonstration, with things that go wrong beside it, writes every documented event, each by its schema.

The lab runs with all its domains; then, one after the other: a client says what is refused, new mail finds no memory, a
program sends over HTTP and the server that is told of it is away, somebody logs in to the console, an operator holds
mail and excludes a recipient, Redis is made unsafe, content is lost while a host comes back, a kept DNS answer is
damaged, a plug-in raises, a worker is silent for longer than its lease, one is killed, a nudge cannot be enqueued, Redis
dies, the resolver vouches for bogus data, says more than anybody has to read, goes away and comes back.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import aiosmtplib
import dns.name
import httpx
import jsonschema
import pytest
from redis.asyncio import Redis

from delivery.nameserver import Server
from ops.lab.demo import danepipe_up, send, watch, with_sender
from ops.lab.fates import Fates
from ops.lab.scenarios import ALL
from ops.lab.world import Lab
from pipeline.embedded import socket_path
from pipeline.log import EVENTS
from pipeline.store.files import FileStore
from tests.delivery.certificates import leaf
from tests.delivery.mailhost import Script, mailhost
from tests.delivery.test_resolver_faults import Liar
from tests.journeys.test_kill import until
from tests.needs import free_port, redis_server, taken_port
from tests.ops.test_webhooks import SECRET, Far, listening
from tests.plugin.install import install
from tests.validating import validated_lab

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "ops" / "docs" / "log-events.schema.json").read_text(encoding="utf-8"))
PATIENCE = 40.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A running danepipe in its lab, and what can be done to it from outside."""

    lab: Lab
    config: Path
    port: int
    up: int  # process id of `danepipe up`
    log: Path
    redis: Redis
    liar: Liar  # stands before the resolver of the lab
    suspended: Path  # the list that the plug-in reads
    api: str  # where the HTTP API is
    far: Far  # the server that is told of outcomes

    def events(self, event: str = "", **wanted: object) -> list[Mapping[str, Any]]:
        """Give the events of the log so far, of one kind and with some values if that is asked."""
        whole = self.log.read_bytes().rpartition(b"\n")[0]
        found = [json.loads(line) for line in whole.splitlines()]
        return [
            one
            for one in found
            if event in {"", one["event"]} and all(one.get(key) == value for key, value in wanted.items())
        ]

    async def written(self, event: str, count: int = 1, **wanted: object) -> None:
        """Wait for events."""
        await until(lambda: len(self.events(event, **wanted)) >= count, PATIENCE)

    async def seen(self, condition: Callable[[], Any]) -> None:
        """Wait for something else that other processes do."""
        await until(condition, PATIENCE)

    async def command(self, *arguments: str, given: bytes = b"") -> str:
        """Run a command of danepipe, which does well; returns what it prints."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops.cli", "--config", str(self.config), *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, _ = await process.communicate(given)
        assert process.returncode == 0
        return printed.decode().strip()

    async def mail(self, recipient: str) -> None:
        """Send a message."""
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=self.port, start_tls=False) as client:
            await client.sendmail("sender@sender.lab", [recipient], b"Subject: x\r\n\r\nbody\r\n")

    def arrived(self, recipient: str) -> bool:
        """Tell whether a host of the lab has a message for a recipient."""
        return any(recipient in message.recipients for message in self.lab.inbox.messages)

    @property
    def worker(self) -> int:
        """Give the process id of the worker that started last."""
        return int(self.events("process.started", role="work")[-1]["pid"])


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    """Start the lab and danepipe with one worker, short leases and pauses, frequent self-tests and the plug-in."""
    redis_server()
    monkeypatch.setenv("dramatiq_restart_delay", "500")  # ms after which a consumer that lost Redis looks again
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{install(tmp_path / 'site')}")
    monkeypatch.setenv("SUSPENDED_SENDERS", str(tmp_path / "suspended.txt"))
    async with validated_lab(tmp_path / "lab", with_sender(ALL), "both") as lab, listening() as far:
        liar = Liar(Server.parse(lab.resolver).port)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: liar, ("127.0.0.1", 0))
        lab.resolver = f"127.0.0.1@{transport.get_extra_info('sockname')[1]}"
        with taken_port(8025):  # where the console of `up` would listen
            async with _up(lab, liar, far, tmp_path) as made:
                yield made
        transport.close()


@asynccontextmanager
async def _up(lab: Lab, liar: Liar, far: Far, directory: Path) -> AsyncIterator[Scene]:
    port, api, log = free_port(), f"127.0.0.1:{free_port()}", directory / "danepipe.log"
    config = lab.write_config(
        directory / "danepipe.toml",
        more={
            "redis": {"url": "embedded", "allow_unsafe": True},
            "listen": {"smtp": f"127.0.0.1:{port}", "max_size": "1M"},
            "store": {"dir": str(directory / "var"), "content": (directory / "content").as_uri()},
            "log": {"file": str(log), "level": "debug"},
            "work": {"processes": 1, "threads": 8, "lease": "5s"},
            "dns": {"canary_interval": "1s", "timeout": "3s"},
            "own": {"domains": ["ee-311.lab", "mismatch.lab", "ta-211.lab", "down.lab"], "warn": "40d"},
            "exclude": [{"pattern": "nobody@ee-311.lab", "until_passing": True}, *lab.settings()["exclude"]],
            "pipeline": {"stages": ["route", "suspend", "exclude", "resolve", "deliver", "bounce"]},
            "circuit": {"pause": "3s"},
            "api": {"listen": api},
            "webhook": [
                {"url": f"http://127.0.0.1:{far.port}/", "secret": SECRET},
                {"url": "http://127.0.0.1:1/", "secret": SECRET, "give_up": "0s"},  # where nobody listens
            ],
        },
    )
    async with danepipe_up(config, port) as pid:
        client = Redis(unix_socket_path=str(socket_path(directory / "var")))
        yield Scene(lab, config, port, pid, log, client, liar, directory / "suspended.txt", f"http://{api}", far)
        await client.aclose()


async def test_one_run_writes_every_documented_event(scene: Scene) -> None:
    """Every kind that operators may alert on really comes, and each line is as the JSON Schema says."""
    await send(scene.port, ALL)
    rows = await watch(scene.lab, Fates(scene.log), ALL, PATIENCE)
    assert [(row.address, row.fate) for row in rows if not row.agrees] == []
    await _refused_at_the_door(scene)
    await _the_door_closes(scene)
    await _a_program_sends(scene)
    await _somebody_looks(scene)
    await scene.written("exclusion.passes", pattern="nobody@ee-311.lab")
    await scene.written("exclusion.changed", who="clock")
    await _an_operator_steps_in(scene)
    await asyncio.gather(_content_is_lost(scene), _a_host_comes_back(scene))
    await _a_kept_answer_is_damaged(scene)
    await _a_gatherer_raises(scene)
    await _a_worker_is_silent(scene)
    await _a_worker_dies(scene)
    await _a_nudge_is_lost(scene)
    await _redis_dies(scene)
    await _the_resolver_vouches_for_bogus_data(scene)
    await _the_resolver_says_too_much(scene)
    await _the_resolver_goes_away(scene)
    await scene.seen(lambda: scene.arrived("third@ee-311.lab"))
    for event in ("webhook.failed", "webhook.missed"):
        await scene.written(event)
    os.kill(scene.up, signal.SIGTERM)
    await scene.written("process.stopped", role="up")
    events = scene.events()
    assert {event["event"] for event in events} == set(EVENTS)
    check = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
    assert [(event, error.message) for event in events for error in check.iter_errors(event)] == []
    assert _told(events, "stage.verdict", "facts") <= _documented("stage.verdict", "facts")
    assert _told(events, "delivery.attempt", "tls") <= _documented("delivery.attempt", "tls")


def _told(events: Sequence[Mapping[str, Any]], kind: str, field: str) -> set[str]:
    return {key for event in events if event["event"] == kind for key in event[field]}


def _documented(kind: str, field: str) -> set[str]:
    (event,) = [event for event in SCHEMA["oneOf"] if event["title"] == kind]
    return set(event["properties"][field]["properties"])


async def _refused_at_the_door(scene: Scene) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=scene.port, start_tls=False) as client:
        await client.ehlo()
        with pytest.raises(aiosmtplib.SMTPSenderRefused):
            await client.mail("sender@sender.lab", options=["SIZE=99999999"])
    await scene.written("message.refused")


async def _the_door_closes(scene: Scene) -> None:
    """Leave new mail no memory for a while."""
    used = (await scene.redis.info("memory"))["used_memory"]
    await scene.redis.config_set("maxmemory", used + 1_000_000)

    async def refused() -> None:
        while not scene.events("accept.pressure", level="error"):
            with contextlib.suppress(aiosmtplib.SMTPDataError):
                await scene.mail("pressed@nowhere.lab")

    await asyncio.wait_for(refused(), PATIENCE)
    await scene.redis.config_set("maxmemory", 0)


async def _a_program_sends(scene: Scene) -> None:
    """Send over HTTP, and let the server that is told of it take nothing more; what it was to hear of falls behind."""
    await scene.seen(lambda: scene.far.told)  # what comes before the first thing that it takes, it does not miss
    scene.far.statuses = [503] * 1000
    secret = await scene.command("token", "add", "program", "--scope", "send")
    await scene.written("api.started")
    async with httpx.AsyncClient(base_url=scene.api, headers={"Authorization": f"Bearer {secret}"}) as client:
        message = {
            "sender": "sender@sender.lab",
            "recipients": ["program@ee-311.lab"],
            "message": "Subject: x\r\n\r\nx",
        }
        assert (await client.post("/v1/messages", json=message)).status_code == 202
    await scene.written("webhook.deferred")
    await scene.redis.xtrim("dp:outcomes", maxlen=0, approximate=False)
    for event in ("api.request", "token.changed"):
        await scene.written(event)


async def _somebody_looks(scene: Scene) -> None:
    """Log in to a console beside `up`, whose own has no port, and come under a name that is none of its own."""
    await scene.written("console.absent", role="up")
    await scene.command("user", "add", "alice", given=b"correct horse battery\n")
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops.cli", "--config", str(scene.config), "console",
        env={**os.environ, "DANEPIPE_CONSOLE__LISTEN": f"127.0.0.1:{port}"},
    )  # fmt: skip
    await scene.written("console.started", port=port)
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url, headers={"Origin": url}) as client:
        page = (await client.get("/login")).text
        form = {
            "name": "alice",
            "password": "correct horse battery",
            "token": page.partition('name="token" value="')[2][:64],
        }
        assert (await client.post("/login", data=form)).status_code == 303
        waits = next(one for one in scene.events("message.accepted") if one["recipients"][0].endswith("@down.lab"))
        page = (await client.get(f"/messages/{waits['message']}")).text
        form = {"token": page.partition('name="token" value="')[2][:64]}
        assert (await client.post(f"/messages/{waits['message']}/content", data=form)).status_code == 200
        assert (await client.get("/", headers={"Host": "elsewhere.lab"})).status_code == 421
    for event in ("user.changed", "console.login", "content.shown", "console.refused"):
        await scene.written(event)
    process.terminate()
    assert await process.wait() == 0


async def _an_operator_steps_in(scene: Scene) -> None:
    await scene.redis.config_set("appendfsync", "everysec")
    await scene.command("queue", "hold", "--domain", "down.lab", "--reason", "asked to wait")
    await scene.redis.config_set("appendfsync", "always")
    await scene.command("exclude", "add", "*@nowhere.lab", "--expires", "1d")
    for event in ("redis.unsafe", "queue.action", "exclusion.changed"):
        await scene.written(event)


async def _a_host_comes_back(scene: Scene) -> None:
    await scene.written("circuit.opened", host="mx.down.lab")
    context = leaf("old.down.lab").server()
    async with mailhost(Script(context=context), scene.lab.address_of("down.lab"), scene.lab.smtp_port):
        await scene.command("queue", "release", "--domain", "down.lab")
        await scene.written("circuit.closed", host="mx.down.lab")
        await scene.written("dane.parked", host="mx.down.lab")
        (placed,) = [one for one in scene.lab.placed if one.scenario.domain == "down.lab"]
        context.load_cert_chain(placed.identity.pem)  # what its record names
        (parked,) = scene.events("dane.parked", host="mx.down.lab")
        await scene.seen(lambda: datetime.now(UTC) > datetime.fromisoformat(parked["until"]))
        await scene.mail("user@down.lab")
        await scene.written("dane.released", host="mx.down.lab")


def _named(content: Path, *directories: str) -> Iterator[str]:
    """Give names of bodies that stand in these directories, which are swept in their order."""
    store = FileStore(content)
    for directory in directories:
        yield next(name for name in (f"M{n}.1" for n in count()) if store._path(name).parent.name == directory)


async def _content_is_lost(scene: Scene) -> None:
    """Take the body of mail that waits and have it returned; leave a body without mail, and one that cannot be deleted."""
    content = scene.log.with_name("content")
    for accepted in scene.events("message.accepted"):
        if any(recipient.endswith("@servfail-tlsa.lab") for recipient in accepted["recipients"]):
            for body in content.glob(f"*/{accepted['message']}.*"):
                body.unlink()
    await scene.command("queue", "bounce", "--domain", "servfail-tlsa.lab")
    await scene.written("body.gone")
    orphan, stuck = (FileStore(content)._path(name) for name in _named(content, "00", "01"))
    orphan.write_bytes(b"x")
    stuck.mkdir()
    for body in (orphan, stuck):
        os.utime(body, (0, 0))
    await scene.redis.delete("dp:content:swept")
    for event in ("body.swept", "body.left"):
        await scene.written(event, role="clock")
    stuck.rmdir()


async def _a_kept_answer_is_damaged(scene: Scene) -> None:
    await scene.redis.set("dp:dns:never-asked.lab/MX", b"found {}")
    await scene.mail("user@never-asked.lab")
    await scene.written("resolver.cache")
    await scene.written("bounce.sent", codes=["dns.nxdomain"], recipients=["user@never-asked.lab"])


async def _a_gatherer_raises(scene: Scene) -> None:
    scene.suspended.write_text("nonsense\n")
    await scene.mail("first@ee-311.lab")
    await scene.written("stage.error", stage="suspend")
    scene.suspended.write_text("")
    broke = scene.events("stage.error", stage="suspend")[0]
    await scene.command("queue", "retry", broke["group"].partition("/")[0])
    await scene.seen(lambda: scene.arrived("first@ee-311.lab"))


async def _a_worker_is_silent(scene: Scene) -> None:
    """Let the list be a pipe, so that the worker waits inside its lease; stop it there until the clock gives up on it."""
    scene.suspended.unlink()
    os.mkfifo(scene.suspended)
    await scene.mail("second@ee-311.lab")
    pipe: list[int] = []

    def has_a_reader() -> bool:
        with contextlib.suppress(OSError):  # ENXIO until the worker opens it
            pipe.append(os.open(scene.suspended, os.O_WRONLY | os.O_NONBLOCK))
        return bool(pipe)

    await scene.seen(has_a_reader)
    worker = scene.worker
    os.kill(worker, signal.SIGSTOP)
    await scene.written("lease.reaped")
    scene.suspended.unlink()
    scene.suspended.write_text("")
    os.close(pipe[0])
    os.kill(worker, signal.SIGCONT)
    await scene.written("lease.lost")
    await scene.seen(lambda: scene.arrived("second@ee-311.lab"))


async def _a_worker_dies(scene: Scene) -> None:
    started = len(scene.events("process.started", role="work"))
    os.kill(scene.worker, signal.SIGKILL)
    await scene.written("process.died", worker=0)
    await scene.written("process.started", started + 1, role="work")


async def _a_nudge_is_lost(scene: Scene) -> None:
    """Put something in the way of the broker's queue: the message is kept, and the clock's sweep makes it good later."""
    await scene.redis.set("dp:dramatiq:route", "in the way")
    await scene.mail("third@ee-311.lab")
    await scene.written("nudge.failed")
    await scene.written("log.library")
    # as if the time were over for which a nudge is taken to be on its way
    await scene.redis.delete("dp:dramatiq:route", "dp:nudge:route")


async def _redis_dies(scene: Scene) -> None:
    """Kill Redis: the clock, which looks twice a second, sees that before it is started again."""
    os.kill(int((await scene.redis.info("server"))["process_id"]), signal.SIGKILL)
    await scene.written("redis.unavailable", role="clock")
    await scene.written("redis.started", 2)
    await scene.written("redis.restored")


async def _the_resolver_vouches_for_bogus_data(scene: Scene) -> None:
    scene.liar.about, scene.liar.manner = dns.name.from_text("expired-mx.lab"), "vouches"
    await scene.mail("fourth@expired-mx.lab")
    await scene.written("resolver.disagreement", question="expired-mx.lab/MX", level="error")
    await scene.written("stage.verdict", verdict="defer", recipients=["fourth@expired-mx.lab"], code="dns.mx_lookup")
    scene.liar.manner = "honest"


async def _the_resolver_says_too_much(scene: Scene) -> None:
    scene.liar.about, scene.liar.manner = dns.name.from_text("elsewhere.lab"), "crowds"
    await scene.mail("fifth@elsewhere.lab")
    await scene.written("resolver.limit", question="elsewhere.lab/MX", level="warning")
    await scene.written("stage.verdict", verdict="defer", recipients=["fifth@elsewhere.lab"], code="dns.mx_lookup")
    scene.liar.manner = "honest"


async def _the_resolver_goes_away(scene: Scene) -> None:
    scene.liar.about, scene.liar.manner = dns.name.root, "silent"
    await scene.written("resolver.suspended")
    scene.liar.manner = "honest"
    await scene.written("resolver.restored")
