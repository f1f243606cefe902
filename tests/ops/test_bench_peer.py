"""The comparison with Postfix: what it computes on texts and numbers that are known, and one tiny run of all of it."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from rich.console import Console

from ops.bench.peer.__main__ import file_system, main
from ops.bench.peer.postfix import verified_in
from ops.bench.peer.runs import Run
from ops.bench.peer.table import rows, show
from ops.bench.peer.work import content
from ops.bench.peer.zones import address

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


def test_a_message_is_complete_and_of_its_size() -> None:
    """Neither server has to add a header field (RFC 5322 section 3.6), and a message is 10 KB to within a line."""
    message = content(7, 10_240)
    head, _, _ = message.partition(b"\r\n\r\n")
    assert {line.split(b":")[0] for line in head.split(b"\r\n")} >= {b"From", b"To", b"Date", b"Message-ID", b"Subject"}
    assert message.endswith(b"\r\n.\r\n")
    assert 10_100 < len(message) < 10_300


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
