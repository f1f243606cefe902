"""The Dramatiq broker: Redis, with consumers that are woken instead of polling.

Dramatiq's own consumer polls with a back-off of up to a second, which an idle pipeline would pay at every stage. Here
each enqueue is also published, and a consumer that found its queue empty waits for that word (and looks anyway after
`worker_timeout`, so a lost word costs time and never a job).
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import dramatiq
import redis
import uvloop
from dramatiq.asyncio import EventLoopThread, set_event_loop_thread
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import AsyncIO, Callbacks, Middleware, Retries, ShutdownNotifications
from redis.backoff import NoBackoff
from redis.retry import Retry

WAKE_CHANNEL = "dp:wake"
NAMESPACE = "dp:dramatiq"


def jobs_of(actor: str) -> str:
    """Name the list in which the jobs of an actor wait."""
    return f"{NAMESPACE}:{actor}"


class Wakeups:
    """Listens to the wake channel in one thread, and keeps an event for each queue."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._events: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def event(self, queue: str) -> threading.Event:
        """Give the event of a queue; the first call starts to listen."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="wakeups", daemon=True)
                self._thread.start()
            return self._events.setdefault(queue, threading.Event())

    def _wake(self, queue: str | None) -> None:
        with self._lock:
            events: Iterable[threading.Event] = (
                list(self._events.values()) if queue is None else [self._events.get(queue, threading.Event())]
            )
        for event in events:
            event.set()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
                    channel.subscribe(WAKE_CHANNEL)
                    self._wake(None)  # whatever came while nobody listened
                    while not self._stop.is_set():
                        word = channel.get_message(timeout=1.0)
                        if word:
                            self._wake(word["data"].decode())
            except (redis.ConnectionError, redis.TimeoutError, OSError):
                self._stop.wait(0.5)  # consumers go on with their own timeout meanwhile

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()


@contextmanager
def _away() -> Iterator[None]:
    """Let Dramatiq take a silent Redis for one that is away, which it waits for; it knows lost connections alone."""
    try:
        yield
    except redis.TimeoutError as error:
        raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]


class WakingConsumer(dramatiq.Consumer):
    """A Redis consumer that waits for a wake-up when its queue is empty, or when it holds all that it may.

    In the second case the queue may be full, and nobody will publish: then the end of a job is the wake-up.
    """

    def __init__(self, inner: Any, event: threading.Event, timeout: float, broker: "WakingRedisBroker") -> None:
        self._inner = inner
        self._full = False
        self._event = event
        self._timeout = timeout
        self._broker = broker

    def ack(self, message: Any) -> None:
        """Acknowledge a message."""
        with _away():
            self._inner.ack(message)
        self._make_room()

    def nack(self, message: Any) -> None:
        """Move a message to the dead-letter queue."""
        with _away():
            self._inner.nack(message)
        self._make_room()

    def _make_room(self) -> None:
        if self._full:
            self._event.set()

    def requeue(self, messages: Iterable[Any]) -> None:
        """Put unprocessed messages back, for others to take at once."""
        messages = list(messages)
        self._inner.requeue(messages)
        for queue in {message.queue_name for message in messages}:
            self._broker.wake(queue)

    def __next__(self) -> Any:
        """Give the next message, or None after a wake-up or the timeout; at rest, none."""
        self._event.clear()
        if self._broker.resting:
            self._event.wait(self._timeout)
            return None
        self._full = True  # until shown otherwise, so that no job can end unseen in between
        self._full = self._inner.outstanding_message_count >= self._inner.prefetch
        with _away():
            message = next(self._inner)
        if message is None:
            self._event.wait(self._timeout)
        return message

    def close(self) -> None:
        """Close the inner consumer."""
        self._inner.close()


class WakingRedisBroker(RedisBroker):
    """Dramatiq's Redis broker, publishing a word for each enqueue and waking its consumers by it."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)  # type: ignore[no-untyped-call]
        self.wakeups = Wakeups(self.client)
        self.resting = False

    def rest(self) -> None:
        """Take no more jobs: a worker that ends would hold them until the last of its threads has ended."""
        self.resting = True

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> dramatiq.Consumer:
        """Make a consumer whose own poll sleeps a millisecond at most, inside one that waits for the word."""
        inner = super().consume(queue_name, prefetch, 1)
        return WakingConsumer(inner, self.wakeups.event(queue_name), timeout / 1000, self)

    def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
        """Enqueue and publish. A failed publish is not an error: consumers look by themselves before long."""
        message = super().enqueue(message, delay=delay)
        self.wake(message.queue_name)
        return message

    def wake(self, queue: str) -> None:
        """Publish the word that a queue holds something."""
        try:
            self.client.publish(WAKE_CHANNEL, queue)
        except redis.RedisError:
            self.logger.warning("could not publish the wake-up of queue %s", queue)

    def close(self) -> None:
        """Stop the listener and close."""
        self.wakeups.close()
        super().close()


class EventLoop(AsyncIO):
    """Dramatiq's event loop, in a thread that keeps no process alive: a worker that is told twice to end, ends.

    It is uvloop's, which spends an eighth less processor time on a message than the one of asyncio.
    """

    def before_worker_boot(self, broker: Any, worker: Any) -> None:  # noqa: ARG002 - Dramatiq's signature
        """Start it; on a busy machine that may take its time."""
        thread = EventLoopThread(self.logger)
        thread.loop.close()
        thread.loop = uvloop.new_event_loop()
        thread.daemon = True
        thread.start(timeout=60.0)
        set_event_loop_thread(thread)


def make_broker(
    url: str,
    *extra: Middleware,
    retry_floor: timedelta = timedelta(seconds=1),
    timeout: timedelta = timedelta(seconds=10),
) -> WakingRedisBroker:
    """Make the broker of a process, without limits on retries: a fault of ours must never lose a job.

    A Redis that is silent for longer than `timeout` counts as away, or a lost network would hold a thread for ever.
    """
    middleware: list[Middleware] = [
        EventLoop(),
        ShutdownNotifications(),
        Callbacks(),
        Retries(
            max_retries=None,  # type: ignore[arg-type] # its annotation omits what its documentation offers: no limit
            min_backoff=int(retry_floor.total_seconds() * 1000),
            max_backoff=60_000,
        ),
        *extra,
    ]
    broker = WakingRedisBroker(
        client=redis.Redis.from_url(
            url,
            health_check_interval=30,
            socket_timeout=timeout.total_seconds(),
            socket_connect_timeout=5.0,
            retry=Retry(NoBackoff(), 1),
        ),
        middleware=middleware,
        namespace=NAMESPACE,
        maintenance_chance=0,  # see `pipeline.store.jobs`
    )
    dramatiq.set_broker(broker)
    return broker
