"""Exclusions and suspensions as people write them and change them: by command, over HTTP or in the console.

What reads a text raises ValueError with a sentence that says what would be right. What changes something writes an
event of it, with `who` did it: the token over HTTP, the user of the console, and nobody by command. Raises
`StoreUnavailable` and `StoreFull`.
"""

import re
from datetime import date, datetime
from typing import Any

from pipeline import log
from pipeline.config import a_label_pattern
from pipeline.spine import Spine
from pipeline.store.gates import Kind, Suspension
from pipeline.values import moment, parse_duration
from stages.exclude import Exclusion, check_pattern
from stages.pattern import Pattern


def expiry(text: str | None, now: datetime) -> datetime | None:
    """Read a day (it counts to its end), a time, or a duration from now; None for never. It must lie ahead."""
    if text is None:
        return None
    try:
        end = _moment(text, now)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r}: write a day (2027-01-31), a time (2027-01-31T12:00Z) or 30d") from None
    if end <= now:
        raise ValueError(f"{text}: that is over already")
    return end


def _moment(text: str, now: datetime) -> datetime:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return moment(date.fromisoformat(text))
    if re.match(r"\d{4}-", text):
        return moment(datetime.fromisoformat(text))
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


async def exclude(spine: Spine, entry: Exclusion, who: str = "") -> bool:
    """Keep an exclusion; False if it replaced one of the same pattern."""
    new = await spine.exclusions.add(entry)
    log.emit("exclusion.changed", action="add", **exclusion_row(entry), **_by(who))
    return new


async def include(spine: Spine, pattern: str, who: str = "") -> bool:
    """Remove an exclusion that was added while danepipe runs; False if there was none of that pattern."""
    removed = await spine.exclusions.remove(pattern)
    if removed:
        log.emit("exclusion.changed", action="remove", pattern=pattern, **_by(who))
    return removed


def _by(who: str) -> dict[str, str]:
    return {"who": who} if who else {}


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


async def suspend(spine: Spine, entry: Suspension, who: str = "") -> bool:
    """Let mail wait in place; False if it replaced a suspension of the same."""
    new = await spine.gates.suspend(entry)
    _tell_of("suspend", entry, who)
    return new


async def resume(spine: Spine, entry: Suspension, who: str = "") -> bool:
    """Let suspended mail go on at once; False if it is not suspended."""
    if not await spine.gates.lift(entry):
        return False
    _tell_of("resume", entry, who)
    await spine.nudge(await spine.gates.let_go(entry, spine.line.first.name))
    return True


def _tell_of(action: str, entry: Suspension, who: str) -> None:
    row = suspension_row(entry)
    target = f"{row.pop('kind')} {row.pop('name')}"
    log.emit("queue.action", action=action, target=target, outcome="moved", **row, **_by(who))
