"""The page of the exclusions: whom DANE does not apply to, why, until when, and what a try without mail found.

Entries of the configuration are shown, and changed only there. What is added or removed here is what
`danepipe exclude` adds and removes; every worker follows within a second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ops import entries
from ops.api.actions import Entry, exclusion_of
from ops.api.body import made
from ops.api.problem import Problem
from ops.console import forms
from ops.console.history import History, history
from ops.console.page import Answer, Call, Refused
from ops.entries import pattern_of
from ops.hands import NotThere
from pipeline.accept.address import AddressError, parse_address
from pipeline.spine import utc_now
from pipeline.store.rechecks import RecheckStore, Tried
from stages.exclude import Exclusion, Exclusions

ROWS = 100  # of a page
_FIELDS = ("pattern", "reason", "owner", "expires", "until_passing")
_EVENT = "exclusion.changed"


@dataclass(frozen=True, slots=True)
class Row:
    """One entry. `by`: who added it, as far as the log tells; `tried`: the last try; `untried`: why there is none."""

    entry: Exclusion
    live: bool
    by: str
    tried: Tried | None
    untried: str

    @property
    def configured(self) -> bool:
        """Tell whether it stands in the configuration."""
        return self.entry.origin == "configuration"


@dataclass(frozen=True, slots=True)
class Check:
    """What holds for an address: the entry, if there is one; `wrong` where it is no address."""

    address: str = ""
    found: Exclusion | None = None
    wrong: str = ""


async def show(call: Call) -> Answer:
    """Show what is excluded, and, if so asked, what holds for an address."""
    blank = dict.fromkeys(_FIELDS, "")
    return await _page(call, blank, blank)


async def add(call: Call) -> Answer:
    """Exclude recipients."""
    given = forms.given(call, _FIELDS)
    try:
        entry = exclusion_of(made(Entry, {
            **forms.terms(call, given), "until_passing": given["until_passing"] == "yes",
        }))  # fmt: skip
    except Problem as problem:
        return await _page(call, given, forms.wrong(problem, given, ("pattern",)))
    new = await entries.exclude(call.spine, entry, call.who)
    return call.go("/exclusions", f"{entry.pattern}: {'added' if new else 'replaced the entry that was there'}.")


async def remove(call: Call) -> Answer:
    """Remove an entry that was added while danepipe runs, after it was asked whether that is meant."""
    try:
        pattern = pattern_of(call.form.text("pattern"))
    except ValueError as error:
        raise Refused(422, f"{error}.") from error
    if call.form.text("confirm") == "yes":
        if await entries.include(call.spine, pattern, call.who):
            return call.go("/exclusions", f"{pattern}: removed.")
    else:
        kept = [entry for entry in await call.spine.exclusions.entries() if entry.pattern == pattern]
        if kept:
            return {"asked": kept[0]}
    if any(entry.pattern == pattern for entry in call.config.exclusions()):
        raise Refused(409, f"{pattern} stands in the configuration: remove it there.")
    raise NotThere(f"There is no exclusion {pattern}.")


async def _page(call: Call, given: Mapping[str, str], wrong: Mapping[str, str]) -> Answer:
    now, start = utc_now(), forms.place(call)
    listed = await call.spine.exclusions.beside(call.config.exclusions())
    ordered = sorted(listed, key=lambda entry: entry.origin == "configuration")  # stable
    told = await history(call.config, _EVENT, "pattern")
    tries = await RecheckStore(call.spine.redis).tries()
    end = start + ROWS
    return {
        "asked": None, "check": _checked(call, listed, now), "given": given, "wrong": wrong, "count": len(ordered),
        "rows": [_row(call, entry, told, tries, now) for entry in ordered[start:end]],
        "next": str(end) if end < len(ordered) else "", "history": told,
    }  # fmt: skip


def _row(call: Call, entry: Exclusion, told: History, tries: Mapping[str, Tried], now: datetime) -> Row:
    added = entry.added.isoformat() if entry.added else None
    wanted: dict[str, Any] = {"action": "add", "pattern": entry.pattern, "added": added}
    by = next((one.who for one in told.changes if added and wanted.items() <= one.event.items()), "")
    if not entry.only_domain:
        untried = "names no single domain"
    else:
        untried = "not yet tried" if call.config.recheck.pause else "off"
    return Row(entry, entry.is_live(now), by, tries.get(entry.pattern) if entry.only_domain else None, untried)


def _checked(call: Call, listed: Sequence[Exclusion], now: datetime) -> Check:
    text = call.query("address")
    if not text:
        return Check()
    try:
        address = parse_address(text)
    except AddressError as error:
        return Check(text, wrong=f"{error}.")
    return Check(str(address), Exclusions(listed).match(address, now))
