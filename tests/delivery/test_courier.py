"""The courier and real servers on loopback: along the hosts of a plan, over one connection, never below the demand."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from delivery.courier import Courier, Parcel
from delivery.settings import SmtpSettings, Timeouts
from stages.attempt import Attempt, HostAttempt
from stages.deliver import Step, after
from stages.destination import Destination, RouteKind
from stages.message import Message, MessageId, recipient_id
from stages.plan import DaneDemand, Demand, EncryptDemand, Host, MayDemand, Plan, Trouble, VerifyDemand
from stages.policy import DanePolicy, Limits, OnNoTls, Policy, Scope
from tests.delivery.certificates import leaf
from tests.delivery.mailhost import DROP, SILENCE, MailHost, Script, mailhost
from tests.stages.make import NOW, message, recipient

QUICK = Timeouts(connect=2, greeting=0.5, command=0.5, tls=0.5, data=0.5, block=0.5, dot=0.5, quit=0.5)
CLEAR = MayDemand("a test", "mx.example.com")
BODY = b"Subject: x\r\n\r\nhello\r\n"


def dane(name: str = "mx.example.com", **changes: bool) -> DaneDemand:
    """Demand the certificate for a name."""
    return replace(DaneDemand(name, (leaf(name).tlsa(),), (name,)), **changes)  # type: ignore[arg-type]


def good(**changes: object) -> Script:
    """Make a host that shows the right certificate."""
    return replace(Script(context=leaf("mx.example.com").server()), **changes)  # type: ignore[arg-type]


@asynccontextmanager
async def hosts(*scripts: Script | None) -> AsyncIterator[list[MailHost]]:
    """Run hosts on 127.0.0.1, 127.0.0.2, ... at one port; None is an address where nobody listens."""
    async with AsyncExitStack() as stack:
        made: list[MailHost] = []
        port = 0
        for number, script in reversed(list(enumerate(scripts, 1))):
            address = f"127.0.0.{number}"
            host = MailHost(address, port, Script())
            if script is not None:
                host = await stack.enter_async_context(mailhost(script, address, port))
                port = host.port
            made.append(host)
        yield made[::-1]


def plan(running: Sequence[MailHost], *demands: Demand) -> Plan:
    """Plan the hosts in order, named mx1, mx2, ..., each with a demand (the last one holds for the rest)."""
    port = next(host.port for host in reversed(running))
    planned = tuple(
        Host(f"mx{number}.example.com", number * 10, (host.address,), demands[min(number, len(demands)) - 1])
        for number, host in enumerate(running, 1)
    )
    return Plan(Destination(RouteKind.MX, "example.com", port), planned, (), NOW, NOW)


def numbered(count: int) -> list[Message]:
    """Make messages M1, M2, ... with one recipient each."""
    made = []
    for number in range(1, count + 1):
        one = message("user@example.com")
        renamed = replace(one.recipients[0], id=recipient_id(MessageId(f"M{number}"), 1))
        made.append(replace(one, id=MessageId(f"M{number}"), recipients=(renamed,)))
    return made


async def carry(
    to: Plan, messages: Sequence[Message], policy: Policy | None = None, content: bytes = BODY
) -> list[Attempt]:
    """Deliver messages, and see to it that each recipient is named once."""

    async def load() -> bytes:
        return content

    async def parcels() -> AsyncIterator[Parcel]:
        for one in messages:
            yield Parcel(one, load)

    courier = Courier(SmtpSettings("out.here.example", timeouts=QUICK), now=lambda: datetime.now(UTC))
    attempts = [attempt async for attempt in courier.deliver(to, policy or Policy(), parcels())]
    named = Counter(one for attempt in attempts for one in attempt.recipients)
    assert named == Counter(one for mail in messages for one in mail.recipient_ids)
    return attempts


def delivered(attempt: Attempt) -> bool:
    """Tell whether the content was taken."""
    data = attempt.transaction.data if attempt.transaction else None
    return data is not None and data.code == 250


def troubles(attempt: Attempt) -> list[tuple[str, Trouble | None]]:
    """List what each host came to."""
    return [(host.host.partition(".")[0], host.trouble) for host in attempt.hosts]


async def test_many_messages_share_a_connection() -> None:
    """SMTP-36, SMTP-35: one connection and one handshake for a queue; each message has its transaction; QUIT ends it."""
    async with hosts(good()) as running:
        attempts = await carry(plan(running, dane()), numbered(5))
    assert all(map(delivered, attempts))
    (seen,) = running[0].seen
    assert len(seen.contents) == 5
    assert seen.lines[-1] == "QUIT"
    assert {attempt.hosts[-1].handshake.level for attempt in attempts if attempt.hosts[-1].handshake} == {"dane"}


async def test_two_deliveries_never_share_a_connection() -> None:
    """DANE-98, SMTP-36: a verdict is good for its own plan only, so each call opens a connection of its own."""
    async with hosts(good()) as running:
        await carry(plan(running, dane()), numbered(1))
        await carry(plan(running, dane()), numbered(1))
    assert len(running[0].seen) == 2


async def test_nothing_is_connected_without_a_message() -> None:
    """A job that finds an empty queue costs the other side nothing."""
    async with hosts(good()) as running:
        assert await carry(plan(running, dane()), []) == []
    assert not running[0].seen


async def test_the_next_address_and_the_next_host() -> None:
    """SMTP-10, SMTP-12, SMTP-13, SMTP-16: addresses in order, then hosts in order; each try is told."""
    async with hosts(None, Script(greeting="554 no"), Script()) as running:
        three = plan(running, CLEAR)
        first, second, third = three.hosts
        joined = replace(first, addresses=first.addresses + second.addresses)
        (attempt,) = await carry(replace(three, hosts=(joined, third)), numbered(1))
    assert troubles(attempt) == [("mx1", Trouble.CONNECT), ("mx1", Trouble.GREETING), ("mx3", None)]
    assert delivered(attempt)


@pytest.mark.parametrize(
    "script",
    [
        Script(greeting="450 x"),
        Script(greeting="421 x"),
        Script(replies={"MAIL": "421 x"}),
        Script(replies={"DATA": DROP}),
        Script(replies={"DATA": SILENCE}),
    ],
)
async def test_what_sends_a_message_on_to_the_next_host(script: Script) -> None:
    """SMTP-16, SMTP-29: 4yz greetings, 421 and a connection lost before the content lead to the next host."""
    async with hosts(script, Script()) as running:
        (attempt,) = await carry(plan(running, CLEAR), numbered(1))
    assert delivered(attempt)
    assert [name for name, _ in troubles(attempt)] == ["mx1", "mx2"]


@pytest.mark.parametrize(
    "script", [Script(replies={"RCPT": "550 no"}), Script(replies={"DATA": "554 no"}), Script(dot="554 no")]
)
async def test_a_refusal_is_final_and_not_tried_elsewhere(script: Script) -> None:
    """SMTP-16, SMTP-56: 5yz to RCPT, DATA or the content is that recipient's answer; no other host is asked."""
    async with hosts(script, Script()) as running:
        (attempt,) = await carry(plan(running, CLEAR), numbered(1))
    assert not delivered(attempt)
    assert not running[1].seen


# TLS and the demand


@pytest.mark.parametrize("script", [Script(starttls=True), Script(replies={"STARTTLS": "220 and then nothing"})])
async def test_opportunistic_tls_falls_back_on_a_new_connection(script: Script) -> None:
    """DANE-19, TLS-06, TLS-12 (RFC 7672 2.2): where TLS may be left out, a failed handshake leads to clear text on a new connection."""
    async with hosts(script) as running:
        (attempt,) = await carry(plan(running, CLEAR), numbered(1))
    assert delivered(attempt)
    assert troubles(attempt) == [("mx1", Trouble.HANDSHAKE), ("mx1", None)]
    assert attempt.hosts[-1].handshake is None  # DANE-110: never shown as secure
    first, second = running[0].seen
    assert not first.commands("MAIL")
    assert not second.commands("STARTTLS")


@pytest.mark.parametrize(
    "demand", [dane(), EncryptDemand("x", "mx.example.com"), VerifyDemand("mx.example.com", ("mx.example.com",))]
)
@pytest.mark.parametrize("script", [Script(starttls=True), Script(starttls=False), Script(starttls_reply="454 no")])
async def test_required_tls_never_becomes_clear_text(demand: Demand, script: Script) -> None:
    """DANE-19, DANE-17, DANE-102, DANE-104, TLS-08, TLS-09: whatever keeps TLS from working, no host sees MAIL, and each is tried once."""
    async with hosts(replace(script), replace(script)) as running:
        (attempt,) = await carry(plan(running, demand), numbered(1))
    assert attempt.transaction is None
    assert {trouble for _, trouble in troubles(attempt)} <= {Trouble.HANDSHAKE, Trouble.NO_STARTTLS}
    for host in running:
        (seen,) = host.seen
        assert not seen.commands("MAIL")


async def test_a_mismatch_leads_to_the_next_host() -> None:
    """DANE-16, RFC 7672 2.2: the host whose certificate does not match is passed over, the next one takes the mail."""
    bad = Script(context=leaf("other.example").server())
    async with hosts(bad, good()) as running:
        (attempt,) = await carry(plan(running, dane()), numbered(1))
    assert troubles(attempt) == [("mx1", Trouble.MISMATCH), ("mx2", None)]
    assert delivered(attempt)
    assert not running[0].seen[0].commands("MAIL")


async def test_each_host_has_its_own_demand() -> None:
    """RFC 7672 2.2: a host with TLSA records fails, and the next, which has none, may take the mail in clear text."""
    async with hosts(Script(starttls=False), Script(starttls=False)) as running:
        (attempt,) = await carry(plan(running, dane(), CLEAR), numbered(1))
    assert troubles(attempt) == [("mx1", Trouble.NO_STARTTLS), ("mx2", None)]
    assert delivered(attempt)


async def test_one_refusal_can_end_the_destination() -> None:
    """With failure_scope = destination, policy refuses on the first host, and no other one is tried."""
    policy = Policy(DanePolicy(failure_scope=Scope.DESTINATION))
    async with hosts(Script(context=leaf("other.example").server()), good()) as running:
        (attempt,) = await carry(plan(running, dane()), numbered(1), policy)
    assert troubles(attempt) == [("mx1", Trouble.MISMATCH)]
    assert not running[1].seen


@pytest.mark.parametrize(
    "script", [Script(starttls=True), Script(starttls=False), Script(context=leaf("other.example").server())]
)
async def test_audit_delivers_and_tells(script: Script) -> None:
    """DANE-100, RFC 7672 9.1: no TLS, broken TLS, a mismatch: delivered, with what enforcing would have refused."""
    async with hosts(script) as running:
        (attempt,) = await carry(plan(running, dane(audit=True)), numbered(1))
    assert delivered(attempt)
    assert attempt.hosts[-1].trouble is None
    assert attempt.hosts[-1].audit_failure


async def test_injected_clear_text_is_no_reason_for_clear_text() -> None:
    """TLS-03: after octets behind the STARTTLS reply the host is passed over, also where TLS may be left out."""
    bad = Script(context=leaf("mx.example.com").server(), inject=b"250 x\r\n")
    async with hosts(bad, Script()) as running:
        (attempt,) = await carry(plan(running, CLEAR), numbered(1))
    assert troubles(attempt) == [("mx1", Trouble.PROTOCOL), ("mx2", None)]
    assert len(running[0].seen) == 1


@pytest.mark.parametrize("trouble", list(Trouble))
@pytest.mark.parametrize("demand", ["dane", "encrypt", "verify"])
@pytest.mark.parametrize(
    "policy", [Policy(), Policy(DanePolicy(failure_scope=Scope.DESTINATION, on_no_tls=OnNoTls.BOUNCE))]
)
def test_no_trouble_lowers_a_demand(trouble: Trouble, demand: str, policy: Policy) -> None:
    """DANE-102: for every trouble there is, a host that must show TLS is never tried again in clear text."""
    step = after(HostAttempt("mx", "192.0.2.1", 25, demand, trouble), policy)
    assert step in {Step.ADDRESS, Step.STOP}


# Connections that end


async def test_a_lost_reply_to_the_dot_is_told_and_not_tried_elsewhere() -> None:
    """SMTP-28, SMTP-57: the message may have been taken, so no other host gets it now; the next message goes on."""
    async with hosts(Script(dot=DROP), Script()) as running:
        first, second = await carry(plan(running, CLEAR), numbered(2))
    assert first.transaction is not None
    assert "before the reply to the content" in first.transaction.lost
    assert first.hosts[-1].trouble is Trouble.LOST
    assert delivered(second)
    assert len(running[1].seen[0].contents) == 1


async def test_421_within_the_recipients() -> None:
    """SMTP-29: who was refused stays refused, who was accepted or not yet asked goes to the next host."""
    script = Script(replies={"RCPT TO:<b@": "550 5.1.1 nobody", "RCPT TO:<c@": "421 closing"})
    everyone = message("a@example.com", "b@example.com", "c@example.com", "d@example.com")
    async with hosts(script, Script()) as running:
        refused, taken = await carry(plan(running, CLEAR), [everyone])
    assert refused.recipients == ("M1/2",)
    assert taken.recipients == ("M1/1", "M1/3", "M1/4")
    assert delivered(taken)
    assert len(running[1].seen[0].commands("RCPT")) == 3


async def test_a_server_that_closes_after_each_message_is_called_again() -> None:
    """SMTP-36: a host that took a message and hung up is still the first choice for the next."""
    async with hosts(Script(close_after_dot=True), Script()) as running:
        attempts = await carry(plan(running, CLEAR), numbered(3))
    assert all(map(delivered, attempts))
    assert [len(host.seen) for host in running] == [3, 0]


async def test_more_than_one_reply_to_the_content_ends_the_connection() -> None:
    """SMTP-25: the message was taken, and the next one goes over a new connection, where replies fit again."""
    async with hosts(Script(dot="250 queued\n250 and again"), Script()) as running:
        attempts = await carry(plan(running, CLEAR), numbered(2))
    assert all(map(delivered, attempts))
    assert [len(host.seen) for host in running] == [2, 0]
    assert len(running[0].seen[0].commands("MAIL")) == 1


async def test_without_a_host_every_message_gets_its_attempt() -> None:
    """RFC 5321 4.5.4.1: dead hosts are tried once for a queue and not for each message; nobody is left without an attempt."""
    async with hosts(None, Script(greeting="554 no")) as running:
        attempts = await carry(plan(running, CLEAR), numbered(4))
    assert [attempt.transaction for attempt in attempts] == [None] * 4
    assert {tuple(troubles(attempt)) for attempt in attempts} == {(("mx1", Trouble.CONNECT), ("mx2", Trouble.GREETING))}
    assert len(running[1].seen) == 1


async def test_a_plan_without_hosts() -> None:
    """An empty plan gives attempts without hosts, on which the stage then rules."""
    async with hosts(Script()) as running:
        empty = replace(plan(running, CLEAR), hosts=())
        (attempt,) = await carry(empty, numbered(1))
    assert (attempt.hosts, attempt.transaction) == ((), None)


async def test_a_connection_has_its_share() -> None:
    """SMTP-36, SMTP-38: after the limit of messages a new connection is opened to the same host."""
    policy = Policy(limits=Limits(messages_per_connection=2))
    async with hosts(Script(), Script()) as running:
        attempts = await carry(plan(running, CLEAR), numbered(5), policy)
    assert all(map(delivered, attempts))
    assert [len(seen.contents) for seen in running[0].seen] == [2, 2, 1]
    assert not running[1].seen


# Recipients


async def test_many_recipients_are_split() -> None:
    """SMTP-34, SMTP-33: 250 recipients go as 100, 100 and 50, over one connection."""
    mail = message(*(recipient(f"u{number}@example.com", number) for number in range(250)))
    async with hosts(Script()) as running:
        attempts = await carry(plan(running, CLEAR), [mail])
    assert [len(attempt.recipients) for attempt in attempts] == [100, 100, 50]
    assert len(running[0].seen[0].contents) == 3


async def test_one_internationalised_recipient_spares_the_others() -> None:
    """EXT-09: without SMTPUTF8 only the address that needs it fails; the others get the message."""
    mail = message("a@example.com", "jürgen@example.com", "b@example.com")
    async with hosts(Script(ehlo="250-mail.test\n250-8BITMIME")) as running:
        plain, other = await carry(plan(running, CLEAR), [mail])
    assert plain.recipients == ("M1/1", "M1/3")
    assert delivered(plain)
    assert other.transaction is not None
    assert other.transaction.unable is not None
    assert other.transaction.unable[0] == "5.6.7"


# Faults of ours, and callers that go


async def test_content_that_cannot_be_loaded_is_our_fault() -> None:
    """What `load` raises comes out, nothing was begun with the server, and the connection is closed with QUIT."""

    async def broken() -> bytes:
        raise OSError("the store is gone")

    async def parcels() -> AsyncIterator[Parcel]:
        yield Parcel(message("user@example.com"), broken)

    async with hosts(Script()) as running:
        deliveries = Courier(SmtpSettings("out.here.example", timeouts=QUICK)).deliver(
            plan(running, CLEAR), Policy(), parcels()
        )
        with pytest.raises(OSError, match="store is gone"):
            await anext(deliveries)
    assert running[0].seen[0].lines == ["EHLO out.here.example", "QUIT"]


@pytest.mark.parametrize("size", [1, 200_000], ids=["one block", "several blocks"])
async def test_a_last_look_keeps_the_final_dot_back(size: int) -> None:
    """SMTP-57: what a last look raises comes out, and the message was never whole (RFC 5321 section 4.1.1.4)."""

    class NoLongerOurs(Exception):  # noqa: N818 - made up
        pass

    def look() -> None:
        raise NoLongerOurs

    async def load() -> bytes:
        return b"Subject: x\r\n\r\n" + b"x\r\n" * size

    async def parcels() -> AsyncIterator[Parcel]:
        yield Parcel(message("user@example.com"), load, look)

    async with hosts(Script()) as running:
        courier = Courier(SmtpSettings("out.here.example", timeouts=QUICK))
        with pytest.raises(NoLongerOurs):
            await anext(courier.deliver(plan(running, CLEAR), Policy(), parcels()))
    assert running[0].seen[0].lines[-1] == "DATA"
    assert running[0].seen[0].contents == []


async def test_a_caller_that_stops_leaves_no_connection() -> None:
    """A consumer that closes the generator ends the session with QUIT, and takes no further parcel."""
    taken: list[MessageId] = []

    async def load() -> bytes:
        return BODY

    async def parcels() -> AsyncIterator[Parcel]:
        for one in numbered(3):
            taken.append(one.id)
            yield Parcel(one, load)

    async with hosts(Script()) as running:
        courier = Courier(SmtpSettings("out.here.example", timeouts=QUICK))
        async with aclosing(courier.deliver(plan(running, CLEAR), Policy(), parcels())) as deliveries:
            assert delivered(await anext(deliveries))
    assert taken == ["M1"]
    assert running[0].seen[0].lines[-1] == "QUIT"


async def test_a_worker_that_is_stopped_within_a_transaction_just_goes() -> None:
    """SMTP-57: a job cancelled while it waits for the reply to the dot drops the connection, and says nothing more."""
    async with hosts(Script(dot=SILENCE)) as running:
        job = asyncio.ensure_future(carry(plan(running, CLEAR), numbered(1)))
        await running[0].script.reached.wait()
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert running[0].seen[0].lines[-1] == "<content>"
