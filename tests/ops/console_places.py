"""Destinations for tests of the console: one in every state, with what hostile servers said of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pipeline.config import load
from pipeline.hands import Handed
from pipeline.spine import Spine
from pipeline.store.changes import Changes, group_of, number_of
from pipeline.store.codec import encode
from pipeline.store.gates import Kind, Pauses, Suspension
from pipeline.store.pulse import COUNTED, Beat, PulseStore, Trouble
from pipeline.store.rollover import Parked, RolloverStore
from stages.contract import Planned
from stages.destination import Destination
from stages.message import Address, Content, Envelope, Message, MessageId, Origin, Recipient, State, recipient_id
from stages.plan import DaneDemand, Host, MayDemand, Plan, Skipped
from stages.plan import Trouble as Fault
from stages.reason import Reason
from stages.records import TLSA

EVIL = "<script>alert(1)</script>\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe\x1b[31mred\"'><img src=x onerror=alert(2)>"
REFUSED = "mx.down.example: connection refused"
_LEASE = timedelta(minutes=1)


def key(name: str) -> str:
    """Name a destination as the ledger does."""
    return f"mx:{name}:25:dane"


@asynccontextmanager
async def spine_at(redis_url: str) -> AsyncIterator[Spine]:
    """Open what a command opens."""
    config = load(None, {"DANEPIPE_HOSTNAME": "mail.example.org", "DANEPIPE_REDIS__URL": redis_url})
    async with Spine.open(config) as spine:
        yield spine


async def put(
    spine: Spine, name: str, domain: str, due: datetime | None = None, *, count: int = 1, text: str = REFUSED
) -> None:
    """Keep a message to some recipients of a domain: ready to go, or put off until a time, for that reason."""
    now, identifier = datetime.now(UTC), MessageId(name)
    sender = Address("news", "here.example", "news@here.example")
    envelope = Envelope(sender, now, Origin("smtp", "192.0.2.9"), Content(1))
    people = tuple(
        Recipient(recipient_id(identifier, number), Address(f"u{number}", domain, f"u{number}@{domain}"))
        for number in range(count)
    )
    await spine.ledger.accept(Message(identifier, envelope, people), b"x")
    group = group_of(identifier, [number_of(one.id) for one in people])
    await spine.ledger.claim("place:route", "t", 1, _LEASE)
    changes = Changes()
    if due is None:
        changes.to_ready(key(domain), group)
    else:
        why = Reason("deliver", "smtp.connect", "4.4.1", text, {"host": f"mx.{domain}"})
        for one in people:
            tried = replace(one, state=State.DEFERRED, attempts=2, last_attempt=now, next_attempt=due, reason=why)
            changes.put(tried)
        changes.later(group, due, key(domain))
    assert await spine.ledger.commit("t", group, changes) is not None


def plan_of(domain: str, now: datetime) -> Plan:
    """Give a plan with a host that DANE holds for, one that it does not, and one that is not used."""
    records = (TLSA(3, 1, 1, bytes(range(32))), TLSA(2, 0, 1, bytes(32)))
    demand = DaneDemand(f"mx1.{domain}", records, (f"mx1.{domain}", domain))
    facts = {"address": "secure", "tlsa": "secure, 2 records"}
    hosts = (
        Host(f"mx1.{domain}", 10, ("192.0.2.1", "2001:db8::1"), demand, facts),
        Host(f"mx2.{domain}", 20, ("192.0.2.2",), MayDemand("no TLSA records, proven", f"mx2.{domain}")),
    )
    skipped = (Skipped(f"mx3.{domain}", 30, Fault.BOGUS_TLSA, f"TLSA records are bogus: {EVIL}", proven=True),)
    told = {"mx": "secure, 3 records", "resolver": "127.0.0.1"}
    return Plan(Destination.parse(key(domain)), hosts, skipped, now, now + timedelta(seconds=50), told)


async def every_state(spine: Spine) -> None:
    """Let there be a destination in every state; flow.example has a plan, an open circuit and ten minutes of mail."""
    now = datetime.now(UTC).replace(microsecond=0)
    for name, count in (("suspended", 3), ("parked", 2), ("down", 12), ("retry", 5), ("flow", 4)):
        for number in range(count):
            due = now + timedelta(minutes=30 + number)
            await put(spine, f"{name.upper()}{number}", f"{name}.example", due, count=1 + number % 3)
    for number in range(3):
        await put(spine, f"READY{number}", "flow.example")
    evil = Trouble("smtp.rcpt_deferred", f"450 4.2.0 {EVIL}", f"mx.{EVIL[:20]}", now)
    pulse = PulseStore(spine.redis)
    for back in range(9, -1, -1):
        beat = Beat(security="dane", trouble=evil)
        beat.counts[COUNTED.index("dane")] = 40 + 7 * back % 23
        beat.counts[COUNTED.index("deferred")] = back % 4
        beat.counts[COUNTED.index("failed")] = int(back == 5)
        await pulse.add({}, {key("flow.example"): beat}, now - timedelta(minutes=back))
    quiet = Beat(security="opportunistic")
    quiet.counts[COUNTED.index("opportunistic")] = 3
    down = Beat(trouble=Trouble("smtp.connect", REFUSED, "mx.down.example", now), door="192.0.2.1|25")
    beats = {key("down.example"): down, key("idle.example"): Beat(security="clear"), key("quiet.example"): quiet}
    await pulse.add({}, beats, now)
    await spine.gates.suspend(
        Suspension(Kind.DESTINATION, "suspended.example", "asked by them", "alice", now, now + timedelta(hours=5))
    )
    plan = plan_of("flow.example", now)
    parked = replace(plan, destination=Destination.parse(key("parked.example")))
    until = now + timedelta(minutes=9)
    await RolloverStore(spine.redis).park(key("parked.example"), Parked(parked, (), now, until, 1), now)
    await spine.gates.failed("192.0.2.1|25", "t", Pauses(), 1, "smtp.connect", f"refused {EVIL}", chance=0.5)
    handed = Handed(Planned(plan, ()), None, plan.expires)
    stage = spine.line.destinations[-1].name
    await spine.ledger.hand_over(stage, key("flow.example"), encode(Handed, handed), timedelta(minutes=5))
