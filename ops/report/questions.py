"""The questions that a report answers, one after the other, each an SQL query over the tables of `reading`.

What happened to mail counts by recipient: one that was delivered is one, whatever the message. A deferral
counts each time.
"""

from collections.abc import Mapping
from typing import Any

from ops.report.findings import Report, Section
from ops.report.outages import outages
from ops.report.reading import Log

LEVELS = ("dane", "dane-host-only", "verify", "encrypt", "opportunistic", "clear")
MOST = 1000  # rows of a table; what is left out is counted
_FATES = ("delivered", *LEVELS, "refused", "given up", "deferred")
_COUNTS = ", ".join(
    [
        "count(*) FILTER (verdict = 'delivered')",
        *(f"count(*) FILTER (security = '{level}')" for level in LEVELS),
        *(f"count(*) FILTER (verdict = '{fate}')" for fate in ("refused", "given up", "deferred")),
    ]
)
BY: Mapping[str, str] = {
    "hour": "strftime(date_trunc('hour', moment), '%Y-%m-%d %H:00')",
    "domain": "lower(split_part(recipient, '@', -1))",
    "mx": "mx",
    "verdict": "verdict",
    "reason": "code",
    "security": "coalesce(security, verdict)",
}
_EDE = (
    "coalesce(array_to_string(list_transform(try_cast(ede AS STRUCT(code VARCHAR, text VARCHAR)[]), "
    "lambda one: trim(concat_ws(' ', one.code, one.text))), ', '), '')"
)
_CERTIFICATE = (
    "json_extract_string(certificate, ['$.subject', '$.issuer', '$.not_after', '$.spki_sha256', '$.cert_sha256'])"
)
_STEPS = ((7_200, "minute"), (4 * 86_400, "hour"))


def ask(log: Log, by: str | None) -> Report:
    """Ask everything; `by` is one of `BY`, and adds a table by that."""
    first, last, events = _one(log, "SELECT min(moment), max(moment), count(*) FROM line")
    sections = [
        _totals(log),
        *([_by(log, by)] if by is not None else []),
        _over_time(log, (last - first).total_seconds() if first is not None else 0.0),
        _security(log),
        _failures(log),
        _deferrals(log),
        _stages(log),
        _waiting(log),
        *outages(log.db),
        _circuits(log),
        _audit_reasons(log),
    ]
    return Report(first, last, events, tuple(sections), log.broken)


def _one(log: Log, query: str) -> tuple[Any, ...]:
    found: tuple[Any, ...] | None = log.db.execute(query).fetchone()
    assert found is not None  # noqa: S101 - these queries always give a row
    return found


def _section(log: Log, name: str, title: str, columns: tuple[str, ...], query: str, note: str = "") -> Section:
    rows = log.db.execute(query).fetchmany(MOST + 1)
    more = 0
    if len(rows) > MOST:
        more = _one(log, f"SELECT count(*) FROM ({query})")[0] - MOST  # noqa: S608 - the queries are ours
    return Section(name, title, columns, tuple(rows[:MOST]), note, more)


def _totals(log: Log) -> Section:
    came = _one(
        log,
        """SELECT count(*) FILTER (event = 'message.accepted'), coalesce(sum(people), 0)::BIGINT,
          coalesce(sum(size), 0)::BIGINT, count(*) FILTER (event = 'message.refused'),
          count(*) FILTER (event = 'message.done'), count(*) FILTER (event = 'bounce.sent'),
          count(*) FILTER (event = 'queue.action' AND outcome = 'moved' AND action IN ('bounce', 'drop')) FROM line""",
    )
    went = _one(
        log,
        """SELECT count(*) FILTER (verdict = 'delivered'), count(*) FILTER (verdict = 'refused'),
          count(*) FILTER (verdict = 'given up'), count(*) FILTER (verdict = 'deferred') FROM outcome""",
    )
    names = (
        "messages accepted", "recipients accepted", "octets accepted", "refused at the door", "messages done",
        "reports sent", "recipients returned or dropped by an operator",
        "recipients delivered", "recipients refused", "recipients given up", "deferrals",
    )  # fmt: skip
    note = "Recipients delivered include those of reports, which nobody handed in."
    return Section("totals", "Volume", ("what", "count"), tuple(zip(names, came + went, strict=True)), note)


def _by(log: Log, by: str) -> Section:
    order = "1" if by == "hour" else "count(*) DESC, 1"
    query = f"SELECT {BY[by]}, {_COUNTS} FROM outcome GROUP BY 1 ORDER BY {order}"  # noqa: S608 - `by` is one of ours
    return _section(log, f"by_{by}", f"By {by}", (by, *_FATES), query)


def _over_time(log: Log, seconds: float) -> Section:
    step = next((step for most, step in _STEPS if seconds <= most), "day")
    query = f"SELECT date_trunc('{step}', moment) AS at_, {_COUNTS} FROM outcome GROUP BY 1 ORDER BY 1"  # noqa: S608
    return _section(log, "over_time", f"Each {step}", (step, *_FATES), query)


def _security(log: Log) -> Section:
    query = """SELECT security, count(*), round(100.0 * count(*) / sum(count(*)) OVER (), 1) FROM outcome
      WHERE verdict = 'delivered' GROUP BY 1 ORDER BY 2 DESC, 1"""
    return _section(
        log, "security", "Delivered, by what was proven", ("security", "recipients", "percent"), query,
        "dane: verified for the domain. dane-host-only: verified for a host behind an insecure MX. verify: by a CA. "
        "encrypt: TLS was required. opportunistic: TLS as offered. clear: no TLS.",
    )  # fmt: skip


def _failures(log: Log) -> Section:
    query = f"""SELECT split_part(code, '.', 1), code, {BY["domain"]}, count(*), count(*) FILTER (verdict = 'given up'),
      max(mx), max({_EDE}), coalesce(arg_max(coalesce(
        nullif(concat_ws(', ', nullif({_CERTIFICATE}[1], ''), 'issuer ' || nullif({_CERTIFICATE}[2], ''),
          'until ' || nullif({_CERTIFICATE}[3], ''),
          'spki ' || left(coalesce({_CERTIFICATE}[4], {_CERTIFICATE}[5]), 16)), ''), ''), moment), ''),
      arg_max(text, moment)
      FROM outcome WHERE verdict IN ('refused', 'given up') GROUP BY 1, 2, 3 ORDER BY 4 DESC, 2, 3"""  # noqa: S608
    columns = ("class", "code", "domain", "recipients", "given up", "host", "ede", "certificate", "text")
    return _section(log, "failures", "Failures", columns, query, "Given up: was deferred until its time was over.")


def _deferrals(log: Log) -> Section:
    query = f"""SELECT code, count(*), count(DISTINCT hash(message)), count(DISTINCT {BY["domain"]}),
      arg_max(text, moment) FROM outcome WHERE verdict = 'deferred' GROUP BY 1 ORDER BY 2 DESC, 1"""  # noqa: S608
    columns = ("code", "deferrals", "messages", "domains", "last text")
    return _section(log, "deferrals", "Why mail was put off", columns, query)


def _stages(log: Log) -> Section:
    query = """WITH spans AS (
        SELECT stage AS name, took FROM line WHERE event = 'stage.verdict' AND took IS NOT NULL
        UNION ALL SELECT 'attempt', took FROM line WHERE event = 'delivery.attempt' AND took IS NOT NULL
        UNION ALL SELECT 'accepted to done', date_diff('ms', born.moment, done.moment) / 1000 FROM line AS done
          JOIN line AS born ON born.message = done.message AND born.event = 'message.accepted'
          WHERE done.event = 'message.done')
      SELECT name, number, round(marks[1], 6), round(marks[2], 6), round(marks[3], 6)
      FROM (SELECT name, count(*) AS number, approx_quantile(took, [0.5, 0.95, 0.99])::DOUBLE[] AS marks
        FROM spans GROUP BY 1) ORDER BY name"""
    columns = ("stage", "count", "p50", "p95", "p99")
    note = "Seconds from taking the work to the verdict; attempt: up to the first mail command of a host."
    return _section(log, "stages", "Time spent", columns, query, note)


def _waiting(log: Log) -> Section:
    query = """WITH born AS (
        SELECT message, moment FROM line WHERE event = 'message.accepted'
        UNION ALL SELECT notice, moment FROM line WHERE event = 'bounce.sent'
        UNION ALL SELECT message, moment FROM outcome WHERE verdict = 'deferred'),
      there AS (SELECT message, min(moment) AS since FROM born
        WHERE message NOT IN (SELECT message FROM line WHERE event = 'message.done' AND message IS NOT NULL)
        GROUP BY 1)
      SELECT there.message, since, count(o.message), coalesce(arg_max(o.recipient, o.moment), ''),
        coalesce(arg_max(o.code, o.moment), ''), coalesce(arg_max(o.text, o.moment), '')
      FROM there LEFT JOIN outcome AS o ON o.message = there.message AND o.verdict = 'deferred'
      GROUP BY 1, 2 ORDER BY since, 1"""
    columns = ("message", "since", "deferrals", "recipient", "code", "text")
    note = "Oldest first: what the log says came and does not say is done."
    return _section(log, "waiting", "Waiting at the end", columns, query, note)


def _circuits(log: Log) -> Section:
    query = """SELECT arg_max(host, moment), address, port, count(*) FILTER (event = 'circuit.opened'),
      CASE arg_max(event, moment) WHEN 'circuit.opened' THEN 'open' ELSE 'closed' END, min(moment), max(moment),
      coalesce(arg_max(text, moment) FILTER (event = 'circuit.opened'), '')
      FROM line WHERE event LIKE 'circuit.%' GROUP BY 2, 3 ORDER BY 4 DESC, 2, 3"""
    columns = ("host", "address", "port", "opened", "at the end", "first", "last", "text")
    return _section(log, "circuits", "Addresses out of reach", columns, query)


def _audit_reasons(log: Log) -> Section:
    query = """WITH seen AS (
        SELECT message, target, audit_failure AS why FROM line WHERE event = 'delivery.attempt' AND audit_failure <> ''
        UNION SELECT message, target, audit_failure FROM outcome WHERE audit_failure <> '')
      SELECT coalesce(target, ''), why, count(DISTINCT message) FROM seen GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"""
    (messages,) = _one(
        log,
        """SELECT count(DISTINCT message) FROM (
          SELECT message FROM line WHERE event = 'delivery.attempt' AND audit_failure <> ''
          UNION ALL SELECT message FROM outcome WHERE audit_failure <> '')""",
    )
    note = (
        f"Enforcing would have deferred or bounced {messages} messages to these domains, for these reasons, unless "
        "another host of theirs had been in order."
    )
    return _section(log, "audit", "Audit", ("domain", "reason", "messages"), query, note if messages else "")
