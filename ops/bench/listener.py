"""Our SMTP listener beside aiosmtpd, under the same load: `python -m ops.bench.listener`.

Each server is a process of its own and does the same with a message: read the addresses, add the Received field, keep
nothing. The load comes from this process over a few connections, command by command; ours is measured once more with
pipelining, which aiosmtpd does not offer. Rounds alternate, so that a busy machine slows all alike; medians are
printed, and the processor time of the server per message, which other work on the machine disturbs least.
"""

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any

import click

from ops.bench.figures import Figure, NotHere, median
from ops.bench.load import Load, send
from pipeline import log
from pipeline.accept.address import parse_address
from pipeline.accept.door import RecipientRequest, Submission, prepare
from pipeline.accept.smtp import Listener, ListenerSettings
from stages.message import MessageId, Origin

HOST = "bench.example"
READ_LIMIT = 64
Serve = Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class Round:
    """What one round took: seconds by the clock, and processor seconds of the server."""

    seconds: float
    processor: float


def _keep(submission: Submission) -> MessageId:
    """Do what the way in does before anything is stored."""
    identifier = MessageId("BENCH")
    prepare(submission, HOST, identifier, datetime.now(UTC))
    return identifier


def serve_ours(pipe: Connection) -> None:
    """Run our listener until told to stop."""

    async def submit(submission: Submission) -> MessageId:
        return _keep(submission)

    async def main() -> None:
        log.configure(role="accept", level="warning")
        listener = Listener(ListenerSettings(port=0, hostname=HOST), submit)
        await listener.start()
        await _until_told(pipe, listener.port)
        await listener.close()

    asyncio.run(main())


def serve_aiosmtpd(pipe: Connection) -> None:
    """Run aiosmtpd until told to stop."""
    # It is installed for the tests and for this comparison only.
    from aiosmtpd.smtp import SMTP, Envelope, Session  # noqa: PLC0415

    class Handler:
        async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
            content: Any = envelope.content
            recipients = tuple(RecipientRequest(parse_address(text)) for text in envelope.rcpt_tos)
            peer: Any = session.peer
            origin = Origin("smtp", peer[0], session.host_name or "", "ESMTP")
            identifier = _keep(Submission(parse_address(envelope.mail_from or ""), recipients, origin, content))
            return f"250 2.0.0 queued as {identifier}"

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(Handler(), hostname=HOST, enable_SMTPUTF8=True, loop=loop), "127.0.0.1", 0
        )
        await _until_told(pipe, server.sockets[0].getsockname()[1])
        server.close()

    asyncio.run(main())


async def _until_told(pipe: Connection, port: int) -> None:
    """Say where we listen; then, for each word that comes, tell the processor time so far. An empty one ends it."""
    pipe.send(port)
    while await asyncio.to_thread(pipe.recv):
        pipe.send(time.process_time())


def measure(serve: Serve, load: Load, *, pipelined: bool = False) -> Round:
    """Start a server, warm it up, send the load, stop it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(there,))
    server.start()
    try:
        if not here.poll(READ_LIMIT):
            raise RuntimeError("the server did not start")
        port = here.recv()
        asyncio.run(send(port, replace(load, messages=load.connections * 5), pipelined=pipelined))
        here.send("before")
        before = here.recv()
        start = time.perf_counter()
        asyncio.run(send(port, load, pipelined=pipelined))
        seconds = time.perf_counter() - start
        here.send("after")
        return Round(seconds, here.recv() - before)
    finally:
        here.send("")
        server.join(READ_LIMIT)


def compare(load: Load, rounds: int) -> list[tuple[str, float, float]]:
    """Measure each way in turn; gives name, messages a second and server milliseconds per message (medians)."""
    ways: list[tuple[str, Serve, bool]] = [
        ("danepipe", serve_ours, False), ("aiosmtpd", serve_aiosmtpd, False), ("danepipe, pipelined", serve_ours, True),
    ]  # fmt: skip
    taken: dict[str, list[Round]] = {name: [] for name, _, _ in ways}
    for _ in range(rounds):
        for name, serve, pipelined in ways:
            taken[name].append(measure(serve, load, pipelined=pipelined))
    sent = load.sent
    return [
        (
            name,
            sent / median([one.seconds for one in results]),
            1000 * median([one.processor for one in results]) / sent,
        )
        for name, results in taken.items()
    ]


def run() -> list[Figure]:
    """Compare on a small load. Raises `NotHere` without aiosmtpd."""
    if find_spec("aiosmtpd") is None:
        raise NotHere("the comparison needs aiosmtpd, which `make test` installs")
    figures = []
    for name, rate, cost in compare(Load(2000, 20, 10_000), 3):
        figures.append(Figure(f"{name}, rate", rate, "messages/s"))
        figures.append(Figure(f"{name}, processor of the server", cost, "ms/message"))
    return figures


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--size", type=int, default=10_000, help="octets of a message")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rows = compare(Load(given.messages, given.connections, given.size), given.rounds)
    other = next(row for row in rows if row[0] == "aiosmtpd")
    click.echo(f"{'listener':22}{'messages/s':>12}{'CPU ms each':>14}{'speed':>8}{'CPU':>8}")
    for name, rate, cost in rows:
        click.echo(f"{name:22}{rate:12.0f}{cost:14.3f}{rate / other[1]:7.2f}x{cost / other[2]:7.2f}x")


if __name__ == "__main__":
    main()
