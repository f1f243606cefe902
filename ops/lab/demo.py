"""`danepipe lab demo` and `danepipe lab up`: the lab with danepipe sending into it, and the lab alone.

`run` starts the lab and a whole `danepipe up` (a process of its own, with a private Redis), sends one message to each
domain through its listener, waits, and prints a table of what should have come of each and what did. It returns 0 only
if all agree. `serve` keeps a lab running and shows the configuration that sends into it.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

import aiosmtplib
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ops.lab.fates import Fate, Fates, delivered_to, reported_in
from ops.lab.scenario import SENDER, Expected, Scenario
from ops.lab.scenarios import ALL, named
from ops.lab.unbound import NoUnbound, find_unbound
from ops.lab.world import Lab, Validation, utc_now

START = 60.0  # seconds for danepipe to start
PATIENCE = 120.0  # seconds for all messages to come to their end
STOP = 20.0  # seconds for danepipe to end
_PAGE_WIDTH = 150  # columns of a table that goes to a file or a pipe
_CODE_WIDTH = 18  # columns that the longest code takes, which must not break


class DemoError(Exception):
    """The demonstration cannot be given; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    scenario: Scenario
    address: str
    expected: Expected
    fate: Fate

    @property
    def agrees(self) -> bool:
        """Tell whether it came as it should have."""
        return self.fate.agrees(self.expected)


def possible() -> Validation:
    """Say where security can come from: an Unbound on this machine, or else our own validation."""
    try:
        find_unbound()
    except NoUnbound:
        return "local"
    return "trusted"


async def run(
    scenarios: Sequence[Scenario] = ALL,
    *,
    console: Console | None = None,
    patience: float = PATIENCE,
    validation: Validation | None = None,
) -> int:
    """Give the demonstration; returns the exit status."""
    out = console or _console()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="danepipe-demo-") as name:
        try:
            async with Lab.open(Path(name) / "lab", with_sender(scenarios), validation or possible()) as lab:
                rows, fates = await _give(lab, Path(name), scenarios, patience)
        except (NoUnbound, DemoError) as error:
            Console(stderr=True).print(f"danepipe: {error}", highlight=False, soft_wrap=True)
            return 1
    out.print(table(rows))
    wrong = [row for row in rows if not row.agrees]
    for row in wrong:
        out.print(f"{row.address}: {row.fate.where}: {row.fate.text}", style="red", highlight=False, soft_wrap=True)
    out.print(
        f"{len(rows)} recipients, {len(rows) - len(wrong)} as expected, {len(wrong)} not; "
        f"{fates.events.get('stage.verdict', 0)} verdicts in the log, {time.monotonic() - started:.0f} s",
        highlight=False,
    )
    return 1 if wrong else 0


def with_sender(scenarios: Sequence[Scenario]) -> tuple[Scenario, ...]:
    """Add the sender's domain, to which reports go."""
    there = any(scenario.domain == SENDER for scenario in scenarios)
    return tuple(scenarios) if there else (*named("sender"), *scenarios)


async def _give(lab: Lab, directory: Path, scenarios: Sequence[Scenario], patience: float) -> tuple[list[Row], Fates]:
    port, log = _free_port(), directory / "danepipe.log"
    config = lab.write_config(
        directory / "danepipe.toml",
        more={
            "listen": {"smtp": f"127.0.0.1:{port}"},
            "store": {"dir": str(directory / "var")},
            "log": {"file": str(log), "level": "debug", "format": "json"},
        },
    )
    fates = Fates(log)
    async with danepipe_up(config, port):
        await send(port, scenarios)
        rows = await watch(lab, fates, scenarios, patience)
    return rows, fates


@contextlib.asynccontextmanager
async def danepipe_up(config: Path, port: int) -> AsyncIterator[int]:
    """Run `danepipe up` with a configuration file until the block ends, and give its process id.

    Raises `DemoError` if it does not start.
    """
    errors = config.with_suffix(".err")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DANEPIPE_")}
    with errors.open("wb") as output:  # the file alone counts: a variable of the user's would outweigh it
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops.cli", "--config", str(config), "up", stdout=output, stderr=output, env=environ
        )
    try:
        await _listening(process, port, errors)
        yield process.pid
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _listening(process: asyncio.subprocess.Process, port: int, errors: Path) -> None:
    until = time.monotonic() + START
    while process.returncode is None and time.monotonic() < until:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.close()
        return
    said = _last_line(errors)
    raise DemoError(f"danepipe up did not start within {START:.0f} s{': ' if said else ''}{said}")


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


async def send(port: int, scenarios: Sequence[Scenario]) -> None:
    """Send one message to each domain, all over one connection. Raises `DemoError`."""
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, timeout=30)
    try:
        async with client:
            for scenario in scenarios:
                message = _message(scenario)
                await client.sendmail(f"sender@{SENDER}", list(scenario.addresses), message.as_bytes())
    except (aiosmtplib.SMTPException, OSError) as error:
        raise DemoError(f"danepipe's listener did not take the messages: {error}") from error


def _message(scenario: Scenario) -> EmailMessage:
    message = EmailMessage()
    message["From"] = f"The lab <sender@{SENDER}>"
    message["To"] = ", ".join(scenario.addresses)
    message["Subject"] = scenario.story
    message["Date"] = format_datetime(utc_now())
    message["Message-ID"] = f"<{scenario.name}@{SENDER}>"
    message.set_content(f"{scenario.domain}: {scenario.story}\n\nExpected: {scenario.expected}\n")
    return message


async def watch(lab: Lab, fates: Fates, scenarios: Sequence[Scenario], patience: float) -> list[Row]:
    """Look at log and hosts until every message has come to its end as expected, or patience has."""
    until = time.monotonic() + patience
    while True:
        fates.read()
        rows = list(_rows(lab, fates, scenarios))
        if all(row.fate.final and row.agrees for row in rows) or time.monotonic() > until:
            return rows
        await asyncio.sleep(0.2)


def _rows(lab: Lab, fates: Fates, scenarios: Sequence[Scenario]) -> Iterator[Row]:
    delivered = delivered_to(lab.inbox.messages)
    reported = reported_in(lab.received(SENDER))
    for scenario in scenarios:
        for address, expected in scenario.addresses.items():
            yield Row(scenario, address, expected, fates.of(address, delivered, reported))


def table(rows: Sequence[Row]) -> Table:
    """Lay the outcome out for a terminal."""
    made = Table(
        title="danepipe in the lab, profile mailmarshal", title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    for heading in ("domain", "what is special", "expected", "got", "where it is now", ""):
        made.add_column(heading, overflow="fold", min_width=_CODE_WIDTH if heading in {"expected", "got"} else None)
    for row in rows:
        local, _, domain = row.address.partition("@")
        shown = domain if local == "user" and len(row.scenario.addresses) == 1 else row.address
        style = None if row.agrees else "bold red"
        got = str(row.fate.got) if row.fate.got else "-"
        made.add_row(
            shown,
            row.scenario.story,
            str(row.expected),
            got,
            row.fate.where,
            "ok" if row.agrees else "WRONG",
            style=style,
        )
    return made


def _console() -> Console:
    """Give the terminal, or a page wide enough for the table where there is none."""
    out = Console()
    return out if out.is_terminal else Console(width=_PAGE_WIDTH)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def serve(
    directory: Path,
    scenarios: Sequence[Scenario] = ALL,
    *,
    console: Console | None = None,
    validation: Validation | None = None,
) -> int:
    """Run the lab in `directory` until SIGINT or SIGTERM, and say how to send into it; returns the exit status."""
    out = console or Console()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        async with Lab.open(directory, scenarios, validation or possible()) as lab:
            config = _kept_config(lab, directory)
            out.print(config.read_text(encoding="utf-8"), highlight=False, markup=False, soft_wrap=True)
            out.print(_usage(lab, config), highlight=False, markup=False, soft_wrap=True)
            await ended.wait()
    except NoUnbound as error:
        Console(stderr=True).print(f"danepipe: {error}", highlight=False, soft_wrap=True)
        return 1
    return 0


def _kept_config(lab: Lab, directory: Path) -> Path:
    place = directory.absolute()
    return lab.write_config(place / "danepipe.toml", more={"store": {"dir": str(place / "var")}})


def _usage(lab: Lab, config: Path) -> str:
    return (
        f"The lab is up: {len(lab.scenarios)} domains, resolver {lab.resolver}, mail hosts on port {lab.smtp_port}.\n"
        f"The configuration above is in {config}. In another terminal:\n"
        f"  danepipe --config {config} up\n"
        f"  danepipe --config {config} explain user@{lab.scenarios[-1].domain}\n"
        "Ctrl-C ends the lab."
    )
