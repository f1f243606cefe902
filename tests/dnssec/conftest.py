"""One Unbound and one server for all cases."""

from collections.abc import Iterator

import pytest

from tests.dnssec.cases import Bench
from tests.dnssec.server import World, serve
from tests.dnssec.unbound import unbound


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Run an Unbound that forwards to a world."""
    world = World()
    with serve(world) as port, unbound(tmp_path_factory.mktemp("unbound"), port) as judge:
        yield Bench(world, judge)
