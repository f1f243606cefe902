"""What the benchmarks compute, on numbers and texts that are known: nothing here is timed."""

import asyncio
import io
import json
import os
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rich.console import Console

from delivery.resolver import DnsSettings
from ops.bench.__main__ import main
from ops.bench.client import compare
from ops.bench.dnssec import cached, far, hostile, serve_lab, uncached
from ops.bench.figures import Figure, as_json, median, percentile, processor, show, spread
from ops.bench.fill import fill, filling
from ops.bench.hostile import serve_hostile
from ops.bench.load import Load, send
from ops.bench.million import OWN, Blocks, clock_steps, walk
from ops.bench.pieces import sample, survey_of
from ops.bench.processes import descendants, sizes, stat_fields, tree_use
from ops.bench.sink import Place, sink
from pipeline.store.changes import Changes, group_of, number_of
from pipeline.store.ledger import Ledger
from stages.answer import Found
from stages.destination import Destination
from stages.message import Recipient
from stages.policy import Policy


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        pytest.param([3.0, 1.0, 2.0], 0.5, 2.0, id="the middle of three"),
        pytest.param([4.0, 1.0, 2.0, 3.0], 0.5, 2.5, id="between the middle two of four"),
        pytest.param([7.0], 0.95, 7.0, id="one value is every percentile"),
        pytest.param([float(n) for n in range(101)], 0.95, 95.0, id="the 95th of a hundred"),
        pytest.param([1.0, 9.0], 1.0, 9.0, id="all of them: the maximum"),
    ],
)
def test_percentiles(values: list[float], share: float, expected: float) -> None:
    """A percentile lies between its neighbours by straight line, whatever the order of the values."""
    assert percentile(values, share) == pytest.approx(expected)


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.1)])
def test_a_percentile_of_nothing_is_refused(values: list[float], share: float) -> None:
    """No values have no percentile, and no number is made up for them."""
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)


def test_a_spread_is_in_milliseconds() -> None:
    """Durations are measured in seconds and shown in milliseconds."""
    figures = spread("wait", [0.010, 0.020, 0.030])
    assert [(figure.name, figure.unit) for figure in figures] == [
        ("wait, median", "ms"), ("wait, p95", "ms"), ("wait, max", "ms"),
    ]  # fmt: skip
    assert [figure.value for figure in figures] == pytest.approx([20.0, 29.0, 30.0])
    assert median([0.1, 0.3]) == pytest.approx(0.2)


def test_the_name_in_stat_may_hold_anything() -> None:
    """The fields of /proc/PID/stat are counted from the last parenthesis (proc_pid_stat(5))."""
    name, fields = stat_fields("42 (a) b (c)) S 7 42 42 0 -1 0 1 2 3 4 150 50 0 0 20 0")
    assert name == "a) b (c)"
    assert fields[0] == "S"
    assert fields[1] == "7"
    assert fields[11:13] == ["150", "50"]


def test_sizes_are_read_as_octets() -> None:
    """Lines in kB count, all others are passed over."""
    text = "00400000-7ffe000 ---p 00000000 00:00 0 [rollup]\nRss:     120 kB\nPss:  60 kB\nThreads:\t3\nName:\tkB kB\n"
    assert sizes(text) == {"Rss": 120 * 1024, "Pss": 60 * 1024}


def test_a_tree_is_a_process_and_all_below_it() -> None:
    """Children of children belong to the tree, strangers do not."""
    assert descendants(1, {2: 1, 3: 2, 4: 9, 5: 1}) == [1, 2, 5, 3]


def test_this_process_is_read() -> None:
    """The real /proc is read: this process holds memory and has used the processor."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc")
    use = tree_use(os.getpid())[0]
    assert use.rss > 1_000_000
    assert use.processor > 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nmodel name\t: Fast  CPU @ 3 GHz\n", "Fast CPU @ 3 GHz"),
        ("Hardware\t: Board\n", "Board"),
        ("flags\t: x\n", ""),
    ],
)
def test_the_processor_is_named(text: str, expected: str) -> None:
    """The name comes from /proc/cpuinfo, with single spaces; where there is none, nothing is made up."""
    assert processor(text) == expected


def test_figures_are_shown_and_saved() -> None:
    """The table has every figure beside the machine, and the same figures go into JSON."""
    about = {"processor": "P", "cores": 2, "python": "3.11", "system": "S", "date": "D", "load": 0.1}
    results = {"first": [Figure("speed", 1234.5, "1/s", "a note"), Figure("wait", 12.34, "ms")], "second": []}
    out = Console(width=120, record=True, file=io.StringIO())
    show(out, about, results)
    text = out.export_text()
    assert "P, 2 cores, S, Python 3.11, D, load before 0.1" in text
    assert "1,234" in text
    assert "12.3" in text
    saved = json.loads(json.dumps(as_json(about, results)))
    assert saved["figures"]["first"][1] == {"name": "wait", "value": 12.34, "unit": "ms", "note": ""}


def test_a_name_that_is_no_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing mistake ends the command before anything runs, and names what there is."""
    with pytest.raises(SystemExit) as ended:
        main(["latncy"])
    assert ended.value.code == 2
    assert "there is no benchmark 'latncy', there are: pieces, dnssec, listener, client" in capsys.readouterr().err


def test_each_way_of_the_client_is_measured() -> None:
    """Every message is taken over TLS, kept and new, with groups of commands and without; else it raises."""
    measured = compare(Load(8, 2, 1000), Load(4, 2, 1000), 1)
    assert len(measured) == 3
    assert all(0 < seconds < 1 for seconds in measured.values())


def test_the_load_reaches_the_sink_whole() -> None:
    """As many messages are counted as were sent, over as many connections."""
    load = Load(messages=11, connections=2, size=1000, recipients=("a@x.example", "b@x.example"))
    with sink([Place("127.0.0.1", 0)]) as far:
        asyncio.run(send(far.ports[0], load))
        taken = far.taken()
    assert load.sent == 10
    assert (taken.messages, taken.connections) == (10, 2)
    assert taken.last > 0


def test_the_sample_is_a_signed_destination() -> None:
    """Decisions are measured on what DANE needs: every answer that `resolve` asks for, TLSA among them."""
    survey = survey_of(Destination.parse("mx:example.com:25:dane"), Policy(allow_private=True))
    found = {question.rdtype for question, answer in survey.answers.items() if isinstance(answer, Found)}
    assert found == {"MX", "A", "TLSA"}
    assert len(sample().recipients) == 1


def test_a_hostile_zone_gets_no_more_than_it_is_due() -> None:
    """SEC-56, SEC-59 to SEC-63: however much a zone wants to cost, it is judged or given up, and never for free insecure."""
    with far(serve_hostile) as there:
        figures = asyncio.run(hostile(there, rounds=1))
    words = {figure.name.removeprefix("hostile: "): figure.note.partition(":")[0] for figure in figures}
    assert words.pop("NSEC3, 2,500 iterations, 120 labels") == "insecure"  # the zone's own signed word
    assert words.pop("280 keys that may not sign, 280 signatures") == "secure"  # one of them is good
    assert set(words.values()) <= {"indeterminate", "bogus"}


def test_destinations_are_proven_or_believed_alike() -> None:
    """The benchmark of DNSSEC asks for what is there, and counts only answers that are secure."""
    with far(serve_lab, 2) as there:
        settings = DnsSettings((there.server,), "local", there.anchors)
        assert asyncio.run(uncached(settings, 2, both=True)) > 0
        assert asyncio.run(cached(settings, 2)) > 0


async def _everything(redis: Any) -> dict[str, Any]:
    """Read all keys with what they hold."""
    found: dict[str, Any] = {}
    for key in await redis.keys("*"):
        kind = (await redis.type(key)).decode()
        reads = {"hash": redis.hgetall, "string": redis.get, "zset": lambda k: redis.zrange(k, 0, -1, withscores=True)}
        found[key.decode()] = await reads[kind](key)
        if b"c:0" in found[key.decode()]:  # which of all commits was the last one
            found[key.decode()][b"c:0"] = re.sub(rb"^[^ ]+\.\d+", b"COMMIT", found[key.decode()][b"c:0"])
    return found


async def test_a_filled_queue_is_what_the_ledger_writes(redis: Any, redis_url: str) -> None:
    """The million stands for real mail: key by key, field by field it is what accepting, trying and deferring leave."""
    what, ledger = filling(25, 10, 1000), Ledger(redis)
    for number in range(what.messages):
        after = what.message(number)
        (one,) = after.recipients
        before = replace(after, recipients=(Recipient(one.id, one.address),))
        group = group_of(after.id, [number_of(one.id)])
        assert await ledger.accept(before, what.content) is not None
        assert await ledger.claim("place:route", "t", 1, timedelta(minutes=1)) == [group]
        changes = Changes()
        changes.put(after.recipients[0])
        changes.later(group, what.due, what.destination(number))
        assert await ledger.commit("t", group, changes) is not None
    for key in await redis.keys("dp:nudge:*"):
        await redis.delete(key)
    made = await _everything(redis)
    await redis.flushall()
    with Redis.from_url(redis_url) as client:
        fill(client, what)
    assert await _everything(redis) == made
    assert len(made) == 2 * what.messages + what.domains + 3


async def test_a_queue_is_walked_and_the_clock_works_through_it(redis: Any, redis_url: str) -> None:
    """All of a queue is seen in pages, becomes due, is taken, comes back, and the sweep names every destination."""
    ledger = Ledger(redis, prefix=OWN)
    with Redis.from_url(redis_url) as client:
        what = filling(2000, 200, 1000, timedelta(0))
        figures = {figure.name: figure for figure in await clock_steps(client, ledger, what, Blocks(client))}
    assert len(await walk(ledger)) == 21
    assert figures["due, one step"].note == "median of 10, up to 200 messages each"
    assert figures["reap, one step"].note == "median of 4, about 500 messages each"
    assert figures["sweep, 200 destinations"].note.startswith("200 nudges")
