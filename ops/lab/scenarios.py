"""The domains of the lab, each one story. `ALL` is the whole list, in the order in which the demo shows it.

What each is expected to come to is under profile `mailmarshal` in mode `enforce` (rows of ops/docs/decision-table.md).
A scenario with a fault that delays or drops answers has a forwarding path of its own, so that it troubles no other.
"""

from ops.lab.scenario import (
    CLEAR,
    DANE,
    HOSTS,
    PLAIN_HOSTS,
    TLS,
    Behaviour,
    Breakage,
    Certificate,
    Claims,
    Damage,
    Fault,
    Host,
    Scenario,
    Starttls,
    State,
    Subject,
    Tlsa,
    Way,
    deferred,
    reported,
)

_CA_SPKI = Tlsa(2, 1, 1, Subject.CA)
_CA_CERT = Tlsa(2, 0, 1, Subject.CA)
_OTHER = Tlsa(of=Subject.OTHER)
_UNSIGNED = Claims(State.INSECURE, State.INSECURE, State.UNASKED)

_CERTIFICATES = (
    Scenario("sender", "where reports to the sender arrive: 3 1 1"),
    Scenario("ee-311", "TLSA 3 1 1 (SHA-256 of the key)"),
    Scenario("ee-301", "TLSA 3 0 1 (SHA-256 of the certificate)", hosts=(Host(tlsa=(Tlsa(3, 0, 1),)),)),
    Scenario("ee-312", "TLSA 3 1 2 (SHA-512 of the key)", hosts=(Host(tlsa=(Tlsa(3, 1, 2),)),)),
    Scenario("ee-310", "TLSA 3 1 0 (the key itself)", hosts=(Host(tlsa=(Tlsa(3, 1, 0),)),)),
    Scenario("ta-201", "TLSA 2 0 1 (the CA's certificate)", hosts=(Host(tlsa=(_CA_CERT,)),)),
    Scenario("ta-211", "TLSA 2 1 1 (the CA's key)", hosts=(Host(tlsa=(_CA_SPKI,)),)),
    Scenario(
        "ta-200-left-out",
        "TLSA 2 0 0, and the server leaves the CA out of its chain",
        hosts=(Host(tlsa=(Tlsa(2, 0, 0, Subject.CA),), certificate=Certificate(sends_ca=False)),),
    ),
    Scenario(
        "ta-211-left-out",
        "TLSA 2 1 1, and the server leaves the CA out: nothing can match",
        reported("dane.mismatch"),
        hosts=(Host(tlsa=(_CA_SPKI,), certificate=Certificate(sends_ca=False)),),
    ),
    Scenario(
        "rollover", "a pair of 3 1 1: the key in use and the next", hosts=(Host(tlsa=(Tlsa(of=Subject.NEXT), Tlsa())),)
    ),
    Scenario(
        "expired-ee",
        "an expired certificate under 3 1 1: its dates do not count",
        hosts=(Host(certificate=Certificate(expired=True)),),
    ),
    Scenario(
        "misnamed-ee",
        "a certificate for another name under 3 1 1: its name does not count",
        hosts=(Host(certificate=Certificate(name="elsewhere.lab.", self_signed=True)),),
    ),
    Scenario(
        "expired-ta",
        "an expired certificate under 2 1 1: its dates count",
        reported("dane.mismatch"),
        hosts=(Host(tlsa=(_CA_SPKI,), certificate=Certificate(expired=True)),),
    ),
    Scenario(
        "misnamed-ta",
        "a certificate for another name under 2 1 1",
        reported("dane.mismatch"),
        hosts=(Host(tlsa=(_CA_SPKI,), certificate=Certificate(name="elsewhere.lab.")),),
    ),
    Scenario("mismatch", "TLSA 3 1 1 of another key", reported("dane.mismatch"), hosts=(Host(tlsa=(_OTHER,)),)),
    Scenario(
        "pkix-only",
        "usages 0 and 1 only: none usable, TLS required",
        TLS,
        hosts=(Host(tlsa=(Tlsa(0, 0, 1, Subject.CA), Tlsa(1, 1, 1))),),
    ),
    Scenario(
        "malformed",
        "a digest of 20 octets: none usable, TLS required",
        TLS,
        hosts=(Host(tlsa=(Tlsa(data=bytes(20)),)),),
    ),
    Scenario(
        "mixed",
        "a PKIX record, a malformed one and a good 3 1 1",
        hosts=(Host(tlsa=(Tlsa(1, 1, 1), Tlsa(3, 0, 2, data=b"\x00"), Tlsa())),),
    ),
)

_DNS = (
    Scenario("unsigned", "an unsigned domain", TLS, signed=False, claims=_UNSIGNED),
    Scenario(
        "insecure-mx",
        "an unsigned domain with a signed host, whose TLSA would not match",
        TLS,
        signed=False,
        hosts=(Host(f"insecure-mx.{HOSTS}.", tlsa=(_OTHER,)),),
        claims=Claims(mx=State.INSECURE),
    ),
    Scenario(
        "insecure-address",
        "a signed domain with a host in an unsigned zone: TLSA is not asked",
        TLS,
        hosts=(Host(f"insecure-address.{PLAIN_HOSTS}.", tlsa=(_OTHER,)),),
        claims=Claims(address=State.INSECURE, tlsa=State.INSECURE),
    ),
    Scenario(
        "unknown-algorithm",
        "a DS of an algorithm that nobody knows: as if unsigned",
        TLS,
        claims=_UNSIGNED,
        breakage=(Breakage(Damage.UNKNOWN_ALGORITHM),),
    ),
    Scenario(
        "expired-mx",
        "the signature of the MX record set has expired",
        reported("dns.bogus_mx"),
        claims=Claims(mx=State.BOGUS),
        breakage=(Breakage(Damage.EXPIRED),),
    ),
    Scenario(
        "expired-address",
        "the signature of the host's address has expired",
        reported("dns.bogus_address"),
        claims=Claims(address=State.BOGUS),
        breakage=(Breakage(Damage.EXPIRED, "mx", "A"),),
    ),
    Scenario(
        "expired-tlsa",
        "the signature of the TLSA record set has expired",
        reported("dns.bogus_tlsa"),
        claims=Claims(tlsa=State.BOGUS),
        breakage=(Breakage(Damage.EXPIRED, "mx", "TLSA"),),
    ),
    Scenario(
        "forged-tlsa",
        "the signature of the TLSA record set does not fit",
        reported("dns.bogus_tlsa"),
        claims=Claims(tlsa=State.BOGUS),
        breakage=(Breakage(Damage.FORGED, "mx", "TLSA"),),
    ),
    Scenario(
        "broken-ds",
        "the DS record in the parent is of another key",
        reported("dns.bogus_mx"),
        claims=Claims(State.BOGUS, State.BOGUS, State.BOGUS),
        breakage=(Breakage(Damage.WRONG_DS),),
    ),
    Scenario(
        "missing-nsec",
        "there is no TLSA, and the NSEC that would prove it is gone",
        reported("dns.bogus_tlsa"),
        hosts=(Host(tlsa=(), exists_below=True),),
        claims=Claims(tlsa=State.BOGUS),
        breakage=(Breakage(Damage.UNPROVEN, "mx", "TLSA"),),
    ),
    Scenario(
        "tlsa-nxdomain",
        "no TLSA: its name does not exist",
        TLS,
        hosts=(Host(tlsa=()),),
        claims=Claims(tlsa=State.SECURE_NXDOMAIN),
    ),
    Scenario(
        "tlsa-nodata",
        "no TLSA: its name has other records",
        TLS,
        hosts=(Host(tlsa=(), exists_below=True),),
        claims=Claims(tlsa=State.SECURE_NODATA),
    ),
    Scenario(
        "implicit-mx",
        "no MX: the domain is its own host, with a 3 1 1",
        hosts=(Host("@", by_mx=False),),
        claims=Claims(mx=State.SECURE_NODATA),
    ),
    Scenario(
        "cname-expanded",
        "the MX host is an alias, and TLSA stands at what it is an alias of",
        hosts=(Host(alias_of=f"cname-expanded.{HOSTS}."),),
    ),
    Scenario(
        "cname-initial",
        "the MX host is an alias, and TLSA stands at the alias only",
        hosts=(Host(alias_of=f"cname-initial.{HOSTS}.", tlsa_at="mx"),),
        claims=Claims(tlsa=State.SECURE_NXDOMAIN),
    ),
    Scenario(
        "cname-insecure",
        "the MX host is a signed alias of a host in an unsigned zone",
        TLS,
        hosts=(Host(alias_of=f"cname-insecure.{PLAIN_HOSTS}.", tlsa=(_OTHER,), tlsa_at="mx"),),
        claims=Claims(address=State.INSECURE, tlsa=State.INSECURE_NXDOMAIN),
    ),
    Scenario(
        "null-mx",
        "a null MX: the domain takes no mail",
        reported("dns.null_mx"),
        hosts=(),
        null_mx=True,
    ),
    Scenario(
        "nxdomain",
        "the domain does not exist",
        reported("dns.nxdomain"),
        hosts=(),
        exists=False,
        claims=Claims(mx=State.SECURE_NXDOMAIN),
    ),
    Scenario(
        "servfail-tlsa",
        "SERVFAIL for TLSA: the host is unreachable, never without DANE",
        deferred("dns.tlsa_lookup"),
        claims=Claims(tlsa=State.ERROR),
        faults=(Fault("mx", "TLSA", servfail=True),),
    ),
    Scenario(
        "servfail-mx",
        "SERVFAIL for MX: the mail waits",
        deferred("dns.mx_lookup"),
        claims=Claims(mx=State.ERROR),
        faults=(Fault("@", "MX", servfail=True),),
    ),
    Scenario("slow-dns", "a nameserver that takes its time", faults=(Fault(delay=0.15),)),
    Scenario(
        "dropping-dns",
        "a nameserver that never answers for TLSA",
        deferred("dns.tlsa_lookup"),
        claims=Claims(tlsa=State.ERROR),
        faults=(Fault("mx", "TLSA", drop=True),),
    ),
)

_HOSTS = (
    Scenario(
        "two-mx",
        "the first host's certificate does not match, the second's does",
        hosts=(
            Host("mx1", 10, tlsa=(_OTHER,)),
            Host("mx2", 20),
        ),
    ),
    Scenario(
        "two-mx-down",
        "nobody listens at the first host",
        hosts=(
            Host("mx1", 10, behaviour=Behaviour(listens=False)),
            Host("mx2", 20),
        ),
    ),
    Scenario(
        "two-mx-bad",
        "neither host's certificate matches",
        reported("dane.mismatch"),
        hosts=(
            Host("mx1", 10, tlsa=(_OTHER,)),
            Host("mx2", 20, tlsa=(_OTHER,)),
        ),
    ),
    Scenario(
        "no-starttls",
        "TLSA 3 1 1, and no STARTTLS offered",
        deferred("tls.not_offered"),
        hosts=(Host(behaviour=Behaviour(starttls=Starttls.ABSENT)),),
    ),
    Scenario(
        "never-starttls",
        "the same, and policy bounces at the second attempt",
        reported("tls.not_offered"),
        hosts=(Host(behaviour=Behaviour(starttls=Starttls.ABSENT)),),
        settings={"dane": {"no_tls_attempts": 2}},
    ),
    Scenario(
        "refused-starttls",
        "TLSA 3 1 1, and 454 to STARTTLS",
        deferred("tls.not_offered"),
        hosts=(Host(behaviour=Behaviour(starttls=Starttls.REFUSED)),),
    ),
    Scenario(
        "broken-starttls",
        "TLSA 3 1 1, and a handshake that fails",
        deferred("tls.handshake"),
        hosts=(Host(behaviour=Behaviour(starttls=Starttls.BROKEN)),),
    ),
    Scenario(
        "clear",
        "no TLSA and no STARTTLS: in the clear",
        CLEAR,
        claims=Claims(tlsa=State.SECURE_NXDOMAIN),
        hosts=(Host(tlsa=(), behaviour=Behaviour(starttls=Starttls.ABSENT)),),
    ),
    Scenario(
        "broken-opportunistic",
        "no TLSA, and a handshake that fails: in the clear on a new connection",
        CLEAR,
        hosts=(Host(tlsa=(), behaviour=Behaviour(starttls=Starttls.BROKEN)),),
        claims=Claims(tlsa=State.SECURE_NXDOMAIN),
    ),
    Scenario(
        "reply-4xx",
        "450 to one recipient, the other is taken",
        hosts=(Host(behaviour=Behaviour(recipients={"later": "450 4.2.2 the mailbox is full"})),),
        recipients={"later": deferred("smtp.recipient"), "user": DANE},
    ),
    Scenario(
        "reply-5xx",
        "550 to one recipient, the other is taken",
        hosts=(Host(behaviour=Behaviour(recipients={"nobody": "550 5.1.1 there is no such user"})),),
        recipients={"nobody": reported("smtp.recipient"), "user": DANE},
    ),
    Scenario(
        "refused-content",
        "554 to the message",
        reported("smtp.content"),
        hosts=(Host(behaviour=Behaviour(dot="554 5.7.1 we do not want this")),),
    ),
    Scenario("greylisting", "450 at first, then taken", hosts=(Host(behaviour=Behaviour(greylisting=True)),)),
    Scenario(
        "closing",
        "421 to RCPT",
        deferred("smtp.closing"),
        hosts=(Host(behaviour=Behaviour(closes="421 4.3.2 going down")),),
    ),
    Scenario(
        "greeting-421",
        "421 as the greeting",
        deferred("smtp.greeting"),
        hosts=(Host(behaviour=Behaviour(greeting="421 4.3.2 too many connections")),),
    ),
    Scenario(
        "down",
        "nobody listens at the only host",
        deferred("smtp.connect"),
        hosts=(Host(behaviour=Behaviour(listens=False)),),
    ),
)

_WAYS = (
    Scenario(
        "local",
        "a local domain: no DANE, though its TLSA would not match",
        CLEAR,
        way=Way.LOCAL,
        hosts=(Host(tlsa=(_OTHER,), behaviour=Behaviour(starttls=Starttls.ABSENT)),),
    ),
    Scenario(
        "rule-dane",
        "sent to a host by rule: DANE at that host",
        way=Way.HOST,
        hosts=(Host("relay", by_mx=False),),
        claims=Claims(mx=State.SECURE_NODATA),
    ),
    Scenario(
        "rule-mismatch",
        "the same, and its TLSA does not match",
        reported("dane.mismatch"),
        way=Way.HOST,
        hosts=(Host("relay", tlsa=(_OTHER,), by_mx=False),),
        claims=Claims(mx=State.SECURE_NODATA),
    ),
    Scenario(
        "rule-plain",
        "the same without TLSA",
        TLS,
        way=Way.HOST,
        hosts=(Host("relay", tlsa=(), by_mx=False),),
        claims=Claims(State.SECURE_NODATA, tlsa=State.SECURE_NXDOMAIN),
    ),
    Scenario(
        "excluded",
        "excluded from DANE, though its TLSA does not match",
        TLS,
        excluded=True,
        hosts=(Host(tlsa=(_OTHER,)),),
    ),
)

ALL: tuple[Scenario, ...] = (*_CERTIFICATES, *_DNS, *_HOSTS, *_WAYS)


def named(*names: str) -> tuple[Scenario, ...]:
    """Give some scenarios by name, in the order of `ALL`. Raises ValueError for a name that there is not."""
    unknown = set(names) - {scenario.name for scenario in ALL}
    if unknown:
        raise ValueError(f"the lab has no scenario named {', '.join(sorted(unknown))}")
    return tuple(scenario for scenario in ALL if scenario.name in names)
