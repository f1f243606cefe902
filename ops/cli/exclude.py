"""`danepipe exclude`: recipients to whom DANE does not apply, changed while danepipe runs.

Entries of the configuration file are listed and tested too, and changed only there. Every worker follows a change
within a second.
"""

from datetime import datetime

import click
import orjson

from ops import entries
from ops.cli.run import Fault, configuration, run, spine_of
from ops.entries import exclusion_row, expiry, pattern_of
from pipeline.accept.address import AddressError, parse_address
from pipeline.config import Config
from pipeline.spine import utc_now
from stages.exclude import Exclusion, Exclusions


@click.group()
def exclude() -> None:
    """Exclude recipients from DANE."""


def _pattern(text: str) -> str:
    try:
        return pattern_of(text)
    except ValueError as error:
        raise Fault(str(error)) from error


def end(text: str | None, now: datetime) -> datetime | None:
    """Read the end of an entry, which must lie ahead. Raises `Fault`."""
    try:
        return expiry(text, now)
    except ValueError as error:
        raise Fault(f"--expires {error}") from error


@exclude.command()
@click.argument("pattern")
@click.option("--reason", default="", help="Why.")
@click.option("--owner", default="", help="Who asked for it.")
@click.option("--expires", help="Day, time or duration, after which the entry does not count any more.")
@click.option("--end-when-passing", is_flag=True, help="Let the clock end it when the domain passes DANE again.")
@click.pass_context
def add(
    context: click.Context, pattern: str, reason: str, owner: str, expires: str | None, *, end_when_passing: bool
) -> None:
    """Exclude recipients: user@example.com, *@example.com or *@*.example.com."""
    config = configuration(context)
    now = utc_now()
    until = end(expires, now)
    try:
        entry = Exclusion(_pattern(pattern), reason, owner, now, until, "command", until_passing=end_when_passing)
    except ValueError as error:
        raise Fault(f"--end-when-passing: {error}") from error

    async def work() -> None:
        async with spine_of(config, "exclude") as spine:
            new = await entries.exclude(spine, entry)
        click.echo(f"{entry.pattern}: {'added' if new else 'replaced'}")

    run(work(), config)


@exclude.command()
@click.argument("pattern")
@click.pass_context
def remove(context: click.Context, pattern: str) -> None:
    """Remove an exclusion that was added by command."""
    config = configuration(context)
    wanted = _pattern(pattern)

    async def work() -> None:
        async with spine_of(config, "exclude") as spine:
            if await entries.include(spine, wanted):
                click.echo(f"{wanted}: removed")
                return
        if any(entry.pattern == wanted for entry in config.exclusions()):
            raise Fault(f"{wanted} stands in {config.file}: remove it there")
        raise Fault(f"there is no exclusion {wanted}")

    run(work(), config)


@exclude.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def list_(context: click.Context, *, as_json: bool) -> None:
    """List the exclusions of the configuration and those added by command."""
    config = configuration(context)
    now = utc_now()
    for entry in run(_entries(config), config):
        row = {**exclusion_row(entry), "live": entry.is_live(now)}
        click.echo(orjson.dumps(row).decode() if as_json else _line(entry, now))


@exclude.command()
@click.argument("address")
@click.pass_context
def test(context: click.Context, address: str) -> None:
    """Tell which entry excludes an address; exit status 1 if none does."""
    config = configuration(context)
    try:
        wanted = parse_address(address)
    except AddressError as error:
        raise Fault(str(error)) from error
    now = utc_now()
    found = Exclusions(run(_entries(config), config)).match(wanted, now)
    if found is None:
        click.echo(f"{wanted}: not excluded")
        context.exit(1)
    click.echo(f"{wanted}: excluded by {_line(found, now)}")


async def _entries(config: Config) -> tuple[Exclusion, ...]:
    async with spine_of(config, "exclude") as spine:
        return await spine.exclusions.beside(config.exclusions())


def _line(entry: Exclusion, now: datetime) -> str:
    parts = [entry.pattern, f"({entry.origin})"]
    if entry.expires is not None:
        parts.append(f"{'until' if entry.is_live(now) else 'ended'} {entry.expires.isoformat(timespec='minutes')}")
    if entry.until_passing and entry.is_live(now):
        parts.append("until it passes DANE")
    elif not entry.only_domain:
        parts.append("not tried with DANE, as it names no single domain")
    parts += [f"owner {entry.owner}"] if entry.owner else []
    parts += [f"- {entry.reason}"] if entry.reason else []
    return " ".join(parts)
