"""Which recipients are excluded from DANE, and by which entry.

An exclusion changes how safely mail goes and never whether it goes: the recipient gets a destination of its own, so
that nobody else's mail travels with less security. Only outgoing mail is looked at: local routes know no DANE, and
a route with a TLS level of its own has nothing to be excluded from. Of several live entries that fit, the most
specific one counts (a named domain before those below one before any, longer names first, then the mailbox), and
among equals the first listed. An entry counts until `expires` and not at it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from stages.contract import Consigned, Facts, Level, Routed, Stage
from stages.destination import Destination, Route, RouteKind, TlsLevel
from stages.message import Address, Recipient
from stages.pattern import ANY, Pattern
from stages.reason import Fact, Reason
from stages.verdict import Proceed, Verdict


def check_pattern(text: str) -> str:
    """Give a pattern in normal form, by which a list is keyed. Raises ValueError with what would be right."""
    return str(Pattern.parse(text))


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An entry of the list: the pattern (kept in normal form), why, who asked, from when to when, where it stands.

    `until_passing`: it ends when its domain is found to pass DANE. Raises ValueError for a pattern that means nothing,
    for one that cannot be tried and is to end so, and for times without a zone.
    """

    pattern: str
    reason: str = ""
    owner: str = ""
    added: datetime | None = None
    expires: datetime | None = None
    origin: str = "configuration"
    until_passing: bool = False

    def __post_init__(self) -> None:
        """Check the entry and bring its pattern into normal form."""
        object.__setattr__(self, "pattern", check_pattern(self.pattern))
        if self.until_passing and not self.only_domain:
            raise ValueError(
                f"exclusion {self.pattern} names no single domain: nobody can find out that it passes DANE"
            )
        for name, time in (("added", self.added), ("expires", self.expires)):
            if time is not None and time.tzinfo is None:
                raise ValueError(f"exclusion {self.pattern}: {name} has no time zone, write for example {time}+00:00")

    @property
    def only_domain(self) -> str:
        """Give the one domain that it is about, which can be tried with DANE; empty if there is no such."""
        return Pattern.parse(self.pattern).only_domain

    def is_live(self, now: datetime) -> bool:
        """Tell whether the entry still counts."""
        return self.expires is None or now < self.expires


class Exclusions:
    """The whole list, indexed by domain, so that its length costs nothing for each recipient."""

    __slots__ = ("_index", "entries")

    def __init__(self, entries: Iterable[Exclusion]) -> None:
        self.entries = tuple(entries)
        index: dict[tuple[str, bool], list[tuple[Pattern, Exclusion]]] = {}
        for entry in self.entries:
            pattern = Pattern.parse(entry.pattern)
            index.setdefault((pattern.domain, pattern.below), []).append((pattern, entry))
        for rows in index.values():
            rows.sort(key=lambda row: row[0].specificity, reverse=True)  # stable: equals stay in the order given
        self._index = index

    def match(self, address: Address, now: datetime) -> Exclusion | None:
        """Give the most specific live entry that names the address."""
        domain = address.domain.lower()
        keys = [(domain, False)]
        parent = domain.partition(".")[2]
        while parent and not address.is_literal:
            keys.append((parent, True))
            parent = parent.partition(".")[2]
        keys.append((ANY, False))
        for key in keys:
            for pattern, entry in self._index.get(key, ()):
                if entry.is_live(now) and pattern.matches_local(address.local):
                    return entry
        return None


def decide(item: Routed, facts: Facts, now: datetime) -> tuple[Verdict, ...]:
    """Give every recipient its destination, one verdict for each destination, naming the patterns that matched."""
    exclusions: Exclusions = facts[Exclusions]
    shares: dict[Destination, list[Recipient]] = {}
    matched: dict[Destination, dict[str, tuple[Exclusion, list[str]]]] = {}
    for recipient in item.message.recipients:
        route = item.routes[recipient.id]
        found = exclusions.match(recipient.address, now) if _dane_concerns(route) else None
        destination = Destination(route.kind, route.name, route.port, route.tls, excluded=found is not None)
        shares.setdefault(destination, []).append(recipient)
        if found is not None:
            rows = matched.setdefault(destination, {})
            rows.setdefault(found.pattern, (found, []))[1].append(str(recipient.address))
    verdicts: list[Verdict] = []
    for destination, recipients in shares.items():
        message = replace(item.message, recipients=tuple(recipients))
        gives = Consigned(message, dict.fromkeys(message.recipient_ids, destination))
        verdicts.append(Proceed(message.recipient_ids, gives, _reason(destination, matched.get(destination, {}))))
    return tuple(verdicts)


def _dane_concerns(route: Route) -> bool:
    return route.kind is not RouteKind.LOCAL and route.tls is TlsLevel.DANE


def _reason(destination: Destination, matched: dict[str, tuple[Exclusion, list[str]]]) -> Reason:
    facts: dict[str, Fact] = {"destination": destination.key}
    if not matched:
        return Reason("exclude", "exclude.none", "2.0.0", "not excluded from DANE", facts)
    facts["exclusions"] = [
        {
            "pattern": entry.pattern,
            "reason": entry.reason,
            "owner": entry.owner,
            "expires": entry.expires.isoformat() if entry.expires else None,
            "origin": entry.origin,
            "recipients": recipients,
        }
        for entry, recipients in matched.values()
    ]
    return Reason("exclude", "exclude.matched", "2.0.0", f"excluded from DANE by {', '.join(matched)}", facts)


STAGE = Stage("exclude", Level.MESSAGE, Routed, (Exclusions,), Consigned, decide)
