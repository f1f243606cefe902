"""Our own validation over a nameserver: what it asks, in which order, and how much of an answer it reads."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import dns.message
import dns.name
import dns.rdata
import dns.rdatatype
import pytest

from delivery.dnssec.anchors import Anchors
from delivery.dnssec.limits import Rules
from delivery.local import LocalSettings, LocalValidator
from delivery.nameserver import Server
from ops.lab.nameserver import Nameserver
from ops.lab.scenario import Scenario
from ops.lab.zones import Tree, build
from stages.answer import Answer, Failed, Failure, Found, Question, Security

MX = Question("d.lab", "MX")
DOMAIN = dns.name.from_text("d.lab")


class _Watched(Nameserver):
    """Remembers what it was asked, and keeps the answer to one question until another one has come."""

    def __init__(self, tree: Tree, held: str = "", until: str = "") -> None:
        super().__init__(tree.zones)
        self.questions: list[str] = []
        self._held, self._until = held, until
        self._waiting: list[tuple[asyncio.DatagramTransport, bytes, tuple[str, int]]] = []

    def datagram(self, transport: asyncio.DatagramTransport, wire: bytes, peer: tuple[str, int]) -> None:
        asked = dns.message.from_wire(wire).question[0]
        text = f"{asked.name.to_text(omit_final_dot=True)}/{dns.rdatatype.to_text(asked.rdtype)}"
        self.questions.append(text)
        if text == self._held and self._until not in self.questions:
            self._waiting.append((transport, wire, peer))
            return
        super().datagram(transport, wire, peer)
        for waiting in self._waiting if text == self._until else ():
            super().datagram(*waiting)


def _tree() -> Tree:
    """Build a signed domain whose MX says that it takes no mail."""
    return build([Scenario("d", "a signed domain", hosts=(), null_mx=True)], [], 25)


@asynccontextmanager
async def _validator(
    tree: Tree, nameserver: Nameserver, rules: Rules | None = None
) -> AsyncIterator[tuple[LocalValidator, Server]]:
    await nameserver.open()
    settings = LocalSettings(Anchors.parse(tree.anchor), rules or Rules(), patience=2)
    yield LocalValidator(settings, lambda: datetime.now(UTC)), Server("127.0.0.1", nameserver.port)
    await nameserver.close()


def _is_secure(answer: Answer) -> bool:
    return isinstance(answer, Found) and answer.security is Security.SECURE


async def test_ds_and_dnskey_of_the_signer_are_asked_for_together() -> None:
    """SEC-03, SEC-75 (RFC 4035 section 5.2): the answer to DS may wait for the question for DNSKEY, and neither is asked twice."""
    tree = _tree()
    nameserver = _Watched(tree, "d.lab/DS", "d.lab/DNSKEY")
    async with _validator(tree, nameserver) as (validator, server):
        assert _is_secure(await validator.ask(server, MX))
        assert sorted(nameserver.questions) == [
            "./DNSKEY", "d.lab/DNSKEY", "d.lab/DS", "d.lab/MX", "lab/DNSKEY", "lab/DS",
        ]  # fmt: skip
        del nameserver.questions[:]
        assert _is_secure(await validator.ask(server, MX))
        assert nameserver.questions == ["d.lab/MX"]


async def test_equal_questions_share_one_asking() -> None:
    """SEC-59: whoever asks the same at the same time gets the same answer, for the price of one."""
    tree = _tree()
    nameserver = _Watched(tree)
    async with _validator(tree, nameserver) as (validator, server):
        answers = await asyncio.gather(*(validator.ask(server, MX) for _ in range(5)))
    assert all(map(_is_secure, answers))
    assert len(nameserver.questions) == len(set(nameserver.questions))


async def test_an_answer_of_too_many_records_is_no_answer() -> None:
    """SEC-63: a message beyond the bound is not read, and is indeterminate: never insecure, never bogus."""
    tree = _tree()
    async with _validator(tree, Nameserver(tree.zones), Rules(records=2)) as (validator, server):
        answer = await validator.ask(server, MX)
    assert isinstance(answer, Failed)
    assert answer.failure is Failure.INDETERMINATE
    assert "more than 2 records" in answer.text


@pytest.mark.parametrize(
    ("rules", "limit"),
    [
        (Rules(records=2), "answered with more than 2 records"),
        (Rules(checks=2), "more than 2 signature checks for one question"),
        (Rules(queries=2), "more than 2 weighted queries for one question"),
    ],
    ids=["records", "checks", "queries"],
)
async def test_a_limit_that_is_reached_is_told(rules: Rules, limit: str) -> None:
    """SEC-59, SEC-60, SEC-63: an event has question and resolver, and names the limit with its value; else there is none."""
    tree = _tree()
    told: list[tuple[str, Mapping[str, Any]]] = []
    nameserver = Nameserver(tree.zones)
    await nameserver.open()
    server = Server("127.0.0.1", nameserver.port)
    for given in (Rules(), rules):
        settings = LocalSettings(Anchors.parse(tree.anchor), given, patience=2)
        validator = LocalValidator(
            settings, lambda: datetime.now(UTC), lambda name, fields: told.append((name, fields))
        )
        answer = await validator.ask(server, MX)
    await nameserver.close()
    [(name, fields)] = told
    assert isinstance(answer, Failed)
    assert (name, fields["question"], fields["resolver"]) == ("resolver.limit", "d.lab/MX", str(server))
    assert limit in fields["text"]
    assert fields["text"] == answer.text


async def test_the_records_of_all_messages_are_counted() -> None:
    """SEC-63: what is read on the way counts, each message for itself being small enough."""
    tree = _tree()
    async with _validator(tree, Nameserver(tree.zones), Rules(records=6)) as (validator, server):
        answer = await validator.ask(server, MX)
    assert isinstance(answer, Failed)
    assert answer.failure is Failure.INDETERMINATE
    assert "more than 6 records read for one question" in answer.text


async def test_a_zone_that_is_asked_again_after_its_proof_expired_is_proven_again() -> None:
    """SEC-31 (RFC 4035 section 5.3.3): what was proven of a zone is kept as long as its records, and no longer."""
    tree, later = _tree(), timedelta()
    nameserver = _Watched(tree)
    await nameserver.open()
    settings = LocalSettings(Anchors.parse(tree.anchor), patience=2)
    validator = LocalValidator(settings, lambda: datetime.now(UTC) + later)
    server = Server("127.0.0.1", nameserver.port)
    assert _is_secure(await validator.ask(server, MX))
    del nameserver.questions[:]
    later = timedelta(seconds=301)
    assert _is_secure(await validator.ask(server, MX))
    assert "d.lab/DNSKEY" in nameserver.questions
    await nameserver.close()
