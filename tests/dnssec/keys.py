"""Keys of signed zones: a few of each algorithm, made once in a process and used in all trees.

Keys of elliptic curves come from their number, so they are the same in every run, and so are their signatures. RSA keys
are made anew in each process, and small, as they are made to be thrown away.
"""

import functools
import hashlib
import struct
from dataclasses import dataclass
from typing import cast

import dns.dnssec
import dns.name
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from dns.dnssecalgs import get_algorithm_cls_from_dnskey
from dns.dnssectypes import Algorithm, DSDigest
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG

ALGORITHMS = (5, 7, 8, 10, 13, 14, 15, 16)
ZONE_KEY, ENTRY_POINT, REVOKED = 256, 1, 128  # flags (RFC 4034 section 2.1.1, RFC 5011 section 7)
FOREIGN = 90  # the number of keys that no zone has

_Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair, its public half as a zone has it."""

    private: _Private
    dnskey: DNSKEY

    @property
    def tag(self) -> int:
        """Give the key tag (RFC 4034 appendix B)."""
        return dns.dnssec.key_id(self.dnskey)

    def ds(self, owner: dns.name.Name, digest: int = 2) -> DS:
        """Make the DS record that a parent has of the key."""
        return dns.dnssec.make_ds(owner, self.dnskey, DSDigest(digest), policy=dns.dnssec.allow_all_policy)

    def sign(self, rrset: dns.rrset.RRset, template: RRSIG) -> RRSIG:
        """Sign a record set as another signature says, all but its last field, be that right or wrong."""
        signer = get_algorithm_cls_from_dnskey(self.dnskey)(key=self.private)
        signed = template.replace(signature=signer.sign(_signed_octets(rrset, template), verify=False))
        assert isinstance(signed, RRSIG)
        return signed


def template(rrset: dns.rrset.RRset, by: Key, signer: dns.name.Name, inception: int, expiration: int) -> RRSIG:
    """Make a signature without its last field; times are seconds of the epoch (RFC 4034 section 3.1)."""
    return RRSIG(  # type: ignore[no-untyped-call]
        rrset.rdclass, dns.rdatatype.RRSIG, rrset.rdtype, by.dnskey.algorithm,
        len(rrset.name) - 1 - rrset.name.is_wild(), rrset.ttl, expiration, inception, by.tag, signer, b"",
    )  # fmt: skip


def _signed_octets(rrset: dns.rrset.RRset, template: RRSIG) -> bytes:
    """Give what is signed (RFC 4034 section 3.1.8.1); a label count that cannot be is passed over."""
    template = cast(RRSIG, template.replace(signature=b""))
    owner = rrset.name
    if template.labels < len(owner) - 1 - owner.is_wild():
        owner = dns.name.Name((b"*", *owner.labels[-template.labels - 1 :]))
    head = owner.to_digestable() + struct.pack("!HHI", rrset.rdtype, rrset.rdclass, template.original_ttl)
    records = sorted(record.to_digestable() for record in rrset)
    return template.to_digestable() + b"".join(head + struct.pack("!H", len(one)) + one for one in records)


@functools.cache
def key(algorithm: int, number: int, flags: int = ZONE_KEY, protocol: int = 3) -> Key:
    """Give the key of an algorithm that has the number; flags and protocol change the record, not the pair."""
    private = _private(algorithm, number)
    return Key(private, dns.dnssec.make_dnskey(private.public_key(), Algorithm(algorithm), flags, protocol))


@functools.cache
def _private(algorithm: int, number: int) -> _Private:
    seed = hashlib.sha512(f"{algorithm}/{number}".encode()).digest()
    match Algorithm(algorithm):
        case Algorithm.ECDSAP256SHA256:
            return ec.derive_private_key(int.from_bytes(seed[:31]), ec.SECP256R1())
        case Algorithm.ECDSAP384SHA384:
            return ec.derive_private_key(int.from_bytes(seed[:47]), ec.SECP384R1())
        case Algorithm.ED25519:
            return ed25519.Ed25519PrivateKey.from_private_bytes(seed[:32])
        case Algorithm.ED448:
            return ed448.Ed448PrivateKey.from_private_bytes(seed[:57])
        case Algorithm.RSASHA1 | Algorithm.RSASHA1NSEC3SHA1 | Algorithm.RSASHA256 | Algorithm.RSASHA512:
            return rsa.generate_private_key(public_exponent=65537, key_size=1024)
        case _:
            raise ValueError(f"there are no keys of algorithm {algorithm}")
