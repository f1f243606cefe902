"""The whole suite as several pytest processes at once: `make test` runs this, `python -m pytest` runs the same in one.

Most of what takes long waits: for a lease to end, for a Redis to come back, for a second attempt. So as many processes as
there are processors run at any time, and two at least, each over a part of the suite: a directory of tests, or some modules
of a large one.
Parts share nothing but the machine: each has a Redis of its own, and `tests.needs.free_port` gives no port to two of them.
What a part says is shown in one piece when it ends. The exit status is 0 if all tests of all parts passed.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import zip_longest
from pathlib import Path

TESTS = Path(__file__).parent
_LANES = max(2, len(os.sched_getaffinity(0)))
_DEALT = {"journeys": 4, "ops": 7}  # directories whose modules are dealt out to so many parts
_LONG = {"dnssec", "delivery", "pipeline"}  # those that take a minute and more

Part = Sequence[Path]


def parts() -> Sequence[Part]:
    """Give the parts of the suite: whatever holds tests belongs to one. What waits comes in turn with what works."""
    modules: dict[str, set[Path]] = {}
    for path in TESTS.rglob("test_*.py"):
        modules.setdefault(path.relative_to(TESTS).parts[0], set()).add(path)
    dealt = [[sorted(modules[name])[start::heaps] for start in range(heaps)] for name, heaps in _DEALT.items()]
    large = [part for turn in zip_longest(*dealt) for part in turn if part]
    whole = {name: (TESTS / name,) for name in sorted(modules.keys() - _DEALT.keys())}
    long = [whole.pop(name) for name in sorted(_LONG & whole.keys())]
    return [*large[:2], *long, *large[2:], *whole.values()]


def ran(part: Part) -> tuple[str, int, str]:
    """Run one part; give its name, pytest's exit status and what it said."""
    names = [str(path.relative_to(TESTS.parent)) for path in part]
    command = [sys.executable, "-m", "pytest", *names]
    done = subprocess.run(
        command, cwd=TESTS.parent, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", check=False,
    )  # fmt: skip
    return " ".join(names), done.returncode, done.stdout


def main() -> int:
    """Run all parts and say how they ended."""
    began, failed = time.monotonic(), []
    with ThreadPoolExecutor(_LANES) as lanes:
        runs = [lanes.submit(ran, part) for part in parts()]
        try:
            for run in as_completed(runs):
                part, status, said = run.result()
                _say(f"{part}: {'passed' if status == 0 else f'FAILED, status {status}'}\n{said}")
                failed += [part] if status else []
        except KeyboardInterrupt:  # the terminal has told the parts that run; no others begin
            lanes.shutdown(cancel_futures=True)
            return 130
    outcome = f"FAILED: {'; '.join(failed)}" if failed else "all passed"
    _say(f"{len(runs)} parts of the suite in {time.monotonic() - began:.0f} s: {outcome}")
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
