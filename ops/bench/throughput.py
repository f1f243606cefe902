"""How fast a whole `danepipe up` takes mail in, and how fast it delivers, to one and to 100 domains with DANE.

The load and the far end (`ops.bench.sink`) share the machine with danepipe, so rates say what this machine does with
all three; the processor time per message is danepipe's alone, with its Redis. DANE is complete: signed zones, Unbound,
a certificate for each host that a TLSA record names. "Accept" ends with our last 250, "end to end" with the sink's.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from ops.bench.figures import Figure
from ops.bench.load import Load, send
from ops.bench.processes import processor_seconds, tree_use
from ops.bench.sink import Place, Sink, sink
from ops.bench.stand import Patience, Stand, in_lab
from ops.lab.scenario import Behaviour, Host, Scenario

LOAD = Load(messages=3000, connections=20, size=10_000)
DOMAINS = (1, 100)


async def _end_to_end(stand: Stand, far: Sink, load: Load) -> tuple[float, float, float, int]:
    """Send a load and wait for its end; gives seconds to accept, seconds in all, processor seconds, connections."""
    before, spent = far.taken(), processor_seconds(tree_use(stand.pid))
    started = time.monotonic()
    await send(stand.port, load)
    accepted = time.monotonic() - started
    patience = Patience(180, "not all messages arrived")
    while (taken := far.taken()).messages < before.messages + load.sent:
        patience.check()
        await asyncio.sleep(0.02)
    seconds = taken.last - started
    used = processor_seconds(tree_use(stand.pid)) - spent
    return accepted, seconds, used, taken.connections - before.connections


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
            accept, seconds, used, connections = await _end_to_end(stand, far, replace(load, recipients=recipients))
    name = f"{domains} domain{'s' if domains > 1 else ''}"
    return [
        Figure(
            f"{name}, accept", load.sent / accept, "messages/s", f"{load.connections} connections, while delivering"
        ),
        Figure(
            f"{name}, end to end", load.sent / seconds, "messages/s", f"{load.sent} messages, {connections} connections"
        ),
        Figure(f"{name}, processor", 1000 * used / load.sent, "ms/message", "danepipe and its Redis"),
    ]


async def measure(load: Load = LOAD, domains: Sequence[int] = DOMAINS) -> list[Figure]:
    """Measure to each number of domains in turn."""
    return [figure for number in domains for figure in await _to(number, load)]


def run() -> list[Figure]:
    """Measure. Raises `NotHere` without Redis, Unbound or /proc."""
    return asyncio.run(measure())
