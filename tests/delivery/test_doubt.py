"""Bogus or broken: what a resolver calls bogus counts only where the keys to say so were there to be fetched."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.dnssec
import dns.dnssectypes
import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from delivery.nameserver import Server
from delivery.resolver import DnsSettings, Resolver
from ops.lab.scenario import Breakage, Damage, Fault, Scenario
from ops.lab.world import Lab
from stages.answer import Answer, Failed, Failure, Proof, Question
from tests.delivery.test_nameserver import reply, serving
from tests.needs import program

BOTH = {Proof.CD_REQUERY, Proof.EDE}
MX = Question("example.test", "MX")


async def asked(server: Server, question: Question = MX) -> Failed:
    """Ask one resolver, which is believed, a question that it fails to answer."""
    settings = DnsSettings((server,), timeout=timedelta(seconds=4), attempts=2, canaries=())
    resolver = Resolver(settings, now=lambda: datetime.now(UTC))
    answer: Answer = await resolver.ask(question)
    await resolver.aclose()
    assert isinstance(answer, Failed), answer
    return answer


async def test_keys_that_cannot_be_fetched_prove_nothing(tmp_path: Path) -> None:
    """DANE-02, DANE-06 (RFC 7672 2.1.1, 2.1.2): to Unbound a lost DNSKEY or DS looks like a wrong one; only that is bogus."""
    program("unbound")
    stories = (
        Scenario("broken-ds", "a wrong DS", breakage=(Breakage(Damage.WRONG_DS),)),
        Scenario("expired", "an expired signature", breakage=(Breakage(Damage.EXPIRED),)),
        Scenario("lost-keys", "SERVFAIL for DNSKEY", faults=(Fault("@", "DNSKEY", servfail=True),)),
        Scenario("lost-ds", "SERVFAIL for DS", faults=(Fault("@", "DS", servfail=True),)),
    )
    async with Lab.open(tmp_path, stories) as lab:
        found = {one.name: await asked(Server.parse(lab.resolver), Question(one.domain, "MX")) for one in stories}
    assert {name: one.failure for name, one in found.items()} == {
        "broken-ds": Failure.BOGUS,
        "expired": Failure.BOGUS,
        "lost-keys": Failure.INDETERMINATE,
        "lost-ds": Failure.INDETERMINATE,
    }
    assert {name: set(one.proofs) for name, one in found.items() if one.failure is Failure.BOGUS} == {
        "broken-ds": BOTH,
        "expired": BOTH,
    }
    assert not found["lost-keys"].proofs
    assert "lost-keys.lab/DNSKEY cannot be fetched" in found["lost-keys"].text
    assert "lost-ds.lab/DS cannot be fetched" in found["lost-ds"].text


def _key() -> tuple[str, str]:
    """Make a key of example.test; give its DNSKEY record and the DS record that fits."""
    dnskey = dns.dnssec.make_dnskey(
        ec.generate_private_key(ec.SECP256R1()).public_key(), dns.dnssectypes.Algorithm.ECDSAP256SHA256, flags=257
    )
    ds = dns.dnssec.make_ds(dns.name.from_text("example.test"), dnskey, dns.dnssectypes.DSDigest.SHA256)
    return f"example.test. 60 DNSKEY {dnskey.to_text()}", f"example.test. 60 DS {ds.to_text()}"


KEY, FITS = _key()
_, OTHER = _key()
ODD = OTHER.replace(" 13 2 ", " 13 200 ")  # a digest type that nobody knows


@pytest.mark.parametrize(
    ("code", "records", "failure", "why"),
    [
        (9, (KEY, FITS), Failure.INDETERMINATE, "every DS record set has a key that fits"),
        (9, (KEY, ODD), Failure.INDETERMINATE, "every DS record set has a key that fits"),
        (9, (), Failure.INDETERMINATE, "every DS record set has a key that fits"),
        (9, (KEY, OTHER), Failure.BOGUS, "with checking disabled there is an answer"),
        (9, (FITS,), Failure.BOGUS, "with checking disabled there is an answer"),
        (7, (KEY, FITS), Failure.BOGUS, "with checking disabled there is an answer"),
    ],
    ids=["key came back", "digest unknown", "no delegation", "wrong key", "no key at all", "signature expired"],
)
async def test_a_missing_key_must_be_seen_to_be_missing(
    code: int, records: tuple[str, ...], failure: Failure, why: str
) -> None:
    """DANE-02 (RFC 8914 4.10, RFC 4035 5.2): "DNSKEY missing" is proof where a DS stands without a key, and not after a mere outage."""
    seen: list[str] = []

    def answer(query: dns.message.Message) -> bytes:
        question = query.question[0]
        seen.append(f"{question.name} {dns.rdatatype.to_text(question.rdtype)}")
        if not query.flags & dns.flags.CD:
            made = reply(query, rcode=dns.rcode.SERVFAIL)
            made.use_edns(0, options=[dns.edns.EDEOption(dns.edns.EDECode(code))])
            return made.to_wire()
        kind = dns.rdatatype.to_text(question.rdtype)
        given = [one for one in records if one.startswith(f"{question.name} 60 {kind} ")]
        return reply(query, *given, *(("example.test. 60 MX 10 mx.test.",) if kind == "MX" else ())).to_wire()

    async with serving(answer) as server:
        found = await asked(server)
    assert (found.failure, found.text.partition("; ")[2].removeprefix("not proven bogus: ")) == (failure, why)
    assert set(found.proofs) == (BOTH if failure is Failure.BOGUS else set())
    assert {"example.test. DNSKEY", "example.test. DS", "test. DS", ". DNSKEY"} <= set(seen)
    assert ". DS" not in seen


async def test_a_name_of_many_labels_costs_no_more_questions() -> None:
    """DANE-02, SEC-59: a bogus answer in the depths of a tree is left unproven rather than looked into without end."""
    deep = Question(f"{'a.' * 100}test", "MX")
    asked_of: list[dns.message.Message] = []

    def answer(query: dns.message.Message) -> bytes:
        asked_of.append(query)
        rcode = dns.rcode.NOERROR if query.flags & dns.flags.CD else dns.rcode.SERVFAIL
        return reply(query, rcode=rcode).to_wire()

    async with serving(answer) as server:
        found = await asked(server, deep)
    assert found.failure is Failure.INDETERMINATE
    assert "the keys of 102 zones" in found.text
    assert len(asked_of) == 2
