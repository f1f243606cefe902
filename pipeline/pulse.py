"""The pulse: each process counts what its events say, and adds that to what all processes have every few seconds.

It is counted where events are written (`pipeline.log.emit`), so that what is shown as happening now is what the log
says, and an event costs about a microsecond. Nothing of it is asked for or waited for by the mail: while Redis is away
the sums wait, as many as `WAITING` and `MOST` allow, and what a process that is killed had not told yet is lost.
Recipients are counted, and messages where they are accepted. A verdict that puts off a recipient who is then given up
is `deferred`; the report says more.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from pipeline import log
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.pulse import COUNTED, KEPT, SLOT, Beat, PulseStore, Trouble

Fields = Mapping[str, Any]

EVERY = 5.0  # seconds between two times that a process tells
WAITING = int(KEPT.total_seconds()) // SLOT  # slots whose sums wait while Redis is away
MOST = 5_000  # destinations whose sums wait; of others nothing but the totals are counted meanwhile
LONGEST = 200  # characters that are kept of a text of others
LAST = 2.0  # seconds for the last sums at the end of a process
_PLACE = {word: place for place, word in enumerate(COUNTED)}
_SECURITY = {"dane": "dane", "dane-host-only": "dane-host-only", "verified": "verify", "none": "clear"}


def security_of(facts: Fields) -> str:
    """Name what protected a delivery, by the facts of its verdict, in the words of `danepipe report`."""
    level = facts.get("security")
    if level == "encrypted":
        demanded = facts.get("demand") in {"encrypt", "dane"} and not facts.get("audit_failure")
        return "encrypt" if demanded else "opportunistic"
    return _SECURITY.get(level or "", "other")


class Counter:
    """The sums of one process that are not told yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # events come from several threads
        self._totals: dict[str, int] = {}
        self._beats: dict[str, Beat] = {}
        self._slots: dict[int, dict[str, int]] = {}
        self._counts: Mapping[str, Callable[[Fields], None]] = {
            "message.accepted": lambda _fields: self._add("accepted", 1),
            "stage.verdict": self._ruled,
            "delivery.attempt": self._attempted,
            "resolver.suspended": lambda fields: self._alert("resolver", fields["text"]),
            "resolver.restored": lambda _fields: self._alert("resolver", ""),
            "accept.pressure": lambda fields: self._alert(
                "pressure", "" if fields["state"] == "open" else f"{fields['state']}: {fields['text']}"
            ),
        }
        self._alerts: dict[str, str] = {}

    def count(self, event: str, fields: Fields) -> None:
        """Take an event that is being written."""
        counts = self._counts.get(event)
        if counts is not None:
            counts(fields)

    def _ruled(self, fields: Fields) -> None:
        verdict = fields["verdict"]
        if verdict == "proceed":
            return
        if verdict == "done":
            if fields["code"] != "smtp.accepted":
                if fields["stage"] != "bounce":  # that one is about a report, and settles nobody
                    self._add("dropped", len(fields["recipients"]))
                return
            word = security_of(fields["facts"])
            with self._lock:
                beat = self._add_to(word, len(fields["recipients"]), fields["destination"])
                if beat is not None:
                    beat.security = word
            return
        word = "deferred" if verdict == "defer" else "failed"
        why = Trouble(
            fields["code"], fields["text"][:LONGEST], fields["remote"] or str(fields["facts"].get("host", "")),
            datetime.now(UTC),
        )  # fmt: skip
        with self._lock:
            beat = self._add_to(word, len(fields["recipients"]), fields["destination"])
            if beat is not None:
                beat.trouble = why

    def _add(self, word: str, number: int) -> None:
        with self._lock:
            self._totals[word] = self._totals.get(word, 0) + number

    def _add_to(self, word: str, number: int, destination: str) -> Beat | None:
        """Add to the totals and to a destination, with the lock held; None where that is not kept."""
        totals = self._totals
        totals[word] = totals.get(word, 0) + number
        beat = self._beats.get(destination) or self._begun(destination)
        if beat is not None:
            beat.counts[_PLACE[word]] += number
        return beat

    def _begun(self, destination: str) -> Beat | None:
        if not destination or len(self._beats) >= MOST:
            return None
        return self._beats.setdefault(destination, Beat())

    def _attempted(self, fields: Fields) -> None:
        if fields["outcome"] != "session" and fields["address"]:
            with self._lock:
                beat = self._beats.get(fields["destination"]) or self._begun(fields["destination"])
                if beat is not None:
                    beat.door = f"{fields['address']}|{fields['port']}"

    def _alert(self, kind: str, text: str) -> None:
        with self._lock:
            if text:
                self._alerts[kind] = text[:LONGEST]
            else:
                self._alerts.pop(kind, None)

    def alerts(self) -> Mapping[str, str]:
        """Give what is amiss in this process now."""
        with self._lock:
            return dict(self._alerts)

    def taken(self, now: float) -> tuple[Mapping[int, Mapping[str, int]], Mapping[str, Beat]]:
        """Give what is to be told now, and begin anew; slots are numbered by their start over `SLOT`."""
        with self._lock:
            if self._totals:
                self._merge({int(now) // SLOT: self._totals})
            slots, beats = self._slots, self._beats
            self._totals, self._slots, self._beats = {}, {}, {}
        return slots, beats

    def put_back(self, slots: Mapping[int, Mapping[str, int]], beats: Mapping[str, Beat]) -> None:
        """Keep what could not be told."""
        with self._lock:
            self._merge(slots)
            for destination, old in beats.items():
                beat = self._beats.get(destination) or self._begun(destination)
                if beat is not None:
                    beat.counts = [one + other for one, other in zip(beat.counts, old.counts, strict=True)]
                    beat.security = beat.security or old.security
                    beat.trouble = beat.trouble or old.trouble
                    beat.door = beat.door or old.door

    def _merge(self, slots: Mapping[int, Mapping[str, int]]) -> None:
        for slot, counts in slots.items():
            kept = self._slots.setdefault(slot, {})
            for word, number in counts.items():
                kept[word] = kept.get(word, 0) + number
        while len(self._slots) > WAITING:
            del self._slots[min(self._slots)]


class Teller:
    """Tells Redis what a process has counted."""

    def __init__(self, counter: Counter, store: PulseStore, now: Callable[[], float] = time.time) -> None:
        self._counter = counter
        self._store = store
        self._now = now

    async def run(self) -> None:
        """Tell every few seconds until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            with suppress(StoreUnavailable, StoreFull):  # others tell of it; the sums wait
                await self.tell()

    async def tell(self) -> None:
        """Tell what there is. Raises `StoreUnavailable` and `StoreFull`, and keeps the sums then."""
        now = self._now()
        slots, beats = self._counter.taken(now)
        alerts = self._counter.alerts()
        if not slots and not beats and not alerts:
            return
        try:
            await self._store.add(slots, beats, datetime.fromtimestamp(now, UTC), alerts)
        except BaseException:
            self._counter.put_back(slots, beats)
            raise


@asynccontextmanager
async def counting(redis: Any, prefix: str) -> AsyncIterator[None]:
    """Count the events of this process within, and tell of them; the last ones at the end, if Redis answers."""
    counter = Counter()
    teller = Teller(counter, PulseStore(redis, prefix=prefix))
    log.counted_by(counter.count)
    task = asyncio.create_task(teller.run())
    try:
        yield
    finally:
        log.counted_no_more(counter.count)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with suppress(StoreUnavailable, StoreFull, TimeoutError):
            async with asyncio.timeout(LAST):
                await teller.tell()
