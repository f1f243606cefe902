"""What is counted for Prometheus: each event once, in words of ours, at next to no cost."""

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from redis.asyncio import Redis

from pipeline import log
from pipeline.config import ConfigError, load
from pipeline.figures import FIGURES
from pipeline.meter import clear
from pipeline.metrics import CLASSES, INCIDENTS, Metrics
from pipeline.store.census import take
from pipeline.store.ledger import Ledger
from stages.plan import Trouble
from tests.pipeline.test_ledger import message
from tests.stopwatch import processor_seconds

VERDICT: dict[str, Any] = {
    "stage": "deliver", "verdict": "done", "message": "M1", "recipients": ["b@example.com"],
    "destination": "mx:example.com:25:dane", "code": "smtp.accepted", "status": "2.0.0", "text": "", "remote": "",
    "reply": "", "facts": {"security": "dane"}, "seconds": 0.2, "age": 1.5, "tried": 0, "relayed": False,
}  # fmt: skip
ATTEMPT: dict[str, Any] = {"demand": "dane", "outcome": "session", "seconds": 0.1}


@pytest.fixture
def registry() -> CollectorRegistry:
    """Give an empty registry."""
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Iterator[Metrics]:
    """Give figures that count the events of this test."""
    made = Metrics(registry)
    log.counted_by(made.count)
    yield made
    log.counted_no_more(made.count)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """Give one sample; 0 if there is none."""
    return registry.get_sample_value(f"danepipe_{name}", labels) or 0.0


def test_every_verdict_is_counted_once(registry: CollectorRegistry, metrics: Metrics) -> None:
    """Recipients, not messages; the notice about a failure is no second recipient."""
    for changes in (
        {},
        {"recipients": ["b@example.com", "c@example.com"], "relayed": True, "tried": 3},
        {"verdict": "defer", "code": "dns.tlsa_lookup", "stage": "resolve"},
        {"verdict": "refuse", "code": "dane.mismatch"},
        {"verdict": "done", "code": "bounce.owed", "stage": "bounce"},
        {"verdict": "done", "code": "route.copy_rule_gone", "stage": "route"},
        {"verdict": "proceed", "code": "resolve.planned", "stage": "resolve", "facts": {"dns_seconds": 0.02}},
    ):
        metrics.count("stage.verdict", {**VERDICT, **changes})
    assert value(registry, "recipients_settled_total", state="delivered", security="dane") == 1
    assert value(registry, "recipients_settled_total", state="relayed", security="dane") == 2
    assert value(registry, "recipients_settled_total", state="failed", security="none") == 1
    assert value(registry, "recipients_settled_total", state="dropped", security="none") == 1
    assert value(registry, "troubles_total", verdict="defer", reason="dns") == 1
    assert value(registry, "troubles_total", verdict="refuse", reason="dane") == 1
    assert value(registry, "first_attempt_seconds_count") == 2
    assert value(registry, "delivery_seconds_count") == 2
    assert value(registry, "dns_seconds_sum") == 0.02


def test_labels_do_not_grow_by_what_others_say(registry: CollectorRegistry, metrics: Metrics) -> None:
    """Codes of plug-ins, ways in and outcomes that are none of ours are `other`, and no domain is a label."""
    for number in range(50):
        other = f"x{number}.example"
        metrics.count("stage.verdict", {**VERDICT, "verdict": "defer", "code": f"{other}.code", "destination": other})
        metrics.count("stage.verdict", {**VERDICT, "facts": {"security": other}, "recipients": [f"a@{other}"]})
        metrics.count("delivery.attempt", {"demand": other, "outcome": other, "host": other, "seconds": 1.0})
        metrics.count("message.accepted", {"source": other})
    assert value(registry, "attempts_total", demand="other", outcome="other") == 50
    assert "example" not in generate_latest(registry).decode().partition("# HELP")[2].replace("example.com", "")
    assert sum(len(family.samples) for family in registry.collect()) < 150


def test_all_events_that_ask_for_a_look_are_counted(registry: CollectorRegistry, metrics: Metrics) -> None:
    """An incident is an event that there is, stands at 0 before the first, and has one counter."""
    assert set(INCIDENTS) <= set(log.EVENTS)
    assert all(registry.get_sample_value("danepipe_incidents_total", {"event": one}) == 0 for one in INCIDENTS)
    log.emit("nudge.failed", level="debug", names=[], error="")  # below what is logged, and counted all the same
    assert value(registry, "incidents_total", event="nudge.failed") == 1
    assert {str(one).partition(".")[0] for one in Trouble} <= CLASSES


def test_resolver_and_door(registry: CollectorRegistry, metrics: Metrics) -> None:
    """A gauge is there from when it is known: a part that asks no DNS must not say that the resolver is unusable."""
    assert registry.get_sample_value("danepipe_resolver_usable") is None
    for event, fields, expected in (
        ("resolver.canary", {"passed": False}, None),
        ("resolver.suspended", {}, 0),
        ("resolver.canary", {"passed": True}, 1),
        ("resolver.suspended", {}, 0),
        ("resolver.restored", {}, 1),
    ):
        metrics.count(event, fields)
        assert registry.get_sample_value("danepipe_resolver_usable") == expected
    metrics.count("accept.pressure", {"state": "full"})
    assert value(registry, "pressure") == 2
    for reply in ("552 5.3.4 too large", "452 4.3.1 full", ""):
        metrics.count("message.refused", {"reply": reply})
    assert [value(registry, "commands_refused_total", reply=one) for one in ("5yz", "4yz", "tls")] == [1, 1, 1]


async def test_the_clock_counts_what_redis_holds(registry: CollectorRegistry, metrics: Metrics, redis: Redis) -> None:
    """One look at a real Redis gives all gauges of the clock, each under its name."""
    assert (await take(redis, "dp:")).oldest is None
    kept = message("M1", 2)
    await Ledger(redis).accept(kept, b"x")
    metrics.take(await take(redis, "dp:"))
    assert value(registry, "queue_messages") == 1
    assert value(registry, "queue_oldest_timestamp_seconds") == pytest.approx(
        kept.envelope.accepted.timestamp(), abs=0.01
    )
    assert value(registry, "redis_memory_bytes") > 0
    assert abs(value(registry, "clock_looked_timestamp_seconds") - time.time()) < 5


def test_each_figure_says_what_to_do() -> None:
    """A figure's text names a movement and, after a colon, what to do about it."""
    assert [one.name for one in FIGURES.values() if ": " not in one.text or len(one.text) < 60] == []
    assert len(FIGURES) <= 30


def test_counting_costs_next_to_nothing(metrics: Metrics) -> None:
    """All that is counted for a message takes far less than a tenth of the millisecond that a message takes."""
    rounds = 2000

    def count() -> None:
        for _ in range(rounds):
            metrics.count("message.accepted", {"source": "smtp"})
            for stage in ("route", "exclude", "resolve"):
                metrics.count(
                    "stage.verdict", {**VERDICT, "verdict": "proceed", "stage": stage, "facts": {"dns_seconds": 0.1}}
                )
            metrics.count("delivery.attempt", ATTEMPT)
            metrics.count("stage.verdict", VERDICT)
            metrics.count("message.done", {"message": "M1"})

    assert processor_seconds(count, tries=5) / rounds < 0.0003


@pytest.mark.parametrize("port", [0, 65532])
def test_ports_that_are_no_use_are_refused(port: int) -> None:
    """The parts take ports beside each other, so there must be some."""
    with pytest.raises(ConfigError, match="1 to 65531"):
        load(None, {"DANEPIPE_METRICS__LISTEN": f"127.0.0.1:{port}"})


def test_what_a_killed_part_leaves_is_removed(tmp_path: Path) -> None:
    """Only what nobody holds goes, and nothing that is just being made."""
    left, held, young = (tmp_path / f"danepipe-metrics-{name}" for name in ("left", "held", "young"))
    for directory in (left, held, young):
        directory.mkdir()
        (directory / "counter_1.db").touch()
    for directory in (left, held):
        os.utime(directory, (0, 0))
    holder = os.open(held, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    clear(tmp_path)
    os.close(holder)
    assert sorted(tmp_path.iterdir()) == sorted([held, young])
