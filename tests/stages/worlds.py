"""Random messages, rules, DNS answers and attempts, for laws that hold in every world."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from stages.answer import Absent, Answer, ExtendedError, Failed, Failure, Found, Proof, Question, Security
from stages.attempt import Attempt, Handshake, HostAttempt, Reply, Transaction
from stages.destination import Destination, RouteKind, TlsLevel
from stages.exclude import Exclusion, Exclusions
from stages.message import Content, Message, MessageId, Notify, Recipient, Ret, recipient_id
from stages.plan import Plan, Trouble
from stages.policy import DanePolicy, Mode, Policy, Profile, Scope, dane_policy
from stages.reason import Reason
from stages.records import IP, MX, TLSA, Record
from stages.resolve import Survey, missing
from stages.route import Action, RouteTable, Rule
from tests.stages.make import NOW, address, envelope

DOMAINS = (
    "example.com",
    "mail.example.com",
    "ours.example",
    "other.example",
    "[192.0.2.1]",
    "[IPv6:2001:db8::1]",
    "[x]",
)
HOSTS = ("mx1.example.com", "mx2.example.com", "relay.example", ".", "192.0.2.3", "self.example")
CODES = (*map(str, Trouble), "smtp.refused")

mailboxes = st.builds("{}@{}".format, st.sampled_from(("user", "Info", "a.b")), st.sampled_from(DOMAINS))
durations = st.integers(0, 8 * 24 * 60).map(lambda minutes: timedelta(minutes=minutes))
notifies = st.none() | st.frozensets(st.sampled_from(Notify), min_size=1)
reasons = st.builds(
    Reason, st.just("deliver"), st.sampled_from(CODES), st.sampled_from(("4.7.5", "5.1.1", "")), st.text(max_size=20)
)


@st.composite
def recipients(draw: st.DrawFn, message: MessageId, number: int) -> Recipient:
    """Make a recipient somewhere in its life."""
    attempts = draw(st.integers(0, 6))
    since = NOW - draw(durations) if attempts else None
    return Recipient(
        recipient_id(message, number),
        address(draw(mailboxes)),
        notify=draw(notifies),
        copy_rule=draw(st.sampled_from((None, None, None, "archive", "gone"))),
        attempts=attempts,
        first_attempt=since,
        last_attempt=NOW - timedelta(minutes=5) if attempts else None,
        failing_since=since,
        failures=draw(st.integers(0, attempts)),
        delay_noticed=draw(st.booleans()),
        reason=draw(reasons) if attempts else None,
    )


@st.composite
def messages(draw: st.DrawFn, identifier: str = "M1") -> Message:
    """Make a message with one to six recipients."""
    name = MessageId(identifier)
    made = tuple(draw(recipients(name, number)) for number in range(1, draw(st.integers(1, 6)) + 1))
    of = envelope(
        draw(st.sampled_from(("sender@here.example", None))),
        accepted=NOW - draw(durations),
        ret=draw(st.none() | st.sampled_from(Ret)),
        smtputf8=draw(st.booleans()),
        content=Content(draw(st.integers(0, 10**8)), draw(st.booleans()), draw(st.booleans())),
    )
    return Message(name, of, made)


@st.composite
def rules(draw: st.DrawFn, name: str, action: Action) -> Rule:
    """Make a routing rule."""
    local = action is Action.LOCAL
    return Rule(
        name,
        action,
        draw(st.sampled_from(((), ("*@example.com",), ("*.example.com", "user@*")))),
        draw(st.sampled_from(((), ("<>",), ("*@here.example",)))),
        draw(st.sampled_from(((), ("192.0.2.0/24",), ("send",)))),
        "" if action in {Action.MX, Action.REFUSE} else "relay.example",
        draw(st.sampled_from((None, 587, 2525))),
        draw(st.sampled_from((None, TlsLevel.MAY, TlsLevel.VERIFY) if local else (None, *TlsLevel))),
    )


@st.composite
def tables(draw: st.DrawFn) -> RouteTable:
    """Make a routing table, with a copy rule named `archive` more often than not."""
    made = [
        draw(rules(f"r{number}", action))
        for number, action in enumerate(draw(st.lists(st.sampled_from(Action), max_size=4)))
    ]
    if draw(st.booleans()):
        made.insert(0, Rule("archive", Action.COPY, host="archive.example"))
    host = draw(st.sampled_from(("", "store.ours.example")))
    return RouteTable(tuple(made), frozenset({"ours.example"}), 25, host)


exclusions = st.lists(
    st.builds(
        Exclusion,
        st.sampled_from(("example.com", "*.example.com", "user@*", "info@example.com", "*@[192.0.2.1]")),
        expires=st.sampled_from((None, NOW, NOW + timedelta(days=1))),
    ),
    max_size=4,
).map(Exclusions)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Make a policy: a profile in a mode, often with a setting or two changed."""
    dane: DanePolicy = dane_policy(
        draw(st.sampled_from(Profile)),
        {
            "mode": draw(st.sampled_from(Mode)),
            "failure_scope": draw(st.sampled_from(Scope)),
            "no_tls_attempts": draw(st.integers(1, 5)),
            "bogus_min_attempts": draw(st.integers(1, 3)),
        },
    )
    return Policy(dane=dane, own_names=frozenset({"self.example"}), allow_private=draw(st.booleans()))


def _records(question: Question) -> st.SearchStrategy[tuple[Record, ...]]:
    match question.rdtype:
        case "MX":
            one: st.SearchStrategy[Any] = st.builds(MX, st.integers(0, 20), st.sampled_from(HOSTS))
        case "TLSA":
            data = st.binary(min_size=0, max_size=3) | st.just(bytes(32))
            one = st.builds(TLSA, st.integers(0, 4), st.integers(0, 2), st.integers(0, 3), data)
        case "AAAA":
            one = st.sampled_from((IP("2606:2800::1"), IP("::1")))
        case _:
            one = st.sampled_from((IP("93.184.216.34"), IP("10.0.0.1"), IP("127.0.0.1")))
    return st.lists(one, min_size=1, max_size=4).map(tuple)


@st.composite
def answers(draw: st.DrawFn, question: Question) -> Answer:
    """Answer a question in any way that the types allow."""
    expires = NOW + draw(durations)
    alias = draw(st.sampled_from(("", "alias.provider.example")))
    canonical, chain = (alias, (alias,)) if alias else (question.name, ())
    security = draw(st.sampled_from(Security))
    match draw(st.sampled_from(("found", "found", "absent", "failed"))):
        case "found":
            return Found(question, security, draw(_records(question)), canonical, chain, expires)
        case "absent":
            return Absent(question, security, draw(st.booleans()), canonical, chain, expires)
        case _:
            proofs = tuple(draw(st.frozensets(st.sampled_from(Proof))))
            errors = tuple(
                draw(st.lists(st.builds(ExtendedError, st.integers(0, 30), st.text(max_size=5)), max_size=2))
            )
            return Failed(question, draw(st.sampled_from(Failure)), draw(st.text(max_size=9)), expires, errors, proofs)


destinations = st.builds(
    Destination,
    st.sampled_from(RouteKind),
    st.sampled_from(DOMAINS),
    st.sampled_from((25, 2525)),
    st.sampled_from(TlsLevel),
    st.booleans(),
)


@st.composite
def surveys(draw: st.DrawFn, destination: Destination, policy: Policy) -> Survey:
    """Answer, at random, exactly what stage `resolve` asks about a destination."""
    given: dict[Question, Answer] = {}
    while questions := missing(destination, policy, given):
        given |= {question: draw(answers(question)) for question in questions}
    return Survey(destination, given, NOW, chance=draw(st.floats(0, 1, exclude_max=True)))


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """Make a reply of any class."""
    code = draw(st.sampled_from((220, 250, 251, 354, 421, 450, 451, 452, 454, 500, 550, 552, 554)))
    enhanced = draw(st.sampled_from(("", f"{code // 100}.7.1")))
    return Reply(code, draw(st.text(max_size=9)), enhanced if code // 100 in {2, 4, 5} else "")


@st.composite
def host_attempts(draw: st.DrawFn, host: str, address_of: str, demand: str) -> HostAttempt:
    """Make one try at a host that failed in some way."""
    return HostAttempt(
        host,
        address_of,
        25,
        demand,
        draw(st.sampled_from([one for one in Trouble if one.value.startswith(("dane.mismatch", "tls.", "smtp."))])),
        draw(st.text(max_size=9)),
        draw(st.none() | replies()),
        draw(st.none() | st.just(Handshake("none", "TLSv1.3", "x", {"names": ["mx"]}))),
    )


@st.composite
def transactions(draw: st.DrawFn, message: Message) -> Transaction:
    """Make a transaction that got as far as it got: some recipients may never have been asked."""
    unable = draw(st.sampled_from((None, None, ("5.3.4", "too large"))))
    if unable is not None:
        return Transaction(unable=unable)
    asked: Mapping[Any, Reply] = {
        recipient.id: draw(replies()) for recipient in message.recipients if draw(st.integers(0, 9))
    }
    return Transaction(
        mail=draw(st.none() | replies()),
        recipients=asked,
        data=draw(st.none() | replies()),
        lost=draw(st.sampled_from(("", "connection reset"))),
        dsn_offered=draw(st.booleans()),
    )


@st.composite
def attempts(draw: st.DrawFn, plan: Plan, message: Message) -> Attempt:
    """Try some hosts of a plan in vain, and then perhaps one with a transaction."""
    hosts = list(plan.hosts)
    in_vain = draw(st.integers(0, len(hosts)))
    tried = [draw(host_attempts(host.name, host.addresses[0], host.demand.kind)) for host in hosts[:in_vain]]
    transaction = None
    if in_vain < len(hosts):
        host = hosts[in_vain]
        shake = Handshake("dane" if host.demand.kind == "dane" else "encrypted")
        tried.append(HostAttempt(host.name, host.addresses[0], 25, host.demand.kind, handshake=shake))
        transaction = draw(transactions(message))
    return Attempt(message.recipient_ids, tuple(tried), transaction)
