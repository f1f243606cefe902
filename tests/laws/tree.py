"""The tree as the law tests read it: modules by name, and what each imports, from their text alone."""

import ast
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOORS = ("stages", "delivery", "pipeline", "ops")  # from the lowest: each may import itself and those before it


@dataclass(frozen=True, slots=True)
class Module:
    """A module: its dotted name, its file, its text, and its syntax tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def floor(self) -> str:
        """Give the package at the top of its name."""
        return self.name.partition(".")[0]

    def imports(self) -> Iterator[tuple[str, int]]:
        """Give each imported module (or attribute of one) with its line, wherever in the text it stands."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, node.lineno
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield f"{'.' * node.level}{node.module or ''}.{alias.name}", node.lineno


def _parsed(text: str) -> ast.Module:
    """Parse a module, and let nobody be collected meanwhile.

    What the collector finishes off in the middle of it upsets the parser of Python 3.11, which then raises SystemError.
    """
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        gc.enable()


@cache
def modules(*packages: str) -> tuple[Module, ...]:
    """Read all modules of the packages (the four floors if none is named)."""
    found = []
    for package in packages or FLOORS:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            text = path.read_text(encoding="utf-8")
            found.append(Module(name, path, text, _parsed(text)))
    return tuple(found)


def texts(*patterns: str) -> Iterator[Path]:
    """Give the files of the checkout that fit, without what tools and runs leave behind."""
    left_out = {".git", ".venv", "__pycache__", "var"}
    for pattern in patterns:
        for path in sorted(ROOT.rglob(pattern)):
            if path.is_file() and not left_out & set(path.relative_to(ROOT).parts):
                yield path
