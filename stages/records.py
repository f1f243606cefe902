"""The DNS records that decisions rest on, as plain values.

Names are lower-case A-labels without the trailing dot; the root is ".". Numbers of TLSA fields stay
plain integers, since a zone may publish any octet (RFC 6698 section 2.1); the enums name the known ones.
"""

from dataclasses import dataclass
from enum import IntEnum


class Usage(IntEnum):
    """TLSA certificate usages (RFC 6698 section 2.1.1, acronyms of RFC 7218 section 2.1)."""

    PKIX_TA = 0
    PKIX_EE = 1
    DANE_TA = 2
    DANE_EE = 3


class Selector(IntEnum):
    """TLSA selectors (RFC 6698 section 2.1.2, RFC 7218 section 2.2)."""

    CERT = 0
    SPKI = 1


class MatchingType(IntEnum):
    """TLSA matching types (RFC 6698 section 2.1.3, RFC 7218 section 2.3)."""

    FULL = 0
    SHA2_256 = 1
    SHA2_512 = 2


_USAGE = {0: "PKIX-TA", 1: "PKIX-EE", 2: "DANE-TA", 3: "DANE-EE"}
_SELECTOR = {0: "Cert", 1: "SPKI"}
_MATCHING = {0: "Full", 1: "SHA2-256", 2: "SHA2-512"}


@dataclass(frozen=True, slots=True)
class TLSA:
    """One TLSA record: usage, selector, matching type (each 0-255) and the association data."""

    usage: int
    selector: int
    mtype: int
    data: bytes

    def __str__(self) -> str:
        """Give zone-file form, the data in lower-case hex."""
        return f"{self.usage} {self.selector} {self.mtype} {self.data.hex()}"

    @property
    def acronyms(self) -> str:
        """Give the registered names, for example `DANE-EE(3) SPKI(1) SHA2-256(1)` (RFC 7218)."""
        fields = ((self.usage, _USAGE), (self.selector, _SELECTOR), (self.mtype, _MATCHING))
        return " ".join(f"{names.get(number, 'unassigned')}({number})" for number, names in fields)


@dataclass(frozen=True, slots=True)
class MX:
    """One MX record (RFC 5321 section 5.1); `exchange` is "." in a null MX (RFC 7505)."""

    preference: int
    exchange: str


@dataclass(frozen=True, slots=True)
class IP:
    """One A or AAAA record: an address in the textual form of `ipaddress`."""

    address: str


@dataclass(frozen=True, slots=True)
class Other:
    """A record of a type that decides nothing here, kept as its zone-file text."""

    text: str


Record = TLSA | MX | IP | Other
