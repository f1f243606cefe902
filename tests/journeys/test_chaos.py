"""Chaos, a little of it: each fault hurts a whole danepipe, and every message is counted. `make chaos` does it at length."""

import os

import pytest

from ops.bench.figures import NotHere
from ops.chaos.run import SHORT, Run
from ops.chaos.scenarios import GROUPS
from tests.needs import lacking, redis_server

SEED = int(os.environ.get("DANEPIPE_SEED", "1"))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", GROUPS)
async def test_no_fault_loses_a_message(name: str) -> None:
    """SMTP-50, SMTP-57, DSN-21, SUB-30, SUB-31: accepted = delivered + reported + queued, no copy without a lost 250."""
    redis_server()
    run = Run(SHORT, SEED)
    try:
        await GROUPS[name](run)
    except NotHere as error:
        lacking(str(error))
    print(f"DANEPIPE_SEED={SEED}: {name}: {run.tally.sum()}")  # noqa: T201 - shown where it fails
    assert run.complaints == []
    assert [one.as_json() for one in run.tally.faults()] == []
    assert [one.name for one in run.tally.open()] == []
    assert run.tally.accepted()
    assert run.faults
