"""Where a part of danepipe gives its figures, and how its processes share them.

`danepipe up` and each part that is started by itself answer Prometheus at an address of their own, for themselves and
for the processes that they start (`[metrics] listen`). Those write into files of one directory, which is in memory
where the system has room for files there, and goes with the part. What a process that died has counted stays counted,
and its gauges are forgotten. Without `metrics.listen` nothing of this is imported.

Raises `MeterError`, when the address cannot be used.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline import log
from pipeline.config import Config
from pipeline.spine import Spine
from pipeline.store.census import take
from pipeline.store.connection import StoreUnavailable

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"  # what prometheus_client calls it, which looks when it is imported
DRAMATIQ = "dramatiq_prom_db"  # the same, for Dramatiq
# so that all may run on one machine
OFFSETS: Mapping[str, int] = {"up": 0, "accept": 0, "work": 1, "clock": 2, "api": 3, "webhooks": 4, "console": 5}
COUNTED = 10.0  # seconds between two looks of the clock at how much there is
YOUNG = 60.0  # seconds for which a directory that nobody holds may be one that is being made
_PREFIX = "danepipe-metrics-"
_MEMORY = Path("/dev/shm")  # noqa: S108 - the directory made there is ours alone

_started: list[Any] = []  # the figures of this process: one `Metrics`, or none


class MeterError(Exception):
    """The figures cannot be given; the text names the setting."""


@contextlib.contextmanager
def served(config: Config, role: str) -> Iterator[None]:
    """Count in this process, and answer Prometheus unless the process that started us does."""
    listen = config.metrics.listen
    if listen is None:
        yield
        return
    if os.environ.get("DANEPIPE_WORKER") and DIRECTORY in os.environ:
        begin(role)
        yield
        return
    host, _, port = listen.rpartition(":")
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    clear(place)
    directory = tempfile.mkdtemp(prefix=_PREFIX, dir=place)
    held = os.open(directory, os.O_RDONLY)  # closed with this process, whatever ends it
    fcntl.flock(held, fcntl.LOCK_EX)
    os.environ[DIRECTORY] = os.environ[DRAMATIQ] = directory
    try:
        with _answering(host.strip("[]"), int(port) + OFFSETS[role], config):
            begin(role)
            yield
    finally:
        end()
        del os.environ[DIRECTORY], os.environ[DRAMATIQ]
        shutil.rmtree(directory, ignore_errors=True)
        os.close(held)


def clear(place: Path) -> None:
    """Remove the directories of parts that were killed, which nobody holds any longer."""
    for directory in place.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is another user's, or held, or somebody else removes it
            held = os.open(directory, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - directory.stat().st_mtime > YOUNG:
                    shutil.rmtree(directory)
            finally:
                os.close(held)


@contextlib.contextmanager
def _answering(host: str, port: int, config: Config) -> Iterator[None]:
    from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415 - not before the directory is set
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415 - see above

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise MeterError(
            f"metrics.listen ({config.origin('metrics.listen')}): cannot listen on {host} port {port}: "
            f"{(error.strerror or str(error)).lower()}; end what listens there, or name another port"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def begin(role: str) -> None:
    """Count the events of this process from now on."""
    from pipeline.metrics import Metrics  # noqa: PLC0415 - imports prometheus_client

    metrics = Metrics()
    if role in {"accept", "api"}:
        metrics.set("pressure", 0)  # told of when it changes
    log.counted_by(metrics.count)
    _started[:] = [metrics]


def end() -> None:
    """Count no more."""
    for metrics in _started:
        log.counted_no_more(metrics.count)
    _started.clear()


def gone(process: int) -> None:
    """Forget the gauges of a process that ended, and keep what it has counted."""
    directory = os.environ.get(DIRECTORY)
    if directory is not None:
        for path in Path(directory).glob(f"gauge_*_{process}.db"):
            path.unlink(missing_ok=True)


def middleware() -> list[Any]:
    """Give Dramatiq's own counting of jobs, for a worker whose figures are asked for."""
    if DIRECTORY not in os.environ:
        return []
    from dramatiq.middleware.prometheus import Prometheus  # noqa: PLC0415 - makes a directory when it is imported

    return [Prometheus()]


def tested(ended: datetime) -> None:
    """Take the time at which a self-test of the resolver ended."""
    for metrics in _started:
        metrics.take_test(ended)


async def keep_counting(spine: Spine) -> None:
    """Look how much there is of everything, every ten seconds until cancelled; at once over where nobody asks."""
    while _started:
        try:
            census = await take(spine.redis, spine.ledger.prefix)
        except StoreUnavailable:
            pass  # the clock tells of it, and the age of the last look shows
        else:
            for metrics in _started:
                metrics.take(census)
        await asyncio.sleep(COUNTED)
