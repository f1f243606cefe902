"""Count every message: accepted = delivered + reported + still queued, and nothing twice without a lost 250.

A message bears a name of its own in its recipient, and each try of a client has another one. What the client heard is
held against what the far end took, and neither against what danepipe says of itself; that tells only what it still
has. A second delivery is explained if, when it was complete, no earlier one had been heard of: the far end had given no
250, or danepipe had not gone on far enough on that connection to have recorded it, and may have died before. One that
stood still for so long that its lease was over may record it later; by then the message may be in other hands.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What is left of the shortest lease, in seconds, when it is to be prolonged: who is silent for so long may lose it.
STILL = 10 / 3


@dataclass(slots=True)
class Delivery:
    """A message that the far end has as a whole, since `at`, in seconds of one clock.

    `answered`: when the far end said 250 (None: never); `heard`: when danepipe showed that it has recorded that.
    """

    at: float
    answered: float | None = None
    heard: float | None = None

    def explains(self, later: "Delivery") -> bool:
        """Tell whether a later copy may be owed to the reply to this one."""
        if self.answered is None or self.heard is None or self.heard > later.at:
            return True
        return self.heard - self.answered >= STILL


@dataclass(slots=True)
class Entry:
    """One message: what its client heard, and what came of it."""

    name: str
    sent: bool = False  # the client got as far as the final dot
    id: str = ""  # danepipe's, from its 250: it was accepted
    deliveries: list[Delivery] = field(default_factory=list)
    reports: list[Delivery] = field(default_factory=list)
    queued: bool = False

    @property
    def fate(self) -> str:
        """Say where it is."""
        if self.deliveries:
            fate = "delivered"
        elif self.reports:
            fate = "reported"
        elif self.queued:
            fate = "queued"
        else:
            return "lost" if self.id else "refused"
        return fate if self.id else f"{fate}, though not promised"

    def again(self) -> tuple[int, int]:
        """Count the deliveries (and reports) beyond the first: those explained by a lost 250, and the others."""
        explained = unexplained = 0
        for times in (self.deliveries, self.reports):
            for number, one in enumerate(times):
                if number and not all(before.explains(one) for before in times[:number]):
                    unexplained += 1
                elif number:
                    explained += 1
        return explained, unexplained

    def fault(self) -> str:
        """Say which promise was broken; empty if none was."""
        if self.fate == "lost":
            return "lost"
        if self.deliveries and self.reports:
            return "delivered and reported"
        return "twice, unexplained" if self.again()[1] else ""

    def as_json(self) -> dict[str, Any]:
        """Give it in values that JSON can hold."""
        explained, unexplained = self.again()
        return {
            "name": self.name, "id": self.id, "fate": self.fate, "deliveries": len(self.deliveries),
            "reports": len(self.reports), "explained": explained, "unexplained": unexplained, "fault": self.fault(),
            "times": [(one.at, one.answered, one.heard) for one in (*self.deliveries, *self.reports)],
        }  # fmt: skip


@dataclass(slots=True)
class Tally:
    """All messages of a run, by name."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def of(self, name: str) -> Entry:
        """Give the entry of a name."""
        return self.entries.setdefault(name, Entry(name))

    def accepted(self) -> list[Entry]:
        """List what was answered with 250."""
        return [one for one in self.entries.values() if one.id]

    def open(self) -> Iterator[Entry]:
        """Give what was accepted and has not come to its end."""
        return (one for one in self.entries.values() if one.id and not one.deliveries and not one.reports)

    def faults(self) -> list[Entry]:
        """List the messages over which a promise was broken."""
        return [one for one in self.entries.values() if one.fault()]

    def copies(self) -> int:
        """Count the deliveries and reports beyond the first of each message."""
        return sum(sum(one.again()) for one in self.entries.values())

    def sum(self) -> str:
        """Say it in one line."""
        accepted = self.accepted()
        fates = [one.fate for one in accepted]
        again = [one.again() for one in self.entries.values()]
        others = [one.fate for one in self.entries.values() if not one.id]
        text = (
            f"{len(accepted)} accepted = {fates.count('delivered')} delivered + {fates.count('reported')} reported"
            f" + {fates.count('queued')} queued"
        )
        if "lost" in fates:
            text += f" + {fates.count('lost')} LOST"
        text += f"; {sum(one for one, _ in again)} copies after a lost 250"
        text += f", {sum(one for _, one in again)} UNEXPLAINED" if any(one for _, one in again) else ""
        both = sum(1 for one in self.entries.values() if one.deliveries and one.reports)
        text += f", {both} delivered AND reported" if both else ""
        kept = sum(1 for fate in others if fate != "refused")
        return text + f"; {len(others)} not accepted, of which {kept} were kept all the same"

    def write(self, path: Path, fault: str) -> None:
        """Add every message to a file, a JSON object a line."""
        with path.open("a", encoding="utf-8") as file:
            for one in self.entries.values():
                file.write(json.dumps({"scenario": fault, **one.as_json()}) + "\n")
