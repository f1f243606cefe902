"""Signatures over record sets (RFC 4035 section 5.3), and the keys of a zone that a DS set vouches for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import dns.name
import dns.rrset
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG

from delivery.dnssec.limits import Budget, Rules


@dataclass(frozen=True, slots=True)
class SignedSet:
    """A record set, and the RRSIG records that came at its owner name and cover its type, with their TTL."""

    rrset: dns.rrset.RRset
    signatures: tuple[RRSIG, ...]
    signatures_ttl: int = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Verified:
    """One good signature: whose, and how long the set may be kept."""

    signer: dns.name.Name
    algorithm: int
    key_tag: int
    expires: datetime
    ttl: int
    inception: datetime
    expiration: datetime
    wildcard: dns.name.Name | None


@dataclass(frozen=True, slots=True)
class Broken:
    """No signature is good: why, in one line, and the matching info-code of RFC 8914."""

    why: str
    code: int


def verify(  # noqa: PLR0913
    signed: SignedSet, zone: dns.name.Name, keys: Sequence[DNSKEY], now: datetime, rules: Rules, budget: Budget
) -> Verified | Broken:
    """Check a record set against the keys of its zone."""
    raise NotImplementedError


def trusted_keys(  # noqa: PLR0913
    zone: dns.name.Name, dnskeys: SignedSet, ds: Sequence[DS], now: datetime, rules: Rules, budget: Budget
) -> tuple[Sequence[DNSKEY], Verified] | Broken | None:
    """Give the keys of a zone that its DS records vouch for; None if the zone is insecure."""
    raise NotImplementedError
