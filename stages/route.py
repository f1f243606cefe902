"""Which way each recipient goes: by MX, to a named host, to the local domains' host, or not at all.

Rules are looked at in order and the first that matches decides; `copy` rules are passed on the way: each that matches
before the deciding rule adds a leg, and the first way stays as it is. Without a rule, local domains go to the local
host without DANE, address literals to that address, and everything else by MX. A local domain without a host is
refused in words rather than sent to the Internet. Copies are made once, when a recipient first comes here, and never of
copies; a copy goes by the rule that made it, and is dropped if that rule is gone.
`Rule` and `RouteTable` raise ValueError for what cannot work.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from stages.contract import CopyLeg, Facts, Level, Routed, Stage
from stages.destination import Route, RouteKind, TlsLevel
from stages.message import Address, Envelope, Message, Recipient, RecipientId
from stages.pattern import Pattern
from stages.reason import Reason
from stages.verdict import Done, Proceed, Refuse, Verdict

NULL_SENDER = "<>"
SUBMISSION_PORTS = frozenset({465, 587})  # outside RFC 7672: DANE there only where a rule asks for it (DANE-106)


class Action(StrEnum):
    """What a rule does with a recipient."""

    MX = "mx"
    HOST = "host"
    COPY = "copy"
    LOCAL = "local"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Rule:
    """A routing rule. Each list of patterns that is given must have one that fits; an empty one fits everything.

    `senders` may hold `<>` for the null sender. `sources` holds networks of the client (`192.0.2.0/24`) or ways in
    (`smtp`, `send`, `sendmail`, `api`, `bounce`). `host` is a name or an address; an `mx` rule may name the domain
    whose MX to use. `port` None is the table's. `tls` None means DANE, but for submission ports `encrypt` and for local
    routes `may`. `text` is what a `refuse` rule tells the sender.
    """

    name: str
    action: Action
    recipients: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    host: str = ""
    port: int | None = None
    tls: TlsLevel | None = None
    text: str = ""
    _to: tuple[Pattern, ...] = field(init=False, repr=False, compare=False, default=())
    _from: tuple[Pattern | None, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        """Check the rule and read its patterns once."""
        where = f"routing rule {self.name!r}"
        if not self.name:
            raise ValueError("a routing rule needs a name")
        if self.action in {Action.HOST, Action.COPY} and not self.host:
            raise ValueError(f"{where}: action {self.action} needs a host")
        if self.action is Action.LOCAL and self.tls is TlsLevel.DANE:
            raise ValueError(f"{where}: local routes know no DANE, use tls = may, encrypt or verify")
        if self.port is not None and not 0 < self.port < 65536:
            raise ValueError(f"{where}: port is {self.port}, expected 1 to 65535")
        try:
            to = tuple(Pattern.parse(text) for text in self.recipients)
            by = tuple(None if text.strip() == NULL_SENDER else Pattern.parse(text) for text in self.senders)
            _check_sources(self.sources)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        object.__setattr__(self, "_to", to)
        object.__setattr__(self, "_from", by)

    def matches(self, envelope: Envelope, address: Address) -> bool:
        """Tell whether the rule is about this recipient of a message."""
        if self._to and not any(pattern.matches(address) for pattern in self._to):
            return False
        if self._from and not any(_is_sender(pattern, envelope.sender) for pattern in self._from):
            return False
        return not self.sources or any(_is_source(source, envelope) for source in self.sources)


def _check_sources(sources: tuple[str, ...]) -> None:
    for source in sources:
        if not source.isalpha():
            try:
                ipaddress.ip_network(source, strict=False)
            except ValueError:
                raise ValueError(f"{source!r} is no network such as 192.0.2.0/24 and no way in such as smtp") from None


def _is_sender(pattern: Pattern | None, sender: Address | None) -> bool:
    if pattern is None or sender is None:
        return pattern is None and sender is None
    return pattern.matches(sender)


def _is_source(source: str, envelope: Envelope) -> bool:
    origin = envelope.origin
    if source.isalpha():
        return source.lower() == origin.source.lower()
    try:
        peer = ipaddress.ip_address(origin.peer.removeprefix("IPv6:"))
    except ValueError:  # mail from a file or from ourselves has no peer
        return False
    if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
        peer = peer.ipv4_mapped
    return peer in ipaddress.ip_network(source, strict=False)


@dataclass(frozen=True, slots=True)
class RouteTable:
    """All rules in order, the domains that are ours (A-labels), and the port of hosts whose rule names none.

    `local_host` takes the mail of local domains on `local_port` (None: `port`); without it, only rules can route them.
    """

    rules: tuple[Rule, ...] = ()
    local_domains: frozenset[str] = frozenset()
    port: int = 25
    local_host: str = ""
    local_port: int | None = None
    _by_name: Mapping[str, Rule] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse two rules of one name, since a copy finds its rule by name."""
        by_name = {rule.name: rule for rule in self.rules}
        if len(by_name) < len(self.rules):
            names = [rule.name for rule in self.rules]
            raise ValueError(f"two routing rules are named {next(n for n in names if names.count(n) > 1)!r}")
        object.__setattr__(
            self, "local_domains", frozenset(domain.lower().rstrip(".") for domain in self.local_domains)
        )
        object.__setattr__(self, "_by_name", by_name)

    def copy_rule(self, name: str) -> Rule | None:
        """Find the rule that a copy was made by, unless it is gone."""
        rule = self._by_name.get(name)
        return rule if rule is not None and rule.action is Action.COPY else None

    def is_local(self, address: Address) -> bool:
        """Tell whether the address is in one of our own domains."""
        return address.domain.lower() in self.local_domains


@dataclass(frozen=True, slots=True)
class Way:
    """Where one recipient goes: a route with copies, or why it goes nowhere (`dropped`: without a report)."""

    route: Route | None = None
    copies: tuple[CopyLeg, ...] = ()
    stop: Reason | None = None
    dropped: bool = False


def way(table: RouteTable, envelope: Envelope, recipient: Recipient) -> Way:
    """Find the way of one recipient."""
    if recipient.copy_rule is not None:
        rule = table.copy_rule(recipient.copy_rule)
        if rule is None:
            text = f"the copy rule {recipient.copy_rule!r} is no longer configured"
            return Way(stop=Reason("route", "route.copy_rule_gone", "2.0.0", text), dropped=True)
        return Way(_to_host(table, rule))
    fresh = recipient.attempts == 0 and not recipient.copied
    copies: list[CopyLeg] = []
    for rule in table.rules:
        if not rule.matches(envelope, recipient.address):
            continue
        if rule.action is not Action.COPY:
            return replace(_by_rule(table, rule, recipient), copies=tuple(copies))
        if fresh:
            copies.append(CopyLeg(rule.name, recipient.id, _to_host(table, rule)))
    return replace(_without_rule(table, recipient), copies=tuple(copies))


def _by_rule(table: RouteTable, rule: Rule, recipient: Recipient) -> Way:
    if rule.action is Action.REFUSE:
        text = rule.text or f"mail to {recipient.address} is refused by routing rule {rule.name}"
        return Way(stop=Reason("route", "route.refused", "5.7.1", text, {"rule": rule.name}))
    if rule.action is Action.LOCAL:
        return _local(table, recipient, rule)
    if rule.action is Action.HOST:
        return Way(_to_host(table, rule))
    if recipient.address.is_literal and not rule.host:
        return Way(_to_literal(table, recipient, rule))
    port = rule.port or table.port
    name = rule.host.lower().rstrip(".") or recipient.address.domain
    return Way(Route(RouteKind.MX, name, port, rule.tls or _level(port), rule.name))


def _without_rule(table: RouteTable, recipient: Recipient) -> Way:
    if table.is_local(recipient.address):
        return _local(table, recipient, None)
    if recipient.address.is_literal:
        return Way(_to_literal(table, recipient, None))
    return Way(Route(RouteKind.MX, recipient.address.domain, table.port, _level(table.port)))


def _to_literal(table: RouteTable, recipient: Recipient, rule: Rule | None) -> Route:
    """Go to the address itself (RFC 5321 section 4.1.3); the level stays, since mandatory DANE refuses literals."""
    port = (rule.port if rule else None) or table.port
    level = (rule.tls if rule else None) or _level(port)
    return Route(RouteKind.HOST, _host(recipient.address.domain), port, level, rule.name if rule else "literal")


def _to_host(table: RouteTable, rule: Rule) -> Route:
    port = rule.port or table.port
    return Route(RouteKind.HOST, _host(rule.host), port, rule.tls or _level(port), rule.name)


def _local(table: RouteTable, recipient: Recipient, rule: Rule | None) -> Way:
    host = (rule.host if rule else "") or table.local_host
    if not host:
        text = f"there is no route for the local domain {recipient.address.domain}"
        return Way(stop=Reason("route", "route.no_local_route", "5.3.5", text))
    port = (rule.port if rule else None) or table.local_port or table.port
    level = (rule.tls if rule else None) or TlsLevel.MAY
    return Way(Route(RouteKind.LOCAL, _host(host), port, level, rule.name if rule else "local"))


def _level(port: int) -> TlsLevel:
    return TlsLevel.ENCRYPT if port in SUBMISSION_PORTS else TlsLevel.DANE


def _host(text: str) -> str:
    """Write a host name in lower case and an address as a literal in its shortest form; bad literals stay as given."""
    name = text.lower().rstrip(".")
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        address = ipaddress.ip_address(bare.removeprefix("ipv6:"))
    except ValueError:
        return name
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"


def decide(item: Message, facts: Facts, now: datetime) -> tuple[Verdict, ...]:
    """Pass on those who have a route, in one verdict; refuse or drop each of the others."""
    del now
    table: RouteTable = facts[RouteTable]
    going: list[Recipient] = []
    routes: dict[RecipientId, Route] = {}
    copies: list[CopyLeg] = []
    stopped: list[Verdict] = []
    for recipient in item.recipients:
        found = way(table, item.envelope, recipient)
        if found.route is not None:
            going.append(recipient)
            routes[recipient.id] = found.route
            copies += found.copies
        elif found.stop is not None:
            stopped.append((Done if found.dropped else Refuse)((recipient.id,), found.stop))
    if not going:
        return tuple(stopped)
    message = replace(item, recipients=tuple(going))
    return (Proceed(message.recipient_ids, Routed(message, routes, tuple(copies)), _reason(routes, copies)), *stopped)


def _reason(routes: Mapping[RecipientId, Route], copies: list[CopyLeg]) -> Reason:
    rules = sorted({route.rule for route in routes.values()})
    also = sorted({leg.rule for leg in copies})
    text = f"routed by {', '.join(rules)}" + (f", with a copy by {', '.join(also)}" if also else "")
    ways = {
        recipient: f"{route.kind}:{route.name}:{route.port}:{route.tls} ({route.rule})"
        for recipient, route in routes.items()
    }
    return Reason("route", "route.routed", "2.0.0", text, {"routes": ways, "copies": also})


STAGE = Stage("route", Level.MESSAGE, Message, (RouteTable,), Routed, decide)
