"""`python -m ops.chaos [NAME ...] [--seed N] [--short] [--ledger FILE]`: hurt danepipe, and count every message.

Without a name, all faults run one after the other, a line for each. The seed is printed; with it a run has the same
faults at the same moments, as far as the machine keeps time. Status 1 if a message is lost, comes twice without a lost
250, or is delivered and reported; `--ledger` writes each message with its fate. Nothing leaves loopback.
"""

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ops.bench.figures import NotHere
from ops.chaos.run import FULL, SHORT, Run, Size
from ops.chaos.scenarios import ALL

SHOWN = 10  # messages that are shown when a promise was broken


async def run(name: str, seed: int, size: Size) -> Run:
    """Run one scenario. Raises `NotHere` where the machine lacks what it needs."""
    made = Run(size, seed)
    await ALL[name](made)
    return made


def tell(name: str, made: Run, seconds: float) -> bool:
    """Print what came of it; tells whether all promises were kept."""
    wrong = [f"{one.name} {one.id or '-'}: {one.fault()}: {one.as_json()}" for one in made.tally.faults()]
    for text in [*made.complaints, *wrong[:SHOWN]]:
        print(f"  WRONG {text}")  # noqa: T201 - a command's output
    if len(wrong) > SHOWN:
        print(f"  ... and {len(wrong) - SHOWN} more")  # noqa: T201
    kept = not wrong and not made.complaints
    outcome = f"{'kept' if kept else 'BROKEN'}, {seconds:.0f} s, {made.settling:.0f} of them after the last fault"
    print(f"{name}: {made.faults} faults: {made.tally.sum()}; {outcome}", flush=True)  # noqa: T201
    return kept


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ops.chaos", description="Hurt danepipe, and count every message.")
    parser.add_argument("name", nargs="*", help=f"which faults: {', '.join(ALL)}; all if none is named")
    parser.add_argument("--seed", type=int, help="repeat the run with this seed")
    parser.add_argument("--messages", type=int, help="messages of the scenarios that are about numbers")
    parser.add_argument("--short", action="store_true", help="the size that the tests have")
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="write every message and its fate to this file")
    given = parser.parse_args(arguments)
    for name in given.name:
        if name not in ALL:
            parser.error(f"there is no fault {name!r}, there are: {', '.join(ALL)}")
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    size = SHORT if given.short else FULL
    if given.messages:
        size = size.with_messages(given.messages)
    if given.ledger is not None:
        given.ledger.write_text("", encoding="utf-8")
    print(f"--seed {seed}", flush=True)  # noqa: T201
    kept = True
    for name in given.name or ALL:
        began = time.monotonic()
        try:
            made = asyncio.run(run(name, seed, size))
        except NotHere as error:
            print(f"{name}: left out: {error}", flush=True)  # noqa: T201
            continue
        except (RuntimeError, OSError, TimeoutError) as error:
            print(f"{name}: failed: {error!r}", flush=True)  # noqa: T201
            kept = False
            continue
        kept = tell(name, made, time.monotonic() - began) and kept
        if given.ledger is not None:
            made.tally.write(given.ledger, name)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
