"""The manual has every command and option of the command line."""

import re
from collections.abc import Iterator

import click

from ops.cli import main
from tests.ops.manual_pages import DOCS

PAGE = (DOCS / "commands.md").read_text(encoding="utf-8")


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(_commands(main))


def _section(name: str) -> str:
    """Give what the page says of a command: from the heading that names it to the next one."""
    found = re.search(
        rf"^#+ (?:[^\n]*, )?`danepipe {re.escape(name)}`.*?(?=^#)", f"{PAGE}\n#", re.MULTILINE | re.DOTALL
    )
    return found[0] if found else ""


def test_every_command_has_a_section() -> None:
    """Whoever sees a command in `--help` finds it in `ops/docs/commands.md`, with an example."""
    assert [name for name in COMMANDS if f"danepipe {name}" not in _section(name)] == []
    assert [name for name in COMMANDS if "    $ danepipe" not in _section(name)] == []


def test_every_option_is_told_of() -> None:
    """Each option stands in the section of its command."""
    missing = [
        f"{name} {option}"
        for name, command in COMMANDS.items()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option != "--help" and f"`{option}" not in _section(name)
    ]
    assert missing == []


def test_the_page_names_no_command_that_is_none() -> None:
    """A heading of the page that names a command names one that there is."""
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    named = {name for heading in headings for name in re.findall(r"`danepipe ([a-z ]+)`", heading)}
    assert named - {"config", "lab", "queue", "exclude", "tlsa"} == set(COMMANDS)
