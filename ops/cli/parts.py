"""`danepipe accept`, `work` and `clock`: the parts of danepipe one by one, each until a signal ends it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import click

from ops.cli.listeners import Listeners, check_listener, listener_settings
from ops.cli.run import Fault, command_of, configuration_of_part, open_log, run
from ops.supervise import Keeper, Stop, supervisor_gone
from pipeline import log, meter
from pipeline.accept.smtp import Listener, ListenerError
from pipeline.clock import Clock
from pipeline.config import Config
from pipeline.line import build
from pipeline.pulse import counting
from pipeline.spine import Spine, utc_now
from pipeline.worker import Workers, WorkSettings, settle


@click.command()
@click.option("--processes", type=click.IntRange(min=1), help="Processes on the port; default: listen.processes.")
@click.option("--share-port", is_flag=True, help="Listen beside other processes that do the same.")
@click.pass_context
def accept(context: click.Context, processes: int | None, *, share_port: bool) -> None:
    """Run the SMTP listener that takes mail in."""
    config = configuration_of_part(context)
    processes = processes or config.listen.processes

    async def listen(spine: Spine, ended: Awaitable[object]) -> None:
        settle()
        try:
            listener = Listener(replace(listener_settings(config), share_port=share_port), spine.submit)
            await listener.start()
        except ListenerError as error:
            raise Fault(str(error)) from error
        await ended
        await listener.close()

    async def several(_spine: Spine, ended: Awaitable[object]) -> None:
        listeners = Listeners(config, processes)
        listeners.start()
        await ended
        await listeners.stop()

    if processes > 1:
        if not share_port:
            check_listener(config, processes)
        run(part(config, "accept", several, announce=False), config)
    else:
        run(part(config, "accept", listen), config)


@click.command()
@click.pass_context
def clock(context: click.Context) -> None:
    """Run the clock: due retries, work of dead workers, nudges for what stands still."""
    config = configuration_of_part(context)

    async def tick(spine: Spine, ended: Awaitable[object]) -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(Clock(spine, utc_now).run(stop))
        ending = asyncio.ensure_future(ended)
        await asyncio.wait({running, ending}, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        ending.cancel()
        await running  # its failure is a fault of ours, and shows

    run(part(config, "clock", tick), config)


@click.command()
@click.option("--processes", type=click.IntRange(min=1), help="Worker processes; default: work.processes.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads in each; default: work.threads.")
@click.option("--queues", default="", help="Stages to work for, separated by commas; default: all.")
@click.pass_context
def work(context: click.Context, processes: int | None, threads: int | None, queues: str) -> None:
    """Run worker processes, which do what the stages decide."""
    config = configuration_of_part(context)
    chosen = tuple(name.strip() for name in queues.split(",") if name.strip())
    known = [stage.name for stage in build(config.pipeline.stages).stages]
    for name in chosen:
        if name not in known:
            raise Fault(f"--queues names {name!r}, which is no stage of the line; there are: {', '.join(known)}")
    settings = work_settings(config)
    settings = replace(
        settings, processes=processes or settings.processes, threads=threads or settings.threads, queues=chosen
    )

    async def workers(_spine: Spine, ended: Awaitable[object]) -> None:
        kept = Workers(settings)
        await kept.start()
        await ended
        await kept.stop()

    run(part(config, "work", workers, announce=False), config)


async def part(
    config: Config, role: str, body: Callable[[Spine, Awaitable[object]], Awaitable[None]], *, announce: bool = True
) -> None:
    """Open the spine, run the body until a signal comes or the supervisor is gone, and close."""
    open_log(config, role)
    with answering(config, role):
        async with Spine.open(config) as spine, counting(spine.redis, spine.ledger.prefix):
            with Stop() as stop:
                if announce:
                    log.emit("process.started")
                running = asyncio.create_task(_body(body, spine, stop))
                insisted = asyncio.create_task(stop.insisted.wait())
                await asyncio.wait({running, insisted}, return_when=asyncio.FIRST_COMPLETED)
                insisted.cancel()
                if not running.done():
                    running.cancel()
                    await asyncio.gather(running, return_exceptions=True)
                    raise Fault("ended at once by a second signal; unfinished work is taken up again")
                await running
    if announce:
        log.emit("process.stopped")


@contextlib.contextmanager
def answering(config: Config, role: str) -> Iterator[None]:
    """Answer Prometheus, if that is asked for. Raises `Fault` when that cannot be."""
    try:
        with meter.served(config, role):
            yield
    except meter.MeterError as error:
        raise Fault(str(error)) from error


async def _body(body: Callable[[Spine, Awaitable[object]], Awaitable[None]], spine: Spine, stop: Stop) -> None:
    asked = asyncio.create_task(stop.asked.wait())
    orphaned = asyncio.create_task(supervisor_gone())
    ended = asyncio.ensure_future(asyncio.wait({asked, orphaned}, return_when=asyncio.FIRST_COMPLETED))
    try:
        await body(spine, ended)
    finally:
        for task in (ended, asked, orphaned):
            task.cancel()


def work_settings(config: Config) -> WorkSettings:
    """Make the settings of the worker processes."""
    return WorkSettings(config.work.processes, config.work.threads, config=config.file)


def keeper_of(config: Config, *command: str) -> Keeper:
    """Make what keeps a command of ours running, with this configuration, beside the other parts."""
    return Keeper(command[0], *command_of(config, *command))
