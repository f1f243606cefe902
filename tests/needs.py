"""Programs that some tests need: missing ones skip on a laptop and fail where CI=true says that all must run."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def program(name: str) -> str:
    """Give the path of a program, or skip the test with the reason; with CI=true its absence is a failure."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        reason = f"needs {name} (Debian package), which is not on PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


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
