"""What `make test` runs side by side is the whole suite, once, and no part is in the way of another."""

import subprocess
import sys

from tests.laws.tree import ROOT
from tests.needs import free_port
from tests.side_by_side import TESTS, parts


def test_each_module_belongs_to_one_part() -> None:
    """No test is left out, and none runs twice."""
    ran = [
        module for part in parts() for path in part for module in (path.rglob("test_*.py") if path.is_dir() else [path])
    ]
    assert sorted(ran) == sorted(TESTS.rglob("test_*.py"))


def test_no_two_parts_are_given_one_port() -> None:
    """Another process of tests, beside this one, gets none of its ports."""
    program = "from tests.needs import free_port; print(*(free_port() for _ in range(100)))"
    ours = {free_port() for _ in range(100)}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    theirs = {int(port) for port in done.stdout.split()}
    assert len(ours) == len(theirs) == 100
    assert not ours & theirs
