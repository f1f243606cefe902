"""The configuration of a process: one TOML file and the environment, read once into a frozen typed object.

`load` reads the file that is named, else `./danepipe.toml`, else `/etc/danepipe/danepipe.toml`, else only defaults; a
variable `DANEPIPE_SECTION__KEY` outweighs the file. Raises `ConfigError`, whose text names the file with the line (or
the variable), the key, what is wrong and what would be right; for an unknown key the nearest known one.
"""

import tomllib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import idna
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from delivery.dnssec.limits import DEFAULT
from delivery.settings import DsnSettings, SmtpSettings, Timeouts, TlsSettings
from pipeline.api import Api
from pipeline.backpressure import Backpressure
from pipeline.circuit import Circuit
from pipeline.config_faults import at, faults
from pipeline.console import Console
from pipeline.dnssec import Dnssec
from pipeline.gates import Setting
from pipeline.policies import Policies
from pipeline.settings import (
    BounceSection,
    Dane,
    Dns,
    LimitsSection,
    Listen,
    LogSection,
    Own,
    PipelineSection,
    Queue,
    RedisSection,
    Smtp,
    Store,
    Tls,
    Work,
)
from pipeline.tables import DestinationRule, ExcludeEntry, RouteRule, Webhook
from pipeline.upkeep import MetricsSection, Recheck
from pipeline.values import Domains, HostName, default_hostname, moment
from stages.destination import Destination, TlsLevel
from stages.exclude import Exclusion
from stages.policy import BogusProof, OnFailure, Policy, dane_policy
from stages.retry import Schedule
from stages.route import Action, RouteTable, Rule

if TYPE_CHECKING:
    from delivery.resolver import DnsSettings

PREFIX = "DANEPIPE_"
RESERVED = frozenset({"DANEPIPE_CONFIG", "DANEPIPE_WORKER"})
PLACES = (Path("danepipe.toml"), Path("/etc/danepipe/danepipe.toml"))


class ConfigError(Exception):
    """The configuration cannot be used; the text is for the person who wrote it, one line for each fault."""


class Config(BaseModel):
    """All settings. Made by `load`; `origin(key)` tells where a value came from."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    hostname: HostName = Field(default_factory=default_hostname, description="name of this server, in EHLO and reports")
    local_domains: Domains = Field((), description="domains that are delivered here: never validated")
    listen: Listen = Field(default_factory=Listen, description="the SMTP listener")
    api: Api = Field(default_factory=Api, description="the HTTP API")
    console: Console = Field(default_factory=Console, description="the web console")
    redis: RedisSection = Field(default_factory=RedisSection, description="where everything is kept")
    store: Store = Field(default_factory=Store, description="data on this machine, and where the content of mail is")
    backpressure: Backpressure = Field(
        default_factory=Backpressure, description="how full everything may become before new mail is put off"
    )
    dns: Dns = Field(default_factory=Dns, description="resolvers")
    dnssec: Dnssec = Field(
        default_factory=Dnssec, description="what our own validation supports, and what one question may cost"
    )
    smtp: Smtp = Field(default_factory=Smtp, description="sending")
    tls: Tls = Field(default_factory=Tls, description="TLS towards other servers")
    dane: Dane = Field(default_factory=Dane, description="the DANE switch and its failure policies")
    queue: Queue = Field(default_factory=Queue, description="how long and how often mail is tried")
    limits: LimitsSection = Field(default_factory=LimitsSection, description="bounds for each destination")
    circuit: Circuit = Field(default_factory=Circuit, description="pauses for addresses that could not be reached")
    work: Work = Field(default_factory=Work, description="worker processes")
    log: LogSection = Field(default_factory=LogSection, description="where events go")
    pipeline: PipelineSection = Field(default_factory=PipelineSection, description="the stages")
    bounce: BounceSection = Field(default_factory=BounceSection, description="reports")
    own: Own = Field(
        default_factory=Own, description="domains and hosts of ours whose TLSA records and certificates are watched"
    )
    recheck: Recheck = Field(default_factory=Recheck, description="excluded domains that are tried with DANE")
    metrics: MetricsSection = Field(default_factory=MetricsSection, description="figures for Prometheus")
    route: tuple[RouteRule, ...] = Field((), description="routing rules, in order")
    exclude: tuple[ExcludeEntry, ...] = Field((), description="recipients to whom DANE does not apply")
    destination: tuple[DestinationRule, ...] = Field((), description="other settings for some domains")

    webhook: tuple[Webhook, ...] = Field((), description="who is told over HTTP of what becomes of each recipient")

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _file: Path | None = PrivateAttr(default=None)
    _text: str = PrivateAttr(default="")

    @property
    def file(self) -> Path | None:
        """Give the file that was read."""
        return self._file

    def origin(self, key: str) -> str:
        """Tell where the value of a dotted key came from: `default`, `file:line`, or the name of a variable."""
        while key:
            if key in self._origins:
                return self._origins[key]
            key = key.rpartition(".")[0]
        return "default"

    @cached_property
    def _policies(self) -> Policies:
        return Policies(self.dane, self.limits, self.smtp, self.hostname, self.destination)

    def policy_for(self, destination: Destination) -> Policy:
        """Give the policy that holds for a destination."""
        return self._policies.policy_for(destination)

    def route_table(self) -> RouteTable:
        """Make the routing rules. Raises `ConfigError` naming the rule."""
        try:
            return RouteTable(
                rules=tuple(_rule(number, rule) for number, rule in enumerate(self.route, 1)),
                local_domains=frozenset(self.local_domains),
                port=self.smtp.port,
            )
        except ValueError as error:
            raise ConfigError(f"{self._file or 'configuration'}: route: {error}") from error

    def exclusions(self) -> tuple[Exclusion, ...]:
        """Make the exclusions of the file. Raises `ConfigError` naming the entry."""
        made = []
        for number, entry in enumerate(self.exclude, 1):
            try:
                made.append(
                    Exclusion(
                        a_label_pattern(entry.pattern),
                        entry.reason,
                        entry.owner,
                        expires=moment(entry.expires) if entry.expires else None,
                        until_passing=entry.until_passing,
                    )
                )
            except ValueError as error:
                where = at(self._file, self._text, ("exclude", number - 1)) if self._file else "configuration"
                raise ConfigError(f"{where}: exclude[{number}]: {error}") from error
        return tuple(made)

    @cached_property
    def _dns_settings(self) -> "DnsSettings":
        # what DNS takes is a quarter of the memory of a process, and some read a configuration and never ask anything
        from pipeline.resolvers import AnchorError, dns_settings  # noqa: PLC0415

        try:
            return dns_settings(self.dns, self.dnssec)
        except AnchorError as error:
            raise ConfigError(f"{self.origin(error.key)}: {error.key}: {error}") from error

    def dns_settings(self) -> "DnsSettings":
        """Make the settings of the resolver. Raises `ConfigError` for trust anchors that are none."""
        return self._dns_settings

    def smtp_settings(self) -> SmtpSettings:
        """Make the settings of sessions with other servers."""
        smtp = self.smtp
        return SmtpSettings(
            hostname=self.hostname,
            source_addresses=smtp.source_address,
            timeouts=Timeouts(
                connect=smtp.connect_timeout.total_seconds(),
                greeting=smtp.greeting_timeout.total_seconds(),
                command=smtp.command_timeout.total_seconds(),
                data=smtp.data_timeout.total_seconds(),
                block=smtp.block_timeout.total_seconds(),
                dot=smtp.dot_timeout.total_seconds(),
            ),
            tls=TlsSettings(self.tls.min_version, self.tls.ca_file),
        )

    def dsn_settings(self) -> DsnSettings:
        """Make the settings of reports."""
        postmaster = self.bounce.postmaster or f"postmaster@{self.hostname}"
        return DsnSettings(self.hostname, postmaster, self.queue.lifetime)

    def gates(self) -> Setting:
        """Make what is to keep deliveries from hosts go by."""
        patience = self.smtp.connect_timeout + self.smtp.greeting_timeout + timedelta(seconds=10)
        return Setting(self.circuit.pauses(), patience, self.work.lease)

    def schedule(self) -> Schedule:
        """Make the retry schedule."""
        queue = self.queue
        return Schedule(queue.retry, queue.lifetime, queue.bounce_lifetime, queue.notice_after, queue.jitter)

    def items(self) -> Iterator[tuple[str, Any]]:
        """List dotted keys and values (tables of a list as one value), in the order of the manual."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, BaseModel):
                for key, inner in value.model_dump(mode="json").items():
                    yield f"{name}.{key}", inner
            elif isinstance(value, tuple):
                yield name, [one.model_dump(mode="json") if isinstance(one, BaseModel) else one for one in value]
            else:
                yield name, value


def find_file(places: tuple[Path, ...] = PLACES) -> Path | None:
    """Give the first configuration file that exists. Raises `ConfigError` for a place that may not be looked at."""
    for place in places:
        try:
            if place.is_file():
                return place
        except PermissionError as error:
            # `sudo -u danepipe` starts us in a directory that is not ours: there is no file for us in it
            if place.is_absolute():
                raise ConfigError(f"{place}: cannot be read: {error.strerror}") from error
    return None


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read the configuration, with the trust anchors if it says anything of them. Raises `ConfigError`."""
    config = read(path, environ)
    if config.dns.anchor_file is not None or config.dnssec.rules() != DEFAULT:
        config.dns_settings()
    return config


def read(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read all but the trust anchors, which to read takes what only those import that ask DNS. Raises `ConfigError`."""
    path = path or find_file()
    text, values = _read(path) if path is not None else ("", {})
    from_environment, variables = _environment(environ)
    try:
        config = Config.model_validate(_merged(values, from_environment))
    except ValidationError as error:
        raise ConfigError("\n".join(faults(Config, error, path, text, variables))) from error
    _check_proof(config, path)
    if path is not None:
        config._file = path  # noqa: SLF001 - our own class, frozen for everybody else
        config._text = text  # noqa: SLF001 - see above
        config._origins.update(_places(values, path, text))  # noqa: SLF001 - see above
    config._origins.update(variables)  # noqa: SLF001 - see above
    config.route_table()
    config.exclusions()
    return config


def _check_proof(config: Config, path: Path | None) -> None:
    """Refuse a policy that can never bounce what it says it bounces (a resolver's word is no validation of ours)."""
    policy = dane_policy(config.dane.profile, config.dane.rows())
    bounces = OnFailure.BOUNCE in {policy.on_bogus_mx, policy.on_bogus_address, policy.on_bogus_tlsa}
    if bounces and policy.bogus_proof is BogusProof.VALIDATOR and config.dns.validation == "trusted":
        where = path if path is not None else "configuration"
        raise ConfigError(
            f"{where}: dane.bogus_proof: 'validator' needs validation of our own, and dns.validation is 'trusted': "
            "bogus answers could never bounce; use 'validator-or-cd-requery', or set dane.on_bogus_* to 'defer'"
        )


def _rule(number: int, rule: RouteRule) -> Rule:
    return Rule(
        name=rule.name or f"rule {number}",
        action=Action(rule.action),
        recipients=tuple(a_label_pattern(pattern) for pattern in rule.recipient),
        senders=tuple(a_label_pattern(pattern) for pattern in rule.sender),
        sources=rule.source,
        host=rule.host,
        port=rule.port,
        tls=TlsLevel(rule.tls) if rule.tls is not None else None,
    )


def a_label_pattern(text: str) -> str:
    """Write the domain of a pattern in A-labels, as recipients have it. Raises ValueError for a name that has none."""
    local, at_sign, domain = text.rpartition("@")
    if domain.isascii():
        return text
    labels = [label if label.isascii() else idna.encode(label, uts46=True).decode() for label in domain.split(".")]
    return f"{local}{at_sign}{'.'.join(labels)}"


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; danepipe config init writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def _environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Read variables into nested values, and tell which variable each dotted key came from."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable in RESERVED:
            continue
        path = variable.removeprefix(PREFIX).lower().split("__")
        value: Any = text
        if text[:1] in {"[", "{"}:
            try:
                value = tomllib.loads(f"value = {text}")["value"]
            except tomllib.TOMLDecodeError as error:
                raise ConfigError(f"{variable}: {text!r} is no TOML value: {error}") from error
        inner = values
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{variable}: {part!r} is set as a whole by another variable")
        inner[path[-1]] = value
        origins[".".join(path)] = variable
    return values, origins


def _merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Lay values over others, key by key where both are tables."""
    merged = dict(low)
    for key, value in high.items():
        under = merged.get(key)
        merged[key] = _merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def _places(values: Mapping[str, Any], path: Path, text: str) -> dict[str, str]:
    """Tell the line of each key that the file sets."""
    places: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            for key in value:
                places[f"{name}.{key}"] = at(path, text, (name, key))
        else:
            places[name] = at(path, text, (name,))
    return places
