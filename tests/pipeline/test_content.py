"""Content outside Redis, in real files and in a real S3 service: never a message without its body."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from pipeline import log
from pipeline.config import ConfigError, load
from pipeline.store.changes import Changes
from pipeline.store.connection import ContentUnavailable, StoreFull, StoreUnavailable, UnsafeStore
from pipeline.store.content import Bodies, ContentGone, content_store, unbind
from pipeline.store.files import CLOCK, FileStore
from pipeline.store.ledger import Ledger
from pipeline.store.objects import ObjectStore
from tests.needs import free_port, program, small_disk
from tests.pipeline.s3 import BUCKET, s3_service, settings
from tests.pipeline.test_ledger import message

LEASE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
ALL = timedelta(seconds=-5)  # an age that every body has
BODY = b"Subject: x\r\n\r\na\x00\xff\r\n"


@pytest.fixture(scope="module")
def s3() -> Iterator[int]:
    """Run an S3 service."""
    with s3_service() as port:
        yield port


@pytest.fixture
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unique: str) -> str:
    """Give the address of an empty store of the kind asked for."""
    if request.param == "file":
        return (tmp_path / "a place" / "content").as_uri()
    for name, value in settings(request.getfixturevalue("s3")).items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{unique}"


BOTH = pytest.mark.parametrize("address", ["file", "s3"], indirect=True)


@pytest.fixture
async def ledger(address: str, redis: Any) -> AsyncIterator[Ledger]:
    """Give a ledger on an empty Redis and an empty store."""
    bodies = bodies_in(address, redis)
    await bodies.bind()
    yield Ledger(redis, bodies=bodies)
    await bodies.aclose()


def bodies_in(address: str, redis: Any) -> Bodies:
    """Give the bodies at an address."""
    store = content_store(address)
    assert store is not None
    return Bodies(store, redis)


async def names(ledger: Ledger, age: timedelta = ALL) -> list[str]:
    """List what is in the store."""
    assert ledger.bodies is not None
    return sorted([name async for page in ledger.bodies._store.older(age) for name in page])


async def swept(ledger: Ledger, age: timedelta = ALL) -> list[str]:
    """Sweep now, and list what is left."""
    assert ledger.bodies is not None
    await ledger.redis.delete("dp:content:swept")
    await ledger.bodies.sweep(age)
    return await names(ledger)


async def settle(ledger: Ledger, name: str = "M1") -> None:
    """Settle a message of two recipients in one commit."""
    await ledger.claim("place:route", "t", 1, LEASE)
    assert await ledger.commit("t", f"{name}/0,1", Changes(settled=2)) is not None


@BOTH
async def test_a_body_comes_back_and_redis_has_none(ledger: Ledger) -> None:
    """What was accepted is read octet for octet (SMTP-50), small and large, and Redis holds none of it."""
    large = bytes(range(256)) * 40_000
    assert await ledger.accept(message(), BODY) is True
    assert await ledger.accept(message("M2"), large) is False
    assert await ledger.content(message()) == BODY
    assert await ledger.content(message("M2")) == large
    assert await ledger.redis.keys("dp:body:*") == []
    taken = await ledger.take("place:route", "t", 2, LEASE, bring="mail")
    assert [row[0] for _, row in taken.groups] == [None, None]


@BOTH
async def test_a_settled_message_leaves_no_body(ledger: Ledger) -> None:
    """The body goes with the last recipient, by a commit or by an operator's hand, and other bodies stay."""
    for name in ("M1", "M2", "M3"):
        await ledger.accept(message(name), BODY)
    await settle(ledger)
    for recipient in message("M2").recipients:
        assert await ledger.content(message("M2")) == BODY
        assert await ledger.move(recipient, "dropped", message().envelope.accepted) == "moved"
    for gone in ("M1", "M2"):
        with pytest.raises(KeyError):
            await ledger.content(message(gone))
    assert [name.partition(".")[0] for name in await names(ledger)] == ["M3"]


@BOTH
async def test_a_lost_lease_deletes_nothing(ledger: Ledger) -> None:
    """Whoever lost the lease settles nothing, and the body stays for the one who has the work now (DSN-21)."""
    await ledger.accept(message(), BODY)
    await ledger.claim("place:route", "slow", 1, LEASE)
    await ledger.give_back("slow")
    assert await ledger.commit("slow", "M1/0,1", Changes(settled=2)) is None
    assert await ledger.content(message()) == BODY


@BOTH
async def test_orphans_are_swept_and_nothing_else_is(ledger: Ledger) -> None:
    """A body whose message was never accepted, or is settled, goes after an hour; mail that waits keeps its own."""
    assert ledger.bodies is not None
    await ledger.accept(message(), BODY)
    await ledger.bodies.put(message("M2"), BODY)
    assert len(await swept(ledger, HOUR)) == 2
    assert [name.partition(".")[0] for name in await swept(ledger)] == ["M1"]
    assert await ledger.content(message()) == BODY
    await ledger.bodies.put(message("M3"), BODY)
    await ledger.bodies.sweep(ALL)  # somebody has looked a moment ago
    assert len(await names(ledger)) == 2


@BOTH
async def test_a_message_accepted_again_keeps_its_first_body(ledger: Ledger) -> None:
    """A report that is written twice (SMTP-57) leaves the kept one as it is; the other body is an orphan."""
    first = message()
    again = replace(first, envelope=replace(first.envelope, accepted=first.envelope.accepted + timedelta(seconds=1)))
    await ledger.accept(first, b"first")
    assert await ledger.accept(again, b"second") is None
    assert len(await names(ledger)) == 2
    assert len(await swept(ledger)) == 1
    assert await ledger.content(first) == b"first"


@BOTH
async def test_an_accept_that_takes_very_long_keeps_its_body(ledger: Ledger) -> None:
    """A process that slept between body and ledger, while its body was swept, puts the body there again."""
    bodies = ledger.bodies
    assert bodies is not None
    put = await bodies.put(message(), BODY)
    assert await swept(ledger) == []
    ledger.bodies = None
    await ledger.accept(message(), b"")
    ledger.bodies = bodies
    await bodies.confirm(message(), BODY, put - 3600)
    assert await ledger.content(message()) == BODY


@BOTH
async def test_a_body_that_is_lost_is_told_from_one_that_is_settled(ledger: Ledger) -> None:
    """Mail that waits and has no body is `ContentGone`, for an operator; it is never taken for settled mail."""
    assert ledger.bodies is not None
    await ledger.accept(message(), BODY)
    await ledger.bodies._store.delete(await names(ledger))
    with pytest.raises(ContentGone, match="M1"):
        await ledger.content(message())


@BOTH
async def test_a_store_serves_one_queue(ledger: Ledger, address: str) -> None:
    """The queue of another Redis cannot use a store, as each would sweep the bodies of the other."""
    await ledger.redis.flushall()
    other = bodies_in(address, ledger.redis)
    with pytest.raises(UnsafeStore, match="belongs to another queue"):
        await other.bind()
    await other.aclose()


@BOTH
async def test_a_queue_does_not_start_without_its_store(ledger: Ledger, address: str) -> None:
    """While mail waits, an empty place (nothing mounted) and Redis are refused; without mail, both are welcome."""
    await ledger.accept(message(), BODY)
    empty = bodies_in(address + "-other", ledger.redis)
    with pytest.raises(UnsafeStore, match="is it mounted"):
        await empty.bind()
    with pytest.raises(UnsafeStore, match="mail waits whose content is in"):
        await unbind(ledger.redis)
    again = bodies_in(address, ledger.redis)
    await again.bind()
    await settle(ledger)
    await empty.bind()
    await unbind(ledger.redis)
    for one in (empty, again):
        await one.aclose()


@BOTH
async def test_a_store_that_was_not_bound_takes_nothing(ledger: Ledger, address: str) -> None:
    """Commands that act on the queue come in without the place of content; what needs content then says so."""
    await ledger.accept(message(), BODY)
    unbound = bodies_in(address + "-other", ledger.redis)
    other = Ledger(ledger.redis, bodies=unbound)
    for call in (other.content(message()), other.accept(message("M2"), BODY)):
        with pytest.raises(ContentUnavailable, match="is away"):
            await call
    await unbound.aclose()


@BOTH
async def test_mail_from_before_the_move_out_of_redis_is_read(ledger: Ledger) -> None:
    """`store.content` may be set while mail waits: its content is in Redis, and is read and settled from there."""
    await Ledger(ledger.redis).accept(message(), BODY)
    assert await ledger.content(message()) == BODY
    await settle(ledger)
    assert await ledger.redis.keys("dp:body:*") == []


async def test_an_accept_that_fails_leaves_an_orphan(tmp_path: Path, redis: Any) -> None:
    """SUB-31: a body that Redis did not hear of was promised to nobody, and is swept."""
    bodies = bodies_in(tmp_path.as_uri(), redis)
    await bodies.bind()
    away = Redis(host="127.0.0.1", port=free_port())
    with pytest.raises(StoreUnavailable):
        await Ledger(away, bodies=bodies).accept(message(), BODY)
    await away.aclose()
    ledger = Ledger(redis, bodies=bodies)
    assert len(await names(ledger)) == 1
    assert await swept(ledger) == []
    await bodies.aclose()


ACCEPTING = """
import asyncio, sys
from datetime import UTC, datetime
from dataclasses import replace
from redis.asyncio import Redis
from pipeline.store.ledger import Ledger
from tests.pipeline.test_content import bodies_in
from tests.pipeline.test_ledger import message

async def one(ledger, number):
    while True:
        made = message(f"{sys.argv[3]}T{number}", 1)
        await ledger.accept(made, made.id.encode())
        print(made.id, flush=True)
        number += 8

async def main():
    redis = Redis.from_url(sys.argv[1])
    bodies = bodies_in(sys.argv[2], redis)
    await bodies.bind()
    await asyncio.gather(*(one(Ledger(redis, bodies=bodies), number) for number in range(8)))

asyncio.run(main())
"""


async def test_processes_that_die_while_accepting_lose_nothing(tmp_path: Path, redis: Any, redis_url: str) -> None:
    """SMTP-50: SIGKILL between body and ledger leaves orphans, never a message that was promised without its body."""
    address, promised = tmp_path.as_uri(), set()
    for life in range(6):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ACCEPTING, redis_url, address, str(life), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        for _ in range(20 + 7 * life):
            promised.add((await process.stdout.readline()).decode().strip())
        process.kill()
        rest, _ = await process.communicate()
        promised |= set(rest.decode().rpartition("\n")[0].split())
    bodies = bodies_in(address, redis)
    await bodies.bind()
    ledger = Ledger(redis, bodies=bodies)
    left = await swept(ledger)
    page, _ = await ledger.page(count=100_000)
    assert promised <= {stored.message.id for stored in page}
    for stored in page:
        assert await ledger.content(stored.message) == stored.message.id.encode()
    assert len(left) == len(page)
    await bodies.aclose()


def test_files_of_broken_writes_are_swept(tmp_path: Path) -> None:
    """What a dying process has not finished is no body, and goes after an hour by the clock of the file system."""
    store = FileStore(tmp_path)

    async def older() -> list[str]:
        return [name async for page in store.older(HOUR) for name in page]

    with asyncio.Runner() as runner:
        runner.run(store.prepare())
        runner.run(store.put("M1.5", b"x"))
        body = one_file(tmp_path, "M1.5")
        part = body.with_name("M2.5.0a0b0c0d.part")
        part.write_bytes(b"half")
        assert runner.run(older()) == []
        for path in (body, part):
            os.utime(path, (time.time() - 3700,) * 2)
        assert runner.run(older()) == ["M1.5"]
        runner.run(store.aclose())
    assert not part.exists()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [CLOCK]


WRITING = """
import asyncio, sys
from pathlib import Path
from pipeline.store.files import FileStore

asyncio.run(FileStore(Path(sys.argv[1])).put("M1.5", bytes(100_000)))
"""


def test_a_body_is_on_disk_when_put_returns(tmp_path: Path) -> None:
    """SMTP-50: the file is synchronised, then named, then its directory is synchronised, as the kernel sees it."""
    store = FileStore(tmp_path / "content")
    with asyncio.Runner() as runner:
        runner.run(store.prepare())
        runner.run(store.aclose())
    traced = tmp_path / "calls"
    subprocess.run(
        [program("strace"), "-f", "-y", "-e", "trace=write,fsync,rename,renameat,renameat2", "-o", str(traced),
         sys.executable, "-c", WRITING, str(tmp_path / "content")],
        check=True,
    )  # fmt: skip
    calls = [
        (line.split()[1].partition("(")[0], ".part" in line.partition(",")[0])
        for line in traced.read_text().splitlines()
        if "/content/" in line and "resumed" not in line
    ]
    assert calls == [("write", True), ("fsync", True), ("rename", True), ("fsync", False)]


@contextmanager
def logged(path: Path) -> Iterator[Path]:
    """Let events go to a file for the while."""
    before = (log._output.stream, log._output.threshold, log._output.role)
    log.configure(role="test", file=path)
    yield path
    log._writer.flush()
    log._output.stream.close()
    log._output.stream, log._output.threshold, log._output.role = before


def read(file: Path) -> str:
    """Read a file."""
    return file.read_text()


def one_file(directory: Path, pattern: str) -> Path:
    """Find the one file of a body."""
    (found,) = directory.glob(f"*/{pattern}")
    return found


async def fill(ledger: Ledger) -> int:
    """Accept mail until there is no room; tell how much was accepted."""
    for number in range(100):
        try:
            await ledger.accept(message(f"M{number}"), random.Random(number).randbytes(100_000))
        except StoreFull as error:
            assert "No space left" in str(error)  # noqa: PT017 - the last of many calls
            return number
    raise AssertionError("the disk never was full")


async def test_a_full_disk_says_so_and_takes_mail_again(tmp_path: Path, redis: Any) -> None:
    """SUB-31: no room is `StoreFull` (452); nothing half written is left, and freed room is used."""
    with small_disk(tmp_path, 2_000_000):
        bodies = bodies_in(tmp_path.as_uri(), redis)
        await bodies.bind()
        ledger = Ledger(redis, bodies=bodies)
        taken = await fill(ledger)
        assert 10 <= taken <= 20
        assert await redis.zcard("dp:messages") == taken
        assert len(await names(ledger)) == taken
        await settle(ledger, "M0")
        assert await ledger.accept(message("again"), BODY) is not None
        assert await ledger.content(message("again")) == BODY
        await bodies.aclose()


async def test_a_file_system_that_is_not_there(tmp_path: Path, redis: Any) -> None:
    """An unmounted directory is `StoreUnavailable` for reading and writing: no body counts as lost, none goes astray."""
    place = tmp_path / "content"
    bodies = bodies_in(place.as_uri(), redis)
    await bodies.bind()
    ledger = Ledger(redis, bodies=bodies)
    await ledger.accept(message(), BODY)
    place.rename(tmp_path / "elsewhere")
    place.mkdir()
    for call in (ledger.content(message()), ledger.accept(message("M2"), BODY)):
        with pytest.raises(ContentUnavailable, match="is away"):
            await call
    assert list(place.iterdir()) == []
    assert await ledger.stored(message("M2").id) is None
    place.rmdir()
    (tmp_path / "elsewhere").rename(place)
    assert await ledger.content(message()) == BODY
    await bodies.aclose()


async def test_settling_outlives_a_store_that_is_away(tmp_path: Path, redis: Any) -> None:
    """Mail that was delivered is settled though its body cannot be deleted now; that is told, and made good later."""
    place = tmp_path / "content"
    bodies = bodies_in(place.as_uri(), redis)
    await bodies.bind()
    ledger = Ledger(redis, bodies=bodies)
    await ledger.accept(message(), BODY)
    body = one_file(place, "M1.*")
    body.rename(tmp_path / "kept")
    body.mkdir()  # unlink fails on it, whoever asks
    with logged(tmp_path / "log.jsonl") as file:
        await settle(ledger)
    assert '"body.left"' in read(file)
    body.rmdir()
    (tmp_path / "kept").rename(body)
    assert await swept(ledger) == []
    await bodies.aclose()


async def test_a_service_that_is_away_and_one_that_lacks_the_bucket(monkeypatch: pytest.MonkeyPatch, s3: int) -> None:
    """A refused connection and a missing bucket are `StoreUnavailable`, each with its reason and without a page of it."""
    for port, word in ((free_port(), "error sending request"), (s3, "NoSuchBucket")):
        for name, value in settings(port).items():
            monkeypatch.setenv(name, value)
        store = ObjectStore("s3://nobody-made-it/x")
        with pytest.raises(StoreUnavailable, match=word) as raised:
            await store.put("M1.5", b"x")
        assert len(str(raised.value)) < 500


async def test_a_service_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """SUB-31: a service that answers 507 is full, which is 452 at the door and not 451."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline() not in {b"\r\n", b""}:
            pass
        writer.write(b"HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        for name, value in settings(server.sockets[0].getsockname()[1]).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(StoreFull, match="507"):
            await ObjectStore("s3://mail/x").put("M1.5", b"x")


@pytest.mark.parametrize(
    "address", ["file://host/x", "file:x", "/var/x", "s3://", "s3:///x", "http://x/y", "file:///x?y", "s3://b/x?y"]
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    """What cannot be a place is refused with its key, before anything starts."""
    (tmp_path / "danepipe.toml").write_text(f'[store]\ncontent = "{address}"\n')
    with pytest.raises(ConfigError, match="is no place for content"):
        load(tmp_path / "danepipe.toml", {})
