"""One run of a scenario: the far end, a client and a danepipe, and the count at its end.

`Run.world` gives all three; when its block ends, faults are over, and all that was accepted is given time to come to
its end. What a scenario expects beside the count goes to `Run.complain`. Two sizes: `FULL` for `make chaos`, `SHORT`
for the tests, where the 20 seconds for which a lost nudge is waited for are cut short.
"""

import random
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ops.bench.stand import closed_port
from ops.chaos.client import Client
from ops.chaos.farend import FarEnd
from ops.chaos.pipe import Pipe, until
from ops.chaos.tally import Tally
from pipeline.store.connection import StoreFull, StoreUnavailable

KINDS = {7: "no", 13: "later"}  # of twenty messages, which the far end refuses and which it takes later
WAYS = 3  # destinations


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
SHORT = Size(300, 10, 2, 1, 60, 0.7, 2.0, 60.0, hurry=True)


def domain_of(number: int) -> str:
    """Choose the domain of a message: mostly one that takes it, sometimes one that does not, or not yet."""
    return f"{KINDS.get(number % 20, 'yes')}.d{number % WAYS}.example"


def taken(number: int) -> str:
    """Choose a domain that takes everything."""
    return f"yes.d{number % WAYS}.example"


@dataclass(slots=True)
class World:
    """What a scenario works with."""

    pipe: Pipe
    client: Client
    far: FarEnd


@dataclass(slots=True)
class Run:
    """One scenario, one seed."""

    size: Size
    seed: int
    tally: Tally = field(default_factory=Tally)
    complaints: list[str] = field(default_factory=list)
    faults: int = 0
    look: Callable[[], None] = lambda: None  # brings the count up to date
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - repeats a run, protects nothing

    def expect(self, what: str, *, true: bool) -> None:
        """Complain unless something is as it should be."""
        if not true:
            self.complaints.append(what)

    @asynccontextmanager
    async def world(
        self, settings: Mapping[str, Any] | None = None, *, without: Sequence[str] = (),
        environ: Mapping[str, Mapping[str, str]] | None = None, octets: int = 300, all_taken: bool = False,
        directory: Path | None = None,
    ) -> AsyncIterator[World]:  # fmt: skip
        """Run everything; at the end of the block, wait for what is open, and count. `settings` add to our own."""
        far = FarEnd(self.tally, random.Random(self.chance.random()))  # noqa: S311 - as above
        with tempfile.TemporaryDirectory(prefix="danepipe-chaos-") as name:
            place = directory or Path(name)
            async with far.running(WAYS):
                made = _settings(far.ports, settings or {})
                async with Pipe.open(place, made, without=without, environ=environ) as pipe:
                    choose = taken if all_taken else domain_of
                    yield World(pipe, Client(pipe.port, self.tally, choose, octets), far)
                    await self.settle(pipe)
                self.complaints += pipe.crashes()

    async def settle(self, pipe: Pipe) -> None:
        """Wait until nothing is open, as long as patience lasts, and note what is still queued."""
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
