"""A running `danepipe console` for tests: its address, its log, and clients that do what a browser does."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.needs import free_port
from tests.ops.test_cli_up import until

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"


class Visit(httpx.Client):
    """A client that keeps cookies, names its origin, and sends the token of the page that it saw last."""

    def __init__(self, url: str) -> None:
        super().__init__(base_url=url, timeout=30, headers={"Origin": url})
        self.token = ""

    def see(self, path: str) -> httpx.Response:
        """Open a page, and follow where it sends."""
        answer = self.get(path, follow_redirects=True)
        found = re.search(r'name="token" value="(\w+)"', answer.text)
        self.token = found[1] if found else self.token
        return answer

    def submit(self, path: str, **fields: str) -> httpx.Response:
        """Send a form."""
        return self.post(path, data={"token": self.token, **fields})

    def login(self, name: str, password: str = PASSWORD) -> httpx.Response:
        """Log in."""
        self.see("/login")
        answer = self.submit("/login", name=name, password=password)
        self.see("/")
        return answer


class Site:
    """A running console."""

    def __init__(self, port: int, log: Path, redis_url: str, environ: dict[str, str]) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self.redis_url = redis_url
        self.environ = environ

    def visit(self) -> Visit:
        """Give a browser that has not been here before."""
        return Visit(self.url)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Read the log as far as it is written."""
        found = [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]
        return [event for event in found if event["event"] == kind]

    def told(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Wait until the log holds such an event, and give the last one."""

        def fitting() -> list[dict[str, Any]]:
            return [one for one in self.events(kind) if fields.items() <= one.items()]

        asyncio.run(until(lambda: bool(fitting())))
        return fitting()[-1]

    def command(self, *words: str, given: str = "") -> str:
        """Run a command beside it; gives what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "ops.cli", *words], env=self.environ, input=given, text=True, capture_output=True,
            check=True, cwd=self.log.parent,
        )  # fmt: skip
        return done.stdout

    def add_user(self, name: str, role: str = "act", password: str = PASSWORD) -> None:
        """Add a user."""
        self.command("user", "add", name, "--role", role, given=f"{password}\n")


def environ_of(port: int, log: Path, redis_url: str, **more: str) -> dict[str, str]:
    """Give the environment of a process that listens there; no resolver answers it, and quickly so."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DANEPIPE_")}
    ours = {
        "CONSOLE__LISTEN": f"127.0.0.1:{port}", "HOSTNAME": "mail.example.org", "LOG__FILE": str(log),
        "REDIS__URL": redis_url, "DNS__SERVERS": "127.0.0.1@1", "DNS__TIMEOUT": "50ms", "DNS__ATTEMPTS": "1",
        "DNS__RETRY": "1ms", **more,
    }  # fmt: skip
    return {**kept, **{f"DANEPIPE_{name}": value for name, value in ours.items()}, "PYTHONPATH": str(ROOT)}


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(place: Path, redis_url: str, address: str = "127.0.0.1", **more: str) -> Iterator[Site]:
    """Run a process of it; it ends well when asked."""
    port, log = free_port(), place / "log.jsonl"
    environ = environ_of(port, log, redis_url, **{"CONSOLE__LISTEN": f"{address}:{port}", **more})
    with subprocess.Popen([sys.executable, "-m", "ops.cli", "console"], env=environ, cwd=place) as process:
        try:
            asyncio.run(until(lambda: _answers(port) or process.poll() is not None))
            yield Site(port, log, redis_url, environ)
        finally:
            process.terminate()
            assert process.wait(20) == 0
