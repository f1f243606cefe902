"""`danepipe queue suspend` and `resume` on a real Redis: what is said is kept, shown, and done."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pipeline.store.changes import Changes
from pipeline.store.gates import GateStore, Kind, Suspension
from pipeline.store.ledger import Ledger
from tests.ops.conftest import Run, WithLedger
from tests.ops.manual_pages import SCHEMA
from tests.ops.test_cli_queue import deferred
from tests.pipeline.test_ledger import LEASE, message

KEY = "mx:example.com:25:dane"


async def ready(ledger: Ledger) -> None:
    """Bring M1/0 to its destination, which waits for its host, and put M2/0 aside for its sender."""
    gates = GateStore(ledger.redis)
    await gates.wait(Suspension(Kind.SITE, "mx.example.com"), KEY)
    for name, changes in (("M1", Changes()), ("M2", Changes())):
        await ledger.accept(message(name, 1), b"x")
        await ledger.claim("place:route", "t", 1, LEASE)
        if name == "M1":
            changes.to_ready(KEY, "M1/0")
        else:
            changes.aside("suspended:sender:*@example.org", "M2/0")
        await ledger.commit("t", f"{name}/0", changes)


@pytest.mark.parametrize(
    ("kind", "name", "shown"),
    [
        ("destination", "Example.COM", {"M1/0": "destination example.com"}),
        ("site", "mx.example.com", {"M1/0": "site mx.example.com"}),
        ("sender", "*@example.org", {"M1/0": "sender *@example.org", "M2/0": "sender *@example.org"}),
        ("destination", "*.example.com", {}),
        ("sender", "<>", {}),
    ],
)
def test_what_waits_says_so(kept: Run, ledger: WithLedger, kind: str, name: str, shown: dict[str, str]) -> None:
    """`list` and `show` name the suspension with its reason and owner, and `list` counts what waits."""
    ledger(ready)
    done = kept("queue", "suspend", kind, name, "--reason", "complaints", "--owner", "postmaster", "--expires", "1d")
    assert done.exit_code == 0
    rows = [json.loads(line) for line in kept("queue", "list", "--json").stdout.splitlines()]
    found = {row["id"]: row["suspended"] for row in rows if row["suspended"]}
    assert found.keys() == shown.keys()
    for number, text in shown.items():
        assert found[number].startswith(text)
        assert found[number].endswith("owner postmaster - complaints")
    result = kept("queue", "list")
    assert ("suspended (" in result.stdout) == bool(shown)
    assert ("suspended:" in kept("queue", "show", "M1").stdout) == ("M1/0" in shown)
    (listed,) = [json.loads(line) for line in kept("queue", "suspensions", "--json").stdout.splitlines()]
    assert (listed["kind"], listed["owner"], listed["waiting"]) == (
        kind, "postmaster", 1 if kind in {"site", "sender"} and shown else 0,
    )  # fmt: skip
    assert (", suspended 1" in result.stderr) == bool(listed["waiting"])


def test_resume_lets_mail_go_at_once(kept: Run, ledger: WithLedger) -> None:
    """The mail of a sender is back at the first stage, a destination is nudged, and nothing is suspended any more."""
    ledger(ready)
    for kind, name in (("sender", "*@example.org"), ("site", "mx.example.com")):
        assert kept("queue", "suspend", kind, name).exit_code == 0
        assert kept("queue", "resume", kind, name).stdout == f"{kind} {name}: resumed\n"
    assert kept("queue", "suspensions").stdout == ""

    async def after(ledger: Ledger) -> tuple[int, int, Any]:
        queue = ledger.redis.llen
        return await queue("dp:place:route"), await queue(f"dp:ready:{KEY}"), await ledger.redis.keys("dp:waits*")

    assert ledger(after) == (1, 1, [])


def test_each_change_is_an_event(kept: Run, tmp_path: Path) -> None:
    """`queue.action` names what was suspended, by whom and until when."""
    file = tmp_path / "log.jsonl"
    until = ("--owner", "me", "--expires", "2099-01-01")
    result = kept("queue", "suspend", "site", "mx.example.com", *until, LOG__FILE=str(file))
    assert "site mx.example.com until 2099-01-02" in result.stdout
    assert kept("queue", "suspend", "site", "mx.example.com").stdout == "site mx.example.com: replaced\n"
    kept("queue", "resume", "site", "mx.example.com", LOG__FILE=str(file))
    events = [json.loads(line) for line in file.read_text().splitlines()]
    told = [(one["event"], one["action"], one["target"], one["owner"]) for one in events]
    assert told == [
        ("queue.action", "suspend", "site mx.example.com", "me"),
        ("queue.action", "resume", "site mx.example.com", ""),
    ]
    assert events[0]["expires"] == "2099-01-02T00:00:00+00:00"
    check = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert [error.message for event in events for error in check.iter_errors(event)] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("suspend", "sender", "@"), "pattern"),
        (("suspend", "site", "a@b"), "is no name"),
        (("suspend", "destination", "exa mple.com"), "is no name"),
        (("suspend", "destination", "example.com", "--expires", "2020-01-01"), "over already"),
        (("suspend", "destination", "example.com", "--expires", "soon"), "write a day"),
        (("resume", "destination", "example.com"), "is not suspended"),
    ],
)
def test_what_is_refused(kept: Run, arguments: tuple[str, ...], said: str) -> None:
    """A sentence says what is wrong, and nothing is kept."""
    result = kept("queue", *arguments)
    assert result.exit_code != 0
    assert said in result.stderr
    assert kept("queue", "suspensions").stdout == ""


def test_a_retry_by_hand_knocks_at_dead_hosts(kept: Run, ledger: WithLedger) -> None:
    """SMTP-55: whoever asks for a try gets one, though a host is known to be out of reach (SMTP-17)."""
    ledger(deferred)

    async def open_circuit(ledger: Ledger) -> None:
        await ledger.redis.hset("dp:circuit:192.0.2.1|25", mapping={"until": 2**52, "since": 1})
        await ledger.redis.zadd("dp:circuits", {"192.0.2.1|25": 2**52})

    async def until(ledger: Ledger) -> bytes:
        value: bytes = await ledger.redis.hget("dp:circuit:192.0.2.1|25", "until")
        return value

    ledger(open_circuit)
    assert kept("queue", "retry", "M1/0").exit_code == 0
    assert ledger(until) == b"0"


def test_mail_put_aside_can_be_acted_upon(kept: Run, ledger: WithLedger) -> None:
    """Mail of a suspended sender can be held, returned and dropped like any other."""
    ledger(ready)
    assert kept("queue", "suspend", "sender", "*@example.org").exit_code == 0
    assert kept("queue", "drop", "M2/0").stdout == "M2/0 u0@example.com: drop\n"
    assert "M2/0" not in kept("queue", "list").stdout
