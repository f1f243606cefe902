"""Clocks that can be set, one for each part: a preloaded library that is compiled when it is needed.

Raises `NotHere` where there is no C compiler or the platform knows no preloading.
"""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

from ops.bench.figures import NotHere

HOUR = 3600


class Clocks:
    """Compiles the library in a directory, and keeps the offset of each part there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._library = directory / "skew.so"
        compiler = shutil.which("cc")
        if compiler is None or sys.platform != "linux":
            raise NotHere("clocks that can be set need Linux and a C compiler (cc)")
        subprocess.run(  # noqa: S603 - the compiler of the system, and a file of ours
            [compiler, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(Path(__file__).with_name("skew.c"))],
            check=True,
        )

    def environ(self, part: str) -> dict[str, str]:
        """Give the variables under which a part has a clock of its own."""
        self.set(part, 0)
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._file(part))}

    def set(self, part: str, seconds: int) -> None:
        """Set the clock of a part so far ahead of the true time, or behind it."""
        self._file(part).touch()
        with self._file(part).open("r+b", buffering=0) as file:
            file.write(struct.pack("@q", seconds))

    def _file(self, part: str) -> Path:
        return self._directory / f"{part}.clock"
