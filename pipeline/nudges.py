"""Send nudges: small Dramatiq messages that say where to look, and carry ids only.

A name is a stage ("route": look at the place before it), a destination ("to:<key>": rule on its ready queue from
the first destination stage), or both ("deliver:to:<key>"). Messages are built here without the actors, so that a
process that only accepts mail need not load them.
"""

from collections.abc import Sequence

from dramatiq import Message

from pipeline.broker import WakingRedisBroker, make_broker
from pipeline.line import Line


def nudge_message(name: str, line: Line) -> "Message[None]":
    """Make the Dramatiq message of a nudge."""
    stage, to, key = name.partition("to:")
    stage = stage.rstrip(":")
    if not to:
        return Message(queue_name=name, actor_name=name, args=(), kwargs={}, options={})
    actor = stage or line.destinations[0].name
    return Message(queue_name=actor, actor_name=actor, args=([key],), kwargs={}, options={})


class Nudger:
    """Enqueues nudges on a broker of its own, or on the one given."""

    def __init__(self, url: str, line: Line, broker: WakingRedisBroker | None = None) -> None:
        self._broker = broker or make_broker(url)
        self._line = line
        for stage in line.stages:
            self._broker.declare_queue(stage.name)

    def send(self, names: Sequence[str]) -> None:
        """Enqueue nudges. Raises redis errors; the caller may drop them, as the sweep nudges again."""
        for name in names:
            self._broker.enqueue(nudge_message(name, self._line))
