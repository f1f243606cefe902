"""Programs that some tests need: missing ones skip on a laptop and fail where CI=true says that all must run."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
