"""Log files as they lie about: plain, gzip or zstd, and standard input.

What a file is compressed with is told by its first octets, not by its name. `sift` reads a file line by line and says
which lines are no events; with `out` it copies those that are. That is slow beside DuckDB, and used where a file has
such lines or cannot be read otherwise.
"""

import gzip
import io
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal

import orjson
import zstandard

Compression = Literal["none", "gzip", "zstd"]

FIRST = 5  # broken lines of a file whose numbers are told
LONGEST = 16 << 20  # octets of a line; what is longer is no event
_MAGIC: tuple[tuple[bytes, Compression], ...] = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))


class SourceError(Exception):
    """A log that cannot be read; the text names it and says why."""


@dataclass(slots=True)
class Broken:
    """Lines of a file that are no events: how many, and which are the first; `trouble` says why the file ends early."""

    file: str
    count: int = 0
    lines: list[int] = field(default_factory=list)
    trouble: str = ""


def compression(path: Path, name: str = "") -> Compression:
    """Tell by its first octets how a file, known by `name`, is compressed. Raises `SourceError`."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise SourceError(f"{name or path} cannot be read: {error.strerror}") from error
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), "none")


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a log for reading lines, whatever it is compressed with. Raises `SourceError`."""
    kind = compression(path)
    with path.open("rb") as raw:
        if kind == "gzip":
            with gzip.open(raw) as file:
                yield io.BufferedReader(file)
        elif kind == "zstd":
            with zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as file:
                yield io.BufferedReader(file)
        else:
            yield raw


def lines_of(path: Path) -> Iterator[str]:
    """Give the lines of a log as text. Raises `SourceError`, also where it ends early."""
    try:
        with opened(path) as file:
            for line in file:
                yield line.decode(errors="replace")
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        raise SourceError(f"{path} ends early: {error}") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def keep(stream: BinaryIO, path: Path) -> None:
    """Keep what a stream gives in a file, as it comes. Raises `SourceError` where it cannot be kept."""
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
    except OSError as error:
        raise SourceError(f"standard input cannot be kept in {path.parent}: {error.strerror}") from error


def sift(path: Path, name: str, *, out: BinaryIO | None = None) -> Broken:
    """Find the lines that are no events; with `out`, read to the end and copy the others. Raises `SourceError`."""
    broken = Broken(name)
    try:
        with opened(path) as file:
            for number, line in enumerate(_lines(file), start=1):
                if line is not None and not line.strip():
                    continue
                if line is not None and _is_event(line):
                    if out is not None:
                        out.write(line if line.endswith(b"\n") else line + b"\n")
                    continue
                broken.count += 1
                if len(broken.lines) < FIRST:
                    broken.lines.append(number)
                elif out is None:
                    break
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        broken.trouble = f"it ends early: {error}"
    except OSError as error:
        raise SourceError(f"{name} cannot be read: {error.strerror or error}") from error
    return broken


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Give each line with its end; None for one that is too long, which is never held as a whole."""
    while line := file.readline(LONGEST):
        if len(line) < LONGEST or line.endswith(b"\n"):
            yield line
            continue
        while (line := file.readline(LONGEST)) and not line.endswith(b"\n"):
            pass
        yield None


def _is_event(line: bytes) -> bool:
    try:
        event = orjson.loads(line)
        return isinstance(event, dict) and bool(event.get("event")) and _is_time(str(event.get("timestamp")))
    except orjson.JSONDecodeError:
        return False


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
