"""Patterns that name mailboxes: `user@example.com`, `*@example.com`, `*@*.example.com`.

Exclusions and routing rules share them. The local part may hold `*` anywhere; the domain is a name, an address
literal, `*.name` for every name below it (not the name itself), or `*`. A bare domain stands for all of its
mailboxes. Case never matters, in the local part neither: a list kept by people must not depend on how a sender
writes `Info@`. Domains are A-labels on both sides; whoever reads a file converts them.
`Pattern.parse` raises ValueError that says what would be right.
"""

import ipaddress
import re
from dataclasses import dataclass

from stages.message import Address

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_FORMS = "write user@example.com, *@example.com or *@*.example.com"
ANY = "*"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A checked pattern, all in lower case. `local` and `domain` may be `*`; `below` means "under `domain`"."""

    local: str
    domain: str
    below: bool = False

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Read a pattern. Raises ValueError with what would be right."""
        given = text.strip()
        if not given:
            raise ValueError(f"an empty pattern matches nothing: {_FORMS}")
        local, at, domain = given.rpartition("@")
        local = _unquoted(local).casefold() if at else ANY
        if not local:
            raise ValueError(f"pattern {text!r} has nothing before '@': write *{given}")
        if any(not character.isprintable() for character in given):
            raise ValueError(f"pattern {text!r} holds a control character: {_FORMS}")
        return cls(local, *_domain(text, domain.lower().rstrip(".")))

    def __str__(self) -> str:
        """Give the normal form, by which equal patterns are equal texts."""
        return f"{self.local}@{'*.' if self.below else ''}{self.domain}"

    @property
    def specificity(self) -> tuple[int, int, int, int]:
        """Rank patterns: a named domain before those below one before any, then longer names, then the local part."""
        kind = 0 if self.domain == ANY else 1 if self.below else 2
        exact = 0 if ANY in self.local else 1
        return kind, self.domain.count(".") + 1, exact, len(self.local.replace(ANY, ""))

    @property
    def only_domain(self) -> str:
        """Give the one domain that the pattern is about; empty for several, for any, and for an address literal."""
        return "" if self.below or self.domain == ANY or self.domain.startswith("[") else self.domain

    def matches(self, address: Address) -> bool:
        """Tell whether the pattern names the mailbox."""
        return self._matches_domain(address.domain.lower()) and self.matches_local(address.local)

    def matches_local(self, local: str) -> bool:
        """Tell whether the local part fits, in whatever case."""
        if self.local == ANY:
            return True
        if ANY not in self.local:
            return self.local == local.casefold()
        return _fits(self.local.split(ANY), local.casefold())

    def _matches_domain(self, domain: str) -> bool:
        if self.domain == ANY:
            return True
        return domain.endswith(f".{self.domain}") if self.below else domain == self.domain


def _unquoted(local: str) -> str:
    if len(local) >= 2 and local[0] == local[-1] == '"':
        return re.sub(r"\\(.)", r"\1", local[1:-1])
    return local


def _fits(pieces: list[str], text: str) -> bool:
    """Match pieces between stars in order, without backtracking (a regular expression could be made to hang)."""
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    place, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, place, end)
        if found < 0:
            return False
        place = found + len(piece)
    return True


def _domain(text: str, domain: str) -> tuple[str, bool]:
    """Check the part after `@`; returns the name and whether the names below it are meant."""
    if domain == ANY:
        return ANY, False
    if domain.startswith("["):
        return _literal(text, domain), False
    below = domain.startswith("*.")
    name = domain[2:] if below else domain
    if ANY in name:
        fixed = re.sub(r"^.*\*\.?", "", name)
        near = f"*@*.{fixed}" if _is_name(fixed) else "*@*.example.com"
        raise ValueError(f"pattern {text!r}: in a domain, '*' stands for whole labels in front: write {near}")
    if not name.isascii():
        raise ValueError(f"pattern {text!r}: the domain must be in A-labels here (xn--...)")
    if name.startswith(".") and _is_name(name[1:]):
        raise ValueError(f"pattern {text!r}: for the names below a domain write *@*{name}")
    if not _is_name(name):
        raise ValueError(f"pattern {text!r}: {name!r} is no domain name: {_FORMS}")
    return name, below


def _is_name(name: str) -> bool:
    return 0 < len(name) <= 253 and all(_LABEL.fullmatch(label) for label in name.split("."))


def _literal(text: str, domain: str) -> str:
    inner = domain[1:-1] if domain.endswith("]") else ""
    try:
        ipaddress.ip_address(inner.removeprefix("ipv6:"))
    except ValueError:
        raise ValueError(f"pattern {text!r}: write an address literal as [192.0.2.1] or [IPv6:2001:db8::1]") from None
    return domain
