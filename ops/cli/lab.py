"""`danepipe lab`: a small internet on loopback, to try everything without touching a real server."""

import asyncio
from pathlib import Path
from typing import Any

import click

from ops.cli.run import Fault
from ops.lab import demo as showing
from ops.lab.scenario import Scenario
from ops.lab.scenarios import ALL, named

_validation = click.option(
    "--validation",
    type=click.Choice(["trusted", "local", "both"]),
    help="Where security comes from; default: trusted where Unbound is installed, else local.",
)


@click.group()
def lab() -> None:
    """Try danepipe on a small internet of its own."""


@lab.command()
@click.argument("domains", metavar="[DOMAIN]...", nargs=-1)
@click.option("--patience", type=click.FloatRange(min=1), default=showing.PATIENCE, show_default=True, help="Seconds.")
@_validation
@click.pass_context
def demo(context: click.Context, domains: tuple[str, ...], patience: float, validation: Any) -> None:
    """Send one message to each domain of the lab, and compare what came of it with what should have.

    DOMAIN is the first label of a domain of the lab; without any, all of them are shown.
    """
    context.exit(asyncio.run(showing.run(_chosen(domains), patience=patience, validation=validation)))


@lab.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path), default=Path("var/lab"), show_default=True,
              help="Directory for the lab's files.")  # fmt: skip
@_validation
@click.pass_context
def up(context: click.Context, directory: Path, validation: Any) -> None:
    """Keep the lab running, and show the configuration that sends into it."""
    context.exit(asyncio.run(showing.serve(directory, validation=validation)))


def _chosen(names: tuple[str, ...]) -> tuple[Scenario, ...]:
    """Give the scenarios of these names, or all. Raises `Fault`."""
    known = [scenario.name for scenario in ALL]
    for name in names:
        if name not in known:
            raise Fault(f"{name!r} is no domain of the lab; there are: {', '.join(known)}")
    return named(*names) if names else ALL
