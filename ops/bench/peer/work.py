"""The work that both do: so many messages of one recipient each, over some connections, to some domains in turn.

`feed` sends it and tells when the first and the last 250 came. Every message has all the header fields that a server
would otherwise add. Raises RuntimeError when a message is not taken.
"""

import asyncio
import subprocess
import tempfile
import time
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

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


def content(size: int) -> bytes:
    """Write a message as it goes over the wire after DATA, with the final dot, but for its Message-ID."""
    head = (
        f"From: <{SENDER}>\r\nTo: undisclosed-recipients:;\r\nSubject: bench\r\nDate: {formatdate()}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
    ).encode()
    return head + prose(size - len(head)) + b".\r\n"


async def feed(port: int, work: Work, program: Path | None = None) -> Accepted:
    """Send all of it, each connection the next message as soon as its last one is accepted; by `feed.c` if given."""
    octets = content(work.size - 60)
    if program is not None:
        return await _by(program, port, work, octets)
    numbers = iter(range(work.messages))
    times: list[float] = []

    async def converse() -> None:
        client = await Client.open(port)
        for number in numbers:
            await client.offer(SENDER, f"user@{domain(number % work.domains)}")
            await client.hand_over(f"Message-ID: <{number}.{time.monotonic_ns()}@sender.bench>\r\n".encode() + octets)
            times.append(time.monotonic())
        await client.close()

    await asyncio.gather(*(converse() for _ in range(work.connections)))
    return Accepted(min(times), max(times))


async def _by(program: Path, port: int, work: Work, octets: bytes) -> Accepted:
    with tempfile.NamedTemporaryFile() as file:
        file.write(octets)
        file.flush()
        numbers = (port, work.messages, work.domains, work.connections)
        process = await asyncio.create_subprocess_exec(
            str(program), *map(str, numbers), SENDER, file.name, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        said, complaint = await process.communicate()
    if process.returncode:
        raise RuntimeError(complaint.decode(errors="replace").strip())
    first, last = (int(number) / 1e9 for number in said.split())
    return Accepted(first, last)
