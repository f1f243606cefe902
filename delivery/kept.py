"""Answers that are kept, each for its lifetime: by the process, and by what processes share behind it.

An answer that is used again in the last tenth of its life should be asked for anew, in the background, so that nobody
has to wait when it is over; `take` says so once. That is worth it for records and denials, and never for a failure.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from delivery.responses import SECOND
from stages.answer import Answer, Failed, Question

CACHE_SIZE = 5000  # answers, about 1 KB each; behind them stand those that processes share
LAST_PART = 10  # the last tenth, as Unbound has it (prefetch)
SHORT_LIFE = timedelta(seconds=10)  # what lives no longer is not worth a question before its time

Key = tuple[Question, bool]  # whether the answer may bear security


class SharedCache(Protocol):
    """A cache behind that of the process. Errors it raises are told of, and the question is asked without it."""

    async def get(self, question: Question) -> Answer | None:
        """Fetch an answer."""

    async def put(self, answer: Answer) -> None:
        """Keep an answer."""

    async def clear(self) -> None:
        """Throw all answers away."""


@dataclass(slots=True)
class _Entry:
    answer: Answer
    since: datetime
    uses: int
    renewable: bool

    def is_due(self, now: datetime) -> bool:
        life = self.answer.expires - self.since
        return self.renewable and self.uses > 1 and life > SHORT_LIFE and now >= self.answer.expires - life / LAST_PART


class Kept:
    """The answers of one process, and the way to the shared ones."""

    def __init__(
        self,
        shared: SharedCache | None,
        now: Callable[[], datetime],
        on_event: Callable[[str, Mapping[str, Any]], None],
    ) -> None:
        self._shared = shared
        self._now = now
        self._tell = on_event
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()

    def take(self, key: Key) -> tuple[Answer | None, bool]:
        """Give an answer to be used, if one is kept, and say whether to ask for it anew, which is said once."""
        entry, now = self._entries.get(key), self._now()
        if entry is None or entry.answer.expires <= now:
            return None, False
        self._entries.move_to_end(key)
        entry.uses += 1
        is_due = entry.is_due(now)
        entry.renewable = entry.renewable and not is_due
        return entry.answer, is_due

    def put(self, key: Key, answer: Answer, old: Answer | None = None) -> None:
        """Keep an answer that somebody waits for, or that comes in the place of an `old` one: no failure does that."""
        failed = isinstance(answer, Failed)
        if failed and old is not None:
            return
        # a resolver that has it in its own cache gives no more time, and would not the next time
        renewable = not failed and (old is None or lasts_longer(answer, old))
        self._entries[key] = _Entry(answer, self._now(), 1 if old is None else 0, renewable)
        while len(self._entries) > CACHE_SIZE:
            self._entries.popitem(last=False)

    def drop(self, questions: Iterable[Question]) -> None:
        """Throw some answers away."""
        for question in questions:
            for secured in (True, False):
                self._entries.pop((question, secured), None)

    # What processes share

    async def fetch(self, question: Question, old: Answer | None) -> Answer | None:
        """Fetch an answer that is shared, if it still holds, and longer than an `old` one."""
        if self._shared is None:
            return None
        try:
            answer = await self._shared.get(question)
        except Exception as error:  # noqa: BLE001 - whatever the cache does, DNS still answers
            self._tell("resolver.cache", {"text": f"the shared cache cannot be read: {error!r}"})
            return None
        if answer is None or answer.expires <= self._now():
            return None
        return answer if old is None or lasts_longer(answer, old) else None

    async def share(self, answer: Answer) -> None:
        """Share an answer; failures are not."""
        if self._shared is None or isinstance(answer, Failed):
            return
        try:
            await self._shared.put(answer)
        except Exception as error:  # noqa: BLE001 - see above
            self._tell("resolver.cache", {"text": f"the shared cache cannot be written: {error!r}"})

    async def clear(self) -> None:
        """Throw all answers away, the shared ones, too."""
        self._entries.clear()
        if self._shared is None:
            return
        try:
            await self._shared.clear()
        except Exception as error:  # noqa: BLE001 - see above
            self._tell("resolver.cache", {"text": f"the shared cache cannot be cleared: {error!r}"})


def lasts_longer(answer: Answer, old: Answer) -> bool:
    """Tell whether an answer holds longer than another one, by more than the rounding of its TTL."""
    return answer.expires > old.expires + SECOND
