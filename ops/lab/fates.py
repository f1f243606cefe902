"""What became of each recipient, learnt from danepipe's log and from the lab's mail hosts, and never from its insides.

`Fates.read` takes new lines of the log file; `Fates.of` tells where a recipient's message is now. A message counts as
delivered when a host of the lab has it, and as reported when the report has arrived at the sender's host.
"""

import email
import email.policy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from ops.lab.mailhost import Received
from ops.lab.scenario import Expected, Outcome

_TRIES = 2  # a message counts as waiting for good once its second attempt has failed like the first


@dataclass(slots=True)
class _Seen:
    """What the log says of one recipient."""

    message: str = ""
    verdict: str = ""  # the last one that was not "proceed"
    code: str = ""
    security: str = ""
    text: str = ""
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Fate:
    """Where a recipient's message is now, in the terms of what is expected, and why."""

    got: Expected | None
    where: str
    text: str = ""
    final: bool = False

    def agrees(self, expected: Expected) -> bool:
        """Tell whether it came as expected."""
        return self.got == expected


@dataclass(slots=True)
class Fates:
    """Follows a log file; `events` counts the lines of each kind."""

    path: Path
    events: dict[str, int] = field(default_factory=dict)
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _offset: int = 0

    def read(self) -> None:
        """Take in what has been added to the file since. A line that is still being written is left for later."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            self._take(json.loads(line))

    def _take(self, event: Mapping[str, Any]) -> None:
        kind = str(event["event"])
        self.events[kind] = self.events.get(kind, 0) + 1
        if kind != "stage.verdict" or event["verdict"] == "proceed":
            return
        for recipient in event["recipients"]:
            seen = self._seen.setdefault(recipient, _Seen())
            seen.message, seen.verdict, seen.code = event["message"], event["verdict"], event["code"]
            seen.text, seen.tries = event["text"], seen.tries + 1
            seen.security = str(event["facts"].get("security", ""))

    def of(self, recipient: str, delivered: frozenset[str], reported: frozenset[str]) -> Fate:
        """Tell where the message to a recipient is now, given who has it and of whom the sender was told."""
        seen = self._seen.get(recipient)
        if seen is None:
            return Fate(None, "no verdict yet")
        match seen.verdict:
            case "done":
                got = Expected(Outcome.DELIVERED, tls=seen.security)
                if recipient in delivered:
                    return Fate(got, "delivered", seen.text, final=True)
                return Fate(None, "called delivered, and no host has it", seen.text)
            case "refuse":
                if recipient in reported:
                    return Fate(Expected(Outcome.REPORTED, seen.code), "reported to the sender", seen.text, final=True)
                return Fate(None, f"refused ({seen.code}), no report has arrived", seen.text)
            case _:
                got = Expected(Outcome.DEFERRED, seen.code)
                return Fate(got, f"waits, tried {seen.tries} times", seen.text, final=seen.tries >= _TRIES)


def delivered_to(messages: Iterable[Received]) -> frozenset[str]:
    """Name the recipients whose message a host has taken."""
    return frozenset(recipient for message in messages for recipient in message.recipients)


def reported_in(messages: Iterable[Received]) -> frozenset[str]:
    """Name the recipients whose failure the delivery reports among the messages tell of (RFC 3464)."""
    return frozenset(name for message in messages if not message.sender for name in _failed(message.content))


def _failed(content: bytes) -> Iterator[str]:
    parsed = email.message_from_bytes(content, policy=email.policy.default)
    for part in parsed.walk():
        if part.get_content_type() in {"message/delivery-status", "message/global-delivery-status"}:
            for block in part.iter_parts() if isinstance(part, EmailMessage) else ():
                if str(block.get("Action", "")).strip().lower() == "failed":
                    yield str(block.get("Final-Recipient", "")).partition(";")[2].strip()
