"""What can be changed in the zones of a scene before they are signed: their keys, and the DS records of these.

Keys come from numbers, also those of RSA, so that a scene gives the same story in every run.
"""

import functools
import hashlib
from collections.abc import Callable, Iterable

import dns.dnssec
import dns.name
import dns.rdtypes.ANY.DS
from cryptography.hazmat.primitives.asymmetric import rsa
from dns.dnssectypes import Algorithm
from dns.rdatatype import DNSKEY, DS

from tests.dnssec.keys import ENTRY_POINT, ZONE_KEY, Key, key
from tests.dnssec.scenes import Prepare, World
from tests.dnssec.zones import record_set


def add_key(by: Key, zone: str = "") -> Prepare:
    """Let a zone have one more key."""

    def prepare(world: World) -> None:
        there = world.zone(zone)
        there.sets[there.origin][DNSKEY].add(by.dnskey, 300)

    return prepare


def rekey(entry: Key, signer: Key | None = None, zone: str = "") -> Prepare:
    """Give a zone other keys, and the zone above the DS record of the first."""

    def prepare(world: World) -> None:
        there = world.zone(zone)
        there.entry, there.signer = entry, signer or entry
        keys = {one.dnskey: None for one in (there.entry, there.signer)}
        there.sets[there.origin][DNSKEY] = record_set(there.origin, DNSKEY, keys)
        if there.origin != dns.name.root:
            put_ds(lambda origin: [entry.ds(origin)], zone)(world)

    return prepare


def put_ds(made: Callable[[dns.name.Name], Iterable[dns.rdtypes.ANY.DS.DS]], zone: str = "") -> Prepare:
    """Let the zone above have other DS records of a zone."""

    def prepare(world: World) -> None:
        origin = world.tree.absolute(zone)
        above = world.built.of(origin, DS)
        above.sets[origin][DS] = record_set(origin, DS, made(origin))

    return prepare


def own(number: int = 3, algorithm: int = 15, flags: int = ZONE_KEY | ENTRY_POINT, protocol: int = 3) -> Key:
    """Give a key; the zone example has that of number 2, its zones below that of 4, then 6, and the root 0 and 1."""
    return key(algorithm, number, flags, protocol)


@functools.cache
def rsa_key(algorithm: int, number: int) -> Key:
    """Give an RSA key of 1024 bits that is the same in every run."""
    first, second = (_prime(f"{algorithm}/{number}/{place}") for place in "pq")
    exponent = 65537
    private = pow(exponent, -1, (first - 1) * (second - 1))
    numbers = rsa.RSAPrivateNumbers(
        first, second, private, private % (first - 1), private % (second - 1), pow(second, -1, first),
        rsa.RSAPublicNumbers(exponent, first * second),
    )  # fmt: skip
    made = numbers.private_key()
    flags = ZONE_KEY | ENTRY_POINT
    return Key(made, dns.dnssec.make_dnskey(made.public_key(), Algorithm(algorithm), flags))


def _prime(seed: str) -> int:
    """Give the first prime after 512 bits that come from a seed and begin with 11."""
    found = int.from_bytes(hashlib.sha512(seed.encode()).digest()) | 3 << 510 | 1
    while any(found % small == 0 for small in (3, 5, 7, 11, 13)) or any(
        pow(base, found - 1, found) != 1 for base in (2, 3, 5, 7)
    ):
        found += 2
    return found
