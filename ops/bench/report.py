"""What it costs to sum up a log: seconds and memory of `danepipe report`, by number of events.

The log is made here: seven events a message, as a delivery with DANE writes them, to 10,000 domains; one message in a
hundred is deferred once, one in a thousand refused. `DANEPIPE_REPORT_EVENTS` says how many events; one million without.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import orjson

from ops.bench.figures import Figure
from ops.bench.processes import tree_use

EVENTS = 1_000_000
_DOMAINS = 10_000
_RATE = 500  # events a second in the log
_TLS = {
    "version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "chain_length": 2,
    "spki_sha256": "d2f3cdd39aff97ac75b0c72baef2f9089ef0f4e2e7df9819564312cf70f5ece9",
    "matched": "3 1 1 d2f3cdd39aff97ac75b0c72baef2f9089ef0f4e2e7df9819564312cf70f5ece9", "matched_depth": 0,
}  # fmt: skip


def events(count: int) -> Iterator[bytes]:
    """Make the lines of a log of about so many events."""
    made = 0
    while made < count:
        for line in _story(made):
            yield line
            made += 1


def _story(made: int) -> Iterator[bytes]:
    number = made // 7
    message, domain = f"MWWL{number:012}", f"d{number % _DOMAINS:05}.example"
    destination, host = f"mx:{domain}:25:dane", f"mx.{domain}"
    people = [f"user@{domain}"]
    plan = {
        "destination": destination, "mx": "secure", "dns_seconds": 0.021, "resolver": "127.0.0.1@53", "skipped": [],
        "hosts": [{"host": host, "preference": 10, "demand": "dane", "address": "secure", "tlsa": "secure",
                   "base": host, "records": [_TLS["matched"]]}],
    }  # fmt: skip
    place = {"host": host, "ip": "192.0.2.25", "port": 25, "demand": "dane"}

    def line(offset: int, event: str, **fields: object) -> bytes:
        second, rest = divmod(made + offset, _RATE)
        day, second = divmod(second, 86_400)
        stamp = (
            f"2026-11-{1 + day % 28:02}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{rest * 1999:06}Z"
        )
        head = {"timestamp": stamp, "event": event, "level": "info", "role": "work", "pid": 4711, "message": message}
        return orjson.dumps(head | fields, option=orjson.OPT_APPEND_NEWLINE)

    def verdict(offset: int, stage: str, ruled: str, code: str, facts: object) -> bytes:
        return line(
            offset, "stage.verdict", stage=stage, verdict=ruled, recipients=people, destination=destination, code=code,
            status="2.0.0", text=f"{host}: 250 2.0.0 queued (reply to .)", remote=host, reply="250 2.0.0 queued",
            facts=facts, seconds=round(0.001 * (1 + number * 7919 % 400), 6),
        )  # fmt: skip

    yield line(0, "message.accepted", sender="alice@example.org", recipients=people, size=10_000, source="smtp",
               peer="192.0.2.7", protocol="ESMTPS", message_id=f"<{number}@example.org>")  # fmt: skip
    yield verdict(1, "route", "proceed", "route.routed", {"routes": {f"{message}/0": destination}})
    yield verdict(2, "exclude", "proceed", "exclude.none", {"destination": destination})
    yield verdict(3, "resolve", "proceed", "resolve.planned", plan)
    yield line(4, "delivery.attempt", destination=destination, **place, address="192.0.2.25", outcome="session",
               text="", reply="", security="dane", tls=_TLS, audit_failure="", seconds=0.094)  # fmt: skip
    if number % 100 == 1:
        yield verdict(5, "deliver", "defer", "smtp.connect", plan | place)
    if number % 1000 == 2:
        yield verdict(5, "deliver", "refuse", "dane.mismatch", plan | place | {"certificate": _TLS})
    else:
        yield verdict(5, "deliver", "done", "smtp.accepted", plan | place | {"security": "dane", "tls": _TLS})
    yield line(6, "message.done")


def measure(count: int) -> list[Figure]:
    """Write a log and have it summed up. Raises RuntimeError if the command fails."""
    with tempfile.TemporaryDirectory(prefix="danepipe-bench-") as name:
        log = Path(name) / "log.jsonl"
        with log.open("wb") as file:
            file.writelines(events(count))
        octets = log.stat().st_size
        page = Path(name) / "page.html"
        started, most, processor = time.monotonic(), 0.0, 0.0
        command = [sys.executable, "-m", "ops.cli", "report", "--html", str(page), "--by", "domain", str(log)]
        process = subprocess.Popen(command)  # noqa: S603 - our own command
        while process.poll() is None:
            used = tree_use(process.pid)
            most = max([most, *(use.rss / 1e6 for use in used)])
            processor = max(processor, sum(use.processor for use in used))
            time.sleep(0.05)
        taken = time.monotonic() - started
        if process.returncode or not page.stat().st_size:
            raise RuntimeError(f"danepipe report ended with status {process.returncode}")
    return [
        Figure(f"report of {count} events", taken, "s", f"{octets / 1e6:.0f} MB of log, as a page and by domain"),
        Figure("report, rate", count / taken, "events/s"),
        Figure("report, processor", processor, "s", "of all cores together: what a busy machine disturbs least"),
        Figure("report, memory", most, "MB", "RSS at most"),
    ]


def run() -> list[Figure]:
    """Measure as many events as the environment says."""
    return measure(int(os.environ.get("DANEPIPE_REPORT_EVENTS", EVENTS)))
