"""`danepipe user`: who may log in to the web console, and what for.

A password is typed at a terminal, twice, or is the first line of standard input; only its hash is kept. With another
password, and with the removal of a user, all its logins end.
"""

import re
import sys
from dataclasses import replace
from importlib import import_module

import click
import orjson

from ops.cli.run import Fault, configuration, run, spine_of
from pipeline import log
from pipeline.config import Config
from pipeline.spine import utc_now
from pipeline.store.users import Role, User, UserStore, new_secret


@click.group()
def user() -> None:
    """Add, list and remove the users of the web console."""


def _asked() -> str:
    """Ask for a password, and give its hash. Raises `Fault`."""
    passwords = import_module("ops.passwords")  # argon2 is loaded for nothing else
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt="Once more", err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not passwords.SHORTEST <= len(password) <= passwords.LONGEST:
        raise Fault(f"a password has {passwords.SHORTEST} to {passwords.LONGEST} characters")
    made: str = passwords.hashed(password)
    return made


@user.command()
@click.argument("name")
@click.option(
    "--role", type=click.Choice([str(role) for role in Role]), default=str(Role.ACT), show_default=True,
    help="Only look, or act as well.",
)  # fmt: skip
@click.pass_context
def add(context: click.Context, name: str, role: str) -> None:
    """Add a user; asks for the password."""
    config = configuration(context)
    if not re.fullmatch(r"[A-Za-z0-9._@-]{1,64}", name):
        raise Fault(f"{name!r} is no name: write 1 to 64 letters, digits, dots, hyphens, underscores and at signs")
    made = User(name, Role(role), _asked(), utc_now(), new_secret())

    async def work() -> None:
        async with spine_of(config, "user") as spine:
            if not await UserStore(spine.redis).add(made):
                raise Fault(f"there is a user {name} already: danepipe user password {name} gives it another password")
            log.emit("user.changed", action="add", name=name, role=role)

    run(work(), config)
    click.echo(f"{name}: added, may {role}")


@user.command()
@click.argument("name")
@click.pass_context
def password(context: click.Context, name: str) -> None:
    """Give a user another password; ends all its logins."""
    config = configuration(context)
    known = _known(config, name)
    changed = replace(known, password=_asked(), stamp=new_secret())

    async def work() -> None:
        async with spine_of(config, "user") as spine:
            await UserStore(spine.redis).put(changed)
            log.emit("user.changed", action="password", name=name, role=str(known.role))

    run(work(), config)
    click.echo(f"{name}: has another password")


def _known(config: Config, name: str) -> User:
    async def work() -> User | None:
        async with spine_of(config, "user") as spine:
            return await UserStore(spine.redis).of(name)

    found = run(work(), config)
    if found is None:
        raise Fault(f"there is no user {name}")
    return found


@user.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def list_(context: click.Context, *, as_json: bool) -> None:
    """List the users; their passwords are kept nowhere."""
    config = configuration(context)

    async def work() -> tuple[User, ...]:
        async with spine_of(config, "user") as spine:
            return await UserStore(spine.redis).entries()

    for one in run(work(), config):
        if as_json:
            click.echo(orjson.dumps({"name": one.name, "role": str(one.role), "added": one.added.isoformat()}).decode())
        else:
            click.echo(f"{one.name}: may {one.role}; since {one.added.isoformat(timespec='minutes')}")


@user.command()
@click.argument("name")
@click.pass_context
def remove(context: click.Context, name: str) -> None:
    """Remove a user; ends all its logins."""
    config = configuration(context)

    async def work() -> None:
        async with spine_of(config, "user") as spine:
            if not await UserStore(spine.redis).remove(name):
                raise Fault(f"there is no user {name}")
            log.emit("user.changed", action="remove", name=name)

    run(work(), config)
    click.echo(f"{name}: removed")
