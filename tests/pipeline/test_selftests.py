"""The self-tests of workers, told to whoever asks."""

import asyncio
from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis

from delivery.resolver import Resolver
from pipeline.config import load
from pipeline.selftests import keep_testing
from pipeline.spine import utc_now
from pipeline.store.selftests import KEPT, SelfTest, SelfTestStore
from tests.needs import silent_port

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


async def test_a_worker_tells_of_each_test_and_takes_it_away(redis: Redis) -> None:
    """DANE-05: what a worker believes of its resolvers is seen while it runs, with the reason why mail waits."""
    store = SelfTestStore(redis)
    with silent_port() as port:
        config = load(None, {"DANEPIPE_DNS__SERVERS": f"127.0.0.1@{port}", "DANEPIPE_DNS__TIMEOUT": "50ms"})
        resolver = Resolver(config.dns_settings(), now=utc_now)
        running = asyncio.create_task(keep_testing(resolver, config, store))
        async with asyncio.timeout(20):
            while not (told := await store.entries(utc_now())):  # noqa: ASYNC110 - Redis tells nobody of it
                await asyncio.sleep(0.02)
        (test,) = told
        assert "gives no answers that can be proven" in test.suspended
        assert [(one.resolver, one.passed) for one in test.verdicts] == [(f"127.0.0.1@{port}", False)]
        assert len(test.verdicts[0].canaries) >= 4
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await resolver.aclose()
    assert await store.entries(utc_now()) == ()


async def test_workers_that_were_killed_are_forgotten(redis: Redis) -> None:
    """What a worker could not take away counts for a day, and is removed then; what another version wrote is passed over."""
    store = SelfTestStore(redis)
    await store.tell(SelfTest("a:1", NOW - KEPT, "", ()))
    await redis.hset("dp:selftests", "b:2", "{}")
    assert [one.worker for one in await store.entries(NOW)] == ["a:1"]
    assert await store.entries(NOW + timedelta(seconds=1)) == ()
    await store.tell(SelfTest("c:3", NOW + timedelta(seconds=1), "", ()))
    assert sorted(await redis.hkeys("dp:selftests")) == [b"b:2", b"c:3"]
