"""Whatever is wrong with a call or a configuration is one clear sentence, a status other than zero, no traceback."""

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ops.conftest import Run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def taken() -> Iterator[str]:
    """Give an address with a port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def sentence(run: Run, *arguments: str, status: int = 1, **environ: str) -> str:
    """Run a command that must fail, and give its one sentence."""
    result = run(*arguments, **environ)
    assert result.exit_code == status, (result.stdout, result.stderr)
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


PARTS = ("up", "accept", "work", "clock")


@pytest.mark.parametrize("part", PARTS)
def test_a_typo_in_the_configuration(cli: Run, place: Path, part: str) -> None:
    """File, line, key and the nearest known key are named, before anything starts."""
    (place / "d.toml").write_text('\n[queue]\nlifetme = "5d"\n')
    said = sentence(cli, "--config", "d.toml", part)
    assert "d.toml:3: queue.lifetme: unknown key, did you mean 'lifetime'?" in said


def test_a_missing_configuration(cli: Run) -> None:
    """A file that was named must be there."""
    assert "nope.toml: there is no such file" in sentence(cli, "--config", "nope.toml", "clock")


@pytest.mark.parametrize("part", ["accept", "work", "clock"])
def test_redis_away_at_the_start(cli: Run, part: str) -> None:
    """Parts do not start without Redis; key and address are named, and a password is not."""
    said = sentence(cli, part, REDIS__URL="redis://u:secret@127.0.0.1:1/0", LISTEN__SMTP="127.0.0.1:0")
    assert "redis.url: redis://u:***@127.0.0.1:1/0 cannot be reached" in said
    assert "secret" not in said


def test_redis_away_for_up(cli: Run) -> None:
    """`up` checks a configured Redis before it starts a process."""
    assert "redis.url" in sentence(cli, "up", REDIS__URL="redis://127.0.0.1:1/0", LISTEN__SMTP="127.0.0.1:0")


@pytest.mark.parametrize(
    "arguments", [("queue", "list"), ("send", "-"), ("exclude", "list"), ("trace", "X", "--log", "-")]
)
def test_nothing_runs(cli: Run, arguments: tuple[str, ...]) -> None:
    """A command that needs a running danepipe says what to start, and for which data directory."""
    result = cli(*arguments, input=b"From: a@example.com\nTo: b@example.org\n\nx\n")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(
        "danepipe: nothing runs with the data directory var: start danepipe up"
    )


@pytest.mark.parametrize("part", ["accept", "up"])
def test_a_missing_certificate(cli: Run, place: Path, part: str) -> None:
    """A certificate that is configured and not there is named with its key and where that was set."""
    (place / "d.toml").write_text('[listen]\ncertificate = "no.pem"\nkey = "no.key"\n')
    said = sentence(cli, "--config", "d.toml", part)
    assert "listen.certificate (d.toml:2): no.pem" in said


def test_a_certificate_that_is_none(cli: Run, place: Path) -> None:
    """A file that holds no certificate is refused before the listener starts."""
    (place / "c.pem").write_text("hello")
    said = sentence(cli, "up", LISTEN__CERTIFICATE="c.pem", LISTEN__KEY="c.pem", LISTEN__SMTP="127.0.0.1:0")
    assert "c.pem" in said


def test_a_port_in_use(cli: Run, kept: Run, taken: str) -> None:
    """`up` and `accept` say which key named the port, before mail could be lost to a half-started server."""
    assert taken in sentence(cli, "up", LISTEN__SMTP=taken)
    assert "listen.smtp" in sentence(cli, "up", LISTEN__SMTP=taken)
    assert taken in sentence(kept, "accept", LISTEN__SMTP=taken)


async def test_a_port_in_use_is_all_that_is_said(place: Path, redis_url: str, taken: str) -> None:
    """A part that cannot start leaves nothing behind that Python would complain of at its end."""
    environ = {**os.environ, "DANEPIPE_REDIS__URL": redis_url, "DANEPIPE_LISTEN__SMTP": taken, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops.cli", "accept", env=environ, cwd=place, stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    _, said = await process.communicate()
    assert process.returncode == 1
    assert len(said.splitlines()) == 1, said


@pytest.mark.parametrize("part", PARTS)
def test_stages_that_do_not_chain(cli: Run, part: str) -> None:
    """A stage out of place, or one that nobody provides, is named with what it takes."""
    said = sentence(cli, part, PIPELINE__STAGES="exclude,route,resolve,deliver,bounce")
    assert "stage 'exclude' takes Routed" in said
    said = sentence(cli, part, PIPELINE__STAGES="rout,exclude,resolve,deliver,bounce")
    assert "did you mean 'route'?" in said


def test_a_data_directory_that_cannot_be_made(cli: Run, place: Path) -> None:
    """A data directory that cannot be made ends `up` with its key."""
    (place / "file").write_text("")
    said = sentence(cli, "up", STORE__DIR="file/var", LISTEN__SMTP="127.0.0.1:0")
    assert "store.dir (DANEPIPE_STORE__DIR): file/var" in said


@pytest.mark.parametrize(("command", "text"), [("explain", "nobody"), ("exclude test", "@example.org")])
def test_malformed_addresses(cli: Run, command: str, text: str) -> None:
    """The address is named with what would be right."""
    assert text in sentence(cli, *command.split(), text)


def test_unknown_queues(cli: Run) -> None:
    """`work --queues` takes stages of the line only."""
    assert "'rout'" in sentence(cli, "work", "--queues", "rout,deliver")


def test_a_log_that_cannot_be_opened(cli: Run, place: Path) -> None:
    """A log file that cannot be written is named with its key."""
    (place / "dir").mkdir()
    said = sentence(cli, "clock", LOG__FILE="dir", REDIS__URL="redis://127.0.0.1:1/0")
    assert "log.file (DANEPIPE_LOG__FILE): dir" in said


def test_unknown_lab_domains(cli: Run) -> None:
    """A domain that the lab does not have is named with those that it has, before anything starts."""
    said = sentence(cli, "lab", "demo", "nope")
    assert "'nope'" in said
    assert "ee-311" in said
