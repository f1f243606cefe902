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

from stages.answer import Answer, Found, Question
from stages.attempt import Attempt, Handshake, HostAttempt, Reply, Transaction
from stages.contract import Consignment, Facts, Planned
from stages.deliver import STAGE as DELIVER
from stages.deliver import Step, after
from stages.message import Recipient
from stages.plan import DaneDemand, EncryptDemand, Host, MayDemand, Trouble, VerifyDemand
from stages.policy import DanePolicy, Mode, Policy, Profile, dane_policy
from stages.reason import Reason
from stages.records import MX
from stages.resolve import STAGE as RESOLVE
from stages.resolve import Survey, missing
from stages.retry import GiveUp, Schedule, after_defer, note_failure
from stages.verdict import Defer, Done, Proceed, Refuse
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
    """Go from host to host as stage `deliver` says, and let it rule on what happened."""
    tried = _tour(planned.plan.hosts, case.wire, policy)
    good = tried[-1].trouble is None
    ok = Reply(250, "ok", "2.0.0", ".")
    transaction = Transaction(mail=ok, recipients={who.id: ok}, data=ok, dsn_offered=True) if good else None
    facts: Facts = {Attempt: Attempt((who.id,), tuple(tried), transaction), Policy: policy}
    (verdict,) = DELIVER.decide(planned, facts, NOW)
    if not isinstance(verdict, Done):
        assert isinstance(verdict, (Defer, Refuse))
        return _stopped(verdict, case, policy, who)
    level = "TLS if it works" if verdict.reason.facts["demand"] == "may" else LEVELS[verdict.reason.facts["security"]]
    noted = " (audit)" if verdict.reason.facts.get("audit_failure") else ""
    return f"{'next: ' if tried[-1].host == SECOND else ''}{level}{noted}"


def _tour(hosts: tuple[Host, ...], wire: Wire, policy: Policy) -> list[HostAttempt]:
    tried: list[HostAttempt] = []
    for host in hosts:
        attempt = knock(host, Wire() if host.name == SECOND else wire)
        tried.append(attempt)
        if after(attempt, policy) is Step.CLEAR:
            tried.append(replace(attempt, trouble=None, handshake=Handshake("none")))
        if after(tried[-1], policy) in {Step.MAIL, Step.STOP}:
            break
    return tried


def knock(host: Host, wire: Wire) -> HostAttempt:
    """Pretend to be the server and the session: what it shows, held against the demand."""
    tls = wire.starttls and wire.handshake
    trouble = Trouble.NO_STARTTLS if not wire.starttls else Trouble.HANDSHAKE if not wire.handshake else None
    level, audit = "encrypted" if tls else "none", False
    demand = host.demand
    match demand:
        case MayDemand():
            trouble = trouble if trouble is Trouble.HANDSHAKE else None
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
        host.name, host.addresses[0], 25, demand.kind, trouble if trouble is Trouble.HANDSHAKE or not audit else None,
        "as the row says", handshake=Handshake(level), audit_failure=failure,
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
