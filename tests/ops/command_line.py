"""The command line as those who start danepipe must know it: what it accepts, and how long its parts take to end."""

from datetime import timedelta

import click
import pytest

from ops.cli import main
from pipeline.worker import WorkSettings

# What a part that was asked to end may take, with some to spare: workers get their grace, clients of accept get 5 s.
PATIENCE = {"work": timedelta(seconds=WorkSettings().grace + 10), "accept": timedelta(seconds=10)}


def parses(arguments: list[str]) -> None:
    """Let the command line read arguments without running the command. Fails with what it says of them."""
    with click.Context(main, info_name="danepipe") as context:
        name, *rest = arguments
        command = main.get_command(context, name)
        assert command is not None, f"danepipe has no command {name}"
        while isinstance(command, click.Group):
            name, *rest = rest
            command = command.get_command(context, name)
            assert command is not None, f"there is no command {name} in {arguments}"
        try:
            command.make_context(name, rest, parent=context)
        except click.exceptions.Exit:
            pass  # --help and --version
        except click.ClickException as error:
            pytest.fail(f"{arguments}: {error.format_message()}")
