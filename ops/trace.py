"""Tell a message's story: from its log lines and what the ledger still knows.

`story` is pure: lines in any order (several processes write one log, or several logs) become text in the order of
time. Lines that are no events are counted and passed over. Reports and copies that belong to the message are named,
so that their own story can be asked for. Times are UTC. What strangers said is made inert.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from ops.inert import inert
from pipeline.store.changes import Stored
from stages.message import FINAL

Event = Mapping[str, Any]


@dataclass(slots=True)
class Reading:
    """What a log holds about one message, in the order of time, and how many lines could not be read."""

    events: list[Event] = field(default_factory=list)
    unread: int = 0


def read(lines: Iterable[str], message: str) -> Reading:
    """Pick the events about a message out of log lines."""
    reading = Reading()
    for line in lines:
        if message not in line:  # cheaper than reading every line of a large log
            continue
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            reading.unread += 1
            continue
        if isinstance(event, dict) and concerns(event, message):
            reading.events.append(event)
    reading.events.sort(key=lambda event: str(event.get("timestamp", "")))  # stable: equal times stay in file order
    return reading


def concerns(event: Event, message: str) -> bool:
    """Tell whether an event belongs to the story of a message."""
    if message in {event.get("message"), event.get("notice")}:
        return True
    return str(event.get("group", "")).partition("/")[0] == message


def story(message: str, reading: Reading, stored: Stored | None) -> str:
    """Write the story: what happened, then where each recipient stands."""
    lines = [f"message {message}"]
    for event in reading.events:
        lines += _told(event, message)
    if not reading.events:
        lines.append("  the log holds nothing about it")
    if reading.unread:
        lines.append(f"  ({reading.unread} lines name it and are no events: they were passed over)")
    lines += ["", *_standing(stored)]
    return "\n".join(map(inert, lines))


def _told(event: Event, message: str) -> list[str]:
    when = str(event.get("timestamp", ""))[:23].replace("T", " ")
    first, *rest = sentences(event, message)
    return [f"  {when}  {first}", *(f"  {'':23}    {line}" for line in rest)]


def sentences(event: Event, message: str) -> list[str]:
    """Tell one event of the story of a message: what happened, then what else is known of it. Nothing is made inert."""
    match event.get("event"):
        case "message.accepted":
            peer = f" from {event['peer']}" if event.get("peer") else ""
            people = f"{event.get('sender') or '<>'} -> {_people(event)}"
            return [f"accepted by {event.get('source', '?')}{peer}: {people}, {event.get('size', '?')} octets"]
        case "message.done":
            return ["done: the last recipient is settled"]
        case "bounce.sent" if event.get("notice") == message:
            return [f"this is the {event.get('kind', '')} report about message {event.get('message')}"]
        case "bounce.sent":
            return [f"{event.get('kind', '')} report {event.get('notice')} to {event.get('to')} about {_people(event)}"]
        case "stage.verdict":
            return _verdict(event)
        case "delivery.attempt":
            return _attempt(event)
        case "stage.error":
            return [f"fault of ours in stage {event.get('stage')}: {event.get('error')}; the mail stays and is retried"]
        case "queue.action":
            why = f" ({event['reason']})" if event.get("reason") else ""
            return [f"operator: {event.get('action')} {event.get('recipient')}: {event.get('outcome')}{why}"]
        case "lease.lost":
            return ["work on it was finished too late and was not counted; somebody else has it"]
        case other:
            skip = {"event", "timestamp", "level", "role", "pid", "message"}
            return [f"{other}: " + ", ".join(f"{key} {value}" for key, value in event.items() if key not in skip)]


def _people(event: Event) -> str:
    people = event.get("recipients") or ()
    shown = ", ".join(map(str, people[:5]))
    return f"{shown} and {len(people) - 5} more" if len(people) > 5 else shown


def _verdict(event: Event) -> list[str]:
    words = {"proceed": "goes on", "defer": "waits", "refuse": "refused", "done": "settled"}
    word = words.get(str(event.get("verdict")), str(event.get("verdict")))
    target = f" [{event['destination']}]" if event.get("destination") else ""
    why = f"{event.get('code')} {event.get('status')} {event.get('text')}"
    lines = [f"{event.get('stage')}: {word}: {_people(event)}{target}: {why}"]
    if event.get("reply"):
        lines.append(f"{event.get('remote') or 'they'} said: {event['reply']}")
    facts = event.get("facts") or {}
    mx = facts.get("mx")
    if mx is not None:
        lines.append(f"MX {mx}")
    for kind in ("hosts", "skipped"):
        lines += [_host(kind, host) for host in facts.get(kind) or ()]
    return lines


def _host(kind: str, host: Any) -> str:
    if not isinstance(host, Mapping):
        return f"{kind}: {host}"
    name = host.get("host", "?")
    if kind == "skipped":
        return f"left out {name}: {host.get('trouble', '')} {host.get('text', '')}"
    known = {key: value for key, value in host.items() if key not in {"host", "preference", "demand"} and value}
    shown = ", ".join(f"{key} {_flat(value)}" for key, value in known.items())
    return f"host {name} ({host.get('demand', '?')})" + (f": {shown}" if shown else "")


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} {_flat(one)}" for key, one in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_flat, value)) + "]"
    return str(value)


def _attempt(event: Event) -> list[str]:
    place = f"{event.get('host')} [{event.get('address')}]:{event.get('port')}"
    outcome = event.get("outcome")
    if outcome == "session":
        said = f"good for mail, security {event.get('security')}"
    else:
        said = f"not used: {outcome} {event.get('text', '')}".rstrip()
    lines = [f"tried {place}, demand {event.get('demand')}: {said} ({event.get('seconds', 0):.3f} s)"]
    if event.get("reply"):
        lines.append(f"{event.get('host')} said: {event['reply']}")
    tls = event.get("tls") or {}
    if tls:
        lines.append("TLS " + ", ".join(f"{key} {_flat(value)}" for key, value in tls.items() if value))
    if event.get("audit_failure"):
        lines.append(f"enforcing would have refused: {event['audit_failure']}")
    return lines


def _standing(stored: Stored | None) -> list[str]:
    if stored is None:
        return ["now: the ledger does not know it (settled mail is forgotten after ten minutes)"]
    lines = ["now:"]
    for recipient in stored.message.recipients:
        where = stored.places[recipient.id]
        place = "" if recipient.state in FINAL or where == str(recipient.state) else f" in {where}"
        copy = f" (copy by rule {recipient.copy_rule})" if recipient.copy_rule else ""
        later = (
            f", next attempt {recipient.next_attempt.isoformat(timespec='seconds')}" if recipient.next_attempt else ""
        )
        why = f": {recipient.reason.code} {recipient.reason.text}" if recipient.reason else ""
        tries = f", attempts {recipient.attempts}" if recipient.attempts else ""
        lines.append(f"  {recipient.id} {recipient.address}{copy}: {recipient.state}{place}{tries}{later}{why}")
    return lines
