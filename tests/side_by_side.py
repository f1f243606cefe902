"""The whole suite as several pytest processes at once: `make test` runs this, `python -m pytest` runs the same in one.

Most of what takes long waits: for a lease to end, for a Redis to come back, for a second attempt. So one process more than
there are processors runs at any time, each over a part of the suite: a directory of tests, or one journey. The slowest parts
come first; which they are is only an estimate. Parts share nothing but the machine: each has a Redis of its own, and
`tests.needs.free_port` gives no port to two of them. What a part says is shown in one piece when it ends. The exit status
is 0 if all tests of all parts passed.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

TESTS = Path(__file__).parent
_APART = {"journeys"}  # directories whose modules are parts of their own
_SLOW = [
    "ops",
    "journeys/test_chaos.py",
    "dnssec",
    "delivery",
    "journeys/test_lying_resolver.py",
    "journeys/test_events.py",
    "pipeline",
    "journeys/test_kill.py",
]  # half a minute and more
_LANES = len(os.sched_getaffinity(0)) + 1


def parts() -> Iterator[str]:
    """Give the parts of the suite: whatever holds tests belongs to one."""
    found = {path.relative_to(TESTS).parts for path in TESTS.rglob("test_*.py")}
    names = {"/".join(path[: 2 if path[0] in _APART else 1]) for path in found}
    yield from sorted(names, key=lambda name: (_SLOW.index(name) if name in _SLOW else len(_SLOW), name))


def ran(part: str) -> tuple[str, int, str]:
    """Run one part; give its name, pytest's exit status and what it said."""
    command = [sys.executable, "-m", "pytest", str(TESTS / part)]
    done = subprocess.run(
        command, cwd=TESTS.parent, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", check=False,
    )  # fmt: skip
    return part, done.returncode, done.stdout


def main() -> int:
    """Run all parts and say how they ended."""
    began, failed = time.monotonic(), []
    with ThreadPoolExecutor(_LANES) as lanes:
        runs = [lanes.submit(ran, part) for part in parts()]
        try:
            for run in as_completed(runs):
                part, status, said = run.result()
                _say(f"tests/{part}: {'passed' if status == 0 else f'FAILED, status {status}'}\n{said}")
                failed += [part] if status else []
        except KeyboardInterrupt:  # the terminal has told the parts that run; no others begin
            lanes.shutdown(cancel_futures=True)
            return 130
    outcome = f"FAILED: {', '.join(failed)}" if failed else "all passed"
    _say(f"{len(runs)} parts of the suite in {time.monotonic() - began:.0f} s: {outcome}")
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
