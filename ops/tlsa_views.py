"""Show what an inspection of a domain of one's own found, for people and for programs."""

from collections.abc import Iterator, Sequence
from typing import Any

from delivery.findings import Finding, Level, stamp, worst
from delivery.inspection import Inspection, Looked, Seen
from delivery.tls import certificate_facts
from stages.plan import DaneDemand

STATUS = {Level.NOTE: 0, Level.FAILS: 1, Level.UNSEEN: 2, Level.SOON: 3}
_SAYS = {
    Level.FAILS: "something fails now",
    Level.UNSEEN: "not all of it could be looked at",
    Level.SOON: "nothing fails now, and something will or could be better",
    Level.NOTE: "fine",
}


def as_json(seen: Inspection, found: Sequence[Finding]) -> dict[str, Any]:
    """Give the contract of `--json`."""
    level = worst(found)
    return {
        "version": 1,
        "domain": seen.destination.name,
        "status": STATUS[level],
        "verdict": _SAYS[level],
        "mx": seen.plan.facts.get("mx"),
        "hosts": [_host(one) for one in seen.hosts],
        "skipped": [
            {"host": one.name, "trouble": str(one.trouble), "text": one.text, **_states(one.facts)}
            for one in seen.plan.skipped
        ],
        "signatures": [
            {"name": one.name, "type": one.rdtype, "signer": one.signer, "begins": stamp(one.begins),
             "expires": stamp(one.expires), "ttl": int(one.ttl.total_seconds())}
            for one in sorted(seen.signed, key=lambda one: one.expires)
        ],
        "findings": [
            {"level": str(one.level), "code": one.code, "host": one.host, "text": one.text} for one in found
        ],
    }  # fmt: skip


def _states(facts: Any) -> dict[str, Any]:
    return {"address": facts.get("address"), "tlsa": facts.get("tlsa")}


def _host(one: Looked) -> dict[str, Any]:
    demand = one.host.demand
    return {
        "host": one.host.name,
        "preference": one.host.preference,
        **_states(one.host.facts),
        "base": one.found.base,
        "demand": demand.kind,
        "host_only": isinstance(demand, DaneDemand) and demand.host_only,
        "records": [str(record) for record in one.found.records],
        "served": [_served(seen) for seen in one.seen],
    }


def _served(seen: Seen) -> dict[str, Any]:
    judged = seen.judgement
    return {
        "address": seen.attempt.address,
        "trouble": str(seen.trouble) if seen.trouble is not None else "",
        "text": seen.attempt.text or (judged.text if judged is not None else ""),
        "level": judged.handshake.level if judged is not None and seen.trouble is None else "none",
        "certificate": certificate_facts(seen.chain),
        "records": [
            {"record": str(one.record), "state": str(one.state), "depth": one.depth, "why": one.why}
            for one in seen.verdicts
        ],
    }


def as_text(seen: Inspection, found: Sequence[Finding]) -> str:
    """Write it for a reader: the hosts with their records as a table, then the findings, the worst first."""
    return "\n".join(_lines(as_json(seen, found)))


def _lines(row: dict[str, Any]) -> Iterator[str]:
    yield f"{row['domain']}: {row['verdict']}"
    yield f"  MX: {row['mx']}"
    for host in row["hosts"]:
        yield f"  {host['host']}: addresses {host['address']}, TLSA {host['tlsa']}"
        for served in host["served"]:
            yield from _address(served)
    for one in row["skipped"]:
        yield f"  {one['host']}: {one['text']}"
    if row["signatures"]:
        first = row["signatures"][0]
        yield f"  signatures: the first ends {first['expires']} ({first['name']} {first['type']})"
    for one in row["findings"]:
        yield f"{one['level'].upper():<7}{one['host']}{' ' if one['host'] else ''}{one['text']}"


def _address(served: dict[str, Any]) -> Iterator[str]:
    certificate = served["certificate"]
    ends = f", certificate to {certificate['not_after'][:16]}Z" if "not_after" in certificate else ""
    yield f"    {served['address']}: {served['trouble'] or served['level']}{ends}"
    for one in served["records"]:
        at = f" certificate {one['depth']} of the chain" if one["depth"] > 0 else ""
        yield f"      {one['record'][:40]:<43} {one['state']}{at}"
