"""Sign record sets in tests, rightly and in every wrong way: what is signed is written down here a second time."""

import functools
import itertools
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import dns.name
import dns.rdata
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dns.dnssec import key_id
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG

from delivery.dnssec.limits import Budget, Rules
from delivery.dnssec.signatures import Broken, SignedSet, Verified, digest, verify

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ZONE = dns.name.from_text("example.com.")


@dataclass(frozen=True, slots=True)
class Pair:
    """An Ed25519 key pair with the DNSKEY record that goes with it."""

    private: Ed25519PrivateKey
    public: DNSKEY

    @property
    def tag(self) -> int:
        """Give the key tag as dnspython computes it."""
        return key_id(self.public)


@functools.cache
def pair(number: int, flags: int = 256, protocol: int = 3) -> Pair:
    """Make the same key pair for the same number."""
    private = Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))
    key = private.public_key().public_bytes_raw()
    return Pair(private, dnskey(struct.pack("!HBB", flags, protocol, 15) + key))


def dnskey(wire: bytes) -> DNSKEY:
    """Read a DNSKEY record as it comes off the wire."""
    rdata = dns.rdata.from_wire("IN", "DNSKEY", wire, 0, len(wire))
    assert isinstance(rdata, DNSKEY)
    return rdata


def twins() -> tuple[Pair, Pair]:
    """Find two good keys with one tag."""
    seen: dict[int, Pair] = {}
    for number in itertools.count(1):
        made = pair(number)
        if made.tag in seen:
            return seen[made.tag], made
        seen[made.tag] = made
    raise AssertionError


def impostors(key: DNSKEY, count: int) -> list[DNSKEY]:
    """Make other keys with the same tag: it is a sum of 16-bit words, and does not depend on their order."""
    head, words = key.to_digestable()[:4], [key.key[i : i + 2] for i in range(0, len(key.key), 2)]
    orders = itertools.islice(itertools.permutations(words), 1, count + 1)
    return [dnskey(head + b"".join(order)) for order in orders]


def ds_of(key: DNSKEY, kind: int = 2, *, zone: dns.name.Name = ZONE, octets: bytes = b"") -> DS:
    """Make the DS record of a key, or one with other octets for its digest."""
    wire = struct.pack("!HBB", key_id(key), key.algorithm, kind) + (octets or digest(zone, key, kind))
    rdata = dns.rdata.from_wire("IN", "DS", wire, 0, len(wire))
    assert isinstance(rdata, DS)
    return rdata


def records(name: str, rdtype: str, *rdatas: str, ttl: int = 3600) -> dns.rrset.RRset:
    """Make a record set."""
    return dns.rrset.from_text(name, ttl, "IN", rdtype, *rdatas)


def key_set(*keys: DNSKEY, ttl: int = 3600) -> dns.rrset.RRset:
    """Make the key set of the zone."""
    return dns.rrset.from_rdata_list(ZONE, ttl, list(keys))


def stamp(moment: datetime | int) -> int:
    """Give a moment as the 32 bits of a signature."""
    return (moment if isinstance(moment, int) else int(moment.timestamp())) % 2**32


def sign(
    rrset: dns.rrset.RRset,
    by: Pair,
    *,
    signer: dns.name.Name = ZONE,
    labels: int | None = None,
    inception: datetime | int = datetime(2026, 11, 10, tzinfo=UTC),
    expiration: datetime | int = datetime(2026, 12, 10, tzinfo=UTC),
    covers: str | None = None,
    tag: int | None = None,
    algorithm: int = 15,
    ttl: int = 3600,
    owner: str | None = None,
) -> RRSIG:
    """Sign a record set; each field of the signature can be another one than would be right."""
    name = dns.name.from_text(owner) if owner else rrset.name
    count = len(name) - 1 - name.is_wild() if labels is None else labels
    covered = rrset.rdtype if covers is None else dns.rdatatype.from_text(covers)
    head = struct.pack(
        "!HBBIIIH", covered, algorithm, count, ttl, stamp(expiration), stamp(inception), by.tag if tag is None else tag
    )
    head += signer.canonicalize().to_wire() or b""
    body = b""
    for octets in sorted(rdata.to_digestable() for rdata in rrset):
        body += (
            (name.canonicalize().to_wire() or b"") + struct.pack("!HHIH", rrset.rdtype, 1, ttl, len(octets)) + octets
        )
    wire = head + by.private.sign(head + body)
    rdata = dns.rdata.from_wire("IN", "RRSIG", wire, 0, len(wire))
    assert isinstance(rdata, RRSIG)
    return rdata


def check(
    rrset: dns.rrset.RRset,
    signatures: Iterable[RRSIG],
    keys: Iterable[DNSKEY],
    *,
    now: datetime = NOW,
    rules: Rules = Rules(),  # noqa: B008
    budget: Budget | None = None,
    zone: dns.name.Name = ZONE,
) -> Verified | Broken:
    """Verify a record set of the zone."""
    signed = SignedSet(rrset, tuple(signatures))
    return verify(signed, zone, tuple(keys), now, rules, Budget(rules) if budget is None else budget)
