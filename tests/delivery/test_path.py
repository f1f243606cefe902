"""Paths to a DANE trust anchor: every rule of RFC 5280 that DANE-TA keeps, one certificate wrong at a time."""

from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from delivery.matcher import MAX_CHAIN, MAX_OCTETS, Match, Mismatch, match
from stages.records import TLSA
from tests.delivery.test_matcher import DAY, NAMES, NOW, Made, leaf, make, middle, root, run

Chain = list[Made]


def wrong(outcome: object) -> str:
    """Give the reasons of a mismatch."""
    assert isinstance(outcome, Mismatch), outcome
    return str(outcome)


def limits(*permitted: x509.GeneralName, excluded: tuple[x509.GeneralName, ...] = ()) -> x509.NameConstraints:
    """Make name constraints."""
    return x509.NameConstraints(list(permitted) or None, list(excluded) or None)


def below(*extensions: x509.ExtensionType, names: tuple[str, ...] = ("mx1.example.com",)) -> Chain:
    """Make a leaf below an intermediate with these extensions, below the root."""
    issuer = make("Constrained", root(), ca=True, extensions=extensions)
    return [make("mx1.example.com", issuer, names=names), issuer, root()]


def under(*extensions: x509.ExtensionType) -> Chain:
    """Make a leaf below an anchor with these extensions."""
    anchor = make("Anchor", ca=True, extensions=extensions)
    return [make("mx1.example.com", anchor, names=("mx1.example.com",)), anchor]


INSIDE, OUTSIDE = x509.DNSName("example.com"), x509.DNSName("example.org")


@pytest.mark.parametrize("place", [below, under], ids=["intermediate", "anchor"])
@pytest.mark.parametrize(
    ("constraints", "good"),
    [
        (limits(INSIDE), True),
        (limits(OUTSIDE), False),
        (limits(OUTSIDE, INSIDE), True),
        (limits(excluded=(INSIDE,)), False),
        (limits(excluded=(x509.DNSName("mx1.example.com"),)), False),
        (limits(excluded=(x509.DNSName("x1.example.com"),)), True),
        (limits(INSIDE, excluded=(x509.DNSName("mx1.example.com"),)), False),
        (limits(x509.IPAddress(ip_network("192.0.2.0/24"))), True),
    ],
)
def test_name_constraints_hold_wherever_they_stand(
    place: Callable[..., Chain],
    constraints: x509.NameConstraints,
    good: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """DANE-65 (RFC 7672 3.1.2, RFC 5280 4.2.1.10): names outside the permitted or inside the excluded trees break the path."""
    chain = place(constraints)
    outcome = run(chain, chain[-1].record(2, 0, 1))
    assert isinstance(outcome, Match) is good
    assert good or "name constraints" in wrong(outcome)


@pytest.mark.parametrize(("network", "good"), [("192.0.2.0/24", True), ("198.51.100.0/24", False)])
def test_name_constraints_hold_for_addresses(network: str, good: bool) -> None:  # noqa: FBT001 - a column of the table
    """DANE-65 (RFC 5280 4.2.1.10): an address in the certificate is held to the networks of its issuer."""
    anchor = make("Anchor", ca=True, extensions=(limits(x509.IPAddress(ip_network(network))),))
    san = x509.SubjectAlternativeName([x509.DNSName(NAMES[0]), x509.IPAddress(ip_address("192.0.2.25"))])
    end = make("mx1.example.com", anchor, extensions=(san,))
    assert isinstance(run([end, anchor], anchor.record(2, 0, 1)), Match) is good


def test_an_intermediate_is_held_to_its_own_path_length() -> None:
    """DANE-65, DANE-59 (RFC 5280 4.2.1.9): pathlen:0 of an intermediate allows a leaf below it and no further CA."""
    short = make("Short", root(), ca=True, path_length=0)
    direct = make("mx1.example.com", short, names=NAMES)
    assert isinstance(run([direct, short, root()], root().record(2, 0, 1)), Match)
    further = make("Further", short, ca=True)
    end = make("mx1.example.com", further, names=NAMES)
    assert "allows 0 intermediates" in wrong(run([end, further, short, root()], root().record(2, 0, 1)))


@pytest.mark.parametrize("mtype", [0, 1, 2])
def test_an_anchor_that_expired_anchors_nothing(mtype: int) -> None:
    """DANE-59, DANE-65 (RFC 7672 3.1.2): selector Cert binds the anchor's dates, sent along or published in full."""
    for start, end in ((-60 * DAY, -DAY), (DAY, 60 * DAY)):
        old = make("Old", ca=True, start=start, end=end)
        good = make("mx1.example.com", old, names=NAMES)
        assert "the trust anchor" in wrong(run([good, old], old.record(2, 0, mtype)))
        if mtype == 0:
            assert "the trust anchor" in wrong(run([good], old.record(2, 0, 0)))


@pytest.mark.parametrize("place", [below, under], ids=["intermediate", "anchor"])
def test_an_unknown_critical_extension_breaks_the_path(place: Callable[..., Chain]) -> None:
    """DANE-59 (RFC 5280 4.2): what is critical and not understood may change everything, so the path is not taken."""
    chain = place(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"))
    assert "unknown critical extension" in wrong(run(chain, chain[-1].record(2, 0, 1)))
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    end = make("mx1.example.com", root(), names=NAMES, extensions=(strange,))
    assert "unknown critical extension" in wrong(run([end, root()], root().record(2, 0, 1)))


@pytest.mark.parametrize(
    ("purpose", "good"),
    [
        (ExtendedKeyUsageOID.SERVER_AUTH, True),
        (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, True),
        (ExtendedKeyUsageOID.CLIENT_AUTH, False),
    ],
)
def test_a_leaf_must_be_for_servers(purpose: x509.ObjectIdentifier, good: bool) -> None:  # noqa: FBT001 - a column
    """DANE-59 (RFC 5280 4.2.1.12): an extended key usage, where there is one, includes TLS servers."""
    end = make("mx1.example.com", root(), names=NAMES, extensions=(x509.ExtendedKeyUsage([purpose]),))
    assert isinstance(run([end, root()], root().record(2, 0, 1)), Match) is good


# Bare keys and anchors in the record


@pytest.mark.parametrize("record", [root().record(2, 0, 0), root().record(2, 1, 0)], ids=["2 0 0", "2 1 0"])
def test_a_path_to_an_anchor_that_was_not_sent_keeps_all_rules(record: TLSA) -> None:
    """DANE-58, DANE-63, DANE-64 (RFC 7671 5.2.2, 5.2.3): names, dates and CA flag hold where the record is the anchor."""
    good = make("mx1.example.com", root(), names=NAMES)
    assert run([good], record) == Match(record, 1, NAMES[0])
    assert run([leaf(), middle()], record) == Match(record, 2, NAMES[0])
    assert "expected mx1" in wrong(run([make("x", root(), names=("x.example",))], record))
    assert "expired" in wrong(run([make("mx1.example.com", root(), names=NAMES, end=-DAY)], record))
    dead = make("I", root(), ca=True, end=-DAY)
    assert "expired" in wrong(run([make("mx1.example.com", dead, names=NAMES), dead], record))
    plain = make("I", root())
    assert "is no CA" in wrong(run([make("mx1.example.com", plain, names=NAMES), plain], record))


def test_a_certificate_that_is_its_own_anchor() -> None:
    """DANE-66 (RFC 7671 5.2): only a CA that signed itself is both leaf and anchor, with its dates and its name."""
    own = make("mx1.example.com", ca=True, names=NAMES)
    assert run([own], own.record(2, 0, 1)) == Match(own.record(2, 0, 1), 0, NAMES[0])
    assert run([own], own.record(2, 0, 0)) == Match(own.record(2, 0, 0), 0, NAMES[0])
    plain = make("mx1.example.com", names=NAMES)
    assert "is no CA" in wrong(run([plain], plain.record(2, 0, 1)))
    issued = make("mx1.example.com", root(), ca=True, names=NAMES)
    assert "did not sign itself" in wrong(run([issued, root()], issued.record(2, 0, 1)))
    late = make("mx1.example.com", ca=True, names=NAMES, end=-DAY)
    assert "expired" in wrong(run([late], late.record(2, 0, 1)))
    named = make("x.example", ca=True, names=("x.example",))
    assert "expected mx1" in wrong(run([named], named.record(2, 0, 1)))


# What servers send


def test_certificates_in_any_order_make_a_path() -> None:
    """TLS-15, DANE-60 (RFC 7671 5.2.2): behind the leaf the order is the server's own, and strangers in it do no harm."""
    stranger = make("Stranger", ca=True)
    again = make("Intermediate", stranger, ca=True)  # the same name and another key
    for sent in (
        [leaf(), root(), middle()],
        [leaf(), stranger, again, root(), middle()],
        [leaf(), middle(), middle(), stranger],
    ):
        record = middle().record(2, 0, 1)
        assert run(sent, record) == Match(record, sent.index(middle()), NAMES[0])
    record = root().record(2, 0, 1)
    assert run([leaf(), again, root(), middle()], record) == Match(record, 2, NAMES[0])


def test_crossing_issuers_are_not_searched_for_ever() -> None:
    """TLS-14: certificates that all sign each other make more paths than anybody can walk; the search is bounded."""
    keys = [make("Ring", ca=True) for _ in range(3)]
    ring = [_signed("Ring", "Ring", holder, issuer) for holder in keys for issuer in keys]
    end = _signed("mx1.example.com", "Ring", make("mx1.example.com"), keys[0])
    outcome = match([end, *ring], [root().record(2, 0, 0)], NAMES, NOW)
    assert "more than 64 signatures" in wrong(outcome)


def _signed(subject: str, issuer: str, holder: Made, signer: Made) -> bytes:
    """Make a CA certificate with names and keys as told."""
    common = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (subject, issuer)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(common[0])
        .issuer_name(common[1])
        .public_key(holder.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("usage", [2, 3])
def test_a_chain_beyond_the_bounds_is_a_mismatch_that_says_so(usage: int) -> None:
    """TLS-14: too many certificates, or too many octets, are not looked at, though the leaf would match."""
    record = leaf().record(3, 1, 1) if usage == 3 else middle().record(2, 0, 1)
    chain = [leaf().der, middle().der]
    names = ("mx1.example.com",)
    assert isinstance(match(chain + [root().der] * (MAX_CHAIN - 2), [record], names, NOW), Match)
    assert f"more than {MAX_CHAIN}" in wrong(match(chain + [root().der] * (MAX_CHAIN - 1), [record], names, NOW))
    assert f"more than {MAX_OCTETS}" in wrong(match([*chain, bytes(MAX_OCTETS)], [record], names, NOW))


def test_a_name_with_a_nul_in_it_is_no_name() -> None:
    r"""DANE-91 (RFC 6125 6.4): `mx1.example.com\0.evil.example` in a certificate stands for nobody."""
    end = make("mx1.example.com", root(), names=("mx1.example.com\0.evil.example",))
    assert isinstance(run([end, root()], root().record(2, 0, 1)), Mismatch)
    odd = make("mx1.example.com\0.evil.example", root())
    assert isinstance(run([odd, root()], root().record(2, 0, 1)), Mismatch)


def test_addresses_among_the_names_leave_the_cn_to_count() -> None:
    """DANE-87 (RFC 7672 3.2.3): a SAN with addresses and no DNS-ID is none for names, so the CN is looked at."""
    san = x509.SubjectAlternativeName([x509.IPAddress(ip_address("192.0.2.25"))])
    end = make("mx1.example.com", root(), extensions=(san,))
    assert run([end, root()], root().record(2, 0, 1)) == Match(root().record(2, 0, 1), 1, NAMES[0])
