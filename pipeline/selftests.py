"""The self-tests of a worker's resolvers, at intervals, and their outcome where the console finds it.

Nothing waits for that: while Redis is away the tests go on, and their outcome is not told.
"""

import asyncio
import contextlib
import os
import socket
from datetime import datetime

from delivery.resolver import Resolver
from pipeline import meter
from pipeline.config import Config
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.selftests import SelfTest, SelfTestStore, Verdict


def verdicts(resolver: Resolver, config: Config, now: datetime) -> tuple[Verdict, ...]:
    """Give what the last self-test of a resolver has found."""
    unvalidated = config.dns_settings().anchors.in_force(now)
    return tuple(
        Verdict(
            str(one.server), str(one.source), one.passed, str(one.told(unvalidated)["text"]),
            tuple(str(outcome) for outcome in one.outcomes),
        )
        for one in resolver.examined
    )  # fmt: skip


async def keep_testing(resolver: Resolver, config: Config, store: SelfTestStore) -> None:
    """Test at intervals and tell of each outcome, until cancelled; then take it away."""
    worker = f"{socket.gethostname()}:{os.getpid()}"
    ended: asyncio.Queue[datetime] = asyncio.Queue()

    def told(at: datetime) -> None:
        meter.tested(at)
        ended.put_nowait(at)

    async def tell() -> None:
        while True:
            at = await ended.get()
            with contextlib.suppress(StoreUnavailable, StoreFull):
                await store.tell(SelfTest(worker, at, resolver.suspended, verdicts(resolver, config, at)))

    try:
        await asyncio.gather(resolver.run_checks(config.dns.canary_interval, told), tell())
    finally:
        with contextlib.suppress(StoreUnavailable, StoreFull):
            await store.forget(worker)
