"""Faults of the resolver: it is dead, it lies, it is slow, in the middle of mail to signed domains of the lab.

Nothing may bounce or go out less safely for that. A certificate that does not match is reported as ever.
"""

import asyncio
import tempfile
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import cast

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rdatatype

from delivery.nameserver import Server
from ops.chaos.client import Client
from ops.chaos.pipe import Pipe, until
from ops.chaos.run import Run
from ops.chaos.tally import Delivery
from ops.lab.fates import reported_in
from ops.lab.scenario import SENDER
from ops.lab.scenarios import named
from ops.lab.world import Lab

GOOD, BAD, PLAIN = "ee-311.lab", "mismatch.lab", "tlsa-nodata.lab"
TIMEOUT = 1.0  # seconds for which danepipe waits for an answer
_PROOFS = {dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3}


class Manner(StrEnum):
    """How a resolver behaves."""

    HONEST = "honest"
    DEAD = "dead"
    LIES = "lies"  # it takes the signatures away, and says that all is authentic
    SLOW = "slow"  # it answers around the time when nobody waits any more


class Relay(asyncio.DatagramProtocol):
    """Stands before the resolver."""

    def __init__(self, run: Run, upstream: int) -> None:
        self.manner = Manner.HONEST
        self._run = run
        self._upstream = upstream
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question, or not."""
        if self.manner is not Manner.HONEST:
            self._run.faults += 1
        if self.manner is not Manner.DEAD:
            task = asyncio.create_task(self._answer(data, addr, self.manner))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, data: bytes, client: tuple[str, int], manner: Manner) -> None:
        if manner is Manner.SLOW:
            await asyncio.sleep(self._run.chance.uniform(0.5, 1.5) * TIMEOUT)
        with suppress(dns.exception.Timeout, OSError):
            response = await dns.asyncquery.udp(
                dns.message.from_wire(data), "127.0.0.1", port=self._upstream, timeout=3
            )
            if manner is Manner.LIES:
                response.flags |= dns.flags.AD
                for section in (response.answer, response.authority):
                    section[:] = [rrset for rrset in section if rrset.rdtype not in _PROOFS]
            if self._transport is not None:
                self._transport.sendto(response.to_wire(), client)


async def dead(run: Run) -> None:
    """The resolver answers nothing."""
    await resolver(run, Manner.DEAD)


async def lies(run: Run) -> None:
    """The resolver takes the proofs away and vouches for what is left."""
    await resolver(run, Manner.LIES)


async def slow(run: Run) -> None:
    """The resolver answers when danepipe is about to give up, or has."""
    await resolver(run, Manner.SLOW)


async def resolver(run: Run, *manners: Manner) -> None:
    """Let the resolver behave in these manners, one after the other, and well in between."""
    with tempfile.TemporaryDirectory(prefix="danepipe-chaos-") as name:
        place = Path(name)
        async with Lab.open(place / "lab", named("sender", "ee-311", "mismatch", "tlsa-nodata"), "local") as lab:
            relay = Relay(run, Server.parse(lab.resolver).port)
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: relay, ("127.0.0.1", 0))
            settings = lab.settings()
            server = f"127.0.0.1@{transport.get_extra_info('sockname')[1]}"
            settings["dns"] |= {"servers": [server], "canary_interval": "1s", "timeout": f"{TIMEOUT:.0f}s"}
            settings["queue"]["retry"] = ["6s"]  # an answer that is late once more puts nothing off for an hour
            run.look = lambda: _look(run, lab)
            async with Pipe.open(place, settings) as pipe:
                for number, manner in enumerate(manners):
                    client = Client(pipe.port, run.tally, _domain, sender=SENDER, batch=number)
                    await _one(run, client, pipe, relay, manner)
                await run.settle(pipe)
            run.complaints += pipe.crashes()
            transport.close()
            run.expect("mail went to a host whose certificate does not match", true=not lab.received(BAD))
            clear = [one for domain in (GOOD, PLAIN) for one in lab.received(domain) if not one.tls]
            run.expect(f"{len(clear)} messages went out without TLS", true=not clear)


def _domain(number: int) -> str:
    return (GOOD, BAD, PLAIN)[number % 3]


async def _one(run: Run, client: Client, pipe: Pipe, relay: Relay, manner: Manner) -> None:
    share = max(3, run.size.some // 12)

    def arrived() -> bool:
        run.look()
        return bool(run.tally.of(client.name(0)).deliveries)

    await client.send(share, rate=100)
    await until(arrived, 60, "no mail arrives")
    relay.manner = manner
    await client.send(2 * share, rate=2 * share / run.size.pause, first=share)
    await asyncio.sleep(run.size.pause)
    relay.manner = Manner.HONEST
    await client.send(share, rate=100, first=3 * share)
    await until(lambda: _may_go_on(pipe), run.size.patience, "the resolver is not believed again")
    # what is in the hands of a worker, or is settled in this moment, is not moved: then once more
    await until(lambda: pipe.command("queue", "retry", "--all"), run.size.patience, "mail cannot be tried again")


def _may_go_on(pipe: Pipe) -> bool:
    """Tell whether the last word on the resolver is that it is believed."""
    last: dict[int, str] = {}
    for event in pipe.events("resolver.suspended", "resolver.restored"):
        last[event["pid"]] = event["event"]
    return all(word == "resolver.restored" for word in last.values())


def _look(run: Run, lab: Lab) -> None:
    """Count what the hosts of the lab have. They keep every promise, so any second copy is one too many."""
    found: dict[str, list[Delivery]] = {}
    for domain in (GOOD, BAD, PLAIN):
        for message in lab.received(domain):
            for recipient in message.recipients:
                at = message.at.timestamp()
                found.setdefault(recipient.partition("@")[0], []).append(Delivery(at, at, at))
    for name, deliveries in found.items():
        run.tally.of(name).deliveries = deliveries
    reports: dict[str, list[Delivery]] = {}
    for message in lab.received("sender.lab"):
        for recipient in reported_in([message]):
            at = message.at.timestamp()
            reports.setdefault(recipient.partition("@")[0], []).append(Delivery(at, at, at))
    for name, deliveries in reports.items():
        run.tally.of(name).reports = deliveries
