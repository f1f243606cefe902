"""The load: messages of one size over some SMTP connections, command by command or pipelined.

It keeps every connection busy and counts nothing but what was answered with success. Raises RuntimeError when a server
answers otherwise.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ops.bench.text import prose

SENDER = "sender@sender.lab"


@dataclass(frozen=True, slots=True)
class Load:
    """How much is sent: messages in all, connections at a time, octets of a message, recipients in turn."""

    messages: int
    connections: int
    size: int
    recipients: Sequence[str] = ("b@example.com",)
    sender: str = SENDER

    @property
    def each(self) -> int:
        """Give the messages of one connection."""
        return self.messages // self.connections

    @property
    def sent(self) -> int:
        """Give the messages that are sent: each connection sends as many."""
        return self.each * self.connections

    def message(self) -> bytes:
        """Make the message."""
        return b"Subject: bench\r\n\r\n" + prose(self.size)

    def content(self) -> bytes:
        """Give the message as it goes over the wire after DATA."""
        return self.message() + b".\r\n"


async def reply(reader: asyncio.StreamReader, wanted: bytes) -> None:
    """Read a reply. Raises RuntimeError if it is another."""
    while True:
        line = await reader.readline()
        if not line.startswith(wanted):
            raise RuntimeError(f"the server said {line!r}, expected {wanted!r}")
        if line[3:4] != b"-":
            return


@dataclass(slots=True)
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, port: int) -> "Client":
        """Connect to 127.0.0.1 and say EHLO."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        await reply(client.reader, b"220")
        client.writer.write(b"EHLO client.example\r\n")
        await reply(client.reader, b"250")
        return client

    async def offer(self, sender: str, recipient: str, *, pipelined: bool = False) -> None:
        """Go as far as the reply to DATA."""
        commands = (f"MAIL FROM:<{sender}>\r\n".encode(), f"RCPT TO:<{recipient}>\r\n".encode(), b"DATA\r\n")
        if pipelined:
            self.writer.write(b"".join(commands))
        for command, wanted in zip(commands, (b"250", b"250", b"354"), strict=True):
            if not pipelined:
                self.writer.write(command)
            await reply(self.reader, wanted)

    async def hand_over(self, content: bytes) -> None:
        """Send the content, which ends in the final dot, and wait until it is accepted."""
        self.writer.write(content)
        await reply(self.reader, b"250")

    async def close(self) -> None:
        """Say goodbye."""
        self.writer.write(b"QUIT\r\n")
        await reply(self.reader, b"221")
        self.writer.close()


async def send(port: int, load: Load, *, pipelined: bool = False) -> None:
    """Send a load."""
    content = load.content()

    async def converse(first: int) -> None:
        client = await Client.open(port)
        for number in range(load.each):
            recipient = load.recipients[(first + number * load.connections) % len(load.recipients)]
            await client.offer(load.sender, recipient, pipelined=pipelined)
            await client.hand_over(content)
        await client.close()

    await asyncio.gather(*(converse(number) for number in range(load.connections)))
