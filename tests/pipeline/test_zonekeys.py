"""Keys of zones that workers share in Redis: what one has proven the next need not ask for, if it proves by the same."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.name
import dns.rdatatype
import pytest

from delivery.dnssec.anchors import Anchors
from delivery.dnssec.limits import Rules
from delivery.dnssec.replies import Link, Status
from delivery.local import LocalSettings, LocalValidator
from delivery.nameserver import Server
from delivery.resolver import DnsSettings, Resolver
from delivery.trust import Canary, Expected
from delivery.zonekeys import MAX_ZONES, Known, ZoneKeys, Zones, binding, read, written
from pipeline.store.connection import connect
from pipeline.store.zonekeys import SharedZoneKeys
from stages.answer import Answer, Failed, Failure, Found, Question, Security
from tests.delivery.mangled import Mangled, without
from tests.dnssec.zones import Tree, Zone

# one zone below another, so that there is what is like a top level domain
HERE = datetime.now(UTC)
_LATE = int(HERE.timestamp()) + 86400 * 10
TREE = Tree(
    (
        Zone(),
        Zone("one", records=("@ MX 10 mx", "mx A 192.0.2.1", "to CNAME mx.two.{apex}.")),
        Zone("two", records=("@ MX 10 mx", "mx A 192.0.2.2")),
        Zone("plain", ("@ MX 10 mx",), signed=False),
    ),
    inception=_LATE - 86400 * 20,
    expiration=_LATE,
)
ANCHORS = Anchors.parse(TREE.anchor)
ONE, TWO = Question("one.example", "MX"), Question("two.example", "MX")
Event = tuple[str, Mapping[str, Any]]


class _Process:
    """A validator as another process has it."""

    def __init__(self, redis: Any, server: Server, anchors: Anchors = ANCHORS, rules: Rules | None = None) -> None:
        self.events: list[Event] = []
        self._server = server
        self._validator = LocalValidator(
            LocalSettings(anchors, rules or Rules(), patience=5), lambda: datetime.now(UTC),
            lambda name, fields: self.events.append((name, fields)), SharedZoneKeys(redis),
        )  # fmt: skip

    async def ask(self, question: Question) -> Answer:
        return await self._validator.ask(self._server, question)

    async def security(self, question: Question) -> Security | Failure:
        answer = await self.ask(question)
        return answer.failure if isinstance(answer, Failed) else answer.security


def _taken(mangled: Mangled) -> list[str]:
    """Give what was asked since the last time."""
    asked = sorted(mangled.asked_over["udp"] + mangled.asked_over["tcp"])
    for over in mangled.asked_over.values():
        over.clear()
    return asked


async def test_a_second_process_proves_a_new_name_without_the_keys_of_the_zones_above(redis: Any) -> None:
    """SEC-81, SEC-31: keys that one process has proven another uses, and the proof is told in whole, from the anchor down."""
    mangled = Mangled(TREE)
    with mangled.served() as server:
        first = _Process(redis, server)
        assert await first.security(ONE) is Security.SECURE
        assert "./DNSKEY" in _taken(mangled)
        second = _Process(redis, server)
        answer = await second.ask(TWO)
        assert _taken(mangled) == ["two.example/DNSKEY", "two.example/DS", "two.example/MX"]
        assert await _Process(redis, server).security(ONE) is Security.SECURE
        assert _taken(mangled) == ["one.example/MX"]
    assert isinstance(answer, Found)
    assert answer.security is Security.SECURE
    assert [line.split(": ")[1] for line in answer.chain] == [
        "./DNSKEY", "example/DS", "example/DNSKEY", "two.example/DS", "two.example/DNSKEY", "two.example/MX",
    ]  # fmt: skip
    assert (first.events, second.events) == ([], [])


@pytest.mark.parametrize(
    ("question", "security", "asked"),
    [
        (Question("plain.example", "MX"), Security.INSECURE, ["plain.example/DS", "plain.example/MX"]),
        (
            Question("to.one.example", "A"),
            Security.SECURE,
            ["to.one.example/A", "two.example/DNSKEY", "two.example/DS"],
        ),
        (Question("no.example", "MX"), Security.SECURE, ["no.example/MX"]),
    ],
    ids=["unsigned", "alias", "denied"],
)
async def test_what_is_shared_serves_every_kind_of_answer(
    redis: Any, question: Question, security: Security, asked: list[str]
) -> None:
    """SEC-81, SEC-18, SEC-66: unsigned zones, aliases and denials are proven from the shared keys as from one's own."""
    mangled = Mangled(TREE)
    with mangled.served() as server:
        await _Process(redis, server).ask(ONE)
        _taken(mangled)
        assert await _Process(redis, server).security(question) is security
        assert _taken(mangled) == asked


async def test_shared_keys_end_with_the_records_and_signatures_of_their_proof(redis: Any) -> None:
    """SEC-31 (RFC 4035 section 5.3.3), SEC-81: Redis itself forgets them then."""
    mangled = Mangled(TREE)
    with mangled.served() as server:
        await _Process(redis, server).ask(ONE)
    names = await redis.keys("dp:zone:*")
    assert {name.decode().rpartition(":")[2] for name in names} == {".", "example", "one.example"}
    for name in names:
        assert 0 < await redis.pttl(name) <= 300_000


OTHER_ANCHORS = (
    Anchors.parse(TREE.anchor + "\nnot.example. IN DS 1 13 2 " + "AB" * 32),
    Anchors(ANCHORS.zones, {dns.name.from_text("x.example"): HERE + timedelta(days=1)}),
)


@pytest.mark.parametrize(
    ("anchors", "rules"),
    [
        (OTHER_ANCHORS[0], Rules()),
        (OTHER_ANCHORS[1], Rules()),
        (ANCHORS, Rules(skew=timedelta(seconds=1))),
        (ANCHORS, Rules(algorithms=frozenset({13, 15}))),
    ],
    ids=["another anchor", "a negative anchor", "another skew", "fewer algorithms"],
)
async def test_who_proves_by_something_else_uses_none_of_them(redis: Any, anchors: Anchors, rules: Rules) -> None:
    """SEC-81, SEC-85: a changed anchor file or rule sees nothing of what was proven before the change."""
    mangled = Mangled(TREE)
    with mangled.served() as server:
        await _Process(redis, server).ask(ONE)
        _taken(mangled)
        assert await _Process(redis, server, anchors, rules).security(ONE) is Security.SECURE
        assert _taken(mangled) == [
            "./DNSKEY", "example/DNSKEY", "example/DS", "one.example/DNSKEY", "one.example/DS", "one.example/MX",
        ]  # fmt: skip


async def test_an_anchor_that_is_no_longer_believed_makes_all_bogus_whatever_is_shared(redis: Any) -> None:
    """SEC-02, SEC-81: keys proven from an anchor that was taken away do not outlive it."""
    gone = Anchors.parse(". IN DS 1 13 2 " + "AB" * 32)
    mangled = Mangled(TREE)
    with mangled.served() as server:
        await _Process(redis, server).ask(ONE)
        assert await _Process(redis, server, gone).security(ONE) is Failure.BOGUS


def test_equal_anchors_and_rules_have_one_name() -> None:
    """SEC-81: the order in a file is no matter, and what is meant is."""
    text = "b. IN DS 1 13 2 " + "AB" * 32
    one, other = Anchors.parse(f"{TREE.anchor}\n{text}"), Anchors.parse(f"{text}\n{TREE.anchor}")
    assert binding(one, Rules()) == binding(
        other, Rules(algorithms=frozenset(sorted(Rules().algorithms, reverse=True)))
    )
    assert binding(one, Rules()) != binding(ANCHORS, Rules())


@pytest.mark.parametrize(
    "value",
    [b"", b"null", b"\xff\x00", b"{}", b"[]", b'{"zone": "example"}',
     b'{"zone": "example", "keys": ["!"], "expires": "2999-01-01T00:00:00Z", "links": []}'],
)  # fmt: skip
async def test_what_is_unreadable_is_proven_anew(redis: Any, value: bytes) -> None:
    """SEC-81, SEC-21: whatever stands in Redis, the zone is proven from the anchors, once, and that it was so is told."""
    mangled = Mangled(TREE)
    with mangled.served() as server:
        await _Process(redis, server).ask(ONE)
        for name in await redis.keys("dp:zone:*"):
            await redis.set(name, value)
        _taken(mangled)
        process = _Process(redis, server)
        assert await process.security(ONE) is Security.SECURE
        assert "./DNSKEY" in _taken(mangled)
        assert [name for name, _ in process.events] == ["resolver.cache"]
        assert "shared keys of zones cannot be read: CodecError" in process.events[0][1]["text"]
        assert await _Process(redis, server).security(ONE) is Security.SECURE
        assert _taken(mangled) == ["one.example/MX"]


@pytest.mark.parametrize("zone", ["example", "one.example"], ids=["one above it", "one beside it"])
async def test_a_zone_that_stands_in_the_place_of_another_is_not_taken_for_it(redis: Any, zone: str) -> None:
    """SEC-81, SEC-24: keys are those of the zone that they name, and of no other."""
    mangled = Mangled(TREE)
    with mangled.served() as server:
        await _Process(redis, server).ask(ONE)
        place = f"dp:zone:{binding(ANCHORS, Rules())}"
        await redis.rename(f"{place}:{zone}", f"{place}:two.example")
        _taken(mangled)
        assert await _Process(redis, server).security(TWO) is Security.SECURE
        assert "two.example/DNSKEY" in _taken(mangled)


def _keys(**changes: Any) -> ZoneKeys:
    """Give the keys of a zone, which could be shared."""
    link = Link("example", "example/DNSKEY", Status.SECURE, "signed")
    wire = bytes.fromhex("0100030f") + bytes(32)
    return replace(ZoneKeys("example", (wire,), HERE + timedelta(minutes=1), (link,)), **changes)


def test_what_is_shared_is_read_as_it_was_written() -> None:
    """SEC-81: name, keys, end and steps of the proof."""
    zone = read(_keys(), Rules(), HERE)
    assert written(zone) == _keys()
    assert (zone.status, zone.name) == (Status.SECURE, dns.name.from_text("example"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"keys": ()}, "none that sign zones"),
        ({"keys": (b"\x01",)}, "no keys"),
        ({"keys": (bytes.fromhex("0000030f") + bytes(32),)}, "none that sign zones"),
        ({"keys": (bytes.fromhex("0180030f") + bytes(32),)}, "none that sign zones"),
        ({"keys": (bytes.fromhex("0100040f") + bytes(32),)}, "none that sign zones"),
        ({"zone": "a..b"}, "no keys"),
        ({"expires": HERE}, "over or too far away"),
        ({"expires": HERE + timedelta(days=2)}, "over or too far away"),
        ({"links": (Link("example", "example/DS", Status.INSECURE, ""),)}, "were not proven"),
    ],
    ids=["no keys", "octets", "no zone bit", "revoked", "protocol 4", "no name", "over", "too long", "insecure"],
)
def test_what_no_proof_would_have_left_is_refused(changes: dict[str, Any], text: str) -> None:
    """SEC-81, SEC-09, SEC-10: keys that sign no zone, that last too long, or whose steps are not secure are not believed."""
    with pytest.raises(ValueError, match=text):
        read(_keys(**changes), Rules(), HERE)


async def test_keys_that_are_over_are_not_kept(redis: Any) -> None:
    """SEC-31: they do not get into Redis."""
    await SharedZoneKeys(redis).put("b", _keys(expires=HERE - timedelta(seconds=1)))
    assert await redis.keys("*") == []


async def test_without_redis_all_is_proven_and_told(tmp_path: Path) -> None:
    """SEC-81: a Redis that is away costs questions, and nothing else."""
    away = connect(f"unix://{tmp_path}/nothing.sock")
    mangled = Mangled(TREE)
    with mangled.served() as server:
        process = _Process(away, server)
        assert await process.security(ONE) is Security.SECURE
        await process._validator.forget()
        texts = [fields["text"].partition(": Store")[0] for _, fields in process.events]
    assert texts == [
        "shared keys of zones cannot be read",
        "keys of zones cannot be shared",
        "shared keys of zones cannot be cleared",
    ]
    await away.aclose()


async def test_when_a_resolver_turns_bad_the_shared_keys_are_thrown_away(redis: Any) -> None:
    """SEC-81, DANE-05: as the answers are; other keys in Redis stay."""
    await redis.set("dp:msg:M1", "mail")
    mangled = Mangled(TREE)
    with mangled.served() as server:
        settings = DnsSettings((server,), "local", ANCHORS, canaries=(Canary(ONE, Expected.SECURE),))
        resolver = Resolver(settings, now=lambda: datetime.now(UTC), shared_keys=SharedZoneKeys(redis))
        assert isinstance(await resolver.ask(TWO), Found)
        assert len(await redis.keys("dp:zone:*")) == 4
        mangled.changes = {"udp": without(dns.rdatatype.RRSIG), "tcp": without(dns.rdatatype.RRSIG)}
        await resolver.check()
        assert await redis.keys("*") == [b"dp:msg:M1"]
        await resolver.aclose()


async def test_as_many_names_are_looked_for_at_once_as_are_worth_it(redis: Any) -> None:
    """SEC-59: whoever answers can name any number of zones, and does not get them all looked for."""

    class Counting(SharedZoneKeys):
        async def get(self, binding: str, zones: Any) -> Any:
            self.wanted = list(zones)
            return await super().get(binding, zones)

    counting = Counting(redis)
    zones = Zones(counting, ANCHORS, Rules(), lambda _name, _fields: None)
    await zones.fetch((dns.name.from_text(f"d{number}.example") for number in range(1000)), HERE)
    assert len(counting.wanted) == 64
    assert counting.wanted[:3] == ["d0.example", "example", "."]


def test_what_is_kept_has_a_bound() -> None:
    """SEC-59: the oldest zone is dropped when there are too many, and only proven zones are to be shared."""
    zone = read(_keys(), Rules(), HERE)
    known = Known()
    for number in range(MAX_ZONES + 1):
        known[dns.name.Name((str(number).encode(), b""))] = zone
    known[zone.name] = zone
    assert len(known) == MAX_ZONES
    assert known.fresh == [zone]
