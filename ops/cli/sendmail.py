"""`danepipe sendmail`: the command that programs call to send mail, with its usual flags and exit statuses.

The statuses are those of sysexits.h: 64 for a wrong call, 65 for mail that cannot be taken, 66 for no mail at all, 75
for "try again later", 78 for a bad configuration. As that command does, it adds `Date`, `From` and `Message-ID` where
they are missing, completes names without a domain, and ends the message at a line with a single dot unless `-i` says
otherwise. With `-bs` it speaks SMTP on standard input and output.
"""

import email.utils
import getpass
import re
import sys
from dataclasses import dataclass, field

import click

from ops.cli.dialogue import speak_smtp
from ops.cli.run import EX_TEMPFAIL, Fault, configuration, run, spine_of
from ops.cli.send import asked_for
from pipeline.accept.door import Submission, SubmissionError
from pipeline.accept.submission import read_message, until_dot
from pipeline.config import Config
from pipeline.line import LineError
from pipeline.spine import new_id, utc_now
from pipeline.store.connection import StoreFull, StoreUnavailable, UnsafeStore

EX_USAGE, EX_DATAERR, EX_NOINPUT, EX_CONFIG = 64, 65, 66, 78

TAKES_VALUE = frozenset("fFrNRVBhLXOpCD")
IGNORED = frozenset("BhLXOpCDvnGUAdqmxe")  # of no meaning here; programs pass them all the same
MODES = {"m": "mail", "s": "smtp", "p": "queue"}


@dataclass(slots=True)
class Call:
    """What the arguments said."""

    recipients: list[str] = field(default_factory=list)
    sender: str | None = None
    name: str = ""
    from_header: bool = False
    ignore_dots: bool = False
    mode: str = "mail"
    notify: str = ""
    ret: str | None = None
    envid: str | None = None


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("arguments", metavar="[FLAG]... [RECIPIENT]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def sendmail(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Send a message from standard input, called as the sendmail of old.

    -t takes recipients from the header; -f sender; -F full name; -i or -oi: a dot alone ends nothing; -N, -R, -V as
    in RFC 3461; -bs speaks SMTP on standard input and output; -bp lists the queue.
    """
    call = parse(arguments)
    try:
        config = configuration(context)
    except Fault as fault:
        raise Fault(fault.message, EX_CONFIG) from fault
    if call.mode == "queue":
        # Only this rare call needs the module.
        from ops.cli.queue import queue  # noqa: PLC0415

        context.invoke(queue.commands["list"])
    elif call.mode == "smtp":
        run(_dialogue(config), config)
    else:
        run(_send(config, submission(config, call)), config)


def parse(arguments: tuple[str, ...]) -> Call:
    """Read the arguments. Raises `Fault` with status 64."""
    call = Call()
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            call.recipients += rest
            break
        if not argument.startswith("-") or argument == "-":
            call.recipients.append(argument)
            continue
        letter, value = argument[1], argument[2:]
        if letter in TAKES_VALUE and not value:
            if not rest:
                raise Fault(f"sendmail: -{letter} needs a value", EX_USAGE)
            value = rest.pop(0)
        _flag(call, letter, value)
    return call


def _flag(call: Call, letter: str, value: str) -> None:
    match letter:
        case "f" | "r":
            call.sender = value
        case "F":
            call.name = value
        case "t" | "i":
            for one in letter + value:  # -ti is -t -i
                call.from_header |= one == "t"
                call.ignore_dots |= one == "i"
        case "o":
            call.ignore_dots |= value.startswith("i")  # -oi; -oem, -odb and others decide nothing here
        case "b" if value in MODES:
            call.mode = MODES[value]
        case "b":
            raise Fault(
                f"sendmail: -b{value} is not served here; danepipe up and danepipe queue do such work", EX_USAGE
            )
        case "N":
            call.notify = value
        case "R":
            if value.upper() not in {"FULL", "HDRS"}:
                raise Fault(f"sendmail: -R {value}: write full or hdrs", EX_USAGE)
            call.ret = value
        case "V":
            call.envid = value
        case _ if letter not in IGNORED:
            raise Fault(f"sendmail: unknown flag -{letter}{value}", EX_USAGE)


def submission(config: Config, call: Call) -> Submission:
    """Make the submission from standard input. Raises `Fault` with the status that fits."""
    asked = asked_for(call.notify, call.ret, call.envid)
    raw = sys.stdin.buffer.read(config.listen.max_size + 1)
    raw = raw if call.ignore_dots else until_dot(raw)
    if not raw.strip():
        raise Fault("sendmail: there is no message on standard input", EX_NOINPUT)
    if not call.recipients and not call.from_header:
        raise Fault("sendmail: name a recipient, or -t to take those of the header", EX_USAGE)
    sender = call.sender
    if sender is None and not _has(raw, "from"):
        sender = getpass.getuser()
    if sender is not None and sender not in {"", "<>"}:
        sender = _complete(sender, config.hostname)[0]
    recipients = [full for given in call.recipients for full in _complete(given, config.hostname)]
    author = sender if sender not in {None, "", "<>"} else f"{getpass.getuser()}@{config.hostname}"
    try:
        return read_message(
            _with_fields(raw, config, call, author),
            source="sendmail",
            sender=sender,
            recipients=recipients,
            header="also" if call.from_header else "never",
            max_size=config.listen.max_size,
            asked=asked,
        )
    except SubmissionError as error:
        raise Fault(f"sendmail: {error}", EX_DATAERR) from error


def _complete(text: str, hostname: str) -> list[str]:
    """Split an argument as a header field is split, and give names without a domain ours. Raises `Fault`."""
    found = [address for _, address in email.utils.getaddresses([text]) if address] or [text]
    for one in found:
        if "@" not in one and "." not in hostname:
            raise Fault(
                f"sendmail: {one!r} has no domain, and hostname is {hostname!r}: set hostname to a full name", EX_CONFIG
            )
    return [one if "@" in one else f"{one}@{hostname}" for one in found]


def _header(raw: bytes) -> bytes:
    return re.split(rb"\r?\n\r?\n", raw, maxsplit=1)[0]


def _has(raw: bytes, name: str) -> bool:
    return re.search(rb"^" + name.encode() + rb"[ \t]*:", _header(raw), re.IGNORECASE | re.MULTILINE) is not None


def _with_fields(raw: bytes, config: Config, call: Call, author: str | None) -> bytes:
    """Put the fields in front that a message must have (RFC 5322 section 3.6) and this one lacks."""
    raw = re.sub(rb"\A(?:>?From [^\r\n]*\r?\n)+", b"", raw)  # an mbox separator is no field
    missing = []
    if not _has(raw, "date"):
        missing.append(f"Date: {email.utils.format_datetime(utc_now())}")
    if not _has(raw, "from"):
        missing.append(f"From: {email.utils.formataddr((call.name, author or ''))}")
    if not _has(raw, "message-id"):
        missing.append(f"Message-ID: <{new_id()}@{config.hostname}>")
    if missing and not re.match(rb"[!-9;-~]+[ \t]*:", raw):
        missing.append("")  # it has no header at all: what there is is the body
    return "".join(f"{line}\n" for line in missing).encode() + raw


async def _send(config: Config, made: Submission) -> None:
    try:
        async with spine_of(config, "sendmail") as spine:
            await spine.submit(made)
    except (StoreUnavailable, StoreFull) as error:
        raise Fault(f"sendmail: the mail cannot be kept now, try again later: {error}", EX_TEMPFAIL) from error
    except (UnsafeStore, LineError) as error:
        raise Fault(f"sendmail: {error}", EX_CONFIG) from error
    except SubmissionError as error:
        raise Fault(f"sendmail: {error}", EX_DATAERR) from error


async def _dialogue(config: Config) -> None:
    try:
        async with spine_of(config, "sendmail") as spine:
            await speak_smtp(config, spine.submit)
    except StoreUnavailable as error:
        raise Fault(f"sendmail: the mail cannot be kept now, try again later: {error}", EX_TEMPFAIL) from error
