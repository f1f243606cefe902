"""Postfix as it is measured: DANE, and tuned for throughput as far as its own documentation goes.

Tuned means: connections are kept and reused, also those with TLS; many connections to a destination at once and from
the start; no pause on input; enough processes and enough mail in the active queue. Durability is not for sale: each
message is on disk before its 250, as always with Postfix. It runs with a queue of its own, without chroot.
"""

import asyncio
import os
import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ops.bench.figures import NotHere

NAME = "Postfix"
_PLACES = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
_START = 30.0  # seconds
_TUNED = {
    "default_process_limit": "200",
    "default_destination_concurrency_limit": "50",
    "initial_destination_concurrency": "20",
    "in_flow_delay": "0",
    "smtp_tls_connection_reuse": "yes",
    "smtp_connection_cache_on_demand": "yes",
    "smtp_connection_reuse_count_limit": "0",
    "smtpd_client_connection_count_limit": "0",
    "qmgr_message_active_limit": "20000",
    "hash_queue_depth": "1",
}
_DANE = {"smtp_dns_support_level": "dnssec", "smtp_tls_security_level": "dane", "smtp_tls_loglevel": "1"}
_TOLD = re.compile(
    r"postfix/smtp\[(\d+)\]: (?:(\w+) TLS connection (?:established|reused) to (\S+\]:\d+):"
    r"|.* relay=(\S+\]:\d+), .* status=sent )"
)
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def find_postfix() -> str:
    """Find the program. Raises `NotHere`."""
    path = shutil.which("postfix", path=_PLACES)
    if path is None:
        raise NotHere("there is no Postfix to compare with: install it (Debian and Ubuntu: apt install postfix)")
    return path


def _write(directory: Path, port: int) -> Path:
    config, data = directory / "etc", directory / "data"
    for made in (config, data, directory / "queue"):
        made.mkdir()
    shutil.chown(data, "postfix")
    settings = {
        "compatibility_level": "3.6",
        "queue_directory": str(directory / "queue"),
        "data_directory": str(data),
        "maillog_file": str(directory / "log"),
        "maillog_file_prefixes": str(directory),
        "myhostname": "out.bench",
        "mydestination": "",
        "mynetworks": "127.0.0.0/8",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "alias_maps": "",
        "local_recipient_maps": "",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        **_DANE,
        **_TUNED,
    }
    (config / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in settings.items()), "utf-8")
    (config / "master.cf").write_text(_MASTER.format(port=port), "utf-8")
    return config


@asynccontextmanager
async def up(directory: Path, port: int, anchor: str) -> AsyncIterator[int]:  # noqa: ARG001 - it believes its resolver
    """Run it in a directory until the block ends; gives the process id of its master. Raises RuntimeError."""
    program, config = find_postfix(), _write(directory, port)
    await _run(program, config, "start")
    try:
        until = time.monotonic() + _START
        while not await _greets(port):
            if time.monotonic() > until:
                raise RuntimeError(f"Postfix does not start: {_last_line(directory / 'log')}")
            await asyncio.sleep(0.1)
        yield int((directory / "queue" / "pid" / "master.pid").read_text(encoding="ascii"))
    finally:
        await _run(program, config, "stop")


async def _run(program: str, config: Path, action: str) -> None:
    output = config / "output"
    with output.open("wb") as out:  # no pipe: the daemons keep it open
        process = await asyncio.create_subprocess_exec(program, "-c", str(config), action, stdout=out, stderr=out)
    if await process.wait():
        said = _last_line(output) or _last_line(config.parent / "log")
        raise RuntimeError(f"postfix {action} failed: {said or 'it says nothing'}")


async def _greets(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return lines[-1] if lines else ""


def verified(directory: Path) -> int:
    """Count deliveries over connections that DANE verified, by the log."""
    return verified_in((directory / "log").read_text(encoding="utf-8", errors="replace"))


def verified_in(log: str) -> int:
    """Count in the text of a log: a delivery agent tells of the TLS of a connection, new or reused, before it sends."""
    proven: dict[str, str] = {}
    count = 0
    for agent, level, host, relay in _TOLD.findall(log):
        if level:
            proven[agent] = host if level == "Verified" else ""
        else:
            count += proven.pop(agent, "") == relay
    return count
