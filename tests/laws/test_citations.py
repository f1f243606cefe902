"""Every section of an RFC that code, tests and manual cite exists."""

import json
from collections.abc import Mapping

import pytest

from tests.laws.citations import citations
from tests.laws.tree import ROOT, texts

TABLE = ROOT / "tests" / "laws" / "rfc_sections.json"
SECTIONS: Mapping[str, frozenset[str]] = {
    rfc: frozenset(text.split()) for rfc, text in json.loads(TABLE.read_text(encoding="utf-8")).items()
}


def test_every_cited_section_exists() -> None:
    """A citation that leads nowhere is a rule that nobody can check; the table holds the section numbers."""
    wrong = [
        f"{path.relative_to(ROOT)}:{one.line}: RFC {one.rfc} section {one.section}"
        for path in texts("*.py", "*.md", "*.lua", "*.toml")
        for one in citations(path.read_text(encoding="utf-8"))
        if one.section not in SECTIONS.get(one.rfc, frozenset()) and path.parent.name != "laws"
    ]
    assert wrong == []


def test_the_check_sees_the_citations_of_the_tree() -> None:
    """The rules of DANE for SMTP are cited all over the code, and each citation is found."""
    found = {
        one.section
        for path in texts("stages/*.py", "delivery/*.py")
        for one in citations(path.read_text(encoding="utf-8"))
        if one.rfc == "7672"
    }
    assert {"2.1.1", "2.1.2", "2.2", "2.2.1", "2.2.2", "2.2.3", "3.1", "3.2.2", "9.1"} <= found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RFC 7672 section 2.2.2", ["7672 2.2.2"]),
        ("RFC 7672 sections 2.1.3 and 2.2.2)", ["7672 2.1.3", "7672 2.2.2"]),
        ("(RFC 5321 5.1)", ["5321 5.1"]),
        ("RFC 7672 s2.2: no", ["7672 2.2"]),
        ("RFC 7672 2.1.1, 2.2, RFC 5321 5.1", ["7672 2.1.1", "7672 2.2", "5321 5.1"]),
        ("RFC 7672 2.1.1, 4035 4.3)", ["7672 2.1.1", "4035 4.3"]),
        ("(RFC 5321\n    # section 4.5.2)", ["5321 4.5.2"]),
        ("RFC 5321 appendix C", ["5321 C"]),
        ("RFC 7435): mail", []),
        ("RFC 8914 is read", []),
        ("RFC 5321, 3207 and 1870", []),
    ],
)
def test_citations_are_found_in_the_forms_in_use(text: str, expected: list[str]) -> None:
    """One section or several, by word or bare, over a line break, with another RFC inside the list."""
    assert [f"{one.rfc} {one.section}" for one in citations(text)] == expected
