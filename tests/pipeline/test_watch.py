"""The watch over our own domains, on a real Redis and the lab: events before mail stops, and a history for `guard`."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from redis.asyncio import Redis

from ops.lab.scenarios import named
from ops.lab.world import Lab
from pipeline import log
from pipeline.clock import Clock
from pipeline.config import load
from pipeline.line import build
from pipeline.spine import Spine
from pipeline.store.published import PublishedStore
from pipeline.watch import OwnWatch, owned
from stages.records import TLSA
from tests.delivery.certificates import leaf
from tests.delivery.mailhost import Script, mailhost
from tests.journeys.test_kill import until
from tests.ops.manual_pages import SCHEMA
from tests.pipeline.yard import Lookout, logged

EVENTS = frozenset({"tlsa.failing", "tlsa.unseen", "tlsa.expiring", "tlsa.fine"})


@dataclass(kw_only=True)
class Post(Lookout):
    """A lookout over our own domains, in a lab."""

    lab: Lab

    async def look(self, ahead: timedelta = timedelta(0)) -> list[tuple[str, str]]:
        """Look at everything so much later; give the events with the domain, of this look alone."""
        self.ahead = ahead
        await self.redis.delete("dp:tlsa-look")
        before = len(self.events())
        await OwnWatch(self.spine(), self.now).look()
        return [(one["event"], one.get("domain", one.get("error"))) for one in self.events()[before:]]

    def events(self) -> list[Mapping[str, Any]]:
        """Give what the watch has told so far."""
        return [one for one in self.told() if one["event"] in EVENTS | {"stage.error"}]


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """Give the file to which events go."""
    with logged(tmp_path / "log.jsonl") as path:
        yield path


@asynccontextmanager
async def post(redis: Any, out: Path, names: tuple[str, ...], own: Mapping[str, Any]) -> AsyncIterator[Post]:
    """Run a lab of some domains."""
    directory = out.parent
    async with Lab.open(directory / "lab", named(*names), "local") as lab:
        path = lab.write_config(directory / "danepipe.toml", more={"own": own})
        yield Post(redis, out, load(path, {}), lab=lab)


async def test_a_domain_fails_and_is_mended(redis: Any, out: Path) -> None:
    """Each change is told of once: nobody answers, the wrong certificate, the right one, and no longer ours to see."""
    async with post(redis, out, ("down",), {"domains": ["down.lab"]}) as here:
        assert await here.look() == [("tlsa.unseen", "down.lab")]
        assert await here.look() == []
        context = leaf("old.down.lab").server()
        async with mailhost(Script(context=context), here.lab.address_of("down.lab"), here.lab.smtp_port):
            assert await here.look() == [("tlsa.failing", "down.lab")]
            (told,) = [one for one in here.events() if one["event"] == "tlsa.failing"]
            assert (told["level"], told["findings"][0]["code"]) == ("error", "dane-mismatch")
            assert told["text"].startswith("mx.down.lab at ")
            assert await here.look(timedelta(hours=23)) == []
            assert await here.look(timedelta(hours=25)) == [("tlsa.failing", "down.lab")]
            context.load_cert_chain(here.lab.placed[0].identity.pem)
            assert await here.look(timedelta(hours=26)) == [("tlsa.fine", "down.lab")]
            assert await here.look(timedelta(days=3)) == []
            check = jsonschema.Draft202012Validator(orjson.loads(SCHEMA.read_bytes()))
            assert [error.message for one in here.events() for error in check.iter_errors(one)] == []


async def test_ends_are_told_of_before_they_come(redis: Any, out: Path) -> None:
    """Signatures of fifteen days that nobody renews are told of in their last fifth.

    A certificate of thirty days is told of a fortnight before, under usage 2 alone.
    """
    domains = ["ee-311.lab", "ta-211.lab"]
    async with post(redis, out, ("ee-311", "ta-211"), {"domains": domains, "warn": "20d"}) as here:
        assert await here.look() == [("tlsa.fine", domain) for domain in domains]
        assert await here.look(timedelta(days=10, hours=1)) == [("tlsa.expiring", "ta-211.lab")]
        assert [one["code"] for one in here.events()[-1]["findings"]] == ["expiring"]
        assert await here.look(timedelta(days=12)) == [("tlsa.expiring", domain) for domain in domains]
        assert {one["code"] for one in here.events()[-2]["findings"] if one["level"] == "soon"} == {"signature-ends"}


async def test_hosts_that_no_mx_names_are_watched_too(redis: Any, out: Path) -> None:
    """A relay is looked at by its own name, without MX."""
    async with post(redis, out, ("rule-dane",), {"hosts": ["relay.rule-dane.lab"]}) as here:
        assert [one.key for one in owned(here.config)] == [f"host:relay.rule-dane.lab:{here.lab.smtp_port}:dane"]
        assert await here.look() == [("tlsa.fine", "relay.rule-dane.lab")]


async def test_what_is_seen_is_kept(redis: Any, out: Path) -> None:
    """Each look adds to the history of each host, with the TTL that the signature vouches for (RFC 4034 section 3.1.4)."""
    async with post(redis, out, ("rollover", "clear"), {"domains": ["rollover.lab", "clear.lab"]}) as here:
        await here.look()
        await here.look(timedelta(minutes=15))
        store, port, now = PublishedStore(redis), here.lab.smtp_port, here.now()
        *before, _ = await store.observe("mx.rollover.lab", port, (), timedelta(0), now)
        assert [(len(one.records), one.ttl, one.ended) for one in before] == [(2, timedelta(minutes=5), now)]
        assert before[0].last - before[0].first >= timedelta(minutes=15)
        (clear,) = await store.observe("mx.clear.lab", port, (), timedelta(0), now)
        assert (clear.records, now - clear.first >= timedelta(minutes=15)) == ((), True)


async def test_looks_at_the_same_moment_are_all_kept(redis: Any) -> None:
    """A command and a clock may look at one host at once: neither takes away what the other saw."""
    store, now = PublishedStore(redis), datetime.now(UTC)
    sets = [(TLSA(3, 1, 1, bytes([number]) * 32),) for number in range(8)]
    await asyncio.gather(*(store.observe("mx.example.com", 25, one, timedelta(hours=1), now) for one in sets))
    seen = await store.observe("mx.example.com", 25, (), timedelta(0), now)
    assert {one.records for one in seen} == {(), *sets}


async def test_one_clock_looks_in_each_interval(redis: Any, out: Path) -> None:
    """Of several clocks one has the turn, and a clock asks for it without looking at Redis at every tick."""
    async with post(redis, out, ("ee-311",), {"domains": ["ee-311.lab"], "interval": "1h"}) as here:
        store = PublishedStore(redis)
        assert [await store.claim(timedelta(hours=1)) for _ in range(2)] == [True, False]
        await OwnWatch(here.spine(), here.now).look()
        assert here.events() == []
        watch, now = OwnWatch(here.spine(), here.now), here.now()
        times = (timedelta(0), timedelta(seconds=1), timedelta(minutes=6), timedelta(minutes=-30))
        assert [watch.is_due(now + time) for time in times] == [True, False, True, True]
    idle = Spine(load(None, {}), redis, build(load(None, {}).pipeline.stages), lambda _: None)
    assert not OwnWatch(idle, lambda: now).is_due(now)


async def test_the_clock_looks_beside_its_work(redis: Any, out: Path) -> None:
    """A step of the clock begins the look and does not wait for it."""
    async with post(redis, out, ("ee-311",), {"domains": ["ee-311.lab"]}) as here:
        clock = Clock(here.spine(), here.now)
        await clock.step()
        await until(lambda: [one["event"] for one in here.events()] == ["tlsa.fine"], 20)


async def test_a_fault_of_ours_is_told_of(redis: Any, out: Path) -> None:
    """What is kept and cannot be read is an event for whoever looks after danepipe, and the clock goes on."""
    async with post(redis, out, ("ee-311",), {"domains": ["ee-311.lab"]}) as here:
        await redis.hset("dp:tlsa-told", f"mx:ee-311.lab:{here.lab.smtp_port}:dane", b"{}")
        ((event, error),) = await here.look()
        assert event == "stage.error"
        assert "not a Told" in error


async def test_redis_away_is_the_clocks_to_tell(out: Path) -> None:
    """The clock meets it in the same moment, and one line is enough."""
    config = load(None, {"DANEPIPE_OWN__DOMAINS": "example.com"})
    spine = Spine(config, Redis(port=1), build(config.pipeline.stages), lambda _: None)
    await OwnWatch(spine, lambda: datetime.now(UTC)).look()
    log._writer.flush()
    assert out.stat().st_size == 0  # noqa: ASYNC240 - nothing else waits
