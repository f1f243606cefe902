"""`danepipe top` on a real Redis with real contents: what it shows, what its keys do, and what happens without Redis."""

import asyncio
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from ops.top.app import Top
from ops.top.screens import DetailScreen, HelpScreen
from ops.top.table import COLUMNS, widths, within
from pipeline.config import load
from pipeline.embedded import EmbeddedRedis
from pipeline.spine import Spine
from pipeline.store.gates import Kind, Suspension
from pipeline.store.ledger import Ledger
from pipeline.store.pulse import COUNTED, SLOT, Beat, PulseStore, Trouble
from tests.needs import free_port, redis_server
from tests.ops.conftest import Run, WithLedger
from tests.ops.test_cli_up import Start, environ, is_up, start
from tests.ops.test_destinations import key, put, soon, spine
from tests.ops.test_metrics import sent

__all__ = ["environ", "spine", "start"]  # fixtures

HOSTILE = "450 [bold red]evil[/bold red] \x1b]0;title\x07\x1b[31m \u202ereversed\nsecond line [link=http://x]"
PATIENCE = 20.0


async def fill(spine: Spine) -> None:
    """Let mail wait for three destinations, and let one of them have said something hostile."""
    for number in range(3):
        await put(spine, f"Ma{number}", "alpha.example", soon(number + 20))
    await put(spine, "Mb", "beta.example")
    for number in range(2):
        await put(spine, f"Mc{number}", "gamma.example", soon(60))
    now = datetime.now(UTC)
    beta = Beat(security="dane", trouble=Trouble("smtp.rcpt_deferred", HOSTILE, "mx.[red].example", now))
    beta.counts[COUNTED.index("dane")] = 60
    slot = int(now.timestamp()) // SLOT - 2
    totals = {slot: {"accepted": 90, "dane": 60, "clear": 3, "deferred": 6}}
    await PulseStore(spine.redis).add(totals, {key("beta.example"): beta}, now, {"resolver": "[b]no[/b] validation"})
    await spine.gates.suspend(Suspension(Kind.DESTINATION, "gamma.example", reason="[red]because"))


@pytest.fixture
async def filled(spine: Spine) -> Spine:
    """Give a spine with contents."""
    await fill(spine)
    return spine


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    """Wait until the screen has come so far."""
    async with asyncio.timeout(PATIENCE):
        while not true():
            await pilot.pause(0.02)


def names(app: Top) -> list[str]:
    """Read the first column of the table."""
    return [str(app.table.get_row_at(place)[0]) for place in range(app.table.row_count)]


def said(app: Top, name: str) -> str:
    """Read one of the lines."""
    return str(app.screen.query_one(f"#{name}", Static).content)


def screen(app: Top) -> str:
    """Read what stands on the whole screen, with the codes that colour it."""
    return app.export_screenshot()


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (40, 12)])
async def test_what_it_shows(filled: Spine, size: tuple[int, int]) -> None:
    """The queue, rates by security, what is amiss, and each destination, on a narrow terminal and on a wide one."""
    app = Top(filled, 0.2)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.table.row_count == 3)
        assert said(app, "queue").startswith("queue 6  waiting 5  held 0  suspended 1  oldest 2026-11-23")
        assert said(app, "rates") == (
            "accepted 3.0/s  delivered 2.1/s (dane 2.0, clear 0.1)  deferred 0.2/s  failed 0/s"
        )
        assert said(app, "alert") == "resolver: [b]no[/b] validation"
        assert names(app) == ["alpha.example", "gamma.example", "beta.example"]
        beta = [str(cell) for cell in app.table.get_row_at(2)]
        assert beta[1] == "1"
        assert float(beta[2]) >= 12
        assert beta[3:5] == ["dane", "flowing"]
        assert [str(app.table.get_row_at(place)[4]) for place in (0, 1)] == ["waiting for retry", "suspended"]
        assert max(app.table.virtual_size.width, 0) <= max(size[0], sum(column.least for column in COLUMNS) + 14)


async def test_each_column_has_a_key(filled: Spine) -> None:
    """A key sorts by its column, and once more the other way round; the same destination stays chosen."""
    app = Top(filled, 60)
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.table.row_count == 3)
        await pilot.press("down", "down")
        for press, expected in (
            ("d", ["alpha", "beta", "gamma"]),
            ("d", ["gamma", "beta", "alpha"]),
            ("b", ["alpha", "gamma", "beta"]),
            ("r", ["beta", "alpha", "gamma"]),
            ("s", ["beta", "alpha", "gamma"]),
            ("t", ["beta", "gamma", "alpha"]),
            ("n", ["alpha", "gamma", "beta"]),
            ("e", ["alpha", "gamma", "beta"]),
        ):
            await pilot.press(press)
            assert [name.partition(".")[0] for name in names(app)] == expected, press
            assert app._chosen() == key("beta.example")
    assert len({column.key for column in COLUMNS}) == len(COLUMNS)


async def test_a_filter_finds_what_the_table_has_no_room_for(filled: Spine) -> None:
    """A part of a name is looked for among all destinations, markup in it is text, and esc shows all again."""
    app = Top(filled, 60)
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.table.row_count == 3)
        await pilot.press("slash", *"beta", "enter")
        await until(pilot, lambda: names(app) == ["beta.example"])
        assert "'beta'" in said(app, "keys")
        await pilot.press("slash")
        app.query_one("#sought", Input).value = "[red]"
        await pilot.press("enter")
        await until(pilot, lambda: app.table.row_count == 0)
        assert "[red]" in said(app, "keys")
        await pilot.press("escape")
        await until(pilot, lambda: app.table.row_count == 3)


async def test_one_destination_in_full(filled: Spine) -> None:
    """Enter shows what keeps its mail, its minutes and its waiting mail with reasons; esc goes back."""
    app = Top(filled, 0.2)
    async with app.run_test(size=(100, 40)) as pilot:
        await until(pilot, lambda: app.table.row_count == 3)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, DetailScreen) and "Mail that waits" in said(app, "text"))
        text = said(app, "text")
        assert "backlog    3 (0 ready, 3 wait for their next try)" in text
        assert "Ma0/0 deferred, attempts 1" in text
        assert "smtp.connect: mx.down.example: connection refused" in text
        await put(filled, "Ma9", "alpha.example")  # it goes on looking
        await until(pilot, lambda: "backlog    4" in said(app, "text"))
        await pilot.press("s", "slash")  # keys of the table
        await pilot.press("escape", "down", "enter")
        await until(
            pilot, lambda: isinstance(app.screen, DetailScreen) and "suspended: [red]because" in said(app, "text")
        )


async def test_hostile_text_is_inert(filled: Spine) -> None:
    """Markup in replies is shown as text; escapes, line breaks and turns of direction are question marks."""
    app = Top(filled, 60)
    async with app.run_test(size=(240, 40)) as pilot:
        await until(pilot, lambda: app.table.row_count == 3)
        expected = "450 [bold red]evil[/bold red] ?]0;title??[31m ?reversed?second line [link=http://x]"
        assert str(app.table.get_row_at(2)[6]) == f"smtp.rcpt_deferred: {expected}"
        shot = screen(app)
        assert "\x1b" not in shot
        assert "\u202e" not in shot
        assert "[bold" in shot
        await pilot.press("r", "up", "enter")
        await until(pilot, lambda: isinstance(app.screen, DetailScreen) and "last error" in said(app, "text"))
        assert expected in said(app, "text")
        assert "\u202e" not in screen(app)


async def test_pause_and_help(filled: Spine) -> None:
    """A screen that is paused stays as it is, says so, and goes on when asked to."""
    app = Top(filled, 0.2)
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.table.row_count == 3)
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        assert "sort" in said(app, "help").lower()
        await pilot.press("escape", "p")
        assert "paused" in said(app, "alert")
        await put(filled, "Md", "delta.example")
        before = app._seen
        await pilot.press("enter")  # a destination is looked at once, and again after its screen was opened
        await until(pilot, lambda: isinstance(app.screen, DetailScreen) and "Mail that waits" in said(app, "text"))
        await pilot.press("escape")
        assert app._seen is before
        await pilot.press("p")
        await until(pilot, lambda: app.table.row_count == 4)
        await pilot.press("q")
    assert app.return_code == 0


async def test_a_redis_that_goes_and_comes(tmp_path: Path) -> None:
    """While Redis is away the screen stays and says so, also over one destination; it goes on by itself."""
    server = EmbeddedRedis(tmp_path, binary=redis_server())
    await server.start()
    config = load(None, {"DANEPIPE_HOSTNAME": "mail.example.org", "DANEPIPE_REDIS__URL": server.url})
    async with Spine.open(config) as spine:
        await fill(spine)
        app = Top(spine, 0.2)
        async with app.run_test() as pilot:
            await until(pilot, lambda: app.table.row_count == 3)
            await server.stop()
            await until(pilot, lambda: "Redis is away" in said(app, "alert"))
            assert "this is what was seen at" in said(app, "alert")
            assert app.table.row_count == 3
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, DetailScreen) and "Redis is away" in said(app, "text"))
            await server.start()
            await until(pilot, lambda: "Mail that waits" in said(app, "text"))
            await pilot.press("escape")
            await until(pilot, lambda: "Redis" not in said(app, "alert"))
            assert app.table.row_count == 3
    await server.stop()


def test_one_table_for_scripts(kept: Run, ledger: WithLedger, redis_url: str) -> None:
    """Without a terminal there is one table, or JSON; hostile text is inert in the one and exact in the other."""

    async def contents(known: Ledger) -> None:
        config = load(None, {"DANEPIPE_HOSTNAME": "mail.example.org", "DANEPIPE_REDIS__URL": redis_url})
        async with Spine.open(config) as spine:
            await fill(spine)
        assert known.prefix == "dp:"

    ledger(contents)
    lines = kept("top").stdout.splitlines()
    assert lines[0].startswith("queue 6  waiting 5")
    assert lines[2] == "resolver: [b]no[/b] validation"
    assert lines[3].split() == ["destination", "backlog", "rate/min", "security", "state", "next", "last", "error"]
    assert [line.split()[0] for line in lines[4:]] == ["alpha.example", "gamma.example", "beta.example"]
    assert "?]0;title?" in lines[6]
    assert kept("top", "--once", "--sort", "rate").stdout.splitlines()[4].split()[0] == "beta.example"
    assert len(kept("top", "--filter", "ALPHA").stdout.splitlines()) == 5
    seen = json.loads(kept("top", "--json").stdout)
    assert seen["queue"]["queue_messages"] == 6
    assert seen["per_second"]["dane"] == 2
    beta = next(row for row in seen["destinations"] if row["name"] == "beta.example")
    assert beta["error"]["text"] == HOSTILE
    assert {row["state"] for row in seen["destinations"]} == {"flowing", "suspended", "waiting for retry"}


def test_what_cannot_be_asked_for(cli: Run) -> None:
    """A number that is none and a Redis that is away are told of in one sentence."""
    for wrong in ("nan", "0", "x", "inf"):
        result = cli("top", "--interval", wrong)
        assert result.exit_code == 2
        assert "--interval" in result.stderr
    result = cli("top", REDIS__URL=f"redis://127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert "cannot be reached" in result.stderr
    assert "Traceback" not in result.stderr


def test_durations_and_widths() -> None:
    """A duration has one unit; columns fill the terminal and never more, as soon as it has room for all."""
    spans = {0: "now", -5: "now", 40: "40s", 60: "1m", 3600: "60m", 7200: "2h", 172800: "2d"}
    assert {seconds: within(timedelta(seconds=seconds)) for seconds in spans} == spans
    assert sum(widths(65)) == sum(column.least for column in COLUMNS) == 65
    assert [sum(widths(total)) for total in (80, 120, 300)] == [80, 120, 300]


async def test_the_command_in_a_terminal(filled: Spine, redis_url: str, tmp_path: Path) -> None:
    """The real command draws on a real terminal, leaves it as it was, and ends with status 0 at q."""
    assert filled.redis is not None
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DANEPIPE_")}
    environ |= {"DANEPIPE_HOSTNAME": "mail.example.org", "DANEPIPE_REDIS__URL": redis_url, "TERM": "xterm-256color"}
    process = subprocess.Popen(  # noqa: ASYNC220 - a terminal of its own, which is read below
        [sys.executable, "-m", "ops.cli", "top", "--interval", "0.2"],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environ | {"PYTHONPATH": os.getcwd()},  # noqa: PTH109
        start_new_session=True,
    )  # fmt: skip
    drawn = b""

    async def read(wanted: bytes) -> None:
        nonlocal drawn
        loop, end = asyncio.get_running_loop(), time.monotonic() + PATIENCE
        while wanted not in drawn:
            assert time.monotonic() < end, drawn[-2000:]
            drawn += await loop.run_in_executor(None, os.read, ours, 65536)

    await read(b"alpha.example")
    await read(b"queue 6")
    os.write(ours, b"q")
    await read(b"\x1b[?1049l")  # the screen that was there before
    assert await asyncio.to_thread(process.wait, PATIENCE) == 0
    assert termios.tcgetattr(theirs) == before
    assert b"\x1b]0;title" not in drawn
    os.close(ours)
    os.close(theirs)


def test_other_commands_do_not_pay() -> None:
    """Textual is imported by the live view alone."""
    program = "import sys, ops.cli.top, ops.cli.queue; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


async def test_it_shows_a_running_pipeline(start: Start, environ: dict[str, str]) -> None:
    """What the processes of `up` do is seen without any setting: what came in, what waits, and a resolver in trouble."""
    up = await start("up")
    await is_up(up)
    await sent(environ)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("DANEPIPE_")} | environ
    seen: dict[str, Any] = {}
    async with asyncio.timeout(60):
        while not (seen.get("per_second", {}).get("accepted") and seen["destinations"] and seen["alerts"]):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "ops.cli", "top", "--json", env=variables, stdout=asyncio.subprocess.PIPE
            )
            seen = json.loads((await process.communicate())[0])
    (row,) = seen["destinations"]
    assert (row["name"], row["backlog"], row["deferred"]) == ("example.org", 1, 1)
    assert row["error"]["code"].startswith("dns.")
    assert row["next_try"] is not None
    assert "mail that DANE concerns waits" in seen["alerts"]["resolver"]
    assert seen["queue"]["queue_messages"] == 1
    up.send_signal(signal.SIGINT)  # its Redis goes with it
    await up.communicate()
    assert up.returncode == 0
