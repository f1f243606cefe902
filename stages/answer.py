"""What DNS said, and how far it may be believed.

`Answer = Found | Absent | Failed`. Security stands only on the first two, so a reader of an answer must meet
the failure before it can ask for security (RFC 7672 section 2.1.1): no error or empty reply can pass for
"insecure". `INDETERMINATE` in the sense of RFC 4035 section 4.3 is a failure; "no covering trust anchor" is
`INSECURE` (erratum 5395).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from stages.records import Record


class Security(StrEnum):
    """How an answer, positive or negative, stood up to DNSSEC validation, over every alias in its chain."""

    SECURE = "secure"
    INSECURE = "insecure"


class Failure(StrEnum):
    """Why there is no answer. All are lookup errors (RFC 7672 section 2.1.2); only a proven BOGUS may bounce mail."""

    BOGUS = "bogus"
    INDETERMINATE = "indeterminate"
    SERVFAIL = "servfail"
    REFUSED = "refused"
    NOTIMP = "notimp"
    FORMERR = "formerr"
    TIMEOUT = "timeout"
    TRUNCATED = "truncated"  # TC=1 and no answer over TCP
    MALFORMED = "malformed"
    NETWORK = "network"  # no resolver could be reached
    CHAIN = "chain"  # too many aliases, or a loop of them
    BLOCKED = "blocked"  # our resolver's own policy changed the answer (RFC 8914 sections 4.5 and 4.16 to 4.19)
    SUSPENDED = "suspended"  # our resolver failed its self-test: nothing it says counts


class Proof(StrEnum):
    """What shows that a BOGUS is the zone's fault and not the path's."""

    VALIDATOR = "validator"  # our own validation of the chain
    CD_REQUERY = "cd-requery"  # SERVFAIL, but the same question with CD=1 has an answer (RFC 4035 section 3.2.2)
    EDE = "ede"  # an extended DNS error of the DNSSEC kind (RFC 8914)


@dataclass(frozen=True, slots=True)
class Question:
    """A name (lower-case A-labels, no trailing dot) and a record type ("MX", "A", "AAAA", "TLSA", "CNAME", ...)."""

    name: str
    rdtype: str

    def __str__(self) -> str:
        """Give `name/TYPE`."""
        return f"{self.name}/{self.rdtype}"


@dataclass(frozen=True, slots=True)
class ExtendedError:
    """An extended DNS error (RFC 8914): info-code and extra text."""

    code: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """Records exist. `canonical` is the owner after all aliases; it equals the question's name if there were none."""

    question: Question
    security: Security
    records: tuple[Record, ...]
    canonical: str
    aliases: tuple[str, ...]  # alias targets in order, ending in `canonical`; empty without CNAME
    expires: datetime  # end of the TTL, capped by signature expiry where we know it
    resolver: str = ""
    chain: tuple[str, ...] = ()  # what proved it, line by line, where it was proven here
    kind: Literal["found"] = "found"


@dataclass(frozen=True, slots=True)
class Absent:
    """The answer is "not there": NXDOMAIN or NODATA, proven (SECURE) or from an unsigned zone (INSECURE)."""

    question: Question
    security: Security
    nxdomain: bool
    canonical: str
    aliases: tuple[str, ...]
    expires: datetime
    resolver: str = ""
    chain: tuple[str, ...] = ()
    kind: Literal["absent"] = "absent"


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no answer. `text` is one line for logs and reports and names the record and the cause where known."""

    question: Question
    failure: Failure
    text: str
    expires: datetime  # how long this failure may be remembered
    ede: tuple[ExtendedError, ...] = ()
    proofs: tuple[Proof, ...] = ()
    resolver: str = ""
    chain: tuple[str, ...] = ()
    kind: Literal["failed"] = "failed"


Answer = Found | Absent | Failed
