"""Responses as they come off the wire: aliases and their limits, and how long a denial holds."""

from datetime import timedelta

import dns.edns
import dns.message
import dns.rcode
import pytest

from delivery.responses import MAX_ALIASES, Lifetimes, extended_errors, rcode_failure, read
from stages.answer import Absent, Answer, ExtendedError, Failed, Failure, Found, Question, Security
from stages.records import IP
from tests.delivery.test_nameserver import NOW, reply

SOA = "example. 3600 SOA ns.example. root.example. 1 2 3 4 3600"
END = {seconds: (NOW + timedelta(seconds=seconds)).strftime("%Y%m%d%H%M%S") for seconds in (30, 600)}


def said(question: Question, *records: str, rcode: dns.rcode.Rcode = dns.rcode.NOERROR, authority: int = 0) -> Answer:
    """Read a secure response; the last `authority` records go into that section."""
    query = dns.message.make_query(question.name, question.rdtype)
    answer, proof = records[: len(records) - authority], records[len(records) - authority :]
    made = reply(query, *answer, rcode=rcode)
    moved = reply(query, *proof)
    made.authority += [*moved.answer, *moved.authority]
    response = dns.message.from_wire(made.to_wire())
    return read(question, response, secure=True, now=NOW, lifetimes=Lifetimes(), source="r")


def chain(links: int) -> list[str]:
    """Make so many aliases, n0 to the last, which has an address."""
    aliases = [f"n{number}.example. 60 CNAME n{number + 1}.example." for number in range(links)]
    return [*aliases, f"n{links}.example. 60 A 192.0.2.1"]


def test_a_chain_of_aliases_may_have_so_many_links_and_not_one_more() -> None:
    """DANE-11 (RFC 7672 2.1.3): sixteen links lead to the address; seventeen are a failed lookup, and no denial."""
    first = Question("n0.example", "A")
    good = said(first, *chain(MAX_ALIASES))
    assert isinstance(good, Found)
    assert (good.canonical, good.records) == (f"n{MAX_ALIASES}.example", (IP("192.0.2.1"),))
    over = said(first, *chain(MAX_ALIASES + 1))
    assert isinstance(over, Failed)
    assert over.failure is Failure.CHAIN


@pytest.mark.parametrize("target", ["n0.example", "n1.example", "n2.example"])
def test_aliases_that_go_in_a_circle_are_a_failed_lookup(target: str) -> None:
    """DANE-11 (RFC 7672 2.1.3): back to the beginning, to the middle, or to itself."""
    circle = said(
        Question("n0.example", "A"),
        "n0.example. 60 CNAME n1.example.", "n1.example. 60 CNAME n2.example.", f"n2.example. 60 CNAME {target}.",
    )  # fmt: skip
    assert isinstance(circle, Failed)
    assert circle.failure is Failure.CHAIN


def test_a_dname_is_seen_through_its_synthesized_alias() -> None:
    """DANE-13 (RFC 7672 2.1.3): DNAME and the CNAME made from it: the host is an alias like others, with both names as candidates."""
    found = said(
        Question("mx.old.example", "A"),
        "old.example. 60 DNAME new.example.",
        "mx.old.example. 60 CNAME mx.new.example.",
        "mx.new.example. 60 A 192.0.2.1",
    )
    assert isinstance(found, Found)
    assert (found.canonical, found.aliases, found.security) == ("mx.new.example", ("mx.new.example",), Security.SECURE)


@pytest.mark.parametrize(
    ("records", "seconds"),
    [
        ((SOA,), 900),
        ((SOA, f"example. 3600 RRSIG SOA 13 1 3600 {END[600]} 20260101000000 1 example. AAAA"), 600),
        (
            (
                SOA, "mx.example. 3600 NSEC z.example. A RRSIG NSEC",
                f"mx.example. 3600 RRSIG NSEC 13 2 3600 {END[30]} 20260101000000 1 example. AAAA",
            ),
            30,
        ),
        ((SOA, "mx.example. 20 NSEC z.example. A RRSIG NSEC"), 20),
    ],
    ids=["its TTL, capped", "the SOA's signature", "the NSEC's signature", "the NSEC's TTL"],
)  # fmt: skip
def test_a_denial_ends_with_its_proof(records: tuple[str, ...], seconds: int) -> None:
    """DANE-108 (RFC 4035 5.3.3, RFC 2308 5): "no TLSA" holds no longer than what proves it."""
    gone = said(Question("mx.example", "TLSA"), *records, authority=len(records))
    assert isinstance(gone, Absent)
    assert gone.expires == NOW + timedelta(seconds=seconds)


def test_a_denial_behind_an_alias_ends_with_the_alias() -> None:
    """DANE-108: where the alias changes in ten seconds, so may the answer."""
    gone = said(Question("mx.example", "TLSA"), "mx.example. 10 CNAME x.example.", SOA, authority=1)
    assert isinstance(gone, Absent)
    assert (gone.canonical, gone.expires) == ("x.example", NOW + timedelta(seconds=10))


@pytest.mark.parametrize("rcode", [dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_extended_errors_are_read_from_any_response(rcode: dns.rcode.Rcode) -> None:
    """SEC-78 (RFC 8914 2, 3): several in one message, unknown codes, without text, or with text that ends in NUL."""
    made = reply(dns.message.make_query("example", "MX"), rcode=rcode)
    sent = (b"\x00\x06", b"\x00\x07late\x00", b"\xc0\x01house rules")
    made.use_edns(0, options=[dns.edns.GenericOption(dns.edns.OptionType.EDE, octets) for octets in sent])
    made.set_rcode(rcode)
    response = dns.message.from_wire(made.to_wire())
    assert extended_errors(response) == (
        ExtendedError(6), ExtendedError(7, "late"), ExtendedError(0xC001, "house rules"),
    )  # fmt: skip
    assert rcode_failure(response) == rcode_failure(reply(dns.message.make_query("example", "MX"), rcode=rcode))
