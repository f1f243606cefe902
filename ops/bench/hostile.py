"""Zones made to cost as much as possible, and a server whose answers to them were made beforehand.

Whoever answers a question chooses how much there is to try (RFC 4035 section 5.4). Each `Story` is a question and its
zone: keys of one tag times signatures that fit none of them (CVE-2023-50387), a denial for a name of many labels by
NSEC3 with many iterations (CVE-2023-50868), aliases without end, more keys, records or denials than anyone needs, a
name of many labels that is not signed. Everything is signed as it must be to be looked at.
"""

import asyncio
import base64
import contextlib
import hashlib
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, cast

import dns.dnssec
import dns.dnssectypes
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from ops.lab.nameserver import both_ways
from stages.answer import Question

_DAY, _TTL = 86400, 300
_SOA = "ns. host. 1 3600 900 604800 300"
_PAYLOAD = 1232
_P384, _ED25519 = dns.dnssectypes.Algorithm.ECDSAP384SHA384, dns.dnssectypes.Algorithm.ED25519
_SHA256 = dns.dnssectypes.DSDigest.SHA256
Answers = dict[bytes, bytes]  # question section to message, from its flags on


@dataclass(frozen=True, slots=True)
class Story:
    """A hostile zone below the root: what is asked of it, and who makes its answers."""

    name: str
    question: Question
    make: Callable[["_Zone", Answers], None]


class _Zone:
    """A signed zone in the making."""

    def __init__(self, origin: str) -> None:
        self.origin = dns.name.from_text(origin)
        self.private: Any = ed25519.Ed25519PrivateKey.generate()
        self.dnskey: DNSKEY = dns.dnssec.make_dnskey(self.private.public_key(), _ED25519, flags=257)
        self.keys = [self.dnskey]

    def signed(self, rrset: dns.rrset.RRset, forged: Sequence[dns.rdata.Rdata] = ()) -> list[dns.rrset.RRset]:
        """Give a record set with its signatures: forged ones first, and one that is good."""
        now = int(time.time())
        good = dns.dnssec.sign(
            rrset, self.private, self.origin, self.dnskey, inception=now - _DAY, expiration=now + 14 * _DAY
        )
        return [rrset, dns.rrset.from_rdata_list(rrset.name, _TTL, [*forged, good])]

    def records(self, owner: dns.name.Name, rdtype: str, *texts: str) -> dns.rrset.RRset:
        """Make a record set."""
        return dns.rrset.from_text_list(owner, _TTL, "IN", rdtype, texts)

    def delegation(self) -> dns.rrset.RRset:
        """Make the DS record set that stands above."""
        return dns.rrset.from_rdata(self.origin, _TTL, dns.dnssec.make_ds(self.origin, self.dnskey, _SHA256))

    def key_set(self) -> dns.rrset.RRset:
        """Make the DNSKEY record set."""
        return dns.rrset.from_rdata_list(self.origin, _TTL, self.keys)


def answer(
    answers: Answers,
    name: dns.name.Name,
    rdtype: str,
    *sections: Sequence[dns.rrset.RRset],
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
) -> None:
    """Keep the message for a question: answer and authority sections."""
    query = dns.message.make_query(name, rdtype, use_edns=0, want_dnssec=True)
    made = dns.message.make_response(query, recursion_available=True)
    made.set_rcode(rcode)
    for section, rrsets in zip((made.answer, made.authority), sections, strict=False):
        section.extend(rrsets)
    answers[_asked(query.to_wire())] = made.to_wire(max_size=65535)[2:]


def _asked(wire: bytes) -> bytes:
    end = wire.index(b"\0", 12) + 5
    return wire[12:end].lower()


# Keys of one tag, and signatures that fit none of them


def _same_tag(count: int) -> list[DNSKEY]:
    """Make P-384 keys of one tag: flags without meaning make up for the difference (RFC 4034 section 2.1.1)."""
    found: list[DNSKEY] = []
    target = 4711
    while len(found) < count:
        key = dns.dnssec.make_dnskey(ec.generate_private_key(ec.SECP384R1()).public_key(), _P384, flags=0x0100)
        for flags in ((target - dns.dnssec.key_id(key) + 0x0100 + more) % 0xFFFF for more in (0, 1, -1)):
            made = cast(DNSKEY, key.replace(flags=flags))
            if flags & 0x0180 == 0x0100 and dns.dnssec.key_id(made) == target:
                found.append(made)
                break
    return found


def _forged(zone: _Zone, owner: dns.name.Name, rdtype: dns.rdatatype.RdataType, count: int) -> list[dns.rdata.Rdata]:
    """Make signatures by keys of that tag: of the right form, and wrong."""
    now = int(time.time())
    fixed = struct.pack("!HBBIIIH", rdtype, _P384, len(owner) - 1, _TTL, now + _DAY, now - _DAY, 4711)
    start = fixed + zone.origin.to_wire()  # type: ignore[operator]
    return [_rdata("RRSIG", start + number.to_bytes(96, "big")) for number in range(1, count + 1)]


def _rdata(rdtype: str, wire: bytes) -> dns.rdata.Rdata:
    return dns.rdata.from_wire("IN", rdtype, wire, 0, len(wire))


def _keytrap(zone: _Zone, answers: Answers) -> None:
    zone.keys += _same_tag(100)
    rrset = zone.records(zone.origin, "A", "192.0.2.1")
    answer(answers, zone.origin, "A", zone.signed(rrset, _forged(zone, zone.origin, dns.rdatatype.A, 100)))


def _traps(zone: _Zone, answers: Answers) -> None:
    """As many checks as one question may cost: each alias has forged signatures first, and a good one that goes on."""
    zone.keys += _same_tag(1)
    sections: list[dns.rrset.RRset] = []
    for number in range(20):
        owner = dns.name.from_text(f"a{number}", zone.origin)
        cname = zone.records(owner, "CNAME", f"a{number + 1}.{zone.origin}")
        sections += zone.signed(cname, _forged(zone, owner, dns.rdatatype.CNAME, 7))
    answer(answers, dns.name.from_text("a0", zone.origin), "A", sections)


# Denials


def _long(zone: _Zone, labels: int) -> dns.name.Name:
    return dns.name.Name((*[b"a"] * labels, *zone.origin.labels))


def _nsec3(zone: _Zone, answers: Answers, iterations: int) -> None:
    name = _long(zone, 119)
    soa = zone.records(zone.origin, "SOA", _SOA)
    apex = _hash(zone.origin, iterations)
    owner = dns.name.Name((base64.b32hexencode(apex).lower(), *zone.origin.labels))
    after = base64.b32hexencode(apex[:-1] + bytes([apex[-1] ^ 1])).decode()
    nsec3 = zone.records(owner, "NSEC3", f"1 0 {iterations} {'ab' * 8} {after} SOA NS DNSKEY")
    answer(answers, name, "A", (), [*zone.signed(soa), *zone.signed(nsec3)], rcode=dns.rcode.NXDOMAIN)


def _hash(name: dns.name.Name, iterations: int) -> bytes:
    digest, salt = name.to_digestable(), bytes.fromhex("ab" * 8)
    for _ in range(iterations + 1):
        digest = hashlib.sha1(digest + salt, usedforsecurity=False).digest()
    return digest


# Length


def _aliases(zone: _Zone, answers: Answers) -> None:
    """Aliases without end, each answer one of them."""
    for number in range(40):
        owner = dns.name.from_text(f"a{number}", zone.origin)
        cname = zone.records(owner, "CNAME", f"a{number + 1}.{zone.origin}")
        answer(answers, owner, "A", zone.signed(cname))


def _many_keys(zone: _Zone, answers: Answers) -> None:
    one = zone.dnskey.key
    made = (zone.dnskey.replace(flags=256, key=number.to_bytes(4, "big") + one[4:]) for number in range(999))
    zone.keys += [cast(DNSKEY, key) for key in made]
    answer(answers, zone.origin, "A", zone.signed(zone.records(zone.origin, "A", "192.0.2.1")))


def _many_records(zone: _Zone, answers: Answers) -> None:
    texts = [f"10.{number >> 8}.{number & 255}.1" for number in range(4000)]
    answer(answers, zone.origin, "A", zone.signed(zone.records(zone.origin, "A", *texts)))


def _revoked(zone: _Zone, answers: Answers) -> None:
    """Keys of one tag that may not sign, and as many signatures by that tag."""
    made = _same_tag(1)[0]
    # one octet pair of the key up, the other down: another key, of the same tag
    middle = len(made.key) // 2
    for number in range(280):
        high, low = (int.from_bytes(made.key[start : start + 2], "big") for start in (0, middle))
        one = ((high + number) % 0xFFFF).to_bytes(2, "big") + made.key[2:middle]
        key = one + ((low - number) % 0xFFFF).to_bytes(2, "big") + made.key[middle + 2 :]
        zone.keys.append(cast(DNSKEY, made.replace(protocol=2, key=key)))
    rrset = zone.records(zone.origin, "A", "192.0.2.1")
    answer(answers, zone.origin, "A", zone.signed(rrset, _forged(zone, zone.origin, dns.rdatatype.A, 280)))


def _many_denials(zone: _Zone, answers: Answers) -> None:
    """Denial records that are signed as they should be, and prove nothing."""
    sections = zone.signed(zone.records(zone.origin, "SOA", _SOA))
    for number in range(140):
        owner = dns.name.from_text(f"{number:032x}", zone.origin)
        sections += zone.signed(zone.records(owner, "NSEC3", f"1 0 0 - {number + 1:032x} A"))
    answer(answers, dns.name.from_text("a." * 50 + "x", zone.origin), "A", (), sections, rcode=dns.rcode.NXDOMAIN)


def _unsigned(zone: _Zone, answers: Answers, junk: int = 0, forged: int = 0) -> None:
    """A name of many labels without signature, any of them a zone; records for nothing, a wrong signature each time."""
    zone.keys += _same_tag(1)
    name = _long(zone, 110)
    more = [zone.records(dns.name.from_text(f"{number}", zone.origin), "A", "192.0.2.1") for number in range(junk)]
    answer(answers, name, "A", [zone.records(name, "A", "192.0.2.1"), *more])
    above = name
    while above != zone.origin:
        nsec = zone.records(above, "NSEC", f"!.{above} A RRSIG NSEC")
        signed = zone.signed(nsec, _forged(zone, above, dns.rdatatype.NSEC, forged))
        answer(answers, above, "DS", (), [*signed, *more[:5]])
        above = above.parent()


_LONGER = partial(_unsigned, junk=290, forged=1)
STORIES = (
    Story("100 keys of one tag, 100 signatures", Question("keytrap", "A"), _keytrap),
    Story("the same, spread over aliases", Question("a0.traps", "A"), _traps),
    Story("NSEC3, 100 iterations, 120 labels", Question("a." * 119 + "nsec3", "A"), lambda z, a: _nsec3(z, a, 100)),
    Story("NSEC3, 2,500 iterations, 120 labels", Question("a." * 119 + "more", "A"), lambda z, a: _nsec3(z, a, 2500)),
    Story("aliases without end", Question("a0.aliases", "A"), _aliases),
    Story("1,000 keys", Question("keys", "A"), _many_keys),
    Story("4,000 addresses", Question("records", "A"), _many_records),
    Story("280 keys that may not sign, 280 signatures", Question("revoked", "A"), _revoked),
    Story("140 denials that prove nothing", Question("a." * 50 + "x.denials", "A"), _many_denials),
    Story("110 labels, nothing signed", Question("a." * 110 + "unsigned", "A"), _unsigned),
    Story("the same, with records and signatures", Question("a." * 110 + "longer", "A"), _LONGER),
)


def build(stories: Iterable[Story] = STORIES) -> tuple[Answers, str]:
    """Make all answers, and the trust anchor of the root above them."""
    root, answers = _Zone("."), Answers()
    for story in stories:
        zone = _Zone(f"{story.question.name.rpartition('.')[2]}.")
        story.make(zone, answers)
        answer(answers, zone.origin, "DS", root.signed(zone.delegation()))
        answer(answers, zone.origin, "DNSKEY", zone.signed(zone.key_set()))
    answer(answers, root.origin, "DNSKEY", root.signed(root.key_set()))
    answer(answers, root.origin, "SOA", root.signed(root.records(root.origin, "SOA", _SOA)))
    return answers, f". IN DS {dns.dnssec.make_ds(root.origin, root.dnskey, _SHA256)}"


class _Datagrams(asyncio.DatagramProtocol):
    """Answers datagrams; what is too long is cut off."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.DatagramTransport, transport)  # in 3.11 not of that class, though it is one

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer."""
        if self._transport is not None:
            self._transport.sendto(_reply(self._answers, data, _PAYLOAD), addr)


def _reply(answers: Answers, wire: bytes, limit: int) -> bytes:
    asked = _asked(wire)
    made = answers.get(asked)
    question = struct.pack("!HHHH", 1, 0, 0, 0) + wire[12 : 12 + len(asked)]
    if made is None:
        return wire[:2] + struct.pack("!H", dns.flags.QR | dns.flags.RA | dns.rcode.SERVFAIL) + question
    if len(made) + 2 > limit:
        return wire[:2] + struct.pack("!H", dns.flags.QR | dns.flags.RA | dns.flags.TC) + question
    return wire[:2] + made


async def until_closed(pipe: Connection) -> None:
    """Wait until the other end of a pipe is closed."""
    with contextlib.suppress(EOFError):
        await asyncio.to_thread(pipe.recv)


def serve_hostile(pipe: Connection, stories: Callable[[], Iterable[Story]] = lambda: STORIES) -> None:
    """Serve them over UDP and TCP until told to stop."""
    answers, anchor = build(stories())

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        made = _reply(answers, await reader.readexactly(length), 65535)
        writer.write(struct.pack("!H", len(made)) + made)
        await writer.drain()
        writer.close()

    async def main() -> None:
        port, tcp, udp = both_ways("127.0.0.1")
        server = await asyncio.start_server(stream, sock=tcp)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(answers), sock=udp)
        pipe.send((port, anchor))
        await until_closed(pipe)
        transport.close()
        server.close()

    asyncio.run(main())
