"""`danepipe webhooks`: tell servers what became of recipients, and look after what they did not take."""

import asyncio
import os
import socket
from collections.abc import Awaitable

import click
import orjson

from ops.cli.parts import part
from ops.cli.run import Fault, configuration, configuration_of_part, run, spine_of
from ops.webhooks import Teller, post, shown
from pipeline import log
from pipeline.spine import Spine, utc_now
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.outcomes import Aside, OutcomeStore

AGAIN = 1.0  # seconds after which a Redis that was away is asked again


@click.group()
def webhooks() -> None:
    """Tell servers over HTTP what became of each recipient."""


@webhooks.command("run")
@click.pass_context
def run_(context: click.Context) -> None:
    """Post outcomes to the webhooks of the configuration until a signal ends it."""
    config = configuration_of_part(context)
    if not config.webhook:
        raise Fault("the configuration has no [[webhook]]: there is nobody to tell")

    async def tell(spine: Spine, ended: Awaitable[object]) -> None:
        ends = asyncio.Event()
        process = f"{socket.gethostname()} {os.getpid()}"
        store = OutcomeStore(spine.redis)
        tellers = [asyncio.create_task(_lasting(Teller(one, store, process, utc_now), ends)) for one in config.webhook]
        await asyncio.wait({asyncio.ensure_future(ended), *tellers}, return_when=asyncio.FIRST_COMPLETED)
        ends.set()
        await asyncio.gather(*tellers)

    run(part(config, "webhooks", tell), config)


async def _lasting(teller: Teller, ends: asyncio.Event) -> None:
    while not ends.is_set():
        try:
            await teller.run(ends)
        except (StoreUnavailable, StoreFull) as error:
            log.emit("redis.unavailable", level="error", text=str(error))
            await asyncio.wait({asyncio.ensure_future(ends.wait())}, timeout=AGAIN)


@webhooks.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with all that was to be told.")
@click.pass_context
def failed(context: click.Context, *, as_json: bool) -> None:
    """List the requests that were put aside, oldest first."""
    config = configuration(context)

    async def work() -> None:
        async with spine_of(config, "webhooks") as spine:
            async for place, aside in OutcomeStore(spine.redis).aside():
                outcomes = orjson.loads(aside.body)["outcomes"]
                at = aside.at.isoformat(timespec="seconds")
                if as_json:
                    row = {"id": place, "url": shown(aside.url), "at": at, "error": aside.why, "outcomes": outcomes}
                    click.echo(orjson.dumps(row).decode())
                else:
                    click.echo(f"{place} {at} {shown(aside.url)}: {len(outcomes)} outcomes, {aside.why}")

    run(work(), config)


@webhooks.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that were put aside.")
@click.pass_context
def retry(context: click.Context, ids: tuple[str, ...], *, everything: bool) -> None:
    """Post requests that were put aside once more; those that are taken are forgotten."""
    config = configuration(context)
    if not ids and not everything:
        raise click.UsageError("name an id, or --all")
    known = {one.url: one for one in config.webhook}

    async def again(store: OutcomeStore, place: str, aside: Aside) -> bool:
        webhook = known.get(aside.url)
        if webhook is None:
            click.echo(f"{place}: {shown(aside.url)} is no webhook of the configuration any more", err=True)
            return False
        error = await post(webhook, aside.body.encode(), utc_now())
        if error:
            click.echo(f"{place}: {error}", err=True)
            return False
        await store.forget(place)
        click.echo(f"{place}: told")
        return True

    async def work() -> bool:
        fine, found = True, set()
        async with spine_of(config, "webhooks") as spine:
            store = OutcomeStore(spine.redis)
            async for place, aside in store.aside():
                if everything or place in ids:
                    found.add(place)
                    fine = await again(store, place, aside) and fine
        for missing in set(ids) - found:
            click.echo(f"{missing}: nothing of that id was put aside", err=True)
            fine = False
        return fine

    if not run(work(), config):
        context.exit(1)
