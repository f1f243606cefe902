"""The corpus: each story of a zone is read from its file, driven through the validator, and ends as the file says.

The files are written by `python -m tests.dnssec.write_corpus`.
"""

import re
from pathlib import Path

import pytest

from tests.dnssec.scenes import told
from tests.dnssec.story import CORPUS, differences, drive, read, write
from tests.dnssec.write_corpus import scenes

FILES = sorted(CORPUS.rglob("*.story"))
# What can be shown without a socket; the rules of EDNS, of channels and of the event loop are tested where those are.
COVERED = (*range(1, 60), *range(65, 70), 79, 81, 82, 83, 86, 87)
SENTENCE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)+")


def _path(file: Path) -> str:
    return file.relative_to(CORPUS).as_posix()


@pytest.mark.parametrize("file", FILES, ids=_path)
def test_a_story_ends_as_its_file_says(file: Path) -> None:
    """Status, what is found, why, extended error, time to keep it and aliases are those of the header."""
    story = read(file)
    outcome, _ = drive(story)
    assert list(differences(story, outcome)) == []


def test_each_rule_is_told_of() -> None:
    """Each rule that needs no socket is cited by a story or more."""
    cited = {one for file in FILES for one in read(file).requires}
    assert [rule for rule in (f"SEC-{number:02}" for number in COVERED) if rule not in cited] == []


def test_files_are_named_by_their_stories() -> None:
    """A folder is a word or two, a file is a sentence in snake case, and the story in it ends with a full stop."""
    wrong = [
        _path(file)
        for file in FILES
        if not SENTENCE.fullmatch(file.stem)
        or not re.fullmatch(r"[a-z]+(_[a-z]+)?", file.parent.name)
        or not re.fullmatch(r"[A-Z].*[^.]\.", read(file).story)
    ]
    assert wrong == []


def test_bogus_stories_say_why() -> None:
    """Whatever is not secure has a reason in words, and what is bogus the info-code of RFC 8914 too."""
    stories = {_path(file): read(file) for file in FILES}
    assert [path for path, one in stories.items() if (one.status == "secure") == bool(one.why)] == []
    assert [path for path, one in stories.items() if one.status == "bogus" and one.ede is None] == []


def test_files_are_small() -> None:
    """There are 150 stories and more, each in a file that a person can read."""
    assert len(FILES) >= 150
    assert [_path(file) for file in FILES if file.stat().st_size > 6000] == []


@pytest.mark.parametrize("folder", sorted({file.parent.name for file in FILES}))
def test_writing_again_gives_the_same_files(folder: str) -> None:
    """Each file is what `python -m tests.dnssec.write_corpus` writes, now as before, as no key and no date is by chance."""
    made = {path: write(told(scene)) for path, scene in scenes().items() if path.startswith(f"{folder}/")}
    assert [path for path, text in made.items() if text != (CORPUS / path).read_text(encoding="utf-8")] == []


def test_each_file_is_written_from_a_scene() -> None:
    """No file is left over from a story that nobody tells any more."""
    assert sorted(map(_path, FILES)) == sorted(scenes())
