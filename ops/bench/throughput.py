"""How fast a whole `danepipe up` takes mail in, and how fast it delivers, to one and to 100 domains with DANE.

The load and the far end (`ops.bench.sink`) share the machine with danepipe, so rates say what this machine does with
all three; the processor time per message is danepipe's alone, with its Redis. DANE is complete: signed zones, Unbound,
a certificate for each host that a TLSA record names. "Accept" ends with our last 250, "end to end" with the sink's.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ops.bench.figures import Figure, median
from ops.bench.load import Load, send
from ops.bench.processes import processor_seconds, tree_use
from ops.bench.sink import Place, Sink, sink
from ops.bench.stand import Patience, Stand, in_lab
from ops.lab.scenario import Behaviour, Host, Scenario

LOAD = Load(messages=2000, connections=20, size=10_000)
ROUNDS = 3
DOMAINS = (1, 100)


@dataclass(frozen=True, slots=True)
class _Round:
    """Seconds until all is accepted, seconds until all is delivered, processor seconds, connections to the far end."""

    accepted: float
    delivered: float
    processor: float
    connections: float


async def _end_to_end(stand: Stand, far: Sink, load: Load) -> _Round:
    """Send a load and wait for its end."""
    before, spent = far.taken(), processor_seconds(tree_use(stand.pid))
    started = time.monotonic()
    await send(stand.port, load)
    accepted = time.monotonic() - started
    patience = Patience(180, "not all messages arrived")
    while (taken := far.taken()).messages < before.messages + load.sent:
        patience.check()
        await asyncio.sleep(0.02)
    used = processor_seconds(tree_use(stand.pid)) - spent
    return _Round(accepted, taken.last - started, used, taken.connections - before.connections)


async def _to(domains: int, load: Load) -> list[Figure]:
    host = Host(behaviour=Behaviour(listens=False))  # the sink listens in its place
    scenarios = [
        Scenario(f"fast-{number}", "a destination of the benchmark", hosts=(host,)) for number in range(domains)
    ]
    async with in_lab(scenarios, {"queue": {"retry": ["1s", "5s"]}}) as (lab, stand):
        places = [Place(one.address, lab.smtp_port, str(one.identity.pem)) for one in lab.placed]
        recipients = [f"user@{scenario.domain}" for scenario in scenarios]
        with sink(places) as far:
            await _end_to_end(stand, far, replace(load, messages=5 * load.connections, recipients=recipients[:1]))
            load = replace(load, recipients=recipients)
            rounds = [await _end_to_end(stand, far, load) for _ in range(ROUNDS)]
    accepted = median([one.accepted for one in rounds])
    delivered = median([one.delivered for one in rounds])
    used = median([one.processor for one in rounds])
    connections = median([one.connections for one in rounds])
    name = f"{domains} domain{'s' if domains > 1 else ''}"
    return [
        Figure(f"{name}, accept", load.sent / accepted, "messages/s", f"{load.connections} senders, while delivering"),
        Figure(
            f"{name}, end to end", load.sent / delivered, "messages/s",
            f"{ROUNDS} rounds of {load.sent}, {connections:.0f} connections each",
        ),
        Figure(f"{name}, processor", 1000 * used / load.sent, "ms/message", "danepipe and its Redis"),
    ]  # fmt: skip


async def measure(load: Load = LOAD, domains: Sequence[int] = DOMAINS) -> list[Figure]:
    """Measure to each number of domains in turn."""
    return [figure for number in domains for figure in await _to(number, load)]


def run() -> list[Figure]:
    """Measure. Raises `NotHere` without Redis, Unbound or /proc."""
    return asyncio.run(measure())
