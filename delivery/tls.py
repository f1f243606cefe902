"""TLS towards a mail host: contexts for each kind of demand, the chain that was sent, and what it proves.

For DANE, and where nobody need be authenticated, OpenSSL is told to verify nothing: the chain as the server sent it
goes to `delivery.matcher`, before any mail command. Only `verify` asks OpenSSL for a path to a trusted CA; its names
are compared here. `judge` raises nothing, whatever a server sends. No session is ever resumed, so that no verdict
outlives the records it rests on. `peer_chain` is the one place that reaches below the public interface, where Python
is older than 3.13.
"""

import hashlib
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, assert_never

from delivery.certificate import load_certificate
from delivery.der import DerError, public_key_info
from delivery.matcher import Match, MatchOptions, Mismatch, Unusable, match
from delivery.names import covers, presented_names
from delivery.settings import VERSIONS, TlsSettings
from stages.attempt import Handshake
from stages.plan import DaneDemand, Demand, EncryptDemand, MayDemand, Trouble, VerifyDemand
from stages.policy import DanePolicy, Mode, OnUnusable
from stages.reason import Fact
from stages.resolve import is_address

# Python's own list leaves out what older mail servers have alone (AES in CBC mode with SHA-1, RSA key exchange): with
# those, TLS would give way to clear text where it may, and mail would wait where it may not (RFC 7435 section 3).
_SUITES = "HIGH:!aNULL:!eNULL:!PSK:!SRP:!aDSS:!3DES:!CAMELLIA:!ARIA:!AESCCM:@SECLEVEL=2"


@lru_cache(maxsize=16)
def context_for(kind: str, settings: TlsSettings) -> ssl.SSLContext:
    """Make the context for demands of a kind: dane, encrypt, verify or may. Raises OSError for a bad `ca_file`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.set_ciphers(_SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    # Where clear text is the alternative, the configured floor would only make matters worse (RFC 7435 section 3).
    context.minimum_version = VERSIONS["1.2" if kind == "may" else settings.min_version]
    if kind != "verify":
        context.verify_mode = ssl.CERT_NONE
    elif settings.ca_file is not None:
        context.load_verify_locations(settings.ca_file)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def server_name(demand: Demand) -> str | None:
    """Give the name to send in SNI: the TLSA base domain under DANE (RFC 7672 section 8.1); none for an address."""
    name = demand.base if isinstance(demand, DaneDemand) else demand.sni
    return None if not name or name.startswith("[") or is_address(name) else name


def peer_chain(connection: Any) -> tuple[bytes, ...]:
    """Give the certificates that the server sent, DER, leaf first; empty if it sent none."""
    if sys.version_info >= (3, 13):
        return tuple(connection.get_unverified_chain() or ())
    import _ssl  # noqa: PLC0415 - only on the versions that need it

    chain = connection._sslobj.get_unverified_chain() or ()  # noqa: SLF001 - public from 3.13 on
    der: int = vars(_ssl)["ENCODING_DER"]  # absent from the type stubs
    return tuple(certificate.public_bytes(der) for certificate in chain)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a finished handshake proved. `trouble` forbids mail; `audit_failure` would, were it not only audited."""

    handshake: Handshake
    trouble: Trouble | None = None
    text: str = ""
    audit_failure: str = ""


def judge(demand: Demand, connection: Any, now: datetime, policy: DanePolicy) -> Judgement:
    """Hold a finished handshake against its demand, before any mail command (RFC 7672 section 3.2)."""
    cipher = connection.cipher()
    wire = (str(connection.version() or ""), str(cipher[0]) if cipher else "")
    return judge_chain(demand, peer_chain(connection), now, policy, wire)


def judge_chain(
    demand: Demand, chain: Sequence[bytes], now: datetime, policy: DanePolicy, wire: tuple[str, str]
) -> Judgement:
    """Hold a chain as sent against a demand; `wire` is the TLS version and the cipher."""
    facts = certificate_facts(chain)
    facts |= {"sni": server_name(demand) or "", "version": wire[0], "cipher": wire[1]}
    match demand:
        case DaneDemand():
            return _judge_dane(demand, chain, now, policy, facts, wire)
        case VerifyDemand(names=names):
            name = _covered(chain, names)
            if name is not None:
                facts["name"] = name
                return Judgement(Handshake("verified", *wire, facts))
            shown = ", ".join(facts.get("names", ())) or "no name"
            text = f"the certificate is for {shown}, expected {' or '.join(names)}"
            return Judgement(Handshake("encrypted", *wire, facts), Trouble.UNTRUSTED, text)
        case EncryptDemand() | MayDemand():
            return Judgement(Handshake("encrypted", *wire, facts))
        case _:
            assert_never(demand)


def _judge_dane(
    demand: DaneDemand,
    chain: Sequence[bytes],
    now: datetime,
    policy: DanePolicy,
    facts: dict[str, Fact],
    wire: tuple[str, str],
) -> Judgement:
    facts["base"] = demand.base
    facts["records"] = [str(record) for record in demand.records]
    options = MatchOptions(policy.usages, policy.digests, policy.wildcard_multilabel)
    outcome = match(chain, demand.records, demand.names, now, options)
    match outcome:
        case Match(record=record, depth=depth, name=name):
            facts.update(matched=str(record), matched_depth=depth, matched_name=name)
            return Judgement(Handshake("dane-host-only" if demand.host_only else "dane", *wire, facts))
        case Mismatch():
            trouble: Trouble | None = Trouble.MISMATCH
            text = f"no TLSA record of {demand.base} matches the certificate that was shown: {outcome}"
        case Unusable():
            trouble = _unusable(policy)
            text = f"no TLSA record of {demand.base} is usable: {outcome}"
        case _:
            assert_never(outcome)
    facts["mismatch"] = [{"record": str(record), "why": why} for record, why in outcome.reasons]
    handshake = Handshake("encrypted", *wire, facts)
    if demand.audit:
        return Judgement(handshake, audit_failure=text)
    return Judgement(handshake, trouble, text)


def _unusable(policy: DanePolicy) -> Trouble | None:
    """Say what records that turn out to be of no use lead to: with `encrypt`, TLS is enough (RFC 7672 section 2.2)."""
    if policy.mode is Mode.MANDATORY:
        return Trouble.MANDATORY
    return None if policy.on_unusable is OnUnusable.ENCRYPT else Trouble.UNUSABLE


def _covered(chain: Sequence[bytes], names: tuple[str, ...]) -> str | None:
    if not chain:
        return None
    try:
        return covers(presented_names(load_certificate(chain[0])), names)
    except ValueError:
        return None


def certificate_facts(chain: Sequence[bytes]) -> dict[str, Fact]:
    """Tell of the leaf what a reader asks for; what cannot be read is told of, not hidden."""
    if not chain:
        return {"chain_length": 0}
    facts: dict[str, Fact] = {"chain_length": len(chain), "cert_sha256": hashlib.sha256(chain[0]).hexdigest()}
    try:
        facts["spki_sha256"] = hashlib.sha256(public_key_info(chain[0])).hexdigest()
        leaf = load_certificate(chain[0])
        facts["not_before"] = leaf.not_valid_before_utc.isoformat()
        facts["not_after"] = leaf.not_valid_after_utc.isoformat()
        facts["subject"] = leaf.subject.rfc4514_string()
        facts["issuer"] = leaf.issuer.rfc4514_string()
        facts["names"] = list(presented_names(leaf))
    except (ValueError, DerError) as error:
        facts["unreadable"] = str(error)
    return facts
