"""`danepipe dig`: one DNS question, its answer, and the chain that proves it.

The answer comes by the code that delivery uses, so what this command says of a name is what mail to it rests on. The
exit status is 0 for a secure or insecure answer, 1 for a bogus one, and 2 when there is no answer to judge or nothing
was asked.
"""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import dns.exception
import dns.name
import dns.rdatatype
import idna
import orjson

from delivery.nameserver import Server
from delivery.resolver import DnsSettings, Resolver
from ops.cli.run import Fault, configuration, run
from pipeline.config import Config
from pipeline.resolvers import AnchorError, anchors_of, read_anchors
from pipeline.spine import utc_now
from stages.answer import Absent, Answer, Failed, Failure, Found, Question
from stages.records import IP, MX, TLSA, Other, Record
from stages.status import ede_text

_RCODES = {
    Failure.SERVFAIL: "SERVFAIL",
    Failure.REFUSED: "REFUSED",
    Failure.NOTIMP: "NOTIMP",
    Failure.FORMERR: "FORMERR",
    Failure.BOGUS: "SERVFAIL",  # what a validating resolver gives
}
_NO_ANSWER = 2
_YEARS = 1970, 9000  # signatures count their seconds from the one, and last up to 68 years (RFC 4034 section 3.1.5)


@click.command()
@click.argument("name")
@click.argument("rdtype", metavar="[TYPE]", default="A")
@click.option("--server", help="Resolver to ask, as address or address@port; default: those of the configuration.")
@click.option("--validation", type=click.Choice(["local", "trusted", "both"]), default="local", show_default=True,
              help="Prove it here, believe the resolver's AD bit, or both.")  # fmt: skip
@click.option("--anchor", type=click.Path(path_type=Path), help="Trust anchors: DS or DNSKEY lines of a zone file.")
@click.option("--at", help="Judge signatures as at this time (2026-11-20T12:00Z).")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def dig(  # noqa: PLR0913 - one parameter for each option
    context: click.Context, name: str, rdtype: str, server: str | None, validation: str, anchor: Path | None,
    at: str | None, *, as_json: bool,
) -> None:  # fmt: skip
    """Ask DNS, and show what proves the answer secure, insecure or bogus."""
    try:
        config = configuration(context)
        question = _question(name, rdtype)
        now = _moment(at)
        settings = _settings(config, server, validation, anchor)
        answer = run(_ask(settings, question, now), config)
    except Fault as error:
        raise Fault(str(error), status=_NO_ANSWER) from error  # 1 would say that the answer is bogus
    row = as_row(answer, now or utc_now())
    if as_json:
        click.echo(orjson.dumps(row, option=orjson.OPT_INDENT_2).decode())
    else:
        for text in _lines(row):
            click.echo(text)
    context.exit({"secure": 0, "insecure": 0, "bogus": 1}.get(row["status"], _NO_ANSWER))


async def _ask(settings: DnsSettings, question: Question, at: datetime | None) -> Answer:
    resolver = Resolver(settings, now=utc_now if at is None else lambda: at)
    try:
        return await resolver.ask(question)
    finally:
        await resolver.aclose()


def _question(name: str, rdtype: str) -> Question:
    text = name.strip().rstrip(".").lower() or "."
    try:
        if not text.isascii():
            text = idna.encode(text, uts46=True).decode()
        dns.name.from_text(text)
    except (idna.IDNAError, dns.exception.DNSException) as error:
        raise Fault(f"{name!r} is no domain name: {str(error).lower().rstrip('.')}") from error
    try:
        kind = dns.rdatatype.from_text(rdtype)
    except (dns.exception.DNSException, ValueError):
        kind = dns.rdatatype.NONE
    if kind == dns.rdatatype.NONE or dns.rdatatype.is_metatype(kind):
        raise Fault(f"{rdtype!r} is no type of record: write A, AAAA, MX, TLSA, DS, DNSKEY, ...")
    return Question(text, dns.rdatatype.to_text(kind))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Fault(f"--at {text!r}: write a time such as 2026-11-20T12:00Z") from None
    if not _YEARS[0] <= moment.year <= _YEARS[1]:
        raise Fault(f"--at {text!r}: write a time of the years {_YEARS[0]} to {_YEARS[1]}")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _settings(config: Config, server: str | None, validation: Any, anchor: Path | None) -> DnsSettings:
    """Give the settings of the configuration, changed by the options, and without a self-test."""
    settings = config.dns_settings()
    try:
        servers = settings.servers if server is None else (Server.parse(server),)
    except ValueError:
        raise Fault(f"--server {server!r}: write an address or address@port, such as 127.0.0.1@5335") from None
    try:
        anchors = anchors_of(config.dns, settings.rules) if anchor is None else read_anchors(anchor, settings.rules)
    except AnchorError as error:  # not yet seen where the configuration has no use for anchors
        raise Fault(f"{error.key}: {error}") from error
    except ValueError as error:
        raise Fault(f"--anchor {anchor}: {error}") from error
    return replace(
        settings, servers=servers, validation=validation, anchors=anchors, canaries=(), vouch=timedelta(days=1)
    )


def as_row(answer: Answer, now: datetime) -> dict[str, Any]:
    """Give an answer as values that JSON can hold: the contract of `--json`."""
    row: dict[str, Any] = {
        "name": answer.question.name, "type": answer.question.rdtype, "status": "", "rcode": "NOERROR", "answers": [],
        "aliases": [], "why": "", "chain": list(answer.chain), "ede": [], "resolver": answer.resolver,
        "ttl": max(0, int((answer.expires - now).total_seconds())),
    }  # fmt: skip
    match answer:
        case Found(security=security, records=records, aliases=aliases):
            row |= {"status": str(security), "answers": [_presented(one) for one in records], "aliases": list(aliases)}
        case Absent(security=security, nxdomain=nxdomain, aliases=aliases):
            row |= {"status": str(security), "rcode": "NXDOMAIN" if nxdomain else "NOERROR", "aliases": list(aliases)}
        case Failed(failure=failure, text=text, ede=ede):
            errors = [{"code": one.code, "name": ede_text(one.code), "text": one.text} for one in ede]
            row |= {"status": str(failure), "rcode": _RCODES.get(failure), "why": text, "ede": errors, "ttl": 0}
    if not row["why"] and row["chain"]:
        row["why"] = row["chain"][-1]
    return row


def _presented(record: Record) -> str:
    """Write a record as it stands in a zone file."""
    match record:
        case MX(preference=preference, exchange=exchange):
            return f"{preference} {exchange.rstrip('.')}."
        case IP(address=address):
            return address
        case TLSA():
            return str(record)
        case Other(text=text):
            return text


def _lines(row: dict[str, Any]) -> list[str]:
    lines = [f"{row['name']}/{row['type']}: {row['status']}" + (f" ({row['rcode']})" if row["rcode"] else "")]
    lines += [f"  alias of {alias}" for alias in row["aliases"]]
    lines += [f"  {answer}" for answer in row["answers"]]
    if not row["answers"]:
        lines.append(f"  {row['why'] or 'there is no such record'}")
    lines += ["chain:", *(f"  {re.sub(r' +', ' ', step)}" for step in row["chain"])] if row["chain"] else []
    lines.append(f"from {row['resolver']}, for {row['ttl']} s" if row["resolver"] else "no resolver answered")
    return lines
