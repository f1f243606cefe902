"""Counting for Prometheus: what each event adds to which of the figures of `pipeline.figures`.

Nearly all of it is counted where events are written (`pipeline.log.emit` hands every event to `count`), so nothing is
counted in two places. Words that are none of ours are `other`, so that labels do not grow by what others say. A gauge
is there from the first time that it is set: each part of danepipe sets its own, and a 0 of another would be wrong.
"""

import threading
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import fields as fields_of
from datetime import datetime
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from pipeline.figures import FIGURES, Figure, Kind
from pipeline.store.census import Census
from stages.plan import Trouble

Fields = Mapping[str, Any]

SOURCES = frozenset({"smtp", "send", "sendmail", "bounce", "copy", "api"})
SECURITY = frozenset({"none", "encrypted", "dane", "dane-host-only", "verified"})
CLASSES = frozenset({"route", "dns", "dane", "tls", "smtp", "content", "queue"})
OUTCOMES = frozenset({"session", *map(str, Trouble)})
DEMANDS = frozenset({"dane", "encrypt", "verify", "may"})
KINDS = frozenset({"failed", "delayed", "relayed"})
STATES = {"open": 0, "slowed": 1, "full": 2}
# Events that somebody may have to look at, and that no other figure counts.
INCIDENTS = (
    "body.gone", "body.left", "dane.parked", "lease.lost", "lease.reaped", "log.library", "nudge.failed",
    "process.died", "redis.unavailable", "redis.unsafe", "resolver.cache", "resolver.disagreement", "resolver.limit",
    "tlsa.failing", "tlsa.expiring", "webhook.failed", "webhook.missed",
)  # fmt: skip


def one_of(known: Container[str], word: object) -> str:
    """Give a word if it is one of ours, else `other`."""
    return str(word) if word in known else "other"


class Metrics:
    """All figures of a process. `count` takes every event; the methods below it take what no event tells."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._gauges: dict[str, Gauge] = {}
        self._counters = {one.name: self._counter(one) for one in FIGURES.values() if one.kind is Kind.COUNTER}
        self._histograms = {one.name: self._histogram(one) for one in FIGURES.values() if one.kind is Kind.HISTOGRAM}
        self._counts: dict[str, Callable[[Fields], None]] = {
            "message.accepted": lambda fields: self._add("messages_accepted", one_of(SOURCES, fields["source"])),
            "message.refused": self._refused,
            "stage.verdict": self._ruled,
            "delivery.attempt": self._attempted,
            "bounce.sent": lambda fields: self._add("reports", one_of(KINDS, fields["kind"])),
            "circuit.opened": lambda _fields: self._add("circuits_opened"),
            "stage.error": lambda fields: self._add("stage_errors", fields["stage"]),
            "accept.pressure": lambda fields: self.set("pressure", STATES[fields["state"]]),
            "resolver.suspended": lambda _fields: self.set("resolver_usable", 0),
            "resolver.restored": lambda _fields: self.set("resolver_usable", 1),
            "resolver.canary": self._examined,
        } | {name: self._incident(name) for name in INCIDENTS}

    def count(self, event: str, fields: Fields) -> None:
        """Take an event that is being written."""
        counts = self._counts.get(event)
        if counts is not None:
            counts(fields)

    def take(self, census: Census) -> None:
        """Take what the clock counted."""
        for field in fields_of(census):
            if field.name != "oldest":
                self.set(field.name, getattr(census, field.name))
        self.set("queue_oldest_timestamp_seconds", census.oldest.timestamp() if census.oldest is not None else 0)
        self.set("clock_looked_timestamp_seconds", time.time())

    def take_test(self, ended: datetime) -> None:
        """Take the time at which a self-test of the resolver ended."""
        self.set("resolver_tested_timestamp_seconds", ended.timestamp())

    def set(self, name: str, value: float) -> None:
        """Set a gauge, by its name in `FIGURES`."""
        with self._lock:  # events come from several threads
            if name not in self._gauges:
                figure = FIGURES[name]
                self._gauges[name] = Gauge(
                    f"danepipe_{name}", figure.text, registry=self._registry, multiprocess_mode=figure.mode
                )
        self._gauges[name].set(value)

    def _counter(self, figure: Figure) -> Counter:
        return Counter(f"danepipe_{figure.name}", figure.text, figure.labels, registry=self._registry)

    def _histogram(self, figure: Figure) -> Histogram:
        name, buckets = f"danepipe_{figure.name}", figure.buckets
        return Histogram(name, figure.text, figure.labels, registry=self._registry, buckets=buckets)

    def _add(self, name: str, *labels: str, by: int = 1) -> None:
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc(by)

    def _incident(self, name: str) -> Callable[[Fields], None]:
        counter = self._counters["incidents"].labels(name)  # from the start at 0: a first incident then is a rise
        return lambda _fields: counter.inc()

    def _refused(self, fields: Fields) -> None:
        first = fields["reply"][:1]
        self._add("commands_refused", f"{first}yz" if first in {"4", "5"} else "tls")

    def _examined(self, fields: Fields) -> None:
        if fields["passed"]:  # of several resolvers one is enough
            self.set("resolver_usable", 1)

    def _attempted(self, fields: Fields) -> None:
        demand, outcome = one_of(DEMANDS, fields["demand"]), one_of(OUTCOMES, fields["outcome"])
        self._add("attempts", demand, outcome)
        if outcome == "session":
            self._histograms["session_seconds"].labels(demand).observe(fields["seconds"])

    def _ruled(self, fields: Fields) -> None:
        verdict, code, recipients = fields["verdict"], fields["code"], len(fields["recipients"])
        if verdict == "proceed":
            if fields["seconds"] and "dns_seconds" in fields["facts"]:  # 0: it goes by a plan that was there
                self._histograms["dns_seconds"].observe(fields["facts"]["dns_seconds"])
            return
        if fields["stage"] == "deliver" and not fields["tried"]:
            self._histograms["first_attempt_seconds"].observe(fields["age"])
        if verdict != "done":
            self._add("troubles", verdict, one_of(CLASSES, code.partition(".")[0]), by=recipients)
            if verdict == "refuse":
                self._add("recipients_settled", "failed", "none", by=recipients)
        elif code == "smtp.accepted":
            state = "relayed" if fields["relayed"] else "delivered"
            security = one_of(SECURITY, fields["facts"].get("security"))
            self._add("recipients_settled", state, security, by=recipients)
            self._histograms["delivery_seconds"].observe(fields["age"])
        elif fields["stage"] != "bounce":  # that one is about a report, for recipients that were counted as failed
            self._add("recipients_settled", "dropped", "none", by=recipients)
