"""What went wrong, in words: for the sender, and for the postmaster who can mend it.

`explain` turns a reason into a plain sentence for the sender, the facts that the decision rested on (records, the
certificate, DNSSEC state and extended errors, with times) and what to publish or fix. It promises text for every
reason, also for codes of stages that others add, and tells nothing of the sender, of other recipients or of our
network (DSN-50). All text it takes from outside is one line without control characters.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stages.destination import Destination
from stages.plan import Trouble
from stages.reason import Reason
from stages.status import EDE_BOGUS, ede_text

MAX_TEXT = 900  # octets of outside text in one field: a header line may have 998
MAX_LINES = 10  # records and names told of: a zone may hold hundreds


@dataclass(frozen=True, slots=True)
class Advice:
    """A sentence or two for the sender, facts line by line, and what the remote postmaster can do."""

    sender: str
    facts: tuple[str, ...] = ()
    remedy: str = ""


def clean(text: object, limit: int = MAX_TEXT) -> str:
    """Make one line of outside text: no control or format characters, no line ends, not longer than `limit`."""
    line = "".join(character if character.isprintable() else " " for character in str(text)).strip()
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


@dataclass(frozen=True, slots=True)
class _Case:
    """What advice is made from: the reason, the recipient's domain, the host and the TLSA base concerned."""

    reason: Reason
    domain: str
    host: str
    base: str
    port: int
    records: tuple[str, ...]
    certificate: Mapping[str, Any]


def explain(reason: Reason, domain: str) -> Advice:
    """Explain a reason about a recipient in `domain`."""
    case = _case(reason, domain)
    made = _BY_CODE.get(reason.code)
    if made is None:
        return Advice(f"{clean(reason.text).rstrip('.')}.", _common(case))
    return made(case)


def _case(reason: Reason, domain: str) -> _Case:
    facts = reason.facts
    host = clean(facts.get("host") or reason.remote)
    row: Mapping[str, Any] = {}
    for one in facts.get("hosts") or ():
        if isinstance(one, Mapping) and one.get("host") == host:
            row = one
    certificate = facts.get("certificate")
    seen: Mapping[str, Any] = certificate if isinstance(certificate, Mapping) else {}
    base = clean(facts.get("base") or seen.get("base") or row.get("base") or host)
    records = facts.get("records") or seen.get("records") or row.get("records") or ()
    try:
        port = Destination.parse(str(facts.get("destination", ""))).port
    except ValueError:
        port = 25
    return _Case(reason, domain, host or domain, base or domain, port, tuple(clean(one) for one in records), seen)


def _common(case: _Case) -> tuple[str, ...]:
    """List the host and its reply, if one decided."""
    lines = []
    if case.reason.remote:
        lines.append(f"Server: {clean(case.reason.remote)}")
    if case.reason.reply:
        lines.append(f"It said: {clean(case.reason.reply)}")
    return tuple(lines)


# Facts


_SEEN = {
    "cert_sha256": "SHA-256 of the certificate",
    "spki_sha256": "SHA-256 of its public key (SPKI)",
    "subject": "Issued to",
    "names": "Names in it",
    "issuer": "Issued by",
    "not_before": "Valid from",
    "not_after": "Valid until",
    "chain_length": "Certificates sent",
    "unreadable": "It cannot be read",
}


def _certificate(case: _Case) -> tuple[str, ...]:
    """List what is known of the certificate that was shown."""
    lines = []
    for key, label in _SEEN.items():
        value = case.certificate.get(key)
        if value not in (None, "", [], ()):
            lines.append(f"{label}: {_value(value)}")
    compared = [one for one in case.certificate.get("mismatch") or () if isinstance(one, Mapping)]
    lines += [f"TLSA {clean(one.get('record', ''))}: {clean(one.get('why', ''))}" for one in compared[:MAX_LINES]]
    return tuple(lines)


def _value(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "; ".join(_value(one) for one in value[:MAX_LINES])
    return clean(value)


def _published(case: _Case) -> tuple[str, ...]:
    name = f"_{case.port}._tcp.{case.base}"
    return tuple(f"Published: {name}. TLSA {record}" for record in case.records[:MAX_LINES])


def _dnssec(case: _Case) -> tuple[str, ...]:
    facts = case.reason.facts
    lines = []
    if facts.get("question"):
        lines.append(f"Record asked for: {clean(facts['question']).replace('/', ' ')}")
    lines.append(f"DNSSEC state: {'bogus' if 'bogus' in case.reason.code else 'no answer'}")
    for error in facts.get("ede") or ():
        if isinstance(error, Mapping):
            text = clean(error.get("text", ""), 200)
            code = error.get("code", 0)
            lines.append(f"Extended DNS error {code} ({ede_text(int(code))}){': ' + text if text else ''}")
    if facts.get("proofs"):
        lines.append(f"Shown by: {', '.join(clean(proof) for proof in facts['proofs'])}")
    return tuple(lines)


def _ede_codes(case: _Case) -> set[int]:
    return {int(one.get("code", 0)) for one in case.reason.facts.get("ede") or () if isinstance(one, Mapping)}


# Cases


def _mismatch(case: _Case) -> Advice:
    spki = case.certificate.get("spki_sha256")
    example = f", for example: _{case.port}._tcp.{case.base}. TLSA 3 1 1 {clean(spki)}" if spki else ""
    return Advice(
        f"The domain {case.domain} says in signed DNS which certificate its mail server must show, and the server "
        f"{case.host} showed another one. The message was not handed over, as nobody can tell whether that server is "
        "the right one. Your message is not at fault.",
        (f"Server: {case.host}", *_published(case), *_certificate(case)),
        f"Either let {case.host} show the certificate that the TLSA records name, or publish a record for the one it "
        f"shows, if it is yours{example}. At the next change of keys publish the new record first and "
        "change the certificate once the old record set has expired (RFC 7671 section 8.1).",
    )


_EDE_REMEDY = {
    7: "The signatures have expired: sign the zone anew and see why the signer stopped.",
    8: "The signatures are not yet valid: check the clock of the signer.",
    9: "The DS record in the parent zone fits no DNSKEY of the zone: correct the DS record, or remove it.",
    10: "The zone is delegated as signed, but this record set is unsigned: sign the zone, or remove the DS record.",
    11: "A DNSKEY lacks the zone key bit: publish keys with flags 256 and 257.",
    12: "The proof that a record does not exist is missing: check the NSEC or NSEC3 chain and the name servers.",
}


def _bogus(case: _Case) -> Advice:
    what = clean(case.reason.facts.get("question") or case.domain)
    known = [text for code, text in _EDE_REMEDY.items() if code in _ede_codes(case)]
    general = "Signatures have expired, keys do not fit the DS record in the parent zone, or a signature is missing."
    rdtype = what.partition("/")[2] or "MX"
    return Advice(
        f"The DNS data of {case.domain} that say where its mail must go fail their DNSSEC check, so they may be "
        "forged. The message was not sent to a server that might be the wrong one. Your message is not at fault.",
        _dnssec(case),
        f"{' '.join(known) or general} To see it: delv {rdtype} {what.partition('/')[0]}, or dnsviz.net.",
    )


def _lookup(case: _Case) -> Advice:
    forged = _ede_codes(case) & set(EDE_BOGUS)
    hint = f" ({', '.join(ede_text(code) for code in sorted(forged))})" if forged else ""
    return Advice(
        f"The name servers of {case.domain} gave no usable answer{hint}, and without one it is not known where "
        "and how safely the message must go. Your message is not at fault.",
        _dnssec(case),
        "See that all name servers of the zone answer for this record, over UDP and TCP, also for types "
        "that do not exist (no NOTIMP, no timeout), and that the answers are signed if the zone is.",
    )


def _suspended(case: _Case) -> Advice:
    del case  # nothing about the recipient is at fault
    return Advice("Our own DNS resolver is not to be trusted at present, so no mail is sent until it is mended.")


def _no_starttls(case: _Case) -> Advice:
    return Advice(
        f"The domain {case.domain} says in signed DNS that its mail server takes mail over TLS, and the server "
        f"{case.host} offers no TLS. The message was not sent in the clear. Your message is not at fault.",
        (f"Server: {case.host}", *_published(case), *_common(case)),
        f"Offer STARTTLS on {case.host} port {case.port} to everybody, from the first connection on (no firewall in "
        "between that hides it), or remove the TLSA records.",
    )


def _handshake(case: _Case) -> Advice:
    return Advice(
        f"A TLS connection to the server {case.host} is required by its signed DNS data, and could not be made. The "
        "message was not sent in the clear. Your message is not at fault.",
        (f"Server: {case.host}", f"What happened: {clean(case.reason.text)}", *_published(case)),
        "Offer TLS 1.2 or newer with ordinary cipher suites, and see the log of the server for the failed handshake.",
    )


def _mandatory(case: _Case) -> Advice:
    return Advice(
        f"Mail to {case.domain} leaves here only to servers that are verified by DANE, and that is not possible: "
        f"{clean(case.reason.text)}.",
        (f"Server: {case.host}", *_published(case)),
        f"Sign the zone with DNSSEC and publish TLSA records such as _{case.port}._tcp.{case.base}. TLSA 3 1 1 and the "
        "SHA-256 of the server's public key.",
    )


def _unusable(case: _Case) -> Advice:
    return Advice(
        f"The TLSA records of {case.host} cannot be used: {clean(case.reason.text)}. Your message is not at fault.",
        (f"Server: {case.host}", *_published(case)),
        "Publish a record of usage 3 (or 2), selector 1 (or 0) and matching type 1, whose digest has 64 hexadecimal "
        "digits (RFC 7672 section 3.1).",
    )


def _untrusted(case: _Case) -> Advice:
    return Advice(
        f"Mail to {case.domain} is sent only to a server with a certificate of a known authority, and {case.host} "
        "showed none that holds.",
        (f"Server: {case.host}", f"What happened: {clean(case.reason.text)}", *_certificate(case)),
        f"Install a certificate of a public authority for the name {case.host}, with all intermediate certificates.",
    )


def _nxdomain(case: _Case) -> Advice:
    return Advice(f"The domain {case.domain} does not exist. Please look for a typing error in the address.")


def _null_mx(case: _Case) -> Advice:
    return Advice(f"The domain {case.domain} says in DNS that it accepts no mail at all (null MX, RFC 7505).")


def _no_host(case: _Case) -> Advice:
    return Advice(
        f"There is no server that takes mail for {case.domain}: {clean(case.reason.text)}.",
        (),
        f"Publish an MX record for {case.domain} that names a host with an address others can reach.",
    )


def _unreachable(case: _Case) -> Advice:
    return Advice(
        f"The mail server {case.host} of {case.domain} could not be reached or broke off: {clean(case.reason.text)}.",
        _common(case),
        f"See that {case.host} answers on port {case.port} and does not close connections early.",
    )


_ANSWERS = {
    "smtp.mail_refused": "refused the sender",
    "smtp.rcpt_refused": "refused this address",
    "smtp.data_refused": "refused the message",
    "smtp.mail_deferred": "does not take mail from the sender for now",
    "smtp.rcpt_deferred": "does not take mail for this address for now",
    "smtp.data_deferred": "does not take the message for now",
}


def _replied(case: _Case) -> Advice:
    what = _ANSWERS[case.reason.code]
    return Advice(f"The mail server {case.host} of {case.domain} {what}. It said: {clean(case.reason.reply)}")


_CONTENT = {
    "content.too_large": "takes no messages of this size. Please send a smaller one",
    "content.eight_bit": "takes no 8-bit text. Please send the message again from a program that encodes it",
    "content.smtputf8_address": "does not know internationalized addresses. Please use an address in ASCII",
    "content.smtputf8_header": "does not know internationalized messages. Please use addresses and a header in ASCII",
}


def _unfit(case: _Case) -> Advice:
    return Advice(f"The mail server {case.host} of {case.domain} {_CONTENT[case.reason.code]}.")


T = Trouble  # for short, in the table below
_BY_CODE: Mapping[str, Callable[[_Case], Advice]] = {
    **dict.fromkeys((T.BOGUS_MX, T.BOGUS_ADDRESS, T.BOGUS_TLSA), _bogus),
    **dict.fromkeys((T.LOOKUP_MX, T.LOOKUP_ADDRESS, T.LOOKUP_TLSA), _lookup),
    **dict.fromkeys((T.NO_ADDRESS, T.SELF, T.FORBIDDEN_ADDRESS, T.BAD_LITERAL, T.ALIAS_REFUSED), _no_host),
    **dict.fromkeys((T.CONNECT, T.GREETING, T.LOST, T.TIMEOUT, T.CLOSING, T.PROTOCOL), _unreachable),
    T.MISMATCH: _mismatch,
    T.NO_STARTTLS: _no_starttls,
    T.HANDSHAKE: _handshake,
    T.MANDATORY: _mandatory,
    T.UNUSABLE: _unusable,
    T.UNTRUSTED: _untrusted,
    T.NXDOMAIN: _nxdomain,
    T.NULL_MX: _null_mx,
    T.SUSPENDED: _suspended,
    **dict.fromkeys(_ANSWERS, _replied),
    **dict.fromkeys(_CONTENT, _unfit),
}
