"""`danepipe tlsa`: the owner's side of DANE. Records to publish, what others find, and when a key may be changed.

Exit status of all three: 0 fine, 1 something is wrong now (`guard`: not now), 2 nobody could look, and of `check`
besides 3: nothing fails now, and something will, or protects less than it could.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import orjson

from delivery.certificate import load_certificate
from delivery.findings import findings, worst
from delivery.inspection import (
    Means,
    as_others,
    discovered,
    inspect,
    options_of,
    plan_of,
    served,
    signed_of,
)
from delivery.names import presented_names
from ops.cli.explain import resolver_of
from ops.cli.run import Fault, configuration, log_quietly, run
from ops.tlsa_guard import Case, Ruling, moment_after, rule
from ops.tlsa_make import Made, Unreadable, of_key, read_chain, read_key, records_of, zone_line
from ops.tlsa_views import STATUS, as_json, as_text
from pipeline.config import Config
from pipeline.looking import ttl_of
from pipeline.spine import redis_url, utc_now
from pipeline.store.connection import StoreUnavailable, connect
from pipeline.store.published import PublishedStore
from pipeline.values import host_name, parse_duration
from stages.destination import Destination, RouteKind
from stages.plan import DaneDemand
from stages.policy import DanePolicy, Mode
from stages.publishing import Published, observe

_NO_LOOK = 2
_FILES = (".pem", ".crt", ".cer", ".der", ".key", ".csr")


@click.group()
def tlsa() -> None:
    """Publish TLSA records, check them as others see them, and roll keys over."""


@tlsa.command()
@click.argument("source", metavar="CERT|HOST[:PORT]")
@click.option("--host", "named", help="Host that shows the certificate of a file; default: the names in it.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of its mail server; default: smtp.port.")
@click.option(
    "--next", "following", type=click.Path(path_type=Path), help="Also the record of this key or certificate."
)
@click.option("--json", "as_json_", is_flag=True, help="As JSON.")
@click.pass_context
def make(
    context: click.Context, source: str, named: str | None, port: int | None, following: Path | None, *, as_json_: bool
) -> None:
    """Make TLSA records from a certificate, or from what a host shows over STARTTLS."""
    config = _configured(context)
    port = port or config.smtp.port
    extra = () if following is None else (Made(f"the next key ({following})", of_key(_key(following))),)
    if _is_file(source):
        chain = _chain(Path(source))
        hosts = [_host(named)] if named else _names(chain, source)
        rows = {host: (*records_of(chain, host, utc_now()), *extra) for host in hosts}
    else:
        if named:
            raise Fault("--host goes with the file of a certificate: SOURCE is a host itself", _NO_LOOK)
        host, port = _place(source, port)
        chains = _look(config, _chains(config, host, port))
        rows = {host: (*(made for chain in chains for made in records_of(chain, host, utc_now())), *extra)}
    unique = {host: tuple(dict.fromkeys(made)) for host, made in rows.items()}
    if as_json_:
        click.echo(orjson.dumps(_made_json(unique, port), option=orjson.OPT_INDENT_2).decode())
        return
    for host, made in unique.items():
        for one in made:
            click.echo(f"; {host}: {one.of}")
            if one.record is not None:
                click.echo(zone_line(host, port, one.record))


def _made_json(rows: dict[str, tuple[Made, ...]], port: int) -> list[dict[str, Any]]:
    return [
        {"host": host, "port": port, "of": one.of, "record": str(one.record) if one.record is not None else None,
         "line": zone_line(host, port, one.record) if one.record is not None else None}
        for host, made in rows.items() for one in made
    ]  # fmt: skip


@tlsa.command()
@click.argument("domain")
@click.option("--host", "is_host", is_flag=True, help="DOMAIN is a host; its MX records are not asked for.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the mail servers; default: smtp.port.")
@click.option("--warn", default="14d", show_default=True, help="How long before its end something is told of.")
@click.option("--json", "as_json_", is_flag=True, help="As JSON.")
@click.pass_context
def check(context: click.Context, domain: str, port: int | None, warn: str, *, is_host: bool, as_json_: bool) -> None:
    """Check what is published for DOMAIN against what its mail hosts show, as others see both."""
    config = _configured(context)
    kind = RouteKind.HOST if is_host else RouteKind.MX
    destination = Destination(kind, _host(domain), port or config.smtp.port)
    patience = _duration("--warn", warn)

    async def look() -> Any:
        resolver = resolver_of(config)
        try:
            return await inspect(destination, config.policy_for(destination), _means(config, resolver))
        finally:
            await resolver.aclose()

    seen = _look(config, look())
    found = findings(seen, patience)
    if as_json_:
        click.echo(orjson.dumps(as_json(seen, found), option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(as_text(seen, found))
    context.exit(STATUS[worst(found)])


@tlsa.command()
@click.argument("certificate", metavar="CERT", type=click.Path(path_type=Path))
@click.argument("place", metavar="HOST[:PORT]")
@click.option("--since", help="When the records were changed everywhere (2026-11-20T12:00Z), if nobody has watched.")
@click.option("--json", "as_json_", is_flag=True, help="As JSON.")
@click.pass_context
def guard(context: click.Context, certificate: Path, place: str, since: str | None, *, as_json_: bool) -> None:
    """Tell whether HOST may be given the certificate CERT now, or from when on."""
    config = _configured(context)
    chain = _chain(certificate)
    host, port = _place(place, config.smtp.port)
    changed = None if since is None else _moment(since)
    seen, notes, names = _look(config, _history(config, host, port))
    ruling = rule(
        Case(chain, host, port, names, options_of(as_others(_policy(config, host, port)).dane)),
        seen,
        utc_now(),
        changed,
    )
    _show(ruling, host, notes, as_json_=as_json_)
    context.exit(0 if ruling.allowed else 1)


def _show(ruling: Ruling, host: str, notes: Sequence[str], *, as_json_: bool) -> None:
    if as_json_:
        row = {
            "host": host, "allowed": ruling.allowed, "until": moment_after(ruling.until) if ruling.until else None,
            "reasons": list(ruling.reasons), "notes": list(notes),
        }  # fmt: skip
        click.echo(orjson.dumps(row, option=orjson.OPT_INDENT_2).decode())
        return
    later = f"not before {moment_after(ruling.until)}" if ruling.until is not None else "no"
    click.echo(f"{host}: {'yes' if ruling.allowed else later}")
    for text in (*ruling.reasons, *notes):
        click.echo(f"  {text}")


# Looking


def _policy(config: Config, host: str, port: int) -> Any:
    return config.policy_for(Destination(RouteKind.HOST, host, port))


def _means(config: Config, resolver: Any) -> Means:
    return Means(resolver, config.smtp_settings(), config.dns.timeout.total_seconds(), utc_now)


async def _chains(config: Config, host: str, port: int) -> tuple[tuple[bytes, ...], ...]:
    """Fetch what each address of a host shows, whatever DNS says of its records. Raises `Fault`."""
    destination = Destination(RouteKind.HOST, host, port)
    policy = replace(as_others(_policy(config, host, port)), dane=DanePolicy(mode=Mode.OFF))
    resolver = resolver_of(config)
    try:
        means = _means(config, resolver)
        _, plan = await plan_of(destination, policy, means)
        if not plan.hosts:
            raise Fault("; ".join(one.text for one in plan.skipped), _NO_LOOK)
        outcomes = [await served(host, address, port, host, means) for address in plan.hosts[0].addresses]
    finally:
        await resolver.aclose()
    chains = tuple(dict.fromkeys(chain for _, chain in outcomes if chain))
    if not chains:
        raise Fault("; ".join(f"{attempt.address}: {attempt.text}" for attempt, _ in outcomes), _NO_LOOK)
    return chains


async def _history(
    config: Config, host: str, port: int
) -> tuple[tuple[Published, ...], tuple[str, ...], tuple[str, ...]]:
    """Look at what is published, and put it to what was seen before. Raises `Fault`."""
    destination = Destination(RouteKind.HOST, host, port)
    policy = as_others(_policy(config, host, port))
    resolver = resolver_of(config)
    try:
        survey, plan = await plan_of(destination, policy, _means(config, resolver))
    finally:
        await resolver.aclose()
    if not plan.hosts:
        raise Fault("; ".join(one.text for one in plan.skipped), _NO_LOOK)
    found = discovered(host, survey, policy)
    signed, _ = await signed_of(survey, config.dns.timeout.total_seconds())
    now = utc_now()
    ttl = ttl_of(survey, host, signed, found.base, now)
    demand = plan.hosts[0].demand
    names = demand.names if isinstance(demand, DaneDemand) else (host,)
    client = connect(redis_url(config))
    try:
        return await PublishedStore(client).observe(host, port, found.records, ttl, now), (), names
    except StoreUnavailable:
        note = "Redis is away: what was published before is not known, and this look is not kept"
        return observe((), found.records, ttl, now), (note,), names
    finally:
        await client.aclose()


# What is given


def _configured(context: click.Context) -> Config:
    try:
        config = configuration(context)
        log_quietly(config, "tlsa")
    except Fault as error:
        raise Fault(str(error), _NO_LOOK) from error
    return config


def _look(config: Config, work: Any) -> Any:
    try:
        return run(work, config)
    except Fault as error:
        raise Fault(str(error), _NO_LOOK) from error


def _is_file(text: str) -> bool:
    return "/" in text or text.lower().endswith(_FILES) or Path(text).is_file()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Fault(f"{path} cannot be read: {error.strerror}", _NO_LOOK) from error


def _chain(path: Path) -> tuple[bytes, ...]:
    try:
        return read_chain(_read(path))
    except Unreadable as error:
        raise Fault(f"{path}: {error}", _NO_LOOK) from error


def _key(path: Path) -> bytes:
    try:
        return read_key(_read(path))
    except Unreadable as error:
        raise Fault(f"{path}: {error}", _NO_LOOK) from error


def _names(chain: Sequence[bytes], source: str) -> list[str]:
    """Name the hosts that a certificate is for."""
    try:
        names = presented_names(load_certificate(chain[0]))
        hosts = [host_name(name) for name in names if "*" not in name]
    except ValueError as error:
        raise Fault(f"{source}: {error}; name the host with --host", _NO_LOOK) from error
    if not hosts:
        raise Fault(f"{source}: no name of a host is in the certificate; name it with --host", _NO_LOOK)
    return list(dict.fromkeys(hosts))


def _host(text: str) -> str:
    try:
        return host_name(text)
    except ValueError as error:
        raise Fault(str(error), _NO_LOOK) from error


def _place(text: str, port: int) -> tuple[str, int]:
    """Read HOST or HOST:PORT."""
    host, colon, number = text.partition(":")
    if colon:
        if not (number.isascii() and number.isdigit() and 1 <= int(number) <= 65535):
            raise Fault(f"{text!r} is no host and port, expected something like 'mx.example.com:25'", _NO_LOOK)
        port = int(number)
    return _host(host), port


def _duration(option: str, text: str) -> timedelta:
    try:
        return parse_duration(text)
    except (ValueError, OverflowError) as error:
        raise Fault(f"{option}: {error}", _NO_LOOK) from error


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Fault(f"--since {text!r}: write a time such as 2026-11-20T12:00Z", _NO_LOOK) from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if moment > utc_now():
        raise Fault(f"--since {text!r}: that is still to come", _NO_LOOK)
    return moment
