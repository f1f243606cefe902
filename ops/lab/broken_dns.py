"""Domains of the lab whose story is their DNS: unsigned, bogus, denied, aliased, absent, slow or silent.

A scenario with a fault that delays or drops answers has a forwarding path of its own, so that it troubles no other.
"""

from ops.lab.scenario import (
    HOSTS,
    PLAIN_HOSTS,
    TLS,
    Breakage,
    Claims,
    Damage,
    Fault,
    Host,
    Scenario,
    State,
    Subject,
    Tlsa,
    deferred,
    reported,
)

_OTHER = Tlsa(of=Subject.OTHER)
_UNSIGNED = Claims(State.INSECURE, State.INSECURE, State.UNASKED)

DNS: tuple[Scenario, ...] = (
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
