"""A real Postfix in a directory of its own, as a receiving MX or as a sender into our listener.

It runs on loopback with the Debian package's programs, a queue of its own, and no chroot. Starting Postfix takes root:
without it, a test skips on a laptop and fails where `CI=true`.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.needs import free_port, program

_MASTER = """\
{listen} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True)
class Postfix:
    """A running Postfix: its port on 127.0.0.1, its configuration and the directory of delivered mail."""

    port: int
    config: Path
    mail: Path

    def messages(self) -> list[bytes]:
        """Read what was delivered."""
        return [path.read_bytes() for path in sorted(self.mail.rglob("new/*"))]

    def log(self) -> str:
        """Read its log."""
        path = self.config.parent / "postfix.log"
        return path.read_text() if path.exists() else ""


@asynccontextmanager
async def postfix(directory: Path, settings: Mapping[str, str]) -> AsyncIterator[Postfix]:
    """Run Postfix with extra main.cf settings until the block ends."""
    command = program("postfix")
    if os.geteuid() != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("Postfix starts only as root")
        pytest.skip("Postfix starts only as root")
    config, queue, data, mail = (directory / name for name in ("etc", "queue", "data", "mail"))
    for made in (config, queue, data, mail):
        made.mkdir(parents=True)
    for parent in (directory, *directory.parents):  # its unprivileged daemons must reach their directories
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o011)
    port = free_port()
    lines = {
        "compatibility_level": "3.6",
        "queue_directory": str(queue),
        "data_directory": str(data),
        "maillog_file": str(directory / "postfix.log"),
        "maillog_file_prefixes": str(directory),
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "myhostname": "postfix.example",
        "mydestination": "",
        "mynetworks": "127.0.0.0/8",
        "smtputf8_enable": "yes",
        "virtual_mailbox_base": str(mail),
        "virtual_minimum_uid": "1",
        "virtual_uid_maps": "static:65534",
        "virtual_gid_maps": "static:65534",
        "smtp_host_lookup": "native",
        "smtp_dns_support_level": "disabled",
        "alias_maps": "",
        "smtpd_recipient_restrictions": "permit_mynetworks, reject",
        **settings,
    }
    (config / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))
    (config / "master.cf").write_text(_MASTER.format(listen=f"127.0.0.1:{port}"))
    shutil.chown(data, "postfix")
    os.chown(mail, 65534, 65534)
    await _run(command, config, "start")
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield Postfix(port, config, mail)
    finally:
        await _run(command, config, "stop")


async def _run(command: str, config: Path, action: str) -> None:
    process = await asyncio.create_subprocess_exec(
        command, "-c", str(config), action, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"postfix {action} ended with {process.returncode}: {output.decode()}")
