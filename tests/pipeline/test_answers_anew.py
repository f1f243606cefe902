"""Answers that are asked for anew while workers share them: one of the workers asks, and the others take what it got."""

from datetime import UTC, datetime, timedelta
from typing import Any

from delivery.dnssec.anchors import Anchors
from delivery.nameserver import Server
from delivery.resolver import DnsSettings, Resolver
from pipeline.store.answers import SharedAnswers
from stages.answer import Found, Question
from tests.delivery.mangled import Mangled
from tests.dnssec.zones import TTL, Tree, Zone

SECONDS = int(datetime.now(UTC).timestamp())
TREE = Tree((Zone(records=("@ MX 10 mx",)),), inception=SECONDS - 86400, expiration=SECONDS + 86400)
MX = Question("example", "MX")


async def test_what_one_worker_asked_for_anew_serves_the_others(redis: Any) -> None:
    """SEC-81: the second worker, which has the old answer too, finds the new one in Redis and asks nobody."""
    began = datetime.now(UTC)  # Redis forgets by its own clock
    clock = [began]

    def worker(server: Server) -> Resolver:
        settings = DnsSettings((server,), "local", Anchors.parse(TREE.anchor), canaries=())
        return Resolver(settings, now=lambda: clock[0], shared=SharedAnswers(redis))

    mangled = Mangled(TREE)
    with mangled.served() as server:
        workers = [worker(server), worker(server)]
        old = [await one.ask(MX) for one in workers]
        assert mangled.asked_over["udp"].count("example/MX") == 1
        clock[0] = began + timedelta(seconds=TTL - 10)
        for one in workers:
            assert await one.ask(MX) in old
            for task in list(one._asking.values()):
                await task
        assert mangled.asked_over["udp"].count("example/MX") == 2
        clock[0] = began + timedelta(seconds=TTL + 10)
        new = [await one.ask(MX) for one in workers]
        for one in workers:
            await one.aclose()
    assert mangled.asked_over["udp"].count("example/MX") == 2
    assert all(isinstance(one, Found) for one in new)
    assert new[0] == new[1]
