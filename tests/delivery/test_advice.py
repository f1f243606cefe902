"""What a report tells the other postmaster is what the handshake found out, under the names that it uses."""

from datetime import UTC, datetime

from delivery.advice import explain
from delivery.tls import judge_chain
from stages.plan import DaneDemand, Trouble
from stages.policy import DanePolicy
from stages.reason import Reason
from tests.delivery.certificates import authority, leaf

NAME = "mx.example.com"


def test_a_mismatch_is_told_record_by_record() -> None:
    """DSN-50: each TLSA record stands in the report with why it did not match, beside what the server showed."""
    shown, published = leaf(NAME), leaf("other.example").tlsa()
    chain = (shown.der, authority().der)
    demand = DaneDemand(NAME, (published,), (NAME,))
    judgement = judge_chain(demand, chain, datetime.now(UTC), DanePolicy(), ("TLSv1.3", "x"))
    facts = {"host": NAME, "certificate": judgement.handshake.facts}
    advice = explain(Reason("deliver", str(Trouble.MISMATCH), "5.7.5", judgement.text, facts), "example.com")
    (told,) = [line for line in advice.facts if line.startswith(f"TLSA {published}: ")]
    assert told.removeprefix(f"TLSA {published}: ") == judgement.handshake.facts["mismatch"][0]["why"]
    assert "Certificates sent: 2" in advice.facts
    assert f"SHA-256 of its public key (SPKI): {judgement.handshake.facts['spki_sha256']}" in advice.facts
