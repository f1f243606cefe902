"""The validating resolver of the comparison: a real Unbound on 127.0.0.1, port 53, of a network namespace of its own.

`fill` asks it for all that a delivery to some destinations needs, so that neither server waits for the nameserver,
and whoever is measured second has no gain from the first. Raises RuntimeError where Unbound does not start or an answer
is not secure.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode

from ops.bench.peer.work import domain
from ops.lab.unbound import find_unbound

ADDRESS, PORT = "127.0.0.1", 53
_START = 30  # seconds
_PATIENCE, _TRIES, _AT_ONCE = 10, 3, 50
_CONFIG = """\
server:
    interface: {address}@{port}
    access-control: 127.0.0.0/8 allow
    directory: "{directory}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    logfile: ""
    verbosity: 0
    num-threads: 1
    module-config: "validator iterator"
    trust-anchor: "{anchor}"
    do-ip6: no
    do-not-query-localhost: no
    qname-minimisation: no
    msg-cache-size: 128m
    rrset-cache-size: 256m
    so-rcvbuf: 4m
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{upstream}
"""


@asynccontextmanager
async def unbound(directory: Path, anchor: str, upstream: int) -> AsyncIterator[int]:
    """Run Unbound, which forwards to this port, until the block ends; gives its process id. Raises `NoUnbound`, too."""
    config, output = directory / "unbound.conf", directory / "unbound.log"
    config.write_text(_CONFIG.format(address=ADDRESS, port=PORT, directory=directory, anchor=anchor, upstream=upstream))
    with output.open("wb") as log:
        process = await asyncio.create_subprocess_exec(find_unbound(), "-d", "-c", str(config), stdout=log, stderr=log)
    try:
        async with asyncio.timeout(_START):
            while not await _listens():
                if process.returncode is not None:
                    raise RuntimeError(f"Unbound does not start: {output.read_text(errors='replace').strip()}")
                await asyncio.sleep(0.05)
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _listens() -> bool:
    try:
        _, writer = await asyncio.open_connection(ADDRESS, PORT)
    except OSError:
        return False
    writer.close()
    return True


def _questions(domains: int) -> Iterator[tuple[str, str]]:
    for number in range(domains):
        name = domain(number)
        yield name, "MX"
        yield f"mx.{name}", "A"
        yield f"mx.{name}", "AAAA"
        yield f"_25._tcp.mx.{name}", "TLSA"


async def fill(domains: int) -> None:
    """Ask for everything about so many destinations, some at once."""
    waiting = _questions(domains)

    async def work() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as udp:
            udp.setblocking(False)  # noqa: FBT003 - socket's own signature
            udp.connect((ADDRESS, PORT))
            for name, rdtype in waiting:
                await _ask(udp, name, rdtype)

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


async def _ask(udp: socket.socket, name: str, rdtype: str) -> None:
    query = dns.message.make_query(name, rdtype, flags=dns.flags.RD | dns.flags.AD)
    wire, loop = query.to_wire(), asyncio.get_running_loop()
    for _ in range(_TRIES):
        await loop.sock_sendall(udp, wire)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while (answer := await loop.sock_recv(udp, 4096))[:2] != wire[:2]:
                    pass  # a late answer to the last question
            flags = int.from_bytes(answer[2:4], "big")
            if flags & 0xF != dns.rcode.NOERROR or not flags & dns.flags.AD:
                raise RuntimeError(f"Unbound's answer to {name}/{rdtype} is not secure")
            return
    raise RuntimeError(f"Unbound does not answer {name}/{rdtype}")
