"""The far end: SMTP servers on loopback that take mail, count each message by its recipient, and misbehave when asked.

Of `no.example` nobody is accepted, so that reports are counted too; of `later.example` nobody on the first try. A
report counts for the recipient that it names. `trouble` befalls a share of the messages; `gates` hold a reply back.
"""

import asyncio
import random
import re
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from ops.chaos.tally import Delivery, Entry, Tally

PROMPT = 0.5  # seconds: who says goodbye so soon may not have recorded the last reply yet
_END = b"\r\n.\r\n"
_FAILED = re.compile(rb"^Final-Recipient: *rfc822; *(\S+)@", re.MULTILINE | re.IGNORECASE)
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets


class Trouble(StrEnum):
    """How the far end misbehaves."""

    NONE = "none"
    DROP = "drop"  # it takes the message and hangs up instead of answering
    STALL = "stall"  # it never answers a command again
    RESET = "reset"  # it resets the connection in the middle of the content


@dataclass(slots=True)
class Gate:
    """Holds back what is to be said. `reached` is set once somebody waits; `open` lets it pass."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)


class FarEnd:
    """All its servers, and how they behave."""

    def __init__(self, tally: Tally, chance: random.Random) -> None:
        self.tally = tally
        self.chance = chance
        self.trouble = Trouble.NONE
        self.share = 0.3
        self.delay = 0.0  # seconds that it takes for each message
        self.gates: dict[tuple[str, str], Gate] = {}  # by ("DATA" or ".", name of the message)
        self.ports: list[int] = []
        self.connections = 0
        self.befell = 0  # how often it misbehaved
        self.seen: set[str] = set()  # who was told to come later

    @asynccontextmanager
    async def running(self, ports: int = 3) -> AsyncIterator[None]:
        """Listen on so many free ports of 127.0.0.1."""
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(lambda: _Session(self), "127.0.0.1", 0) for _ in range(ports)]
        self.ports = [server.sockets[0].getsockname()[1] for server in servers]
        try:
            yield
        finally:
            for server in servers:
                server.close()

    def befalls(self, trouble: Trouble) -> bool:
        """Roll the dice."""
        found = self.trouble is trouble and self.chance.random() < self.share
        self.befell += found
        return found


class _Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, far: FarEnd) -> None:
        self._far = far
        self._buffer = bytearray()
        self._recipients: list[str] = []
        self._null = False
        self._in_data = False
        self._held = False  # a reply waits, and what comes in meanwhile waits for it
        self._unheard: list[list[Delivery]] = []  # what was answered, message by message
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_server gives no other
        self._transport = transport
        self._far.connections += 1
        transport.write(b"220 far.example\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._read()

    def _read(self) -> None:
        while not self._held and not self._transport.is_closing() and self._take():
            pass

    def _take(self) -> bool:
        if self._in_data:
            if self._far.befalls(Trouble.RESET):
                self._reset()
                return False
            end = self._buffer.find(_END)
            if end >= 0:
                content = bytes(self._buffer[:end])
                del self._buffer[: end + len(_END)]
                self._in_data = False
                self._taken(content)
            return end >= 0
        line, found, _ = self._buffer.partition(b"\r\n")
        if found:
            del self._buffer[: len(line) + 2]
            self._obey(bytes(line))
        return bool(found)

    def _obey(self, line: bytes) -> None:
        verb = line[:4].upper()
        if self._far.befalls(Trouble.STALL):
            self._held = True  # for ever
            return
        if verb == b"EHLO":
            self._say(b"250-far.example\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
        elif verb == b"MAIL":
            self._hear(1)  # what is settled of a message is written while the next one is sent
            self._recipients, self._null = [], b"<>" in line
            self._say(b"250 2.1.0 ok\r\n")
        elif verb == b"RCPT":
            self._rcpt(line.partition(b"<")[2].partition(b">")[0].decode())
        elif verb == b"DATA":
            self._in_data = True
            self._answer("DATA", b"354 go on\r\n")
        elif verb == b"QUIT":
            self._hear(1)
            if self._unheard and time.monotonic() - (self._unheard[0][0].answered or 0.0) > PROMPT:
                self._hear(0)
            self._say(b"221 2.0.0 bye\r\n")
            self._transport.close()
        else:
            self._say(b"250 2.0.0 ok\r\n")

    def _hear(self, last: int) -> None:
        """Note that danepipe goes on, and so has recorded what it was answered, but for the last messages."""
        while len(self._unheard) > last:
            for delivery in self._unheard.pop(0):
                delivery.heard = time.monotonic()

    def _rcpt(self, address: str) -> None:
        name, _, domain = address.partition("@")
        if domain.startswith("no."):
            self._say(b"550 5.1.1 nobody of that name\r\n")
        elif domain.startswith("later.") and name not in self._far.seen:
            self._far.seen.add(name)
            self._say(b"450 4.2.0 come back later\r\n")
        else:
            self._recipients.append(name)
            self._say(b"250 2.1.5 ok\r\n")

    def _taken(self, content: bytes) -> None:
        if self._null:
            self._recipients = [found.decode() for found in _FAILED.findall(content)]
        deliveries = []
        for name in self._recipients:
            entry: Entry = self._far.tally.of(name)
            delivery = Delivery(time.monotonic())
            (entry.reports if self._null else entry.deliveries).append(delivery)
            deliveries.append(delivery)
        if self._far.befalls(Trouble.DROP):
            self._transport.close()
        elif not self._far.befalls(Trouble.STALL):
            self._answer(".", b"250 2.0.0 taken\r\n", deliveries)

    def _answer(self, to: str, reply: bytes, deliveries: list[Delivery] | None = None) -> None:
        """Say something when nothing holds it back."""
        gates = [gate for name in self._recipients if (gate := self._far.gates.pop((to, name), None))]
        delay = self._far.delay if to == "." else 0.0
        self._held = bool(gates or delay)

        def say() -> None:
            for delivery in deliveries or ():
                delivery.answered = time.monotonic()
            if deliveries:
                self._unheard.append(deliveries)
            self._say(reply)

        async def later() -> None:
            await asyncio.sleep(delay)
            for gate in gates:
                gate.reached.set()
                await gate.open.wait()
            say()
            self._held = False
            self._read()

        if self._held:
            task = asyncio.create_task(later())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            say()

    def _say(self, reply: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(reply)

    def _reset(self) -> None:
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._transport.abort()
