"""Write the corpus: one file for each story, in the folder of its kind.

`python -m tests.dnssec.write_corpus` writes all files and removes those that no scene tells any more; `--try` shows what
the validator makes of each story that does not end as it says, and writes nothing.
"""

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from tests.dnssec import stories
from tests.dnssec.scenes import Scene, told
from tests.dnssec.story import CORPUS, differences, drive, write


def scenes() -> Mapping[str, Scene]:
    """Give all scenes by the path of their file in the corpus."""
    found: dict[str, Scene] = {}
    for module in iter_modules(stories.__path__):
        for scene in import_module(f"{stories.__name__}.{module.name}").STORIES:
            path = f"{module.name}/{scene.name}.story"
            if path in found:
                raise ValueError(f"{path} is told twice")
            found[path] = scene
    return found


def _try() -> int:
    wrong = 0
    for path, scene in scenes().items():
        story = told(scene)
        found = list(differences(story, drive(story)[0]))
        wrong += bool(found)
        for text in found:
            sys.stdout.write(f"{path}: {text}\n")
    return wrong


def _write(directory: Path) -> None:
    wanted = {directory / path: write(told(scene)) for path, scene in scenes().items()}
    for old in set(directory.rglob("*.story")) - wanted.keys():
        old.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if "--try" in sys.argv[1:]:
        sys.exit(min(_try(), 1))
    _write(CORPUS)
