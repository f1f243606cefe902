"""`danepipe send`: put message files, or standard input, into the queue, straight into Redis.

An id is printed for each message, one a line, once the message is kept durably. A file that cannot be sent is named on
standard error with the reason; the others are sent all the same, and the exit status is 1. It is 75 where nothing more
can be kept now: files without an id must be sent again later. Without `--to` the recipients are those of the header,
without `--from` the sender is.
"""

import asyncio
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from ops.cli.run import Fault, configuration, run, spine_of
from pipeline.accept.door import Submission, SubmissionError
from pipeline.accept.submission import Asked, read_file, read_message
from pipeline.config import Config
from pipeline.spine import Spine
from stages.message import MessageId, Notify, Ret

AT_A_TIME = 32  # messages under way: Redis writes to disk once for many


@click.command()
@click.argument("files", metavar="FILE.eml...|-", nargs=-1, required=True)
@click.option("--from", "sender", help="Sender; '<>' is the null sender; default: Sender or From of the message.")
@click.option("--to", "recipients", multiple=True, help="Recipient, may be repeated; default: To, Cc and Bcc.")
@click.option("--notify", default="", help="What to report: NEVER, or of SUCCESS, FAILURE, DELAY, with commas.")
@click.option("--ret", type=click.Choice([str(ret) for ret in Ret], case_sensitive=False), help="How much to return.")
@click.option("--envid", help="Envelope id, for reports.")
@click.pass_context
def send(
    context: click.Context,
    files: tuple[str, ...],
    sender: str | None,
    recipients: tuple[str, ...],
    notify: str,
    ret: str | None,
    envid: str | None,
) -> None:
    """Send message files, or standard input (-), and print their ids."""
    config = configuration(context)
    asked = asked_for(notify, ret, envid)
    read = partial(_submission, config, sender=sender, recipients=recipients, asked=asked)
    failed = run(_send_all(config, files, read), config)
    if failed:
        context.exit(1)


def asked_for(notify: str, ret: str | None, envid: str | None) -> Asked:
    """Read what the sender wants to hear (RFC 3461 section 4). Raises `Fault`."""
    words = [word.strip().upper() for word in notify.split(",") if word.strip()]
    known = [str(one) for one in Notify]
    if any(word not in known for word in words) or ("NEVER" in words and len(words) > 1):
        raise Fault(f"notify is {notify!r}: write NEVER alone, or some of SUCCESS, FAILURE, DELAY", 64)
    return Asked(
        frozenset(Notify(word) for word in words) if words else None,
        Ret(ret.upper()) if ret else None,
        xtext(envid) if envid else None,
    )


def xtext(text: str) -> str:
    """Encode as RFC 3461 section 4 wants parameters. Raises `Fault` for what no encoding can carry."""
    if not text.isascii() or not text.isprintable():
        raise Fault(f"envelope id {text!r}: printable ASCII only (RFC 3461 section 4.4)", 64)
    return "".join(f"+{ord(c):02X}" if c in "+= " else c for c in text)


def _submission(
    config: Config, file: str, *, sender: str | None, recipients: Sequence[str], asked: Asked
) -> Submission:
    size = config.listen.max_size
    raw = sys.stdin.buffer.read(size + 1) if file == "-" else read_file(Path(file), size)
    try:
        return read_message(raw, source="send", sender=sender, recipients=recipients, max_size=size, asked=asked)
    except SubmissionError as error:
        raise _of(file, error) from error


def _of(file: str, error: SubmissionError) -> SubmissionError:
    name = "standard input" if file == "-" else file
    return SubmissionError(f"{name}: {error}", error.code, error.status)


async def _send_all(config: Config, files: Sequence[str], read: Any) -> int:
    """Send all; ids go to standard output in the order of the files. Returns how many could not be sent."""
    failed = 0
    console = Console(stderr=True)
    shown = len(files) > 1 and console.is_terminal
    async with spine_of(config, "send") as spine:
        with Progress(console=console, disable=not shown, transient=True) as progress:
            task = progress.add_task("sending", total=len(files))
            for start in range(0, len(files), AT_A_TIME):
                part = files[start : start + AT_A_TIME]
                outcomes = await asyncio.gather(
                    *(_send_one(spine, read, file) for file in part), return_exceptions=True
                )
                faults: list[BaseException] = []
                for outcome in outcomes:
                    if isinstance(outcome, SubmissionError):
                        failed += 1
                        click.echo(f"danepipe: {outcome}", err=True)
                    elif isinstance(outcome, BaseException):
                        faults.append(outcome)
                    else:
                        click.echo(outcome)
                if faults:  # once it is told what was kept
                    raise faults[0]
                progress.advance(task, len(part))
    return failed


async def _send_one(spine: Spine, read: Any, file: str) -> MessageId:
    submission = read(file)
    try:
        return await spine.submit(submission)
    except SubmissionError as error:
        raise _of(file, error) from error
