"""What the validator reads and gives: replies of a resolver, zones on the way down, and the outcome with its chain.

A validation asks for what it lacks by yielding a `Question`, and is sent a `Reply`: the record sets of a response that
was asked for with CD=1 and DO=1, or why there is none. So it has no socket, and any loop can drive it. Having worked
for a while it yields None, for others to have their turn, and goes on with `next`.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from delivery.dnssec.signatures import SignedSet
from stages.answer import Failure, Question

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Response:
    """A response with NOERROR or NXDOMAIN: its record sets, signatures among them."""

    nxdomain: bool
    answer: tuple[dns.rrset.RRset, ...]
    authority: tuple[dns.rrset.RRset, ...]

    @classmethod
    def of(cls, message: dns.message.Message) -> "Response":
        """Take the sections of a message."""
        return cls(message.rcode() == dns.rcode.NXDOMAIN, Sets(message.answer), Sets(message.authority))

    @property
    def records(self) -> int:
        """Count the records in it."""
        return sum(len(rrset) for section in (self.answer, self.authority) for rrset in section)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """There is no response that could be read: a lookup error, and never a proof of anything."""

    failure: Failure
    text: str


Reply = Response | Unanswered
Steps = Generator[Question | None, Reply, _T]


class Status(StrEnum):
    """How an answer or a zone stands (RFC 4035 section 4.3)."""

    SECURE = "secure"
    INSECURE = "insecure"
    BOGUS = "bogus"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True)
class Link:
    """One step of a chain, for people: what was asked of which zone, and what came of it."""

    zone: str
    what: str
    status: Status
    text: str


@dataclass(frozen=True, slots=True)
class Zone:
    """The zone that holds a name, as far as it is known: `keys` are its own, if it is secure.

    `why` says in one line what broke the chain, or where it ends; `code` is the info-code of RFC 8914 for it.
    """

    name: dns.name.Name
    status: Status
    expires: datetime
    keys: tuple[Any, ...] = ()
    links: tuple[Link, ...] = ()
    why: str = ""
    code: int | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a question. `expires` bounds how long the answer may be kept (RFC 4035 section 5.3.3).

    `aliases` are the targets that were followed, as signed; `rrset` is what stands at the last of them, None where
    there is no such record, and `nxdomain` says whether there is no such name either.
    """

    status: Status
    expires: datetime
    links: tuple[Link, ...] = ()
    why: str = ""
    code: int | None = None
    failure: Failure | None = None
    aliases: tuple[dns.name.Name, ...] = ()
    rrset: dns.rrset.RRset | None = None
    nxdomain: bool = False


class Sets(tuple[dns.rrset.RRset, ...]):  # noqa: SLOT001 - a tuple can have none
    """The record sets of a section, found by name: there may be as many of them as somebody likes to send."""

    @cached_property
    def found(self) -> Mapping[tuple[dns.name.Name, int], dns.rrset.RRset]:
        """Give the record sets of class IN by name and type."""
        return {(one.name, one.rdtype): one for one in self if one.rdclass == dns.rdataclass.IN}

    @cached_property
    def signatures(self) -> Mapping[tuple[dns.name.Name, int], Sequence[dns.rrset.RRset]]:
        """Give the signatures by name and type that they say they cover."""
        covering: dict[tuple[dns.name.Name, int], list[dns.rrset.RRset]] = {}
        for one in self:
            if one.rdclass == dns.rdataclass.IN and one.rdtype == dns.rdatatype.RRSIG:
                covering.setdefault((one.name, one.covers), []).append(one)
        return covering


def find(sets: Iterable[dns.rrset.RRset], name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> SignedSet | None:
    """Find a record set with the signatures that say they cover it."""
    among = sets if isinstance(sets, Sets) else Sets(sets)
    found = among.found.get((name, rdtype))
    if found is None:
        return None
    signatures = among.signatures.get((name, rdtype), ())
    ttl = min((one.ttl for one in signatures), default=2**31 - 1)
    return SignedSet(found, tuple(rdata for one in signatures for rdata in one), ttl)
