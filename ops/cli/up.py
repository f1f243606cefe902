"""`danepipe up`: everything on one machine, in one process tree.

It starts a private Redis where none is configured, then the listener, the clock and the worker processes, starts
again what ends by itself, and ends all in order when asked: first what takes mail in, last what keeps it. A port that
is taken, a data directory in use or a Redis that is away ends it before anything runs, with one sentence.
"""

import asyncio
import contextlib
import fcntl
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator

import click

from ops.cli.api import check_api, check_tokens
from ops.cli.console import check_users, console_socket
from ops.cli.listeners import GRACE, Listeners, check_listener, listener_settings
from ops.cli.parts import answering, keeper_of, work_settings
from ops.cli.run import Fault, command_of, configuration_of_part, environ_of, open_log, run, shown_url
from ops.supervise import LONGEST_PAUSE, STEADY, OnDemand, Stop
from pipeline import log
from pipeline.clock import Clock
from pipeline.config import Config
from pipeline.embedded import EmbeddedRedis, NoRedis, find_redis
from pipeline.spine import Spine, utc_now
from pipeline.worker import Workers
from stages.policy import Mode, OnFailure, dane_policy


@click.command()
@click.pass_context
def up(context: click.Context) -> None:
    """Run all of danepipe on this machine until a signal ends it."""
    config = configuration_of_part(context)
    check_listener(config, config.listen.processes)
    if config.api.listen is not None:
        check_api(config)
    opened, absent = console_socket(config)
    alone = _alone(config) if config.redis.url == "embedded" else contextlib.nullcontext()
    with opened or contextlib.nullcontext(), alone:
        run(_up(config, opened, absent), config)


@contextlib.contextmanager
def _alone(config: Config) -> Iterator[None]:
    """Hold the data directory for as long as we run. Raises `Fault` when another process holds it."""
    directory = config.store.dir
    try:
        directory.mkdir(parents=True, exist_ok=True)
        held = (directory / "up.lock").open("a+", encoding="ascii")
    except OSError as error:
        raise Fault(
            f"store.dir ({config.origin('store.dir')}): {directory} cannot be used: {error.strerror}"
        ) from error
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.seek(0)
            raise Fault(
                f"danepipe up runs already with the data directory {directory} (process {held.read().strip()})"
            ) from None
        held.truncate(0)
        held.write(str(os.getpid()))
        held.flush()
        yield


async def _up(config: Config, opened: socket.socket | None, absent: str) -> None:
    open_log(config, "up")
    if absent:
        log.emit("console.absent", level="warning", text=absent)
    with Stop() as stop:
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(answering(config, "up"))
            if config.redis.url == "embedded":
                await stack.enter_async_context(_embedded(config))
            async with Spine.open(config) as spine:  # it answers, and it is safe
                if config.api.listen is not None:
                    await check_tokens(spine)
                if opened is not None:
                    await check_users(spine)
            parts = _Parts(config, opened)
            await parts.start()
            log.emit("process.started")
            try:
                await _announced(config, stop, absent)
                telling = asyncio.create_task(_tell_of_dns(config))
                await stop.asked.wait()
                telling.cancel()
            finally:
                fast = await parts.stop(stop)
        log.emit("process.stopped")
    if fast:
        raise Fault("ended at once by a second signal; unfinished work is taken up again")


class _Parts:
    """The child processes."""

    def __init__(self, config: Config, opened: socket.socket | None) -> None:
        self.accept = Listeners(config, config.listen.processes)
        self.besides = [
            *([] if config.api.listen is None else [keeper_of(config, "api")]),
            *([keeper_of(config, "webhooks", "run")] if config.webhook else []),
            *([] if opened is None else [OnDemand("console", *command_of(config, "console"), opened)]),
        ]
        self._config = config
        self._clock: asyncio.Task[None] | None = None
        self._clock_ends = asyncio.Event()
        self.workers = Workers(work_settings(config))

    async def start(self) -> None:
        """Start all."""
        await self.workers.start()
        self._clock = asyncio.create_task(_tick(self._config, self._clock_ends))
        self.accept.start()
        for keeper in self.besides:
            keeper.start()

    async def stop(self, stop: Stop) -> bool:
        """End all in order; a second signal kills what is left. Returns whether it came to that."""
        ending = asyncio.create_task(self._stop())
        insisted = asyncio.create_task(stop.insisted.wait())
        await asyncio.wait({ending, insisted}, return_when=asyncio.FIRST_COMPLETED)
        fast = not ending.done()
        if fast:
            self.accept.kill()
            for keeper in self.besides:
                keeper.kill()
            if self._clock is not None:
                self._clock.cancel()
            for process in self.workers.processes.values():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        insisted.cancel()
        await ending
        return fast

    async def _stop(self) -> None:
        await asyncio.gather(self.accept.stop(), *(keeper.stop(GRACE) for keeper in self.besides))
        self._clock_ends.set()
        await self.workers.stop()
        if self._clock is not None:
            await asyncio.wait([self._clock], timeout=GRACE)


async def _tick(config: Config, ends: asyncio.Event) -> None:
    """Run the clock in this process, which has little else to do, and begin anew after whatever ends it."""
    with log.part("clock"):
        pause = 0.5
        while not ends.is_set():
            try:
                async with Spine.open(config) as spine:
                    log.emit("process.started")
                    await Clock(spine, utc_now).run(ends)
            except Exception as error:  # noqa: BLE001 - whatever it is, due mail must not wait for a human
                log.emit("stage.error", level="error", stage="clock", group="", error=repr(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await ends.wait()
                pause = min(pause * 2, LONGEST_PAUSE)
        log.emit("process.stopped")


@contextlib.asynccontextmanager
async def _embedded(config: Config) -> AsyncIterator[None]:
    """Run the private Redis, and start it again should it die."""
    server = EmbeddedRedis(config.store.dir, binary=find_redis())
    await server.start()
    log.emit("redis.started", binary=server.binary.path, origin=server.binary.origin, socket=str(server.socket))
    watch = asyncio.create_task(_watched(server))
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await server.stop()


async def _watched(server: EmbeddedRedis) -> None:
    loop, pause = asyncio.get_running_loop(), 0.5
    while True:
        began = loop.time()
        log.emit("process.died", level="error", worker="redis", status=await server.ended())
        while True:
            pause = 0.5 if loop.time() - began > STEADY else min(pause * 2, LONGEST_PAUSE)
            await asyncio.sleep(pause)
            try:
                await server.start()
            except (NoRedis, OSError) as error:  # a full disk, say: mail waits, and we go on trying
                log.emit("redis.unavailable", level="error", text=str(error))
            else:
                break
        log.emit("redis.started", binary=server.binary.path, origin=server.binary.origin, socket=str(server.socket))


async def _announced(config: Config, stop: Stop, absent: str) -> None:
    """Wait until mail can be sent, then say how."""
    settings = listener_settings(config)
    if settings.port == 0:
        return  # the listener logs the port that it was given
    while not stop.asked.is_set():
        try:
            _, writer = await asyncio.open_connection(settings.address, settings.port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        break
    else:
        return
    option = f" --config {config.file}" if config.file is not None else ""
    where = "private, in " + str(config.store.dir) if config.redis.url == "embedded" else shown_url(config.redis.url)
    click.echo(
        f"danepipe is up: SMTP on {config.listen.smtp}, {config.work.processes} workers, Redis {where}\n"
        f"{_api(config)}{_console(config, absent)}"
        f"  DANE:            {_dane(config)}\n"
        f"  send a message:  danepipe{option} send FILE.eml --from you@example.com --to someone@example.org\n"
        f"  ask why:         danepipe{option} explain someone@example.org\n"
        "  stop:            Ctrl-C",
        err=True,
    )


def _api(config: Config) -> str:
    if config.api.listen is None:
        return ""
    return f"  HTTP API:        {config.api.url}/docs\n"


def _console(config: Config, absent: str) -> str:
    if not config.console.is_on:
        return ""
    return f"  web console:     {f'none; {absent}' if absent else config.console.url}\n"


def _dane(config: Config) -> str:
    """Say how far DANE goes, and where the policy departs from RFC 7672."""
    text = f"{config.dane.mode}, profile {config.dane.profile}"
    if config.dane.mode not in {Mode.ENFORCE, Mode.MANDATORY}:
        return text
    policy = dane_policy(config.dane.profile, config.dane.rows())
    rows = (policy.on_mismatch, policy.on_bogus_mx, policy.on_bogus_address, policy.on_bogus_tlsa)
    if OnFailure.BOUNCE in rows or policy.bounce_after is not None:
        text += " (returns mail where RFC 7672 sections 2.1.2 and 2.2 let it wait; profile rfc7672 waits)"
    return text


async def _tell_of_dns(config: Config) -> None:
    """Have a process of its own say whether answers from DNS count: nothing else here has to know DNS."""
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops.validation", env={**os.environ, **environ_of(config)}, start_new_session=True,
        )  # fmt: skip
    except OSError as error:  # no memory, no process left: the workers find out for themselves, and log it
        click.echo(f"DNS: not tested here: {error.strerror}", err=True)
        return
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
