"""One step behind: what is settled of a message is written while the next one is already being sent.

A connection so waits for no write to the disk of Redis between two messages, and is at most one message ahead of what
is written: a worker that dies costs the message in hand and the one before it, if a host had taken them.
"""

import asyncio
from collections.abc import Coroutine


class Behind:
    """Runs one piece of work beside its caller; the next waits until it is done."""

    def __init__(self) -> None:
        self._work: asyncio.Task[None] | None = None

    async def then(self, work: Coroutine[None, None, None]) -> None:
        """Begin a piece of work, and wait for the one before. Raises what that one did."""
        before, self._work = self._work, asyncio.create_task(work)
        if before is not None:
            await before

    async def end(self) -> None:
        """Wait for the last. Raises what it did; whoever breaks the caller off, waits for it too."""
        last, self._work = self._work, None
        if last is not None:
            await asyncio.shield(last)
