"""Exclusions and suspensions as people write them: patterns, names and ends, by command or over HTTP.

Raises ValueError with a sentence that says what would be right. `tell_of` writes the event of a suspension, as
`told_of` does that of an exclusion; `who` is the name of the token, over HTTP.
"""

import re
from datetime import UTC, datetime, time, timedelta
from typing import Any

from pipeline import log
from pipeline.config import a_label_pattern
from pipeline.store.gates import Kind, Suspension
from pipeline.values import parse_duration
from stages.exclude import Exclusion, check_pattern
from stages.pattern import Pattern


def expiry(text: str | None, now: datetime) -> datetime | None:
    """Read a day (it counts to its end), a time, or a duration from now; None for never. It must lie ahead."""
    if text is None:
        return None
    try:
        moment = _moment(text, now)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r}: write a day (2027-01-31), a time (2027-01-31T12:00Z) or 30d") from None
    if moment <= now:
        raise ValueError(f"{text}: that is over already")
    return moment


def _moment(text: str, now: datetime) -> datetime:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        day = datetime.fromisoformat(text).date()
        return datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC)
    if re.match(r"\d{4}-", text):
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return now + parse_duration(text)


def pattern_of(text: str) -> str:
    """Bring the pattern of an exclusion into the form that it is kept in."""
    return check_pattern(a_label_pattern(text))


def exclusion_row(entry: Exclusion) -> dict[str, Any]:
    """Give an exclusion as plain values."""
    return {
        "pattern": entry.pattern,
        "reason": entry.reason,
        "owner": entry.owner,
        "added": entry.added.isoformat() if entry.added else None,
        "expires": entry.expires.isoformat() if entry.expires else None,
        "origin": entry.origin,
        "until_passing": entry.until_passing,
    }


def told_of(action: str, row: dict[str, Any], who: str = "") -> None:
    """Write the event of an exclusion."""
    log.emit("exclusion.changed", action=action, **row, **({"who": who} if who else {}))


def suspension_name(kind: Kind, text: str) -> str:
    """Bring the name of what is suspended into the form that it is kept in."""
    if kind is Kind.SENDER and text == "<>":
        return text
    if kind is not Kind.SENDER and not re.fullmatch(r"[^@\s]+", text):
        raise ValueError(f"{text!r} is no name: write mx.example.com or *.example.com")
    if kind is Kind.SENDER:
        return str(Pattern.parse(a_label_pattern(text)))
    return str(Pattern.parse(a_label_pattern(f"*@{text}"))).removeprefix("*@")


def suspension_row(entry: Suspension) -> dict[str, Any]:
    """Give a suspension as plain values."""
    return {
        "kind": str(entry.kind),
        "name": entry.name,
        "reason": entry.reason,
        "owner": entry.owner,
        "expires": entry.expires.isoformat(timespec="seconds") if entry.expires else "",
    }


def tell_of(action: str, entry: Suspension, who: str = "") -> None:
    """Write the event of a suspension."""
    row = suspension_row(entry)
    target = f"{row.pop('kind')} {row.pop('name')}"
    log.emit("queue.action", action=action, target=target, outcome="moved", **row, **({"who": who} if who else {}))
