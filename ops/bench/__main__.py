"""Run the benchmarks: `python -m ops.bench [NAME ...] [--json FILE]`; without a name, all that are short.

They run one after the other and print one table. What a machine lacks leaves out that benchmark alone, with one
sentence; a benchmark that fails ends the command with status 1 after the others. Nothing leaves loopback.
"""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ops.bench.figures import Figure, NotHere, as_json, machine, show
from ops.lab.demo import DemoError

ASKED = ("million",)  # these take long, and run if they are named
NAMES = ("pieces", "dnssec", "listener", "client", "latency", "throughput", "memory", "report")
_WIDTH = 150


def run(names: Sequence[str], said: Console) -> tuple[dict[str, Sequence[Figure]], bool]:
    """Run the named benchmarks; gives their figures, and whether one failed. What happens is told on `said`."""
    results: dict[str, Sequence[Figure]] = {}
    failed = False
    for name in names:
        started = time.monotonic()
        try:
            results[name] = importlib.import_module(f"ops.bench.{name}").run()
        except NotHere as error:
            said.print(f"{name}: left out: {error}", highlight=False, soft_wrap=True)
        except (DemoError, RuntimeError, OSError) as error:
            failed = True
            said.print(f"{name}: failed: {error}", style="red", highlight=False, soft_wrap=True)
        else:
            said.print(f"{name}: {time.monotonic() - started:.0f} s", highlight=False)
    return results, failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench", description="Benchmarks of danepipe on this machine.")
    parser.add_argument(
        "name",
        nargs="*",
        help=f"which to run: {', '.join(NAMES)}, {', '.join(ASKED)}; the first {len(NAMES)} if none is named",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file as well")
    given = parser.parse_args(arguments)
    for name in given.name:
        if name not in NAMES + ASKED:
            parser.error(f"there is no benchmark {name!r}, there are: {', '.join(NAMES + ASKED)}")
    about = machine()
    results, failed = run(given.name or NAMES, Console(stderr=True))
    out = Console()
    show(out if out.is_terminal else Console(width=_WIDTH), about, results)
    if given.json is not None:
        given.json.write_text(json.dumps(as_json(about, results), indent=2) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
