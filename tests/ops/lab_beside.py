"""A lab beside the test, in a thread with a loop of its own, so that commands can run in this process."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ops.lab.scenario import Scenario
from ops.lab.world import Lab, Validation
from tests.validating import validated_lab

PATIENCE = 30.0


@contextmanager
def lab_beside(directory: Path, scenarios: Sequence[Scenario], validation: Validation) -> Iterator[Lab]:
    """Run a lab until the block ends. Raises what `Lab.open` raises."""
    started = threading.Event()
    made: list[Lab] = []
    failed: list[BaseException] = []
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def live() -> None:
        opened = Lab.open if validation == "local" else validated_lab
        async with opened(directory, scenarios, validation) as lab:
            made.append(lab)
            started.set()
            await ended.wait()

    def work() -> None:
        try:
            loop.run_until_complete(live())
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread of the test
            failed.append(error)
        finally:
            loop.close()
            started.set()

    thread = threading.Thread(target=work, name="lab")
    thread.start()
    started.wait(PATIENCE)
    try:
        if made:
            yield made[0]
    finally:
        if not failed:
            loop.call_soon_threadsafe(ended.set)
        thread.join(PATIENCE)
    if failed:
        raise failed[0]
