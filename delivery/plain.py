"""Read the plain answers, which nearly all are, at a fraction of what a whole message costs.

Plain is a response without error, alias or extended error: the records of the question's own name and their
signatures, or nothing but the proof that there are none. `read_plain` gives for it exactly what
`delivery.responses.read` gives, and None for all else: what is unusual or malformed is for the whole reader to judge.
It never raises, whatever the octets.
"""

import re
import struct
from collections.abc import Callable
from datetime import datetime, timedelta

import dns.flags
import dns.ipv4
import dns.ipv6
import dns.rdataclass
import dns.rdatatype

from delivery.responses import Lifetimes, end_of_life
from stages.answer import Absent, Found, Question, Security
from stages.records import IP, MX, TLSA, Record

_HEAD = struct.Struct("!6H")  # id, flags, and the records of each section (RFC 1035 section 4.1.1)
_OWNED = struct.Struct("!HHHIH")  # a pointer for an owner, then as below
_RECORD = struct.Struct("!HHIH")  # type, class, TTL, length of the data (RFC 1035 section 4.1.3)
_EDNS = struct.Struct("!BHHIH")  # the root for an owner, then the same (RFC 6891 section 6.1.2)
_SIGNATURE = struct.Struct("!HBBIIIH")  # what stands before the signer (RFC 4034 section 3.1)
_FIXED = dns.flags.QR | dns.flags.TC | 0x7800 | 0x000F  # with opcode and RCODE: QR alone is set in what is plain
_QUESTION = 0xC00C  # a pointer to the name of the question (RFC 1035 section 4.1.4)
_IN = int(dns.rdataclass.IN)
_OPT, _RRSIG = int(dns.rdatatype.OPT), int(dns.rdatatype.RRSIG)
_SOA, _NSEC, _NSEC3 = int(dns.rdatatype.SOA), int(dns.rdatatype.NSEC), int(dns.rdatatype.NSEC3)
_LONGEST_TTL = 0x7FFFFFFF  # what is longer counts as none at all (RFC 2181 section 8)
_LONGEST_NAME = 255  # octets (RFC 1035 section 3.1)
_MOST_POINTERS = 8  # in one name; there is hardly ever more than one
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_LETTERS = b"abcdefghijklmnopqrstuvwxyz0123456789_-"  # of names that stand for themselves in text

_Owner = tuple[bytes, ...]


class _UnusualError(Exception):
    """The whole reader is to judge."""


def read_plain(
    question: Question, wire: bytes, *, secured: bool, now: datetime, lifetimes: Lifetimes, source: str
) -> Found | Absent | None:
    """Read a response if it is plain; its AD bit is believed if `secured`."""
    try:
        return _read(question, wire, secured=secured, now=now, lifetimes=lifetimes, source=source)
    except _UnusualError:
        return None


def _read(
    question: Question, wire: bytes, *, secured: bool, now: datetime, lifetimes: Lifetimes, source: str
) -> Found | Absent:
    if len(wire) < _HEAD.size or question.rdtype not in _KINDS:
        raise _UnusualError
    _id, flags, questions, answers, authorities, additional = _HEAD.unpack_from(wire)
    if flags & _FIXED != dns.flags.QR or questions != 1 or additional > 1:
        raise _UnusualError
    kind, reader = _KINDS[question.rdtype]
    at = _after_question(question.name, kind, wire)
    answer = _Answers(kind, reader)
    for _ in range(answers):
        at = answer.take(wire, at)
    proof = _Proof()
    for _ in range(authorities):
        at = proof.take(wire, at)
    if additional:
        at = _after_edns(wire, at)
    if at != len(wire):
        raise _UnusualError
    security = Security.SECURE if secured and flags & dns.flags.AD else Security.INSECURE
    if not answers:
        until = min([now + min(proof.denial, lifetimes.absent), *proof.ends(now)])
        return Absent(question, security, False, question.name, (), until, source)  # noqa: FBT003 - as everywhere
    if not answer.records:
        raise _UnusualError  # signatures of nothing
    until = min(now + lifetimes.found, end_of_life(answer.ttl, answer.expiration, now))
    return Found(question, security, tuple(answer.records), question.name, (), until, source)


def _after_question(name: str, kind: int, wire: bytes) -> int:
    """Pass over the question, which must be ours; its letters may have another case (RFC 1035 section 2.3.3)."""
    if len(name) > _LONGEST_NAME - 2 or not _NAME.fullmatch(name):
        raise _UnusualError
    # a length octet is below 64, and so no letter
    asked = b"".join([bytes((len(label),)) + label for label in name.encode().split(b".")]) + b"\0"
    at = _HEAD.size + len(asked)
    if wire[_HEAD.size : at].lower() != asked or wire[at : at + 4] != struct.pack("!HH", kind, _IN):
        raise _UnusualError
    return at + 4


def _after_edns(wire: bytes, at: int) -> int:
    """Pass over an OPT record of version 0 without an extended RCODE and without options (RFC 6891 section 6.1.3)."""
    if at + _EDNS.size > len(wire):
        raise _UnusualError
    owner, rdtype, _payload, extended, size = _EDNS.unpack_from(wire, at)
    if owner or rdtype != _OPT or extended >> 16 or size:
        raise _UnusualError
    return at + _EDNS.size


class _Answers:
    """The records of the question's own name, duplicates dropped (RFC 2181 section 5), and their signatures."""

    def __init__(self, kind: int, reader: Callable[[bytes, int, int], Record]) -> None:
        self._kind = kind
        self._reader = reader
        self.records: dict[Record, None] = {}
        self.ttl = _LONGEST_TTL  # the least one (RFC 2181 section 5.2)
        self.expiration: int | None = None  # of the signature that lasts longest

    def take(self, wire: bytes, at: int) -> int:
        """Read the record there, and give where the next one is."""
        start = at + _OWNED.size
        if start > len(wire):
            raise _UnusualError
        owner, rdtype, rdclass, ttl, size = _OWNED.unpack_from(wire, at)
        end: int = start + size
        if owner != _QUESTION or rdclass != _IN or end > len(wire):
            raise _UnusualError
        if rdtype == self._kind:
            self.records.setdefault(self._reader(wire, start, end))
            self.ttl = min(self.ttl, _seconds(ttl))
        elif rdtype == _RRSIG:
            covered, expiration = _signature(wire, start, end)
            if covered != self._kind:
                raise _UnusualError
            self.expiration = max(self.expiration or 0, expiration)
        else:
            raise _UnusualError
        return end


class _Proof:
    """The authority section of a denial, or of an answer from a wildcard: SOA, NSEC, NSEC3 and their signatures."""

    def __init__(self) -> None:
        self._ttls: dict[tuple[_Owner, int], int] = {}  # the least one of each set
        self._expirations: dict[tuple[_Owner, int], int] = {}  # of the signature over each set that lasts longest
        self._minimum: int | None = None

    def take(self, wire: bytes, at: int) -> int:
        """Read the record there, and give where the next one is."""
        labels, at = _name(wire, at, len(wire))
        start = at + _RECORD.size
        if start > len(wire):
            raise _UnusualError
        rdtype, rdclass, ttl, size = _RECORD.unpack_from(wire, at)
        end: int = start + size
        if rdclass != _IN or end > len(wire):
            raise _UnusualError
        owner = tuple(labels)
        if rdtype == _RRSIG:
            covered, expiration = _signature(wire, start, end)
            place = (owner, covered)
            self._expirations[place] = max(self._expirations.get(place, 0), expiration)
            return end
        if rdtype == _SOA and self._minimum is None:
            self._minimum = _soa_minimum(wire, start, end)
        elif rdtype == _NSEC:
            _types(wire, _name(wire, start, end, may_point=False)[1], end)
        elif rdtype == _NSEC3:
            _nsec3(wire, start, end)
        else:
            raise _UnusualError
        place = (owner, rdtype)
        self._ttls[place] = min(self._ttls.get(place, _LONGEST_TTL), _seconds(ttl))
        return end

    @property
    def denial(self) -> timedelta:
        """Tell how long a denial holds (RFC 2308 section 5): without an SOA record, not at all."""
        ttls = [min(ttl, self._minimum or 0) for (_, rdtype), ttl in self._ttls.items() if rdtype == _SOA]
        return timedelta(seconds=min(ttls, default=0))

    def ends(self, now: datetime) -> list[datetime]:
        """Give the end of each record set."""
        return [end_of_life(ttl, self._expirations.get(place), now) for place, ttl in self._ttls.items()]


def _seconds(ttl: int) -> int:
    return 0 if ttl > _LONGEST_TTL else ttl


def _name(wire: bytes, at: int, end: int, *, may_point: bool = True) -> tuple[list[bytes], int]:
    """Read a name that stands before `end`: its labels in lower case without the root, and where it ends.

    A pointer leads back, and what it leads to ends before that which led there (RFC 1035 section 4.1.4).
    """
    labels: list[bytes] = []
    octets, pointers, start, after = 1, 0, at, 0
    while at < end:
        count = wire[at]
        if count == 0:
            return labels, after or at + 1
        if count < 64:
            past = at + 1 + count
            octets += 1 + count
            if past > end or octets > _LONGEST_NAME:
                break
            labels.append(wire[at + 1 : past].lower())
            at = past
            continue
        if count < 192 or not may_point or at + 2 > end or pointers == _MOST_POINTERS:
            break
        after = after or at + 2
        pointers += 1
        at = (count & 0x3F) << 8 | wire[at + 1]
        if at >= start:
            break
        start, end = at, start
    raise _UnusualError


def _signature(wire: bytes, start: int, end: int) -> tuple[int, int]:
    """Give the type that an RRSIG covers, and its end in seconds since 1970 (RFC 4034 sections 3.1.1 and 3.1.5)."""
    if start + _SIGNATURE.size > end:
        raise _UnusualError
    covered, _algorithm, _labels, _ttl, expiration, _inception, _tag = _SIGNATURE.unpack_from(wire, start)
    _name(wire, start + _SIGNATURE.size, end, may_point=False)
    return covered, expiration


def _soa_minimum(wire: bytes, start: int, end: int) -> int:
    """Give the last field of an SOA record: two names and five numbers (RFC 1035 section 3.3.13)."""
    _, at = _name(wire, start, end)
    _, at = _name(wire, at, end)
    if at + 20 != end:
        raise _UnusualError
    return int.from_bytes(wire[end - 4 : end], "big")


def _nsec3(wire: bytes, start: int, end: int) -> None:
    """Check the form of an NSEC3 record: four numbers, salt, hash, types (RFC 5155 section 3.2)."""
    at = start + 4
    for least in (0, 1):  # octets of the salt, octets of the hash
        if at >= end or wire[at] < least:
            raise _UnusualError
        at += 1 + wire[at]
    _types(wire, at, end)


def _types(wire: bytes, at: int, end: int) -> None:
    """Check the form of a list of types: windows in order, none empty (RFC 4034 section 4.1.2)."""
    last = -1
    while at < end:
        if at + 2 > end:
            raise _UnusualError
        window, size = wire[at], wire[at + 1]
        at += 2 + size
        if window <= last or not 0 < size <= 32 or at > end or not wire[at - 1]:
            raise _UnusualError
        last = window
    if at != end:
        raise _UnusualError


def _a(wire: bytes, start: int, end: int) -> Record:
    if end - start != 4:
        raise _UnusualError
    return IP(dns.ipv4.inet_ntoa(wire[start:end]))


def _aaaa(wire: bytes, start: int, end: int) -> Record:
    if end - start != 16:
        raise _UnusualError
    return IP(dns.ipv6.inet_ntoa(wire[start:end]))


def _mx(wire: bytes, start: int, end: int) -> Record:
    """Read a preference and a name (RFC 1035 section 3.3.9)."""
    labels, at = _name(wire, start + 2, end)
    if at != end or b"".join(labels).translate(None, _LETTERS):
        raise _UnusualError
    return MX(int.from_bytes(wire[start : start + 2], "big"), b".".join(labels).decode() or ".")


def _tlsa(wire: bytes, start: int, end: int) -> Record:
    """Read three numbers and the data, which may have any length (RFC 6698 section 2.1)."""
    if end - start < 3:
        raise _UnusualError
    return TLSA(wire[start], wire[start + 1], wire[start + 2], wire[start + 3 : end])


_KINDS: dict[str, tuple[int, Callable[[bytes, int, int], Record]]] = {
    "A": (int(dns.rdatatype.A), _a),
    "AAAA": (int(dns.rdatatype.AAAA), _aaaa),
    "MX": (int(dns.rdatatype.MX), _mx),
    "TLSA": (int(dns.rdatatype.TLSA), _tlsa),
}
