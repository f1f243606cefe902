"""Stories of zones in files: what is asked and when, what comes of it and why, and all replies that a validator gets.

A file has a header of `key: value` lines, the trust anchors, and a reply for each question, `> NAME TYPE`: RCODE, flags
such as AD, and records by section as zone files write them. What is asked and has no reply gets no response. `read` and
`write` are the form, `drive` lets the validator judge a story, and `differences` compares what it says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from delivery.dnssec.anchors import Anchors
from delivery.dnssec.limits import Budget, Rules
from delivery.dnssec.replies import Outcome, Reply, Response, Status, Unanswered
from delivery.dnssec.validator import validate
from delivery.responses import extended_errors, rcode_failure
from stages.answer import Failure, Question
from stages.status import EDE_LOCAL_POLICY

CORPUS = Path(__file__).parents[1] / "corpus"
_NUMBERS = {"algorithms", "digests"}  # rules that are sets of numbers
_TIMES = {"skew", "bogus_ttl"}  # rules that are seconds


@dataclass(frozen=True, slots=True)
class Story:
    """A story: the first fields are its header, with what has to come of it.

    `finds` is "records", "no records" or "no name" (empty where there is no answer), `proof` a piece of a line of the
    chain, `ttl` seconds for which the outcome may be kept. `rules` are fields of `Rules` as `name=value`, and `negative`
    names a negative trust anchor and until when it holds.
    """

    story: str
    requires: tuple[str, ...]
    question: Question
    now: datetime
    status: Status
    finds: str = ""
    why: str = ""
    proof: str = ""
    ede: int | None = None
    failure: str = ""
    ttl: int | None = None
    aliases: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    negative: str = ""
    anchor: str = ""
    replies: Mapping[Question, dns.message.Message] = field(default_factory=dict)

    @property
    def anchors(self) -> Anchors:
        """Give the trust anchors."""
        believed = Anchors.parse(self.anchor)
        if not self.negative:
            return believed
        name, until = self.negative.split()
        return Anchors(believed.zones, {dns.name.from_text(name): datetime.fromisoformat(until)})


# The form


def question(text: str) -> Question:
    """Read `NAME TYPE`."""
    name, rdtype = text.split()
    return Question(name, rdtype)


def read(path: Path) -> Story:
    """Read a file. Raises ValueError and KeyError for what has not the form of a story."""
    blocks = [block.splitlines() for block in path.read_text(encoding="utf-8").strip().split("\n\n")]
    head = dict(line.split(": ", 1) for line in blocks[0])
    if blocks[1][0] != "anchor":
        raise ValueError(f"{path}: the trust anchors come after the header")
    values: dict[str, Any] = {
        "story": head.pop("story"),
        "requires": tuple(head.pop("requires").split()),
        "question": question(head.pop("question")),
        "now": datetime.fromisoformat(head.pop("now")),
        "status": Status(head.pop("status")),
    }
    for name in ("ede", "ttl"):
        if name in head:
            values[name] = int(head.pop(name))
    for name in ("aliases", "rules"):
        values[name] = tuple(head.pop(name, "").split())
    replies = dict(_reply(lines) for lines in blocks[2:])
    return Story(**values, **head, anchor="\n".join(blocks[1][1:]), replies=replies)  # type: ignore[arg-type]


def _reply(lines: list[str]) -> tuple[Question, dns.message.Message]:
    asked = question(lines[0].removeprefix("> "))
    rcode, *flags = lines[1].split()
    message = dns.message.make_query(asked.name, asked.rdtype, use_edns=0, want_dnssec=True, id=0)
    message.flags = dns.flags.from_text(" ".join(["QR", *flags]))
    message.set_rcode(dns.rcode.from_text(rcode))
    section = message.answer
    for line in lines[2:]:
        if line in {"answer", "authority"}:
            section = getattr(message, line)
        elif line.startswith("ede "):
            _, code, text = line.split(" ", 2)
            message.use_edns(
                0, ednsflags=dns.flags.DO, options=[dns.edns.EDEOption(dns.edns.EDECode.make(int(code)), text)]
            )
            message.set_rcode(dns.rcode.from_text(rcode))
        else:
            _add(section, line)
    return asked, message


def _add(section: list[dns.rrset.RRset], line: str) -> None:
    owner, ttl, rdclass, rdtype, rdata = line.split(None, 4)
    made = dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, rdata)
    for there in section:
        if (there.name, there.rdtype, there.covers) == (made.name, made.rdtype, made.covers):
            there.add(made[0], made.ttl)
            return
    section.append(made)


def write(story: Story) -> str:
    """Give the text of the file."""
    head = []
    for one in fields(story)[:-2]:
        value = getattr(story, one.name)
        if isinstance(value, tuple):
            value = " ".join(value)
        elif isinstance(value, Question):
            value = f"{value.name} {value.rdtype}"
        elif isinstance(value, datetime):
            value = value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        if value not in {None, ""}:
            head.append(f"{one.name}: {value}")
    blocks = ["\n".join(head), f"anchor\n{story.anchor}"]
    for asked, message in story.replies.items():
        flags = dns.flags.to_text(message.flags & dns.flags.AD)
        lines = [f"> {asked.name} {asked.rdtype}", f"{dns.rcode.to_text(message.rcode())} {flags}".strip()]
        lines += [f"ede {one.code} {one.text}" for one in extended_errors(message)]
        for name in ("answer", "authority"):
            section = getattr(message, name)
            lines += [name] * bool(section) + [rrset.to_text() for rrset in section]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


# The judge


def reply_to(asked: Question, message: dns.message.Message | None) -> Reply:
    """Give a message as the validator is sent it, with CD=1 asked for; None is no response."""
    if message is None:
        return Unanswered(Failure.TIMEOUT, "no response")
    failure = rcode_failure(message)
    if failure is None and any(error.code in EDE_LOCAL_POLICY for error in extended_errors(message)):
        failure = Failure.BLOCKED
    return Response.of(message) if failure is None else Unanswered(failure, f"answered {failure.upper()}")


def rules(words: tuple[str, ...]) -> Rules:
    """Read rules: seconds for times, numbers joined by commas for sets."""
    values: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name in _NUMBERS:
            values[name] = frozenset(int(number) for number in value.split(","))
        else:
            made = timedelta(seconds=int(value)) if name in _TIMES else int(value) if value.isdigit() else value
            values[name] = made
    return Rules(**values)


def drive(story: Story) -> tuple[Outcome, tuple[Question, ...]]:
    """Let the validator judge a story; the questions are those that it asked, the first one too."""
    asked = [story.question]
    reply = reply_to(story.question, story.replies.get(story.question))
    work = validate(story.question, reply, story.anchors, Budget(rules(story.rules)), story.now, {})
    try:
        wanted = next(work)
        while True:
            if wanted is None:
                wanted = next(work)
                continue
            asked.append(wanted)
            wanted = work.send(reply_to(wanted, story.replies.get(wanted)))
    except StopIteration as done:
        outcome: Outcome = done.value
        return outcome, tuple(asked)


def differences(story: Story, outcome: Outcome) -> Iterator[str]:
    """Say where an outcome is not what the story expects, a line for each difference."""
    code = outcome.code if outcome.status in {Status.BOGUS, Status.INDETERMINATE} else None
    ttl = int((outcome.expires - story.now).total_seconds())
    finds = "" if outcome.status not in {Status.SECURE, Status.INSECURE} else "no records"
    if finds:
        finds = "records" if outcome.rrset is not None else "no name" if outcome.nxdomain else finds
    aliases = tuple(name.to_text(omit_final_dot=True) for name in outcome.aliases)
    for what, expected, actual in (
        ("status", story.status, outcome.status),
        ("finds", story.finds, finds),
        ("ede", story.ede, code),
        ("failure", story.failure, outcome.failure or ""),
        ("ttl", story.ttl, ttl if story.ttl is not None else None),
        ("aliases", story.aliases, aliases if finds else story.aliases),
    ):
        if expected != actual:
            yield f"{what} is {actual!s}, expected {expected!s}"
    if story.why not in outcome.why or bool(story.why) != bool(outcome.why):
        yield f"why is {outcome.why!r}, expected {story.why!r}"
    if not any(story.proof in link.text for link in outcome.links) and story.proof:
        yield f"the chain has no {story.proof!r}: {[link.text for link in outcome.links]}"
