"""Section `[backpressure]`: how full the queue, Redis and the disks may become before new mail is put off.

Near a limit each reply to a message waits a little, up to a second; at the limit new mail hears 452 4.3.1, and mail
that was taken before goes on. What the limits mean stands in `pipeline.accept.pressure`.
"""

from pydantic import Field, model_validator

from pipeline.settings import Section
from pipeline.values import Room


class Backpressure(Section):
    """`[backpressure]`: when new mail waits, and when it is put off."""

    max_queue: int = Field(1_000_000, ge=0, description="messages in the queue at which new ones hear 452; 0: no limit")
    slow_queue: int = Field(
        0, ge=0, description="messages in the queue from which on replies wait; 0: nine tenths of `max_queue`"
    )
    max_memory: Room = Field(
        0,
        description="memory of Redis, in octets, that new mail may fill; 0, and at most: nine tenths of its "
        "`maxmemory`, if it has one",
    )
    min_disk_free: Room = Field(
        256 * 1024**2,
        description="room that new mail leaves on the disks of the embedded Redis, of content in files and of the log; "
        "replies wait from twice as much on; 0: no limit",
    )

    @model_validator(mode="after")
    def _in_order(self) -> "Backpressure":
        if self.max_queue and self.slow_queue >= self.max_queue:
            raise ValueError(f"slow_queue is {self.slow_queue}, expected less than max_queue ({self.max_queue})")
        return self
