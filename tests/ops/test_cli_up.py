"""`danepipe up` as people run it: a process tree with a Redis of its own, mended while it runs, ended in order."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from redis.asyncio import Redis

from pipeline.embedded import EmbeddedRedis, socket_path
from tests.needs import free_port, redis_server

ROOT = Path(__file__).parents[2]
PATIENCE = 40.0
MAIL = b"From: a@example.com\nTo: b@example.org\n\nx\n"

Start = Callable[..., Awaitable[Process]]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Give an environment with a data directory, a port and a log of its own."""
    redis_server()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DANEPIPE_")}
    ours = {
        "LISTEN__SMTP": f"127.0.0.1:{free_port()}", "HOSTNAME": "mail.example.org", "WORK__PROCESSES": "1",
        "WORK__THREADS": "2", "LOG__FILE": str(tmp_path / "log.jsonl"), "STORE__DIR": str(tmp_path / "var"),
        "DNS__SERVERS": "127.0.0.1@1", "DNS__TIMEOUT": "100ms", "DNS__RETRY": "100ms",
    }  # fmt: skip
    return {**kept, **{f"DANEPIPE_{name}": value for name, value in ours.items()}, "PYTHONPATH": str(ROOT)}


@pytest.fixture
async def start(environ: dict[str, str], tmp_path: Path) -> AsyncIterator[Start]:
    """Give `start(*arguments)`, which starts a command; what still runs at the end is killed."""
    running: list[Process] = []

    async def run(*arguments: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops.cli", *arguments, env=environ, cwd=tmp_path, stdin=PIPE, stdout=PIPE, stderr=PIPE,
        )  # fmt: skip
        running.append(process)
        return process

    yield run
    for process in running:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def is_up(process: Process) -> None:
    """Wait until `up` says how to send."""
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        while b"Ctrl-C" not in (line := await process.stderr.readline()):
            assert line, "danepipe up ended"


def events(environ: dict[str, str]) -> list[dict[str, Any]]:
    """Read the log as far as it is written."""
    path = Path(environ["DANEPIPE_LOG__FILE"])
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other processes do."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - no other process sets an event of ours
            await asyncio.sleep(0.05)


async def logged(environ: dict[str, str], event: str, **fields: Any) -> dict[str, Any]:
    """Wait until the log holds such an event, and give the last one."""

    def fitting() -> list[dict[str, Any]]:
        return [one for one in events(environ) if one["event"] == event and fields.items() <= one.items()]

    await until(lambda: bool(fitting()))
    return fitting()[-1]


async def said(process: Process, given: bytes = b"") -> tuple[int, str, str]:
    """Wait for a command's end; give status, output and errors."""
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate(given)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def gone(pid: int) -> bool:
    """Tell whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def redis_left(environ: dict[str, str]) -> bool:
    """Tell whether the private Redis still has its socket."""
    return socket_path(Path(environ["DANEPIPE_STORE__DIR"])).exists()


async def test_mail_outlives_up(start: Start, environ: dict[str, str]) -> None:
    """What `send` printed an id for is there after a stop and a new start (SMTP-50); the tree ends in order."""
    up = await start("up")
    await is_up(up)
    status, identifier, _ = await said(await start("send", "-"), MAIL)
    assert status == 0
    accept = await logged(environ, "process.started", role="accept")
    up.send_signal(signal.SIGTERM)
    assert (await said(up))[0] == 0
    stopped = [one["role"] for one in events(environ) if one["event"] == "process.stopped"]
    assert stopped[0] == "accept"
    assert stopped[-1] == "up"
    assert gone(accept["pid"])
    assert not redis_left(environ)
    up = await start("up")
    await is_up(up)
    status, shown, _ = await said(await start("queue", "show", identifier.strip()))
    assert status == 0
    assert "b@example.org" in shown
    up.send_signal(signal.SIGINT)
    assert (await said(up))[0] == 0


async def test_up_says_how_far_dane_goes_and_whether_dns_counts(start: Start) -> None:
    """DANE-05: with no resolver that answers, the person at the terminal hears that mail waits, why, and what mends it."""
    up = await start("up")
    assert up.stderr is not None
    async with asyncio.timeout(PATIENCE):
        while b"DANE:" not in (line := await up.stderr.readline()):
            assert line, "danepipe up ended"
    assert b"enforce, profile mailmarshal (returns mail where RFC 7672 sections 2.1.2 and 2.2 let it wait" in line
    await is_up(up)
    async with asyncio.timeout(PATIENCE):
        said_first, said_next = await up.stderr.readline(), await up.stderr.readline()
    assert said_first.startswith(
        b"DNS: mail that DANE concerns waits, since the resolver 127.0.0.1@1 gives no answers that can be proven"
    )
    assert b"the resolver 127.0.0.1@1 fails its self-test" in said_first
    assert b"any resolver that passes DNSSEC records on will do" in said_next
    up.send_signal(signal.SIGINT)
    assert (await said(up))[0] == 0


async def test_the_dead_are_replaced(start: Start, environ: dict[str, str]) -> None:
    """A child that is killed is logged and started again, and a second `up` in the directory is refused meanwhile."""
    up = await start("up")
    await is_up(up)
    status, _, err = await said(await start("up"))
    assert status == 1
    assert len(err.splitlines()) == 1
    before = await logged(environ, "process.started", role="accept")
    os.kill(before["pid"], signal.SIGKILL)
    await logged(environ, "process.died", worker="accept")
    started = {"event": "process.started", "role": "accept"}
    await until(lambda: len([one for one in events(environ) if started.items() <= one.items()]) == 2)
    environ["DANEPIPE_LISTEN__SMTP"] = "127.0.0.1:0"
    status, _, err = await said(await start("up"))
    assert status == 1
    assert "runs already" in err
    up.send_signal(signal.SIGINT)
    assert (await said(up))[0] == 0


async def test_the_private_redis_is_replaced(start: Start, environ: dict[str, str]) -> None:
    """A Redis that is killed comes back with all that was accepted (SMTP-50), and the tree goes on with it."""
    up = await start("up")
    await is_up(up)
    _, identifier, _ = await said(await start("send", "-"), MAIL)
    client = Redis.from_url(f"unix://{socket_path(Path(environ['DANEPIPE_STORE__DIR']))}")
    os.kill((await client.info("server"))["process_id"], signal.SIGKILL)
    await client.aclose()
    await logged(environ, "process.died", worker="redis")
    await until(lambda: len([one for one in events(environ) if one["event"] == "redis.started"]) == 2)
    status, shown, _ = await said(await start("queue", "show", identifier.strip()))
    assert status == 0
    assert "b@example.org" in shown
    up.send_signal(signal.SIGINT)
    assert (await said(up))[0] == 0


async def test_the_parts_one_by_one(start: Start, environ: dict[str, str], redis: Any, redis_url: str) -> None:
    """`accept`, `work` and `clock` on one Redis do what `up` does, and each ends when asked, with status 0."""
    assert await redis.dbsize() == 0
    environ["DANEPIPE_REDIS__URL"] = redis_url
    parts = [await start(*words) for words in (("accept",), ("clock",), ("work", "--processes", "1", "--threads", "2"))]
    await logged(environ, "listener.started")
    host, _, port = environ["DANEPIPE_LISTEN__SMTP"].rpartition(":")
    async with aiosmtplib.SMTP(hostname=host, port=int(port)) as client:
        _, text = await client.sendmail("a@example.com", ["b@example.org"], b"Subject: x\r\n\r\nhello\r\n")
    await logged(environ, "stage.verdict", message=text.split()[-1], stage="exclude")
    for part in parts:
        part.send_signal(signal.SIGTERM)
    assert [(await said(part))[0] for part in parts] == [0, 0, 0]


async def taken(environ: dict[str, str], connections: int) -> set[int]:
    """Send a message over each of so many connections at a time; give the processes that took them."""
    host, _, port = environ["DANEPIPE_LISTEN__SMTP"].rpartition(":")
    clients = [aiosmtplib.SMTP(hostname=host, port=int(port)) for _ in range(connections)]
    await asyncio.gather(*(client.connect() for client in clients))
    replies = [
        await client.sendmail("a@example.com", ["b@example.org"], b"Subject: x\r\n\r\nx\r\n") for client in clients
    ]
    await asyncio.gather(*(client.quit() for client in clients))
    return {(await logged(environ, "message.accepted", message=text.split()[-1]))["pid"] for _, text in replies}


def listeners(environ: dict[str, str]) -> list[int]:
    """Give the processes that have begun to listen, in order."""
    return [one["pid"] for one in events(environ) if one["event"] == "listener.started"]


async def test_several_processes_listen_on_one_port(start: Start, environ: dict[str, str]) -> None:
    """SMTP-50: `listen.processes` share the connections; while one is dead the others take mail, and it comes again."""
    environ["DANEPIPE_LISTEN__PROCESSES"] = "2"
    up = await start("up")
    await is_up(up)
    await until(lambda: len(listeners(environ)) == 2)
    first, second = listeners(environ)
    assert await taken(environ, 40) == {first, second}
    os.kill(first, signal.SIGKILL)
    await logged(environ, "process.died", worker="accept", status=-9)
    assert first not in await taken(environ, 5)
    await until(lambda: len(listeners(environ)) == 3)
    assert await taken(environ, 40) == {second, listeners(environ)[-1]}
    up.send_signal(signal.SIGINT)
    assert (await said(up))[0] == 0
    assert all(gone(pid) for pid in listeners(environ))


async def test_a_shared_port_is_a_taken_one(start: Start, environ: dict[str, str], redis: Any, redis_url: str) -> None:
    """`accept --processes` runs several; and only those that are told to join them do."""
    assert await redis.dbsize() == 0
    environ["DANEPIPE_REDIS__URL"] = redis_url
    accept = await start("accept", "--processes", "2")
    await until(lambda: len(listeners(environ)) == 2)
    for command in (("up",), ("accept",), ("accept", "--processes", "2")):
        status, _, err = await said(await start(*command))
        assert status == 1
        assert f"cannot listen on {environ['DANEPIPE_LISTEN__SMTP']}: " in err
    beside = await start("accept", "--share-port")
    await until(lambda: len(listeners(environ)) == 3)
    assert await taken(environ, 60) == set(listeners(environ))
    environ["DANEPIPE_LISTEN__SMTP"] = "127.0.0.1:0"
    status, _, err = await said(await start("accept", "--processes", "2"))
    assert status == 1
    assert "port 0 is another one for each of 2 processes" in err
    for part in (accept, beside):
        part.send_signal(signal.SIGTERM)
        assert (await said(part))[0] == 0
    assert all(gone(pid) for pid in listeners(environ))


async def test_up_after_it_was_killed(start: Start, environ: dict[str, str]) -> None:
    """When `up` is killed its children end by themselves, and the next `up` takes over its data directory."""
    up = await start("up")
    await is_up(up)
    pids = [(await logged(environ, "process.started", role=role))["pid"] for role in ("accept", "clock", "work")]
    up.kill()
    await up.wait()
    await until(lambda: all(gone(pid) for pid in pids))
    again = await start("up")
    await is_up(again)
    again.send_signal(signal.SIGINT)
    assert (await said(again))[0] == 0


async def test_a_second_signal_ends_at_once(start: Start, environ: dict[str, str]) -> None:
    """A second signal waits for nobody: the children are killed, the status is 1, and nothing is left running."""
    up = await start("up")
    await is_up(up)
    work = await logged(environ, "process.started", role="work")
    os.kill(work["pid"], signal.SIGSTOP)  # it will not end when asked
    up.send_signal(signal.SIGINT)
    await logged(environ, "process.stopped", role="clock")
    up.send_signal(signal.SIGINT)
    status, _, err = await said(up)
    assert status == 1
    assert err.splitlines()[-1].startswith("danepipe: ended at once")
    assert gone(work["pid"])


def _what_redis_reads_first(directory: Path) -> Path:
    """Give the manifest of the append-only files, or the one file that there is before Redis 7."""
    (found,) = [*directory.glob("appendonlydir/*.manifest"), *directory.glob("appendonly.aof")]
    return found


async def test_a_redis_that_cannot_start_is_tried_again(start: Start, environ: dict[str, str]) -> None:
    """When Redis dies and cannot start (a full disk, a damaged file), `up` says so and goes on trying (SMTP-50)."""
    up = await start("up")
    await is_up(up)
    directory = Path(environ["DANEPIPE_STORE__DIR"])
    redis = int((directory / "redis.lock").read_text())
    os.kill(redis, signal.SIGSTOP)
    file = _what_redis_reads_first(directory / "redis")
    kept = file.read_bytes()
    file.write_bytes(b"nonsense\n")
    os.kill(redis, signal.SIGKILL)
    await logged(environ, "redis.unavailable", role="up")
    file.write_bytes(kept)
    await until(lambda: len([one for one in events(environ) if one["event"] == "redis.started"]) == 2)
    up.send_signal(signal.SIGINT)
    assert (await said(up))[0] == 0


def niceness(process: int) -> set[int]:
    """Give how far the threads of a process stand back, and its session, where the system shares among those."""
    found = {os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in Path(f"/proc/{process}/task").iterdir()}
    session = Path(f"/proc/{process}/autogroup")
    return found | ({int(session.read_text().rpartition(" ")[2])} if session.exists() else set())


async def test_workers_stand_back_for_the_listener(start: Start, environ: dict[str, str]) -> None:
    """work.nice holds for each thread of a worker and for its session, and for no other part: mail is kept first."""
    environ["DANEPIPE_WORK__NICE"] = "7"
    up = await start("up")
    await is_up(up)
    work, accept = [await logged(environ, "process.started", role=role) for role in ("work", "accept")]
    assert niceness(work["pid"]) == {7}
    assert niceness(accept["pid"]) == {os.getpriority(os.PRIO_PROCESS, 0)}
    up.send_signal(signal.SIGINT)
    assert (await said(up))[0] == 0


async def test_a_part_whose_supervisor_is_gone_ends(start: Start, environ: dict[str, str], redis_url: str) -> None:
    """A part ends by itself also when its supervisor died before it looked, and when Redis is gone with it."""
    gone_by_now = await start("config", "check")
    await said(gone_by_now)
    environ["DANEPIPE_WORKER"] = str(gone_by_now.pid)
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pipeline.worker", env=environ, stdin=PIPE, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    assert (await said(worker))[0] == 0
    environ["DANEPIPE_REDIS__URL"] = redis_url
    assert (await said(await start("clock")))[0] == 0


async def test_a_worker_that_cannot_start_ends(environ: dict[str, str], tmp_path: Path) -> None:
    """What waiting does not mend ends a worker with a sentence, so that its supervisor learns of it."""
    server = EmbeddedRedis(tmp_path / "unsafe")
    await server.start()
    client = Redis.from_url(server.url)
    await client.config_set("appendonly", "no")
    await client.aclose()
    environ["DANEPIPE_REDIS__URL"] = server.url
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pipeline.worker", env=environ, stdin=PIPE, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    status, _, err = await said(worker)
    await server.stop()
    assert status == 1
    assert err.startswith("danepipe: the worker cannot start: this Redis would lose mail")
