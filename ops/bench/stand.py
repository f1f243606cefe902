"""A whole `danepipe up` for a benchmark, alone or in the lab, in a temporary directory that goes afterwards.

`alone` has one route, to an address on loopback, and asks no resolver; `in_lab` has signed zones, Unbound and DANE.
Both listen on free ports of 127.0.0.1. Raises `NotHere` where Redis or Unbound is missing, `DemoError` where `up` does
not start.
"""

import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from redis import Redis

from ops.bench.figures import NotHere
from ops.lab.demo import danepipe_up
from ops.lab.mailhost import free_port
from ops.lab.scenario import Scenario
from ops.lab.unbound import NoUnbound, find_unbound
from ops.lab.world import Lab
from pipeline.embedded import NoRedis, find_redis, socket_path

_QUIET = {"level": "info", "format": "json"}


@dataclass(frozen=True, slots=True)
class Stand:
    """A running tree: the port of its listener, the process id of `up`, where its files are."""

    port: int
    pid: int
    directory: Path

    @property
    def redis_url(self) -> str:
        """Give the address of the private Redis."""
        return f"unix://{socket_path(self.directory / 'var')}"

    def redis(self) -> Redis:
        """Connect to the private Redis, beside danepipe."""
        return Redis.from_url(self.redis_url)


def closed_port() -> int:
    """Find a port of 127.0.0.1 where nobody listens."""
    port, (held,) = free_port(["127.0.0.1"])
    held.close()
    return port


def _places(directory: Path, port: int) -> dict[str, Any]:
    return {
        "listen": {"smtp": f"127.0.0.1:{port}"},
        "store": _store(directory),
        "log": {"file": str(directory / "danepipe.log"), **_QUIET},
    }


def _store(directory: Path, *, files: bool = False) -> dict[str, Any]:
    return {"dir": str(directory / "var"), **({"content": (directory / "content").as_uri()} if files else {})}


def _need_redis() -> None:
    try:
        find_redis()
    except NoRedis as error:
        raise NotHere(str(error)) from error


@contextlib.asynccontextmanager
async def alone(
    target_port: int, more: Mapping[str, Any] | None = None, *, files: bool = False
) -> AsyncIterator[Stand]:
    """Run `up` with everything routed to 127.0.0.1 at this port, without DANE; `more` adds configuration.

    With `files`, content is kept in files and not in Redis.
    """
    _need_redis()
    with tempfile.TemporaryDirectory(prefix="danepipe-bench-") as name:
        directory, port = Path(name), closed_port()
        settings = {
            **_places(directory, port),
            "hostname": "out.example",
            # Nobody is asked: the port is closed, and so nothing leaves loopback.
            "dns": {"servers": [f"127.0.0.1@{closed_port()}"]},
            "smtp": {"allow_private": True},
            **(more or {}),
            "store": _store(directory, files=files),
            "route": [{"action": "host", "host": "[127.0.0.1]", "port": target_port, "tls": "may"}],
        }
        config = directory / "danepipe.toml"
        config.write_text(tomlkit.dumps(settings), encoding="utf-8")
        async with danepipe_up(config, port) as pid:
            yield Stand(port, pid, directory)


@contextlib.asynccontextmanager
async def in_lab(
    scenarios: Sequence[Scenario], more: Mapping[str, Any] | None = None
) -> AsyncIterator[tuple[Lab, Stand]]:
    """Run the lab with these domains and `up` sending into it; `more` adds configuration."""
    _need_redis()
    try:
        find_unbound()
    except NoUnbound as error:
        raise NotHere(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="danepipe-bench-") as name:
        directory, port = Path(name), closed_port()
        async with Lab.open(directory / "lab", scenarios) as lab:
            config = lab.write_config(directory / "danepipe.toml", more={**_places(directory, port), **(more or {})})
            async with danepipe_up(config, port) as pid:
                yield lab, Stand(port, pid, directory)


class Patience:
    """A deadline for a wait that looks again and again. Raises RuntimeError when it is over."""

    def __init__(self, seconds: float, what: str) -> None:
        self._until = time.monotonic() + seconds
        self._what = what

    def check(self) -> None:
        """Go on, or end."""
        if time.monotonic() > self._until:
            raise RuntimeError(f"gave up waiting: {self._what}")
