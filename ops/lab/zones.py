"""The zones of the lab: root, `lab.`, a zone of hosts signed and one unsigned, and a zone for each domain.

`build` writes them with dnspython, signs them with ECDSA P-256 (NSEC), puts a DS record of each signed child into its
parent, and then damages what the scenarios want damaged, so that the damage is in the zone data and the server itself
plays no tricks. A zone that is not signed gets no DS, which its parent's NSEC records prove.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import dns.dnssec
import dns.dnssectypes
import dns.name
import dns.node
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.DNSKEY
import dns.rdtypes.ANY.DS
import dns.rdtypes.ANY.RRSIG
import dns.rrset
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from ops.lab.certificates import Identity, tlsa_data
from ops.lab.scenario import HOSTS, PLAIN_HOSTS, TLD, Breakage, Damage, Host, Scenario

TTL = 300
_DAY = 86400
_ALGORITHM = dns.dnssectypes.Algorithm.ECDSAP256SHA256
_UNKNOWN_ALGORITHM = 200  # unassigned (IANA, DNS security algorithm numbers)
_KEY_FLAGS = 257  # zone key and secure entry point: one key signs all of a zone
_SOA = "ns.lab. hostmaster.lab. 1 3600 900 604800 300"


@dataclass(frozen=True, slots=True)
class Tree:
    """All zones by origin, and the trust anchor of the root as a line of a zone file."""

    zones: Mapping[dns.name.Name, dns.zone.Zone]
    anchor: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A host of a scenario with the address it got and the certificate it shows."""

    scenario: Scenario
    host: Host
    address: str
    identity: Identity


class _Zone:
    """A zone in the making, with its key if it is to be signed."""

    def __init__(self, origin: str, *, signed: bool) -> None:
        self.origin = dns.name.from_text(origin)
        self.zone = dns.zone.Zone(self.origin, relativize=False)
        self.private = ec.generate_private_key(ec.SECP256R1()) if signed else None
        self.dnskey: dns.rdtypes.ANY.DNSKEY.DNSKEY | None = None
        if self.private is not None:
            self.dnskey = dns.dnssec.make_dnskey(self.private.public_key(), _ALGORITHM, flags=_KEY_FLAGS)
        self.add(origin, "SOA", _SOA)
        self.add(origin, "NS", "ns.lab.")

    def add(self, owner: str, rdtype: str, *texts: str) -> None:
        """Add records."""
        name = dns.name.from_text(owner)
        kind = dns.rdatatype.from_text(rdtype)
        rdataset = self.zone.find_rdataset(name, kind, create=True)
        for text in texts:
            rdataset.add(dns.rdata.from_text(dns.rdataclass.IN, kind, text), TTL)

    def add_tlsa(self, owner: str, usage: int, selector: int, mtype: int, data: bytes) -> None:
        """Add a TLSA record as opaque octets, as the library refuses to make malformed ones."""
        name, kind = dns.name.from_text(owner), dns.rdatatype.TLSA
        record = dns.rdata.GenericRdata(dns.rdataclass.IN, kind, bytes([usage, selector, mtype]) + data)
        self.zone.find_rdataset(name, kind, create=True).add(record, TTL)

    def sign(self) -> None:
        """Sign the zone, if it has a key."""
        if self.private is None or self.dnskey is None:
            return
        now = int(time.time())
        dns.dnssec.sign_zone(
            self.zone, keys=[(self.private, self.dnskey)], inception=now - _DAY, expiration=now + 14 * _DAY
        )

    def ds(self) -> dns.rdtypes.ANY.DS.DS:
        """Make the DS record that the parent has."""
        if self.dnskey is None:
            raise ValueError(f"{self.origin} is not signed")
        return dns.dnssec.make_ds(self.origin, self.dnskey, dns.dnssectypes.DSDigest.SHA256)

    def damage(self, breakage: Breakage, owner: str) -> None:
        """Damage signatures or denials of one record set."""
        name, kind = dns.name.from_text(owner), dns.rdatatype.from_text(breakage.rdtype)
        match breakage.damage:
            case Damage.EXPIRED:
                self._resign(name, kind, back=30 * _DAY)
            case Damage.FORGED:
                self._forge(name, kind)
            case Damage.UNPROVEN:
                self.zone.delete_rdataset(name, dns.rdatatype.NSEC)
                self.zone.delete_rdataset(name, dns.rdatatype.RRSIG, dns.rdatatype.NSEC)
            case Damage.WRONG_DS | Damage.UNKNOWN_ALGORITHM:
                raise ValueError(f"{breakage.damage} is done to the parent")

    def _resign(self, name: dns.name.Name, kind: dns.rdatatype.RdataType, *, back: int) -> None:
        """Sign a record set as it was signed some time ago: the signature fits, and has expired."""
        if self.private is None or self.dnskey is None:
            raise ValueError(f"{self.origin} is not signed")
        rrset = dns.rrset.from_rdata_list(name, TTL, list(self.zone.find_rdataset(name, kind)))
        end = int(time.time()) - back
        signature = dns.dnssec.sign(
            rrset, self.private, self.origin, self.dnskey, inception=end - 14 * _DAY, expiration=end
        )
        self._replace_signature(name, signature)

    def _forge(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> None:
        old = self.zone.find_rdataset(name, dns.rdatatype.RRSIG, kind)[0]
        self._replace_signature(name, old.replace(signature=bytes(64)))

    def _replace_signature(self, name: dns.name.Name, signature: dns.rdata.Rdata) -> None:
        self.zone.replace_rdataset(name, dns.rdataset.from_rdata(TTL, signature))


def tlsa_owner(name: str, port: int) -> str:
    """Give the name at which TLSA records of a host stand (RFC 7672 section 2.2.3)."""
    return f"_{port}._tcp.{name}"


def build(scenarios: Sequence[Scenario], placed: Iterable[Placed], port: int) -> Tree:
    """Build the whole tree; `port` is the SMTP port that TLSA names bear."""
    zones = {name: _Zone(name, signed=signed) for name, signed in ((HOSTS, True), (PLAIN_HOSTS, False))}
    for scenario in scenarios:
        if scenario.exists:
            zones[scenario.domain] = _Zone(scenario.domain, signed=scenario.signed)
    for one in placed:
        _add_host(zones, one, port)
    for scenario in scenarios:
        _add_domain(zones, scenario)
    tld, root = _Zone(TLD, signed=True), _Zone(".", signed=True)
    tld.add("ns.lab", "A", "127.77.0.1")
    wrong = {s.domain: b.damage for s in scenarios for b in s.breakage if b.damage in _AT_PARENT}
    for zone in zones.values():
        zone.sign()
        _delegate(tld, zone, wrong.get(zone.origin.to_text(omit_final_dot=True)))
    tld.sign()
    _delegate(root, tld, None)
    root.sign()
    for scenario in scenarios:
        for breakage in scenario.breakage:
            if breakage.damage not in _AT_PARENT:
                owner = scenario.absolute(breakage.name)
                owner = tlsa_owner(owner, port) if breakage.rdtype == "TLSA" else owner
                zones[scenario.domain].damage(breakage, owner)
    everything = [root, tld, *zones.values()]
    return Tree({zone.origin: zone.zone for zone in everything}, f". {TTL} IN DS {root.ds().to_text()}")


_AT_PARENT = frozenset({Damage.WRONG_DS, Damage.UNKNOWN_ALGORITHM})


def _zone_of(zones: Mapping[str, _Zone], name: str) -> _Zone:
    """Find the zone that a name belongs to."""
    while name:
        if name in zones:
            return zones[name]
        name = name.partition(".")[2]
    raise ValueError("a host of a scenario is in no zone of the lab")


def _add_host(zones: Mapping[str, _Zone], one: Placed, port: int) -> None:
    scenario, host = one.scenario, one.host
    name, canonical = scenario.absolute(host.name), scenario.canonical(host)
    _zone_of(zones, canonical).add(canonical, "A", one.address)
    if name != canonical:
        _zone_of(zones, name).add(name, "CNAME", f"{canonical}.")
    base = scenario.absolute(host.tlsa_at) if host.tlsa_at else canonical
    owner = tlsa_owner(base, port)
    zone = _zone_of(zones, base)
    if host.exists_below:
        zone.add(owner, "TXT", '"there are no TLSA records here"')
    for record in host.tlsa:
        zone.add_tlsa(owner, record.usage, record.selector, record.mtype, tlsa_data(record, one.identity))


def _add_domain(zones: Mapping[str, _Zone], scenario: Scenario) -> None:
    if not scenario.exists:
        return
    zone = zones[scenario.domain]
    if scenario.null_mx:
        zone.add(scenario.domain, "MX", "0 .")
    for host in scenario.hosts:
        if host.by_mx:
            zone.add(scenario.domain, "MX", f"{host.preference} {scenario.absolute(host.name)}.")


def _delegate(parent: _Zone, child: _Zone, damage: Damage | None) -> None:
    """Put the child's NS and, if it is signed, DS into the parent (RFC 4035 section 2.4)."""
    origin = child.origin.to_text()
    parent.add(origin, "NS", "ns.lab.")
    if child.dnskey is None:
        return
    ds = child.ds()
    if damage is Damage.WRONG_DS:
        ds = _Zone(origin, signed=True).ds()
    elif damage is Damage.UNKNOWN_ALGORITHM:
        text = f"{ds.key_tag} {_UNKNOWN_ALGORITHM} {int(ds.digest_type)} {ds.digest.hex()}"
        parent.add(origin, "DS", text)
        return
    parent.add(origin, "DS", ds.to_text())
