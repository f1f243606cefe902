"""The demonstration: what it reads from the log, what it shows, and one run of the whole with some domains."""

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ops.lab.demo import DemoError, Row, danepipe_up, run, table
from ops.lab.fates import Fates, delivered_to, reported_in
from ops.lab.mailhost import Received
from ops.lab.scenario import DANE, Expected, Outcome, deferred, reported
from ops.lab.scenarios import named
from ops.lab.world import utc_now
from tests.needs import redis_server

REPORT = b"""\
From: postmaster@out.lab
Content-Type: multipart/report; report-type=delivery-status; boundary=b
MIME-Version: 1.0

--b
Content-Type: text/plain

sorry
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; out.lab

Final-Recipient: rfc822; user@mismatch.lab
Action: failed
Status: 5.7.5

Final-Recipient: rfc822; user@down.lab
Action: delayed
Status: 4.4.1

--b--
"""


def _verdict(recipient: str, verdict: str, code: str, security: str = "") -> Mapping[str, Any]:
    return {
        "event": "stage.verdict", "message": "m", "verdict": verdict, "code": code, "recipients": [recipient],
        "text": "because", "facts": {"security": security},
    }  # fmt: skip


def _received(sender: str, recipient: str, content: bytes = b"") -> Received:
    return Received("mx.x.lab", sender, (recipient,), content, "TLSv1.3", "", "out.lab", utc_now())


def _log(path: Path, *events: Mapping[str, Any]) -> Fates:
    path.write_bytes(b"".join(json.dumps(event).encode() + b"\n" for event in events))
    fates = Fates(path)
    fates.read()
    return fates


def test_delivered_means_that_a_host_has_the_message(tmp_path: Path) -> None:
    """A verdict alone does not count as delivery: a host of the lab must have the message."""
    fates = _log(
        tmp_path / "log", _verdict("u@a.lab", "proceed", "x"), _verdict("u@a.lab", "done", "smtp.accepted", "dane")
    )
    without = fates.of("u@a.lab", frozenset(), frozenset())
    assert (without.got, without.final) == (None, False)
    having = fates.of("u@a.lab", delivered_to([_received("s@sender.lab", "u@a.lab")]), frozenset())
    assert having.agrees(DANE)
    assert having.final
    assert not having.agrees(replace(DANE, tls="encrypted"))


def test_reported_means_that_the_report_has_arrived(tmp_path: Path) -> None:
    """A refusal counts when a report from the null sender names the recipient as failed; a delay notice does not."""
    told = reported_in([_received("", "sender@sender.lab", REPORT), _received("x@y.lab", "sender@sender.lab", REPORT)])
    assert told == {"user@mismatch.lab"}
    fates = _log(tmp_path / "log", _verdict("user@mismatch.lab", "refuse", "dane.mismatch"))
    assert fates.of("user@mismatch.lab", frozenset(), told).agrees(reported("dane.mismatch"))
    waiting = fates.of("user@mismatch.lab", frozenset(), frozenset())
    assert (waiting.got, waiting.final) == (None, False)


def test_waiting_is_final_after_the_second_try(tmp_path: Path) -> None:
    """One deferral may be followed by a delivery, so the demonstration waits for the second."""
    one = _verdict("u@a.lab", "defer", "smtp.connect")
    first = _log(tmp_path / "log", one).of("u@a.lab", frozenset(), frozenset())
    assert first.agrees(deferred("smtp.connect"))
    assert not first.final
    assert _log(tmp_path / "log", one, one).of("u@a.lab", frozenset(), frozenset()).final


def test_half_a_line_is_left_for_later(tmp_path: Path) -> None:
    """A line that is being written is read once it is whole, and no line is read twice."""
    path = tmp_path / "log"
    fates = _log(path, _verdict("u@a.lab", "defer", "smtp.connect"))
    with path.open("ab") as file:
        file.write(b'{"event": "message.done"')
        file.flush()
        fates.read()
        assert fates.events == {"stage.verdict": 1}
        file.write(b"}\n")
    fates.read()
    fates.read()
    assert fates.events == {"stage.verdict": 1, "message.done": 1}


def test_the_table_says_where_it_went_wrong(tmp_path: Path) -> None:
    """A row that came otherwise than expected is marked, one that came right is not."""
    fates = _log(tmp_path / "log", _verdict("user@mismatch.lab", "defer", "dane.mismatch"))
    fate = fates.of("user@mismatch.lab", frozenset(), frozenset())
    (scenario,) = named("mismatch")
    wrong = Row(scenario, "user@mismatch.lab", scenario.expected, fate)
    right = Row(scenario, "user@mismatch.lab", Expected(Outcome.DEFERRED, "dane.mismatch"), fate)
    assert (wrong.agrees, right.agrees) == (False, True)
    out = io.StringIO()
    Console(file=out, width=200).print(table([wrong, right]))
    lines = [line for line in out.getvalue().splitlines() if "mismatch.lab" in line]
    assert ["WRONG" in line for line in lines] == [True, False]


async def test_danepipe_that_does_not_start_is_told_of(tmp_path: Path) -> None:
    """When `up` ends at once, the demonstration says what it said."""
    config = tmp_path / "danepipe.toml"
    config.write_text('hostnme = "x"\n')
    with pytest.raises(DemoError, match=r"^danepipe up did not start.*hostname"):
        async with danepipe_up(config, 1):
            pass


async def test_some_domains_come_as_expected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Mail in, DANE-verified mail out, reports back: the whole of danepipe in the lab (DANE-15, DANE-16, DANE-18).

    Variables of the user's own danepipe change nothing of it.
    """
    redis_server()
    monkeypatch.setenv("DANEPIPE_DANE__MODE", "off")
    monkeypatch.setenv("DANEPIPE_LOG__FILE", str(tmp_path / "elsewhere.log"))
    out = io.StringIO()
    chosen = named("ee-311", "mismatch", "expired-tlsa", "null-mx", "clear", "reply-5xx", "local", "excluded")
    status = await run(chosen, console=Console(file=out, width=160), patience=60)
    assert status == 0, out.getvalue()
    assert "9 recipients, 9 as expected, 0 not" in out.getvalue()


async def test_the_lab_needs_no_validating_resolver() -> None:
    """SEC-33 (RFC 4035 4.9.3): with proofs of danepipe's own, over a nameserver that validates nothing, all is the same."""
    redis_server()
    out = io.StringIO()
    chosen = named("ee-311", "expired-tlsa", "broken-ds", "insecure-mx", "tlsa-nxdomain")
    status = await run(chosen, console=Console(file=out, width=160), patience=60, validation="local")
    assert status == 0, out.getvalue()
    assert "5 recipients, 5 as expected, 0 not" in out.getvalue()


async def test_a_domain_that_comes_otherwise_fails_the_demonstration() -> None:
    """The exit status is 1, and the reason stands below the table, when one message comes otherwise than expected."""
    redis_server()
    (scenario,) = named("ee-311")
    out = io.StringIO()
    wrong = replace(scenario, expected=reported("dane.mismatch"))
    assert await run((wrong,), console=Console(file=out, width=160), patience=3) == 1
    assert "WRONG" in out.getvalue()
    assert "1 recipients, 0 as expected, 1 not" in out.getvalue()


async def test_the_lab_is_served_until_a_signal(tmp_path: Path) -> None:
    """`serve` prints a configuration and ends on SIGINT with status 0 (what `danepipe lab up` runs)."""
    code = (
        "import asyncio, sys, pathlib\n"
        "from ops.lab.demo import serve\n"
        "from ops.lab.scenarios import named\n"
        "sys.exit(asyncio.run(serve(pathlib.Path(sys.argv[1]), named('ee-311'))))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path / "lab"), stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    said = b""
    while b"Ctrl-C ends the lab." not in said:
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        assert line, said
        said += line
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    assert b"servers = [" in said
    assert (tmp_path / "lab" / "danepipe.toml").exists()
