"""Programs that some tests need: missing ones skip on a laptop and fail where CI=true says that all must run."""

import os
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from threading import Event
from typing import NoReturn

import pytest

from pipeline.embedded import NoRedis, RedisBinary, find_redis

_DAEMONS = "/usr/sbin:/sbin:/usr/local/sbin"  # where systems keep daemons, on PATH or not


def program(name: str) -> str:
    """Give the path of a program, or skip the test with the reason; with CI=true its absence is a failure."""
    path = _find(name)
    return path if path is not None else lacking(f"needs {name} (Debian package), which is not on PATH")


def has(name: str) -> bool:
    """Tell whether a program is there, for tests that can do without; with CI=true its absence is a failure."""
    found = _find(name) is not None
    if not found and _must_run_all():
        pytest.fail(f"needs {name} (Debian package), which is not on PATH")
    return found


def redis_server() -> RedisBinary:
    """Give the Redis that `danepipe up` would start, or skip the test; with CI=true its absence is a failure."""
    try:
        return find_redis()
    except NoRedis as error:
        return lacking(str(error))


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_DAEMONS}")


def _must_run_all() -> bool:
    return os.environ.get("CI") == "true"


def lacking(reason: str) -> NoReturn:
    """Skip the test with the reason; with CI=true what is missing is a failure."""
    if _must_run_all():
        pytest.fail(reason)
    pytest.skip(reason)


# Ports below those that Linux gives out by itself (from 32768 on), so that nobody gets one by chance before its use
_BLOCK = 250
_BLOCKS = range(12_000, 32_000, _BLOCK)


@cache
def _own_ports() -> Iterator[int]:
    """Claim a block of ports for this process: whoever listens on the first of a block owns it while it lives."""
    for first in random.SystemRandom().sample(_BLOCKS, len(_BLOCKS)):
        claim = socket.socket()
        try:
            claim.bind(("127.0.0.1", first))
            claim.listen()
        except OSError:  # another process of tests has this block
            claim.close()
            continue
        _claims.append(claim)
        return cycle(range(first + 1, first + _BLOCK))
    raise OSError("no block of ports is free for tests")


_claims: list[socket.socket] = []


def free_port() -> int:
    """Give a port of 127.0.0.1 that nobody has, for TCP and for UDP, and that no other process of tests is given."""
    for port in islice(_own_ports(), _BLOCK):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, suppress(OSError):  # taken: the next
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return port
    raise OSError("no port of this process's block is free")


@contextmanager
def taken_port(port: int) -> Iterator[None]:
    """See to it that somebody listens on a port of 127.0.0.1: we do, or whoever does already, and we after them."""
    with ThreadPoolExecutor(1) as beside, socket.socket() as listening:
        over, found = Event(), Event()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        def take() -> None:
            while not over.wait(0.005):
                with suppress(OSError):  # somebody has it, as is wanted
                    listening.bind(("127.0.0.1", port))
                    listening.listen()
                    over.set()
                found.set()

        taking = beside.submit(take)
        found.wait()
        try:
            yield
        finally:
            over.set()
            taking.result()


@contextmanager
def silent_port() -> Iterator[int]:
    """Give a port of 127.0.0.1 for UDP on which nobody ever answers."""
    with socket.socket(type=socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        yield int(deaf.getsockname()[1])


@contextmanager
def small_disk(directory: Path, size: int) -> Iterator[None]:
    """Mount a file system of so many octets for the while, which only root may, or skip the test; see `program`."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        lacking("needs to mount a tmpfs, which only root may")
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)
