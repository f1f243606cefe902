"""The domains of the lab, each one story. `ALL` is the whole list, in the order in which the demo shows it.

What each is expected to come to is under profile `mailmarshal` in mode `enforce` (rows of ops/docs/decision-table.md).
"""

from ops.lab.broken_dns import DNS
from ops.lab.scenario import (
    CLEAR,
    DANE,
    TLS,
    Behaviour,
    Certificate,
    Claims,
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
        recipients={"later": deferred("smtp.rcpt_deferred"), "user": DANE},
    ),
    Scenario(
        "reply-5xx",
        "550 to one recipient, the other is taken",
        hosts=(Host(behaviour=Behaviour(recipients={"nobody": "550 5.1.1 there is no such user"})),),
        recipients={"nobody": reported("smtp.rcpt_refused"), "user": DANE},
    ),
    Scenario(
        "refused-content",
        "554 to the message",
        reported("smtp.data_refused"),
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
        deferred("smtp.closing"),
        hosts=(Host(behaviour=Behaviour(greeting="421 4.3.2 too many connections")),),
    ),
    Scenario(
        "greeting-554",
        "554 as the greeting of the only host",
        reported("smtp.greeting"),
        hosts=(Host(behaviour=Behaviour(greeting="554 5.3.2 no mail here")),),
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

ALL: tuple[Scenario, ...] = (*_CERTIFICATES, *DNS, *_HOSTS, *_WAYS)


def named(*names: str) -> tuple[Scenario, ...]:
    """Give some scenarios by name, in the order of `ALL`. Raises ValueError for a name that there is not."""
    unknown = set(names) - {scenario.name for scenario in ALL}
    if unknown:
        raise ValueError(f"the lab has no scenario named {', '.join(sorted(unknown))}")
    return tuple(scenario for scenario in ALL if scenario.name in names)
