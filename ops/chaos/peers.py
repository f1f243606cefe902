"""Faults of others: hosts that misbehave, clocks that are set, a worker that stands still for longer than its lease."""

import asyncio
import signal
from collections.abc import Sequence

from ops.chaos.farend import Gate, Trouble
from ops.chaos.pipe import Pipe, until
from ops.chaos.run import CLOCKS, Run
from ops.chaos.skew import HOUR
from ops.chaos.tally import STILL
from pipeline.spine import Spine
from stages.message import MessageId

IMPATIENT = {"smtp": {f"{what}_timeout": "1s" for what in ("greeting", "command", "data", "dot")}}
SHARES = {Trouble.DROP: 0.3, Trouble.STALL: 0.05, Trouble.RESET: 0.3}


async def drop(run: Run) -> None:
    """A host takes messages and drops the connection before its 250."""
    await _remote(run, Trouble.DROP)


async def stall(run: Run) -> None:
    """A host falls silent after any command, or after the message."""
    await _remote(run, Trouble.STALL)


async def reset(run: Run) -> None:
    """A host resets the connection in the middle of the content."""
    before = run.tally.copies()
    await _remote(run, Trouble.RESET)
    run.no_copies(before, "what was broken off was never whole")


async def _remote(run: Run, trouble: Trouble) -> None:
    async with run.world(IMPATIENT, octets=100_000) as world:
        before, world.far.trouble, world.far.share = world.far.befell, trouble, SHARES[trouble]
        await world.client.send(run.size.some, rate=1000)
        await until(lambda: world.far.befell >= before + run.size.some // 10, 60, "the far end has behaved")
        run.faults += world.far.befell - before
        world.far.trouble = Trouble.NONE


async def clocks(run: Run) -> None:
    """The clock of each part in turn, and of Redis, is set an hour ahead, an hour back, and right again."""
    before = run.tally.copies()
    async with run.world(all_taken=True, clocks=True) as world:
        if world.clocks is None:
            raise RuntimeError("the clocks of this world cannot be set")
        rate = run.size.some / (4 * run.size.beat)
        world.far.delay = 0.2  # so that every worker has something in hand
        sending = asyncio.create_task(world.client.send(run.size.some * 2, rate=rate))
        for part in CLOCKS:
            for hours in (1, -1):
                world.clocks.set(part, hours * HOUR)
                await asyncio.sleep(run.size.beat)
                world.clocks.set(part, 0)
                await asyncio.sleep(run.size.beat / 2)
                run.faults += 2
        await sending
    run.no_copies(before, "nobody died")


async def fenced(run: Run) -> None:
    """Two workers believe that they own one lease: one stands still, another takes its work, and the first goes on.

    It stands still once after the final dot, where a second copy cannot be helped, and once before, where it must not
    send the message any more. In both cases what it rules counts for nothing.
    """
    async with run.world(all_taken=True) as world:
        await world.pipe.parts["work2"].stop()
        after, before = Gate(), Gate()
        names = world.client.name(0), world.client.name(1)
        world.far.gates = {(".", names[0]): after, ("DATA", names[1]): before}
        await world.client.send(2, rate=100)
        async with asyncio.timeout(60):
            await after.reached.wait()
            await before.reached.wait()
        first = world.pipe.parts["work1"]
        first.signal(signal.SIGSTOP)
        run.faults += 1
        await world.pipe.parts["work2"].start()
        ids = [MessageId(run.tally.of(name).id) for name in names]
        async with world.pipe.spine() as spine:
            await until(lambda: _settled(spine, ids), run.size.patience, "nobody took the work over")
        after.open.set()
        before.open.set()
        first.signal(signal.SIGCONT)
        await until(lambda: len(_lost(world.pipe, first.pid)) >= len(names), 30, "the first worker still settles")
        run.expect("the work was taken over before the lease had ended", true=_held_for(run, names[0]) >= STILL)
    one, two = (run.tally.of(name) for name in names)
    run.expect(f"the message whose reply was lost arrived {len(one.deliveries)} times", true=len(one.deliveries) == 2)
    run.expect(f"the one that was not whole arrived {len(two.deliveries)} times", true=len(two.deliveries) == 1)


async def _settled(spine: Spine, ids: Sequence[MessageId]) -> bool:
    stored = [await spine.ledger.stored(one) for one in ids]
    return all(one is None or not one.open for one in stored)


def _held_for(run: Run, name: str) -> float:
    first, second = run.tally.of(name).deliveries[:2]
    return second.at - first.at


def _lost(pipe: Pipe, pid: int) -> list[str]:
    return [event["group"] for event in pipe.events("lease.lost") if event["pid"] == pid]
