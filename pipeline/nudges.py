"""Send nudges: small Dramatiq messages that say where to look, and carry ids only.

A name is a stage ("route": look at the place before it), a destination ("to:<key>": rule on its ready queue from
the first destination stage), or both ("deliver:to:<key>"). Messages are built here without the actors, so that a
process that only accepts mail need not load them.
"""

import asyncio
from collections.abc import Callable, Sequence

from dramatiq import Message

from pipeline.broker import WakingRedisBroker, make_broker
from pipeline.line import Line

EACH = 20  # destinations that one Dramatiq message names at most, so that they spread over the workers


def nudge_messages(names: Sequence[str], line: Line) -> "list[Message[None]]":
    """Make the Dramatiq messages of some nudges: one for each place, and one for some destinations of a stage."""
    places: dict[str, None] = {}
    keys: dict[str, list[str]] = {}
    for name in names:
        stage, to, key = name.partition("to:")
        if to:
            keys.setdefault(stage.rstrip(":") or line.destinations[0].name, []).append(key)
        else:
            places[name] = None
    found: list[Message[None]] = [_message(place) for place in places]
    for actor, all_ in keys.items():
        found += [_message(actor, all_[first : first + EACH]) for first in range(0, len(all_), EACH)]
    return found


def _message(actor: str, *args: object) -> "Message[None]":
    return Message(queue_name=actor, actor_name=actor, args=args, kwargs={}, options={})


class Nudger:
    """Enqueues nudges on a broker of its own, or on the one given."""

    def __init__(self, url: str, line: Line, broker: WakingRedisBroker | None = None) -> None:
        self._broker = broker or make_broker(url)
        self._line = line
        for stage in line.stages:
            self._broker.declare_queue(stage.name)

    def send(self, names: Sequence[str]) -> None:
        """Enqueue nudges. Raises redis errors; the caller may drop them, as the sweep nudges again."""
        for message in nudge_messages(names, self._line):
            self._broker.enqueue(message)


class Together:
    """Sends what is nudged while an earlier sending is under way in one go, from a thread."""

    def __init__(self, send: Callable[[Sequence[str]], None]) -> None:
        self._send = send
        self._waiting: list[str] = []
        self._sending: asyncio.Task[None] | None = None

    async def nudge(self, names: Sequence[str]) -> None:
        """Send nudges, and whatever else is waiting by then. Raises what `send` does."""
        self._waiting += names
        while self._waiting:
            if self._sending is None or self._sending.done():
                self._sending = asyncio.create_task(self._run())
            await asyncio.shield(self._sending)

    async def _run(self) -> None:
        await asyncio.sleep(0)  # what else is ready in this turn of the loop comes along
        waiting, self._waiting = self._waiting, []
        await asyncio.to_thread(self._send, waiting)
