"""`danepipe explain` against the lab: the decision that delivery makes, and nothing sent."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops.explain import Means, message_to
from ops.explain import explain as decide
from ops.explain_views import as_json, as_text
from ops.lab.demo import possible
from ops.lab.scenarios import named
from ops.lab.world import Lab
from pipeline.config import load
from pipeline.facts import Gatherer
from pipeline.line import build
from stages.answer import Absent, Found, Question, Security
from stages.attempt import HostAttempt
from stages.contract import Consignment
from stages.destination import Destination
from stages.exclude import Exclusions
from stages.message import Address, Origin
from stages.plan import Host, Trouble
from stages.policy import Policy
from stages.records import IP, MX, TLSA, Record
from stages.resolve import Survey
from stages.route import Action, RouteTable, Rule
from tests.pipeline.test_ledger import NOW

ROOT = Path(__file__).parents[2]
RECORD = TLSA(3, 1, 1, bytes(32))
LAB = named("ee-311", "mismatch", "two-mx", "expired-tlsa", "insecure-mx", "excluded")
PRIVATE = Policy(allow_private=True)

Explain = Callable[..., Awaitable[str]]


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Run a lab of few domains."""
    async with Lab.open(tmp_path / "lab", LAB, possible()) as lab:
        yield lab


@pytest.fixture
def explain(lab: Lab, tmp_path: Path) -> Explain:
    """Give `explain(*arguments, environ...)`, which runs the command with the lab's configuration."""
    config = lab.write_config(tmp_path / "danepipe.toml", "redis://127.0.0.1:1/0")

    async def run(*arguments: str, **environ: str) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DANEPIPE_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops.cli", "--config", str(config), "explain", *arguments,
            env={**kept, **{f"DANEPIPE_{name}": value for name, value in environ.items()}, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    return run


async def test_the_whole_decision(explain: Explain, lab: Lab) -> None:
    """Route, exclusion, each answer with its security, demand, handshake and match are shown; no mail is sent.

    TLSA records bear their registered acronyms (DANE-79, RFC 7218 section 2).
    """
    domain = lab.scenarios[0].domain
    found = json.loads(await explain(f"user@{domain}", "--json", "--connect"))
    assert found["version"] == 1
    assert found["outcome"] == "proceed"
    assert [ruling["stage"] for ruling in found["rulings"]] == ["route", "exclude"]
    assert any("Redis is away" in note for note in found["notes"])
    (bound,) = found["destinations"]
    answers = {answer["question"].rpartition("/")[2]: answer for answer in bound["answers"]}
    assert answers["MX"]["security"] == answers["A"]["security"] == answers["TLSA"]["security"] == "secure"
    assert answers["TLSA"]["records"][0].startswith("DANE-EE(3) SPKI(1) SHA2-256(1) ")
    (host,) = bound["plan"]["hosts"]
    assert host["demand"]["kind"] == "dane"
    (connection,) = bound["connections"]
    assert (connection["outcome"], connection["security"]) == ("session", "dane")
    assert connection["reached"] is True
    assert lab.received(domain) == ()


async def test_a_mismatch_shows_in_the_handshake(explain: Explain, lab: Lab) -> None:
    """The text says record by record why nothing matched, and what that leads to; the plan alone could not know."""
    address = f"user@{named('mismatch')[0].domain}"
    text = await explain(address, "--connect")
    assert text.startswith(f"{address}: the mail would be returned")
    assert "deliver: refuse: dane.mismatch 5.7.5" in text
    assert "DANE-EE(3) SPKI(1) SHA2-256(1)" in text
    assert lab.received(named("mismatch")[0].domain) == ()


async def test_hosts_are_tried_in_the_order_of_delivery(explain: Explain, lab: Lab) -> None:
    """Every host is looked at, and those that delivery would not come to are marked as such (DANE-16)."""
    found = json.loads(await explain(f"user@{named('two-mx')[0].domain}", "--json", "--connect"))
    (bound,) = found["destinations"]
    assert len(bound["connections"]) == 2
    good = [one["outcome"] == "session" for one in bound["connections"]].index(True)
    assert [one["reached"] for one in bound["connections"]] == [True, good == 1]
    assert found["outcome"] == "proceed"
    assert lab.received(named("two-mx")[0].domain) == ()


async def test_a_broken_record_set_is_named(explain: Explain) -> None:
    """A bogus TLSA answer leaves the host out, and the mail would be returned under profile mailmarshal (DANE-08)."""
    found = json.loads(await explain(f"user@{named('expired-tlsa')[0].domain}", "--json"))
    (bound,) = found["destinations"]
    assert found["outcome"] == bound["outcome"] == "refuse"
    (failed,) = [answer for answer in bound["answers"] if answer["security"] is None]
    assert failed["failure"] == "bogus"
    assert bound["rulings"][-1]["code"] == "dns.bogus_tlsa"


async def test_a_host_behind_an_insecure_mx(explain: Explain) -> None:
    """What holds for the host alone is never shown as security of the domain (DANE-32, RFC 7672 section 2.2.1)."""
    address = f"user@{named('insecure-mx')[0].domain}"
    found = json.loads(await explain(address, "--json", "--connect", DANE__PROFILE="rfc7672"))
    (bound,) = found["destinations"]
    assert bound["plan"]["hosts"][0]["demand"]["host_only"] is True
    assert [(one["outcome"], one["security"]) for one in bound["connections"]] == [("dane.mismatch", "encrypted")]
    assert "of the host only" in await explain(address, DANE__PROFILE="rfc7672")


async def test_an_exclusion_is_told(explain: Explain) -> None:
    """The entry that excludes is named, and no TLSA question is asked."""
    found = json.loads(await explain(f"user@{named('excluded')[0].domain}", "--json"))
    (bound,) = found["destinations"]
    assert bound["policy"]["excluded"] is True
    assert "exclude.matched" in [ruling["code"] for ruling in found["rulings"]]
    assert not [answer for answer in bound["answers"] if answer["question"].endswith("/TLSA")]


# Without a lab: the same code on answers that a test gives


def means(rules: tuple[Rule, ...] = ()) -> Means:
    """Give a line of our own stages over answers for example.com."""
    answers: dict[Question, Any] = {}
    given: tuple[tuple[str, str, tuple[Record, ...]], ...] = (
        ("example.com", "MX", (MX(10, "mx.example.com"),)),
        ("mx.example.com", "A", (IP("192.0.2.1"), IP("192.0.2.3"))),
        ("_25._tcp.mx.example.com", "TLSA", (RECORD,)),
        ("archive.example.net", "A", (IP("192.0.2.2"),)),
        ("_25._tcp.archive.example.net", "TLSA", (RECORD,)),
    )
    for name, rdtype, records in given:
        question = Question(name, rdtype)
        answers[question] = Found(question, Security.SECURE, records, name, (), NOW)
    for name in ("mx.example.com", "archive.example.net"):
        aaaa = Question(name, "AAAA")
        answers[aaaa] = Absent(aaaa, Security.SECURE, nxdomain=False, canonical=name, aliases=(), expires=NOW)

    async def table(_item: object) -> RouteTable:
        return RouteTable(rules)

    async def entries(_item: object) -> Exclusions:
        return Exclusions(())

    async def policy(_item: object) -> Policy:
        return PRIVATE

    async def survey(item: object) -> Survey:
        assert isinstance(item, Consignment)
        return Survey(item.destination, answers, NOW)

    made = (
        Gatherer(RouteTable, table),
        Gatherer(Exclusions, entries),
        Gatherer(Policy, policy),
        Gatherer(Survey, survey),
    )
    line = build(load(None, {}).pipeline.stages)
    return Means(line, {one.gives: one for one in made}, lambda _: PRIVATE, lambda: NOW)


ADDRESS = Address("user", "example.com", "user@example.com")


async def test_copies_are_explained_beside_the_address() -> None:
    """A copy rule adds a destination of its own, and the outcome is that of the address itself."""
    rule = Rule("archive", Action.COPY, host="archive.example.net")
    found = await decide(message_to(ADDRESS, None, Origin("send"), NOW), means((rule,)))
    assert [str(bound.destination.kind) for bound in found.bound] == ["mx", "host"]
    assert [bound.recipients for bound in found.bound] == [("EXPLAIN/0",), ("EXPLAIN/0+1",)]
    assert found.outcome == "proceed"


async def test_a_refusing_rule_ends_it() -> None:
    """A refusal at a message stage leaves no destination, in JSON as in text."""
    found = await decide(message_to(ADDRESS, None, Origin("send"), NOW), means((Rule("no", Action.REFUSE),)))
    shown = as_json(found)
    assert (shown["outcome"], shown["destinations"]) == ("refuse", [])
    assert as_text(found).startswith("user@example.com: the mail would be returned")


async def test_the_json_is_plain() -> None:
    """The explanation survives JSON unchanged, so that programs may keep it."""
    shown = as_json(await decide(message_to(ADDRESS, None, Origin("send"), NOW), means()))
    assert json.loads(json.dumps(shown)) == shown
    (host,) = shown["destinations"][0]["plan"]["hosts"]
    assert host["demand"]["records"] == [f"DANE-EE(3) SPKI(1) SHA2-256(1) {'00' * 32}"]


@pytest.mark.parametrize(
    ("troubles", "reached", "outcome"),
    [
        ((None, None), [True, False], "proceed"),
        ((Trouble.CONNECT, None), [True, True], "proceed"),
        ((Trouble.CONNECT, Trouble.CONNECT), [True, True], "defer"),
        ((Trouble.MISMATCH, Trouble.MISMATCH), [True, True], "refuse"),
    ],
)
async def test_how_far_delivery_would_come(
    troubles: tuple[Trouble | None, ...], reached: list[bool], outcome: str
) -> None:
    """All addresses are tried, those behind a good one only to be shown; without one the failure is ruled on."""
    left = list(troubles)

    async def connect(
        host: Host, address: str, destination: Destination, policy: Policy, *, clear: bool
    ) -> HostAttempt:
        assert policy is PRIVATE
        assert not clear
        return HostAttempt(host.name, address, destination.port, host.demand.kind, left.pop(0), "as the test says")

    found = await decide(message_to(ADDRESS, None, Origin("send"), NOW), replace(means(), connect=connect))
    assert [one.reached for one in found.bound[0].connections] == reached
    assert found.outcome == outcome
    assert ("delivery would not come so far" in as_text(found)) is (False in reached)
