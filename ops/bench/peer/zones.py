"""The signed DNS of the comparison: the root, `bench.` with all destinations, and a zone that is bogus.

Each destination is a name with an MX record, a host of its own with an address of its own, and a TLSA record 3 1 1 of
the one key that the far end has; each record set has its own signature (ECDSA P-256), each denial its NSEC. That they
stand in one zone saves time, and changes nothing for a server that asks a validating resolver. `serve` runs the
nameserver of the lab on them, for `ops.bench.dnssec.far`.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection

import dns.dnssec
import dns.dnssectypes
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.DS
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from ops.bench.hostile import until_closed
from ops.bench.peer.work import domain
from ops.lab.nameserver import Nameserver

BOGUS = "bogus.bench-canary"
_TTL = 86_400  # longer than any run: nothing is asked twice
_DAY = 86_400
_ALGORITHM = dns.dnssectypes.Algorithm.ECDSAP256SHA256
_SOA = "ns.bench. hostmaster.bench. 1 3600 900 604800 86400"
Record = tuple[str, str, str]  # owner, type, data


class Key:
    """A key that signs all of a zone."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._dnskey = dns.dnssec.make_dnskey(self._private.public_key(), _ALGORITHM, flags=257)

    def sign(self, origin: str, records: Iterable[Record]) -> dns.zone.Zone:
        """Make a signed zone."""
        zone = dns.zone.Zone(dns.name.from_text(origin), relativize=False)
        for owner, rdtype, data in ((origin, "SOA", _SOA), (origin, "NS", "ns.bench."), *records):
            kind = dns.rdatatype.from_text(rdtype)
            rdataset = zone.find_rdataset(dns.name.from_text(owner), kind, create=True)
            rdataset.add(dns.rdata.from_text(dns.rdataclass.IN, kind, data), _TTL)
        now = int(time.time())
        dns.dnssec.sign_zone(
            zone, keys=[(self._private, self._dnskey)], inception=now - _DAY, expiration=now + 14 * _DAY
        )
        return zone

    def ds(self, origin: str) -> str:
        """Write the DS record that the parent has for a zone that this key signs."""
        return dns.dnssec.make_ds(dns.name.from_text(origin), self._dnskey, dns.dnssectypes.DSDigest.SHA256).to_text()


def address(number: int) -> str:
    """Give the address of a destination's host, each its own."""
    return f"127.{number // 62_500 + 1}.{number // 250 % 250}.{number % 250 + 1}"


def _records(domains: int, tlsa: str) -> Iterator[Record]:
    yield "ns.bench.", "A", "127.0.0.1"
    for number in range(domains):
        name = f"{domain(number)}."
        yield name, "MX", f"10 mx.{name}"
        yield f"mx.{name}", "A", address(number)
        yield f"_25._tcp.mx.{name}", "TLSA", tlsa


def serve(pipe: Connection, domains: int, tlsa: str) -> None:
    """Serve so many destinations, all with this TLSA record, until the pipe is closed."""

    async def main() -> None:
        key, other = Key(), Key()
        delegations = (("bench.", "NS", "ns.bench."), ("bench.", "DS", key.ds("bench.")))
        wrong = ((f"{BOGUS}.", "NS", "ns.bench."), (f"{BOGUS}.", "DS", other.ds(f"{BOGUS}.")))
        zones = [
            key.sign(".", (*delegations, *wrong)),
            key.sign("bench.", _records(domains, tlsa)),
            key.sign(f"{BOGUS}.", ()),
        ]
        nameserver = Nameserver({zone.origin: zone for zone in zones if zone.origin is not None})
        await nameserver.open()
        pipe.send((nameserver.port, f". {_TTL} IN DS {key.ds('.')}"))
        await until_closed(pipe)
        await nameserver.close()

    asyncio.run(main())
