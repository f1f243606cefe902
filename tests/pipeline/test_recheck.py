"""Excluded domains, tried with DANE by the clock, on a real Redis and the lab: told of once, ended where that is wanted."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from redis.asyncio import Redis

from ops.lab.scenarios import named
from ops.lab.world import Lab
from pipeline.config import load
from pipeline.recheck import TURN, ExclusionWatch, destination_of
from stages.exclude import Exclusion
from stages.route import Action, RouteTable, Rule
from tests.ops.manual_pages import SCHEMA
from tests.pipeline.yard import Lookout, logged

DAY = timedelta(days=1, minutes=1)
NOW = datetime(2026, 11, 26, tzinfo=UTC)


class Post(Lookout):
    """A clock's view of the exclusions."""

    async def turn(self, ahead: timedelta = timedelta(0)) -> list[tuple[str, str]]:
        """Take a turn so much later; give the events with the pattern, of this turn alone."""
        self.ahead = ahead
        await self.redis.delete("dp:recheck-turn")
        before = len(self.events())
        await ExclusionWatch(self.spine(), self.now).look()
        return [(one["event"], one.get("pattern", one.get("error"))) for one in self.events()[before:]]

    async def live(self) -> set[str]:
        """Name the patterns that count."""
        entries = await self.spine().exclusions.beside(self.config.exclusions())
        return {entry.pattern for entry in entries if entry.is_live(self.now())}

    async def add(self, *patterns: str, until_passing: bool = False) -> None:
        """Add exclusions as the command does."""
        for pattern in patterns:
            entry = Exclusion(pattern, "why", "who", NOW, None, "command", until_passing=until_passing)
            await self.spine().exclusions.add(entry)

    def events(self) -> list[Mapping[str, Any]]:
        """Give what was told of so far."""
        return [one for one in self.told() if one["event"].startswith("exclusion.") or one["event"] == "stage.error"]


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """Give the file to which events go."""
    with logged(tmp_path / "log.jsonl") as path:
        yield path


@asynccontextmanager
async def post(redis: Any, out: Path, names: tuple[str, ...], **more: Any) -> AsyncIterator[Post]:
    """Run a lab of some domains."""
    directory = out.parent
    async with Lab.open(directory / "lab", named(*names), "local") as lab:
        path = lab.write_config(directory / "danepipe.toml", more=more)
        yield Post(redis, out, load(path, {}))


async def test_a_domain_that_passes_is_told_of_once_and_stays_excluded(redis: Redis, out: Path) -> None:
    """An exclusion is a person's decision: the clock only says that it is needed no longer, and not every day."""
    async with post(redis, out, ("ee-311", "mismatch")) as here:
        await here.add("*@ee-311.lab", "info@mismatch.lab", "*@*.ee-311.lab", "*")
        assert await here.turn() == [("exclusion.passes", "*@ee-311.lab")]
        assert await here.turn() == []  # the one whose certificate still differs
        assert await here.turn(DAY) == []
        assert await here.live() == {"*@ee-311.lab", "info@mismatch.lab", "*@*.ee-311.lab", "*@*"}
        (told,) = here.events()
        jsonschema.Draft202012Validator(orjson.loads(SCHEMA.read_bytes())).validate(told)
        assert (told["owner"], told["ends"]) == ("who", False)


async def test_an_exclusion_that_is_to_end_so_ends(redis: Redis, out: Path) -> None:
    """Both kinds end by the clock and are told of; one that its domain still needs stays."""
    entry = {"pattern": "*@ta-201.lab", "until_passing": True}
    async with post(redis, out, ("ee-311", "ta-201", "mismatch"), exclude=[entry]) as here:
        await here.add("*@ee-311.lab", "*@mismatch.lab", until_passing=True)
        ended = [one for _ in range(4) for one in await here.turn()]
        assert sorted(ended) == [
            ("exclusion.changed", "*@ee-311.lab"), ("exclusion.changed", "*@ta-201.lab"),
            ("exclusion.passes", "*@ee-311.lab"), ("exclusion.passes", "*@ta-201.lab"),
        ]  # fmt: skip
        assert await here.live() == {"*@mismatch.lab"}
        check = jsonschema.Draft202012Validator(orjson.loads(SCHEMA.read_bytes()))
        for told in here.events():
            check.validate(told)
        assert {one["who"] for one in here.events() if one["event"] == "exclusion.changed"} == {"clock"}


async def test_tries_are_few(redis: Redis, out: Path) -> None:
    """Six an hour over all clocks, whatever is excluded; none where they are switched off."""
    async with post(redis, out, ("ee-311",), recheck={"every": "off"}) as here:
        await here.add("*@ee-311.lab")
        assert not ExclusionWatch(here.spine(), here.now).is_due(NOW)
    async with post(redis, out, ("ee-311",)) as here:
        watch = ExclusionWatch(here.spine(), here.now)
        assert [watch.is_due(NOW + part * TURN / 2) for part in range(4)] == [True, False, True, False]
        assert await here.turn() == [("exclusion.passes", "*@ee-311.lab")]
        await here.redis.delete("dp:rechecks")
        await watch.look()  # another clock, within the ten minutes of the first
        assert not await here.redis.exists("dp:rechecks")


async def test_an_entry_that_was_changed_meanwhile_does_not_end(redis: Redis, out: Path) -> None:
    """Who extends an exclusion while it is being tried keeps it."""
    async with post(redis, out, ("ee-311",)) as here:
        await here.add("*@ee-311.lab", until_passing=True)
        (old,) = await here.spine().exclusions.entries()
        await here.add("*@ee-311.lab")
        assert not await here.spine().exclusions.end(old, NOW)
        assert await here.live() == {"*@ee-311.lab"}


def test_what_is_tried_is_where_the_mail_would_go() -> None:
    """A rule may send it to a host of its own; what goes nowhere or without DANE is not tried, as are several domains."""
    rules = (
        Rule("relay", Action.HOST, ("*@relayed.example",), host="relay.example"),
        Rule("no", Action.REFUSE, ("*@refused.example",)),
    )
    table = RouteTable(rules=rules, local_domains=frozenset({"here.example"}))

    def key(pattern: str) -> str:
        found = destination_of(pattern, table, NOW)
        return found.key if found is not None else ""

    assert key("user@example.com") == "mx:example.com:25:dane"
    assert key("*@relayed.example") == "host:relay.example:25:dane"
    assert [key(one) for one in ("*@refused.example", "*@here.example", "*@*.example.com", "*", "*@[192.0.2.1]")] == [
        ""
    ] * 5


def test_patterns_of_several_domains_cannot_end_so() -> None:
    """Nobody could find out that all of them pass."""
    with pytest.raises(ValueError, match="names no single domain"):
        Exclusion("*@*.example.com", until_passing=True)
