"""One question to one resolver, over the wire: UDP with EDNS 1232 and DO, TCP when the answer was cut off.

`exchange` returns the response whatever its RCODE says, and `fetch` its octets, from which the message is made only
where it is needed. Where there is none they raise `NoResponse`, which says how it failed. Each query has a random id
and a socket of its own, that is a random port, to which the system passes only what comes from the resolver; a datagram
whose id or question does not fit is passed over.
"""

import asyncio
import ipaddress
import secrets
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from stages.answer import Failure, Question

PAYLOAD = 1232  # octets that pass every path unfragmented (DNS flag day 2020)
_HEAD = 12  # octets before the question (RFC 1035 section 4.1.1)
_COUNTS = struct.Struct("!HHH")  # records of each section, at octet 6
_OPCODE, _RCODE = 0x7800, 0x000F
_EDNS = struct.pack("!BHHIH", 0, dns.rdatatype.OPT, PAYLOAD, dns.flags.DO, 0)  # RFC 6891 section 6.1, RFC 3225
_UNREAD = frozenset({dns.rcode.FORMERR, dns.rcode.SERVFAIL, dns.rcode.NOTIMP, dns.rcode.REFUSED})


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
        address, at, digits = text.partition("@")
        port = int(digits) if at else 53
        if not 0 < port < 2**16:
            raise ValueError(f"there is no port {port}")
        return cls(str(ipaddress.ip_address(address)), port)

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


@dataclass(frozen=True, slots=True)
class Response:
    """The octets of a response to our question that is not cut off; what they hold is not read yet."""

    server: Server
    wire: bytes

    def message(self) -> dns.message.Message:
        """Read them. Raises `NoResponse`."""
        try:
            return dns.message.from_wire(self.wire)
        except (dns.exception.DNSException, ValueError) as error:
            raise _malformed(self.server, error) from error


async def exchange(
    server: Server,
    question: Question,
    *,
    patience: float,
    checking_disabled: bool = False,
    most_records: int = 4 * 65_535,
    only_tcp: bool = False,
) -> dns.message.Message:
    """Ask, and read the response. Takes and raises what `fetch` does."""
    response = await fetch(
        server,
        question,
        patience=patience,
        checking_disabled=checking_disabled,
        most_records=most_records,
        only_tcp=only_tcp,
    )
    return response.message()


async def fetch(
    server: Server,
    question: Question,
    *,
    patience: float,
    checking_disabled: bool = False,
    most_records: int = 4 * 65_535,
    only_tcp: bool = False,
) -> Response:
    """Ask and wait for at most `patience` seconds for UDP and again for TCP. Raises `NoResponse`.

    A message with more than `most_records` records is refused unread.
    """
    query = _query(question, checking_disabled=checking_disabled)
    try:
        wire = b""
        if not only_tcp:
            async with asyncio.timeout(patience):
                wire = await _over_udp(server, query)
        if only_tcp or _flags(wire) & dns.flags.TC:
            async with asyncio.timeout(patience):
                wire = await _over_tcp(server, query)
    except TimeoutError as error:  # an OSError, too
        raise NoResponse(Failure.TIMEOUT, f"{server} did not answer within {patience:g} s") from error
    except ValueError as error:
        raise _malformed(server, error) from error
    except EOFError as error:
        raise NoResponse(Failure.TRUNCATED, f"{server} cut the answer off, over TCP as well") from error
    except OSError as error:
        raise NoResponse(Failure.NETWORK, f"{server} cannot be reached: {error}") from error
    if sum(_COUNTS.unpack_from(wire, 6)) > most_records:
        raise NoResponse(Failure.INDETERMINATE, f"{server} answered with more than {most_records} records")
    if _flags(wire) & dns.flags.TC:
        raise NoResponse(Failure.TRUNCATED, f"{server} cut the answer off, over TCP as well")
    return Response(server, wire)


def _malformed(server: Server, error: Exception) -> NoResponse:
    return NoResponse(Failure.MALFORMED, f"{server} answered with what is no DNS message: {error!r}")


def _query(question: Question, *, checking_disabled: bool) -> bytes:
    """Write the message that asks, with a random id. Raises `NoResponse` for a name or type that cannot be asked."""
    try:
        name = dns.name.from_text(question.name, origin=dns.name.root).to_wire()
        rdtype = dns.rdatatype.from_text(question.rdtype)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise NoResponse(Failure.MALFORMED, f"{question} is no question: {error}") from error
    assert name is not None  # noqa: S101 - None comes only where there is a file to write to
    flags = dns.flags.RD | dns.flags.AD | (dns.flags.CD if checking_disabled else 0)
    head = struct.pack("!HHHHHH", secrets.randbits(16), flags, 1, 0, 0, 1)
    return head + name + struct.pack("!HH", rdtype, dns.rdataclass.IN) + _EDNS


def _flags(wire: bytes) -> int:
    return int.from_bytes(wire[2:4], "big")


def _fits(wire: bytes, query: bytes) -> bool:
    """Tell whether octets begin as the response to a query does: id, QR, opcode, question (RFC 5452 section 9.1).

    Where the resolver could not read the query, it need not repeat the question.
    """
    if len(wire) < _HEAD or wire[:2] != query[:2] or _flags(wire) & (dns.flags.QR | _OPCODE) != dns.flags.QR:
        return False
    count = int.from_bytes(wire[4:6], "big")
    if count == 0:
        return _flags(wire) & _RCODE in _UNREAD
    asked, repeated = query[_HEAD : -len(_EDNS)], wire[_HEAD : len(query) - len(_EDNS)]
    # a length octet is no letter, but type and class may look like one
    return count == 1 and repeated[:-4].lower() == asked[:-4].lower() and repeated[-4:] == asked[-4:]


async def _over_udp(server: Server, query: bytes) -> bytes:
    """Ask from a port that the system picks at random for this query; from elsewhere, nothing gets in."""
    loop = asyncio.get_running_loop()
    with _socket(server, socket.SOCK_DGRAM) as udp:
        udp.connect((server.address, server.port))
        await loop.sock_sendall(udp, query)
        while True:
            wire = await loop.sock_recv(udp, 65_535)
            if _fits(wire, query):
                return wire
            # a datagram that does not fit may be somebody else's, except where nobody else can send any
            if ipaddress.ip_address(server.address).is_loopback:
                raise ValueError("it does not fit the question")


async def _over_tcp(server: Server, query: bytes) -> bytes:
    """Ask over a connection of its own (RFC 7766). Raises EOFError if it ends before the response does."""
    loop = asyncio.get_running_loop()
    with _socket(server, socket.SOCK_STREAM) as tcp:
        await loop.sock_connect(tcp, (server.address, server.port))
        await loop.sock_sendall(tcp, len(query).to_bytes(2, "big") + query)
        wire = await _exactly(tcp, int.from_bytes(await _exactly(tcp, 2), "big"))
    if not _fits(wire, query):
        raise ValueError("it does not fit the question")
    return wire


async def _exactly(tcp: socket.socket, size: int) -> bytes:
    loop, octets = asyncio.get_running_loop(), bytearray()
    while len(octets) < size:
        more = await loop.sock_recv(tcp, size - len(octets))
        if not more:
            raise EOFError
        octets += more
    return bytes(octets)


def _socket(server: Server, kind: socket.SocketKind) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in server.address else socket.AF_INET, kind)
    made.setblocking(False)  # noqa: FBT003 - socket's own signature
    return made
