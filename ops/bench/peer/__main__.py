"""danepipe beside a tuned Postfix, on the same work: `python -m ops.bench.peer [--messages N] [--domains D ...]`.

It needs root, as Postfix does, and namespaces of its own (unshare(1)), in which everything runs: nothing leaves
loopback, no port of the machine is taken, and no process outlives the command. Where something is missing, one
sentence says so and the exit status is 2; it is 1 where a measurement fails.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from ops.bench.figures import NotHere, machine, machine_line
from ops.bench.peer.inside import JOB, RESOLV_CONF, RUNS, Job
from ops.bench.peer.meter import control_group
from ops.bench.peer.postfix import find_postfix
from ops.bench.peer.runs import Run
from ops.bench.peer.table import rows, show
from ops.lab.unbound import NoUnbound, find_unbound
from pipeline.embedded import NoRedis, find_redis

DOMAINS = (1, 100, 1000, 10_000)
MESSAGES = 10_000
_MOST_DOMAINS = 60_000  # each has an address of its own in 127.0.0.0/8
_WIDTH = 110
_BUSY = "rates favour the server with more processes, so measure again when it does nothing else"
_ISOLATED = ("--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")


def command() -> list[str]:
    """Give the start of a command that runs isolated. Raises `NotHere` in one sentence where that cannot be."""
    if sys.platform != "linux":
        raise NotHere("needs Linux, whose namespaces keep it apart from the machine")
    if os.geteuid() != 0:
        raise NotHere("needs root, as Postfix starts only as root")
    unshare = shutil.which("unshare")
    if unshare is None:
        raise NotHere("needs unshare (Debian package util-linux), which is not on PATH")
    if not RESOLV_CONF.exists():
        raise NotHere(f"needs {RESOLV_CONF}, over which it mounts its own, unseen by others")
    find_postfix()
    try:
        find_unbound()
        find_redis()
    except (NoUnbound, NoRedis) as error:
        raise NotHere(str(error)) from error
    isolated = [unshare, *_ISOLATED]
    tried = subprocess.run([*isolated, sys.executable, "-c", ""], capture_output=True, text=True, check=False)  # noqa: S603
    if tried.returncode:
        raise NotHere(f"needs namespaces of its own, which this machine refuses: {tried.stderr.strip()}")
    return isolated


def measured(isolated: Sequence[str], job: Job, directory: Path) -> dict[str, Any]:
    """Run the job in a directory and read what it measured. Raises RuntimeError if it fails, which it has said."""
    (directory / JOB).write_text(json.dumps(asdict(job)), encoding="utf-8")
    inside = [*isolated, sys.executable, "-m", "ops.bench.peer.inside", str(directory)]
    if subprocess.run(inside, check=False).returncode:  # noqa: S603 - our own module
        raise RuntimeError("bench-peer did not measure everything")
    read: dict[str, Any] = json.loads((directory / RUNS).read_text(encoding="utf-8"))
    return read


def file_system(directory: Path) -> str:
    """Name the file system of a directory, as /proc/mounts does: on tmpfs, durability costs nothing."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    above = [(len(place), kind) for _, place, kind, *_ in mounts if directory.resolve().is_relative_to(place)]
    return max(above, default=(0, "an unknown file system"))[1]


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ops.bench.peer", description="danepipe beside a tuned Postfix, on the same work."
    )
    parser.add_argument("--domains", type=int, nargs="+", default=DOMAINS, metavar="D", help="destinations, in turn")
    parser.add_argument("--messages", type=int, default=MESSAGES, metavar="N", help="messages of each run")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="runs of each; medians are shown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all runs to this file as well")
    given = parser.parse_args(arguments)
    if min(*given.domains, given.messages, given.rounds) < 1 or max(given.domains) > _MOST_DOMAINS:
        parser.error(f"numbers are 1 or more, and there are at most {_MOST_DOMAINS:,} destinations")
    return given


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # on the way out everything is put away


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    given, said = _arguments(arguments), Console(stderr=True)
    signal.signal(signal.SIGTERM, _end)
    about = machine()
    try:
        isolated = command()
        with (
            tempfile.TemporaryDirectory(prefix="danepipe-bench-peer-") as name,
            control_group(f"danepipe-bench-peer-{os.getpid()}") as group,
        ):
            Path(name).chmod(0o755)  # Postfix's processes are no root, and must reach their queue
            job = Job(given.messages, given.domains, given.rounds, str(group or ""))
            disk = file_system(Path(name))
            result = measured(isolated, job, Path(name))
    except NotHere as error:
        said.print(f"bench-peer: {error}", highlight=False, soft_wrap=True)
        return 2
    except RuntimeError as error:
        said.print(str(error), style="red", highlight=False, soft_wrap=True)
        return 1
    if about["load"] > about["cores"] / 2:
        said.print(f"the machine was busy (load {about['load']}): {_BUSY}", highlight=False, soft_wrap=True)
    processor = "a control group" if group else "/proc"
    lines = rows([Run(**run) for run in result["runs"]])
    out = Console(width=_WIDTH)
    out.print(machine_line(about), highlight=False, soft_wrap=True)
    out.print(
        f"{given.messages:,} messages of 10 KB, 20 senders, rounds: {given.rounds}; files on {disk}, "
        f"far end in {result['far_end']}, processor time from {processor}",
        highlight=False,
        soft_wrap=True,
    )
    show(out, lines)
    if given.json is not None:
        whole = {
            "machine": about,
            "messages": given.messages,
            "rounds": given.rounds,
            "files_on": disk,
            **result,
            "table": lines,
        }
        given.json.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
