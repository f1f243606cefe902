"""What each part of danepipe imports, since what a process has once imported stays in its memory."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiosmtplib

from tests.needs import free_port, redis_server
from tests.ops.test_cli_up import PATIENCE, is_up, until

ROOT = Path(__file__).parents[2]
# Python imports a module of this name at its start, in whatever a test starts and in all that this starts.
NOTING = """
import atexit, json, os, pathlib, sys

def note():
    made = {"command": " ".join(sys.orig_argv[1:]), "modules": sorted(sys.modules)}
    pathlib.Path(os.environ["FOOTPRINT"], str(os.getpid())).write_text(json.dumps(made))

atexit.register(note)
"""
CONFIGURATION = """
hostname = "mail.example.org"
local_domains = ["here.example"]
[listen]
smtp = "127.0.0.1:{smtp}"
[api]
listen = "127.0.0.1:{api}"
[console]
listen = "127.0.0.1:{console}"
[store]
dir = "{place}/var"
content = "file://{place}/content"
[dns]
servers = ["127.0.0.1@1"]
validation = "local"
timeout = "100ms"
anchor_file = "{place}/root.key"
canary_insecure = ["example.org/SOA"]
negative = [{{ name = "broken.example", reason = "broken", expires = "2126-01-01" }}]
[dnssec]
algorithms = [8, 13]
max_queries = 50
[smtp]
source_address = ["127.0.0.1"]
[tls]
min_version = "1.3"
[dane]
on_mismatch = "bounce"
[queue]
retry = ["5m", "1h"]
[work]
processes = 1
[log]
file = "{place}/log.jsonl"
[bounce]
postmaster = "postmaster@example.org"
[recheck]
every = "off"
[[route]]
recipient = ["*@partner.example"]
action = "host"
host = "mx.partner.example"
tls = "verify"
[[exclude]]
pattern = "*@old.example"
reason = "broken"
owner = "ops"
[[destination]]
domain = "*.example.net"
dane.mode = "audit"
"""
ANCHOR = ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n"
OTHERS = {"dns", "aiosmtplib", "starlette", "uvicorn", "prometheus_client", "duckdb"}


@asynccontextmanager
async def started(environ: Mapping[str, str], *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a command, and ask it to end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops.cli", *arguments, env=environ, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def imported(place: Path, command: str) -> set[str]:
    """Give what one command had imported at its end."""
    noted = [json.loads(path.read_bytes()) for path in place.iterdir()]
    (found,) = [one for one in noted if one["command"].startswith(command)]
    return set(found["modules"])


async def test_who_asks_no_dns_and_sends_no_mail_imports_nothing_for_it(tmp_path: Path) -> None:
    """Each part is a process, and each pays for what it imports: DNS, certificates and SMTP clients are for workers.

    `accept` takes mail in, and `clock` and `up` only tell others what to do. That holds with everything configured that
    takes those libraries to check: trust anchors, servers, canaries. Domains that the clock is to look at are left out,
    as it imports them when it does.
    """
    redis_server()
    ports = {name: free_port() for name in ("smtp", "api", "console")}
    (tmp_path / "root.key").write_text(ANCHOR)
    (tmp_path / "danepipe.toml").write_text(CONFIGURATION.format(place=tmp_path, **ports))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NOTING)
    notes = tmp_path / "notes"
    notes.mkdir()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DANEPIPE_")}
    environ |= {
        "DANEPIPE_CONFIG": str(tmp_path / "danepipe.toml"), "FOOTPRINT": str(notes),
        "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT}",
    }  # fmt: skip
    async with started(environ, "up") as up:
        await is_up(up)
        async with started(environ, "clock") as clock:
            await aiosmtplib.send(
                b"From: a@example.com\n\nx\n", sender="a@example.com", recipients=["b@example.org"],
                hostname="127.0.0.1", port=ports["smtp"], start_tls=False,
            )  # fmt: skip
            runs = f'"event":"process.started","level":"info","role":"clock","pid":{clock.pid}'
            await until(lambda: runs in (tmp_path / "log.jsonl").read_text())
    assert "delivery.courier" in imported(notes, "-m pipeline.worker")
    for command in ("up", "accept", "clock"):
        modules = imported(notes, f"-m ops.cli {command}")
        assert {one for one in modules if one.partition(".")[0] in OTHERS} == set()
        # redis-py imports the package `cryptography` itself, and nothing of what is in it
        assert {one for one in modules if one.startswith("cryptography.")} <= {"cryptography.__about__"}
        assert {one for one in modules if one.partition(".")[0] == "delivery"} == {
            "delivery", "delivery.dnssec", "delivery.dnssec.limits", "delivery.settings",
        }  # fmt: skip
