"""Many who ask at once, and those who leave: what takes long for one is no burden to the others."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from redis import Redis

from tests.ops.console_site import PASSWORD, Site, running

AT_ONCE = 4  # explanations
PATIENCE = 20.0  # seconds


class Mute:
    """A name server that hears every question and answers none."""

    def __init__(self) -> None:
        self._heard = b""
        self._news = threading.Condition()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._hear)
        self._thread.start()

    def _hear(self) -> None:
        while (heard := self._socket.recv(4096)) != b"end":
            with self._news:
                self._heard += heard
                self._news.notify_all()

    @property
    def tests(self) -> int:
        """Count how often a self-test began, which comes first in each explanation."""
        return self._heard.count(b"dnssec-failed")

    def wait(self, count: int) -> None:
        """Wait until self-tests began so often."""
        with self._news:
            assert self._news.wait_for(lambda: self.tests >= count, PATIENCE)

    def close(self) -> None:
        """End it."""
        self._socket.sendto(b"end", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()


@pytest.fixture
def mute() -> Iterator[Mute]:
    """Give a name server that never answers."""
    server = Mute()
    yield server
    server.close()


@pytest.fixture
def slow(tmp_path: Path, redis_url: str, mute: Mute) -> Iterator[Site]:
    """Give a console that is patient with DNS: an explanation takes some seconds."""
    with Redis.from_url(redis_url) as client:
        client.flushall()
    with running(tmp_path, redis_url, DNS__SERVERS=f"127.0.0.1@{mute.port}", DNS__TIMEOUT="1s") as site:
        yield site


def ask(site: Site, patience: float = PATIENCE) -> bool:
    """Ask for an explanation, and leave when patience is over; gives whether there was an answer."""
    try:
        return httpx.get(f"{site.url}/explain?address=example.com", timeout=patience).is_success
    except httpx.TimeoutException:
        return False


def test_others_go_on_while_all_seats_wait_for_dns(slow: Site, mute: Mute) -> None:
    """Pages and passwords, which are worked on in threads as well, do not wait for answers from DNS that take long."""
    path = "/destinations/mx:example.com:25:dane/dns"
    with ThreadPoolExecutor(AT_ONCE + 2) as pool, slow.visit() as visit, slow.visit() as other:
        visit.see("/resolvers")
        other.see("/resolvers")
        asked = [pool.submit(ask, slow) for _ in range(AT_ONCE)]
        asked += [pool.submit(lambda: visit.submit(path).is_success) for _ in range(2)]
        mute.wait(AT_ONCE + 2)
        for page in ("/suspensions", "/exclusions", "/messages?in=log"):
            assert other.get(page).status_code == 200
        assert "do not belong together" in other.submit("/login", name="alice", password=PASSWORD).text
        assert not any(one.done() for one in asked)
        assert all(one.result() for one in asked)


def test_nothing_is_asked_for_those_who_left(slow: Site, mute: Mute) -> None:
    """Whoever leaves before it is their turn costs no question."""
    assert ask(slow)
    each = mute.tests
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(ask, slow) for _ in range(AT_ONCE)]
        mute.wait(each + AT_ONCE)
        gone = [pool.submit(ask, slow, 0.5) for _ in range(8)]
        assert not any(one.result() for one in gone)
        assert all(one.result() for one in asked)
        assert ask(slow)
    assert mute.tests == each * (1 + AT_ONCE + 1)
