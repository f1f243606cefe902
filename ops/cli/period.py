"""Periods as the commands that read logs take them: `--since`, or `--from` and `--to`."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from ops.cli.run import Fault
from pipeline.spine import utc_now
from pipeline.values import parse_duration

F = TypeVar("F", bound=Callable[..., Any])

FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def period_options(command: F) -> F:
    """Give a command the options `since`, `start` and `end`."""
    for option in (
        click.option("--to", "end", help="What happened before this time."),
        click.option(
            "--from", "start", help="What happened from this time on (2026-11-20T12:00Z; UTC without a zone)."
        ),
        click.option("--since", help="What happened in this time up to now: 1h, 7d."),
    ):
        command = option(command)
    return command


def period(since: str | None, start: str | None, end: str | None) -> tuple[datetime, datetime]:
    """Give the first moment of a period, and the first after it. Raises `Fault`."""
    if since is None:
        return _moment("--from", start, FIRST), _moment("--to", end, LAST)
    if start is not None or end is not None:
        raise Fault("--since names the whole period: leave out --from and --to")
    try:
        return utc_now() - parse_duration(since), LAST
    except (ValueError, OverflowError) as error:
        raise Fault(f"--since: {error}") from None


def _moment(option: str, text: str | None, default: datetime) -> datetime:
    if text is None:
        return default
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Fault(f"{option} {text!r}: write a time such as 2026-11-20T12:00Z") from None
