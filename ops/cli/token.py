"""`danepipe token`: who may use the HTTP API, and for what.

A secret is shown once, when it is made; only its digest is kept. A revoked token counts for no request from then on.
"""

import re

import click
import orjson

from ops.api.guard import SCOPES
from ops.cli.exclude import end
from ops.cli.run import Fault, configuration, run, spine_of
from pipeline import log
from pipeline.spine import utc_now
from pipeline.store.tokens import Token, TokenStore, new_secret


@click.group()
def token() -> None:
    """Make, list and revoke the tokens of the HTTP API."""


@token.command()
@click.argument("name")
@click.option("--scope", "scopes", type=click.Choice(list(SCOPES)), multiple=True, required=True, help="What for.")
@click.option("--expires", help="Day, time or duration, after which the token does not count any more.")
@click.pass_context
def add(context: click.Context, name: str, scopes: tuple[str, ...], expires: str | None) -> None:
    """Make a token and print its secret, which is shown this once."""
    config = configuration(context)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise Fault(f"{name!r} is no name: write 1 to 64 letters, digits, dots, hyphens and underscores")
    now = utc_now()
    made = Token(name, tuple(scope for scope in SCOPES if scope in scopes), now, end(expires, now))
    secret = new_secret()

    async def work() -> None:
        async with spine_of(config, "token") as spine:
            if not await TokenStore(spine.redis).add(made, secret):
                raise Fault(f"there is a token {name} already: revoke it first, or choose another name")
            log.emit("token.changed", action="add", name=name, scopes=list(made.scopes))

    run(work(), config)
    click.echo(secret)


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def list_(context: click.Context, *, as_json: bool) -> None:
    """List the tokens; their secrets are kept nowhere."""
    config = configuration(context)
    now = utc_now()

    async def work() -> tuple[Token, ...]:
        async with spine_of(config, "token") as spine:
            return await TokenStore(spine.redis).entries()

    for one in run(work(), config):
        until = one.expires.isoformat(timespec="minutes") if one.expires else ""
        if as_json:
            row = {"name": one.name, "scopes": one.scopes, "added": one.added.isoformat(), "expires": until or None}
            click.echo(orjson.dumps({**row, "live": one.is_live(now)}).decode())
        else:
            ends = f", {'until' if one.is_live(now) else 'ended'} {until}" if until else ""
            click.echo(f"{one.name}: {', '.join(one.scopes)}; since {one.added.isoformat(timespec='minutes')}{ends}")


@token.command()
@click.argument("name")
@click.pass_context
def revoke(context: click.Context, name: str) -> None:
    """Revoke a token, from now on."""
    config = configuration(context)

    async def work() -> None:
        async with spine_of(config, "token") as spine:
            if not await TokenStore(spine.redis).revoke(name):
                raise Fault(f"there is no token {name}")
            log.emit("token.changed", action="revoke", name=name)

    run(work(), config)
    click.echo(f"{name}: revoked")
