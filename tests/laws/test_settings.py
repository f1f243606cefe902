"""The manual has every setting, and nothing that is none."""

import re
from pathlib import Path

import pytest

from ops.cli.config import TABLES
from pipeline.config import Config, load
from tests.ops.manual_pages import DOCS, keys, renewed

PAGE = (DOCS / "settings.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def _documented() -> set[str]:
    """Read the keys of the page: the rows below each heading that names a section."""
    found, section = set(), ""
    for line in PAGE.partition("<!-- keys: begin -->")[2].partition("<!-- keys: end -->")[0].splitlines():
        heading = re.match(r"### (?:`(.*)`|At the top)", line)
        if heading:
            name = heading[1] or ""
            section = name if name.startswith("[[") else name.strip("[]")
        row = re.match(r"\| `(\w+)` \|", line)
        if row:
            found.add(f"{section}.{row[1]}".lstrip("."))
    return found


def test_every_key_is_documented_and_every_documented_key_is_one() -> None:
    """What the configuration takes and what the page names are the same, section by section."""
    given = {key for key, _ in Config().items() if key not in TABLES}
    listed = {f"[[{name}]].{key}" for name, table in TABLES.items() for key in table.model_fields}
    assert _documented() == given | listed
    assert _documented() == {key for key, _ in keys()}


def test_every_key_says_what_it_is_for() -> None:
    """A key without a meaning is one that nobody can set."""
    assert [key for key, field in keys() if not field.description] == []


def test_the_page_is_what_the_classes_say() -> None:
    """`ops/docs/settings.md` is made from them: renew it with `python -m tests.ops.manual_pages --write`."""
    assert renewed("settings.md") == PAGE


@pytest.mark.parametrize("text", EXAMPLES, ids=[text.split()[0] for text in EXAMPLES])
def test_the_examples_are_read(tmp_path: Path, text: str) -> None:
    """What a reader copies from the page is a configuration that is taken."""
    path = tmp_path / "danepipe.toml"
    path.write_text(text)
    config = load(path, {})
    assert config.route or config.exclude or config.destination or config.dns.negative
