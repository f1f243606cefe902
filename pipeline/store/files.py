"""Bodies in files of a local or shared file system, durable before `put` returns.

A body is written beside its place, synchronised, renamed, and its directory is synchronised, as no library for object
stores does. The directories are all made before the first body, so that a missing one means that the file system is
not there (not mounted), and never that a body may go to the disk below it. Blocking calls run in threads of this room.

Raises `StoreFull` when there is no space or quota left, and `ContentUnavailable` for everything else that files do.
"""

import asyncio
import contextlib
import errno
import os
import secrets
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from pipeline.store.connection import ContentUnavailable, StoreFull

T = TypeVar("T")
DIRECTORIES = 256
THREADS = 16  # calls at a time; file systems write what is synchronised together at once
PATIENCE = 30.0  # seconds for one call; a file system of the network may hang for ever
PART = ".part"  # ends the name of what is not whole yet
CLOCK = "clock"  # the file that tells the time of the file system


class FileStore:
    """One directory, which several hosts may share."""

    def __init__(self, directory: Path) -> None:
        self.where = directory.as_uri()
        self._root = directory
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="content")

    async def prepare(self) -> None:
        """Make the directories that are missing."""
        await self._call(self._make)

    async def put(self, name: str, content: bytes) -> None:
        """Keep a body; when this returns, it outlives a loss of power."""
        await self._call(self._write, self._path(name), content)

    async def get(self, name: str) -> bytes | None:
        """Fetch a body; None if there is none."""
        return await self._call(self._read, self._path(name))

    async def delete(self, names: Sequence[str]) -> None:
        """Delete bodies; those that are gone already are fine."""
        await self._call(self._unlink, [self._path(name) for name in names])

    async def older(self, age: timedelta) -> AsyncIterator[list[str]]:
        """Name the bodies that are older, by the clock of the file system; leftovers of broken writes are deleted."""
        before = await self._call(self._now) - age.total_seconds()
        for number in range(DIRECTORIES):
            yield await self._call(self._scan, self._root / f"{number:02x}", before)

    async def aclose(self) -> None:
        """Start nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _path(self, name: str) -> Path:
        """Give the file of a body; names without a dot are not of bodies and stand in the directory itself."""
        if "." not in name:
            return self._root / name
        return self._root / f"{zlib.crc32(name.encode()) % DIRECTORIES:02x}" / name

    async def _call(self, function: Callable[..., T], *args: object) -> T:
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
        except OSError as error:  # TimeoutError is one
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StoreFull(f"{self.where} is full: {error.strerror}") from error
            text = f"no answer within {PATIENCE:g} s" if isinstance(error, TimeoutError) else str(error)
            raise ContentUnavailable(f"the content store {self.where} is away: {text}") from error

    def _make(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(DIRECTORIES):
            (self._root / f"{number:02x}").mkdir(mode=0o700, exist_ok=True)
        _synchronise(self._root)  # also those that another process has made a moment ago

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            part.rename(path)
        except OSError:
            with contextlib.suppress(OSError):  # the first error says more, and the sweep deletes what is left
                part.unlink()
            raise
        _synchronise(path.parent)

    @staticmethod
    def _read(path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    @staticmethod
    def _unlink(paths: Sequence[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)

    def _now(self) -> float:
        clock = self._root / CLOCK
        clock.touch(mode=0o600)
        return clock.stat().st_mtime

    def _scan(self, directory: Path, before: float) -> list[str]:
        found = []
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    if entry.stat().st_mtime >= before:
                        continue
                except FileNotFoundError:  # settled in this moment
                    continue
                if entry.name.endswith(PART):
                    Path(entry).unlink(missing_ok=True)
                elif self._path(entry.name) == Path(entry):  # what else stands here is none of ours
                    found.append(entry.name)
        return found


def _synchronise(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
