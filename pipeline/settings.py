"""The settings: every key of the configuration file, its type, its default and its bounds.

The classes are frozen and refuse unknown keys. How values are written stands in `pipeline.values`; `pipeline.config`
reads files and the environment into these.
"""

import ipaddress
import re
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.values import (
    OFF,
    Addresses,
    Domain,
    Domains,
    Duration,
    Durations,
    Endpoint,
    Networks,
    Numbers,
    Patience,
    Port,
    Positive,
    Questions,
    Servers,
    Size,
    TlsVersion,
    Words,
)
from stages.policy import (
    BogusProof,
    InsecureAlias,
    InsecureMx,
    Mode,
    MxCname,
    OnFailure,
    OnNoTls,
    OnUnusable,
    Profile,
    Scope,
)


class Section(BaseModel):
    """What every section has: no unknown keys, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Listen(Section):
    """`[listen]`: the SMTP listener that takes mail in."""

    smtp: Endpoint = Field("127.0.0.1:2525", description="address and port of the listener")
    max_size: Size = Field(50 * 1024**2, description="largest message, in octets")
    max_recipients: Positive = Field(1000, ge=100, description="most recipients of one message (at least 100)")
    allow: Networks = Field(("127.0.0.0/8", "::1/128"), description="networks that may relay; all others are refused")
    certificate: Path | None = Field(None, description="certificate chain (PEM) for STARTTLS")
    key: Path | None = Field(None, description="private key (PEM) of the certificate")
    timeout: Duration = Field(timedelta(minutes=5), description="longest silence of a client")
    max_connections: Positive = Field(1000, description="most connections at a time, of each process")
    processes: Positive = Field(1, description="processes that listen on this port and share the connections")

    @field_validator("allow")
    @classmethod
    def _closed(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            if network.endswith("/0"):
                raise ValueError(
                    f"{network!r} would let the whole Internet send mail: name the networks that may relay"
                )
        return networks

    @model_validator(mode="after")
    def _pair(self) -> "Listen":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: set both or neither")
        return self


class RedisSection(Section):
    """`[redis]`: where everything is kept."""

    url: str = Field("embedded", description='"embedded", or an address such as redis://127.0.0.1:6379/0')
    allow_unsafe: bool = Field(default=False, description="accept a Redis that may lose accepted mail")

    @model_validator(mode="after")
    def _scheme(self) -> "RedisSection":
        if self.url != "embedded" and not re.match(r"(rediss?|unix)://", self.url):
            raise ValueError(f"url is {self.url!r}, expected 'embedded' or an address such as redis://127.0.0.1:6379/0")
        return self


class Store(Section):
    """`[store]`: data on this machine, and the content of mail where it is not in Redis."""

    dir: Path = Field(Path("./var"), description="directory of the embedded Redis and of small files")
    content: str = Field("redis", description='where the content of mail is: "redis", "file:///..." or "s3://..."')

    @field_validator("content")
    @classmethod
    def _place(cls, address: str) -> str:
        if address != "redis" and not re.fullmatch(r"file:///[^?#]+|s3://[^/?#]+(/[^?#]*)?", address):
            raise ValueError(
                f"{address!r} is no place for content: write 'redis', 'file:///directory' or 's3://bucket/prefix'"
            )
        return address


class NegativeAnchor(Section):
    """`[[dns.negative]]`: a name at and below which nothing is validated for some time (RFC 7646)."""

    name: Domain = Field(description="the name")
    reason: str = Field(min_length=1, description="why")
    expires: datetime | date = Field(description="day or time when it ends")


class Dns(Section):
    """`[dns]`: resolvers, and why their word on security is believed."""

    servers: Servers = Field((), description="resolvers as address or address@port; default: the system's")
    validation: Literal["auto", "trusted", "local", "both"] = Field("auto", description="where security comes from")
    trust: Networks = Field((), description="networks besides loopback whose AD bit is believed")
    timeout: Duration = Field(timedelta(seconds=5), description="patience with one resolver for one try")
    attempts: Positive = Field(3, description="tries for one question, over all resolvers")
    anchor_file: Path | None = Field(None, description="trust anchors (DS or DNSKEY lines); default: the root's")
    negative: tuple[NegativeAnchor, ...] = Field((), description="names where nothing is validated")
    retry: Durations = Field(
        (timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=15)),
        description="waits after transient failures before the mail itself is deferred (at most 60 s each)",
    )
    canary_interval: Duration = Field(timedelta(minutes=5), description="time between self-tests of a resolver")
    canary_secure: Questions = Field(("./SOA", "./DNSKEY"), description="questions with a secure answer")
    canary_absent: Questions = Field(("danepipe-canary./A",), description="questions with a secure denial")
    canary_insecure: Questions = Field((), description="questions with an insecure answer")
    canary_bogus: Questions = Field(("dnssec-failed.org/A",), description="questions whose answer is bogus")
    max_ttl: Duration = Field(timedelta(days=1), description="longest time an answer is kept")
    max_negative_ttl: Duration = Field(timedelta(minutes=15), description="longest time a denial is kept")

    @model_validator(mode="after")
    def _short_waits(self) -> "Dns":
        if any(wait > timedelta(seconds=60) for wait in self.retry):
            raise ValueError("retry holds a wait of more than 60s: longer waits are the business of queue.retry")
        return self


class Smtp(Section):
    """`[smtp]`: how mail is sent. Timeouts are the minima of RFC 5321 section 4.5.3.2."""

    port: Port = Field(25, description="port of MX hosts")
    source_address: Addresses = Field((), description="local addresses to send from, one per family")
    prefer: Literal["ipv6", "ipv4"] = Field("ipv6", description="address family to try first")
    max_addresses: Positive = Field(5, description="most addresses tried at one host")
    allow_private: bool = Field(default=False, description="send to loopback and private addresses named by MX")
    own_names: Domains = Field((), description="other names of this server, for the loop check")
    own_addresses: Addresses = Field((), description="addresses of this server, for the loop check")
    connect_timeout: Duration = Field(timedelta(seconds=30), description="TCP connection")
    greeting_timeout: Duration = Field(timedelta(minutes=5), description="220 greeting")
    command_timeout: Duration = Field(timedelta(minutes=5), description="EHLO, STARTTLS, MAIL, RCPT")
    data_timeout: Duration = Field(timedelta(minutes=2), description="reply to DATA")
    block_timeout: Duration = Field(timedelta(minutes=3), description="each block of the message")
    dot_timeout: Duration = Field(timedelta(minutes=10), description="reply to the final dot")

    @model_validator(mode="after")
    def _real_addresses(self) -> "Smtp":
        for key in ("source_address", "own_addresses"):
            for value in getattr(self, key):
                try:
                    ipaddress.ip_address(value)
                except ValueError:
                    raise ValueError(f"{key} holds {value!r}, which is no IP address") from None
        return self


class Tls(Section):
    """`[tls]`: TLS towards other servers."""

    min_version: TlsVersion = Field("1.2", description="lowest TLS version where TLS is required")
    ca_file: Path | None = Field(None, description="CA certificates for tls = verify; default: the system's")


class Dane(Section):
    """`[dane]`: the switch, the profile, and each row of it (unset rows take the profile's value)."""

    mode: Mode = Field(Mode.ENFORCE, description="off, audit (log only), enforce or mandatory")
    profile: Profile = Field(Profile.MAILMARSHAL, description="set of the failure policies below")
    on_mismatch: OnFailure | None = Field(None, description="the certificate matches at no usable host")
    on_bogus_mx: OnFailure | None = Field(None, description="the MX answer is bogus")
    on_bogus_address: OnFailure | None = Field(None, description="an address answer is bogus")
    on_bogus_tlsa: OnFailure | None = Field(None, description="the TLSA answer is bogus")
    on_no_tls: OnNoTls | None = Field(None, description="required TLS is not offered, or its handshake fails")
    no_tls_attempts: Positive | None = Field(None, description="attempts before on_no_tls bounces")
    on_unusable: OnUnusable | None = Field(None, description="no TLSA record is usable")
    failure_scope: Scope | None = Field(None, description="how much must fail: every host, or the first")
    bogus_proof: BogusProof | None = Field(None, description="what proves that bogus is the zone's fault")
    bogus_min_attempts: Positive | None = Field(None, description="attempts before bogus bounces")
    bogus_min_age: Duration | None = Field(None, description="age of the failure before bogus bounces")
    insecure_mx_policy: InsecureMx | None = Field(None, description="signed hosts behind an insecure MX")
    insecure_alias_policy: InsecureAlias | None = Field(None, description="TLSA at a secure alias")
    mx_cname: MxCname | None = Field(None, description="MX names that are aliases")
    usages: Numbers | None = Field(None, description="certificate usages that count, of 2 and 3")
    digests: Numbers | None = Field(None, description="matching types, strongest first, of 1 and 2")
    wildcard_multilabel: bool | None = Field(None, description="let *.example.com match more than one label")
    retry: Durations | None = Field(None, description="waits after a DANE failure; the last one repeats")
    bounce_after: Patience | None = Field(None, description="give up a DANE failure after this time")
    notify_delay_after: Patience | None = Field(None, description="early delay notice for a DANE failure")

    @model_validator(mode="after")
    def _known_numbers(self) -> "Dane":
        for key, allowed in (("usages", {2, 3}), ("digests", {1, 2})):
            given = getattr(self, key)
            if given is not None and (not given or not set(given) <= allowed or len(set(given)) != len(given)):
                raise ValueError(f"{key} is {list(given)}, expected one or both of {sorted(allowed)}")
        return self

    def rows(self) -> dict[str, object]:
        """Give the rows that are set, without `mode` and `profile`; "off" is None, as the policy has it."""
        names = [name for name in type(self).model_fields if name not in {"mode", "profile"}]
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return {name: None if value == OFF else value for name, value in given.items()}


class Queue(Section):
    """`[queue]`: how long and how often mail is tried."""

    lifetime: Duration = Field(timedelta(days=5), description="time until mail is returned")
    bounce_lifetime: Duration = Field(timedelta(days=1), description="the same for reports")
    retry: Durations = Field(
        tuple(timedelta(minutes=minutes) for minutes in (30, 30, 60, 120, 180)),
        description="waits between attempts; the last one repeats",
    )
    jitter: float = Field(0.1, ge=0, le=0.5, description="share by which a wait varies at random")
    delay_notice: Patience = Field(timedelta(hours=4), description="age at which the sender hears of a delay")

    @property
    def notice_after(self) -> timedelta | None:
        """Give `delay_notice`; None for never."""
        return None if isinstance(self.delay_notice, str) else self.delay_notice


class LimitsSection(Section):
    """`[limits]`: bounds for each destination."""

    connections: Positive = Field(20, description="connections at a time, over all workers")
    messages_per_connection: Positive = Field(100, description="messages sent over one connection")
    idle: Duration = Field(
        timedelta(seconds=2), description="how long a connection waits for more mail; 0s: not at all"
    )
    recipients_per_transaction: Positive = Field(100, description="recipients in one transaction")
    site_connections: Positive | None = Field(
        None, description="connections at a time of all destinations whose best MX host is the same, over all workers"
    )
    rate: float | None = Field(None, gt=0, description="messages a second, over all workers and connections")


class Work(Section):
    """`[work]`: worker processes."""

    processes: Positive = Field(2, description="worker processes")
    threads: Positive = Field(8, description="threads in each, which take jobs from Redis and route mail")
    destinations: Positive = Field(100, description="destinations that each delivers to at a time")
    lease: Duration = Field(timedelta(seconds=60), description="time after which a silent worker loses its work")
    fair_share: Positive = Field(100, description="messages one connection job takes before it lets others in")
    nice: int = Field(
        19, ge=0, le=19, description="how far workers stand back for the listener where processor time is short"
    )

    @model_validator(mode="after")
    def _long_enough(self) -> "Work":
        if self.lease < timedelta(seconds=5):
            raise ValueError("lease is shorter than 5s: a busy worker would lose its work")
        return self


class LogSection(Section):
    """`[log]`: where events go."""

    file: Path | None = Field(None, description="file to append to; default: standard output")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level written")
    format: Literal["json", "console"] = Field("json", description="JSON lines, or text for a terminal")


class PipelineSection(Section):
    """`[pipeline]`: the stages in order."""

    stages: Words = Field(("route", "exclude", "resolve", "deliver", "bounce"), description="stages in order")


class Own(Section):
    """`[own]`: domains and hosts of ours, whose TLSA records and certificates the clock looks at."""

    domains: Domains = Field((), description="domains of ours: all their MX hosts are watched")
    hosts: Domains = Field((), description="hosts of ours that no MX record names")
    interval: Duration = Field(timedelta(minutes=15), ge=timedelta(seconds=1), description="time between two looks")
    warn: Duration = Field(timedelta(days=14), description="how long before its end something is told of")


class BounceSection(Section):
    """`[bounce]`: reports."""

    postmaster: str = Field("", description="address in the From of reports; default: postmaster@hostname")
