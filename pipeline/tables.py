"""The settings that are lists of tables: `[[route]]`, `[[exclude]]` and `[[destination]]`."""

from datetime import date, datetime
from typing import Literal

from pydantic import Field, model_validator

from pipeline.settings import Dane, LimitsSection, Section
from pipeline.values import Pattern, Port, TlsWord, Words


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
