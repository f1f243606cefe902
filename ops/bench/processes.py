"""What a tree of processes holds and has used, read from /proc: resident and proportional memory, processor time.

RSS counts shared pages in every process, PSS divides them, so PSS adds up and RSS overstates. A process that ends while
it is being read counts for nothing. Raises `NotHere` where there is no /proc.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.bench.figures import NotHere

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_UTIME, _STIME, _CUTIME, _CSTIME, _PARENT = 11, 12, 13, 14, 1  # fields after the name in stat, counted from the state
_TIMES = ((_UTIME, _STIME), (_CUTIME, _CSTIME))


@dataclass(frozen=True, slots=True)
class Use:
    """Memory in octets, processor time in seconds. `pss` is 0 where the kernel does not tell it.

    `ended` is the processor time of its children that have ended and were waited for, with theirs.
    """

    name: str
    rss: int
    pss: int
    processor: float
    ended: float


def stat_fields(text: str) -> tuple[str, list[str]]:
    """Split a line of /proc/PID/stat into the name (which may hold spaces and parentheses) and the fields after it."""
    head, _, rest = text.rpartition(")")
    return head.partition("(")[2], rest.split()


def sizes(text: str) -> dict[str, int]:
    """Read lines such as `Rss:  120 kB` (smaps_rollup, status) as octets; other lines are passed over."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        words = value.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdigit():
            found[key.strip()] = 1024 * int(words[0])
    return found


def descendants(root: int, parents: Mapping[int, int]) -> list[int]:
    """List a process and all below it, given the parent of each process."""
    tree = [root]
    for process in tree:  # grows while it is walked
        tree += sorted(child for child, parent in parents.items() if parent == process)
    return tree


def _parents() -> dict[int, int]:
    if not (PROC / "self" / "stat").exists():
        raise NotHere("needs Linux, whose /proc tells what processes use")
    parents = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            text = _read(entry / "stat")
            if text:
                parents[int(entry.name)] = int(stat_fields(text)[1][_PARENT])
    return parents


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended
        return ""


def use_of(process: int) -> Use | None:
    """Read what a process uses; None if it has ended."""
    stat, status = _read(PROC / str(process) / "stat"), sizes(_read(PROC / str(process) / "status"))
    if not stat or "VmRSS" not in status:
        return None
    name, fields = stat_fields(stat)
    pss = sizes(_read(PROC / str(process) / "smaps_rollup")).get("Pss", 0)
    own, ended = ((int(fields[user]) + int(fields[system])) / _TICKS for user, system in _TIMES)
    return Use(name, status["VmRSS"], pss, own, ended)


def tree_use(root: int) -> list[Use]:
    """Read what a process and all below it use."""
    return [use for use in map(use_of, descendants(root, _parents())) if use is not None]


def processor_seconds(uses: Iterable[Use]) -> float:
    """Add up the processor time."""
    return sum(use.processor for use in uses)
