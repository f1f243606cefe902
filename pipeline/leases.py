"""What a worker knows of its lease, so that it stops by itself when somebody else may have the work."""

import time
from datetime import timedelta


class LeaseOver(Exception):  # noqa: N818 - it says what happened
    """A lease may have run out, as after standing still: somebody else may have the work, and goes on with it."""


class Lease:
    """What a worker knows of its lease: until when it is surely ours, by a clock that nobody can set.

    Redis counts it from when it was asked for or later, so it is counted from there.
    """

    def __init__(self, token: str, length: timedelta) -> None:
        self.token = token
        self.length = length
        self._until = self.asked() + length.total_seconds()

    @staticmethod
    def asked() -> float:
        """Give the moment, to pass on to `given`."""
        return time.monotonic()

    def given(self, asked: float) -> None:
        """Note that it was taken or prolonged."""
        self._until = asked + self.length.total_seconds()

    def check(self) -> None:
        """Raise `LeaseOver` unless it is ours."""
        if time.monotonic() >= self._until:
            raise LeaseOver(self.token)
