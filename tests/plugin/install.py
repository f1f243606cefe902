"""Install distributions of a third party into a directory, as pip would find them: no network, nothing of ours changed."""

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parent / "distribution"


def install(target: Path) -> Path:
    """Build the plug-in and install it into a directory, which then must stand on the path of Python."""
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run([*command, "--target", str(target), str(SOURCE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def written(target: Path, group: str, *entries: str) -> Path:
    """Write the metadata of a distribution with entry points, and no module that they could be loaded from."""
    metadata = target / "written-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: written\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("\n".join([f"[{group}]", *entries, ""]))
    return target
