"""A way to Redis on which answers get lost: what was asked is done, and the connection breaks before that is said."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class LosingWay:
    """A relay before a Redis; `lose` has it lose the next answers to what contains some octets."""

    url: str = ""
    word: bytes = b""
    left: int = 0
    lost: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def lose(self, word: bytes, times: int = 1) -> None:
        """Lose the answers to the next requests with this word, and the connections that they were made on."""
        self.word, self.left = word, times

    async def relay(
        self, near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:  # fmt: skip
        """Carry one connection until it ends or is broken."""
        asked = False

        async def forth() -> None:
            nonlocal asked
            while data := await near[0].read(2**20):
                asked = asked or (self.left > 0 and self.word in data)
                far[1].write(data)
                await far[1].drain()

        async def back() -> None:
            nonlocal asked
            while data := await far[0].read(2**20):
                if asked and b"NOSCRIPT" not in data:
                    self.left -= 1
                    self.lost += 1
                    return
                asked = False
                near[1].write(data)
                await near[1].drain()

        pumps = [asyncio.create_task(forth()), asyncio.create_task(back())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)  # either end may go at any time
            for _, writer in (near, far):
                writer.transport.abort()


@asynccontextmanager
async def losing_way(redis_url: str) -> AsyncIterator[LosingWay]:
    """Run a relay before a Redis until the block ends."""
    way, parts = LosingWay(), urlsplit(redis_url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        way.tasks.add(task)
        try:
            if parts.scheme == "unix":
                far = await asyncio.open_unix_connection(parts.path)
            else:
                far = await asyncio.open_connection(parts.hostname, parts.port)
            with suppress(asyncio.CancelledError):  # the block ends
                await way.relay((reader, writer), far)
        finally:
            way.tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    way.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    try:
        yield way
    finally:
        server.close()
        for task in list(way.tasks):
            task.cancel()
        await asyncio.gather(*way.tasks, return_exceptions=True)
