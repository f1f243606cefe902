"""The matcher on certificates of our own making: what matches, what does not, and what is told of it."""

import hashlib
import json
import os
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.matcher import Match, MatchOptions, Mismatch, Unusable, match
from delivery.names import covers
from delivery.tls import judge_chain
from stages.plan import DaneDemand, Demand, MayDemand
from stages.policy import DanePolicy
from stages.records import TLSA
from tests.delivery import certificates

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = ("mx1.example.com", "example.com")


@dataclass(frozen=True)
class Made:
    """A certificate, its key, and its DER."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        """Give the certificate in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def spki(self) -> bytes:
        """Give the public key in DER."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def record(self, usage: int, selector: int, mtype: int) -> TLSA:
        """Make the record that names this certificate."""
        data = self.spki if selector else self.der
        digest = {0: data, 1: hashlib.sha256(data).digest(), 2: hashlib.sha512(data).digest()}
        return TLSA(usage, selector, mtype, digest[mtype])


def make(
    common: str,
    issuer: Made | None = None,
    *,
    ca: bool = False,
    path_length: int | None = None,
    names: tuple[str, ...] | None = None,
    start: timedelta = -30 * DAY,
    end: timedelta = 30 * DAY,
    extensions: tuple[x509.ExtensionType, ...] = (),
    signs: bool = True,
) -> Made:
    """Make a certificate; without `names` there is no SAN at all."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + start)
        .not_valid_after(NOW + end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    )
    if ca:
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        builder = builder.add_extension(usage, critical=True)
    if names is not None:
        san: list[x509.GeneralName] = [x509.RFC822Name(name) if "@" in name else x509.DNSName(name) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return Made(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


@cache
def root() -> Made:
    """Give a root."""
    return make("Root", ca=True)


@cache
def middle() -> Made:
    """Give an intermediate below the root."""
    return make("Intermediate", root(), ca=True)


@cache
def leaf() -> Made:
    """Give a good leaf below the intermediate."""
    return make("mx1.example.com", middle(), names=("mx1.example.com",))


OTHER = make("other.example", names=("other.example",))


def run(chain: list[Made], *records: TLSA, names: tuple[str, ...] = NAMES, **options: Any) -> object:
    """Match at NOW."""
    return match([one.der for one in chain], records, names, NOW, MatchOptions(**options))


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("mtype", [0, 1, 2])
def test_every_form_of_dane_ee_matches(selector: int, mtype: int) -> None:
    """DANE-56 (RFC 6698 2.1): both selectors, the full data and both digests, over DER."""
    record = leaf().record(3, selector, mtype)
    assert run([leaf(), middle()], record) == Match(record, 0)


def test_dane_ee_looks_at_the_leaf_alone() -> None:
    """DANE-53 (RFC 7672 3.1.1): an intermediate's digest matches nothing, and the reader is told where it stands."""
    outcome = run([leaf(), middle()], middle().record(3, 1, 1))
    assert isinstance(outcome, Mismatch)
    assert "it matches certificate 1 of the chain, which only usage 2 may" in str(outcome)


def test_dane_ee_asks_for_no_name_no_date_and_nothing_else() -> None:
    """DANE-54, DANE-55, DANE-57, DANE-77 (RFC 7672 3.1.1, RFC 7671 5.1): names, dates, CA flag and purposes do not count."""
    client = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    for odd in (
        make("wrong.example", names=("wrong.example",)),
        make("x", start=-60 * DAY, end=-DAY),
        make("x", start=DAY, end=60 * DAY),
        make("x", ca=True, extensions=(client, unknown)),
    ):
        assert isinstance(run([odd], odd.record(3, 1, 1)), Match)


def test_dane_ta_verifies_the_path_and_the_name() -> None:
    """DANE-58, DANE-60, DANE-80 (RFC 7672 3.1.2, RFC 7671 5.2.2): any issuer sent may be the anchor, nothing above counts."""
    assert run([leaf(), middle(), root()], root().record(2, 0, 1)) == Match(root().record(2, 0, 1), 2, NAMES[0])
    assert run([leaf(), middle()], middle().record(2, 1, 1)) == Match(middle().record(2, 1, 1), 1, NAMES[0])
    wrong = make("wrong.example", middle(), names=("wrong.example",))
    outcome = run([wrong, middle()], middle().record(2, 0, 1))
    assert isinstance(outcome, Mismatch)
    assert "the certificate is for wrong.example, expected mx1.example.com or example.com" in str(outcome)


@pytest.mark.parametrize(
    "chain",
    [
        lambda: [make("mx1.example.com", root(), names=NAMES, end=-DAY), root()],
        lambda: [make("mx1.example.com", root(), names=NAMES, start=DAY), root()],
        lambda: _under(make("I", root(), ca=True, end=-DAY)),
        lambda: _under(make("I", root(), ca=False)),
        lambda: _under(make("I", root(), ca=True, signs=False)),
        lambda: [make("mx1.example.com", make("Root", ca=True), names=NAMES), root()],
        lambda: [OTHER, root()],
    ],
    ids=["expired", "not yet", "expired CA", "no CA", "may not sign", "signed by another", "no path"],
)
def test_dane_ta_holds_the_path_to_its_rules(chain: Any) -> None:
    """DANE-59, DANE-61 (RFC 6698 2.1.1, RFC 5280 6): dates, signatures, CA flag and key usage; no other trust helps."""
    assert isinstance(run(chain(), root().record(2, 0, 1)), Mismatch)


def _under(intermediate: Made) -> list[Made]:
    return [make("mx1.example.com", intermediate, names=NAMES), intermediate, root()]


def test_an_anchor_that_was_not_sent() -> None:
    """DANE-62, DANE-63, DANE-64 (RFC 7671 5.2.2, 5.2.3): a digest needs the anchor sent; the full data stand in for it."""
    alone = make("mx1.example.com", root(), names=NAMES)
    missing = run([alone], root().record(2, 0, 1))
    assert isinstance(missing, Mismatch)
    assert "the server must send the trust anchor" in str(missing)
    assert run([alone], root().record(2, 0, 0)) == Match(root().record(2, 0, 0), 1, NAMES[0])
    assert run([alone], root().record(2, 1, 0)) == Match(root().record(2, 1, 0), 1, NAMES[0])
    assert isinstance(run([alone], OTHER.record(2, 1, 0)), Mismatch)


def test_an_anchor_is_held_to_its_own_constraints_and_a_leaf_is_none() -> None:
    """DANE-65, DANE-66 (RFC 7672 3.1.2, RFC 7671 5.2): path length under selector Cert; a plain leaf is no anchor."""
    short = make("Short", ca=True, path_length=0)
    below = make("I", short, ca=True)
    end = make("mx1.example.com", below, names=NAMES)
    assert isinstance(run([end, below, short], short.record(2, 0, 1)), Mismatch)
    assert isinstance(run([leaf(), middle()], leaf().record(2, 0, 1)), Mismatch)


@pytest.mark.parametrize(
    "record",
    [
        leaf().record(1, 1, 1),
        leaf().record(0, 0, 1),
        TLSA(255, 1, 1, bytes(32)),
        TLSA(3, 7, 1, bytes(32)),
        TLSA(3, 1, 9, bytes(32)),
        TLSA(3, 1, 1, bytes(31)),
        TLSA(3, 1, 2, bytes(32)),
        TLSA(3, 1, 1, b""),
        TLSA(2, 0, 0, b"no certificate"),
        TLSA(3, 1, 0, b"no key"),
    ],
    ids=str,
)
def test_what_is_unusable_says_why(record: TLSA) -> None:
    """DANE-67, DANE-68, DANE-69 (RFC 7672 3.1.3, RFC 6698 4.1): usages 0 and 1, unknown numbers, malformed data."""
    outcome = run([leaf(), middle()], record)
    assert isinstance(outcome, Unusable)
    assert outcome.reasons[0][1]


def test_policy_can_make_a_digest_unusable() -> None:
    """DANE-70 (RFC 6698 4.1): a matching type that policy bans is unusable, and alone leaves nothing to verify with."""
    assert isinstance(run([leaf()], leaf().record(3, 1, 1), digests=(2,)), Unusable)


def test_one_match_is_enough_and_unusable_ones_excuse_nothing() -> None:
    """DANE-71, DANE-72, DANE-107 (RFC 7672 3.2, RFC 7671 8): rollover pairs hold; a mixed set still has to match."""
    pair = (OTHER.record(3, 1, 1), leaf().record(3, 1, 1))
    assert isinstance(run([leaf()], *pair), Match)
    assert isinstance(run([OTHER], *pair), Match)
    assert isinstance(run([leaf()], leaf().record(1, 1, 1), OTHER.record(3, 1, 1)), Mismatch)


def test_digest_agility() -> None:
    """DANE-73, DANE-74, DANE-75, DANE-76 (RFC 7671 9): the strongest digest of a kind counts, after the unusable are gone."""
    weak, strong = leaf().record(3, 1, 1), OTHER.record(3, 1, 2)
    assert isinstance(run([leaf()], weak, strong), Mismatch)
    assert isinstance(run([leaf()], weak, strong, digests=(1, 2)), Match)
    assert isinstance(run([leaf()], leaf().record(3, 1, 0), strong), Match)
    assert isinstance(run([leaf()], TLSA(3, 1, 2, bytes(31)), weak), Match)
    assert isinstance(run([leaf()], OTHER.record(2, 0, 2), weak), Match)
    assert isinstance(run([leaf()], OTHER.record(3, 0, 2), weak), Match)


def _named(*names: str, common: str = "mx1.example.com", san: bool = True) -> list[Made]:
    return [make(common, root(), names=names if san else None), root()]


@pytest.mark.parametrize(
    ("chain", "good"),
    [
        (lambda: _named("example.com"), True),
        (lambda: _named("MX1.Example.COM"), True),
        (lambda: _named("*.example.com"), True),
        (lambda: _named("other.example"), False),
        (lambda: _named("mx*.example.com"), False),
        (lambda: _named("*1.example.com"), False),
        (lambda: _named(san=False), True),
        (lambda: _named("root@example.com"), True),
        (lambda: _named(san=False, common="other.example"), False),
    ],
)
def test_names_under_dane_ta(chain: Any, good: bool) -> None:  # noqa: FBT001 - a column of the table
    """DANE-81, DANE-86, DANE-87, DANE-88, DANE-89, DANE-91 (RFC 7672 3.2.3): DNS-IDs first, CN only without, whole labels."""
    assert isinstance(run(chain(), root().record(2, 0, 1)), Match) is good


def test_wildcards_stand_for_one_label_unless_policy_says_more() -> None:
    """DANE-88, DANE-90 (RFC 7672 3.2.3): *.example.com is neither a.b.example.com (by default) nor example.com."""
    assert covers(("*.example.com",), ("a.b.example.com",)) is None
    assert covers(("*.example.com",), ("a.b.example.com",), multilabel=True) == "a.b.example.com"
    assert covers(("*.example.com",), ("example.com",)) is None
    assert covers(("mx1.example.com\0.evil",), ("mx1.example.com",)) is None
    assert covers(("mx1.example.com.",), ("mx1.example.com",)) == "mx1.example.com"


def test_records_are_shown_with_their_registered_names() -> None:
    """DANE-79 (RFC 7218 2): acronyms for people, numbers for machines."""
    assert leaf().record(3, 1, 1).acronyms == "DANE-EE(3) SPKI(1) SHA2-256(1)"
    assert TLSA(2, 0, 0, b"").acronyms == "DANE-TA(2) Cert(0) Full(0)"
    assert TLSA(1, 1, 2, b"").acronyms == "PKIX-EE(1) SPKI(1) SHA2-512(2)"


@settings(max_examples=150, deadline=None)
@given(
    chain=st.lists(st.binary(max_size=64), max_size=3),
    usage=st.integers(0, 255), selector=st.integers(0, 255), mtype=st.integers(0, 255), data=st.binary(max_size=70),
)  # fmt: skip
def test_no_octets_make_it_raise_or_match(
    chain: list[bytes], usage: int, selector: int, mtype: int, data: bytes
) -> None:
    """DANE-69: whatever a server sends or a zone publishes, the answer is a value, and garbage never matches a digest."""
    outcome = match(chain, [TLSA(usage, selector, mtype, data)], NAMES, NOW)
    assert isinstance(outcome, (Mismatch, Unusable)) or (usage, selector, mtype) == (3, 0, 0)


@pytest.mark.filterwarnings("ignore")  # the library warns of what it can still read
@settings(max_examples=300, deadline=None)
@given(which=st.integers(0, 1), place=st.integers(0, 2000), value=st.integers(0, 255), usage=st.sampled_from([2, 3]))
def test_no_damage_to_a_certificate_makes_it_raise_or_match(which: int, place: int, value: int, usage: int) -> None:
    """TLS-14: one octet changed anywhere in leaf or anchor is a mismatch, and never an exception in the middle of mail."""
    leaf, anchor = certificates.leaf("mx1.example.com"), certificates.authority()
    chain = [leaf.der, anchor.der]
    damaged = bytearray(chain[which])
    place %= len(damaged)
    if damaged[place] == value:
        value ^= 0xFF
    damaged[place] = value
    sent = [bytes(damaged) if number == which else one for number, one in enumerate(chain)]
    records = [leaf.tlsa(3, 0, 1)] if usage == 3 else [TLSA(2, 0, 0, bytes(damaged)), anchor.tlsa(2, 0, 1)]
    demand = DaneDemand("mx1.example.com", tuple(records), ("mx1.example.com",))
    now = datetime.now(UTC)
    outcome = match(sent, records, ("mx1.example.com",), now)
    judged = judge_chain(demand, sent, now, DanePolicy(), ("TLSv1.3", ""))
    matched = isinstance(outcome, Match)
    assert judged.handshake.level == ("dane" if matched else "encrypted")
    assert not matched or which == 1  # an end entity is matched by its own octets; a changed anchor names itself


@pytest.mark.parametrize(
    "demand", [DaneDemand("a.example", (), ()), MayDemand("no TLSA", "a.example")], ids=["dane", "may"]
)
def test_a_repeated_extension_is_told_of(demand: Demand) -> None:
    """TLS-14 (RFC 5280 4.2): a certificate that the library refuses to read is a fact in the log and no fault of ours."""
    leaf = certificates.leaf("mx1.example.com").der
    repeated = leaf.replace(bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d13"))  # a second basicConstraints
    assert repeated != leaf
    record = TLSA(3, 0, 1, hashlib.sha256(repeated).digest())
    if isinstance(demand, DaneDemand):
        demand = replace(demand, records=(record,))
    judged = judge_chain(demand, [repeated], datetime.now(UTC), DanePolicy(), ("TLSv1.3", ""))
    assert judged.trouble is None
    assert "Duplicate" in str(judged.handshake.facts["unreadable"])
    anchored = TLSA(2, 0, 0, certificates.authority().der)
    assert isinstance(match([repeated], [anchored], ("mx1.example.com",), datetime.now(UTC)), Mismatch)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_vectors_of_other_projects() -> None:
    """DANE-53 to DANE-76: cases of other implementations, where a directory of them is at hand (DANEPIPE_VECTORS)."""
    directory = os.environ.get("DANEPIPE_VECTORS")
    if not directory:
        pytest.skip("DANEPIPE_VECTORS names no directory of test vectors")
    cases = Path(directory) / "dane"
    spec = spec_from_file_location("load_vectors", cases / "load_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["load_vectors"] = module
    spec.loader.exec_module(module)
    wrong, seen = [], 0
    for vector in (one for file in sorted(cases.glob("*_dane_vectors.json")) for one in module.load(file)):
        wanted = vector.get("smtp_expect", "ok" if vector["expect_ok"] else "fail")
        if vector["class"] != "dane" or wanted == "either":
            continue
        seen += 1
        chain = [
            x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)
            for pem in vector["chain_pem"]
        ]
        records = [
            TLSA(one["usage"], one["selector"], one["mtype"], bytes.fromhex(one["data_hex"])) for one in vector["tlsa"]
        ]
        when = None if vector.get("derived") else vector.get("verify_time")
        now = datetime.fromisoformat(when) if when else datetime.now(UTC)
        names = tuple(vector.get("ref_names") or (vector["base_domain"],))
        if isinstance(match(chain, records, names, now), Match) is not (wanted != "fail"):
            wrong.append(json.dumps(vector["id"]))
    assert seen > 20
    assert not wrong
