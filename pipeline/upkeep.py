"""Sections `[metrics]` and `[recheck]`: what is told of the work as a whole, and exclusions that are tried anew."""

from datetime import timedelta

from pydantic import Field, field_validator

from pipeline.settings import Section
from pipeline.values import Endpoint, Patience


class MetricsSection(Section):
    """`[metrics]`: figures for Prometheus."""

    listen: Endpoint | None = Field(
        None,
        description="address and port where `up` and `accept` give figures at /metrics; `work` takes the next port, "
        "`clock` the second after it, `api` the third, `webhooks` the fourth, `console` the fifth; default: none. "
        "Whoever reaches it may read it: loopback, or a network of yours",
    )

    @field_validator("listen")
    @classmethod
    def _with_room(cls, listen: str | None) -> str | None:
        if listen is not None and not 1 <= int(listen.rpartition(":")[2]) <= 65531:
            raise ValueError(f"{listen!r}: the four ports after it are ours too, so it is 1 to 65531")
        return listen


class Recheck(Section):
    """`[recheck]`: domains that are excluded from DANE, tried with DANE by the clock, without mail."""

    every: Patience = Field(
        timedelta(days=1),
        description="time between two tries of a domain; off: none. There are six tries an hour at most, over all "
        "domains and clocks",
    )

    @property
    def pause(self) -> timedelta | None:
        """Give `every`; None for never."""
        return None if isinstance(self.every, str) else self.every
