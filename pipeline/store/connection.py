"""Connect to Redis, and refuse one that would lose accepted mail.

Raises `UnsafeStore` with a sentence when the server may evict keys or does not write its log before it answers,
unless the configuration says in words that this is wanted. `StoreUnavailable` and `StoreFull` are how every room
above learns that Redis is away or full.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pipeline.store.shared_trips import SharedTrips


class StoreUnavailable(Exception):  # noqa: N818 - a state of the world, not a fault in the program
    """Redis cannot be reached, is loading, or answered with an error: nothing was promised, try again later."""


class StoreFull(Exception):  # noqa: N818 - see above
    """Redis is out of memory, or something else that new mail needs has run out: nothing more is kept for now."""


class ContentUnavailable(StoreUnavailable):
    """The store of content outside Redis cannot be reached, or is not there: nothing was promised."""


class UnsafeStore(Exception):  # noqa: N818 - see above
    """The Redis would lose mail; the text says which setting and what it must be."""


def connect(url: str, *, timeout: float = 10.0) -> Any:
    """Make a client; no connection is opened yet. Blocking longer than `timeout` seconds counts as unavailable."""
    # No health check: on a server that hangs it asks for one within itself, without end. The retry finds dead ones.
    return SharedTrips.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=5.0,
        retry=Retry(NoBackoff(), 1),
        max_connections=256,
    )


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what redis-py raises into `StoreUnavailable` and `StoreFull`. A fault in our scripts stays what it is."""
    try:
        yield
    except redis.exceptions.OutOfMemoryError as error:
        raise StoreFull(f"Redis is full: {error}") from error
    except redis.exceptions.NoScriptError:
        raise
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError) as error:
        raise StoreUnavailable(f"Redis is away: {error}") from error
    except redis.exceptions.ReadOnlyError as error:
        raise StoreUnavailable(f"Redis takes no writes: {error}") from error
    except redis.exceptions.ResponseError as error:
        text = str(error)
        if "OOM" in text:
            raise StoreFull(f"Redis is full: {text}") from error
        if text.startswith(("MISCONF", "LOADING", "BUSY", "MASTERDOWN", "NOREPLICAS")):
            raise StoreUnavailable(f"Redis cannot write: {text}") from error
        raise


async def run_script(client: Any, script: Any, *args: object) -> Any:
    """Run a script that was registered: by its digest, which is what the script itself does, at a third of its cost."""
    with store_errors():
        try:
            return await client.execute_command("EVALSHA", script.sha, 0, *args)
        except redis.exceptions.NoScriptError:
            return await script(args=args)


async def check_safety(client: Any, *, allow_unsafe: bool) -> list[str]:
    """Return what is unsafe about this Redis; raise `UnsafeStore` naming it unless that is allowed in words."""
    with store_errors():
        memory = await client.info("memory")
        persistence = await client.info("persistence")
        try:
            config = await client.config_get("appendfsync")
        except redis.exceptions.ResponseError:  # managed servers hide CONFIG
            config = {}
    faults = []
    policy = memory.get("maxmemory_policy", "noeviction")
    if int(memory.get("maxmemory", 0)) and policy != "noeviction":
        faults.append(f"maxmemory-policy is {policy} and would evict accepted mail: set it to noeviction")
    if not int(persistence.get("aof_enabled", 0)):
        faults.append("appendonly is no: accepted mail would be lost with the process, set appendonly yes")
    elif config.get("appendfsync", "always") != "always":
        faults.append(f"appendfsync is {config['appendfsync']}: a crash loses accepted mail, set appendfsync always")
    if faults and not allow_unsafe:
        raise UnsafeStore(
            "this Redis would lose mail: "
            + "; ".join(faults)
            + " (or say redis.allow_unsafe = true and accept the loss)",
        )
    return faults
