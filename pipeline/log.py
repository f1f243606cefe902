"""Events: one JSON object a line, each of a documented kind.

`emit` is the only way to write one, and refuses a kind that is not in `EVENTS` (a fault of ours, found by the tests and
never by an operator). Lines carry `event`, `level`, `timestamp` (UTC, RFC 3339), `role` and `pid`, then the fields of
the kind. `configure` is called once for each process; until then events go to stderr for a human to read.
"""

import asyncio
import atexit
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, TextIO

import orjson

_rich = sys.modules.get("rich")
if _rich is None:  # structlog would take it for tracebacks, which no event of ours holds: 5 MB of every process
    sys.modules["rich"] = None  # type: ignore[assignment] # what the import system itself means by it
import structlog  # noqa: E402 - see above

if _rich is None:
    del sys.modules["rich"]

LEVELS: Mapping[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}

EVENTS: Mapping[str, str] = {
    "message.accepted": "a message was kept durably and answered with success",
    "message.refused": "a message, or a recipient of it, was refused at the door",
    "accept.pressure": "new mail is slowed down or put off, since room runs short; or is taken as ever again",
    "message.done": "the last recipient of a message was settled",
    "stage.verdict": "a stage ruled on recipients of a message",
    "stage.error": "a stage or a gatherer of facts raised: a fault of ours, the mail stays where it was",
    "delivery.attempt": "one try at one address of one host",
    "circuit.opened": "an address could not be reached, and is left alone for a while",
    "circuit.closed": "an address can be reached again",
    "dane.asked_again": "a certificate did not match: DNS was asked again past every cache",
    "dane.parked": "certificates do not match: a destination is left alone for a while",
    "dane.released": "a host of a destination that was left alone takes mail again",
    "tlsa.failing": "at a domain of ours something fails now that senders with DANE look at",
    "tlsa.unseen": "a domain of ours, or a part of it, could not be looked at",
    "tlsa.expiring": "at a domain of ours something will fail soon, or protects less than it could",
    "tlsa.fine": "at a domain of ours records, certificates and signatures are as they should be",
    "bounce.sent": "a report was put into the queue",
    "resolver.canary": "the self-test of a resolver came to a result",
    "resolver.suspended": "DANE verdicts are suspended: the self-test fails, mail waits",
    "resolver.restored": "the self-test passes again",
    "resolver.disagreement": "a resolver and our own validation contradict each other: the mail waits",
    "resolver.limit": "a question cost our own validation more than a limit allows: the mail waits",
    "resolver.cache": "the shared cache of answers or of keys of zones cannot be used; questions are asked without it",
    "lease.lost": "the lease of work had run out: it was broken off, or finished and not committed",
    "lease.reaped": "work of a dead worker was given back",
    "nudge.failed": "a job could not be enqueued; the sweep of the clock makes it good",
    "redis.started": "the embedded Redis runs",
    "redis.unsafe": "this Redis may lose accepted mail, and the configuration allows it",
    "redis.unavailable": "Redis cannot be reached; work waits",
    "redis.restored": "Redis is back",
    "body.gone": "the content of a message that waits is lost, or damaged: the message is held for an operator",
    "body.left": "bodies of settled mail could not be deleted now; the sweep of the clock makes it good",
    "body.swept": "bodies that no message needs were deleted: somebody died between two steps",
    "process.started": "a process is ready to work",
    "process.stopped": "a process ended as asked",
    "process.died": "a process ended by itself and is started again",
    "listener.started": "the SMTP listener takes connections",
    "api.started": "the HTTP API takes requests",
    "api.request": "a request came to the HTTP API and was answered",
    "console.started": "the web console takes requests",
    "console.absent": "the port of the web console is taken, and danepipe up runs without it",
    "console.login": "somebody logged in to the web console, tried to, or logged out",
    "console.refused": "a request to the web console was refused",
    "content.shown": "somebody read the first lines of a message in the web console",
    "user.changed": "somebody changed the users of the web console by command",
    "webhook.deferred": "a webhook did not take what it was told; it is tried again",
    "webhook.failed": "a webhook did not take what it was told for too long; that was put aside",
    "webhook.missed": "a webhook fell so far behind that outcomes were dropped before it was told of them",
    "token.changed": "somebody changed the tokens of the HTTP API by command",
    "queue.action": "somebody changed the queue, by command or over HTTP",
    "exclusion.changed": "the exclusions were changed, by command, over HTTP or by the clock",
    "exclusion.passes": "a domain that is excluded from DANE would pass it now",
    "log.library": "a library logged a warning or an error",
}


Count = Callable[[str, Mapping[str, Any]], None]

_BUFFER = 1 << 20  # octets: what is written together reaches the file by one call


class _Output:
    """Where lines go: one stream of this process."""

    def __init__(self) -> None:
        self.stream: TextIO = sys.stderr
        self.shared_file = False
        self.pid = os.getpid()
        self.logger: Any = None  # bound once: to bind it costs more than to write a line
        self.threshold = LEVELS["info"]
        self.role = ""
        self.counts: tuple[Count, ...] = ()


_output = _Output()


def _plain(value: Any) -> Any:
    """Turn what facts hold into what JSON can hold. Raises TypeError for anything unexpected."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (set, frozenset, tuple)):
        return sorted(value, key=str) if not isinstance(value, tuple) else list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (Path, datetime)):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"an event cannot hold {type(value).__name__}")


def _render_json(_logger: Any, _name: str, event: Any) -> str:
    return orjson.dumps(
        event, default=_plain, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS
    ).decode()


def _stamp(_logger: Any, _name: str, event: Any) -> Any:
    # the order in which a reader looks: when, what, who
    head = {"timestamp": _now(), "event": event.pop("event"), "level": event.pop("level")}
    return {**head, "role": _part.get() or _output.role, "pid": _output.pid, **event}


_second: tuple[int, str] = (0, "")


def _now() -> str:
    """Tell the time in UTC with microseconds (RFC 3339); the text of a second is made once."""
    global _second  # noqa: PLW0603 - a cache of one
    seconds, rest = divmod(time.time_ns() // 1000, 1_000_000)
    known, text = _second
    if known != seconds:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        _second = (seconds, text)
    return f"{text}.{rest:06d}Z"


_part: ContextVar[str] = ContextVar("part", default="")


@contextlib.contextmanager
def part(role: str) -> Iterator[None]:
    """Name the part whose events are written within: one that shares its process with others."""
    token = _part.set(role)
    try:
        yield
    finally:
        _part.reset(token)


class _Writer:
    """Writes whole lines, so that processes may share a file; those of one turn of the event loop go together.

    A pipe takes each line by itself: there, longer writes of several processes would mix.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[str] = []
        self._asked: asyncio.AbstractEventLoop | None = None  # the event loop that is going to flush

    def msg(self, line: str) -> None:
        """Write one line, at the latest when the event loop has done what it is at."""
        with self._lock:
            self._waiting.append(line + "\n")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a thread without an event loop
            self.flush()
        else:
            if self._asked is not loop:  # also where a loop has ended before it came to writing
                self._asked = loop
                loop.call_soon(self.flush)

    debug = info = warning = error = msg

    def flush(self) -> None:
        """Write what waits. A reader that went away (a closed pipe) or a full disk does not stop the mail.

        Mail that was delivered and not settled, because it could not be logged, would be delivered again and again.
        """
        with self._lock:
            self._asked = None
            lines, self._waiting = self._waiting, []
            if _output.stream.closed:  # the program ends, and has closed it already
                return
            for part in ["".join(lines)] if _output.shared_file else lines:
                try:
                    _output.stream.write(part)
                    _output.stream.flush()
                except BrokenPipeError:
                    # for the rest of our life
                    _output.stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - see above
                except OSError as error:
                    _complain(f"danepipe: events could not be logged: {error}: {part}")


_writer = _Writer()
atexit.register(_writer.flush)


def _complain(text: str) -> None:
    """Say on standard error what the log cannot hold; where that fails too, nobody can be told."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


class _Libraries(logging.Handler):
    """Turns what libraries log into events, from warnings upwards."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        error = repr(record.exc_info[1]) if record.exc_info and record.exc_info[1] else ""
        level = "error" if record.levelno >= logging.ERROR else "warning"
        emit("log.library", level=level, library=record.name, text=record.getMessage(), error=error)


def _setup(form: str) -> None:
    renderer: Any = _render_json
    if form == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=_output.stream.isatty(), sort_keys=False)
    structlog.configure(
        processors=[_stamp, renderer],
        wrapper_class=structlog.BoundLogger,
        logger_factory=lambda *_: _writer,
        cache_logger_on_first_use=False,
    )
    _output.logger = structlog.get_logger().bind()


def configure(*, role: str, file: Path | None = None, level: str = "info", form: str = "json") -> None:
    """Say where the events of this process go: to a file (appended to) or stdout, as JSON or for a console.

    Raises OSError when the file cannot be opened.
    """
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        _output.stream = file.open("a", encoding="utf-8", buffering=_BUFFER)
    else:
        _output.stream = sys.stdout
    _output.threshold = LEVELS[level]
    _output.shared_file = file is not None
    _output.role = role
    _setup(form)
    libraries = logging.getLogger()
    libraries.handlers = [_Libraries(logging.WARNING)]


def counted_by(count: Count) -> None:
    """Hand every event to `count` as well, whatever its level."""
    _output.counts = (*_output.counts, count)


def counted_no_more(count: Count) -> None:
    """Hand events to `count` no longer."""
    _output.counts = tuple(one for one in _output.counts if one != count)


def emit(event: str, *, level: str = "info", **fields: Any) -> None:
    """Write an event. Raises ValueError for a kind that is not documented in `EVENTS`."""
    if event not in EVENTS:
        raise ValueError(f"undocumented event {event!r}")
    for count in _output.counts:
        count(event, fields)
    if LEVELS[level] < _output.threshold:
        return
    if _output.logger is None:
        _setup("console" if _output.stream.isatty() else "json")
    _output.logger.msg(event, level=level, **fields)
