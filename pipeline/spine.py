"""Everything a process needs, opened in order and closed in reverse.

`Spine.open(config)` connects to Redis and gives the ledger, the run-time exclusions and `submit`, which is all that
accepting mail, the clock and the commands need. What a worker needs beside it stands in `pipeline.outfit`: here
nothing is imported that knows DNS, certificates or SMTP, which would be a third of the memory of a process.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pipeline import log
from pipeline.accept.door import Submission, message_id, prepare
from pipeline.accept.pressure import Pressure
from pipeline.config import Config
from pipeline.line import Line, build
from pipeline.store.connection import ContentUnavailable, UnsafeStore, check_safety, connect
from pipeline.store.content import Bodies, content_directory, content_store, unbind
from pipeline.store.exclusions import ExclusionStore
from pipeline.store.gates import GateStore
from pipeline.store.headroom import read
from pipeline.store.ledger import Ledger
from pipeline.store.outcomes import KEPT
from stages.message import Message, MessageId

Nudge = Callable[[Sequence[str]], Any]


def utc_now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


def new_id() -> MessageId:
    """Make a message id: the millisecond in base 36 and 40 random bits, so that ids sort by time and never meet."""
    return MessageId(f"{_base36(time.time_ns() // 1_000_000)}{_base36(secrets.randbits(40)).rjust(8, '0')}")


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[rest] + digits
    return digits or "0"


def redis_url(config: Config) -> str:
    """Give the address of Redis; "embedded" is the socket of a running `danepipe up` in the same data directory."""
    if config.redis.url != "embedded":
        return config.redis.url
    # The module that starts it is not imported by those who only connect.
    from pipeline.embedded import socket_path  # noqa: PLC0415

    return f"unix://{socket_path(config.store.dir)}"


def bodies_of(config: Config, redis: Any) -> Bodies | None:
    """Make what keeps the content of mail outside Redis, without a look at it; None if Redis keeps it."""
    store = content_store(config.store.content)
    return None if store is None else Bodies(store, redis)


def _disks(config: Config) -> list[Path]:
    """Name the directories known here that grow with the mail."""
    embedded = [config.store.dir] if config.redis.url == "embedded" else []
    directory = content_directory(config.store.content)
    logs = config.log.file.parent if config.log.file is not None else None
    return [*embedded, *(place for place in (directory, logs) if place is not None)]


class Spine:
    """Redis and what stands on it, for one process."""

    def __init__(self, config: Config, redis: Any, line: Line, nudge: Nudge, bodies: Bodies | None = None) -> None:
        self.config = config
        self.redis = redis
        self.line = line
        self.ledger = Ledger(
            redis,
            first=line.first.name,
            notices=line.notices.name,
            bodies=bodies,
            outcomes=KEPT if config.webhook else 0,
        )
        self.exclusions = ExclusionStore(redis)
        self.gates = GateStore(redis)
        self._pressure = Pressure(
            config.backpressure, partial(read, redis, self.ledger.prefix), _disks(config), in_redis=bodies is None
        )
        self._nudge = nudge

    @classmethod
    @asynccontextmanager
    async def open(cls, config: Config, nudge: Nudge | None = None, *, content: bool = True) -> "AsyncIterator[Spine]":
        """Connect, check that Redis and the place of content keep what they are given, and close at the end.

        Whoever looks at the queue or changes it needs no `content`, and gets in while its place is away.

        Raises `StoreUnavailable`, `UnsafeStore`, `LineError`.
        """
        line = build(config.pipeline.stages)
        redis = connect(redis_url(config))
        bodies = bodies_of(config, redis)
        try:
            faults = await check_safety(redis, allow_unsafe=config.redis.allow_unsafe)
            for fault in faults:
                log.emit("redis.unsafe", level="warning", text=fault)
            try:
                await (unbind(redis) if bodies is None else bodies.bind())
            except (ContentUnavailable, UnsafeStore):
                if content:  # else `bodies` raises for whatever is asked of it
                    raise
            spine = cls(config, redis, line, nudge or _enqueue(config), bodies)
            try:
                yield spine
            finally:
                await spine._pressure.close()
        finally:
            if bodies is not None:
                await bodies.aclose()
            await redis.aclose()

    async def submit(self, submission: Submission, identifier: MessageId | None = None) -> MessageId:
        """Keep a message durably, log it and nudge the first stage. One whose id is known already is kept once.

        Raises `SubmissionError`, `StoreUnavailable`, `StoreFull`.
        """
        identifier = identifier or new_id()
        envelope, recipients, content = prepare(submission, self.config.hostname, identifier, utc_now())
        if wait := await self._pressure.take(len(content)):
            await asyncio.sleep(wait)  # before it is kept: a client that gives up meanwhile sends it once
        wants_nudge = await self.ledger.accept(Message(identifier, envelope, recipients), content)
        if wants_nudge is None:
            return identifier
        log.emit(
            "message.accepted", message=identifier, sender=str(envelope.sender) if envelope.sender else "",
            recipients=[str(recipient.address) for recipient in recipients], size=envelope.content.size,
            source=envelope.origin.source, peer=envelope.origin.peer, protocol=envelope.origin.protocol,
            message_id=message_id(content),
        )  # fmt: skip
        if wants_nudge:
            await self.nudge([self.line.first.name])
        return identifier

    async def nudge(self, names: Sequence[str]) -> None:
        """Send the nudges that a change asked for. A failure is logged: the sweep nudges again."""
        if not names:
            return
        try:
            await self._nudge(names)
        except Exception as error:  # noqa: BLE001 - the mail is durable, and the sweep of the clock makes this good
            log.emit("nudge.failed", level="warning", names=list(names), error=repr(error))


def _enqueue(config: Config) -> Nudge:
    """Send nudges as Dramatiq messages from a process that is no worker."""
    made: list[Any] = []

    async def nudge(names: Sequence[str]) -> None:
        if not made:
            # opens the broker only when something is sent
            from pipeline.nudges import Nudger, Together  # noqa: PLC0415

            made.append(Together(Nudger(redis_url(config), build(config.pipeline.stages)).send))
        await made[0].nudge(names)

    return nudge
