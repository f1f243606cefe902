"""What is worked on in a thread, within a time: the proofs of DNSSEC would hold up the other requests."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ops.console.page import Call, Refused

T = TypeVar("T")


async def aside(call: Call, seats: asyncio.Semaphore, longest: float, work: Callable[[], Awaitable[T]]) -> T:
    """Do it in a thread with a loop of its own, when there is a seat. Raises `Refused` after so many seconds."""

    async def within() -> T:
        async with asyncio.timeout(longest):
            return await work()

    async with call.turn(seats):
        try:
            return await asyncio.to_thread(asyncio.run, within())
        except TimeoutError as error:
            raise Refused(504, f"No answer within {longest:g} s: DNS or a host is too slow. Try again.") from error
