"""What single pieces cost, without disk or network: decisions, the matcher, a report, a state written and read.

Each is run for a tenth of a second seven times in one process; the median counts.
"""

import ssl
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from delivery.dsn import compose
from delivery.matcher import Match, match
from delivery.settings import DsnSettings
from ops.bench.figures import Figure, median
from ops.lab.certificates import CertificateAuthority, tlsa_data
from ops.lab.scenario import Certificate, Subject, Tlsa
from pipeline.accept.address import parse_address
from pipeline.store.codec import decode, encode
from stages import exclude, resolve, route
from stages.answer import Absent, Answer, Found, Question, Security
from stages.contract import Consignment, Notice, NoticeKind, Planned, Routed
from stages.destination import Destination
from stages.message import Content, Envelope, Message, MessageId, Origin, Recipient, recipient_id
from stages.policy import Policy
from stages.reason import Reason
from stages.records import IP, MX, TLSA, Record
from stages.resolve import Survey, missing
from stages.verdict import Proceed

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
HOST = "mx1.example.com"
SLICE, SLICES = 0.1, 7


def seconds_each(piece: Callable[[], object], slice_: float = SLICE, slices: int = SLICES) -> float:
    """Run a piece over and over, and give the median of the seconds that one run took."""
    piece()
    taken = []
    for _ in range(slices):
        count, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < slice_:
            piece()
            count += 1
        taken.append(elapsed / count)
    return median(taken)


def sample() -> Message:
    """Make a message with one recipient."""
    identifier = MessageId("MWWKBENCH0000001")
    envelope = Envelope(
        parse_address("sender@here.example"), NOW, Origin("smtp", "192.0.2.10", "client.example"), Content(10_000)
    )
    return Message(identifier, envelope, (Recipient(recipient_id(identifier, 0), parse_address("user@example.com")),))


def _answer(question: Question) -> Answer:
    later = NOW + timedelta(hours=1)
    records: dict[str, tuple[Record, ...]] = {
        "MX": (MX(10, HOST), MX(20, "mx2.example.com")),
        "A": (IP("198.51.100.7"),),
        "TLSA": (TLSA(3, 1, 1, bytes(32)), TLSA(3, 1, 1, bytes(range(32)))),
    }
    if question.rdtype in records:
        return Found(question, Security.SECURE, records[question.rdtype], question.name, (), later)
    return Absent(question, Security.SECURE, False, question.name, (), later)  # noqa: FBT003 - fields in order


def survey_of(destination: Destination, policy: Policy) -> Survey:
    """Answer every question about a destination: two signed hosts with two TLSA records each."""
    answers: dict[Question, Answer] = {}
    while questions := missing(destination, policy, answers):
        answers.update((question, _answer(question)) for question in questions)
    return Survey(destination, answers, NOW)


def _decisions() -> list[tuple[str, Callable[[], object]]]:
    message, policy = sample(), Policy(allow_private=True)
    table = route.RouteTable(
        tuple(route.Rule(f"rule {n}", route.Action.REFUSE, recipients=(f"*@no-{n}.example",)) for n in range(20))
    )
    (routed,) = route.decide(message, {route.RouteTable: table}, NOW)
    if not isinstance(routed, Proceed) or not isinstance(routed.gives, Routed):
        raise TypeError(f"stage route ruled {routed}")
    passed = routed.gives
    exclusions = exclude.Exclusions([exclude.Exclusion(f"*@no-{n}.example") for n in range(1000)])
    destination = Destination.parse("mx:example.com:25:dane")
    facts: dict[type, object] = {Survey: survey_of(destination, policy), Policy: policy}
    waiting = Consignment(destination, (message,))
    (planned,) = resolve.decide(waiting, facts, NOW)
    if not isinstance(planned, Proceed) or not isinstance(planned.gives, Planned):
        raise TypeError(f"stage resolve ruled {planned}")
    return [
        ("route, 20 rules", lambda: route.decide(message, {route.RouteTable: table}, NOW)),
        ("exclude, 1000 patterns", lambda: exclude.decide(passed, {exclude.Exclusions: exclusions}, NOW)),
        ("resolve, 2 hosts with TLSA", lambda: resolve.decide(waiting, facts, NOW)),
        ("hand-over written and read", lambda: decode(Routed, encode(Routed, passed))),
    ]


def _matches(directory: Path) -> list[tuple[str, Callable[[], object]]]:
    now = datetime.now(UTC)
    identity = CertificateAuthority(directory, now).issue(HOST, Certificate())
    blocks = identity.pem.read_text(encoding="ascii").split("-----END CERTIFICATE-----")[:-1]
    chain = [ssl.PEM_cert_to_DER_cert(f"{block.strip()}\n-----END CERTIFICATE-----\n") for block in blocks]
    pieces: list[tuple[str, Callable[[], object]]] = []
    for name, wanted in (("DANE-EE 3 1 1", Tlsa()), ("DANE-TA 2 1 1", Tlsa(2, 1, 1, Subject.CA))):
        record = TLSA(wanted.usage, wanted.selector, wanted.mtype, tlsa_data(wanted, identity))
        if not isinstance(match(chain, [record], [HOST], now), Match):
            raise TypeError(f"{record} does not match the chain it was made from")
        pieces.append((f"match, {name}", lambda one=record: match(chain, [one], [HOST], now)))  # type: ignore[misc]
    return pieces


def _report() -> tuple[str, Callable[[], object]]:
    message = sample()
    reason = Reason("deliver", "smtp.refused", "5.1.1", f"{HOST} refused the recipient", remote=HOST, reply="550 no")
    (one,) = message.recipients
    failed = Recipient(one.id, one.address, reason=reason, attempts=1, first_attempt=NOW, last_attempt=NOW)
    notice = Notice(NoticeKind.FAILED, Message(message.id, message.envelope, (failed,)), return_full=False)
    original = b"From: sender@here.example\r\nSubject: bench\r\n\r\n" + b"A line of a message.\r\n" * 450
    settings = DsnSettings("mail.here.example", "postmaster@here.example")
    return "report written, 10 KB original", lambda: compose(notice, original, settings, "<1@here>", "=b=", NOW)


def run() -> list[Figure]:
    """Measure all."""
    with tempfile.TemporaryDirectory(prefix="danepipe-bench-") as name:
        pieces = [*_decisions(), *_matches(Path(name)), _report()]
        figures = []
        for what, piece in pieces:
            each = seconds_each(piece)
            figures.append(Figure(what, 1 / each, "1/s", f"{1e6 * each:.1f} us each"))
    return figures
