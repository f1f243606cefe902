"""Section `[circuit]`: for how long an address is left alone that could not be reached."""

from datetime import timedelta

from pydantic import Field, model_validator

from pipeline.settings import Section
from pipeline.store.gates import Pauses
from pipeline.values import Duration, Positive, format_duration


class Circuit(Section):
    """`[circuit]`: pauses after an address could not be connected to, kept silent, hung up or asked to come later."""

    pause: Duration = Field(timedelta(seconds=30), description="first pause; 0s: every delivery tries anew")
    longest: Duration = Field(timedelta(minutes=30), description="longest pause; each is twice the one before")
    jitter: float = Field(0.1, ge=0, le=0.5, description="share by which a pause varies at random")
    refusals: Positive = Field(3, description="greetings of 4yz in a row that begin a pause")

    @model_validator(mode="after")
    def _in_order(self) -> "Circuit":
        if self.longest < self.pause:
            longest, pause = format_duration(self.longest), format_duration(self.pause)
            raise ValueError(f"longest ({longest}) is shorter than pause ({pause})")
        return self

    def pauses(self) -> Pauses:
        """Give them as the store takes them."""
        return Pauses(self.pause, self.longest, self.jitter, self.refusals)
