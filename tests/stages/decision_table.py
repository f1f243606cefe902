"""The decision table of the manual, made by running the stages over every row, profile and mode.

`python -m tests.stages.decision_table --write` writes it between the markers of `ops/docs/decision-table.md`, and the
test beside this file fails where the two differ. Nothing here decides anything: answers are handed to `resolve` in the
order in which it asks, its demands to a pretended server, and what the server did to stage `deliver`.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, assert_never

from stages import refusal
from stages.answer import Answer, Found, Question
from stages.attempt import Handshake, HostAttempt
from stages.contract import Consignment, Facts, Planned
from stages.message import Recipient
from stages.plan import DaneDemand, EncryptDemand, Host, MayDemand, Plan, Trouble, VerifyDemand
from stages.policy import DanePolicy, Mode, Policy, Profile, dane_policy
from stages.reason import Reason
from stages.records import MX
from stages.resolve import STAGE as RESOLVE
from stages.resolve import Survey, missing, plan_facts
from stages.retry import GiveUp, Schedule, after_defer, note_failure
from stages.verdict import Defer, Proceed, Refuse
from tests.stages.decision_world import ROWS, SECOND, Case, Row, Wire
from tests.stages.make import DAY, NOW, envelope, message, recipient

MANUAL = Path(__file__).parents[2] / "ops" / "docs" / "decision-table.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
PROFILES = (Profile.RFC7672, Profile.EXCHANGE, Profile.MAILMARSHAL)
SCHEDULE = Schedule((30 * DAY / 1440, 3 * DAY / 24), lifetime=5 * DAY)
LEVELS = {"dane": "DANE", "dane-host-only": "DANE, host only", "encrypted": "TLS", "none": "clear"}


def settle(case: Case, policy: Policy, *, second: bool = False) -> str:
    """Run a case through the stages and say in a word or two what becomes of the recipient."""
    who = recipient(failures=case.failures, attempts=case.failures, failing_since=NOW - case.failing)
    item = Consignment(case.destination, (message(who, of=envelope(accepted=NOW - case.age)),))
    survey = _survey(case, policy, second=second)
    facts: Facts = {Survey: survey, Policy: policy}
    (verdict,) = RESOLVE.decide(item, facts, NOW)
    if isinstance(verdict, Proceed):
        assert isinstance(verdict.gives, Planned)
        return _delivered(verdict.gives, case, policy, who)
    assert isinstance(verdict, (Defer, Refuse))
    return _stopped(verdict, case, policy, who)


def _survey(case: Case, policy: Policy, *, second: bool) -> Survey:
    """Answer what `resolve` asks, and nothing else; a question that the zone knows nothing of is a fault of the row."""
    answers: dict[Question, Answer] = {}
    while questions := missing(case.destination, policy, answers):
        for question in questions:
            answer = case.zone[question]
            if question.rdtype == "MX" and isinstance(answer, Found) and not second:
                kept = tuple(one for one in answer.records if not (isinstance(one, MX) and one.exchange == SECOND))
                answer = replace(answer, records=kept)
            answers[question] = answer
    return Survey(case.destination, answers, NOW)


def _delivered(planned: Planned, case: Case, policy: Policy, who: Recipient) -> str:
    tried: list[HostAttempt] = []
    for host in planned.plan.hosts:
        attempt = knock(host, case.wire if host.name != SECOND else Wire())
        tried.append(attempt)
        if attempt.trouble is None:
            assert attempt.handshake is not None
            level = LEVELS[attempt.handshake.level]
            if isinstance(host.demand, MayDemand):
                level = "TLS if it works"
            noted = " (audit)" if attempt.audit_failure or "audit_failure" in host.facts else ""
            return f"{level}{noted}" if host.name != SECOND else f"next: {level}"
        failure = refusal.failures(replace(planned.plan, skipped=()), [attempt])[0]
        if refusal.refuses_alone(failure, policy.dane):
            break
    verdict = _judge(planned.plan, tried, who, policy)
    return _stopped(verdict, case, policy, who)


def _judge(plan: Plan, tried: list[HostAttempt], who: Recipient, policy: Policy) -> Defer | Refuse:
    return refusal.without_host("deliver", plan, tried, who, policy, NOW, extra=plan_facts(plan))


def knock(host: Host, wire: Wire) -> HostAttempt:
    """Pretend to be the server and the session: what it shows, held against the demand."""
    tls = wire.starttls and wire.handshake
    trouble = Trouble.NO_STARTTLS if not wire.starttls else Trouble.HANDSHAKE if not wire.handshake else None
    level, audit = "encrypted" if tls else "none", False
    demand = host.demand
    match demand:
        case MayDemand():
            trouble = None
        case EncryptDemand(audit=audit):
            pass
        case DaneDemand(audit=audit, host_only=host_only):
            if tls and not wire.match:
                trouble = Trouble.MISMATCH
            elif tls:
                level = "dane-host-only" if host_only else "dane"
        case VerifyDemand():
            raise AssertionError("no row asks for a CA")
        case _ as never:
            assert_never(never)
    failure = str(trouble) if trouble and audit else ""
    return HostAttempt(
        host.name, host.addresses[0], 25, demand.kind, None if audit else trouble, "as the row says",
        handshake=Handshake(level), audit_failure=failure,
    )  # fmt: skip


def _stopped(verdict: Defer | Refuse, case: Case, policy: Policy, who: Recipient) -> str:
    if isinstance(verdict, Refuse):
        return f"refuse {verdict.reason.status}"
    noted = note_failure(replace(who, reason=_like(verdict.reason) if case.failures else None), verdict.reason, NOW)
    of = envelope(accepted=NOW - case.age)
    outcome = after_defer(noted, verdict.reason, verdict.not_before, of, policy.dane, SCHEDULE, NOW, 0.5)
    if isinstance(outcome, GiveUp):
        return f"give up {outcome.reason.status}"
    return f"defer {verdict.reason.status}"


def _like(reason: Reason) -> Reason:
    """Give the reason of the attempts before, which ended alike."""
    return replace(reason, text="as before")


@dataclass(frozen=True, slots=True)
class Column:
    """A column: a policy, and whether a good second host stands behind the one that the row is about."""

    title: str
    dane: DanePolicy
    second: bool = False

    def cell(self, row: Row) -> str:
        """Give the outcome, in which all cases of the row must agree."""
        dane = replace(self.dane, **_typed(row.settings))
        cases = [case for case in row.cases if not self.second or _has_second(case)]
        outcomes = {settle(case, Policy(dane=dane), second=self.second) for case in cases}
        if len(outcomes) > 1:
            raise AssertionError(f"row {row.number}, column {self.title}: cases disagree: {sorted(outcomes)}")
        return outcomes.pop() if outcomes else "-"


def _has_second(case: Case) -> bool:
    return any(
        isinstance(answer, Found) and any(isinstance(one, MX) and one.exchange == SECOND for one in answer.records)
        for answer in case.zone.values()
    )


def _typed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Turn words into members of the settings' own enums."""
    kinds = {name: type(getattr(DanePolicy(), name)) for name in settings}
    return {name: kinds[name](value) for name, value in settings.items()}


def mode_columns(mode: Mode) -> tuple[Column, ...]:
    """Give a column for each profile in one mode, one host."""
    return tuple(Column(profile, dane_policy(profile, {"mode": mode})) for profile in PROFILES)


def next_columns() -> tuple[Column, ...]:
    """Give the columns with a good second host, in mode enforce, and with `failure_scope = destination`."""
    made = [Column(profile, dane_policy(profile), second=True) for profile in PROFILES]
    scope = dane_policy(Profile.MAILMARSHAL, {"failure_scope": type(DanePolicy().failure_scope).DESTINATION})
    return (*made, Column("mailmarshal, failure_scope = destination", scope, second=True))


def table(columns: tuple[Column, ...]) -> str:
    """Write one table in Markdown."""
    head = ("row", "MX", "address", "TLSA", "TLS", *(column.title for column in columns))
    lines = [head, tuple("---" for _ in head)]
    lines += [
        (row.number, row.mx, row.address, row.tlsa, row.tls, *(column.cell(row) for column in columns)) for row in ROWS
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


HEADINGS = {
    Mode.ENFORCE: "Mode `enforce`",
    Mode.MANDATORY: "Mode `mandatory`",
    Mode.AUDIT: "Mode `audit`",
    Mode.OFF: "Mode `off`",
}


def generated() -> str:
    """Write everything that stands between the markers."""
    texts = [f"## {heading}\n\n{table(mode_columns(mode))}" for mode, heading in HEADINGS.items()]
    texts.append(f"## A good second host behind it, mode `enforce`\n\n{table(next_columns())}")
    return "\n\n".join(texts)


def written() -> str:
    """Read what the manual has between the markers."""
    return MANUAL.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def main() -> int:
    """Print the tables, or write them into the manual."""
    parser = argparse.ArgumentParser(description="make the decision table of the manual")
    parser.add_argument("--write", action="store_true", help=f"write it into {MANUAL.name}")
    if not parser.parse_args().write:
        sys.stdout.write(generated() + "\n")
        return 0
    before, _, rest = MANUAL.read_text().partition(BEGIN)
    MANUAL.write_text(f"{before}{BEGIN}\n\n{generated()}\n\n{END}{rest.partition(END)[2]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
