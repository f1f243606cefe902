"""What the first octets of our handshakes offer, read from the ClientHello itself, and what no server can talk us into."""

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from delivery.settings import TlsSettings
from delivery.tls import context_for, judge, server_name
from stages.plan import DaneDemand, Demand, EncryptDemand, MayDemand, Trouble
from stages.policy import DanePolicy
from tests.delivery.certificates import leaf

NAME = "mx.example.com"
KINDS = ("dane", "encrypt", "may", "verify")
_EXTENSION = {
    "server_name": 0,
    "client_certificate_type": 19,
    "server_certificate_type": 20,
    "session_ticket": 35,
    "pre_shared_key": 41,
    "early_data": 42,
    "supported_versions": 43,
}


@dataclass(frozen=True, slots=True)
class Hello:
    """A ClientHello: legacy version, cipher suites, compression methods, and extensions by number."""

    version: int
    suites: tuple[int, ...]
    compression: bytes
    extensions: dict[int, bytes]

    def has(self, name: str) -> bool:
        """Tell whether an extension is sent."""
        return _EXTENSION[name] in self.extensions


def hello(kind: str, name: str | None = NAME, settings: TlsSettings | None = None) -> Hello:
    """Begin a handshake with nobody and read what was sent (RFC 8446 section 4.1.2)."""
    sent = ssl.MemoryBIO()
    connection = context_for(kind, settings or TlsSettings()).wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    octets = sent.read()
    assert octets[0] == 22  # a record of TLS 1.0 or later, never an SSLv2 hello
    assert octets[1] == 3
    at = 5 + 4
    version = int.from_bytes(octets[at : at + 2])
    at += 2 + 32
    at += 1 + octets[at]  # legacy session id
    length = int.from_bytes(octets[at : at + 2])
    suites = tuple(int.from_bytes(octets[place : place + 2]) for place in range(at + 2, at + 2 + length, 2))
    at += 2 + length
    compression = octets[at + 1 : at + 1 + octets[at]]
    at += 1 + octets[at]
    extensions: dict[int, bytes] = {}
    at += 2
    while at < len(octets):
        number, length = int.from_bytes(octets[at : at + 2]), int.from_bytes(octets[at + 2 : at + 4])
        extensions[number] = octets[at + 4 : at + 4 + length]
        at += 4 + length
    return Hello(version, suites, compression, extensions)


@pytest.mark.parametrize("kind", KINDS)
def test_no_raw_public_keys_are_asked_for(kind: str) -> None:
    """DANE-78 (RFC 7671 5.1): the ClientHello has no server_certificate_type, so a server sends certificates."""
    made = hello(kind)
    assert made.has("server_name")
    assert not made.has("server_certificate_type")
    assert not made.has("client_certificate_type")


@pytest.mark.parametrize("kind", KINDS)
def test_no_session_is_offered_for_resumption(kind: str) -> None:
    """DANE-97: neither ticket nor pre-shared key nor early data, so every handshake shows its certificate anew."""
    for _ in range(2):
        made = hello(kind)
        assert not any(made.has(name) for name in ("session_ticket", "pre_shared_key", "early_data"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_hello_offers_tls_1_2_and_1_3_and_nothing_older(kind: str) -> None:
    """DANE-94, TLS-11, TLS-12 (RFC 7671 3, RFC 8461 7.2): both versions, no compression; 1.0 and 1.1 are dead (RFC 8996)."""
    made = hello(kind)
    versions = made.extensions[_EXTENSION["supported_versions"]]
    assert {int.from_bytes(versions[at : at + 2]) for at in range(1, len(versions), 2)} == {0x0303, 0x0304}
    assert (made.version, made.compression) == (0x0303, b"\0")


# anonymous (RFC 5246 appendix A.5, RFC 4492), NULL, export, RC4 and 3DES suites by number
_BAD = {
    *range(0x001C), 0x0034, 0x003A, 0x003B, 0x006C, 0x006D, 0x00A6, 0x00A7,
    *range(0xC001, 0xC004), *range(0xC006, 0xC009), *range(0xC00B, 0xC00E), *range(0xC010, 0xC013),
    *range(0xC015, 0xC01A),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_no_suite_without_authentication_or_encryption_is_offered(kind: str) -> None:
    """DANE-95, TLS-12 (RFC 7672 8.2): ordinary suites only, by the numbers that go over the wire."""
    assert not set(hello(kind).suites) & _BAD


@pytest.mark.parametrize(
    ("demand", "name"),
    [
        (DaneDemand("base.example.net", (), ("base.example.net", "example.com")), "base.example.net"),
        (EncryptDemand("", "base.example.net"), "base.example.net"),
        (MayDemand("", "mx.example.com"), "mx.example.com"),
    ],
)
def test_the_server_name_is_in_the_hello(demand: Demand, name: str) -> None:
    """DANE-92 (RFC 7672 8.1): server_name is the base domain and not the next hop, for every usage."""
    assert name.encode() in hello(demand.kind, server_name(demand)).extensions[_EXTENSION["server_name"]]


# Servers that have nothing better


async def met(server: ssl.SSLContext, demand: Demand) -> ssl.SSLObject:
    """Shake hands with a server on loopback and give the connection. Raises OSError where that fails."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server)
    writer: asyncio.StreamWriter | None = None
    try:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", running.sockets[0].getsockname()[1],
            ssl=context_for(demand.kind, TlsSettings()), server_hostname=server_name(demand) or "",
        )  # fmt: skip
        made: ssl.SSLObject = writer.get_extra_info("ssl_object")
        return made
    finally:
        if writer is not None:
            writer.transport.abort()
        running.close()
        await running.wait_closed()


@pytest.mark.parametrize("demand", [DaneDemand(NAME, (), (NAME,)), EncryptDemand("", NAME), MayDemand("", NAME)])
@pytest.mark.parametrize("suites", ["aNULL", "eNULL", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"])
async def test_a_server_with_broken_parameters_alone_gets_no_handshake(suites: str, demand: Demand) -> None:
    """TLS-12, DANE-95: anonymous or NULL suites alone end in a failed handshake, for every demand; a plain one, be it old, does not."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(leaf(NAME).pem)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    server.set_ciphers(f"{suites}:@SECLEVEL=0")
    if suites.endswith("NULL"):
        with pytest.raises(OSError):  # noqa: PT011 - an SSL alert or a reset, as it happens
            await met(server, demand)
    else:
        assert (await met(server, demand)).version() == "TLSv1.2"


def test_short_keys_are_refused_by_the_library() -> None:
    """TLS-12 (RFC 9325 4.1): security level 2 has no place for 1024-bit DH or RSA in a handshake."""
    for kind in KINDS:
        assert context_for(kind, TlsSettings()).security_level >= 2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_every_handshake_is_a_whole_one(version: ssl.TLSVersion) -> None:
    """DANE-97: a server that would resume never gets the chance; the second handshake is judged by the records of its time."""
    shown = leaf(NAME)
    server = shown.server(minimum=version, maximum=version)
    before = DaneDemand(NAME, (shown.tlsa(),), (NAME,))
    after = DaneDemand(NAME, (leaf("other.example").tlsa(),), (NAME,))
    outcomes = []
    for demand in (before, before, after):
        connection = await met(server, demand)
        assert not connection.session_reused
        outcomes.append(judge(demand, connection, datetime.now(UTC), DanePolicy()).trouble)
    assert outcomes == [None, None, Trouble.MISMATCH]
    assert server.session_stats()["hits"] == 0
