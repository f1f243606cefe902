"""The comparison with Postfix: what it computes on texts and numbers that are known, and one tiny run of all of it."""

import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from rich.console import Console

from ops.bench.peer.__main__ import file_system, main
from ops.bench.peer.compiled import compiled
from ops.bench.peer.postfix import verified_in
from ops.bench.peer.runs import Run
from ops.bench.peer.table import rows, show
from ops.bench.peer.work import Work, feed
from ops.bench.peer.zones import address
from tests.needs import free_port, program

LOG = """\
Nov 25 23:53:41 out postfix/tlsproxy[9]: Verified TLS connection established to mx.d1.bench[127.1.0.2]:25: TLSv1.3 with
Nov 25 23:53:41 out postfix/smtp[1]: Verified TLS connection established to mx.d1.bench[127.1.0.2]:25: TLSv1.3 with
Nov 25 23:53:41 out postfix/smtp[2]: Untrusted TLS connection established to mx.d2.bench[127.1.0.3]:25: TLSv1.3 with
Nov 25 23:53:41 out postfix/smtp[1]: 71E: to=<user@d1.bench>, relay=mx.d1.bench[127.1.0.2]:25, delay=0.2, dsn=2.0.0, status=sent (250 ok)
Nov 25 23:53:41 out postfix/smtp[2]: 72E: to=<user@d2.bench>, relay=mx.d2.bench[127.1.0.3]:25, delay=0.2, dsn=2.0.0, status=sent (250 ok)
Nov 25 23:53:42 out postfix/smtp[1]: 73E: to=<user@d1.bench>, relay=mx.d1.bench[127.1.0.2]:25, delay=0.2, dsn=2.0.0, status=sent (250 ok)
Nov 25 23:53:42 out postfix/smtp[2]: Verified TLS connection reused to mx.d1.bench[127.1.0.2]:25: TLSv1.3 with
Nov 25 23:53:42 out postfix/smtp[2]: 74E: to=<user@d3.bench>, relay=mx.d3.bench[127.1.0.4]:25, delay=0.2, dsn=2.0.0, status=sent (250 ok)
Nov 25 23:53:43 out postfix/smtp[2]: Verified TLS connection reused to mx.d1.bench[127.1.0.2]:25: TLSv1.3 with
Nov 25 23:53:43 out postfix/smtp[2]: 75E: to=<user@d1.bench>, relay=mx.d1.bench[127.1.0.2]:25, conn_use=2, delay=0.2, dsn=2.0.0, status=sent (250 ok)
Nov 25 23:53:43 out postfix/smtp[1]: Verified TLS connection reused to mx.d1.bench[127.1.0.2]:25: TLSv1.3 with
Nov 25 23:53:43 out postfix/smtp[1]: 76E: to=<user@d1.bench>, relay=mx.d1.bench[127.1.0.2]:25, delay=0.2, dsn=4.0.0, status=deferred (450 no)
"""


def run(server: str, domains: int, delivered: float, rss: float = 0) -> Run:
    """Make up a measurement."""
    return Run(server, domains, 100, delivered, 200, 1.5, rss, 0, 3, 100)


def test_verified_deliveries_are_those_after_verified_tls() -> None:
    """A delivery counts if its agent's last word on TLS was of the same host, and Verified; each word counts once."""
    assert verified_in(LOG) == 2


def test_the_ratio_is_that_of_medians() -> None:
    """Each figure is the median of its rounds, and the ratio ours divided by theirs; nothing is divided by zero."""
    runs = [run("danepipe", 1, speed) for speed in (400, 900, 600)] + [run("Postfix", 1, 300), run("Postfix", 1, 500)]
    lines = rows([*runs, run("danepipe", 1000, 50), run("Postfix", 1000, 100)])
    delivered = [line for line in lines if line["figure"] == "delivered, messages/s"]
    assert [(line["domains"], line["danepipe"], line["Postfix"], line["ratio"]) for line in delivered] == [
        (1, 600, 400, 1.5), (1000, 50, 100, 0.5),
    ]  # fmt: skip
    assert {line["ratio"] for line in lines if "PSS" in line["figure"]} == {None}
    out = Console(width=110, record=True, file=io.StringIO())
    show(out, lines)
    text = out.export_text()
    assert "|            1 | delivered, messages/s" in text
    assert "|        1,000 | delivered, messages/s" in text


class Host:
    """A mail host that keeps what it is given, or refuses it."""

    def __init__(self, reply: str = "250 taken") -> None:
        self.reply = reply
        self.taken: list[tuple[str, bytes]] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Take a message."""
        self.taken.append((envelope.rcpt_tos[0], envelope.content))
        return self.reply


@contextmanager
def listening(host: Host) -> Iterator[int]:
    """Run a mail host; gives its port."""
    controller = Controller(host, hostname="127.0.0.1", port=free_port(), decode_data=False)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def load(kind: str, directory: Path) -> Path | None:
    """Give the load in C, or None for the one in Python."""
    if kind == "Python":
        return None
    program("cc")
    return compiled("feed", directory)


LOADS = pytest.mark.parametrize("kind", ["C", "Python"])


@LOADS
async def test_both_loads_send_the_same(kind: str, tmp_path: Path) -> None:
    """Each sends all of the work, in turn to all domains, in complete messages (RFC 5322 section 3.6) of 10 KB."""
    host = Host()
    with listening(host) as port:
        times = await feed(port, Work(messages=40, domains=4, connections=3), load(kind, tmp_path))
    assert 0 < times.first < times.last <= time.monotonic()
    assert Counter(recipient for recipient, _ in host.taken) == {f"user@d{number}.bench": 10 for number in range(4)}
    messages = [message_from_bytes(octets) for _, octets in host.taken]
    assert len({message["Message-ID"] for message in messages}) == 40
    for message, (_, octets) in zip(messages, host.taken, strict=True):
        assert {"From", "To", "Date", "Message-ID", "Subject"} <= set(message.keys())
        assert 10_100 < len(octets) < 10_300


@LOADS
async def test_a_load_that_is_refused_says_so(kind: str, tmp_path: Path) -> None:
    """What is not taken is not counted: the measurement ends with the reply."""
    with listening(Host("554 no")) as port, pytest.raises(RuntimeError, match="554 no"):
        await feed(port, Work(messages=1, domains=1, connections=1), load(kind, tmp_path))


def test_each_destination_has_an_address_of_its_own() -> None:
    """Connections are reused by address, so none is shared; and none is 127.0.0.1, where others listen."""
    addresses = {address(number) for number in range(10_000)}
    assert len(addresses) == 10_000
    assert not any(one.startswith("127.0.") for one in addresses)


def test_the_disk_is_named() -> None:
    """The file system of a directory is that of the deepest mount above it."""
    if not Path("/proc/mounts").exists():
        pytest.skip("needs /proc")
    assert file_system(Path("/proc/self")) == "proc"


@pytest.mark.parametrize("arguments", [["--messages", "0"], ["--domains", "0"], ["--domains", "1", "100000"]])
def test_numbers_out_of_bounds_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A number that cannot be measured ends the command before anything runs."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "numbers are 1 or more, and there are at most 60,000 destinations" in capsys.readouterr().err


def test_a_tiny_run_measures_both_and_leaves_nothing(tmp_path: Path) -> None:
    """Both servers deliver all mail over verified connections, all figures are there, and no file stays behind."""
    written = tmp_path / "peer.json"
    command = [sys.executable, "-m", "ops.bench.peer", "--messages", "40", "--domains", "1", "--json", str(written)]
    with TemporaryDirectory(prefix="danepipe-bench-test-") as name:  # pytest's own are closed to Postfix's users
        scratch = Path(name)
        scratch.chmod(0o755)
        environ = {**os.environ, "TMPDIR": name}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=110, check=False)
        left = list(scratch.iterdir())
    if done.returncode == 2:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(done.stderr.strip())
    assert (done.returncode, done.stderr.count("messages/s")) == (0, 2), done.stderr
    runs = json.loads(written.read_text())["runs"]
    assert [(one["server"], one["verified"]) for one in runs] == [("danepipe", 40), ("Postfix", 40)]
    assert all(one["connections"] and one["processor"] > 0 and one["rss"] > 1 for one in runs)
    assert "deliveries verified by DANE" in done.stdout
    assert left == []
