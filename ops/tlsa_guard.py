"""May a certificate be put to use now? Only while no cache can hold a TLSA record set that it does not match.

`rule` is one function without I/O: it takes what is published, what was seen before (`stages.publishing`), and the
chain. A certificate that matches what is published today may still fail at senders who asked yesterday, so it must wait
for the TTL after the change (RFC 7671 section 8.1); where nobody has looked before, the change may have been just now.
Whether records match is what `delivery.matcher` says.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from delivery.der import public_key_info
from delivery.matcher import Match, MatchOptions, Unusable, match
from ops.tlsa_make import of_key, zone_line
from stages.publishing import Held, Published, held_until
from stages.records import TLSA


@dataclass(frozen=True, slots=True)
class Ruling:
    """Whether it may be, why, and if not, from when on (None: not before something else is published)."""

    allowed: bool
    until: datetime | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """The chain to be deployed, where, and the names that a certificate under DANE-TA may be for."""

    chain: Sequence[bytes]
    host: str
    port: int
    names: tuple[str, ...]
    options: MatchOptions

    def fits(self, now: datetime) -> Callable[[tuple[TLSA, ...]], bool]:
        """Give what tells whether senders who hold some records would deliver to this chain."""

        def fits(records: tuple[TLSA, ...]) -> bool:
            return not records or isinstance(
                match(self.chain, records, self.names, now, self.options), (Match, Unusable)
            )

        return fits


def rule(case: Case, seen: Sequence[Published], now: datetime, since: datetime | None = None) -> Ruling:
    """Rule on a chain; `seen` ends with what is published now, `since` is when that came, by the operator's word."""
    current = seen[-1].records
    outcome = match(case.chain, current, case.names, now, case.options) if current else None
    if outcome is not None and not isinstance(outcome, (Match, Unusable)):
        line = zone_line(case.host, case.port, of_key(public_key_info(case.chain[0])))
        return Ruling(
            allowed=False, until=None,
            reasons=(f"it matches no record that is published now: {outcome}",
                     f"publish this beside them first, and ask again: {line}"),
        )  # fmt: skip
    held = held_until(seen, case.fits(now), now, since)
    if held:
        until = max(one.until for one in held)
        return Ruling(allowed=False, until=until, reasons=tuple(_held(one, since) for one in held))
    match outcome:
        case Match(record=record):
            text = f"it matches {record}, and no cache can hold records that it does not match"
        case None:
            text = "no TLSA records are published, and no cache can hold any that it does not match"
        case _:
            text = "no record that is published is usable: senders ask for TLS and authenticate nobody"
    return Ruling(allowed=True, until=None, reasons=(text,))


def moment_after(moment: datetime) -> str:
    """Write the first whole second after a moment."""
    return f"{moment + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"


def _held(one: Held, since: datetime | None) -> str:
    when = moment_after(one.until)
    if not one.assumed:
        records = ", ".join(str(record) for record in one.records)
        return f"caches may hold until {when} what was published before, and it matches none of that: {records}"
    if since is not None:
        return f"caches may hold until {when} what was published before (its TTL is not known)"
    return (
        "nobody has watched what was published before, so it is taken as changed when first looked at: caches may "
        f"hold until {when} what it does not match (--since TIME says when the records were changed)"
    )
