"""`danepipe api`: the HTTP API, another way into the queue and an operator's hand on it, for programs.

Without a token nobody is let in, so that beyond loopback it does not even start without one.
"""

from collections.abc import Awaitable

import click

from ops.cli.parts import part
from ops.cli.run import Fault, configuration_of_part, run
from ops.listening import ServerError, listening
from pipeline.config import Config
from pipeline.spine import Spine, utc_now
from pipeline.store.tokens import TokenStore


@click.command()
@click.pass_context
def api(context: click.Context) -> None:
    """Run the HTTP API until a signal ends it."""
    config = configuration_of_part(context)

    async def answer(spine: Spine, ended: Awaitable[object]) -> None:
        from ops.api.server import serve_api  # noqa: PLC0415 - `up` does without

        await check_tokens(spine)
        try:
            opened = listening(config.api, "api")
        except ServerError as error:
            raise Fault(str(error)) from error
        with opened:
            await serve_api(spine, ended, opened)

    run(part(config, "api", answer), config)


def check_api(config: Config) -> None:
    """Find out now what would end the server later. Raises `Fault`."""
    try:
        listening(config.api, "api").close()
    except ServerError as error:
        raise Fault(str(error)) from error


async def check_tokens(spine: Spine) -> None:
    """Refuse to listen beyond loopback when nobody could be let in. Raises `Fault`."""
    settings = spine.config.api
    if settings.beyond_loopback:
        now = utc_now()
        if not any(token.is_live(now) for token in await TokenStore(spine.redis).entries()):
            raise Fault(
                f"api.listen ({spine.config.origin('api.listen')}): {settings.listen} is beyond loopback, and there is "
                "no token: make one first, with danepipe token add"
            )
