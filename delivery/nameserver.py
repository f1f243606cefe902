"""One question to one resolver, over the wire: UDP with EDNS 1232 and DO, TCP when the answer was cut off.

`exchange` returns the response whatever its RCODE says. Where there is none it raises `NoResponse`, which says how it
failed. The library checks id, question and source of a datagram and goes on waiting when they do not fit.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype

from stages.answer import Failure, Question

PAYLOAD = 1232  # octets that pass every path unfragmented (DNS flag day 2020)


class NoResponse(Exception):  # noqa: N818 - says what happened
    """A resolver gave no usable response; `failure` is the class of it."""

    def __init__(self, failure: Failure, text: str) -> None:
        super().__init__(text)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Server:
    """A resolver: an IP address and a port."""

    address: str
    port: int = 53

    @classmethod
    def parse(cls, text: str) -> "Server":
        """Read `address` or `address@port`. Raises ValueError for anything else."""
        address, at, port = text.partition("@")
        return cls(str(ipaddress.ip_address(address)), int(port) if at else 53)

    def __str__(self) -> str:
        """Give `address@port`."""
        return f"{self.address}@{self.port}"

    def is_trusted(self, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
        """Tell whether its AD bit may be believed: on loopback, or where the operator says so (RFC 4035 4.9.3)."""
        address = ipaddress.ip_address(self.address)
        return address.is_loopback or any(address in network for network in networks)


def system_servers(path: Path = Path("/etc/resolv.conf")) -> tuple[Server, ...]:
    """Read the system's resolvers, in order; none if the file is missing or names none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    servers = []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                servers.append(Server.parse(words[1].partition("%")[0]))
            except ValueError:
                continue  # the system's resolver library passes over such a line, too
    return tuple(servers)


async def exchange(
    server: Server, question: Question, *, patience: float, checking_disabled: bool = False
) -> dns.message.Message:
    """Ask and wait for at most `patience` seconds for UDP and again for TCP. Raises `NoResponse`."""
    try:
        name = dns.name.from_text(question.name, origin=dns.name.root)
        query = dns.message.make_query(
            name, dns.rdatatype.from_text(question.rdtype), use_edns=0, want_dnssec=True, payload=PAYLOAD
        )
    except (dns.exception.DNSException, UnicodeError) as error:
        raise NoResponse(Failure.MALFORMED, f"{question} is no question: {error}") from error
    query.flags |= dns.flags.AD
    if checking_disabled:
        query.flags |= dns.flags.CD
    try:
        response, _ = await dns.asyncquery.udp_with_fallback(
            query, server.address, patience, server.port, ignore_unexpected=True,
            # a datagram that does not fit may be somebody else's, except where nobody else can send any
            ignore_errors=not ipaddress.ip_address(server.address).is_loopback,
        )  # fmt: skip
    except dns.exception.Timeout as error:
        raise NoResponse(Failure.TIMEOUT, f"{server} did not answer within {patience:g} s") from error
    except (dns.query.BadResponse, dns.exception.DNSException, ValueError) as error:
        raise NoResponse(Failure.MALFORMED, f"{server} answered with what is no DNS message: {error!r}") from error
    except EOFError as error:
        raise NoResponse(Failure.TRUNCATED, f"{server} cut the answer off, over TCP as well") from error
    except OSError as error:
        raise NoResponse(Failure.NETWORK, f"{server} cannot be reached: {error}") from error
    if response.flags & dns.flags.TC:
        raise NoResponse(Failure.TRUNCATED, f"{server} cut the answer off, over TCP as well")
    return response
