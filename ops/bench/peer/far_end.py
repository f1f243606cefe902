"""The far end: `sink.c` where a C compiler and the headers of OpenSSL are there, else `ops.bench.sink`.

A new connection costs the one in C less, which leaves more of the machine to those who are measured. Both show one
certificate at port 25 of every address, and say how much they took.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ops.bench.peer.compiled import compiled
from ops.bench.sink import Place, Sink, Taken, sink

PORT = 25
_ANYWHERE = "0.0.0.0"
_THREADS = 2


@dataclass(frozen=True, slots=True)
class _InC:
    """The running program, asked through its standard input."""

    ask: IO[str]
    answer: IO[str]

    def taken(self) -> Taken:
        """Ask what it has taken. Raises RuntimeError if it has ended."""
        self.ask.write("\n")
        self.ask.flush()
        counts = self.answer.readline().split()
        if len(counts) != 3:
            raise RuntimeError("the far end has ended")
        messages, connections, last = map(int, counts)
        return Taken(messages, connections, last / 1e9)


FarEnd = Sink | _InC


@contextmanager
def far_end(directory: Path, pem: Path) -> Iterator[tuple[FarEnd, str]]:
    """Run it until the block ends; gives it with the name of its language. Raises RuntimeError if it does not start."""
    program = compiled("sink", directory, "ssl", "crypto")
    if program is None:
        with sink([Place(_ANYWHERE, PORT, str(pem))]) as running:
            yield running, "Python"
        return
    command = [str(program), _ANYWHERE, str(PORT), str(pem), str(_THREADS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            if process.stdin is None or process.stdout is None or process.stdout.readline() != "ready\n":
                raise RuntimeError("the far end did not start")
            yield _InC(process.stdin, process.stdout), "C"
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
