"""One destination in full, as lines of text: what keeps its mail, its plan, its addresses in trouble, its mail."""

from collections.abc import Iterator
from datetime import datetime

from ops.destinations import Detail
from ops.inert import inert
from ops.top.table import figure, within
from pipeline.store.pulse import COUNTED
from stages.plan import Plan


def lines(detail: Detail, now: datetime) -> Iterator[str]:
    """Say all that is known, in lines that are inert."""
    row = detail.row
    yield f"backlog    {row.backlog:,} ({row.ready:,} ready, {row.deferred:,} wait for their next try)"
    yield f"state      {row.state}{_until(row.until, now)}"
    if detail.suspension is not None:
        one = detail.suspension
        yield inert(f"           {one.kind} {one.name} is suspended{f': {one.reason}' if one.reason else ''}")
    yield f"rate       {figure(row.rate)} a minute delivered, {figure(row.troubles)} put off or failed"
    yield f"security   {inert(row.security) or 'not known'} (of the last delivery)"
    yield f"next try   {_moment(row.next_try, now)}"
    yield from _error(detail)
    yield ""
    yield from _minutes(detail)
    yield from _plan(detail.plan, detail, now)
    yield ""
    yield from _waiting(detail)


def _error(detail: Detail) -> Iterator[str]:
    error = detail.row.error
    if error is None:
        yield "last error none is known"
        return
    host = f", {error.host}" if error.host else ""
    yield inert(f"last error {error.code} at {error.at:%Y-%m-%d %H:%M:%S} UTC{host}")
    yield inert(f"           {error.text}")


def _minutes(detail: Detail) -> Iterator[str]:
    if not detail.pulse.minutes:
        return
    yield "Minutes (UTC)"
    for at, counts in detail.pulse.minutes:
        told = ", ".join(f"{word} {counts[word]:,}" for word in COUNTED if word in counts)
        yield f"  {at:%H:%M}  {told}"
    yield ""


def _plan(plan: Plan | None, detail: Detail, now: datetime) -> Iterator[str]:
    if plan is None:
        yield "Plan: none is in use now; danepipe explain shows what one would be"
        for address, shut in detail.shut.items():
            yield inert(f"  {address}: circuit open{_until(shut.until, now)}: {shut.trouble} {shut.text}")
        return
    yield f"Plan, made {plan.made:%H:%M:%S}, in use until {plan.expires:%H:%M:%S} UTC at most"
    for host in plan.hosts:
        yield inert(f"  {host.preference:>5} {host.name}  demand {host.demand.kind}")
        for address in host.addresses:
            found = detail.shut.get(address)
            told = "" if found is None else f"  circuit open{_until(found.until, now)}: {found.trouble} {found.text}"
            yield inert(f"        {address}{told}")
    for skipped in plan.skipped:
        yield inert(f"  {skipped.preference:>5} {skipped.name}  not used: {skipped.trouble} {skipped.text}")


def _waiting(detail: Detail) -> Iterator[str]:
    rows, more = detail.waiting, detail.row.backlog
    yield (
        f"Mail that waits (the first {len(rows)})" if more > len(rows) else f"Mail that waits{'' if rows else ': none'}"
    )
    for one in rows:
        later = f", next {one['next_attempt']}" if one["next_attempt"] else ""
        yield inert(f"  {one['id']} {one['state']}, attempts {one['attempts']}{later}")
        others = f" and {one['together'] - 1:,} more" if one["together"] > 1 else ""
        yield inert(f"    {one['sender']} -> {one['recipient']}{others}")
        if one["code"]:
            yield inert(f"    {one['code']}: {one['reason']}")


def _until(moment: datetime | None, now: datetime) -> str:
    return "" if moment is None else f", for {within(moment - now)}"


def _moment(moment: datetime | None, now: datetime) -> str:
    return "none is set" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC, in {within(moment - now)}"
