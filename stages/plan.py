"""What stage `resolve` gives: the ordered hosts, their addresses and the demand on each.

A demand says what TLS a host must show before it sees a mail command. Only `stages/dane.py` and
`stages/resolve.py` make demands, so nothing that merely connects can lower one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from stages.destination import Destination
from stages.reason import Fact
from stages.records import TLSA


@dataclass(frozen=True, slots=True)
class DaneDemand:
    """STARTTLS with a chain that matches `records` (RFC 7672 section 2.2), SNI and first reference name `base`.

    `host_only`: the MX answer was insecure, so success is never "verified for the domain" (RFC 7672 section 2.2.1).
    `audit`: a failure is logged and delivery goes on opportunistically (RFC 7672 section 9.1). `expires`: end of the
    TTL of the records, which is no part of what is demanded.
    """

    base: str
    records: tuple[TLSA, ...]
    names: tuple[str, ...]
    host_only: bool = False
    audit: bool = False
    kind: Literal["dane"] = "dane"
    expires: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class EncryptDemand:
    """STARTTLS is required, with any certificate; `sni` is the server name to send. `audit` as in `DaneDemand`."""

    why: str
    sni: str
    audit: bool = False
    kind: Literal["encrypt"] = "encrypt"


@dataclass(frozen=True, slots=True)
class VerifyDemand:
    """STARTTLS with a chain to a trusted CA (`tls.ca_file` or the system's) and one of `names`, by route policy."""

    sni: str
    names: tuple[str, ...]
    kind: Literal["verify"] = "verify"


@dataclass(frozen=True, slots=True)
class MayDemand:
    """TLS if it works, clear text on a new connection if not (RFC 7435)."""

    why: str
    sni: str
    kind: Literal["may"] = "may"


Demand = DaneDemand | EncryptDemand | VerifyDemand | MayDemand


class Trouble(StrEnum):
    """Why a host (or a whole destination) could not be used, in the classes that failure policy knows."""

    BOGUS_MX = "dns.bogus_mx"
    BOGUS_ADDRESS = "dns.bogus_address"
    BOGUS_TLSA = "dns.bogus_tlsa"
    LOOKUP_MX = "dns.mx_lookup"
    LOOKUP_ADDRESS = "dns.address_lookup"
    LOOKUP_TLSA = "dns.tlsa_lookup"
    NXDOMAIN = "dns.nxdomain"
    NULL_MX = "dns.null_mx"
    NO_ADDRESS = "dns.no_address"
    SELF = "route.loop"
    FORBIDDEN_ADDRESS = "route.forbidden_address"
    BAD_LITERAL = "route.bad_literal"
    ALIAS_REFUSED = "dns.mx_alias"
    MANDATORY = "dane.mandatory"  # mode mandatory, and no usable secure TLSA (or an insecure MX)
    UNUSABLE = "dane.unusable"  # all records unusable and policy says not to use the host
    MISMATCH = "dane.mismatch"
    NO_STARTTLS = "tls.not_offered"
    HANDSHAKE = "tls.handshake"
    UNTRUSTED = "tls.untrusted"  # VerifyDemand not met
    CONNECT = "smtp.connect"
    GREETING = "smtp.greeting"
    LOST = "smtp.lost"
    TIMEOUT = "smtp.timeout"
    CLOSING = "smtp.closing"  # 421
    PROTOCOL = "smtp.protocol"
    SUSPENDED = "dns.suspended"  # our resolver's self-test fails


@dataclass(frozen=True, slots=True)
class Host:
    """A host that may be tried: MX name (unexpanded), addresses in the order to try, and the demand on it."""

    name: str
    preference: int
    addresses: tuple[str, ...]
    demand: Demand
    facts: Mapping[str, Fact] = field(default_factory=dict)  # states of its address and TLSA answers, for the log


@dataclass(frozen=True, slots=True)
class Skipped:
    """A host that is not tried, and why. `proven`: BOGUS with the proof that policy wants; `permanent`: no retry."""

    name: str
    preference: int
    trouble: Trouble
    text: str
    proven: bool = False
    permanent: bool = False
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the mail of a destination may go, until `expires` (the first expiry among the answers it rests on)."""

    destination: Destination
    hosts: tuple[Host, ...]
    skipped: tuple[Skipped, ...]
    made: datetime
    expires: datetime
    facts: Mapping[str, Fact] = field(default_factory=dict)  # state of the MX answer, resolver, durations
