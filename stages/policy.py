"""Failure profiles: what each class of DANE failure leads to.

A profile is a named set of the settings below, and each setting can be set by itself. `mailmarshal` is the
behaviour asked of this project, `exchange` retries for a day, `rfc7672` does what the RFC says (it never fails mail
for a DANE reason before the queue lifetime ends). No profile ever turns a lookup error into a bounce.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType

from stages.destination import TlsLevel


class Mode(StrEnum):
    """How far DANE goes: not at all, only logged, enforced where records exist, or required (RFC 7672 section 6)."""

    OFF = "off"
    AUDIT = "audit"
    ENFORCE = "enforce"
    MANDATORY = "mandatory"


class Profile(StrEnum):
    """Names of the sets in `PROFILES`."""

    MAILMARSHAL = "mailmarshal"
    EXCHANGE = "exchange"
    RFC7672 = "rfc7672"


class OnFailure(StrEnum):
    """What a failure leads to once every host has been tried (or the first, by `Scope`)."""

    DEFER = "defer"  # wait; the queue lifetime bounds it
    BOUNCE = "bounce"  # refuse, with a non-delivery report at once


class OnNoTls(StrEnum):
    """What missing or failing TLS leads to where it is required: never clear text."""

    DEFER = "defer"
    BOUNCE_AFTER_ATTEMPTS = "bounce-after-attempts"
    BOUNCE = "bounce"


class OnUnusable(StrEnum):
    """What a secure TLSA set without a usable record leads to (RFC 7672 section 2.2)."""

    ENCRYPT = "encrypt"
    SKIP_HOST = "skip-host"
    BOUNCE = "bounce"


class Scope(StrEnum):
    """How much must have failed on DANE grounds before a bounce: every host, or the first that does."""

    HOST = "host"
    DESTINATION = "destination"


class BogusProof(StrEnum):
    """What shows that a bogus answer is the zone's fault (a bounce needs it; without it, mail waits)."""

    VALIDATOR = "validator"  # only our own validation
    VALIDATOR_OR_CD_REQUERY = "validator-or-cd-requery"  # or a CD=1 re-query that answers, with a DNSSEC EDE
    TRUSTED_EDE = "trusted-ede"  # or a DNSSEC EDE alone, from a trusted resolver


class InsecureMx(StrEnum):
    """Whether an insecure MX answer ends DANE, or signed hosts are still held to their records (RFC 7672 2.2.1)."""

    DANE = "dane"
    OPPORTUNISTIC = "opportunistic"


class InsecureAlias(StrEnum):
    """Whether an insecure address behind a secure alias still binds TLSA at the alias (RFC 7672 2.2.2)."""

    INITIAL_NAME = "initial-name"
    OPPORTUNISTIC = "opportunistic"


class MxCname(StrEnum):
    """Whether an MX name that is an alias is followed (RFC 7672 section 2.2.2 leaves it open)."""

    FOLLOW = "follow"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class DanePolicy:
    """All that decides a DANE failure. Durations are timedeltas; `retry` is None for the queue's own schedule."""

    mode: Mode = Mode.ENFORCE
    profile: Profile = Profile.MAILMARSHAL
    on_mismatch: OnFailure = OnFailure.BOUNCE
    on_bogus_mx: OnFailure = OnFailure.BOUNCE
    on_bogus_address: OnFailure = OnFailure.BOUNCE
    on_bogus_tlsa: OnFailure = OnFailure.BOUNCE
    on_no_tls: OnNoTls = OnNoTls.BOUNCE_AFTER_ATTEMPTS
    no_tls_attempts: int = 5
    on_unusable: OnUnusable = OnUnusable.ENCRYPT
    failure_scope: Scope = Scope.HOST
    bogus_proof: BogusProof = BogusProof.VALIDATOR_OR_CD_REQUERY
    bogus_min_attempts: int = 1
    bogus_min_age: timedelta = timedelta(0)
    insecure_mx_policy: InsecureMx = InsecureMx.OPPORTUNISTIC
    insecure_alias_policy: InsecureAlias = InsecureAlias.OPPORTUNISTIC
    mx_cname: MxCname = MxCname.FOLLOW
    usages: tuple[int, ...] = (3, 2)
    digests: tuple[int, ...] = (2, 1)  # strongest first (RFC 7671 section 9)
    wildcard_multilabel: bool = False
    retry: tuple[timedelta, ...] | None = None  # after a DANE failure; the last one repeats
    bounce_after: timedelta | None = None  # give up a DANE failure after this long; None: at the queue lifetime
    notify_delay_after: timedelta | None = None  # an early delay notice for a DANE failure


def _profile(**settings: object) -> Mapping[str, object]:
    return settings


PROFILES: Mapping[Profile, Mapping[str, object]] = {
    Profile.MAILMARSHAL: _profile(),
    Profile.EXCHANGE: _profile(
        on_mismatch=OnFailure.DEFER,
        on_bogus_mx=OnFailure.DEFER,
        on_bogus_address=OnFailure.DEFER,
        on_bogus_tlsa=OnFailure.DEFER,
        on_no_tls=OnNoTls.DEFER,
        retry=(timedelta(minutes=15), timedelta(minutes=15), timedelta(hours=1)),
        bounce_after=timedelta(hours=24),
    ),
    Profile.RFC7672: _profile(
        on_mismatch=OnFailure.DEFER,
        on_bogus_mx=OnFailure.DEFER,
        on_bogus_address=OnFailure.DEFER,
        on_bogus_tlsa=OnFailure.DEFER,
        on_no_tls=OnNoTls.DEFER,
        insecure_mx_policy=InsecureMx.DANE,
        insecure_alias_policy=InsecureAlias.INITIAL_NAME,
        notify_delay_after=timedelta(hours=4),
    ),
}


def dane_policy(profile: Profile, overrides: Mapping[str, object] = MappingProxyType({})) -> DanePolicy:
    """Make the policy of a profile with single settings on top. Raises TypeError for a setting that does not exist."""
    return DanePolicy(**{"profile": profile, **PROFILES[profile], **overrides})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one destination: connections at a time, messages per connection, recipients per transaction.

    `idle`: how long a connection waits for more mail before it is closed. `site_connections`: connections at a time of
    all destinations that share the best host; `rate`: messages a second. None sets no bound.
    """

    connections: int = 20
    messages_per_connection: int = 100
    recipients_per_transaction: int = 100
    idle: timedelta = timedelta(seconds=2)
    site_connections: int | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that decides how a destination is resolved, delivered to and judged: a fact of both stages.

    `allow_private` lets MX records name loopback, private and link-local addresses. `own_names` and `own_addresses`
    are what must not be looped to (RFC 5321 section 5.1). `floor` is the
    least TLS that is used where DANE asks for less. `prefer` orders addresses: ipv6, ipv4 or any.
    """

    dane: DanePolicy = field(default_factory=DanePolicy)
    limits: Limits = field(default_factory=Limits)
    allow_private: bool = False
    own_names: frozenset[str] = frozenset()
    own_addresses: frozenset[str] = frozenset()
    floor: TlsLevel = TlsLevel.MAY
    prefer: str = "ipv6"
    max_addresses: int = 5
    partial_address_failure: str = "use"
