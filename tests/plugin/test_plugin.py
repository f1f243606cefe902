"""A third party's distribution: its stage stands in the line and works; one that cannot work stops the start."""

import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from ops.cli import main
from pipeline.accept.address import parse_address
from pipeline.accept.door import RecipientRequest, Submission
from pipeline.config import load
from pipeline.outfit import resolver_of, runner_of
from pipeline.spine import Spine, utc_now
from stages.message import MessageId, Origin, State
from tests.ops.manual_pages import DOCS, renewed
from tests.plugin.install import install, written

ROOT = Path(__file__).parents[2]
WITH_IT = "route,suspend,exclude,resolve,deliver,bounce"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the plug-in into a directory of its own."""
    return install(tmp_path_factory.mktemp("site"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty working directory and an environment without our variables."""
    for name in [name for name in os.environ if name.startswith("DANEPIPE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(*arguments: str, status: int = 1, **environ: str) -> str:
    """Run a command, and give what it said: one sentence if it fails."""
    variables = {f"DANEPIPE_{name}": value for name, value in environ.items()}
    result = CliRunner().invoke(main, arguments, env=variables)
    assert result.exit_code == status, result.output
    assert len(result.output.strip().splitlines()) == 1
    return result.output


def _mail(sender: str) -> Submission:
    return Submission(
        sender=parse_address(sender),
        recipients=(RecipientRequest(parse_address("user@example.com")),),
        origin=Origin("send"),
        content=b"Subject: x\r\n\r\nbody\r\n",
    )


async def test_the_line_with_it_works(
    target: Path, place: Path, redis_url: str, redis: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mail of a suspended sender waits with the plug-in's reason, mail of others goes on to its ready queue."""
    monkeypatch.syspath_prepend(target)
    (place / "suspended-senders.txt").write_text("Bad@sender.example\n")
    environ = {
        "REDIS__URL": redis_url,
        "PIPELINE__STAGES": WITH_IT,
        "STORE__DIR": str(place),
        "DNS__SERVERS": "127.0.0.1@9",
    }
    config = load(None, {f"DANEPIPE_{name}": value for name, value in environ.items()})

    async def nudge(_names: Sequence[str]) -> None:
        """Tell nobody: the test runs the stages itself."""

    async with Spine.open(config, nudge) as spine:
        resolver = resolver_of(spine)
        runner = runner_of(spine, resolver)
        held, passed = await spine.submit(_mail("bad@sender.example")), await spine.submit(_mail("good@sender.example"))
        assert [stage.name for stage in spine.line.messages] == ["route", "suspend", "exclude"]
        for stage in spine.line.messages:
            await runner.run_place(stage)
        assert await _stands(spine, held) == (State.DEFERRED, "suspend.held", "schedule")
        assert await _stands(spine, passed) == (State.QUEUED, "", "ready:mx:example.com:25:dane")
        due = await spine.ledger.next_due()
        assert due is not None
        assert due > utc_now() + timedelta(minutes=59)
        await resolver.aclose()


async def _stands(spine: Spine, message: MessageId) -> tuple[State, str, str]:
    stored = await spine.ledger.stored(message)
    assert stored is not None
    (recipient,) = stored.message.recipients
    return recipient.state, recipient.reason.code if recipient.reason else "", stored.places[recipient.id]


PASSING = """
from stages.contract import Consigned, Level, Routed, Stage
from stages.message import Message
from stages.verdict import Proceed

def decide(item, facts, now):
    return (Proceed(getattr(item, "message", item).recipient_ids, item),)

EARLY = Stage("early", Level.MESSAGE, Message, (), Message, decide)
MIDDLE = Stage("middle", Level.MESSAGE, Routed, (), Routed, decide)
LATE = Stage("late", Level.MESSAGE, Consigned, (), Consigned, decide)
"""


async def test_a_stage_may_stand_in_every_place_of_a_message(
    place: Path, redis_url: str, redis: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, between and after ours: what a stage is handed went through Redis, and the mail comes to its queue."""
    entries = [f"{name} = passing_stages:{name.upper()}" for name in ("early", "middle", "late")]
    site = written(place / "site", "danepipe.stages", *entries)
    (site / "passing_stages.py").write_text(PASSING)
    monkeypatch.syspath_prepend(site)
    stages = "early,route,middle,exclude,late,resolve,deliver,bounce"
    config = load(None, {"DANEPIPE_REDIS__URL": redis_url, "DANEPIPE_PIPELINE__STAGES": stages})

    async def nudge(_names: Sequence[str]) -> None:
        """Tell nobody: the test runs the stages itself."""

    async with Spine.open(config, nudge) as spine:
        resolver = resolver_of(spine)
        runner = runner_of(spine, resolver)
        message = await spine.submit(_mail("good@sender.example"))
        for stage in spine.line.messages:
            await runner.run_place(stage)
        assert await _stands(spine, message) == (State.QUEUED, "", "ready:mx:example.com:25:dane")
        await resolver.aclose()


async def test_commands_know_it(target: Path, place: Path) -> None:
    """What a new process starts with is what is installed: `config check` finds the stage and its gatherer."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops.cli", "config", "check", cwd=place, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "DANEPIPE_PIPELINE__STAGES": WITH_IT, "PYTHONPATH": f"{ROOT}{os.pathsep}{target}"},
    )  # fmt: skip
    out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"defaults and environment: fine\n")


@pytest.mark.parametrize("part", ["up", "accept", "work", "clock", "config check"])
def test_a_stage_that_does_not_chain_stops_the_start(
    target: Path, place: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a place where another type is handed over, the stage is named with what it takes and what it would get."""
    monkeypatch.syspath_prepend(target)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{target}")  # parts have a new process check what is installed
    wrong = "suspend,route,exclude,resolve,deliver,bounce"
    assert "stage 'suspend' takes Routed, but it is handed Message" in said(*part.split(), PIPELINE__STAGES=wrong)


def test_a_stage_that_nobody_installed_stops_the_start(place: Path) -> None:
    """Without the distribution the name is unknown, and the sentence lists the stages that there are."""
    sentence = said("config", "check", PIPELINE__STAGES=WITH_IT)
    assert "names 'suspend', which no installed package provides; known stages: bounce, deliver, exclude" in sentence


def test_a_stage_that_cannot_be_loaded_stops_the_start(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage is named with the module that is missing; the same package does no harm while the line leaves it out."""
    monkeypatch.syspath_prepend(written(place / "site", "danepipe.stages", "suspend = nowhere:STAGE"))
    sentence = said("config", "check", PIPELINE__STAGES=WITH_IT)
    assert "stage 'suspend' cannot be loaded from nowhere:STAGE" in sentence
    assert "No module named 'nowhere'" in sentence
    assert "fine" in said("config", "check", status=0)


def test_a_stage_that_is_none_stops_the_start(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an entry point of the group leads to must be a Stage, or the sentence says what it is."""
    monkeypatch.syspath_prepend(written(place / "site", "danepipe.stages", "suspend = stages.route:NULL_SENDER"))
    assert "'suspend' in group danepipe.stages is '<>', expected" in said("config", "check", PIPELINE__STAGES=WITH_IT)


def test_a_name_that_two_packages_provide_stops_the_start(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of two stages of one name would run must not depend on the order of a directory."""
    (place / "dup.py").write_text(
        "from dataclasses import replace\nfrom stages.route import STAGE\nSTAGE = replace(STAGE)\n"
    )
    monkeypatch.syspath_prepend(place)
    monkeypatch.syspath_prepend(written(place / "site", "danepipe.stages", "route = dup:STAGE"))
    assert "two installed packages provide a stage 'route'" in said("config", "check")


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ("x = nowhere:gatherer", "gatherer 'x' cannot be made from nowhere:gatherer"),
        ("x = pipeline.facts:destination_of", "gatherer 'x' cannot be made from pipeline.facts:destination_of"),
        ("x = builtins:repr", "expected a Gatherer"),
        ("x = pipeline.facts:policy", "two entries of group danepipe.facts give Policy"),
    ],
)
def test_a_gatherer_that_cannot_work_stops_the_start(
    place: Path, monkeypatch: pytest.MonkeyPatch, entry: str, wanted: str
) -> None:
    """A gatherer that cannot be loaded or made, is none, or gives what another gives is named."""
    monkeypatch.syspath_prepend(written(place / "site", "danepipe.facts", entry))
    assert wanted in said("config", "check")


def test_a_fact_that_nobody_gathers_stops_the_start(target: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage whose fact no installed package gives is refused before mail meets it."""
    site = written(place / "site", "danepipe.stages", "suspend = suspended_senders:STAGE")
    (site / "suspended_senders.py").write_text((target / "suspended_senders.py").read_text())
    monkeypatch.syspath_prepend(site)
    sys.modules.pop("suspended_senders", None)
    assert "stage 'suspend' wants SuspendedSenders, which no entry of group danepipe.facts gives" in said(
        "config", "check", PIPELINE__STAGES=WITH_IT
    )


def test_the_manual_shows_the_plug_in_that_is_tested() -> None:
    """What a reader copies from `ops/docs/plugins.md` is what runs here: `python -m tests.ops.manual_pages --write`."""
    assert (DOCS / "plugins.md").read_text(encoding="utf-8") == renewed("plugins.md")
