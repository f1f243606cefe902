"""Enhanced status codes for every trouble: while mail waits, and when it is refused (RFC 3463, RFC 5248).

No code is registered for RFC 7672; X.7.5 (cryptographic failure) is the closest, and what other mailers use.
"""

from stages.plan import Trouble

# trouble: (status while waiting, status of a refusal)
STATUS: dict[Trouble, tuple[str, str]] = {
    Trouble.BOGUS_MX: ("4.7.5", "5.7.5"),
    Trouble.BOGUS_ADDRESS: ("4.7.5", "5.7.5"),
    Trouble.BOGUS_TLSA: ("4.7.5", "5.7.5"),
    Trouble.LOOKUP_MX: ("4.4.3", "4.4.3"),
    Trouble.LOOKUP_ADDRESS: ("4.4.3", "4.4.3"),
    Trouble.LOOKUP_TLSA: ("4.4.3", "4.4.3"),
    Trouble.NXDOMAIN: ("4.1.2", "5.1.2"),
    Trouble.NULL_MX: ("4.1.10", "5.1.10"),
    Trouble.NO_ADDRESS: ("4.4.4", "5.4.4"),
    Trouble.SELF: ("4.4.6", "5.4.6"),
    Trouble.FORBIDDEN_ADDRESS: ("4.4.6", "5.4.6"),
    Trouble.BAD_LITERAL: ("4.1.3", "5.1.3"),
    Trouble.ALIAS_REFUSED: ("4.4.4", "5.4.4"),
    Trouble.MANDATORY: ("4.7.5", "5.7.5"),
    Trouble.UNUSABLE: ("4.7.5", "5.7.5"),
    Trouble.MISMATCH: ("4.7.5", "5.7.5"),
    Trouble.NO_STARTTLS: ("4.7.10", "5.7.10"),
    Trouble.HANDSHAKE: ("4.7.5", "5.7.5"),
    Trouble.UNTRUSTED: ("4.7.5", "5.7.5"),
    Trouble.CONNECT: ("4.4.1", "4.4.1"),
    Trouble.GREETING: ("4.3.2", "5.3.2"),
    Trouble.LOST: ("4.4.2", "4.4.2"),
    Trouble.TIMEOUT: ("4.4.2", "4.4.2"),
    Trouble.CLOSING: ("4.3.2", "4.3.2"),
    Trouble.PROTOCOL: ("4.5.0", "4.5.0"),
    Trouble.SUSPENDED: ("4.4.3", "4.4.3"),
}

# RFC 8914 info codes that say "validation failed", with the words that logs and reports use for them
EDE_BOGUS: dict[int, str] = {
    6: "DNSSEC bogus",
    7: "signature expired",
    8: "signature not yet valid",
    9: "DNSKEY missing",
    10: "RRSIGs missing",
    11: "no zone key bit set",
    12: "NSEC missing",
}
EDE_UNSUPPORTED: dict[int, str] = {
    1: "unsupported DNSKEY algorithm",
    2: "unsupported DS digest type",
    27: "unsupported NSEC3 iterations value",
}
EDE_LOCAL_POLICY: dict[int, str] = {
    4: "forged answer",
    15: "blocked",
    16: "censored",
    17: "filtered",
    18: "prohibited",
}
EDE_OTHER: dict[int, str] = {
    0: "other error",
    3: "stale answer",
    5: "DNSSEC indeterminate",
    13: "cached error",
    14: "not ready",
    19: "stale NXDOMAIN answer",
    20: "not authoritative",
    21: "not supported",
    22: "no reachable authority",
    23: "network error",
    24: "invalid data",
}


def ede_text(code: int) -> str:
    """Name an extended DNS error (RFC 8914 section 4, RFC 9276 section 3.2)."""
    for table in (EDE_BOGUS, EDE_UNSUPPORTED, EDE_LOCAL_POLICY, EDE_OTHER):
        if code in table:
            return table[code]
    return f"extended error {code}"


def waiting(trouble: Trouble) -> str:
    """Give the status of a recipient that waits for this reason."""
    return STATUS[trouble][0]


def refused(trouble: Trouble) -> str:
    """Give the status of a refusal for this reason."""
    return STATUS[trouble][1]
