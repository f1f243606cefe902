"""The 30 rows of the decision table as DNS answers and servers, of which each row changes one thing.

A row holds cases that must all come out alike (a secure MX and none at all, a timeout and a SERVFAIL). The zone is
`example.com` with one host, and `mx2.example.com`, a good one behind it, where a second host is asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from stages.answer import Absent, Answer, ExtendedError, Failed, Failure, Found, Proof, Question, Security
from stages.destination import Destination, RouteKind, TlsLevel
from stages.records import IP, MX, TLSA, Record
from tests.stages.make import DAY, HOUR, NOW

SECURE, INSECURE = Security.SECURE, Security.INSECURE
DOMAIN, FIRST, SECOND, ALIAS = "example.com", "mx1.example.com", "mx2.example.com", "host.provider.example"
EXPIRES = NOW + HOUR
GOOD = TLSA(3, 1, 1, bytes(range(32)))
UNUSABLE = (TLSA(0, 0, 1, bytes(32)), TLSA(3, 1, 1, bytes(3)))
PROVEN = (Proof.CD_REQUERY, Proof.EDE)

Zone = dict[Question, Answer]
HERE = Destination(RouteKind.MX, DOMAIN, 25)


@dataclass(frozen=True, slots=True)
class Wire:
    """What the server does: offers STARTTLS, can finish a handshake, shows a certificate that matches."""

    starttls: bool = True
    handshake: bool = True
    match: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """A zone and a server, and where in its life the recipient stands."""

    zone: Zone
    wire: Wire = Wire()
    destination: Destination = HERE
    failures: int = 0  # attempts before this one that ended alike
    failing: timedelta = timedelta(0)  # for so long
    age: timedelta = timedelta(0)  # of the message


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its number, what stands in its columns, its cases, and settings that the row itself is about."""

    number: str
    mx: str
    address: str
    tlsa: str
    tls: str
    cases: tuple[Case, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


def found(name: str, rdtype: str, security: Security, *records: Record, alias: str = "") -> Zone:
    """Let a record set exist, behind an alias if one is given."""
    question = Question(name, rdtype)
    aliases = (alias,) if alias else ()
    return {question: Found(question, security, records, alias or name, aliases, EXPIRES)}


def absent(name: str, rdtype: str, security: Security, *, nxdomain: bool = False, alias: str = "") -> Zone:
    """Let a record set be absent."""
    question = Question(name, rdtype)
    aliases = (alias,) if alias else ()
    return {question: Absent(question, security, nxdomain, alias or name, aliases, EXPIRES)}


def failed(name: str, rdtype: str, failure: Failure, proofs: tuple[Proof, ...] = PROVEN) -> Zone:
    """Let a lookup fail; a proven bogus has a CD=1 re-query and a DNSSEC extended error behind it."""
    question = Question(name, rdtype)
    if failure is not Failure.BOGUS:
        return {question: Failed(question, failure, "no answer", EXPIRES)}
    errors = (ExtendedError(7),) if Proof.EDE in proofs else ()
    return {question: Failed(question, failure, "no answer", EXPIRES, errors, proofs)}


def by_mx(security: Security, *, second: bool = True) -> Zone:
    """Publish MX records for both hosts."""
    records = (MX(10, FIRST), MX(20, SECOND)) if second else (MX(10, FIRST),)
    return found(DOMAIN, "MX", security, *records)


def addresses(name: str, security: Security, alias: str = "") -> Zone:
    """Give a host an IPv4 address and none of IPv6."""
    return {
        **found(name, "A", security, IP("93.184.216.34"), alias=alias),
        **absent(name, "AAAA", security, alias=alias),
    }


def broken(name: str, failure: Failure, proofs: tuple[Proof, ...] = PROVEN) -> Zone:
    """Let both address lookups of a host fail."""
    return {**failed(name, "A", failure, proofs), **failed(name, "AAAA", failure, proofs)}


def tlsa(name: str, *records: TLSA, security: Security = SECURE) -> Zone:
    """Publish TLSA records for port 25."""
    return found(f"_25._tcp.{name}", "TLSA", security, *(records or (GOOD,)))


def no_tlsa(name: str, security: Security = SECURE, *, nxdomain: bool = True) -> Zone:
    """Let there be no TLSA records."""
    return absent(f"_25._tcp.{name}", "TLSA", security, nxdomain=nxdomain)


def bad_tlsa(name: str, failure: Failure, proofs: tuple[Proof, ...] = PROVEN) -> Zone:
    """Let the TLSA lookup fail."""
    return failed(f"_25._tcp.{name}", "TLSA", failure, proofs)


GOOD_SECOND = {**addresses(SECOND, SECURE), **tlsa(SECOND)}


def both(*zones: Zone, wire: Wire | None = None, **life: Any) -> tuple[Case, ...]:
    """Make a case with a secure MX and, by the same names, one without MX; `zones` speak of the host FIRST."""
    host: Zone = {}
    for zone in zones:
        host = {**host, **zone}
    direct = {_renamed(question): _moved(answer) for question, answer in host.items()}
    made = wire or Wire()
    return (
        Case({**by_mx(SECURE), **host, **GOOD_SECOND}, made, **life),
        Case({**absent(DOMAIN, "MX", SECURE), **direct}, made, **life),
    )


def _renamed(question: Question) -> Question:
    return replace(question, name=question.name.replace(FIRST, DOMAIN))


def _moved(answer: Answer) -> Answer:
    if isinstance(answer, Failed):
        return replace(answer, question=_renamed(answer.question))
    return replace(answer, question=_renamed(answer.question), canonical=answer.canonical.replace(FIRST, DOMAIN))


def insecure_mx(*zones: Zone, wire: Wire | None = None) -> tuple[Case, ...]:
    """Make a case with an insecure MX set."""
    zone: Zone = {**by_mx(INSECURE), **GOOD_SECOND}
    for one in zones:
        zone = {**zone, **one}
    return (Case(zone, wire or Wire()),)


def only(zone: Zone) -> tuple[Case, ...]:
    """Make a case with nothing but the answer to the MX question."""
    return (Case(zone),)


OPEN, CLOSED, BROKEN, WRONG = Wire(), Wire(starttls=False), Wire(handshake=False), Wire(match=False)
SIGNED = addresses(FIRST, SECURE)
ALIASED = addresses(FIRST, SECURE, ALIAS)
HALF = {**addresses(FIRST, INSECURE, ALIAS), **found(FIRST, "CNAME", SECURE, alias=ALIAS)}
ERRORS = (Failure.SERVFAIL, Failure.TIMEOUT, Failure.MALFORMED)
UNCLEAR = (Failure.INDETERMINATE, *ERRORS)
BOGUS = Failure.BOGUS
ALL_WIRES = (OPEN, CLOSED, BROKEN, WRONG)


def _many(*cases: tuple[Case, ...]) -> tuple[Case, ...]:
    return tuple(case for some in cases for case in some)


def _apart(cases: tuple[Case, ...], **changes: Any) -> tuple[Case, ...]:
    return tuple(replace(case, destination=replace(case.destination, **changes)) for case in cases)


def _host_route(wire: Wire, **changes: Any) -> tuple[Case, ...]:
    """Make a case with a named host on a port of its own."""
    zone = {**SIGNED, **found(f"_2525._tcp.{FIRST}", "TLSA", SECURE, GOOD)}
    return _apart((Case(zone, wire, Destination(RouteKind.HOST, FIRST, 2525)),), **changes)


MX_OR_NONE = "secure or none"
FREE = addresses(FIRST, INSECURE)

ROWS = (
    Row("1", "bogus, proven", "-", "-", "-", only(failed(DOMAIN, "MX", BOGUS))),
    Row("1 unproven", "bogus, no proof", "-", "-", "-", only(failed(DOMAIN, "MX", BOGUS, ()))),
    Row("1 EDE alone", "bogus, an extended error", "-", "-", "-", only(failed(DOMAIN, "MX", BOGUS, (Proof.EDE,)))),
    Row("1 validated", "bogus, our own validation", "-", "-", "-", only(failed(DOMAIN, "MX", BOGUS, (Proof.VALIDATOR,)))),
    Row("2", "indeterminate", "-", "-", "-", only(failed(DOMAIN, "MX", Failure.INDETERMINATE))),
    Row(
        "3", "SERVFAIL, timeout, malformed", "-", "-", "-",
        _many(*(only(failed(DOMAIN, "MX", error)) for error in ERRORS)),
    ),
    Row(
        "4 NXDOMAIN", "NXDOMAIN", "-", "-", "-",
        _many(*(only(absent(DOMAIN, "MX", security, nxdomain=True)) for security in Security)),
    ),
    Row(
        "4 null MX", "null MX", "-", "-", "-",
        _many(*(only(found(DOMAIN, "MX", security, MX(0, "."))) for security in Security)),
    ),
    Row(
        "5", "insecure, policy opportunistic", "any", "not asked", "any",
        _many(*(insecure_mx(zone, tlsa(FIRST), wire=wire) for zone in (SIGNED, FREE) for wire in ALL_WIRES)),
        {"insecure_mx_policy": "opportunistic"},
    ),
    Row("6", "insecure, policy of the profile", "secure", "usable", "match", insecure_mx(SIGNED, tlsa(FIRST))),
    Row("7", "insecure, policy of the profile", "secure", "usable", "mismatch", insecure_mx(SIGNED, tlsa(FIRST), wire=WRONG)),
    Row("8 address bogus", "insecure", "bogus", "-", "-", insecure_mx(broken(FIRST, BOGUS))),
    Row(
        "8 address error", "insecure", "error", "-", "-",
        _many(*(insecure_mx(broken(FIRST, error)) for error in UNCLEAR)),
    ),
    Row("8 TLSA bogus", "insecure", "secure", "bogus", "-", insecure_mx(SIGNED, bad_tlsa(FIRST, BOGUS))),
    Row(
        "8 TLSA error", "insecure", "secure", "error", "-",
        _many(*(insecure_mx(SIGNED, bad_tlsa(FIRST, error)) for error in UNCLEAR)),
    ),
    Row("9", "insecure", "insecure", "not asked", "any", _many(*(insecure_mx(FREE, wire=wire) for wire in ALL_WIRES))),
    Row("10", MX_OR_NONE, "bogus", "-", "-", both(broken(FIRST, BOGUS))),
    Row("10 unproven", MX_OR_NONE, "bogus, no proof", "-", "-", both(broken(FIRST, BOGUS, ()))),
    Row("11", MX_OR_NONE, "error", "-", "-", _many(*(both(broken(FIRST, error)) for error in UNCLEAR))),
    Row("12", MX_OR_NONE, "none, proven", "-", "-", both(absent(FIRST, "A", SECURE), absent(FIRST, "AAAA", SECURE))),
    Row("13", MX_OR_NONE, "insecure, no alias", "not asked", "any", _many(*(both(FREE, wire=wire) for wire in ALL_WIRES))),
    Row("14 match", MX_OR_NONE, "insecure behind a secure alias", "usable at the initial name", "match", both(HALF, tlsa(FIRST))),
    Row(
        "14 mismatch", MX_OR_NONE, "insecure behind a secure alias", "usable at the initial name", "mismatch",
        both(HALF, tlsa(FIRST), wire=WRONG),
    ),
    Row(
        "15", MX_OR_NONE, "insecure behind a secure alias", "none or insecure", "any",
        _many(
            both(HALF, no_tlsa(FIRST), wire=CLOSED),
            both(HALF, no_tlsa(FIRST, nxdomain=False)),
            both(HALF, tlsa(FIRST, security=INSECURE), wire=WRONG),
        ),
    ),
    Row("16", MX_OR_NONE, "secure", "bogus", "-", both(SIGNED, bad_tlsa(FIRST, BOGUS))),
    Row("16 unproven", MX_OR_NONE, "secure", "bogus, no proof", "-", both(SIGNED, bad_tlsa(FIRST, BOGUS, ()))),
    Row("17", MX_OR_NONE, "secure", "error", "-", _many(*(both(SIGNED, bad_tlsa(FIRST, error)) for error in UNCLEAR))),
    Row("18", MX_OR_NONE, "secure", "NXDOMAIN", "any", _many(*(both(SIGNED, no_tlsa(FIRST), wire=wire) for wire in ALL_WIRES))),
    Row(
        "19", MX_OR_NONE, "secure", "NODATA", "any",
        _many(*(both(SIGNED, no_tlsa(FIRST, nxdomain=False), wire=wire) for wire in ALL_WIRES)),
    ),
    Row(
        "20", MX_OR_NONE, "secure", "insecure", "any",
        _many(
            both(SIGNED, tlsa(FIRST, security=INSECURE), wire=WRONG),
            both(SIGNED, no_tlsa(FIRST, INSECURE), wire=CLOSED),
            both(SIGNED, no_tlsa(FIRST, INSECURE, nxdomain=False)),
        ),
    ),
    Row(
        "21", MX_OR_NONE, "secure", "none usable", "TLS works",
        _many(both(SIGNED, tlsa(FIRST, *UNUSABLE)), both(SIGNED, tlsa(FIRST, *UNUSABLE), wire=WRONG)),
    ),
    Row("22 no STARTTLS", MX_OR_NONE, "secure", "none usable", "not offered", both(SIGNED, tlsa(FIRST, *UNUSABLE), wire=CLOSED)),
    Row("22 handshake", MX_OR_NONE, "secure", "none usable", "fails", both(SIGNED, tlsa(FIRST, *UNUSABLE), wire=BROKEN)),
    Row(
        "23", MX_OR_NONE, "secure", "usable", "match",
        _many(both(SIGNED, tlsa(FIRST)), both(SIGNED, tlsa(FIRST, *UNUSABLE, GOOD))),
    ),
    Row("24", MX_OR_NONE, "secure", "usable", "mismatch", both(SIGNED, tlsa(FIRST), wire=WRONG)),
    Row(
        "24 for a day", MX_OR_NONE, "secure", "usable", "mismatch for 24 h",
        both(SIGNED, tlsa(FIRST), wire=WRONG, failures=25, failing=DAY, age=DAY),
    ),
    Row("25", MX_OR_NONE, "secure", "usable", "not offered", both(SIGNED, tlsa(FIRST), wire=CLOSED)),
    Row(
        "25 five times", MX_OR_NONE, "secure", "usable", "not offered, 5th time",
        both(SIGNED, tlsa(FIRST), wire=CLOSED, failures=4, failing=4 * HOUR, age=4 * HOUR),
    ),
    Row("26", MX_OR_NONE, "secure", "usable", "fails", both(SIGNED, tlsa(FIRST), wire=BROKEN)),
    Row(
        "26 five times", MX_OR_NONE, "secure", "usable", "fails, 5th time",
        both(SIGNED, tlsa(FIRST), wire=BROKEN, failures=4, failing=4 * HOUR, age=4 * HOUR),
    ),
    Row("27 match", MX_OR_NONE, "secure, behind an alias", "usable at the initial name only", "match", both(ALIASED, no_tlsa(ALIAS), tlsa(FIRST))),
    Row(
        "27 mismatch", MX_OR_NONE, "secure, behind an alias", "usable at the initial name only", "mismatch",
        both(ALIASED, no_tlsa(ALIAS), tlsa(FIRST), wire=WRONG),
    ),
    Row("28 bogus", MX_OR_NONE, "secure, behind an alias", "bogus at the expanded name", "-", both(ALIASED, bad_tlsa(ALIAS, BOGUS), tlsa(FIRST))),
    Row(
        "28 error", MX_OR_NONE, "secure, behind an alias", "error at the expanded name", "-",
        _many(*(both(ALIASED, bad_tlsa(ALIAS, error), tlsa(FIRST)) for error in UNCLEAR)),
    ),
    Row("29", "address literal", "-", "-", "any", (Case({}, destination=Destination(RouteKind.HOST, "[93.184.216.34]", 25)),)),
    Row(
        "30", MX_OR_NONE, "secure", "usable", "mismatch until the lifetime ends",
        both(SIGNED, tlsa(FIRST), wire=WRONG, failures=60, failing=5 * DAY, age=5 * DAY),
    ),
    Row(
        "30 lookup", "SERVFAIL until the lifetime ends", "-", "-", "-",
        tuple(replace(case, failures=60, failing=5 * DAY, age=5 * DAY) for case in only(failed(DOMAIN, "MX", Failure.SERVFAIL))),
    ),
    Row("excluded, bogus", "bogus, proven", "-", "-", "excluded from DANE", _apart(only(failed(DOMAIN, "MX", BOGUS)), excluded=True)),
    Row("excluded, mismatch", MX_OR_NONE, "secure", "usable", "excluded from DANE", _apart(both(SIGNED, tlsa(FIRST), wire=WRONG), excluded=True)),
    Row("route `may`", MX_OR_NONE, "secure", "usable", "mismatch", _apart(both(SIGNED, tlsa(FIRST), wire=WRONG), tls=TlsLevel.MAY)),
    Row("route `encrypt`", MX_OR_NONE, "secure", "usable", "mismatch", _apart(both(SIGNED, tlsa(FIRST), wire=WRONG), tls=TlsLevel.ENCRYPT)),
    Row("host route, match", "not asked", "secure", "usable at the host, real port", "match", _host_route(OPEN)),
    Row("host route, mismatch", "not asked", "secure", "usable at the host, real port", "mismatch", _host_route(WRONG)),
    Row("local route", "not asked", "secure", "not asked", "mismatch", _host_route(WRONG, kind=RouteKind.LOCAL, tls=TlsLevel.MAY)),
)  # fmt: skip
