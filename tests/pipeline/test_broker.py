"""Consumers that wait are woken: by a job that comes in, and by a job that ends where no more could be held."""

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from dramatiq import Consumer, Message
from dramatiq.errors import ConnectionClosed
from redis.asyncio import Redis

from pipeline.broker import NAMESPACE, WakingRedisBroker, make_broker
from pipeline.spine import utc_now
from pipeline.store.jobs import LETTERS, SILENT, revive

QUEUE = "route"
LONG = 60_000  # milliseconds: a consumer that is not woken outlasts the test
SOON = 10.0


@pytest.fixture
def broker(redis_url: str, unique: str) -> Iterator[WakingRedisBroker]:
    """Give a broker with a queue of its own."""
    made = make_broker(redis_url)
    made.declare_queue(QUEUE + unique)
    yield made
    made.flush(QUEUE + unique)
    made.close()


def _enqueue(broker: WakingRedisBroker, unique: str) -> None:
    broker.enqueue(Message(queue_name=QUEUE + unique, actor_name=QUEUE, args=(), kwargs={}, options={}))


def _waiting(consumer: Consumer, got: list[object]) -> threading.Thread:
    """Ask a consumer for its next message in a thread, as a worker does."""

    def ask() -> None:
        while not got:
            got.extend(message for message in [next(consumer)] if message is not None)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread


def test_an_enqueued_job_wakes_an_idle_consumer(broker: WakingRedisBroker, unique: str) -> None:
    """An idle pipeline pays no polling interval: the word of the enqueue ends the wait."""
    got: list[object] = []
    thread = _waiting(broker.consume(QUEUE + unique, prefetch=1, timeout=LONG), got)
    _enqueue(broker, unique)
    thread.join(SOON)
    assert len(got) == 1


def test_the_end_of_a_job_wakes_a_consumer_that_holds_all_it_may(broker: WakingRedisBroker, unique: str) -> None:
    """A long queue goes on as soon as a job is done, although nobody enqueues anything."""
    _enqueue(broker, unique)
    _enqueue(broker, unique)
    consumer = broker.consume(QUEUE + unique, prefetch=1, timeout=LONG)
    first = next(consumer)
    assert first is not None
    got: list[object] = []
    thread = _waiting(consumer, got)
    consumer.ack(first)
    thread.join(SOON)
    assert len(got) == 1


def test_a_silent_redis_counts_as_away(unique: str) -> None:
    """A lost network holds neither whoever answers 250 next nor a consumer for ever (SUB-30)."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        broker = make_broker(url, timeout=timedelta(milliseconds=100))
        with pytest.raises(redis.TimeoutError):
            _enqueue(broker, unique)
        with pytest.raises(ConnectionClosed):
            next(broker.consume(QUEUE + unique))
        broker.close()


async def test_jobs_of_a_dead_process_come_back(redis_url: str, unique: str) -> None:
    """What a worker held that was killed is a job again once nothing was heard of it for a minute, and only then."""
    queue, dead = QUEUE + unique, make_broker(redis_url)
    dead.declare_queue(queue)
    _enqueue(dead, unique)
    assert next(dead.consume(queue, prefetch=1, timeout=1)) is not None
    client = Redis.from_url(redis_url)
    now = utc_now()
    assert (await revive(client, NAMESPACE, [queue], now))[1] == 0
    assert await revive(client, NAMESPACE, [queue], now + SILENT + SILENT) >= (1, 1)
    assert await client.llen(f"{NAMESPACE}:{queue}") == 1
    assert (await revive(client, NAMESPACE, [queue], now + SILENT + SILENT)) == (0, 0)
    assert next(dead.consume(queue, prefetch=1, timeout=1)) is not None  # a process that was only silent goes on
    await client.zadd(f"{NAMESPACE}:{queue}.XQ", {"letter": 1})
    await client.hset(f"{NAMESPACE}:{queue}.XQ.msgs", "letter", "x")
    await revive(client, NAMESPACE, [queue], now + LETTERS)
    assert not await client.exists(f"{NAMESPACE}:{queue}.XQ", f"{NAMESPACE}:{queue}.XQ.msgs")
    await client.aclose()
    dead.flush(queue)
    dead.close()


def test_no_command_looks_through_all_keys(broker: WakingRedisBroker, unique: str) -> None:
    """Beside a long queue Dramatiq's own maintenance would hold up everybody: no command ever does it."""
    for _ in range(3000):
        assert not broker._should_do_maintenance("fetch")
    _enqueue(broker, unique)
    broker.client.config_resetstat()
    assert next(broker.consume(QUEUE + unique, prefetch=1, timeout=1)) is not None
    assert "cmdstat_keys" not in broker.client.info("commandstats")
