"""`danepipe explain`: the whole decision for an address, without sending anything."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import click
import orjson

from delivery.opening import Door, Terms, open_session
from delivery.resolver import Resolver
from ops.cli.run import Fault, configuration, log_quietly, run
from ops.explain import Bound, Connect, Explanation, Means, explain_destination, message_to
from ops.explain import explain as decide
from ops.explain_views import as_json as plain_explanation
from ops.explain_views import as_text
from pipeline.accept.address import AddressError, parse_address
from pipeline.config import Config
from pipeline.facts import Context, gatherers
from pipeline.line import build
from pipeline.spine import redis_url, utc_now
from pipeline.store.connection import StoreUnavailable, connect
from pipeline.store.exclusions import ExclusionStore
from stages.attempt import HostAttempt
from stages.destination import Destination
from stages.exclude import Exclusion
from stages.message import Address, Origin
from stages.plan import Host
from stages.policy import Policy

SOURCES = ("send", "smtp", "sendmail", "api", "bounce")


class _Kept(ExclusionStore):
    """The exclusions as they were read once, so that a Redis that is away is noticed once and told of."""

    def __init__(self, entries: tuple[Exclusion, ...]) -> None:
        super().__init__(None)
        self._entries = entries

    async def beside(self, configured: Iterable[Exclusion]) -> tuple[Exclusion, ...]:  # noqa: ARG002 - among them
        """List them."""
        return self._entries


@click.command()
@click.argument("address")
@click.option("--from", "sender", default="", help="Sender, for rules that look at it; default: the null sender.")
@click.option("--source", type=click.Choice(SOURCES), default="send", show_default=True, help="Way in, for such rules.")
@click.option("--connect", "connecting", is_flag=True, help="Also connect to every host, up to TLS and the match.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def explain(context: click.Context, address: str, sender: str, source: str, *, connecting: bool, as_json: bool) -> None:
    """Explain what would become of mail to ADDRESS, and why; nothing is sent."""
    config = configuration(context)
    recipient = _address(address)
    from_ = _address(sender) if sender and sender != "<>" else None
    log_quietly(config, "explain")
    found = run(explained(config, recipient, from_, Origin(source), connecting=connecting), config)
    if as_json:
        click.echo(orjson.dumps(plain_explanation(found), option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(as_text(found))


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except AddressError as error:
        raise Fault(str(error)) from error


async def explained(
    config: Config, recipient: Address, sender: Address | None, origin: Origin, *, connecting: bool
) -> Explanation:
    """Decide for an address, by what DNS and Redis say now."""
    async with _means(config, _connect(config) if connecting else None) as (means, notes):
        return await decide(message_to(recipient, sender, origin, utc_now()), means, notes)


async def explained_destination(config: Config, destination: Destination) -> Bound:
    """Decide for a destination, whichever way mail comes to it, by what DNS says now."""
    async with _means(config) as (means, _):
        return await explain_destination(destination, means)


@asynccontextmanager
async def _means(config: Config, connecting: Connect | None = None) -> AsyncIterator[tuple[Means, tuple[str, ...]]]:
    line = build(config.pipeline.stages)
    kept, notes = await _exclusions(config)
    async with AsyncExitStack() as stack:
        resolver = resolver_of(config)
        stack.push_async_callback(resolver.aclose)
        context = Context(config, resolver, _Kept(kept), utc_now, lambda: 0.0)
        yield Means(line, gatherers(context, line.stages), config.policy_for, utc_now, connecting), notes


async def _exclusions(config: Config) -> tuple[tuple[Exclusion, ...], tuple[str, ...]]:
    client = connect(redis_url(config))
    try:
        return await ExclusionStore(client).beside(config.exclusions()), ()
    except StoreUnavailable:
        note = "Redis is away: exclusions added by command are not looked at, those of the configuration are"
        return config.exclusions(), (note,)
    finally:
        await client.aclose()


def resolver_of(config: Config) -> Resolver:
    """Make a resolver that asks anew: an explanation shows what DNS says now."""
    return Resolver(config.dns_settings(), now=utc_now)


def _connect(config: Config) -> Connect:
    settings = config.smtp_settings()

    async def connect_to(
        host: Host, address: str, destination: Destination, policy: Policy, *, clear: bool
    ) -> HostAttempt:
        door = Door(host.name, address, destination.port, host.demand)
        session, attempt = await open_session(door, Terms(settings, policy.dane, utc_now), clear=clear)
        if session is not None:
            await session.close()
        return attempt

    return connect_to
