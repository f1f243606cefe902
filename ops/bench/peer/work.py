"""The work that both do: so many messages of one recipient each, over some connections, to some domains in turn.

`feed` sends it and tells when the first and the last 250 came. Every message has all the header fields that a server
would otherwise add. Raises RuntimeError when a message is not taken.
"""

import asyncio
import time
from dataclasses import dataclass
from email.utils import formatdate

from ops.bench.load import Client
from ops.bench.text import prose

SENDER = "sender@sender.bench"


def domain(number: int) -> str:
    """Name a destination."""
    return f"d{number}.bench"


@dataclass(frozen=True, slots=True)
class Work:
    """How much is sent: messages in all, connections at a time, octets of a message, destinations in turn."""

    messages: int
    domains: int
    connections: int = 20
    size: int = 10_240


@dataclass(frozen=True, slots=True)
class Accepted:
    """When the first and the last message were accepted, in seconds of the monotonic clock."""

    first: float
    last: float


def content(number: int, size: int) -> bytes:
    """Write a message as it goes over the wire after DATA, with the final dot."""
    head = (
        f"From: <{SENDER}>\r\nTo: undisclosed-recipients:;\r\nSubject: bench\r\nDate: {formatdate()}\r\n"
        f"Message-ID: <{number}.{time.monotonic_ns()}@sender.bench>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
    ).encode()
    return head + prose(size - len(head)) + b".\r\n"


async def feed(port: int, work: Work) -> Accepted:
    """Send all of it, each connection the next message as soon as its last one is accepted."""
    numbers = iter(range(work.messages))
    times: list[float] = []

    async def converse() -> None:
        client = await Client.open(port)
        for number in numbers:
            await client.offer(SENDER, f"user@{domain(number % work.domains)}")
            await client.hand_over(content(number, work.size))
            times.append(time.monotonic())
        await client.close()

    await asyncio.gather(*(converse() for _ in range(work.connections)))
    return Accepted(min(times), max(times))
