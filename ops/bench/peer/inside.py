"""The part that runs inside its own namespaces: `python -m ops.bench.peer.inside DIRECTORY`, started by the command.

The directory holds the `job.json`; the runs are put beside it as `runs.json`. Network: loopback alone, so that port 25
and port 53 are free whatever else the machine does. Mounts: /etc/resolv.conf names our resolver. Processes: this one
is the first, and whatever is left ends with it. Raises what went wrong; the command says it in one sentence.
"""

import asyncio
import fcntl
import json
import resource
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.bench.dnssec import far
from ops.bench.peer.compiled import compiled
from ops.bench.peer.far_end import far_end
from ops.bench.peer.resolver import ADDRESS, fill, unbound
from ops.bench.peer.runs import SERVERS, Bench, Run
from ops.bench.peer.work import Work
from ops.bench.peer.zones import serve
from ops.lab.certificates import CertificateAuthority, tlsa_data
from ops.lab.demo import DemoError
from ops.lab.scenario import Certificate, Tlsa

JOB, RUNS = "job.json", "runs.json"
RESOLV_CONF = Path("/etc/resolv.conf")
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1  # netdevice(7)


@dataclass(frozen=True, slots=True)
class Job:
    """What to measure: messages of each run, the numbers of destinations in turn, rounds, the control group or ""."""

    messages: int
    domains: Sequence[int]
    rounds: int
    group: str


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = fcntl.ioctl(control, _GET_FLAGS, struct.pack("16sh14x", b"lo", 0))
        _, flags = struct.unpack("16sh14x", asked)
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))


def _resolve_here(directory: Path) -> None:
    ours = directory / "resolv.conf"
    ours.write_text(f"nameserver {ADDRESS}\noptions trust-ad edns0\n", encoding="ascii")
    subprocess.run(["mount", "--bind", str(ours), str(RESOLV_CONF.resolve())], check=True)  # noqa: S603, S607


def _open_files() -> None:
    """Let everybody open as many files as the machine allows: connections are files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@asynccontextmanager
async def _surroundings(directory: Path, job: Job) -> AsyncIterator[tuple[Bench, str]]:
    """Run the far end, the nameserver and the resolver; gives the bench and the language of the far end."""
    identity = CertificateAuthority(directory, datetime.now(UTC)).issue("mx.bench", Certificate())
    wanted = Tlsa()
    tlsa = f"{wanted.usage} {wanted.selector} {wanted.mtype} {tlsa_data(wanted, identity).hex()}"
    with far_end(directory, identity.pem) as (end, language), far(serve, max(job.domains), tlsa) as names:
        async with unbound(directory, names.text, names.server.port):
            yield (
                Bench(end, compiled("feed", directory), Path(job.group) if job.group else None, names.text, directory),
                language,
            )


async def measure(directory: Path, job: Job) -> dict[str, Any]:
    """Measure everything; the servers take turns, and the one that went first goes second in the next round."""
    runs: list[Run] = []
    _say(f"signing {max(job.domains):,} destinations")
    async with _surroundings(directory, job) as (bench, language):
        for domains in job.domains:
            started = time.monotonic()
            await fill(domains)
            _say(f"the resolver knows {domains:,} destinations, after {time.monotonic() - started:.0f} s")
            for number in range(job.rounds):
                for server in SERVERS if number % 2 == 0 else reversed(SERVERS):
                    run = await bench.measure(server, Work(job.messages, domains))
                    _say(f"{server.name}, {domains:,} destinations: {run.delivered:,.0f} messages/s")
                    runs.append(run)
                    shutil.rmtree(directory / server.name)
    return {"far_end": language, "runs": [asdict(run) for run in runs]}


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main() -> int:
    """Prepare the namespaces and measure; returns the exit status."""
    directory = Path(sys.argv[1])
    job = Job(**json.loads((directory / JOB).read_text(encoding="utf-8")))
    _loopback_up()
    _resolve_here(directory)
    _open_files()
    try:
        measured = asyncio.run(measure(directory, job))
    except (DemoError, RuntimeError, OSError) as error:
        _say(f"bench-peer: failed: {error}")
        return 1
    (directory / RUNS).write_text(json.dumps(measured), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
