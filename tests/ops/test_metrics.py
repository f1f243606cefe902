"""`danepipe up` with figures for Prometheus: all processes answer at one address, and go on counting when one dies."""

import asyncio
import os
import re
import signal
from asyncio.subprocess import Process
from pathlib import Path

import aiosmtplib

from pipeline.figures import FIGURES
from pipeline.meter import OFFSETS
from tests.needs import free_port
from tests.ops.manual_pages import DOCS
from tests.ops.test_cli_up import MAIL, PATIENCE, Start, environ, events, is_up, start, until

__all__ = ["environ", "start"]  # fixtures


async def scraped(port: int) -> str:
    """Ask as Prometheus asks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.0 200")
    return answer


def value(text: str, series: str) -> float | None:
    """Read one sample."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


async def shows(port: int, series: str, wanted: float) -> str:
    """Wait for a sample to have a value, and give all."""
    async with asyncio.timeout(PATIENCE):
        while value(text := await scraped(port), series) != wanted:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.1)
    return text


async def sent(environ: dict[str, str]) -> None:
    """Send a message to the listener."""
    port = int(environ["DANEPIPE_LISTEN__SMTP"].rpartition(":")[2])
    await aiosmtplib.send(
        MAIL, sender="a@example.com", recipients=["b@example.org"], hostname="127.0.0.1", port=port, start_tls=False
    )


async def test_one_address_for_all_processes(start: Start, environ: dict[str, str], tmp_path: Path) -> None:
    """What accept, worker and clock count is there together; a worker that dies takes its gauges along and no count."""
    port = free_port()
    process = await start_with(start, environ, port)
    await sent(environ)
    await shows(port, 'danepipe_messages_accepted_total{source="smtp"}', 1)
    text = await shows(port, 'danepipe_troubles_total{reason="dns",verdict="defer"}', 1)  # its resolver is away
    assert value(text, "danepipe_resolver_usable") == 0
    assert value(text, "danepipe_pressure") == 0
    assert 'dramatiq_messages_total{actor_name="route",queue_name="route"}' in text
    help_of = dict(re.findall(r"^# HELP danepipe_(\w+) (.*)$", text, re.MULTILINE))
    assert {name.removesuffix("_total"): text for name, text in help_of.items()}.items() <= {
        name: one.text for name, one in FIGURES.items()
    }.items()
    assert value(text, "danepipe_queue_messages") is not None  # by the clock
    (worker,) = {one["pid"] for one in events(environ) if one["role"] == "work"}
    os.kill(worker, signal.SIGKILL)
    await until(lambda: len({one["pid"] for one in events(environ) if one["event"] == "process.started"}) > 3)
    text = await shows(port, 'danepipe_incidents_total{event="process.died"}', 1)
    assert value(text, 'danepipe_troubles_total{reason="dns",verdict="defer"}') == 1
    (shared,) = {Path(path) for path in directories(process)}
    assert not list(shared.glob(f"gauge_*_{worker}.db"))
    process.terminate()
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == 0
    assert not shared.exists()


async def start_with(start: Start, environ: dict[str, str], port: int) -> Process:
    """Start `up` with figures, and wait for it."""
    environ["DANEPIPE_METRICS__LISTEN"] = f"127.0.0.1:{port}"
    process = await start("up")
    await is_up(process)
    return process


def directories(process: Process) -> set[str]:
    """Name the directory that a process has open files of figures in."""
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    return {str(Path(path).parent) for path in re.findall(r"(/\S+/danepipe-metrics-\S+\.db)", maps)}


async def test_an_address_that_is_taken_is_told_of_at_once(start: Start, environ: dict[str, str]) -> None:
    """Nothing runs half: one sentence that names the setting."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    environ["DANEPIPE_METRICS__LISTEN"] = f"127.0.0.1:{port}"
    process = await start("up")
    async with asyncio.timeout(PATIENCE):
        _, said = await process.communicate()
    assert process.returncode == 1
    assert f"metrics.listen (DANEPIPE_METRICS__LISTEN): cannot listen on 127.0.0.1 port {port}" in said.decode()
    server.close()


def test_the_ports_are_those_of_the_manual() -> None:
    """Who follows the page reaches each part: its ports are those that the parts take."""
    page = (DOCS / "deployment.md").read_text()
    first = int(re.findall(r'listen = "127\.0\.0\.1:(9117)"', page)[0])
    told = {"accept": first} | {name: int(port) for name, port in re.findall(r"`(\w+)` at\s[a-z\s]+\((\d+)\)", page)}
    assert told == {name: first + offset for name, offset in OFFSETS.items() if name != "up"}
