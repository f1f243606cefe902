"""The settings that are lists of tables: `[[route]]`, `[[exclude]]`, `[[destination]]` and `[[webhook]]`."""

import hashlib
from datetime import date, datetime, timedelta
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from pipeline.settings import Dane, LimitsSection, Section
from pipeline.values import Duration, Pattern, Port, TlsWord, Words


class RouteRule(Section):
    """`[[route]]`: one rule; the first that matches decides, `copy` rules add to it."""

    name: str = Field("", description="name in logs; default: the number of the rule")
    recipient: Words = Field((), description="recipient patterns; empty: any")
    sender: Words = Field((), description="sender patterns; '<>' is the null sender; empty: any")
    source: Words = Field((), description="client networks, or ways in (smtp, send, sendmail, api, bounce); empty: any")
    action: Literal["mx", "host", "copy", "local", "refuse"] = Field(description="what becomes of the recipient")
    host: str = Field("", description="host name or address literal, for host, copy and local")
    port: Port | None = Field(None, description="port; default: smtp.port")
    tls: TlsWord | None = Field(None, description="TLS level; default: dane for mx, host and copy; may for local")

    @model_validator(mode="after")
    def _complete(self) -> "RouteRule":
        if self.action in {"host", "copy", "local"} and not self.host:
            raise ValueError(f"action {self.action!r} needs a host")
        if self.action in {"mx", "refuse"} and self.host:
            raise ValueError(f"action {self.action!r} takes no host")
        return self


class ExcludeEntry(Section):
    """`[[exclude]]`: recipients to whom DANE does not apply."""

    pattern: str = Field(description="*@example.com, *@*.example.com or user@example.com")
    reason: str = Field("", description="why")
    owner: str = Field("", description="who asked for it")
    expires: datetime | date | None = Field(None, description="day or time when it ends")
    until_passing: bool = Field(
        default=False, description="let it end when its domain passes DANE again; only for patterns of one domain"
    )


class DestinationRule(Section):
    """`[[destination]]`: other settings for some domains; the longest matching domain wins."""

    domain: Pattern = Field(description="domain, or *.domain for all below it")
    tls: TlsWord | None = Field(None, description="least TLS level; dane is the default")
    dane: Dane = Field(default_factory=Dane, description="keys as in [dane]")
    limits: LimitsSection | None = Field(None, description="keys as in [limits]")


class Webhook(Section):
    """`[[webhook]]`: a server that is told over HTTP of what becomes of each recipient."""

    url: str = Field(max_length=2000, description="where to post to: https://..., or http://... in networks of yours")
    secret: SecretStr = Field(min_length=16, description="key of the signatures, 16 characters at least")
    events: tuple[Literal["delivered", "failed", "deferred", "dropped"], ...] = Field(
        ("delivered", "failed", "deferred"), min_length=1, description="what to tell of"
    )
    batch: int = Field(100, ge=1, le=1000, description="most outcomes in one request")
    timeout: Duration = Field(
        timedelta(seconds=10), le=timedelta(seconds=30), description="longest time for one request and its answer"
    )
    give_up: Duration = Field(timedelta(days=1), description="how long a request is tried before it is put aside")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or not url.isascii():
            raise ValueError(f"{url!r} is no address to post to: write https://host/path, without a password")
        if not url.isprintable() or " " in url:
            raise ValueError("url holds blanks, or characters that do not print")
        return url

    @property
    def name(self) -> str:
        """Name it, by where it posts to: what was told stays with it, wherever in the file it stands."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:12]
