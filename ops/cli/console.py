"""`danepipe console`: the web console, for people who look after the mail.

As soon as others than people at this machine may reach it, it does not even start without a user.
"""

import socket
from collections.abc import Awaitable

import click

from ops.cli.parts import part
from ops.cli.run import Fault, configuration_of_part, run
from ops.listening import ServerError, TakenError, listening
from pipeline.config import Config
from pipeline.spine import Spine
from pipeline.store.users import UserStore


@click.command()
@click.option(
    "--socket", "inherited", type=click.IntRange(min=3),
    help="Serve on this open socket, and end when nobody has asked for console.idle.",
)  # fmt: skip
@click.pass_context
def console(context: click.Context, inherited: int | None) -> None:
    """Run the web console until a signal ends it."""
    config = configuration_of_part(context)

    async def answer(spine: Spine, ended: Awaitable[object]) -> None:
        from ops.console.server import serve_console  # noqa: PLC0415 - `up` does without, until somebody asks

        if inherited is not None:
            with socket.socket(fileno=inherited) as opened:
                await serve_console(spine, ended, opened, ends_idle=True)
            return
        await check_users(spine)
        try:
            opened = listening(config.console, "console")
        except ServerError as error:
            raise Fault(str(error)) from error
        with opened:
            await serve_console(spine, ended, opened)

    run(part(config, "console", answer), config)


async def check_users(spine: Spine) -> None:
    """Refuse to be reached by others when nobody could log in. Raises `Fault`."""
    settings = spine.config.console
    if settings.needs_users and not await UserStore(spine.redis).entries():
        raise Fault(
            f"console ({spine.config.origin('console.listen')}): others than people at this machine may reach it (by "
            "listen, names or trust_proxy), and there is no user: make one first, with danepipe user add NAME"
        )


def console_socket(config: Config) -> tuple[socket.socket | None, str]:
    """Open the socket of the console for `up`; without one, say why. Raises `Fault` where it was asked for by name."""
    if not config.console.is_on:
        return None, ""
    try:
        return listening(config.console, "console"), ""
    except TakenError as error:
        if config.origin("console.listen") != "default":
            raise Fault(f"{error} (set by {config.origin('console.listen')})") from error
        return None, str(error)
    except ServerError as error:
        raise Fault(str(error)) from error
