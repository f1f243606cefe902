"""One run of a scenario: the far end, a client and a danepipe, and the count at its end.

`Run.world` gives all three; when its block ends, faults are over, and all that was accepted is given time to come to
its end. What a scenario expects beside the count goes to `Run.complain`. Two sizes: `FULL` for `make chaos`, `SHORT`
for the tests, where the 20 seconds for which a lost nudge is waited for are cut short.
"""

import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ops.bench.stand import closed_port
from ops.chaos.client import Client
from ops.chaos.farend import FarEnd, Trouble
from ops.chaos.pipe import Pipe, until
from ops.chaos.skew import Clocks
from ops.chaos.tally import Tally
from pipeline.store.connection import StoreFull, StoreUnavailable

KINDS = {7: "no", 13: "later"}  # of twenty messages, which the far end refuses and which it takes later
WAYS = 3  # destinations
CLOCKS = ("work1", "clock", "accept", "redis")  # parts whose clock can be set


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything; times in seconds. `beat`: what passes between two kills, on average."""

    messages: int
    kills: int
    redis_kills: int
    pauses: int  # of a worker
    some: int  # messages where the fault is not about numbers
    beat: float
    pause: float
    patience: float
    hurry: bool

    def with_messages(self, messages: int) -> "Size":
        """Give the same with another number of messages."""
        return replace(self, messages=messages)


FULL = Size(20_000, 100, 10, 10, 1000, 1.5, 30.0, 300.0, hurry=False)
SHORT = Size(300, 10, 2, 1, 60, 0.5, 2.0, 60.0, hurry=True)


def domain_of(number: int) -> str:
    """Choose the domain of a message: mostly one that takes it, sometimes one that does not, or not yet."""
    return f"{KINDS.get(number % 20, 'yes')}.d{number % WAYS}.example"


def taken(number: int) -> str:
    """Choose a domain that takes everything."""
    return f"yes.d{number % WAYS}.example"


@dataclass(slots=True)
class World:
    """What a scenario works with. `clocks` can be set if the scenario asked for that."""

    pipe: Pipe
    client: Client
    far: FarEnd
    clocks: Clocks | None


@dataclass(slots=True)
class Run:
    """One scenario, one seed."""

    size: Size
    seed: int
    tally: Tally = field(default_factory=Tally)
    complaints: list[str] = field(default_factory=list)
    faults: int = 0
    settling: float = 0.0  # seconds that mail took to come to its end after the last fault
    look: Callable[[], None] = lambda: None  # brings the count up to date
    chance: random.Random = field(init=False)
    _shared: World | None = None
    _batches: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - repeats a run, protects nothing

    def expect(self, what: str, *, true: bool) -> None:
        """Complain unless something is as it should be."""
        if not true:
            self.complaints.append(what)

    @asynccontextmanager
    async def together(
        self, settings: Mapping[str, Any] | None = None, *, clocks: bool = False, directory: Path | None = None
    ) -> AsyncIterator[World]:
        """Run one world for several scenarios; at the end of the block, wait for what is open, and count."""
        far = FarEnd(self.tally, random.Random(self.chance.random()))  # noqa: S311 - as above
        with tempfile.TemporaryDirectory(prefix="danepipe-chaos-") as name:
            place = directory or Path(name)
            set_ = Clocks(Path(name)) if clocks else None
            environ = {part: set_.environ(part) for part in CLOCKS} if set_ else {}
            async with far.running(WAYS):
                async with Pipe.open(place, _settings(far.ports, settings or {}), environ) as pipe:
                    self._shared = World(pipe, Client(pipe.port, self.tally, domain_of), far, set_)
                    try:
                        yield self._shared
                        await self.settle(pipe)
                    finally:
                        self._shared = None
                self.complaints += pipe.crashes()

    @asynccontextmanager
    async def world(
        self, settings: Mapping[str, Any] | None = None, *, octets: int = 300, all_taken: bool = False,
        clocks: bool = False, directory: Path | None = None,
    ) -> AsyncIterator[World]:  # fmt: skip
        """Give the world that scenarios share, or one of its own, with `settings` added to ours; with a new client."""
        if self._shared is None:
            async with (
                self.together(settings, clocks=clocks, directory=directory),
                self.world(octets=octets, all_taken=all_taken) as shared,
            ):
                yield shared
            return
        shared, choose = self._shared, taken if all_taken else domain_of
        shared.far.delay, shared.far.trouble = 0.0, Trouble.NONE
        self._batches += 1
        shared.client = Client(shared.pipe.port, self.tally, choose, size=octets, batch=self._batches)
        yield shared

    def no_copies(self, since: int, why: str) -> None:
        """Complain of copies beyond those that there were."""
        more = self.tally.copies() - since
        self.expect(f"{more} copies, though {why}", true=not more)

    async def settle(self, pipe: Pipe) -> None:
        """Wait until nothing is open, as long as patience lasts, and note what is still queued."""
        began = time.monotonic()
        async with pipe.spine() as spine:
            looked = 0

            async def done() -> bool:
                nonlocal looked
                looked += 1
                self.look()
                if self.size.hurry and looked % 20 == 0:
                    for key in await spine.redis.keys("dp:nudge:*"):
                        await spine.redis.delete(key)
                try:
                    counts = await spine.ledger.counts()
                except (StoreUnavailable, StoreFull):
                    return False
                return not any(self.tally.open()) and not counts["messages"] and not counts["claims"]

            try:
                await until(done, self.size.patience, "mail is still open")
            except RuntimeError as error:
                self.complaints.append(str(error))
            self.settling = time.monotonic() - began
            cursor, ids = "", {one.id: one for one in self.tally.accepted()}
            while True:
                page, cursor = await spine.ledger.page(cursor, 500)
                for stored in page:
                    if stored.message.id in ids:
                        ids[stored.message.id].queued = stored.open > 0
                if not cursor:
                    break


def _settings(ports: Sequence[int], more: Mapping[str, Any]) -> dict[str, Any]:
    """Route everything to the far end; nobody asks a resolver, and nothing leaves loopback."""
    routes = [
        {"recipient": [f"*@*.d{way}.example"], "action": "host", "host": "[127.0.0.1]", "port": port, "tls": "may"}
        for way, port in enumerate(ports)
    ]
    settings: dict[str, Any] = {
        "hostname": "out.example",
        "dns": {"servers": [f"127.0.0.1@{closed_port()}"], "timeout": "200ms"},
        "smtp": {"allow_private": True},
        "queue": {"retry": ["1s"], "jitter": 0.0},
        "circuit": {"pause": "1s", "longest": "2s"},
        "route": [*routes, {"action": "host", "host": "[127.0.0.1]", "port": ports[0], "tls": "may"}],
    }
    for key, value in more.items():
        settings[key] = {**settings.get(key, {}), **value} if isinstance(value, Mapping) else value
    return settings
