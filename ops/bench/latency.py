"""Idle latency: from our 250 to the remote server's 250, one message at a time with pauses in between.

A real `danepipe up` sends into the lab: signed zones, a real Unbound, TLS hosts verified by DANE. The pauses are
random, so that whatever an idle process does by polling shows. The first series goes to one domain whose DNS answers
are known, the second to a new domain each time.
"""

import asyncio
import random
import time
from collections.abc import Sequence

from ops.bench.figures import Figure, spread
from ops.bench.load import Client
from ops.bench.stand import Patience, in_lab
from ops.lab.scenario import Scenario
from ops.lab.world import Lab

KNOWN, NEW = 40, 20
PAUSE = (0.2, 1.5)  # seconds between a delivery and the next message
WARM_UP = 3
_TEXT = b"Subject: bench\r\n\r\nA short message.\r\n.\r\n"


async def _one(lab: Lab, port: int, domain: str) -> tuple[float, float]:
    """Send one message; gives the seconds from our 250, and from the final dot, to the remote 250."""
    client = await Client.open(port)
    before = len(lab.inbox.messages)
    await client.offer("sender@sender.lab", f"user@{domain}")
    dot = time.time()
    await client.hand_over(_TEXT)
    accepted = time.time()
    patience = Patience(60, f"a message to {domain} did not arrive")
    while len(lab.inbox.messages) == before:
        patience.check()
        await asyncio.sleep(0.002)
    received = lab.inbox.messages[before]
    if not received.tls:
        raise RuntimeError(f"the message to {domain} came without TLS")
    await client.close()
    return received.at.timestamp() - accepted, received.at.timestamp() - dot


async def _series(lab: Lab, port: int, domains: Sequence[str]) -> list[tuple[float, float]]:
    pauses = random.Random(7)  # noqa: S311 - the same pauses in each run
    taken = []
    for domain in domains:
        await asyncio.sleep(pauses.uniform(*PAUSE))
        taken.append(await _one(lab, port, domain))
    return taken


async def measure(known: int = KNOWN, new: int = NEW) -> list[Figure]:
    """Measure both series."""
    scenarios = [Scenario(f"idle-{number}", "a destination of the benchmark") for number in range(new + 1)]
    first, *others = (scenario.domain for scenario in scenarios)
    async with in_lab(scenarios) as (lab, stand):
        for _ in range(WARM_UP):
            await _one(lab, stand.port, first)
        old = await _series(lab, stand.port, [first] * known)
        fresh = await _series(lab, stand.port, others)
    return [
        *spread("accepted to remote 250", [one for one, _ in old], f"{known} messages, DANE, one known domain"),
        *spread("final dot to remote 250", [both for _, both in old], "the same, with the write to disk"),
        *spread("accepted to remote 250, new domain", [one for one, _ in fresh], f"{new} domains, DNS not yet asked"),
    ]


def run() -> list[Figure]:
    """Measure. Raises `NotHere` without Redis or Unbound."""
    return asyncio.run(measure())
