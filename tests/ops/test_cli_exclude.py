"""`danepipe exclude` on a real Redis: entries of the file and of the command count alike."""

import json
from pathlib import Path

from tests.ops.conftest import Run

FILE = '[[exclude]]\npattern = "*@file.example"\nreason = "agreed"\n'


def test_add_test_list_remove(kept: Run) -> None:
    """An entry counts as soon as it is added and no longer than it stands; IDNs are given as people write them."""
    assert kept("exclude", "add", "*@bücher.example", "--reason", "old server", "--owner", "ops").exit_code == 0
    found = kept("exclude", "test", "info@xn--bcher-kva.example")
    assert found.exit_code == 0
    assert "old server" in found.stdout
    (row,) = [json.loads(line) for line in kept("exclude", "list", "--json").stdout.splitlines()]
    assert (row["pattern"], row["owner"], row["live"]) == ("*@xn--bcher-kva.example", "ops", True)
    assert kept("exclude", "add", "*@bücher.example").stdout.strip().endswith("replaced")
    assert kept("exclude", "remove", "*@bücher.example").exit_code == 0
    assert kept("exclude", "test", "info@bücher.example").exit_code == 1


def test_entries_of_the_file(kept: Run, place: Path) -> None:
    """What stands in the file is listed and tested, and removed only there."""
    (place / "danepipe.toml").write_text(FILE)
    assert kept("exclude", "test", "a@file.example").exit_code == 0
    assert "configuration" in kept("exclude", "list").stdout
    result = kept("exclude", "remove", "*@file.example")
    assert result.exit_code == 1
    assert "danepipe.toml" in result.stderr


def test_expiry(kept: Run) -> None:
    """An entry ends by itself; one that is over already, or ends at no time, is refused."""
    assert kept("exclude", "add", "*@a.example", "--expires", "30d").exit_code == 0
    assert "until" in kept("exclude", "list").stdout
    assert "over already" in kept("exclude", "add", "*@b.example", "--expires", "2020-01-31").stderr
    assert "'soon'" in kept("exclude", "add", "*@b.example", "--expires", "soon").stderr


def test_bad_patterns_are_named(kept: Run) -> None:
    """A pattern that means nothing is refused with what would be right."""
    result = kept("exclude", "add", "user@")
    assert result.exit_code == 1
    assert "user@" in result.stderr
