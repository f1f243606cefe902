"""Programs in C for the parts of the comparison that stand around those who are measured.

They cost less than the same in Python, which leaves more of the machine to both servers; without a C compiler, or the
headers of OpenSSL, the parts in Python do.
"""

import shutil
import subprocess
from pathlib import Path


def compiled(name: str, directory: Path, *libraries: str) -> Path | None:
    """Compile the program of this name into a directory; None where this machine cannot."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = directory / name
    source = Path(__file__).with_name(f"{name}.c")
    done = subprocess.run(  # noqa: S603 - a compiler from PATH, our own source
        [compiler, "-O2", "-pthread", "-o", str(program), str(source), *(f"-l{one}" for one in libraries)],
        capture_output=True,
        check=False,
    )
    return program if done.returncode == 0 else None
