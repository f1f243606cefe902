"""Alerts, dashboard, runbook and figures name the same things, and Prometheus itself takes the rules."""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from pipeline.figures import FIGURES
from pipeline.metrics import CLASSES, DEMANDS, INCIDENTS, OUTCOMES, SECURITY
from tests.laws.test_commands import COMMANDS
from tests.laws.test_events import _codes
from tests.laws.tree import ROOT, modules
from tests.needs import program
from tests.ops.manual_pages import DOCS

RULES = ROOT / "ops/deploy/prometheus/danepipe.rules.yml"
STORIES = RULES.with_name("danepipe.rules.test.yml")
DASHBOARD = ROOT / "ops/deploy/grafana/danepipe.json"
RUNBOOK = (DOCS / "runbook.md").read_text(encoding="utf-8")
# Codes of mail that goes on, is settled without failure, or is about a report: nobody is called for them.
WELL = re.compile(r"route\.routed|route\.copy_rule_gone|exclude\..*|resolve\.planned|smtp\.accepted|bounce\..*")
DRAMATIQ = {f"dramatiq_message{ending}_total" for ending in ("s", "_errors", "_retries", "_rejects")}
SERIES = {series for one in FIGURES.values() for series in one.series} | DRAMATIQ
LABELS = {
    "event": set(INCIDENTS), "outcome": OUTCOMES, "reason": CLASSES, "security": SECURITY, "demand": DEMANDS,
    "verdict": {"defer", "refuse"}, "state": {"delivered", "relayed", "failed", "dropped"}, "job": {"danepipe"},
}  # fmt: skip


def _alerts() -> dict[str, Any]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def _panels() -> Iterator[tuple[str, str]]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


EXPRESSIONS = [*((name, rule["expr"]) for name, rule in _alerts().items()), *_panels()]


def _sections(heading: str) -> list[str]:
    part = RUNBOOK.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^### (\S+)$", part, re.MULTILINE)


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    """Whoever is woken finds what to do under the name of the alert."""
    assert _sections("Alerts") == list(_alerts())


def test_every_code_of_a_failure_has_a_section() -> None:
    """Whoever reads a report finds what its code asks for; there is no section of a code that is none."""
    given = {code for module in modules("stages") for code in _codes(module)}
    given |= {code for module in modules("pipeline", "ops") for code in _codes(module) if code.startswith("queue.")}
    failures = {code for code in given if not WELL.fullmatch(code)} - {"queue.action"}
    assert sorted(_sections("Reason codes")) == sorted(failures)


def test_no_section_is_empty() -> None:
    """A heading alone helps nobody."""
    pieces = re.split(r"^### (\S+)$", RUNBOOK, flags=re.MULTILINE)[1:]
    assert [name for name, text in zip(pieces[::2], pieces[1::2], strict=True) if len(text.strip()) < 20] == []


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_expressions_rest_on_figures_that_there_are(name: str, expression: str) -> None:
    """An alert on a misspelt figure or label never fires, and a panel shows nothing."""
    named = set(re.findall(r"\b(?:danepipe|dramatiq)_\w+", expression))
    assert named <= SERIES, name
    assert named or expression.startswith("up{")
    for label, words in re.findall(r'(\w+)(?:=|=~|!=)"([^"]*)"', expression):
        assert set(words.split("|")) <= LABELS[label], f"{name}: {label}"


def test_every_figure_is_on_the_dashboard() -> None:
    """What is worth counting is worth seeing."""
    shown = {series for _, expression in _panels() for series in re.findall(r"\bdanepipe_\w+", expression)}
    assert [one.name for one in FIGURES.values() if not shown & set(one.series)] == []


def test_the_dashboard_has_a_place_for_each_panel() -> None:
    """Ids are unique, and no two panels lie over each other."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (column, line)
        for place in (panel["gridPos"] for panel in panels)
        for column in range(place["x"], place["x"] + place["w"])
        for line in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(column for column, _ in cells) < 24


def test_every_alert_has_a_story_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    """An alert that nobody has seen fire is a hope."""
    tests = [test for story in yaml.safe_load(STORIES.read_text())["tests"] for test in story["alert_rule_test"]]
    assert {test["alertname"] for test in tests if test["exp_alerts"]} == set(_alerts())
    assert {test["alertname"] for test in tests if not test["exp_alerts"]} == set(_alerts())


def test_prometheus_takes_the_rules_and_the_stories_come_true() -> None:
    """The rules are checked and run by Prometheus' own tool, as they would be in service."""
    promtool = program("promtool")
    for arguments in (["check", "rules", str(RULES)], ["test", "rules", str(STORIES)]):
        done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_commands_of_the_runbook_are_ones() -> None:
    """What is told to type at night works: each command exists, and has each option that is named."""
    typed = re.findall(r"`danepipe ([^`]*)`|^ {4}danepipe (.*?)(?:  .*)?$", RUNBOOK, re.MULTILINE)
    assert len(typed) > 15
    for text in (inside or line for inside, line in typed):
        words = text.split()
        command = COMMANDS.get(" ".join(words[:2])) or COMMANDS.get(words[0])
        assert command is not None, text
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, text
