"""TLS on a real socket: contexts for each demand, the chain as sent, and what a handshake proves."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from delivery.settings import TlsSettings
from delivery.tls import Judgement, context_for, judge, judge_chain, peer_chain, server_name
from stages.plan import DaneDemand, Demand, EncryptDemand, MayDemand, Trouble, VerifyDemand
from stages.policy import DanePolicy, Mode, OnUnusable
from stages.records import TLSA
from tests.delivery.certificates import Certificate, authority, leaf

NAME = "mx.example.com"


def dane(*records: TLSA, names: Sequence[str] = (NAME,), **changes: bool) -> DaneDemand:
    """Make a DANE demand for NAME."""
    return replace(DaneDemand(NAME, records, tuple(names)), **changes)  # type: ignore[arg-type]


async def shake(
    shown: Certificate | ssl.SSLContext,
    demand: Demand,
    settings: TlsSettings | None = None,
    policy: DanePolicy | None = None,
) -> tuple[Judgement, tuple[bytes, ...], str | None]:
    """Shake hands with a server on loopback; give the judgement, the chain and the SNI that the server saw."""
    names: list[str | None] = []
    context = shown.server() if isinstance(shown, Certificate) else shown
    context.sni_callback = lambda _connection, name, _context: names.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    writer: asyncio.StreamWriter | None = None
    try:
        client = context_for(demand.kind, settings or TlsSettings())
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client, server_hostname=server_name(demand) or ""
        )
        connection = writer.get_extra_info("ssl_object")
        judgement = judge(demand, connection, datetime.now(UTC), policy or DanePolicy())
        return judgement, peer_chain(connection), names[0]
    finally:
        if writer is not None:
            writer.transport.abort()
        server.close()
        await server.wait_closed()


async def test_the_chain_is_the_one_that_was_sent() -> None:
    """TLS-15: leaf and authority come in DER, leaf first; this fails loudly should Python move the call below."""
    shown = leaf(NAME)
    _, chain, _ = await shake(shown, EncryptDemand("", NAME))
    assert chain == (shown.der, authority().der)


async def test_the_chain_is_not_rebuilt_by_the_library() -> None:
    """TLS-15: certificates in an odd order stay in it, also where OpenSSL verifies with a store of its own."""
    shown, other = leaf(NAME), leaf("other.example")
    pem = shown.pem.parent / "odd.pem"
    pem.write_bytes(shown.pem.read_bytes() + other.pem.read_bytes().partition(b"-----END PRIVATE KEY-----\n")[2])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    demand = VerifyDemand(NAME, (NAME,))
    _, chain, _ = await shake(context, demand, TlsSettings(ca_file=authority().pem))
    assert chain == (shown.der, authority().der, other.der, authority().der)


async def test_a_matching_key_proves_dane_whatever_the_certificate_says() -> None:
    """DANE-93, RFC 7672 3.1.1: an expired certificate for another name is good where 3 1 1 names its key."""
    shown = leaf("elsewhere.example", expired=True)
    judgement, _, sni = await shake(shown, dane(shown.tlsa()))
    assert judgement.trouble is None
    assert judgement.handshake.level == "dane"
    assert judgement.handshake.facts["matched"] == str(shown.tlsa())
    assert sni == NAME  # DANE-92: the base domain, also for DANE-EE


async def test_a_trust_anchor_in_the_chain_proves_dane() -> None:
    """RFC 7672 3.1.2: 2 0 1 names the authority, and the leaf bears a reference name."""
    judgement, _, _ = await shake(leaf(NAME), dane(authority().tlsa(2, 0)))
    assert (judgement.handshake.level, judgement.handshake.facts["matched_depth"]) == ("dane", 1)


async def test_a_certificate_that_matches_nothing_is_trouble() -> None:
    """DANE-102, RFC 7672 2.2: without a match there is no mail, and the reason is told record by record."""
    judgement, _, _ = await shake(leaf(NAME), dane(leaf("other.example").tlsa()))
    assert judgement.trouble is Trouble.MISMATCH
    assert judgement.handshake.level == "encrypted"
    assert len(judgement.handshake.facts["mismatch"]) == 1


async def test_a_match_behind_an_insecure_mx_is_for_the_host_only() -> None:
    """DANE-32, DANE-110 (RFC 7672 2.2.1): such a handshake never counts as verified for the domain."""
    shown = leaf(NAME)
    judgement, _, _ = await shake(shown, dane(shown.tlsa(), host_only=True))
    assert judgement.handshake.level == "dane-host-only"


async def test_audit_notes_what_enforcing_would_refuse() -> None:
    """DANE-100, RFC 7672 9.1: in audit mode a mismatch is told of and does not stop the mail."""
    judgement, _, _ = await shake(leaf(NAME), dane(leaf("other.example").tlsa(), audit=True))
    assert judgement.trouble is None
    assert judgement.handshake.level == "encrypted"
    assert "no TLSA record of mx.example.com matches" in judgement.audit_failure


@pytest.mark.parametrize(
    ("policy", "trouble"),
    [
        (DanePolicy(), None),
        (DanePolicy(on_unusable=OnUnusable.SKIP_HOST), Trouble.UNUSABLE),
        (DanePolicy(mode=Mode.MANDATORY), Trouble.MANDATORY),
    ],
)
async def test_records_that_nobody_can_use_demand_tls_alone(policy: DanePolicy, trouble: Trouble | None) -> None:
    """RFC 7672 2.2: a full record that cannot be parsed leaves TLS without authentication, as policy says."""
    unreadable = TLSA(2, 0, 0, b"\x30\x03\x02\x01\x05")
    judgement, _, _ = await shake(leaf(NAME), dane(unreadable), policy=policy)
    assert judgement.trouble is trouble
    assert judgement.handshake.level == "encrypted"


@pytest.mark.parametrize("demand", [EncryptDemand("", NAME), MayDemand("", NAME)])
async def test_any_certificate_will_do_where_nobody_is_authenticated(demand: Demand) -> None:
    """TLS-08, RFC 7435: expired, for another name and from nobody is still encrypted."""
    judgement, _, sni = await shake(leaf("elsewhere.example", expired=True), demand)
    assert (judgement.trouble, judgement.handshake.level, sni) == (None, "encrypted", NAME)


async def test_verify_takes_a_trusted_certificate_for_the_name() -> None:
    """A route with tls = verify wants a path to a CA of `ca_file` and the name."""
    judgement, _, _ = await shake(leaf(NAME), VerifyDemand(NAME, (NAME,)), TlsSettings(ca_file=authority().pem))
    assert (judgement.trouble, judgement.handshake.level) == (None, "verified")


async def test_verify_refuses_another_name() -> None:
    """A trusted certificate for another name is untrusted."""
    settings = TlsSettings(ca_file=authority().pem)
    judgement, _, _ = await shake(leaf("other.example"), VerifyDemand(NAME, (NAME,)), settings)
    assert judgement.trouble is Trouble.UNTRUSTED
    assert "other.example" in judgement.text


async def test_verify_refuses_an_unknown_authority() -> None:
    """Without `ca_file` the system's CAs count, and none of them signed this."""
    with pytest.raises(ssl.SSLCertVerificationError):
        await shake(leaf(NAME), VerifyDemand(NAME, (NAME,)))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_of_tls_are_spoken(version: ssl.TLSVersion) -> None:
    """TLS-11, DANE-94, RFC 8461 7.2: servers with only 1.2 and only 1.3; the version is told (TLS-16)."""
    shown = leaf(NAME)
    judgement, _, _ = await shake(shown.server(minimum=version, maximum=version), dane(shown.tlsa()))
    assert judgement.handshake.version == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    assert judgement.handshake.cipher


async def test_the_floor_holds_where_tls_is_required() -> None:
    """DANE-94: min_version 1.3 refuses a server with 1.2 under DANE, and not where clear text is the alternative."""
    old = leaf(NAME).server(maximum=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(OSError):  # noqa: PT011 - an SSL alert or a reset, as it happens
        await shake(old, dane(leaf(NAME).tlsa()), TlsSettings("1.3"))
    judgement, _, _ = await shake(
        leaf(NAME).server(maximum=ssl.TLSVersion.TLSv1_2), MayDemand("", NAME), TlsSettings("1.3")
    )
    assert judgement.handshake.version == "TLSv1.2"


def test_nothing_weak_is_offered() -> None:
    """TLS-12, DANE-95: no anonymous, NULL, RC4, 3DES or export suite, no compression, no renegotiation, no tickets."""
    for kind in ("dane", "encrypt", "may", "verify"):
        context = context_for(kind, TlsSettings())
        ciphers = " ".join(f"{one['name']} {one['description']}" for one in context.get_ciphers())
        assert not any(word in ciphers for word in ("Au=None", "NULL", "RC4", "3DES", "EXP"))
        for option in (ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION, ssl.OP_NO_TICKET):  # DANE-97: no resumption
            assert context.options & option


def test_an_unknown_version_is_refused() -> None:
    """TLS 1.0 and 1.1 are deprecated (RFC 8996): a setting that asks for them says so at the start."""
    with pytest.raises(ValueError, match="min_version"):
        TlsSettings("1.0")


def test_a_missing_ca_file_is_an_error_of_ours(tmp_path: Path) -> None:
    """A CA file that cannot be read is an OSError, never an untrusted server."""
    with pytest.raises(OSError, match=r"No such file"):
        context_for("verify", TlsSettings(ca_file=tmp_path / "none.pem"))


@pytest.mark.parametrize("demand", [dane(leaf(NAME).tlsa()), EncryptDemand("", NAME), VerifyDemand(NAME, (NAME,))])
@pytest.mark.parametrize("chain", [(), (b"",), (b"\x30\x82\xff\xff" * 3,), (b"\x30\x00",) * 200, (b"\x00" * 2**20,)])
def test_no_chain_makes_the_judge_raise(demand: Demand, chain: tuple[bytes, ...]) -> None:
    """TLS-14, RFC 7671 10.2: no chain, broken DER, 200 certificates, a mebibyte: trouble with a reason."""
    judgement = judge_chain(demand, chain, datetime.now(UTC), DanePolicy(), ("TLSv1.3", "x"))
    assert judgement.handshake.level == "encrypted"
    assert (judgement.trouble is None) == isinstance(demand, EncryptDemand)


@pytest.mark.parametrize(("sni", "named"), [(NAME, NAME), ("", None), ("[192.0.2.1]", None), ("192.0.2.1", None)])
def test_addresses_have_no_server_name(sni: str, named: str | None) -> None:
    """RFC 6066 section 3: SNI holds names and never addresses."""
    assert server_name(MayDemand("", sni)) == named


def test_an_expired_anchor_path_is_refused_at_the_time_given() -> None:
    """The time that dates are held against is the one that is passed in (DANE-TA)."""
    shown = leaf(NAME)
    chain = (shown.der, authority().der)
    demand = dane(authority().tlsa(2, 0))
    later = datetime.now(UTC) + timedelta(days=60)
    assert judge_chain(demand, chain, later, DanePolicy(), ("", "")).trouble is Trouble.MISMATCH
