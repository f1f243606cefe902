"""What tests with real programs share."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def spool() -> Iterator[Path]:
    """Give a directory outside pytest's own, whose root every other run of pytest closes to Postfix's users."""
    with TemporaryDirectory(prefix="danepipe-postfix-") as directory:
        yield Path(directory)
