"""A real Unbound as the validating resolver of a lab, unprivileged, on a high port of 127.0.0.1.

It validates from the lab's own trust anchor and forwards everything to the lab's nameserver. `Unbound.open` writes the
configuration into a directory and returns when it answers; `close` ends the process. Raises `NoUnbound`, one sentence,
where the program is missing or will not start.
"""

import asyncio
import contextlib
import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message

_CONFIG = """\
server:
    interface: 127.0.0.1@{port}
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
    ede: yes
    do-ip6: no
    do-not-query-localhost: no
    qname-minimisation: no
    aggressive-nsec: no
    minimal-responses: yes
    prefetch: no
    cache-max-ttl: 300
    cache-max-negative-ttl: 300
    val-bogus-ttl: 5
    val-max-restart: 1
    outbound-msg-retry: 2
    unknown-server-time-limit: 500
    infra-cache-min-rtt: 700
    infra-cache-max-rtt: 900
    msg-cache-size: 4m
    rrset-cache-size: 4m
remote-control:
    control-enable: no
"""
_FORWARD = """\
forward-zone:
    name: "{name}"
    forward-addr: 127.0.0.1@{upstream}
    forward-first: no
"""


class NoUnbound(Exception):  # noqa: N818 - a state of this machine
    """There is no resolver for the lab; the text is one sentence that says what to do."""


def find_unbound(search: str = "") -> str:
    """Find the program, in `search` or else on PATH and where systems keep daemons. Raises `NoUnbound`."""
    places = search or f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
    path = shutil.which("unbound", path=places)
    if path is None:
        raise NoUnbound("the lab needs the resolver Unbound: install it (Debian and Ubuntu: apt install unbound)")
    return path


class Unbound:
    """A running resolver: `port`, and `address` as danepipe's configuration has it."""

    def __init__(self, directory: Path, anchor: str, upstream: int, apart: Sequence[str] = ()) -> None:
        """Keep what is needed: `apart` are domains with a forwarding path (and a record of timeouts) of their own."""
        self._directory = directory
        self._anchor = anchor
        self._upstream = upstream
        self._apart = tuple(apart)
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    @property
    def address(self) -> str:
        """Give `address@port`."""
        return f"127.0.0.1@{self.port}"

    @property
    def config(self) -> Path:
        """Give the configuration file."""
        return self._directory / "unbound.conf"

    async def open(self) -> None:
        """Start it and wait until it answers; one that was closed comes back on its port. Raises `NoUnbound`."""
        program = find_unbound()
        for _ in range(5):  # a port that was free may be taken before Unbound binds it
            self.port = self.port or _free_port()
            self.config.write_text(self._text())
            with (self._directory / "unbound.log").open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    program, "-d", "-c", str(self.config), stdout=log, stderr=log
                )
            if await self._answers():
                return
            await self.close()
            self.port = 0
        log_text = (self._directory / "unbound.log").read_text(errors="replace").strip()
        raise NoUnbound(f"Unbound does not start: {log_text.splitlines()[-1] if log_text else 'it says nothing'}")

    def _text(self) -> str:
        text = _CONFIG.format(port=self.port, directory=self._directory, anchor=self._anchor)
        return text + "".join(_FORWARD.format(name=name, upstream=self._upstream) for name in (".", *self._apart))

    async def _answers(self) -> bool:
        query = dns.message.make_query(".", "SOA")
        for _ in range(50):
            if self._process is None or self._process.returncode is not None:
                return False
            with contextlib.suppress(dns.exception.DNSException, OSError):  # not yet
                await dns.asyncquery.tcp(query, "127.0.0.1", timeout=2, port=self.port)
                return True
            await asyncio.sleep(0.1)
        return False

    async def close(self) -> None:
        """End it, by force if it does not end by itself within seconds."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()


def _free_port() -> int:
    """Find a port that is free for UDP and TCP at this moment."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind(("127.0.0.1", port))
                return port
