"""The client: sends named messages over SMTP, and notes of each what it was answered.

Whatever is not answered with 250 is tried again under another name, as a client that keeps its mail would do. So the
number accepted is the number asked for, however often the listener dies.
"""

import asyncio
import contextlib
from collections.abc import Callable

from ops.chaos.tally import Tally

SENDER = "sender.example"
PATIENCE = 60.0  # seconds for a reply
PAUSE = 0.1  # seconds before the next try


class Refused(Exception):  # noqa: N818 - it is what was answered
    """A reply that was not the wanted one."""


class Client:
    """Sends to one port. `domain` chooses the domain of a message by its number; `sender` is that of the sender.

    `batch` sets the names of these messages apart from those of another client.
    """

    def __init__(
        self,
        port: int,
        tally: Tally,
        domain: Callable[[int], str],
        *,
        size: int = 300,
        sender: str = SENDER,
        batch: int = 0,
    ) -> None:
        self.port = port
        self.patience = PATIENCE
        self._tally = tally
        self._domain = domain
        self._size = size
        self._batch = batch
        self._sender = f"sender@{sender}"
        self.accepted = 0

    async def send(self, messages: int, *, rate: float, first: int = 0, connections: int = 8) -> None:
        """Have so many messages accepted, at most `rate` a second; tried until they are."""
        numbers = iter(range(first, first + messages))
        began = asyncio.get_running_loop().time()

        async def work() -> None:
            for number in numbers:
                wait = began + (number - first) / rate - asyncio.get_running_loop().time()
                await asyncio.sleep(max(0.0, wait))
                await self.one(number)

        await asyncio.gather(*(work() for _ in range(min(connections, messages))))

    async def one(self, number: int, tries: int | None = None) -> bool:
        """Send one message until it is accepted, or so many times; tells whether it was."""
        attempt = 0
        while tries is None or attempt < tries:
            attempt += 1
            if await self._try(self.name(number, attempt), self._domain(number)):
                self.accepted += 1
                return True
            await asyncio.sleep(PAUSE)
        return False

    def name(self, number: int, attempt: int = 1) -> str:
        """Name a message."""
        return f"m{self._batch}.{number}.{attempt}"

    async def _try(self, name: str, domain: str) -> bool:
        entry, writer = self._tally.of(name), None
        try:
            async with asyncio.timeout(self.patience):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                await _reply(reader, b"220")
                for line, wanted in (
                    ("EHLO client.example", b"250"), (f"MAIL FROM:<{self._sender}>", b"250"),
                    (f"RCPT TO:<{name}@{domain}>", b"250"), ("DATA", b"354"),
                ):  # fmt: skip
                    writer.write(line.encode() + b"\r\n")
                    await _reply(reader, wanted)
                entry.sent = True
                filler = b"So it goes, a line after another.\r\n" * (self._size // 35)
                writer.write(f"From: <{self._sender}>\r\nSubject: {name}\r\n\r\n".encode() + filler + b".\r\n")
                entry.id = (await _reply(reader, b"250")).rpartition(" ")[2]
                writer.write(b"QUIT\r\n")
        except (Refused, OSError, TimeoutError, asyncio.IncompleteReadError):
            return bool(entry.id)
        finally:
            if writer is not None:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
        return True


async def _reply(reader: asyncio.StreamReader, wanted: bytes) -> str:
    """Read a reply. Raises `Refused` if it is another, IncompleteReadError if there is none."""
    while True:
        line = await reader.readuntil(b"\r\n")
        if line[3:4] != b"-":
            break
    if not line.startswith(wanted):
        raise Refused(line.decode("utf-8", "replace").strip())
    return line.decode("utf-8", "replace").strip()
