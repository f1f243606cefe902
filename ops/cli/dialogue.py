"""SMTP on standard input and output, for `sendmail -bs`.

The listener's own session runs over a socket pair; two threads carry the octets, since standard input may be a file,
a pipe or a terminal, and an event loop cannot wait for all of these. What comes in is held until the greeting is out:
a program that writes its commands into a pipe at once is no impatient client.
"""

import asyncio
import os
import socket
import sys
import threading
from dataclasses import replace

from ops.cli.listeners import listener_settings
from pipeline.accept.channel import Channel
from pipeline.accept.smtp import Session, Submit
from pipeline.config import Config

BLOCK = 65536


async def speak_smtp(config: Config, submit: Submit) -> None:
    """Run one session until QUIT or the end of the input."""
    settings = replace(listener_settings(config), certificate=None, key=None)
    ours, theirs = socket.socketpair()
    greeted = threading.Event()
    inward = threading.Thread(target=_carry_in, args=(theirs, greeted), daemon=True)
    outward = threading.Thread(target=_carry_out, args=(theirs, greeted))
    channel = Channel(settings.timeout.total_seconds())
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(lambda: channel, ours)
    inward.start()
    outward.start()
    await Session(settings, channel, "", submit, None, source="sendmail", allowed=True).run()
    await channel.close()
    await asyncio.to_thread(outward.join)


def _carry_in(sink: socket.socket, greeted: threading.Event) -> None:
    greeted.wait()
    try:
        while block := os.read(sys.stdin.fileno(), BLOCK):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the session has ended


def _carry_out(source: socket.socket, greeted: threading.Event) -> None:
    while block := source.recv(BLOCK):
        sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
        greeted.set()
    greeted.set()
