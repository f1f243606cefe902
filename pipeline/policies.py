"""Which policy holds for a destination: the sections of the configuration, and the overrides for some domains.

The longest matching `[[destination]]` wins; a pattern is a domain, or `*.domain` for every name below it. A rule says
only what differs: what it leaves out comes from `[dane]` and `[limits]`.
"""

import ipaddress

from pipeline.settings import Dane, LimitsSection, Smtp
from pipeline.tables import DestinationRule
from stages.destination import Destination, RouteKind, TlsLevel
from stages.policy import DanePolicy, Limits, Mode, Policy, dane_policy


class Policies:
    """Gives the policy of each destination. Made once for each process."""

    def __init__(
        self, dane: Dane, limits: LimitsSection, smtp: Smtp, hostname: str, rules: tuple[DestinationRule, ...]
    ) -> None:
        self._dane = dane
        self._limits = limits
        self._smtp = smtp
        self._names = frozenset({hostname, *smtp.own_names}) - {"localhost"}
        self._exact = {rule.domain: rule for rule in rules if not rule.domain.startswith("*.")}
        self._below = {rule.domain[2:]: rule for rule in rules if rule.domain.startswith("*.")}
        self._made: dict[tuple[str | None, RouteKind], Policy] = {}

    def rule_for(self, name: str) -> DestinationRule | None:
        """Find the override for a domain or host name."""
        if name in self._exact or not self._below:
            return self._exact.get(name)
        labels = name.split(".")
        for start in range(1, len(labels)):
            rule = self._below.get(".".join(labels[start:]))
            if rule is not None:
                return rule
        return None

    def policy_for(self, destination: Destination) -> Policy:
        """Give the policy of a destination, which is one object for all that fall under the same rule."""
        kind = destination.kind
        rule = self.rule_for(destination.name) if kind is not RouteKind.LOCAL else None
        key = (None if rule is None else rule.domain, kind)
        policy = self._made.get(key)
        if policy is None:
            policy = self._made[key] = self._make(rule, kind)
        return policy

    def _make(self, rule: DestinationRule | None, kind: RouteKind) -> Policy:
        floor = TlsLevel(rule.tls) if rule is not None and rule.tls is not None else TlsLevel.MAY
        return Policy(
            dane=self._dane_for(rule),
            limits=self._limits_for(rule),
            allow_private=self._smtp.allow_private or kind is not RouteKind.MX,
            own_names=self._names,
            own_addresses=frozenset(str(ipaddress.ip_address(text)) for text in self._smtp.own_addresses),
            floor=floor,
            prefer=self._smtp.prefer,
            max_addresses=self._smtp.max_addresses,
        )

    def _limits_for(self, rule: DestinationRule | None) -> Limits:
        own = rule.limits if rule is not None else None
        given = {} if own is None else {name: getattr(own, name) for name in own.model_fields_set}
        return Limits(**{**dict(self._limits), **given})

    def _dane_for(self, rule: DestinationRule | None) -> DanePolicy:
        base = self._dane
        if rule is None:
            return dane_policy(base.profile, {"mode": base.mode, **base.rows()})
        own = rule.dane
        given = own.model_fields_set
        profile = own.profile if "profile" in given else base.profile
        mode = own.mode if "mode" in given else base.mode
        if rule.tls == "may":
            mode = Mode.OFF  # asking for no more than opportunistic TLS means asking for no DANE
        rows = {**({} if "profile" in given else base.rows()), **own.rows()}
        return dane_policy(profile, {"mode": mode, **rows})
