"""Run a command: its configuration, its connection to Redis, and its faults as sentences.

`Fault` is how a command ends badly: one sentence on standard error and exit status 1. `run` turns into faults what the
floors below raise about the world (Redis away, a bad configuration, no such file); what is left over is a fault of
ours and keeps its traceback. Events of a command go to the log file, if there is one, and never between its output.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import click
import uvloop

from ops.hands import NotThere
from ops.supervise import is_supervised
from pipeline import log
from pipeline.config import Config, ConfigError, load, read
from pipeline.embedded import NoRedis
from pipeline.line import LineError
from pipeline.pulse import counting
from pipeline.spine import Spine
from pipeline.store.codec import CodecError
from pipeline.store.connection import ContentUnavailable, StoreFull, StoreUnavailable, UnsafeStore

T = TypeVar("T")
EX_TEMPFAIL = 75  # sysexits.h: nothing is wrong with what was asked, it may be asked again


class Fault(click.ClickException):
    """A command that cannot do what it was asked; the text names the file, key, address or message concerned."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.exit_code = status  # type: ignore[misc] # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence."""
        click.echo(f"danepipe: {self.format_message()}", file=file, err=file is None)


def configuration(context: click.Context) -> Config:
    """Read the configuration that the command line, the environment or the usual places name. Raises `Fault`."""
    return _read(context, load)


def configuration_of_part(context: click.Context) -> Config:
    """Read the configuration for a part that stays, and see that `danepipe config check` is content. Raises `Fault`.

    That check has a process of its own: it imports all that asks DNS and sends mail, and what a process has imported it
    keeps. A part that is supervised leaves it to its supervisor.
    """
    config = _read(context, read)
    if not is_supervised():
        _check_aside(config)
    return config


def _read(context: click.Context, how: Callable[[Path | None, Mapping[str, str]], Config]) -> Config:
    named: Path | None = context.find_root().obj
    try:
        return how(named, os.environ)
    except ConfigError as error:
        raise Fault(str(error)) from error


def _check_aside(config: Config) -> None:
    command, environ = command_of(config, "config", "check")
    done = subprocess.run(  # noqa: S603 - our own command
        command, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="backslashreplace", check=False,
    )  # fmt: skip
    if done.returncode != 0:
        said = done.stderr.rstrip().removeprefix("danepipe: ")
        raise Fault(said or f"the check of the configuration ended with status {done.returncode}")


def command_of(config: Config, *command: str) -> tuple[list[str], dict[str, str]]:
    """Give the command line and the environment of a command of ours with this configuration."""
    return [sys.executable, "-m", "ops.cli", *command], environ_of(config)


def environ_of(config: Config) -> dict[str, str]:
    """Give what the environment of a process of ours must say to have it read this configuration."""
    return {} if config.file is None else {"DANEPIPE_CONFIG": str(config.file)}


def run(work: Coroutine[Any, Any, T], config: Config) -> T:
    """Run a coroutine to its end. Raises `Fault` for what the world did, and anything else as it is."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    except StoreUnavailable as error:
        raise Fault(away(config, error)) from error
    except StoreFull as error:
        raise Fault(f"nothing more can be kept now, try again later: {error}", EX_TEMPFAIL) from error
    except (UnsafeStore, LineError, ConfigError, NoRedis, CodecError, NotThere) as error:
        raise Fault(str(error)) from error
    except KeyboardInterrupt:
        raise Fault("interrupted") from None


def away(config: Config, error: StoreUnavailable) -> str:
    """Say that Redis, or the store of content, is away, and what to do about it."""
    if isinstance(error, ContentUnavailable):
        return f"store.content: {error}"
    if config.redis.url == "embedded":
        return (
            f"nothing runs with the data directory {config.store.dir}: start danepipe up, "
            "or name a running Redis with redis.url"
        )
    return f"redis.url: {shown_url(config.redis.url)} cannot be reached ({error}): start it, or name another"


def shown_url(url: str) -> str:
    """Give an address without its password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{place}"))


def log_quietly(config: Config, role: str) -> None:
    """Let a command's events go to the log file alone: standard output is for what the command was asked for."""
    open_log(config, role, file=config.log.file or Path(os.devnull))


def open_log(config: Config, role: str, *, file: Path | None = None) -> None:
    """Let events go where the configuration says, or to `file`. Raises `Fault`."""
    target = file or config.log.file
    try:
        log.configure(role=role, file=target, level=config.log.level, form=config.log.format)
    except OSError as error:
        raise Fault(f"log.file ({config.origin('log.file')}): {target} cannot be opened: {error.strerror}") from error


@asynccontextmanager
async def spine_of(config: Config, role: str) -> AsyncIterator[Spine]:
    """Open Redis for a short command, and the place of content if it brings mail. Raises what `Spine.open` raises."""
    log_quietly(config, role)
    async with (
        Spine.open(config, content=role in {"send", "sendmail"}) as spine,
        counting(spine.redis, spine.ledger.prefix),
    ):
        yield spine
