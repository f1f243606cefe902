"""`danepipe report`: what it counts, what it makes of broken logs and hostile strings, and how it is shown."""

import gzip
import json
import re
import subprocess
import sys
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import zstandard

from ops.bench.report import events, measure
from ops.inert import inert
from ops.report.charts import lying, standing
from ops.report.outages import Change, Period, periods
from ops.report.sources import LONGEST
from tests.ops.conftest import Run

EVIL = "</td><script>alert(1)</script>\x1b[2J\u202e\x07\"'&"
TO_X = "mx:x.example:25:dane"


def line(second: int, event: str, **fields: Any) -> str:
    """Make a log line of 12 o'clock."""
    stamp = f"2026-11-25T12:{second // 60:02}:{second % 60:02}.000001Z"
    return json.dumps({"timestamp": stamp, "event": event, "level": "info", "role": "work", "pid": 1, **fields})


def accepted(second: int, message: str, *recipients: str) -> str:
    """Make the event of a message that came."""
    return line(second, "message.accepted", message=message, sender="s@out.example", recipients=recipients, size=100,
                source="smtp", peer="", protocol="ESMTP", message_id=f"<{message}@out.example>")  # fmt: skip


def ruled(second: int, message: str, verdict: str, code: str, *recipients: str, **facts: Any) -> str:
    """Make the verdict of stage deliver."""
    return line(second, "stage.verdict", stage="deliver", verdict=verdict, message=message, recipients=recipients,
                destination=TO_X, code=code, status="", text=f"{code} said", remote="", reply="", facts=facts,
                seconds=second / 10)  # fmt: skip


CERTIFICATE = {"subject": "CN=x", "issuer": "CN=ca", "not_after": "2026-12-01", "spki_sha256": "ab" * 32}
LINES = [
    accepted(0, "M1", "a@x.example", "b@X.example", "c@x.example"),
    ruled(1, "M1", "done", "smtp.accepted", "a@x.example", security="dane", demand="dane", host="mx.x.example"),
    ruled(2, "M1", "refuse", "dane.mismatch", "b@X.example", host="mx.x.example", certificate=CERTIFICATE,
          ede=[{"code": 9, "text": "DNSKEY missing"}]),
    ruled(3, "M1", "defer", "smtp.connect", "c@x.example", host="mx.x.example"),
    ruled(4, "M1", "defer", "smtp.connect", "c@x.example", host="mx.x.example"),
    line(5, "bounce.sent", message="M1", notice="R1", kind="failed", to="s", recipients=["c@x.example"], codes=[]),
    line(6, "message.done", message="M1"),
    accepted(10, "M2", "d@x.example"),
    line(11, "delivery.attempt", message="M2", destination=TO_X, host="mx.x.example", address="192.0.2.1", port=25,
         demand="dane", outcome="session", text="", reply="", security="encrypted", tls={}, audit_failure="no match",
         seconds=0.5),
    ruled(12, "M2", "done", "smtp.accepted", "d@x.example", security="encrypted", demand="dane",
          audit_failure="no match", host="mx.x.example"),
    line(13, "message.done", message="M2"),
    accepted(20, "M3", "e@y.example"),
    ruled(21, "M3", "defer", "dns.tlsa_lookup", "e@y.example"),
    accepted(22, "M4", "f@y.example"),
    line(23, "queue.action", action="drop", message="M4", recipient="f@y.example", outcome="moved", reason=""),
    line(24, "message.done", message="M4"),
    line(30, "resolver.suspended", text="no AD"),
    line(90, "resolver.restored", text="again"),
    line(91, "circuit.opened", host="mx.x.example", address="192.0.2.1", port=25, since="", until="", pauses=1,
         code="smtp.connect", text="no route"),
    line(92, "stage.error", stage="route", group="M1/0", error="ValueError('x')"),
]  # fmt: skip


@pytest.fixture
def log(place: Path) -> Path:
    """Give a log of four messages."""
    path = place / "a.log"
    path.write_text("\n".join(LINES) + "\n")
    return path


def found(cli: Run, *arguments: str, input: bytes = b"") -> Any:  # noqa: A002 - CliRunner's word
    """Run the command; gives what it says as JSON."""
    result = cli("report", "--json", *arguments, input=input)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_each_recipient_is_counted_once(cli: Run, log: Path) -> None:
    """Delivered, refused and given up add up to those accepted, less who waits and whom an operator dropped."""
    totals = found(cli, str(log))["totals"]
    assert totals["recipients_accepted"] == 6
    assert totals["recipients_delivered"] == 2
    assert totals["recipients_refused"] == 1
    assert totals["recipients_given_up"] == 1
    assert totals["recipients_returned_or_dropped_by_an_operator"] == 1
    assert (totals["deferrals"], totals["messages_done"], totals["reports_sent"]) == (3, 3, 1)


def test_security_is_what_was_proven(cli: Run, log: Path) -> None:
    """DANE-32: what audit let pass, or TLS that was not demanded, is no dane; it is opportunistic."""
    rows = {row["security"]: row["recipients"] for row in found(cli, str(log))["security"]}
    assert rows == {"dane": 1, "opportunistic": 1}


@pytest.mark.parametrize(
    ("security", "demand", "level"),
    [
        ("dane", "dane", "dane"),
        ("dane-host-only", "dane", "dane-host-only"),
        ("verified", "verify", "verify"),
        ("encrypted", "encrypt", "encrypt"),
        ("encrypted", "may", "opportunistic"),
        ("none", "may", "clear"),
    ],
)
def test_levels(cli: Run, place: Path, security: str, demand: str, level: str) -> None:
    """Each thing that TLS can prove has its level."""
    (place / "one.log").write_text(
        ruled(1, "M", "done", "smtp.accepted", "a@b.example", security=security, demand=demand)
    )
    (row,) = found(cli, "one.log")["security"]
    assert row["security"] == level


def test_failures_come_with_what_shows_whose_fault_it_is(cli: Run, log: Path) -> None:
    """Class, domain, extended DNS errors (RFC 8914) and certificate; who was deferred to the end is given up."""
    rows = {row["code"]: row for row in found(cli, str(log))["failures"]}
    mismatch, connect = rows["dane.mismatch"], rows["smtp.connect"]
    assert (mismatch["class"], mismatch["domain"], mismatch["recipients"]) == ("dane", "x.example", 1)
    assert mismatch["ede"] == "9 DNSKEY missing"
    assert mismatch["certificate"] == "CN=x, issuer CN=ca, until 2026-12-01, spki abababababababab"
    assert (connect["given up"], connect["domain"]) == (1, "x.example")


def test_waiting_circuits_outages_faults_and_audit(cli: Run, log: Path) -> None:
    """The rest of the report, each from the events that tell of it."""
    report = found(cli, str(log))
    assert [(row["message"], row["code"]) for row in report["waiting"]] == [("R1", ""), ("M3", "dns.tlsa_lookup")]
    assert [(row["address"], row["at the end"]) for row in report["circuits"]] == [("192.0.2.1", "open")]
    assert [(row["what"], row["seconds"], row["text"]) for row in report["outages"]] == [("resolver", 60.0, "no AD")]
    assert [(row["event"], row["stage"], row["times"]) for row in report["faults"]] == [("stage.error", "route", 1)]
    assert report["audit"] == [{"domain": "x.example", "reason": "no match", "messages": 1}]
    assert {row["code"]: row["deferrals"] for row in report["deferrals"]} == {"smtp.connect": 2, "dns.tlsa_lookup": 1}
    stages = {row["stage"]: row for row in report["stages"]}
    assert stages["attempt"]["p50"] == 0.5
    assert stages["accepted to done"]["count"] == 3


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("hour", {"2026-11-25 12:00"}),
        ("domain", {"x.example", "y.example"}),
        ("mx", {"mx.x.example", ""}),
        ("verdict", {"delivered", "refused", "given up", "deferred"}),
        ("reason", {"smtp.accepted", "smtp.connect", "dane.mismatch", "dns.tlsa_lookup"}),
        ("security", {"dane", "opportunistic", "refused", "given up", "deferred"}),
    ],
)
def test_tables_by(cli: Run, log: Path, by: str, keys: set[str]) -> None:
    """Every row of a table by something counts the same as the others, and together they are all."""
    rows = found(cli, str(log), "--by", by)[f"by_{by}"]
    assert {row[by] for row in rows} == keys
    assert [sum(row[fate] for row in rows) for fate in ("delivered", "refused", "given up", "deferred")] == [2, 1, 1, 3]


def test_a_period(cli: Run, log: Path) -> None:
    """`--from` is within, `--to` is not; a time without a zone is UTC; `--since` counts back from now."""
    within = found(cli, str(log), "--from", "2026-11-25T12:00:10.000001", "--to", "2026-11-25T13:00:20.000001+01:00")
    assert (within["events"], within["totals"]["recipients_delivered"]) == (4, 1)
    assert found(cli, str(log), "--from", "2026-11-26")["events"] == 0
    assert found(cli, str(log), "--since", "5000w")["events"] == len(LINES)
    assert "leave out" in cli("report", str(log), "--since", "1h", "--to", "2026-11-25").stderr
    assert "write a time" in cli("report", str(log), "--from", "yesterday").stderr
    assert "no duration" in cli("report", str(log), "--since", "yesterday").stderr


def test_several_logs_compressed_or_not(cli: Run, place: Path) -> None:
    """Plain, gzip and zstd by their first octets, in several members; names are no patterns; and standard input."""
    text = [f"{one}\n".encode() for one in LINES]
    (place / "plain[1]*.log").write_bytes(b"".join(text[:5]))
    (place / "b").write_bytes(gzip.compress(b"".join(text[5:8])) + gzip.compress(b"".join(text[8:10])))
    pack = zstandard.ZstdCompressor().compress
    (place / "c").write_bytes(pack(b"".join(text[10:12])) + pack(b"".join(text[12:15])))
    together = found(cli, "plain[1]*.log", "b", "c", "-", input=b"".join(text[15:]))
    (place / "whole").write_bytes(b"".join(text))
    assert together == found(cli, "whole")
    assert found(cli, "-", input=gzip.compress(b"".join(text))) == together


def test_the_configured_log_is_read(cli: Run, log: Path) -> None:
    """Without FILES it is `log.file`; without that the command says what to name, as it does for a file that is not."""
    assert "20 events" in cli("report", LOG__FILE=str(log)).stdout
    assert "log.file is not set" in cli("report").stderr
    missing = cli("report", "no.log")
    assert missing.exit_code == 1
    assert missing.stderr == "danepipe: no.log cannot be read: No such file or directory\n"


BROKEN = [
    '{"timestamp": "2026-11-25T12:00:00Z", "event": "half', "plain text", "123", "[1]", "null", '{"event": "no.time"}',
    '{"timestamp": "soon", "event": "x"}', '{"timestamp": "2026-11-25T12:00:00Z"}', "\0\0\0\0" + LINES[0], LINES[0] + " and more",
]  # fmt: skip


def test_broken_lines_are_counted_and_named(cli: Run, place: Path) -> None:
    """Whatever stands in a line, the others are read; how many are no events and which are the first is told."""
    (place / "x.log").write_bytes("\n".join([*LINES[:2], *BROKEN, "", *LINES[2:]]).encode() + b'\n{"event": "\xff"}\n')
    result = cli("report", "x.log", "--json")
    assert result.stderr == ("danepipe: x.log: 11 lines are no events and were passed over (line 3, 4, 5, 6, 7, ...)\n")
    report = json.loads(result.stdout)
    assert report["broken"] == [{"file": "x.log", "count": 11, "lines": [3, 4, 5, 6, 7], "trouble": ""}]
    assert report["events"] == len(LINES)
    assert report["totals"]["recipients_delivered"] == 2


def test_a_log_that_ends_early_is_read_up_to_there(cli: Run, place: Path) -> None:
    """An archive that was cut off gives what it holds, and the command says so."""
    text = "\n".join([LINES[0]] * 20_000).encode()
    (place / "cut.gz").write_bytes(gzip.compress(text)[:-40])
    result = cli("report", "cut.gz", "--json")
    assert result.exit_code == 0
    assert "cut.gz" in result.stderr
    assert "it ends early" in result.stderr
    assert 0 < json.loads(result.stdout)["events"] <= 20_000


def test_a_line_without_end_is_passed_over(cli: Run, place: Path) -> None:
    """A block of zeros, as a crash of the machine leaves one, is one broken line and is never held as a whole."""
    with (place / "z.log").open("wb") as file:
        file.write(LINES[0].encode() + b"\n")
        file.truncate(file.tell() + 5 * LONGEST)
        file.seek(0, 2)
        file.write(b"\n" + LINES[6].encode() + b"\n")
    result = cli("report", "z.log", "--json")
    assert json.loads(result.stdout)["events"] == 2
    assert "1 lines are no events and were passed over (line 2)" in result.stderr


def test_fields_of_other_types_cost_no_line(cli: Run, place: Path) -> None:
    """A plug-in may put what it likes into its facts; nothing of that keeps the line from being counted."""
    odd = [
        ruled(1, "M", "refuse", "own.code", "a@b.example", ede="none", certificate=[1], security={"a": 1}, host=["x"]),
        line(2, "stage.verdict", stage="own", verdict="defer", message=5, recipients="a@b.example", facts=[], seconds="long"),
        line(3, "message.accepted", message="M", recipients={"a": 1}, size="big"),
    ]  # fmt: skip
    (place / "odd.log").write_text("\n".join(odd))
    report = found(cli, "odd.log")
    assert (report["events"], report["broken"]) == (3, [])
    assert report["totals"]["recipients_refused"] == 1


class Page(HTMLParser):
    """Collects what a page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag."""
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        """Take text."""
        self.words += data


def test_the_page_is_one_file_with_charts(cli: Run, log: Path, place: Path) -> None:
    """Charts are SVG within; nothing is fetched, and nothing runs: no script, no handler, no address."""
    result = cli("report", str(log), "--html", "page.html", "--by", "hour")
    assert (result.exit_code, result.stdout) == (0, "")
    text = (place / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("svg") >= 5
    assert not {"script", "link", "img", "iframe", "object", "form", "a", "base"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in {"src", "href"}]
    assert not re.search(r"https?:|url\(|@import", text)
    assert {"prefers-color-scheme:dark", "@media print", 'name="viewport"', "default-src 'none'"} == {
        part
        for part in ("prefers-color-scheme:dark", "@media print", 'name="viewport"', "default-src 'none'")
        if part in text
    }
    assert "9 DNSKEY missing" in page.words


def test_hostile_strings_are_inert(cli: Run, place: Path) -> None:
    """What strangers said is escaped in the page, and no control character of it reaches a terminal."""
    (place / "evil.log").write_text(
        "\n".join(
            [
                accepted(0, EVIL, f"a@{EVIL}"),
                ruled(1, EVIL, "refuse", f"smtp.{EVIL}", f"a@{EVIL}", host=EVIL, ede=[{"code": EVIL, "text": EVIL}],
                      certificate={"subject": EVIL}),
                ruled(1, "M2", "defer", f"smtp.{EVIL}", f"b@{EVIL}", host=EVIL),
                ruled(1, "M3", "done", "x", f"c@{EVIL}", security=EVIL, audit_failure=EVIL, host=EVIL),
                line(2, "resolver.suspended", text=EVIL),
                line(3, "circuit.opened", host=EVIL, address=EVIL, port=EVIL, text=EVIL),
                line(4, "stage.error", stage=EVIL, error=EVIL),
                line(4, "stage.verdict", stage=EVIL, verdict="proceed", seconds=1),
            ]
        )
    )  # fmt: skip
    shown = cli("report", "evil.log", "--by", "mx").stdout
    assert not [one for one in shown if not (one.isprintable() or one == "\n")]
    assert cli("report", "evil.log", "--by", "domain", "--html", "p.html").exit_code == 0
    text = (place / "p.html").read_text(encoding="utf-8")
    assert "script" not in Page(text).tags
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "&lt;script&gt;" in text


def test_inert() -> None:
    """Whatever prints stays; escape sequences, line breaks and what turns text around becomes a question mark."""
    assert inert("Grüße 例 a b") == "Grüße 例 a b"
    assert inert("a\nb\x9b2J\u2028\u202e\u200b") == "a?b?2J???"


def _change(second: int, process: str, *, lost: bool, seen: int = 100) -> Change:
    start = datetime(2026, 1, 1)  # noqa: DTZ001 - as the tables have it
    return Change(
        start + timedelta(seconds=second), process, lost, start + timedelta(seconds=seen), "t" if lost else ""
    )


def _seconds(given: list[Period]) -> list[tuple[int, int | None]]:
    start = datetime(2026, 1, 1)  # noqa: DTZ001 - see above
    return [
        (int((one.start - start).total_seconds()), None if one.end is None else int((one.end - start).total_seconds()))
        for one in given
    ]


def test_outages_of_several_processes_are_one() -> None:
    """From the first that lost the resolver to the last that has it back; a dead process does not prolong it."""
    two = [
        _change(1, "a", lost=True),
        _change(2, "b", lost=True),
        _change(5, "a", lost=False),
        _change(7, "b", lost=False),
    ]
    assert _seconds(periods(two)) == [(1, 7)]
    dead = [_change(1, "a", lost=True), _change(2, "b", lost=True, seen=3), _change(5, "a", lost=False)]
    assert _seconds(periods(dead)) == [(1, 5)]
    assert _seconds(periods([_change(1, "a", lost=True)])) == [(1, None)]
    again = [_change(1, "a", lost=True), _change(2, "a", lost=False), _change(4, "a", lost=True)]
    assert _seconds(periods(again)) == [(1, 2), (4, None)]
    assert _seconds(periods([_change(1, "a", lost=False)])) == []


def test_charts_of_little_and_of_nothing() -> None:
    """One bar, none, and bars of zero are charts as well."""
    assert standing([], {"dane": []}, "t").count("<rect") == 0
    assert standing(["now"], {"dane": [3], "clear": [0]}, "t").count("<rect") == 1
    assert lying([], "t").count("<rect") == 0
    assert lying([("a" * 100, [("p50", 0.0), ("p95", 2.0)])], "t").count("<rect") == 2


def test_duckdb_is_loaded_by_this_command_alone() -> None:
    """No other command pays for it: neither the command line nor `trace`, which shares the reading of files."""
    code = "import sys, ops.cli, ops.cli.trace, ops.cli.up, ops.cli.parts; sys.exit('duckdb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_benchmark_measures(place: Path) -> None:
    """Its log is one that the report reads whole, and it gives seconds, rate and memory."""
    assert len(list(events(700))) >= 700
    names = [figure.name for figure in measure(7000)]
    assert names == ["report of 7000 events", "report, rate", "report, processor", "report, memory"]
