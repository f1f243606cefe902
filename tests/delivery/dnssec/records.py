"""Denial records for tests, written as they stand in a zone file, and the functions under test with short arguments."""

from datetime import UTC, datetime

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from delivery.dnssec import denial
from delivery.dnssec.denial import Denial, Proven, Unproven
from delivery.dnssec.limits import Budget, Rules

EXPIRES = datetime(2026, 11, 20, tzinfo=UTC)


def name(text: str) -> dns.name.Name:
    """Read an absolute name; the last dot may be left out."""
    return dns.name.from_text(text)


def record(line: str, signer: str = "example") -> Denial:
    """Read one `OWNER TYPE RDATA` line; names in it are absolute."""
    owner, rdtype, rdata = line.split(maxsplit=2)
    kind = dns.rdatatype.from_text(rdtype)
    read = dns.rdata.from_text(dns.rdataclass.IN, kind, rdata, origin=dns.name.root, relativize=False)
    return Denial(name(owner), read, name(signer), EXPIRES)  # type: ignore[arg-type]


def records(text: str, signer: str = "example") -> list[Denial]:
    """Read a line for each record."""
    return [record(line, signer) for line in text.splitlines() if line.strip()]


class Asked:
    """The records of one answer of a zone, and what they prove; each question has a budget of its own."""

    def __init__(self, denials: list[Denial], zone: str = "example", rules: Rules | None = None) -> None:
        self.denials = denials
        self.zone = name(zone)
        self.rules = rules or Rules()

    def nxdomain(self, owner: str) -> Proven | Unproven:
        """Ask whether a name is absent."""
        return denial.nxdomain(name(owner), self.zone, self.denials, self.rules, Budget(self.rules))

    def nodata(self, owner: str, rdtype: str) -> Proven | Unproven:
        """Ask whether a type is absent."""
        kind = dns.rdatatype.from_text(rdtype)
        return denial.nodata(name(owner), kind, self.zone, self.denials, self.rules, Budget(self.rules))

    def no_closer_match(self, owner: str, wildcard: str) -> Proven | Unproven:
        """Ask whether the right wildcard was expanded."""
        return denial.no_closer_match(
            name(owner), name(wildcard), self.zone, self.denials, self.rules, Budget(self.rules)
        )

    def no_ds(self, cut: str) -> Proven | Unproven | None:
        """Ask whether the chain of trust ends at a cut."""
        return denial.no_ds(name(cut), self.zone, self.denials, self.rules, Budget(self.rules))


def verdict(outcome: Proven | Unproven | None) -> str:
    """Say `secure`, `insecure`, `bogus` or `no cut`."""
    if outcome is None:
        return "no cut"
    if isinstance(outcome, Unproven):
        return "bogus"
    return "secure" if outcome.secure else "insecure"
