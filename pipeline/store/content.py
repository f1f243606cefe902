"""The octets of messages, where they are not kept in Redis: in files, or in an S3 service.

A body is durable before the ledger learns of its message, and is deleted after the ledger has let the message go. So a
crash in between leaves a body that nobody knows, which `sweep` deletes an hour later, and never a message without one.
A name is the id of a message and the millisecond it was accepted in: what is accepted again has a name of its own.

A store belongs to one ledger, and each of the two knows it: `bind` refuses a directory that is not mounted, or that
another queue uses, with `UnsafeStore`. `StoreUnavailable` and `StoreFull` mean the same as they do of Redis.
"""

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from pipeline import log
from pipeline.store.changes import duration, milliseconds
from pipeline.store.connection import ContentUnavailable, StoreFull, StoreUnavailable, UnsafeStore, store_errors
from pipeline.store.files import FileStore
from stages.message import Message, MessageId

MARKER = "danepipe"  # the object that names the queue which a store belongs to
ORPHAN = timedelta(hours=1)  # a body that is older and unknown to the ledger has no message
EVERY = timedelta(minutes=15)  # between two sweeps, over all clocks
LATE = ORPHAN.total_seconds() / 6  # seconds after which a body that is accepted may be an orphan to others


class ContentGone(Exception):  # noqa: N818 - a state of the world, not a fault in the program
    """The ledger has a message whose body is nowhere, or is damaged: it waits for an operator."""

    def __init__(self, message: MessageId, where: str, damage: str = "") -> None:
        state = f"in {where} is damaged ({damage})" if damage else f"is not in {where} any more"
        super().__init__(f"the content of message {message} {state}")
        self.message = message
        self.where = where

    def tell(self) -> None:
        """Write the event."""
        log.emit("body.gone", level="error", message=self.message, where=self.where, text=str(self))


class ContentStore(Protocol):
    """What keeps bodies by name. Each method raises `StoreUnavailable` and `StoreFull`, and nothing else."""

    where: str

    async def prepare(self) -> None:
        """Make ready to keep bodies."""

    async def put(self, name: str, content: bytes) -> None:
        """Keep a body durably, or replace it."""

    async def get(self, name: str) -> bytes | None:
        """Fetch a body; None if there is none."""

    async def delete(self, names: Sequence[str]) -> None:
        """Delete bodies; those that are gone already are fine."""

    def older(self, age: timedelta) -> AsyncIterator[list[str]]:
        """Name the bodies that are older, by the clock of the store."""

    async def aclose(self) -> None:
        """Let go of what is open."""


def content_store(address: str) -> ContentStore | None:
    """Make the store that `store.content` names, without a look at it; None for Redis."""
    if address == "redis":
        return None
    directory = content_directory(address)
    if directory is not None:
        return FileStore(directory)
    # The library is loaded only where it is used.
    from pipeline.store.objects import ObjectStore  # noqa: PLC0415

    return ObjectStore(address)


def content_directory(address: str) -> Path | None:
    """Give the directory that `store.content` names, if it names one."""
    return Path(unquote(urlsplit(address).path)) if address.startswith("file:") else None


class Bodies:
    """The bodies of one ledger in a store outside Redis."""

    def __init__(self, store: ContentStore, redis: Any, prefix: str = "dp:") -> None:
        self._store = store
        self._redis = redis
        self._prefix = prefix
        self._owner = b""
        self.where = store.where

    async def bind(self) -> None:
        """Make sure that this store is the one of the ledger. Raises `UnsafeStore` if it is not."""
        key = f"{self._prefix}content"
        with store_errors():
            await self._redis.hsetnx(key, "owner", secrets.token_hex(16))
            owner, before = await self._redis.hmget(key, "owner", "where")
            waiting = before is not None and await self._redis.zcard(f"{self._prefix}messages")
        found = await self._store.get(MARKER)
        if found is None and waiting:
            raise UnsafeStore(
                f"store.content: {self.where} does not hold the mail of this queue, which was put into "
                f"{before.decode()}: is it mounted, is it the right one?"
            )
        if found not in {None, owner}:
            raise UnsafeStore(
                f"store.content: {self.where} belongs to another queue: name another place, or delete "
                f"{MARKER!r} there if that queue is no more"
            )
        await self._store.prepare()
        if found is None:
            await self._store.put(MARKER, owner)
        if before is None or before.decode() != self.where:
            with store_errors():
                await self._redis.hset(key, "where", self.where)
        self._owner = owner

    async def put(self, message: Message, content: bytes) -> float:
        """Keep a body durably; returns what `confirm` asks for."""
        if not self._owner:
            raise ContentUnavailable(f"the content store {self.where} is not that of this queue, or is away")
        started = time.time()
        await self._store.put(_name(message.id, milliseconds(message.envelope.accepted)), content)
        return started

    async def confirm(self, message: Message, content: bytes, started: float) -> None:
        """Make good, once the ledger has the message, what a sweep may have done to a body that came very late."""
        if not 0 <= time.time() - started < LATE:
            await self.put(message, content)

    async def get(self, message: Message) -> bytes | None:
        """Fetch a body; None if it is not in the store, though the store is there."""
        body = await self._store.get(_name(message.id, milliseconds(message.envelope.accepted)))
        if body is None and await self._store.get(MARKER) != self._owner:
            raise ContentUnavailable(
                f"the content store {self.where} is away: it does not name this queue as its owner"
            )
        return body

    async def delete(self, settled: Sequence[tuple[MessageId, int]]) -> None:
        """Delete the bodies of settled messages, each with the millisecond it was accepted in.

        The mail is settled whether this works or not: what is left is told, and the sweep deletes it.
        """
        try:
            await self._store.delete([_name(*one) for one in settled])
        except (StoreUnavailable, StoreFull) as error:
            log.emit("body.left", level="warning", where=self.where, text=str(error))

    async def sweep(self, age: timedelta = ORPHAN) -> None:
        """Delete the bodies that are older and have no message, if nobody has looked of late."""
        count = 0
        try:
            with store_errors():
                mine = await self._redis.set(f"{self._prefix}content:swept", 1, nx=True, px=duration(EVERY))
            if not mine:
                return
            async for names in self._store.older(age):
                orphans = await self._unknown(names)
                if orphans:
                    await self._store.delete(orphans)
                    count += len(orphans)
        except (StoreUnavailable, StoreFull) as error:
            log.emit("body.left", level="warning", where=self.where, text=str(error))
        if count:
            log.emit("body.swept", where=self.where, count=count)

    async def _unknown(self, names: Sequence[str]) -> list[str]:
        if not names:
            return []
        with store_errors():
            scores = await self._redis.zmscore(f"{self._prefix}messages", [name.partition(".")[0] for name in names])
        return [
            name for name, score in zip(names, scores, strict=True)
            if score is None or name != _name(MessageId(name.partition(".")[0]), int(score))
        ]  # fmt: skip

    async def aclose(self) -> None:
        """Let go of what is open."""
        await self._store.aclose()


async def unbind(redis: Any, prefix: str = "dp:") -> None:
    """Make sure that no mail waits whose content is outside Redis. Raises `UnsafeStore` if some does."""
    key = f"{prefix}content"
    with store_errors():
        where = await redis.hget(key, "where")
        if where is None:
            return
        if await redis.zcard(f"{prefix}messages"):
            raise UnsafeStore(
                f"store.content is redis, and mail waits whose content is in {where.decode()}: name that place until "
                "the queue is empty"
            )
        await redis.hdel(key, "where")


def _name(message: MessageId, accepted: int) -> str:
    return f"{message}.{accepted}"
