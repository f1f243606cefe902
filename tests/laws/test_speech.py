"""The project speaks of itself alone: no path of one machine and no address of a package registry stands in it."""

import re

import pytest

from tests.laws.tree import ROOT, texts

# written in pieces, so that this file does not hold what it looks for
FORBIDDEN = {
    "a path of one machine": re.compile(r"/(?:wor" r"k|roo" r"t|hom" r"e)/\w"),
    "a package registry": re.compile(
        r"https?://[\w.-]*(?:pyp" r"i|pythonhost" r"ed|artifact" r"ory|nex" r"us)[\w.-]*|--index-" r"url[= ]\S"
    ),
}
READ = (
    "*.py",
    "*.md",
    "*.toml",
    "*.txt",
    "*.in",
    "*.json",
    "*.yml",
    "*.yaml",
    "*.lua",
    "*.conf",
    "*.service",
    "*Dockerfile",
    "Makefile",
    "run",
)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    """A file that names the machine it was written on is wrong on every other one."""
    pattern = FORBIDDEN[what]
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts(*READ)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert wrong == []
