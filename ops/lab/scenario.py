"""What a scenario of the lab is made of: a domain, its hosts, what is wrong with them, and what should come of it.

All of it is plain frozen data with a happy default: `Scenario("x", "...")` is a signed domain with one MX host whose
certificate matches its `3 1 1` record, so a scenario names only what is special about it. Names are relative to the
domain; one that ends with a dot is absolute. Nothing here opens a socket or makes a key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

TLD = "lab"
HOSTS = "hosts.lab"  # a signed zone of mail hosts that serve other domains
PLAIN_HOSTS = "plain-hosts.lab"  # the same, unsigned
SENDER = "sender.lab"  # the domain that mail of the demo comes from, where reports arrive


class State(StrEnum):
    """What a validating resolver makes of a question."""

    SECURE = "secure"
    INSECURE = "insecure"
    SECURE_NODATA = "secure nodata"
    SECURE_NXDOMAIN = "secure nxdomain"
    INSECURE_NODATA = "insecure nodata"
    INSECURE_NXDOMAIN = "insecure nxdomain"
    BOGUS = "bogus"
    ERROR = "error"  # SERVFAIL whatever is asked, or no answer
    UNASKED = "not asked"  # DANE ends before this question


class Subject(StrEnum):
    """What a TLSA record is made from."""

    LEAF = "leaf"  # the certificate that the host sends first
    CA = "ca"  # the CA of the lab
    NEXT = "next"  # the key that the host will use after its next change
    OTHER = "other"  # a certificate that no host of the lab uses


@dataclass(frozen=True, slots=True)
class Tlsa:
    """A TLSA record; `data` in place of what `of` would give makes it malformed."""

    usage: int = 3
    selector: int = 1
    mtype: int = 1
    of: Subject = Subject.LEAF
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate of a host: the name it is for (empty: the host's), its dates, its issuer, the chain sent."""

    name: str = ""
    expired: bool = False
    self_signed: bool = False
    sends_ca: bool = True


class Starttls(StrEnum):
    """What a mail host makes of STARTTLS."""

    WORKS = "works"
    ABSENT = "absent"  # not in the reply to EHLO
    REFUSED = "refused"  # in the reply to EHLO, and then 454
    BROKEN = "broken"  # 220, and then a fatal alert in place of a handshake


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a mail host behaves. Replies are whole lines without line ends; `recipients` has them by local part."""

    starttls: Starttls = Starttls.WORKS
    greeting: str = ""  # in place of 220; the connection ends after it
    recipients: Mapping[str, str] = field(default_factory=dict)
    mail: str = ""  # reply to MAIL in place of 250
    dot: str = ""  # reply to the final dot in place of 250
    closes: str = ""  # reply to RCPT after which the connection ends, such as 421
    greylisting: bool = False  # 450 for the first try of each sender and recipient
    listens: bool = True


@dataclass(frozen=True, slots=True)
class Host:
    """An MX host. `alias_of` makes its name a CNAME of that one; `tlsa_at` tells where the records stand.

    `exists_below` puts a TXT record at the TLSA name, so that a missing record is NODATA rather than NXDOMAIN.
    """

    name: str = "mx"
    preference: int = 10
    certificate: Certificate = Certificate()
    tlsa: tuple[Tlsa, ...] = (Tlsa(),)
    behaviour: Behaviour = Behaviour()
    alias_of: str = ""
    tlsa_at: str = ""  # empty: at the name that has the address
    exists_below: bool = False
    by_mx: bool = True  # False: no MX record names it


class Damage(StrEnum):
    """What is done to a zone after it was signed."""

    EXPIRED = "signature expired"
    FORGED = "signature does not fit"
    UNPROVEN = "no NSEC record proves the denial"
    WRONG_DS = "the DS record in the parent is of another key"
    UNKNOWN_ALGORITHM = "the DS record is of an algorithm that nobody knows"


@dataclass(frozen=True, slots=True)
class Breakage:
    """Damage to one record set: `name` and `rdtype` of it; TLSA stands below the port's label. DS: leave both empty."""

    damage: Damage
    name: str = "@"
    rdtype: str = "MX"


@dataclass(frozen=True, slots=True)
class Fault:
    """How the nameserver misbehaves for names at or below `name`, for one type or (empty) for all."""

    name: str = "@"
    rdtype: str = ""
    servfail: bool = False
    drop: bool = False
    delay: float = 0.0  # seconds before each answer


class Outcome(StrEnum):
    """Where a message is in the end."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    REPORTED = "reported"


@dataclass(frozen=True, slots=True)
class Expected:
    """What should come of a message under profile `mailmarshal`: the outcome, the code of the reason, the TLS level.

    `code` is empty where mail is delivered. `tls` is `dane`, `encrypted` or `none` there, as the attempt tells it;
    empty elsewhere.
    """

    outcome: Outcome
    code: str = ""
    tls: str = ""

    def __str__(self) -> str:
        """Give it as the table of the demo shows it."""
        return f"{self.outcome} {self.code or self.tls}".strip()


DANE = Expected(Outcome.DELIVERED, tls="dane")
TLS = Expected(Outcome.DELIVERED, tls="encrypted")
CLEAR = Expected(Outcome.DELIVERED, tls="none")


def deferred(code: str) -> Expected:
    """Say that the message waits for this reason."""
    return Expected(Outcome.DEFERRED, code)


def reported(code: str) -> Expected:
    """Say that the sender is told of this failure."""
    return Expected(Outcome.REPORTED, code)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a validating resolver makes of the MX record set and of the first host's address and TLSA record sets."""

    mx: State = State.SECURE
    address: State = State.SECURE
    tlsa: State = State.SECURE


class Way(StrEnum):
    """How mail for a domain is routed."""

    MX = "mx"
    HOST = "host"  # a rule names the first host
    LOCAL = "local"  # a local domain: the first host is where it is kept


@dataclass(frozen=True, slots=True)
class Scenario:
    """One domain and its story. `expected` holds for every recipient that `recipients` does not name.

    `settings` are keys of a `[[destination]]` table for the domain, `excluded` an entry of `[[exclude]]`.
    """

    name: str
    story: str
    expected: Expected = DANE
    hosts: tuple[Host, ...] = (Host(),)
    claims: Claims = Claims()
    signed: bool = True
    exists: bool = True
    null_mx: bool = False
    breakage: tuple[Breakage, ...] = ()
    faults: tuple[Fault, ...] = ()
    way: Way = Way.MX
    excluded: bool = False
    recipients: Mapping[str, Expected] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def domain(self) -> str:
        """Give the domain's name, without a final dot."""
        return f"{self.name}.{TLD}"

    @property
    def addresses(self) -> Mapping[str, Expected]:
        """Give each recipient that the demo writes to with what should come of it."""
        named = self.recipients or {"user": self.expected}
        return {f"{local}@{self.domain}": expected for local, expected in named.items()}

    def absolute(self, name: str) -> str:
        """Make a name of this scenario absolute, in lower case without a final dot."""
        if name.endswith("."):
            return name.rstrip(".").lower()
        return self.domain if name in {"", "@"} else f"{name}.{self.domain}".lower()

    def canonical(self, host: Host) -> str:
        """Give the name that has a host's address: its own, or what it is an alias of."""
        return self.absolute(host.alias_of or host.name)
