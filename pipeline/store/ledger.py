"""The ledger: every message, where each recipient stands, who works on it, and when it is due again.

It is the truth; a Dramatiq message is only a nudge to look here. Groups are the unit that moves: "<message>/<n>,<n>"
names recipients of one message, and a group stands in exactly one place: the list before a stage, the ready queue of
a destination, a claim, the schedule, or among the held. Every change is one Lua script, fenced by the claim it rests
on: `commit` returns None when the lease was lost, and then nothing was written. Leases are durations on the clock of
Redis, which all share; due times are moments, and the clock's own look at them counts.

Raises `StoreUnavailable` and `StoreFull` (see `connection`), and nothing else for what Redis does.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.store.changes import (
    NOBODY,
    Call,
    Changes,
    Committed,
    Row,
    Stored,
    Taken,
    Watch,
    duration,
    group_of,
    milliseconds,
    number_of,
    owed_group,
)
from pipeline.store.codec import decode, encode
from pipeline.store.connection import run_script, store_errors
from pipeline.store.content import Bodies, ContentGone
from pipeline.store.packing import Damaged, packed, unpacked
from stages.contract import Owed
from stages.message import FINAL, Envelope, Message, MessageId, Recipient

_LUA = Path(__file__).parent / "lua"
PARKED = "parked"  # channel, after the prefix: the tokens of connections that mail has come for
COMMITTED = 131_072  # octets of changes that one script makes, so that nobody waits for it
ENTERING = 2000  # groups before the first stage up to which due ones join them
LATE = 500  # jobs at destinations that wait, beyond which no more are made for fear that some were lost
SMALL = 65_536  # octets of kept content that come with a message that is taken to be delivered


class Ledger:
    """All states of all messages.

    Accepted mail and due retries enter at stage `first`; what is owed to senders goes to stage `notices`. Content is
    in Redis with the rest, or in `bodies`.
    """

    def __init__(
        self,
        redis: Any,  # redis.asyncio.Redis, whose stubs mix in the synchronous return types
        *,
        prefix: str = "dp:",
        first: str = "route",
        notices: str = "bounce",
        retention: timedelta = timedelta(minutes=10),
        bodies: Bodies | None = None,
        outcomes: int = 0,  # of recipients, how many are kept for webhooks
    ) -> None:
        self.redis = redis
        self.prefix = prefix
        self.first = first
        self.notices = notices
        self.bodies = bodies
        self._outcomes = outcomes
        self._retention = int(retention.total_seconds())
        texts = {path.stem: path.read_bytes() for path in _LUA.glob("*.lua")}
        shared = texts.pop("places")
        self._scripts = {name: redis.register_script(shared + text) for name, text in texts.items()}

    async def _run(self, script: str, *args: object) -> Any:
        return await run_script(self.redis, self._scripts[script], self.prefix, *args)

    # Accepting

    async def accept(self, message: Message, content: bytes) -> bool | None:
        """Keep a message durably. True: stage `first` wants a nudge; None: the id was known, nothing was changed."""
        pairs: list[object] = []
        for recipient in message.recipients:
            pairs += [number_of(recipient.id), encode(Recipient, recipient)]
        group = group_of(message.id, (number_of(recipient.id) for recipient in message.recipients))
        body = await packed(content)
        put = None if self.bodies is None else await self.bodies.put(message, body)
        kept = await self._run(
            "accept",
            message.id,
            milliseconds(message.envelope.accepted),
            encode(Envelope, message.envelope),
            body if self.bodies is None else b"",
            self.first,
            group,
            *pairs,
        )
        if self.bodies is not None and put is not None and kept:
            await self.bodies.confirm(message, body, put)
        return None if kept == 0 else kept == 2

    # Working

    async def claim(self, list_: str, token: str, count: int, lease: timedelta) -> list[str]:
        """Take up to `count` groups from a list (`place:<stage>` or `ready:<destination>`) under the token's lease."""
        return [group for group, _ in (await self.take(list_, token, count, lease, bring="")).groups]

    async def take(
        self, list_: str, token: str, count: int, lease: timedelta, *, bring: str = "rows", call: Call = NOBODY
    ) -> Taken:
        """Take as `claim` does, with what is needed to work on the groups.

        `bring`: "rows" what `read` makes messages of, "mail" those with the content, as it is kept, in front if it is
        small (and None if it is not), or the hash of payloads ("item:<stage>").
        """
        kind, _, name = list_.partition(":")
        nudge = f"to:{name}" if kind == "ready" else name
        left, more, *found = await self._run(
            "take", list_, token, count, duration(lease), bring, nudge,
            call.helper, call.connections, SMALL, int(call.wait * 1000),
        )  # fmt: skip
        return Taken([(group.decode(), values) for group, *values in found], int(left), more == 1, more == 2)

    async def extend(self, token: str, lease: timedelta, slot: str = "") -> bool:
        """Prolong a lease that is still ours, and our slot at a destination; tells whether there was such a lease."""
        return bool(await self._run("extend", token, duration(lease), slot))

    async def commit(self, token: str, group: str, changes: Changes) -> Committed | None:
        """Make verdicts true. None: the lease was lost, somebody else has the group, and nothing was written."""
        return (await self.commit_all(token, [(group, changes)]))[0]

    async def commit_all(self, token: str, settled: Sequence[tuple[str, Changes]]) -> list[Committed | None]:
        """Make verdicts on several groups true, each by itself; see `commit`. It is one trip unless they are large."""
        shares: list[list[object]] = [[]]
        size = 0
        for group, changes in settled:
            json = changes.json(self.notices, self._outcomes)
            size += len(json)
            if size > COMMITTED and shares[-1]:
                shares.append([])
                size = len(json)
            shares[-1] += (group, json)
        results: list[Any] = []
        for some in shares:
            results += await self._run("commit", token, self._retention, *some)
        ended = [(group, result[2]) for (group, _), result in zip(settled, results, strict=True) if result[0]]
        await self._let_go([(MessageId(group.partition("/")[0]), at) for group, at in ended if at])
        return [
            Committed(int(result[1]), tuple(nudge.decode() for nudge in result[3:])) if result[0] else None
            for result in results
        ]

    async def _let_go(self, settled: Sequence[tuple[MessageId, str | bytes]]) -> None:
        """Delete the content of settled messages, each with when it was accepted, that was not in Redis."""
        if self.bodies is not None and settled:
            await self.bodies.delete([(message, int(at)) for message, at in settled])

    async def give_back(self, token: str, groups: Sequence[str] = ()) -> tuple[str, ...]:
        """Put claimed groups (all of them if none are named) back where they came from; returns the lists."""
        return tuple(name.decode() for name in await self._run("giveback", token, *groups))

    async def set_aside(self, token: str, group: str, rest: timedelta) -> bool:
        """Let a claimed group rest for a while, out of the way of others; `reap` brings it back. False: lease lost."""
        return bool(await self._run("aside", token, group, duration(rest)))

    @staticmethod
    def read(group: str, row: Row) -> Message | None:
        """Make the message of a group from its row, with just those recipients; None if it is gone.

        Raises `CodecError` for what this version cannot read.
        """
        message = group.partition("/")[0]
        if row[0] is None:
            return None
        recipients = tuple(decode(Recipient, value) for value in row[1:] if value is not None)
        return Message(MessageId(message), decode(Envelope, row[0]), recipients)

    async def content(self, message: Message, taken: bytes | None = None) -> bytes:
        """Give the octets of a message, from what `take` brought of it or from where they are kept.

        Raises KeyError if it is settled, and `ContentGone` if they are lost or damaged. What was accepted before the
        content moved out of Redis is there still, so both places are asked.
        """
        where, body = "Redis", taken
        if body is None:
            with store_errors():
                body = await self.redis.get(f"{self.prefix}body:{message.id}")
        if body is None and self.bodies is not None:
            where, body = self.bodies.where, await self.bodies.get(message)
        if body is not None:
            try:
                return await unpacked(body, message.envelope.content.size)
            except Damaged as damage:
                raise ContentGone(message.id, where, str(damage)) from damage
        with store_errors():
            waits = await self.redis.zscore(f"{self.prefix}messages", message.id)
        if waits is None:
            raise KeyError(message.id)
        raise ContentGone(message.id, where)

    # Nudges

    async def hush(self, name: str, duration: timedelta) -> None:
        """Let nothing nudge this place for a while, because a retry of its own is under way."""
        with store_errors():
            await self.redis.set(f"{self.prefix}nudge:{name}", 1, px=int(duration.total_seconds() * 1000))

    # Destinations

    async def backlog(self, destination: str) -> int:
        """Count the groups in the ready queue of a destination."""
        with store_errors():
            return int(await self.redis.llen(f"{self.prefix}ready:{destination}"))

    async def open_slot(self, destination: str, token: str, limit: int, lease: timedelta) -> int:
        """Take one of the connections that a destination may have at a time, over all workers on all hosts.

        Returns 0 if there is none, 1 with one, and 2 if the token has groups as well, whose lease begins anew.
        """
        return int(await self._run("slot", destination, token, limit, duration(lease)))

    async def close_slot(self, destination: str, token: str) -> int:
        """Give the connection slot back, and what the token still holds; returns the groups that wait."""
        return int(await self._run("unslot", destination, token))

    async def parked(self) -> AsyncIterator[str]:
        """Give the tokens of waiting connections for which mail has come; an empty one once we listen."""
        with store_errors():
            async with self.redis.pubsub() as channel:
                await channel.subscribe(f"{self.prefix}{PARKED}")
                async for word in channel.listen():
                    yield word["data"].decode() if word["type"] == "message" else ""

    async def unpark(self, destination: str, token: str) -> bool:
        """Wait no longer; tells whether mail has come in this moment."""
        return bool(await self._run("unpark", destination, token))

    async def hand_over(self, stage: str, destination: str, payload: bytes, expires_in: timedelta) -> None:
        """Leave what a destination stage gave for the next one, for as long as it may be used."""
        with store_errors():
            milliseconds = max(1, int(expires_in.total_seconds() * 1000))
            await self.redis.set(f"{self.prefix}given:{stage}:{destination}", payload, px=milliseconds)

    async def handed(self, stage: str, destination: str) -> bytes | None:
        """Fetch what was left for a destination stage; None when it is too old to be used, or was never left."""
        with store_errors():
            value: bytes | None = await self.redis.get(f"{self.prefix}given:{stage}:{destination}")
        return value

    # The clock's work

    async def due(self, now: datetime, count: int = 200) -> tuple[int, bool]:
        """Move due groups from the schedule to the first stage; returns how many, and whether to nudge.

        It moves no more than there is room for, so that new mail does not stand behind a whole queue.
        """
        moved, nudge = await self._run("due", milliseconds(now), count, self.first, ENTERING)
        return int(moved), bool(nudge)

    async def next_due(self) -> datetime | None:
        """Tell when the schedule has something to do next."""
        with store_errors():
            head = await self.redis.zrange(f"{self.prefix}schedule", 0, 0, withscores=True)
        return datetime.fromtimestamp(head[0][1] / 1000, tz=UTC) if head else None

    async def reap(
        self, patience: timedelta = timedelta(0), watch: Watch | None = None, count: int = 100
    ) -> list[tuple[str, str, int]]:
        """End claims whose lease is over; returns (token, list, groups) for each list that got groups back.

        `patience` is what `watch` grants once more to all when Redis was away, or its clock was set: a lease.
        """
        watch = watch or Watch()
        watch.seen, watch.hold, *flat = await self._run("reap", count, watch.seen, watch.hold, duration(patience))
        triples = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        return [(token.decode(), name.decode(), int(groups)) for token, name, groups in triples]

    async def waiting(self, lists: Sequence[str | bytes]) -> list[str]:
        """Tell which of some lists hold something and have no nudge on its way, by the names of the nudges."""
        return [name.decode() for name in await self._run("sweep", *lists)]

    async def waiting_places(self, stages: Sequence[str], jobs: str = "") -> list[str]:
        """List the places that hold something and have no nudge on its way (stages, and `to:<destination>`).

        `jobs` is the list in which nudges of destinations wait. While it is long they are late and not lost, and are
        not sent again: a hundred thousand destinations would make it longer than workers make it shorter.
        """
        found = await self.waiting([f"place:{stage}" for stage in stages])
        with store_errors():
            if jobs and await self.redis.llen(jobs) > LATE:
                return found
        cursor = 0
        while True:
            with store_errors():
                cursor, members = await self.redis.sscan(f"{self.prefix}destinations", cursor, count=200)
            if members:
                found += await self.waiting([b"ready:" + name for name in members])
            if not cursor:
                return found

    # What operators see and do

    async def stored(self, message: MessageId) -> Stored | None:
        """Fetch a message with all its recipients and where they stand; None if it is unknown or long settled."""
        return (await self.all_stored([message]))[0]

    async def all_stored(self, messages: Sequence[MessageId], domain: str = "") -> list[Stored | None]:
        """Fetch some messages as `stored` does, in one trip; with a domain, most that do not go there are None."""
        with store_errors():
            async with self.redis.pipeline(transaction=False) as pipe:
                for message in messages:
                    pipe.hgetall(f"{self.prefix}msg:{message}")
                rows = await pipe.execute()
        named = encode(str, domain)  # as it stands in whatever names it, which costs less than to read all of them
        return [
            _read(message, row) if row and (not domain or any(named in value for value in row.values())) else None
            for message, row in zip(messages, rows, strict=True)
        ]

    async def page(self, after: str = "", count: int = 100, domain: str = "") -> tuple[list[Stored], str]:
        """List messages in the order of acceptance, a page at a time; pass the cursor on until it is empty.

        The cursor names the last message of a page, so what is settled meanwhile makes none of the others be missed.
        With a domain (as A-labels), most messages that have no recipient there are left out.
        """
        score, _, last = after.partition(" ")
        flat = [value.decode() for value in await self._run("page", score, last, count)]
        rows = list(zip(flat[::2], flat[1::2], strict=True))
        seen = (int(score), last) if after else (-1, "")
        found = await self.all_stored([MessageId(name) for name, at in rows if (int(at), name) > seen], domain)
        cursor = f"{rows[-1][1]} {rows[-1][0]}" if len(rows) == count else ""
        return [stored for stored in found if stored is not None], cursor

    async def counts(self) -> dict[str, int]:
        """Count messages, scheduled groups, held groups, claims and destinations."""
        with store_errors():
            async with self.redis.pipeline(transaction=False) as pipe:
                pipe.zcard(f"{self.prefix}messages")
                pipe.zcard(f"{self.prefix}schedule")
                pipe.hlen(f"{self.prefix}held")
                pipe.zcard(f"{self.prefix}claims")
                pipe.scard(f"{self.prefix}destinations")
                values = await pipe.execute()
        return dict(zip(("messages", "scheduled", "held", "claims", "destinations"), map(int, values), strict=True))

    async def move(self, recipient: Recipient, target: str, now: datetime, owed: Owed | None = None) -> str:
        """Put one recipient elsewhere by an operator's hand: `route`, `held`, `failed` (with a notice) or `dropped`.

        Returns "moved", "busy" (a worker has it right now), "settled" or "unknown".
        """
        message, _, number = recipient.id.partition("/")
        result = await self._run(
            "move",
            message,
            number,
            target,
            milliseconds(now),
            encode(Recipient, recipient),
            self.first,
            owed_group(owed) if owed else "",
            encode(Owed, owed) if owed else "",
            self._retention,
            self.notices,
            self._outcomes,
        )
        outcome, _, at = result.decode().partition(" ")
        if at:
            await self._let_go([(MessageId(message), at)])
        return str(outcome)


def _read(message: MessageId, row: Mapping[bytes, bytes]) -> Stored:
    numbers = sorted((key[2:].decode() for key in row if key.startswith(b"r:")), key=_natural)
    recipients = tuple(decode(Recipient, row[f"r:{number}".encode()]) for number in numbers)
    places: dict[str, str] = {}
    for recipient in recipients:
        where = row.get(f"w:{number_of(recipient.id)}".encode(), b"")
        if where.startswith(b"="):  # its group is named once, with its first recipient
            where = row.get(b"w:" + where[1:], b"")
        place = where.decode().rpartition("|")[0]
        if place.startswith("schedule:"):  # the rest is for the index of destinations
            place = "schedule"
        places[recipient.id] = str(recipient.state) if recipient.state in FINAL else place
    return Stored(Message(message, decode(Envelope, row[b"envelope"]), recipients), places, int(row[b"open"]))


def _natural(number: str) -> tuple[int, int]:
    main, _, copy = number.partition("+")
    return int(main), int(copy or 0)
