"""The tests keep to their own rules: each says what it proves, patches nothing inside, and waits for no clock."""

import ast
from collections.abc import Iterator

from tests.laws.tree import Module, modules

TESTS = modules("tests")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(module: Module) -> Iterator[Function]:
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            yield node


def test_each_test_says_what_it_proves() -> None:
    """A test that fails must tell its reader in a sentence what no longer holds."""
    silent = [
        f"{module.path}:{function.lineno}: {function.name}"
        for module in TESTS
        for function in _functions(module)
        if function.name.startswith("test_") and not (ast.get_docstring(function) or "").rstrip().endswith((".", '"'))
    ]
    assert silent == []


def test_no_test_replaces_what_it_tests() -> None:
    """The far end is faked, and never our own insides: no `unittest.mock`, no `monkeypatch.setattr`."""
    wrong = []
    for module in TESTS:
        wrong += [
            f"{module.path}:{line}: {name}"
            for name, line in module.imports()
            if name.partition(".")[0] in {"mock", "pytest_mock"} or name.startswith("unittest.mock")
        ]
        wrong += [
            f"{module.path}:{node.lineno}: setattr"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute)
            and node.attr in {"setattr", "setitem"}
            and isinstance(node.value, ast.Name)
            and node.value.id == "monkeypatch"
        ]
    assert wrong == []


def test_no_test_sleeps_for_timing() -> None:
    """A test waits for what it wants to see: it sleeps only between two looks, inside a loop."""
    wrong = []
    for module in TESTS:
        looking = {
            id(inner)
            for loop in ast.walk(module.tree)
            if isinstance(loop, (ast.While, ast.For, ast.AsyncFor))
            for inner in ast.walk(loop)
        }
        for node in ast.walk(module.tree):
            if not (isinstance(node, ast.Attribute) and node.attr == "sleep" and isinstance(node.value, ast.Name)):
                continue
            if node.value.id == "time" or id(node) not in looking:
                wrong.append(f"{module.path}:{node.lineno}: {node.value.id}.sleep")
    assert wrong == []
