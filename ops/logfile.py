"""A large log, searched a bounded part at a time: what is newest first, what came last, or from a moment on.

Lines stand in a log in the order of time but for what several processes wrote within seconds of each other (`SLACK`),
so that a moment is found by halving. A search stops at its `Bounds`, and says where and when it got to, so that another
one goes on there. All here blocks: call it in a thread. Raises OSError for a file that cannot be read, and `Replaced`
for one that is another than when the search began.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from ops.search import MARKS, Wanted, bare, moment_of
from pipeline.config import Config

Event = dict[str, Any]

SLACK = timedelta(minutes=1)
BLOCK = 1 << 20  # octets that are read at once
LONGEST = 16 << 20  # octets of a line: what is longer is passed over
_MARKS = re.compile("|".join(map(re.escape, MARKS)).encode())


class Replaced(Exception):  # noqa: N818 - a state of the world, not a fault in the program
    """The log is another file now."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one search may cost: seconds, octets, and how many messages or events it gives."""

    seconds: float = 2.0
    octets: int = 2 << 30
    most: int = 50


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found, newest or oldest first as asked; how far it went, and where to go on (empty: nothing is left)."""

    events: tuple[Event, ...]
    reached: datetime | None
    cursor: str


def source(config: Config) -> tuple[Path | None, str]:
    """Give the file that events can be read from, or say why there is none."""
    if config.log.file is None:
        return None, "No log file is configured (log.file)."
    if config.log.format != "json":
        return None, "The log file is written as text (log.format), which cannot be read here."
    return config.log.file, ""


def last(path: Path, word: str, fits: Callable[[Event], bool], most: int, reach: int) -> list[Event]:
    """Find the last events that hold a word and fit, newest first, in so many octets at the end."""
    needle, found = re.compile(re.escape(word.encode())), list[Event]()
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        floor = max(0, end - reach)
        while end > floor and len(found) < most:
            end, block = _before(file, end)
            events = (_event(line) for _, line in reversed(list(_hits(block, needle, lower=False))))
            found += [event for event in events if event is not None and fits(event)]
    return found[:most]


def newest(path: Path, wanted: Wanted, cursor: str = "", bounds: Bounds = Bounds()) -> Looked:
    """Find the last events that name wanted messages (`ops.search`), newest first, of so many messages."""
    with path.open("rb") as file:
        size, name = _known(file, cursor)
        end = _place(cursor) if cursor else _near(file, size, _ceiling(wanted.until), after=True)
        needle, messages = _needle(wanted), set[str]()
        found: list[Event] = []
        limit, first, floor = time.monotonic() + bounds.seconds, end, _floor(wanted.since)
        reached: datetime | None = None
        while end > 0 and first - end < bounds.octets and time.monotonic() < limit:
            start, block = _before(file, end)
            for at, line in reversed(list(_hits(block, needle))):
                event = _event(line)
                if event is None or not event.get("message") or not wanted.fits(event):
                    continue
                if len(messages) == bounds.most and event["message"] not in messages:
                    return Looked(tuple(found), moment_of(event), f"{name}-{start + at + len(line)}")
                messages.add(str(event["message"]))
                found.append(event)
            end = start
            reached = _first_time(block) or reached
            if reached is not None and reached < floor:
                return Looked(tuple(found), reached, "")
        return Looked(tuple(found), reached, f"{name}-{end}" if end else "")


def onwards(
    path: Path, word: str, fits: Callable[[Event], bool], since: datetime, cursor: str = "",
    bounds: Bounds = Bounds(), until: Callable[[Event], bool] = lambda _: False,
) -> Looked:  # fmt: skip
    """Find the events that hold a word and fit, oldest first, from a moment on, or from a cursor.

    It ends when the log has gone on for a while (`SLACK`) after an event for which `until` holds.
    """
    with path.open("rb") as file:
        size, name = _known(file, cursor)
        start = _place(cursor) if cursor else _near(file, size, _floor(since), after=False)
        limit, first, needle = time.monotonic() + bounds.seconds, start, re.compile(re.escape(word.encode()))
        found: list[Event] = []
        reached: datetime | None = None
        over: datetime | None = None
        while start < size and start - first < bounds.octets and time.monotonic() < limit:
            block = _after(file, start)
            for at, line in _hits(block, needle, lower=False):
                event = _event(line)
                if event is None or not fits(event):
                    continue
                if len(found) == bounds.most:
                    return Looked(tuple(found), moment_of(event), f"{name}-{start + at}")
                found.append(event)
                over = moment_of(event) if until(event) else over
            start += len(block)
            reached = _last_time(block) or reached
            if over is not None and reached is not None and reached > over + SLACK:
                return Looked(tuple(found), reached, "")
        return Looked(tuple(found), reached, f"{name}-{start}" if start < size else "")


def begins(path: Path) -> datetime | None:
    """Give the time of the first event of a log."""
    with path.open("rb") as file:
        return _first_time(file.read(BLOCK))


def is_cursor(text: str) -> bool:
    """Tell whether a text can be where a search goes on."""
    return re.fullmatch(r"[0-9]{1,20}-[0-9]{1,16}", text) is not None


def _known(file: BinaryIO, cursor: str) -> tuple[int, str]:
    status = os.fstat(file.fileno())
    name = str(status.st_ino)
    if cursor and (cursor.partition("-")[0] != name or _place(cursor) > status.st_size):
        raise Replaced("the log is another file now, such as when it was rotated: search anew")
    return status.st_size, name


def _place(cursor: str) -> int:
    return int(cursor.partition("-")[2])


def _floor(since: datetime) -> datetime:
    return since - SLACK if since.year > 1 else since


def _ceiling(until: datetime) -> datetime:
    return until + SLACK if until.year < 9999 else until


def _needle(wanted: Wanted) -> re.Pattern[bytes]:
    """Make what each wanted line holds, in lower case, as JSON writes it; most lines are not even split off for it."""
    text = wanted.recipient or wanted.message_id or wanted.sender or wanted.domain
    name = bare(text)
    return re.compile(re.escape(orjson.dumps(name)[1:-1].lower())) if name else _MARKS


def _hits(block: bytes, needle: re.Pattern[bytes], *, lower: bool = True) -> Iterator[tuple[int, bytes]]:
    """Give the lines of a block that hold something, each with its place."""
    sought = block.lower() if lower else block
    end = -1
    for match in needle.finditer(sought):
        if match.start() < end:
            continue
        start = block.rfind(b"\n", 0, match.start()) + 1
        end = block.find(b"\n", match.start()) + 1 or len(block)
        line = block[start:end]
        if not lower or _MARKS.search(line):
            yield start, line


def _event(line: bytes) -> Event | None:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) else None


def _before(file: BinaryIO, end: int) -> tuple[int, bytes]:
    """Read the lines that end before a place, and where they begin."""
    size = BLOCK
    while True:
        start = max(0, end - size)
        file.seek(start)
        block = file.read(end - start)
        cut = 0 if start == 0 else block.find(b"\n") + 1
        if (cut or start == 0) and cut < len(block):
            return start + cut, block[cut:]
        if size >= LONGEST:
            return start, b""
        size *= 4


def _after(file: BinaryIO, start: int) -> bytes:
    """Read whole lines from a place on; of a line that is too long, a part, in which nothing will be found."""
    file.seek(start)
    block = file.read(BLOCK)
    cut = block.rfind(b"\n") + 1
    return block[:cut] if cut else block + file.readline(LONGEST)


def _near(file: BinaryIO, size: int, moment: datetime, *, after: bool) -> int:
    """Find a place with nothing before it (or, with `after`, behind it) that is of that moment."""
    low, high = 0, size
    while high - low > BLOCK:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline(LONGEST)
        place = file.tell()
        known = _first_time(file.read(BLOCK))
        if known is None or place >= high:  # it cannot be told: look at more than is needed
            break
        if known < moment:
            low = place
        else:
            high = place
    return high if after else low


def _first_time(block: bytes) -> datetime | None:
    return _time_of(block.split(b"\n", 20)[:20])


def _last_time(block: bytes) -> datetime | None:
    return _time_of(reversed(block.rsplit(b"\n", 20)[1:]))


def _time_of(lines: Any) -> datetime | None:
    for line in lines:
        event = _event(line)
        moment = moment_of(event) if event is not None else None
        if moment is not None:
            return moment
    return None
