"""What the log says is what the manual says: events, their fields, and reason codes."""

import ast
import json
import re
from collections.abc import Iterator

import jsonschema
import pytest

from pipeline.log import EVENTS
from stages.plan import Trouble
from tests.laws.tree import ROOT, Module, modules
from tests.ops.manual_pages import DOCS, SCHEMA, renewed

DOCUMENTED = json.loads(SCHEMA.read_text(encoding="utf-8"))
KINDS = {event["title"]: event for event in DOCUMENTED["oneOf"]}
# The functions that write an event, with the place of its name among their arguments.
WRITERS = {"emit": 0, "_tell": 0}
CODE = re.compile(r"(?:route|exclude|resolve|deliver|bounce|dns|dane|tls|smtp|content|queue)\.[a-z_0-9]+")


def _written(module: Module) -> Iterator[tuple[str, int]]:
    """Give the events that a module writes under a literal name."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            first = node.args[0]
            if name in WRITERS and isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value, node.lineno


def _codes(module: Module) -> Iterator[str]:
    """Give the reason codes that stand in a module, with those of `smtp.{phase}_...` spelt out."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
            yield node.value
        if isinstance(node, ast.JoinedStr) and ast.unparse(node).startswith("f'smtp.{phase}_"):
            ending = ast.unparse(node).removeprefix("f'smtp.{phase}").rstrip("'")
            yield from (f"smtp.{phase}{ending}" for phase in ("mail", "rcpt", "data"))


def test_events_that_are_written_are_documented() -> None:
    """A name in the code that `pipeline/log.py` does not list would raise when it is written."""
    wrong = [
        f"{module.path}:{line}: {event}"
        for module in modules()
        for event, line in _written(module)
        if event not in EVENTS
    ]
    assert wrong == []


def test_events_that_are_documented_are_written() -> None:
    """Nobody waits for an event that never comes."""
    assert {event for module in modules() for event, _ in _written(module)} == set(EVENTS)


def test_the_schema_is_one() -> None:
    """The file is JSON Schema 2020-12, and names every event once, with the words of `pipeline/log.py`."""
    assert DOCUMENTED["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(DOCUMENTED)
    assert [event["title"] for event in DOCUMENTED["oneOf"]] == list(EVENTS)
    assert DOCUMENTED["properties"]["event"]["enum"] == sorted(EVENTS)
    for name, event in KINDS.items():
        assert event["properties"]["event"] == {"const": name}
        assert event["description"].lower().startswith(EVENTS[name].lower())


@pytest.mark.parametrize("kind", EVENTS)
def test_examples_are_right_and_what_is_not_documented_is_not(kind: str) -> None:
    """The example of each event fits the schema; with a field more, or one less, it does not."""
    check = jsonschema.Draft202012Validator(DOCUMENTED)
    (example,) = KINDS[kind]["examples"]
    assert [error.message for error in check.iter_errors(example)] == []
    assert not check.is_valid({**example, "undocumented": 1})
    for field in (*DOCUMENTED["required"], *KINDS[kind]["required"]):
        assert not check.is_valid({key: value for key, value in example.items() if key != field})


def test_the_page_has_every_event_and_field() -> None:
    """`ops/docs/log-events.md` is what the schema makes: renew it with `python -m tests.ops.manual_pages --write`."""
    assert (DOCS / "log-events.md").read_text(encoding="utf-8") == renewed("log-events.md")


def test_every_reason_code_is_explained() -> None:
    """Each code that a stage or an operator's command can give has a row in the manual, and each row is of such a code."""
    page = (DOCS / "log-events.md").read_text(encoding="utf-8").partition("## Reason codes")[2]
    explained = re.findall(r"^\| `([a-z_.0-9]+)` \|", page, re.MULTILINE)
    given = {code for module in modules("stages") for code in _codes(module)}
    given |= {code for module in modules("pipeline", "ops") for code in _codes(module) if code.startswith("queue.")}
    assert set(map(str, Trouble)) <= given
    assert sorted(explained) == sorted(given - set(EVENTS))


def test_the_pages_lead_somewhere() -> None:
    """Every relative link of the manual names a file that exists."""
    wrong = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in DOCS.glob("*.md")
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
        if not (path.parent / target).exists()
    ]
    assert wrong == []
