"""One measurement: a server is started anew, does the work, and is stopped.

Twenty messages to the first destination go before, so that all processes are there. The clock starts with the first
250 of the server and ends with the last 250 of the far end; processor time is read a second after that, when the server
has put its queue in order. Raises RuntimeError where mail stays behind.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from ops.bench.peer import danepipe, postfix
from ops.bench.peer.far_end import FarEnd
from ops.bench.peer.meter import Meter, inside
from ops.bench.peer.work import Accepted, Work, feed

LISTENS = 2525
_PATIENCE = 60.0  # seconds without a message
_AFTER = 1.0
_WARM_UP = Work(messages=20, domains=1)
MEBI = 1024**2


@dataclass(frozen=True, slots=True)
class Server:
    """How one of the two is run, and how its log is read."""

    name: str
    up: Callable[[Path, int, str], AbstractAsyncContextManager[int]]
    verified: Callable[[Path], int]


SERVERS = (
    Server(danepipe.NAME, danepipe.up, danepipe.verified),
    Server(postfix.NAME, postfix.up, postfix.verified),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured: messages a second, milliseconds of processor for a message, peaks of memory in MiB."""

    server: str
    domains: int
    messages: int
    delivered: float
    accepted: float
    processor: float
    rss: float
    pss: float
    connections: int
    verified: int


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs share: far end, load if it is in C, control group if there is one, trust anchor, a directory."""

    far: FarEnd
    load: Path | None
    group: Path | None
    anchor: str
    directory: Path

    async def measure(self, server: Server, work: Work) -> Run:
        """Measure one server in a new directory, which stays for whoever wants to read it."""
        directory = self.directory / server.name
        directory.mkdir()
        directory.chmod(0o755)
        async with AsyncExitStack() as stack:
            with inside(self.group):
                root = await stack.enter_async_context(server.up(directory, LISTENS, self.anchor))
            meter = Meter(self.group, root)
            await self._deliver(_WARM_UP)
            before, spent = self.far.taken(), meter.processor()
            async with meter.watching():
                accepted = await self._deliver(work)
            taken = self.far.taken()
            await asyncio.sleep(_AFTER)
            used = meter.processor() - spent
        return Run(
            server=server.name,
            domains=work.domains,
            messages=work.messages,
            delivered=work.messages / (taken.last - accepted.first),
            accepted=work.messages / (accepted.last - accepted.first),
            processor=1000 * used / work.messages,
            rss=meter.rss / MEBI,
            pss=meter.pss / MEBI,
            connections=taken.connections - before.connections,
            verified=server.verified(directory) - _WARM_UP.messages,
        )

    async def _deliver(self, work: Work) -> Accepted:
        """Feed the server, and wait until the far end has everything."""
        wanted = self.far.taken().messages + work.messages
        accepted = await feed(LISTENS, work, self.load)
        seen, at = -1, time.monotonic()
        while (messages := self.far.taken().messages) < wanted:
            if messages != seen:
                seen, at = messages, time.monotonic()
            if time.monotonic() > at + _PATIENCE:
                raise RuntimeError(f"{wanted - messages} of {work.messages} messages did not arrive")
            await asyncio.sleep(0.02)
        return accepted
