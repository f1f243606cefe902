"""Destination: all that decides where and how safely a connection is made.

Two recipients share a destination only if every policy input agrees, so that one domain's security can never
reach another's mail. The string form is the key of the ready queue.
"""

from dataclasses import dataclass
from enum import StrEnum


class RouteKind(StrEnum):
    """How a recipient travels: by MX to a domain, to a named host, or to the local domains' host."""

    MX = "mx"
    HOST = "host"
    LOCAL = "local"


class TlsLevel(StrEnum):
    """What a route asks of TLS. `DANE` is opportunistic DANE by the policy in force (it may end as MAY)."""

    MAY = "may"
    ENCRYPT = "encrypt"
    DANE = "dane"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Destination:
    """Route kind, name (domain, host or address literal), port, TLS level, and whether DANE is excluded."""

    kind: RouteKind
    name: str
    port: int
    tls: TlsLevel = TlsLevel.DANE
    excluded: bool = False

    @property
    def key(self) -> str:
        """Give the canonical string, for example `mx:example.com:25:dane`; `parse` reads it back."""
        return f"{self.kind}:{self.name}:{self.port}:{self.tls}{'+excluded' if self.excluded else ''}"

    def __str__(self) -> str:
        """Give the key."""
        return self.key

    @classmethod
    def parse(cls, key: str) -> "Destination":
        """Read what `key` wrote. Raises ValueError for anything else."""
        try:
            kind, rest = key.split(":", 1)
            name, port, tls = rest.rsplit(":", 2)
            level, plus, flag = tls.partition("+")
            made = cls(RouteKind(kind), name, int(port), TlsLevel(level), bool(plus))
        except ValueError as error:
            raise ValueError(f"not a destination: {key!r}, expected kind:name:port:tls[+excluded]") from error
        if (plus and flag != "excluded") or not name:
            raise ValueError(f"not a destination: {key!r}, expected kind:name:port:tls[+excluded]")
        return made

    @property
    def is_literal(self) -> bool:
        """Tell whether the name is an address literal, to which DANE does not apply (RFC 7672 section 2.2)."""
        return self.name.startswith("[")


@dataclass(frozen=True, slots=True)
class Route:
    """One way that stage `route` chose: kind, name and port as in `Destination`, and the rule that said so."""

    kind: RouteKind
    name: str
    port: int
    tls: TlsLevel = TlsLevel.DANE
    rule: str = "default"
