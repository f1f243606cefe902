"""Signed zone trees in memory: zones below one apex, below a root that all trees share, with a clock that stands still.

A `Tree` says what there is; `built` makes it, and signs each record set when it is first asked for. Names of zones and
records are relative, so that a tree can stand below any label: `{apex}` in a record is the apex. Every zone that is in a
tree is delegated by the zone above it, and has SOA, NS and the address of its name server without being told so.
"""

import base64
import functools
import hashlib
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdtypes.ANY.NSEC
import dns.rdtypes.ANY.NSEC3
import dns.rrset
import dns.zonefile
from dns.rdatatype import DNSKEY, DS, NS, NSEC, NSEC3, NSEC3PARAM, RRSIG, RdataType
from dns.rdtypes.util import Bitmap

from tests.dnssec.keys import ENTRY_POINT, ZONE_KEY, Key, key, template

TTL = 300
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)  # the clock of all trees
DAY = 86400
_AT = int(NOW.timestamp())
_IN = dns.rdataclass.IN
_START = "@ SOA ns hostmaster 1 3600 900 604800 300\n@ NS ns\nns A 127.0.0.1\n"

Sets = list[dns.rrset.RRset]


@dataclass(frozen=True, slots=True)
class Denial:
    """How a zone denies: NSEC, or NSEC3 with a salt (hexadecimal), extra iterations and opt-out (RFC 5155)."""

    nsec3: bool = False
    salt: str = ""
    iterations: int = 0
    opt_out: bool = False


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone: `name` is relative to the apex ("" is the apex itself), records are lines of a zone file.

    `secure` says that the parent has a DS record of it; `digests` are those of DS. With `split`, one key signs the keys
    and another all else. Flags and protocol are those of the keys.
    """

    name: str = ""
    records: tuple[str, ...] = ()
    algorithm: int = 15
    signed: bool = True
    secure: bool = True
    denial: Denial = Denial()
    split: bool = False
    digests: tuple[int, ...] = (2,)
    flags: int = ZONE_KEY
    protocol: int = 3


ROOT = Zone(".", algorithm=13, split=True)


@dataclass(frozen=True, slots=True)
class Tree:
    """Zones at and below the apex, one label below the root; times are seconds of the epoch."""

    zones: tuple[Zone, ...] = ()
    apex: str = "example"
    inception: int = _AT - 10 * DAY
    expiration: int = _AT + 10 * DAY

    @property
    def anchor(self) -> str:
        """Give the trust anchor, a DS record in text: that of the root, the same for all trees."""
        return f". {TTL} IN DS {_key_of(ROOT, 0, ENTRY_POINT).ds(dns.name.root).to_text()}"

    def absolute(self, relative: str) -> dns.name.Name:
        """Give the name of what is named relative to the apex; "" is the apex, and "." the root."""
        return dns.name.from_text(relative or "@", dns.name.from_text(self.apex))


class SignedZone:
    """A zone of a tree with its keys, its signatures and the chain of its denials."""

    def __init__(self, tree: Tree, spec: Zone, origin: dns.name.Name) -> None:
        self.tree, self.spec, self.origin = tree, spec, origin
        depth = len(origin) - 1
        self.entry = _key_of(spec, depth, ENTRY_POINT)  # signs the keys
        self.signer = _key_of(spec, depth, 0) if spec.split else self.entry  # signs all else
        self.sets: dict[dns.name.Name, dict[RdataType, dns.rrset.RRset]] = {}
        self._signatures: dict[tuple[dns.name.Name, RdataType], dns.rrset.RRset] = {}
        self._hashes: dict[dns.name.Name, bytes] = {}
        text = _START + "\n".join(spec.records).replace("{apex}", tree.apex)
        for rrset in dns.zonefile.read_rrsets(text, origin=origin, relativize=False, default_ttl=TTL):
            self.add(rrset)
        if spec.signed:
            keys = {one.dnskey for one in (self.entry, self.signer)}
            self.add(record_set(origin, DNSKEY, keys))
            if spec.denial.nsec3:
                salt = spec.denial.salt or "-"
                text = f"1 0 {spec.denial.iterations} {salt}"
                self.add(dns.rrset.from_text(origin, TTL, _IN, NSEC3PARAM, text))

    def add(self, rrset: dns.rrset.RRset) -> None:
        """Add records."""
        kept = self.sets.setdefault(rrset.name, {}).setdefault(rrset.rdtype, rrset)
        if kept is not rrset:
            kept.union_update(rrset)  # type: ignore[no-untyped-call] # as in the library

    def delegate(self, child: "SignedZone") -> None:
        """Add NS and, where that is wanted, DS of a zone below."""
        self.add(record_set(child.origin, NS, child.sets[child.origin][NS]))
        if child.spec.signed and child.spec.secure:
            self.add(record_set(child.origin, DS, (child.entry.ds(child.origin, one) for one in child.spec.digests)))

    # What there is

    def cut(self, name: dns.name.Name) -> dns.name.Name | None:
        """Give the zone cut at or above a name of this zone, if there is one."""
        for depth in range(len(self.origin) + 1, len(name) + 1):
            above = name.split(depth)[1]
            if NS in self.sets.get(above, {}):
                return above
        return None

    @functools.cached_property
    def own(self) -> frozenset[dns.name.Name]:
        """All names with records of this zone, cuts included, what lies below cuts excluded."""
        return frozenset(name for name in self.sets if self.cut(name) in {None, name})

    @functools.cached_property
    def existing(self) -> frozenset[dns.name.Name]:
        """All names that exist, empty non-terminals included (RFC 4592 section 2.2.2)."""
        return self._with_parents(self.own)

    def _with_parents(self, names: Iterable[dns.name.Name]) -> frozenset[dns.name.Name]:
        depth = len(self.origin)
        return frozenset(name.split(end)[1] for name in names for end in range(depth, len(name) + 1))

    def encloser(self, name: dns.name.Name) -> dns.name.Name:
        """Give the closest encloser of a name that does not exist (RFC 4592 section 3.3.1)."""
        while name not in self.existing:
            name = name.parent()
        return name

    def types(self, name: dns.name.Name) -> set[RdataType]:
        """Give the types that the denial at a name says there are (RFC 4034 section 4.1.2, RFC 5155 section 7.1)."""
        found = set(self.sets.get(name, {}))
        if self.cut(name) == name:
            found &= {NS, DS}
        if not self.spec.denial.nsec3:
            found |= {RRSIG, NSEC}
        elif found - {NS} or (found and self.cut(name) is None):
            found.add(RRSIG)
        return found

    # Signatures

    def shown(self, rrset: dns.rrset.RRset, owner: dns.name.Name | None = None) -> Sets:
        """Give a record set and its signature, if the zone is signed; with another owner if that of a wildcard."""
        cut = self.cut(rrset.name)
        unsigned = not self.spec.signed or (cut is not None and (rrset.rdtype not in {DS, NSEC} or cut != rrset.name))
        shown = [rrset] if unsigned else [rrset, self.signature(rrset)]
        return [record_set(owner or one.name, one.rdtype, one, one.covers) for one in shown]

    def signature(self, rrset: dns.rrset.RRset) -> dns.rrset.RRset:
        """Give the signature over a record set of this zone."""
        place = (rrset.name, rrset.rdtype)
        if place not in self._signatures:
            self._signatures[place] = self.sign(rrset)
        return self._signatures[place]

    def sign(self, rrset: dns.rrset.RRset, by: Key | None = None) -> dns.rrset.RRset:
        """Sign a record set, whatever it is, with the key of the zone for it or another."""
        by = by or (self.entry if rrset.rdtype == DNSKEY else self.signer)
        blank = template(rrset, by, self.origin, self.tree.inception, self.tree.expiration)
        return record_set(rrset.name, RRSIG, [by.sign(rrset, blank)], rrset.rdtype)

    # Denials

    def hash(self, name: dns.name.Name) -> bytes:
        """Hash a name (RFC 5155 section 5)."""
        if name not in self._hashes:
            salt = bytes.fromhex(self.spec.denial.salt)
            octets = name.to_digestable()
            for _ in range(self.spec.denial.iterations + 1):
                octets = hashlib.sha1(octets + salt).digest()
            self._hashes[name] = octets
        return self._hashes[name]

    @functools.cached_property
    def denied(self) -> frozenset[dns.name.Name]:
        """The names that have a denial of their own (RFC 4034 section 4, RFC 5155 section 7.1)."""
        if not self.spec.denial.nsec3:
            return self.own
        if not self.spec.denial.opt_out:
            return self.existing
        return self._with_parents(name for name in self.own if self.cut(name) is None or DS in self.sets[name])

    @functools.cached_property
    def _chain(self) -> list[tuple[bytes | dns.name.Name, dns.name.Name]]:
        if self.spec.denial.nsec3:
            return sorted((self.hash(name), name) for name in self.denied)
        return [(name, name) for name in sorted(self.denied)]

    def covering(self, name: dns.name.Name) -> Sets:
        """Give the denial whose span holds a name, or which is of it."""
        if not self.spec.signed:
            return []
        wanted = self.hash(name) if self.spec.denial.nsec3 else name
        place = bisect_right([before for before, _ in self._chain], wanted) - 1
        owner, following = self._chain[place], self._chain[(place + 1) % len(self._chain)]
        return self.shown(self._denial(owner[1], following[0]))

    def matching(self, name: dns.name.Name) -> Sets:
        """Give the denial of a name that has one."""
        if self.spec.signed and name not in self.denied:
            raise LookupError(f"{self.origin} has no denial of {name}")
        return self.covering(name)

    def _denial(self, name: dns.name.Name, following: bytes | dns.name.Name) -> dns.rrset.RRset:
        denial = self.spec.denial
        windows = Bitmap.from_rdtypes(sorted(self.types(name))).windows
        if isinstance(following, dns.name.Name):
            nsec = dns.rdtypes.ANY.NSEC.NSEC(_IN, NSEC, following, windows)  # type: ignore[no-untyped-call]
            return record_set(name, NSEC, [nsec])
        owner = dns.name.Name((base64.b32hexencode(self.hash(name)).lower(), *self.origin.labels))
        salt = bytes.fromhex(denial.salt)
        data = dns.rdtypes.ANY.NSEC3.NSEC3(  # type: ignore[no-untyped-call]
            _IN, NSEC3, 1, int(denial.opt_out), denial.iterations, salt, following, windows
        )
        return record_set(owner, NSEC3, [data])


class Built:
    """The zones of a tree by origin."""

    def __init__(self, tree: Tree) -> None:
        specs = {dns.name.root: ROOT} | {tree.absolute(spec.name): spec for spec in tree.zones}
        self.tree = tree
        self.zones = {origin: SignedZone(tree, specs[origin], origin) for origin in sorted(specs)}
        for zone in self.zones.values():
            if zone.origin != dns.name.root:
                self.of(zone.origin.parent()).delegate(zone)

    def of(self, name: dns.name.Name, rdtype: RdataType | None = None) -> SignedZone:
        """Give the zone with the records of a name; DS of a zone stands above it (RFC 4035 section 3.1.4.1)."""
        if rdtype == DS and name in self.zones and name != dns.name.root:
            name = name.parent()
        while name not in self.zones:
            name = name.parent()
        return self.zones[name]


@functools.lru_cache(maxsize=64)
def built(tree: Tree) -> Built:
    """Make a tree; the last trees are kept."""
    return Built(tree)


def _key_of(spec: Zone, depth: int, entry: int) -> Key:
    """Give a key of a zone: zones of one depth and algorithm share theirs, so that the signer's name matters."""
    return key(spec.algorithm, 2 * depth + 1 - entry, spec.flags | entry, spec.protocol)


def record_set(
    owner: dns.name.Name, rdtype: RdataType, records: Iterable[dns.rdata.Rdata], covers: RdataType = RdataType.NONE
) -> dns.rrset.RRset:
    """Make a record set."""
    rrset = dns.rrset.RRset(owner, _IN, rdtype, covers)
    for record in records:
        rrset.add(record, TTL)
    return rrset
