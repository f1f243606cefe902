"""`danepipe config`: write a configuration, check one, and show every value with where it came from."""

import json
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import click
import orjson
from pydantic import BaseModel

from ops.cli.run import Fault, configuration, run, shown_url
from ops.validation import tried
from pipeline.config import Config, ConfigError
from pipeline.line import LineError
from pipeline.outfit import check_parts
from pipeline.settings import Section
from pipeline.spine import utc_now
from pipeline.tables import DestinationRule, ExcludeEntry, RouteRule, Webhook
from pipeline.values import format_duration, moment
from stages.policy import dane_policy

TABLES: dict[str, type[Section]] = {
    "route": RouteRule, "exclude": ExcludeEntry, "destination": DestinationRule, "webhook": Webhook,
}  # fmt: skip
EXAMPLES: dict[str, dict[str, Any]] = {
    "route": {"recipient": ["*@partner.example"], "action": "host", "host": "mx.partner.example", "tls": "verify"},
    "exclude": {"pattern": "*@example.org", "reason": "their records are wrong", "expires": "2027-01-31"},
    "destination": {"domain": "*.example.net", "dane.mode": "audit"},
    "webhook": {"url": "https://shop.example/mail", "secret": "sixteen characters or more"},
}


@click.group()
def config() -> None:
    """Write, check and show the configuration."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("danepipe.toml"))
@click.option("--force", is_flag=True, help="Overwrite a file that exists.")
def init(file: Path, *, force: bool) -> None:
    """Write a configuration file with every key, its meaning and its default (./danepipe.toml if none is named)."""
    try:
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(template())
    except FileExistsError:
        raise Fault(f"{file} exists already: --force overwrites it") from None
    except OSError as error:
        raise Fault(f"{file} cannot be written: {error.strerror}") from error
    click.echo(f"{file}: written; every key stands there with its default, as a comment")


@config.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Check the configuration, the order of the stages and the files it names."""
    settings = configuration(context)
    _check_line(settings)
    click.echo(f"{settings.file or 'defaults and environment'}: fine")
    for note in _expired(settings):
        click.echo(note)


def _check_line(config: Config) -> None:
    """Check the stages, their gatherers and the files that the configuration names. Raises `Fault`."""
    try:
        check_parts(config)
    except ConfigError as error:
        raise Fault(str(error)) from error
    except LineError as error:
        raise Fault(f"{config.file or 'configuration'}: {error}") from error
    named = {
        "listen.certificate": config.listen.certificate,
        "listen.key": config.listen.key,
        "api.certificate": config.api.certificate,
        "api.key": config.api.key,
        "console.certificate": config.console.certificate,
        "console.key": config.console.key,
        "tls.ca_file": config.tls.ca_file,
        "dns.anchor_file": config.dns.anchor_file,
    }
    for key, path in named.items():
        if path is None:
            continue
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as error:
            raise Fault(f"{key} ({config.origin(key)}): {path} cannot be read: {error.strerror}") from error


@config.command()
@click.argument("key", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON: key -> value and origin.")
@click.pass_context
def show(context: click.Context, key: str | None, *, as_json: bool) -> None:
    """Show each value and where it came from: default, the file and line, or the variable.

    Where dns.validation is among them, the resolvers are put to their self-test, to say which way is in use.
    """
    settings = configuration(context)
    rows = [_row(settings, name, value) for name, value in settings.items()]
    if key is not None:
        rows = [row for row in rows if row[0] == key or row[0].startswith(f"{key}.")]
        if not rows:
            raise Fault(f"there is no key {key!r}; danepipe config show lists all")
    is_shown = any(name == "dns.validation" for name, _, _ in rows)
    ways = run(tried(settings.dns_settings()), settings) if is_shown else ()
    if as_json:
        made = {name: {"value": value, "origin": origin} for name, value, origin in rows}
        if is_shown:
            made["dns.validation"]["in_use"] = [one.as_json() for one in ways]
        click.echo(orjson.dumps(made, option=orjson.OPT_INDENT_2).decode())
        return
    for name, value, origin in rows:
        click.echo(f"{name} = {_toml(value)}  # {origin}")
        if name == "dns.validation":
            waits = (
                ()
                if any(one.source for one in ways)
                else ("mail that DANE concerns waits: name a resolver in dns.servers",)
            )
            for text in (*ways, *waits):
                click.echo(f"# {name} = {value}: {text}")
        if name == "dns.negative":
            for note in _expired(settings):
                click.echo(f"# {note}")


def _expired(settings: Config) -> list[str]:
    """Name the negative trust anchors that no longer count."""
    ends = [(one.name, moment(one.expires)) for one in settings.dns.negative]
    return [
        f"dns.negative: {name} is validated again since {end:%Y-%m-%dT%H:%MZ}" for name, end in ends if end <= utc_now()
    ]


def _row(settings: Config, name: str, value: Any) -> tuple[str, Any, str]:
    """Give key, value and origin; a row of [dane] that is not set has the value of the profile."""
    if name == "redis.url":
        value = shown_url(value)
    section, _, key = name.partition(".")
    if section == "dane" and value is None:
        profile = settings.dane.profile
        return name, _plain(getattr(dane_policy(profile), key)), f"profile {profile}"
    return name, value, settings.origin(name)


def _plain(value: Any) -> Any:
    """Write a value of the policy as the configuration has it."""
    match value:
        case timedelta():
            return format_duration(value)
        case tuple():
            return [_plain(one) for one in value]
        case StrEnum():
            return str(value)
        case _:
            return value


def template() -> str:
    """Give the text of a configuration file in which every key stands as a comment, with its meaning and default."""
    lines = [
        "# danepipe: every key with its default. Remove the # before a key to change it.",
        "# Durations: 90s, 15m, 4h, 5d. Sizes: 10K, 50M. A variable DANEPIPE_SECTION__KEY outweighs this file.",
        "",
    ]
    sections: list[str] = []
    for name, field in Config.model_fields.items():
        if name in TABLES:
            continue
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            sections += ["", f"[{name}]  # {field.description}", *_keys(kind)]
        else:
            value = field.get_default(call_default_factory=True, validated_data={})
            lines += _key(name, value, field.description or "")
    for name, table in TABLES.items():
        sections += ["", f"# [[{name}]]  # {Config.model_fields[name].description}; keys:"]
        sections += [f"#   {key}: {inner.description}" for key, inner in table.model_fields.items()]
        sections += [f"# {key} = {_toml(value)}" for key, value in EXAMPLES[name].items()]
    return "\n".join([*lines, *sections, ""])


def _keys(kind: type[BaseModel]) -> list[str]:
    defaults = kind().model_dump(mode="json")
    lines = []
    for key, field in kind.model_fields.items():
        lines += _key(key, defaults[key], field.description or "")
    return lines


def _key(key: str, value: Any, description: str) -> list[str]:
    comment = f"  # {description}" if description else ""
    return [f"# {key}: not set{comment}" if value is None else f"# {key} = {_toml(value)}{comment}"]


def _toml(value: Any) -> str:
    """Write a value as TOML has it; nothing stands for None, which TOML does not know."""
    match value:
        case None:
            return "(unset)"
        case bool() | int() | float():
            return json.dumps(value)
        case dict():
            return "{ " + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items() if one is not None) + " }"
        case list() | tuple():
            return "[" + ", ".join(_toml(one) for one in value) + "]"
        case _:
            return json.dumps(str(value), ensure_ascii=False)
