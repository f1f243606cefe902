"""What the far end of delivery is set to: sessions with other servers, their timeouts, their TLS, and reports.

These are plain values, apart from what uses them: whoever reads a configuration makes them, in every process, while
TLS, certificates and SMTP are only for those that send. Raises ValueError for what must not be said or used.
"""

import ssl
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for each phase; the defaults are the minima of RFC 5321 section 4.5.3.2. `tls` bounds the handshake."""

    connect: float = 30.0
    greeting: float = 300.0
    command: float = 300.0
    tls: float = 60.0
    data: float = 120.0
    block: float = 180.0
    dot: float = 600.0
    quit: float = 5.0


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Lowest version where TLS is required ("1.2" or "1.3"), and CA certificates for `verify` (None: the system's)."""

    min_version: str = "1.2"
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a version that is not known, or too old to be used (RFC 8996)."""
        if self.min_version not in VERSIONS:
            raise ValueError(f"min_version is {self.min_version!r}, expected one of {', '.join(VERSIONS)}")


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """`hostname` is said in EHLO, an FQDN or address literal in ASCII. `source_addresses`: at most one per family."""

    hostname: str
    source_addresses: tuple[str, ...] = ()
    timeouts: Timeouts = field(default_factory=Timeouts)
    tls: TlsSettings = field(default_factory=TlsSettings)

    def __post_init__(self) -> None:
        """Raise ValueError for a name that must not be said in EHLO (RFC 5321 4.1.1.1, RFC 6531 section 3.7.1)."""
        if not self.hostname.isascii() or not self.hostname or any(ord(c) <= 32 for c in self.hostname):
            raise ValueError(f"hostname is {self.hostname!r}, expected a domain name in ASCII")

    def source(self, address: str) -> str | None:
        """Give the local address to send from to this one, if there is any of its family."""
        return next((one for one in self.source_addresses if (":" in one) == (":" in address)), None)


@dataclass(frozen=True, slots=True)
class DsnSettings:
    """Who reports: our host name and the address of a person to write to.

    `lifetime` is how long mail is tried (for Will-Retry-Until; None leaves it out), `max_returned` the largest
    message that is returned whole, in octets.
    """

    reporting_mta: str
    postmaster: str
    lifetime: timedelta | None = None
    max_returned: int = 1024 * 1024
