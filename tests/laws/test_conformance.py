"""The pages on conformance and the tests agree: what is called tested is proved by a test that bears its ID.

A page `ops/docs/conformance-*.md` has a table for each family of IDs, with ID, source, what holds, and its state,
`tested` or `open: reason`. A test proves an ID by naming it in its docstring, by itself or in a range (`DANE-09..14`);
a story of the corpus, each of which is a test, by naming it in its header (`requires: SEC-02 SEC-09`).
"""

import ast
import re
from collections.abc import Iterator, Mapping

import pytest

from tests.laws.tree import ROOT, modules

PAGES = sorted((ROOT / "ops" / "docs").glob("conformance-*.md"))
CORPUS = ROOT / "tests" / "corpus"
FAMILIES = ("DANE", "TLS", "EXT", "SMTP", "DSN", "SUB", "SEC", "STS", "RPT", "RTLS")
_ID = re.compile(rf"\b({'|'.join(FAMILIES)})-(\d{{2,3}})(?:\.\.(\d{{2,3}}))?\b")
_STATE = re.compile(r"tested|open: \S.*")


def ids(text: str) -> Iterator[str]:
    """Give the IDs that a text names, ranges written out."""
    for family, first, last in _ID.findall(text):
        for number in range(int(first), int(last or first) + 1):
            yield f"{family}-{number:02}"


def rows() -> list[tuple[str, str, list[str]]]:
    """Give page, ID and cells of each row that begins with an ID."""
    found = []
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("|") and _ID.fullmatch(cells[0]):
                found.append((page.name, cells[0], cells))
    return found


ROWS = rows()
STATES: Mapping[str, str] = {one: cells[-1] for _, one, cells in ROWS}
HAVE_PAGE = {one.partition("-")[0] for one in STATES}


def stories() -> Iterator[tuple[str, set[str]]]:
    """Give the file of each story with the IDs that it names."""
    for path in sorted(CORPUS.rglob("*.story")):
        header = path.read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
        named = " ".join(line for line in header if line.startswith("requires: "))
        yield path.relative_to(ROOT).as_posix(), set(ids(named))


def proved() -> set[str]:
    """Give the IDs in the docstrings of tests and in the headers of stories."""
    by_story = {one for _, named in stories() for one in named}
    return by_story | {
        one
        for module in modules("tests")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        for one in ids(ast.get_docstring(node) or "")
    }


def cited() -> Mapping[str, set[str]]:
    """Give each ID that stands anywhere in the tests (but for these laws), with the files."""
    found: dict[str, set[str]] = {}
    for module in modules("tests"):
        if not module.name.startswith("tests.laws"):
            for one in ids(module.text):
                found.setdefault(one, set()).add(module.name)
    for path, named in stories():
        for one in named:
            found.setdefault(one, set()).add(path)
    return found


def test_each_row_is_whole_and_stands_once() -> None:
    """A row has an ID, a source, a sentence and a state, and no ID has two."""
    broken = [(page, one) for page, one, cells in ROWS if len(cells) != 4 or not all(cells)]
    stateless = [(page, one, cells[-1]) for page, one, cells in ROWS if not _STATE.fullmatch(cells[-1])]
    twice = sorted({one for _, one, _ in ROWS if sum(other == one for _, other, _ in ROWS) > 1})
    assert (broken, stateless, twice) == ([], [], [])


@pytest.mark.parametrize("family", sorted(HAVE_PAGE))
def test_no_number_of_a_family_is_left_out(family: str) -> None:
    """A family that has a page has all of its rules there, from the first to the last."""
    numbers = sorted(int(one.partition("-")[2]) for one in STATES if one.startswith(f"{family}-"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_what_is_called_tested_is_named_by_a_test() -> None:
    """A rule is tested where a test says in its docstring that it proves it."""
    names = proved()
    assert [one for one, state in STATES.items() if state == "tested" and one not in names] == []


def test_what_tests_cite_stands_in_a_page() -> None:
    """An ID in a test that no page explains helps nobody; families without a page are passed over."""
    unknown = {
        one: sorted(files) for one, files in cited().items() if one.partition("-")[0] in HAVE_PAGE and one not in STATES
    }
    assert unknown == {}


def test_the_pages_are_seen() -> None:
    """The laws above read something: DANE for SMTP and DNSSEC with their many tests, and stories with their IDs."""
    assert {"DANE", "TLS", "EXT", "SEC"} <= HAVE_PAGE
    assert len(proved() & STATES.keys()) > 200
    assert all(named for _, named in stories())
    assert len({one for _, named in stories() for one in named}) > 50


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DANE-09..12, TLS-03", ["DANE-09", "DANE-10", "DANE-11", "DANE-12", "TLS-03"]),
        ("DANE-99..101", ["DANE-99", "DANE-100", "DANE-101"]),
        ("RTLS-09 and SUB-3", ["RTLS-09"]),
        ("DANE-EE(3), TLSv1.3, SHA2-256", []),
    ],
)
def test_ids_are_found_in_the_forms_in_use(text: str, expected: list[str]) -> None:
    """One by one, in ranges, and never inside another word."""
    assert list(ids(text)) == expected
