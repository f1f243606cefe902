"""The command line: `danepipe [--config FILE] COMMAND`.

Each family of commands is a module of its own, which is imported when one of its commands is called for: `sendmail`
starts without what `up` needs. Called by the name `sendmail` (a symbolic link), the program is that command.
Whatever goes wrong is told in one sentence on standard error, with an exit status other than zero.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

COMMANDS: Mapping[str, str] = {
    "up": "ops.cli.up:up",
    "accept": "ops.cli.parts:accept",
    "work": "ops.cli.parts:work",
    "clock": "ops.cli.parts:clock",
    "api": "ops.cli.api:api",
    "console": "ops.cli.console:console",
    "send": "ops.cli.send:send",
    "sendmail": "ops.cli.sendmail:sendmail",
    "explain": "ops.cli.explain:explain",
    "dig": "ops.cli.dig:dig",
    "tlsa": "ops.cli.tlsa:tlsa",
    "top": "ops.cli.top:top",
    "queue": "ops.cli.queue:queue",
    "exclude": "ops.cli.exclude:exclude",
    "trace": "ops.cli.trace:trace",
    "report": "ops.cli.report:report",
    "token": "ops.cli.token:token",
    "user": "ops.cli.user:user",
    "webhooks": "ops.cli.webhooks:webhooks",
    "config": "ops.cli.config:config",
    "lab": "ops.cli.lab:lab",
}


class Commands(click.Group):
    """A group that imports a command when it is wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """List the commands in the order in which a reader meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import one command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found: click.Command = getattr(import_module(module), name)
        return found

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run; under the name `sendmail` all arguments are those of that command."""
        if args is None and Path(sys.argv[0]).name == "sendmail":
            args = ["sendmail", *sys.argv[1:]]
        return super().main(args, *rest, **options)


@click.group(cls=Commands)
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    envvar="DANEPIPE_CONFIG",
    help="Configuration file; default: ./danepipe.toml, then /etc/danepipe/danepipe.toml.",
)
@click.version_option(package_name="danepipe", prog_name="danepipe")
@click.pass_context
def main(context: click.Context, file: Path | None) -> None:
    """Send mail with DANE verification (RFC 7672)."""
    context.obj = file
