"""What our SMTP client costs: processor time of this process for a message, the far end in a process of its own.

Three ways: messages over TLS connections that stand, with pipelining and without, and one message over a connection of
its own, from the connect to QUIT, its certificate held against a TLSA record. Rounds alternate, so that a busy machine
slows all alike; medians count.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from delivery.content import normal
from delivery.opening import Door, Terms, open_session
from delivery.session import Session
from delivery.settings import SmtpSettings
from ops.bench.figures import Figure, median
from ops.bench.load import Load
from ops.bench.pieces import HOST, sample
from ops.bench.sink import Place, sink
from ops.lab.certificates import CertificateAuthority, tlsa_data
from ops.lab.scenario import Certificate, Tlsa
from stages.plan import DaneDemand
from stages.policy import DanePolicy
from stages.records import TLSA

ADDRESS = "127.0.0.1"
KEPT, NEW, ROUNDS = Load(4000, 20, 10_000), Load(600, 20, 10_000), 5
_TERMS = Terms(SmtpSettings("client.example"), DanePolicy(), lambda: datetime.now(UTC))
_MESSAGE = sample()


async def opened(door: Door) -> Session:
    """Open a session. Raises RuntimeError where that fails."""
    session, attempt = await open_session(door, _TERMS)
    if session is None:
        raise RuntimeError(f"no session with {door.address}: {attempt.text}")
    return session


async def take(session: Session, content: bytes) -> None:
    """Hand a message over. Raises RuntimeError unless it is taken."""
    transaction = await session.transact(_MESSAGE, content)
    if transaction.data is None or transaction.data.code != 250:
        raise RuntimeError(f"a message was not taken: {transaction}")


async def kept(door: Door, load: Load) -> float:
    """Send a load over connections that stand; gives the seconds of processor for a message."""
    content = normal(load.message())

    async def feed(session: Session) -> None:
        for _ in range(load.each):
            await take(session, content)

    sessions = await asyncio.gather(*(opened(door) for _ in range(load.connections)))
    await asyncio.gather(*(take(session, content) for session in sessions))
    seconds = await _processor(asyncio.gather(*map(feed, sessions)))
    await asyncio.gather(*(session.quit() for session in sessions))
    return seconds / load.sent


async def new(door: Door, load: Load) -> float:
    """Send each message over a connection of its own, so many at a time; gives the seconds of processor for each."""
    content = normal(load.message())

    async def knock(times: int) -> None:
        for _ in range(times):
            session = await opened(door)
            await take(session, content)
            await session.quit()

    await knock(1)
    return await _processor(asyncio.gather(*(knock(load.each) for _ in range(load.connections)))) / load.sent


async def _processor(work: Awaitable[object]) -> float:
    before = time.process_time()
    await work
    return time.process_time() - before


def compare(kept_load: Load, new_load: Load, rounds: int) -> dict[str, float]:
    """Measure each way in turn; gives name and seconds of processor for a message (medians)."""
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="danepipe-bench-") as directory:
        identity = CertificateAuthority(Path(directory), datetime.now(UTC)).issue(HOST, Certificate())
        wanted = Tlsa()
        record = TLSA(wanted.usage, wanted.selector, wanted.mtype, tlsa_data(wanted, identity))
        places = [Place(ADDRESS, 0, str(identity.pem), pipelining=offered) for offered in (True, False)]
        with sink(places) as far:
            demand = DaneDemand(HOST, (record,), (HOST,))
            fast, slow = (Door(HOST, ADDRESS, port, demand) for port in far.ports)
            ways: list[tuple[str, Callable[[Door, Load], Awaitable[float]], Door, Load]] = [
                ("kept TLS connection, pipelined", kept, fast, kept_load),
                ("kept TLS connection, command by command", kept, slow, kept_load),
                ("new TLS connection, pipelined", new, fast, new_load),
            ]
            for _ in range(rounds):
                for name, way, door, load in ways:
                    taken.setdefault(name, []).append(asyncio.run(_run(way(door, load))))
    return {name: median(seconds) for name, seconds in taken.items()}


async def _run(work: Awaitable[float]) -> float:
    return await work


def run() -> list[Figure]:
    """Measure all."""
    return [Figure(name, 1000 * seconds, "ms/message") for name, seconds in compare(KEPT, NEW, ROUNDS).items()]
