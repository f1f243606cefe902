"""The console under `danepipe up`: nothing of it runs until somebody asks, and nothing once nobody does."""

import asyncio
import os
import signal
import socket
from asyncio.subprocess import Process

import httpx
import pytest

from tests.needs import free_port, taken_port
from tests.ops.test_cli_up import PATIENCE, Start, environ, events, gone, logged, said, start, until

__all__ = ["environ", "start"]  # fixtures


async def announced(up: Process) -> str:
    """Wait until `up` says how to send, and give all that it says."""
    assert up.stderr is not None
    told = b""
    async with asyncio.timeout(PATIENCE):
        while b"Ctrl-C" not in told:
            line = await up.stderr.readline()
            assert line, "danepipe up ended"
            told += line
    return told.decode()


async def test_the_console_comes_when_it_is_asked_for(start: Start, environ: dict[str, str]) -> None:
    """Its process starts with the first request, ends when nobody asks, and starts again; a dead one is replaced."""
    port = free_port()
    environ |= {"DANEPIPE_CONSOLE__LISTEN": f"127.0.0.1:{port}", "DANEPIPE_CONSOLE__IDLE": "2s"}
    up = await start("up")
    told = await announced(up)
    assert f"web console:     http://127.0.0.1:{port}\n" in told
    assert not [one for one in events(environ) if one["role"] == "console"]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        assert "Overview" in (await client.get("/")).text
    first = (await logged(environ, "console.started"))["pid"]
    await logged(environ, "process.stopped", role="console")
    await until(lambda: gone(first))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        assert (await client.get("/resolvers")).status_code == 200
        second = (await logged(environ, "console.started"))["pid"]
        assert second != first
    up.send_signal(signal.SIGINT)
    assert (await said(up))[0] == 0
    assert gone(second)
    assert not [one for one in events(environ) if one["event"] == "process.died"]


async def test_a_console_that_dies_comes_again(start: Start, environ: dict[str, str]) -> None:
    """A console that is killed is an event, and the next request finds another one."""
    port = free_port()
    environ["DANEPIPE_CONSOLE__LISTEN"] = f"127.0.0.1:{port}"
    up = await start("up")
    await announced(up)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        await client.get("/")
    os.kill((await logged(environ, "console.started"))["pid"], signal.SIGKILL)
    assert (await logged(environ, "process.died"))["worker"] == "console"
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        assert (await client.get("/")).status_code == 200
    up.send_signal(signal.SIGINT)
    assert (await said(up))[0] == 0


async def test_a_port_that_was_named_must_be_free(start: Start, environ: dict[str, str]) -> None:
    """Who names the port of the console gets it, or one sentence before anything runs."""
    port = free_port()
    environ["DANEPIPE_CONSOLE__LISTEN"] = f"127.0.0.1:{port}"
    with socket.create_server(("127.0.0.1", port)):
        status, _, err = await said(await start("up"))
    assert status == 1
    assert f"console.listen: cannot listen on 127.0.0.1:{port}" in err
    assert len(err.splitlines()) == 1


async def test_mail_does_not_wait_for_the_port_of_the_console(start: Start, environ: dict[str, str]) -> None:
    """Is the usual port taken, `up` says so in its announcement and in the log, and sends mail without the console."""
    with taken_port(8025):
        up = await start("up")
        told = await announced(up)
    assert "web console:     none; console.listen: cannot listen on 127.0.0.1:8025: " in told
    assert "127.0.0.1:8025" in (await logged(environ, "console.absent"))["text"]
    up.send_signal(signal.SIGINT)
    assert (await said(up))[0] == 0


@pytest.mark.parametrize("more", [{"NAMES": "mail.example.org"}, {"TRUST_PROXY": "127.0.0.1"}], ids=["name", "proxy"])
async def test_up_wants_a_user_where_others_reach_it(
    start: Start, environ: dict[str, str], more: dict[str, str]
) -> None:
    """A console that others may reach does not start without users under `up` either; nothing else does then."""
    environ["DANEPIPE_CONSOLE__LISTEN"] = f"127.0.0.1:{free_port()}"
    environ |= {f"DANEPIPE_CONSOLE__{name}": value for name, value in more.items()}
    status, _, err = await said(await start("up"))
    assert status == 1
    assert "danepipe user add NAME" in err


async def test_up_without_a_console(start: Start, environ: dict[str, str]) -> None:
    """`console.listen = "off"`: nothing listens, and nothing is said of it."""
    environ["DANEPIPE_CONSOLE__LISTEN"] = "off"
    up = await start("up")
    told = await announced(up)
    assert "web console" not in told
    up.send_signal(signal.SIGINT)
    assert (await said(up))[0] == 0
