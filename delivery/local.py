"""Answers whose security is proven here, from the trust anchors down, over any resolver that passes DNSSEC records.

Each question is asked with CD=1 and DO=1, and so is whatever `delivery.dnssec` lacks to judge the answer. Equal
questions under way share one asking, and what was proven of zones is kept until the proof expires. What turns out bogus
is asked for once more, over TCP, before that is the verdict. A lookup that fails, whatever it was for, is a failure and
never "insecure".
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import dns.exception
import dns.name
import dns.rdatatype

from delivery.dnssec.anchors import ROOT, Anchors
from delivery.dnssec.limits import Budget, Rules
from delivery.dnssec.replies import Link, Outcome, Reply, Response, Status, Unanswered
from delivery.dnssec.validator import validate
from delivery.dnssec.zones import Known
from delivery.nameserver import NoResponse, Server, exchange
from delivery.responses import SECOND, Lifetimes, failure_of, records_of, text_of
from delivery.turns import Slices, Turns
from delivery.zonekeys import SharedKeys, Zones
from stages.answer import Absent, Answer, ExtendedError, Failed, Failure, Found, Proof, Question, Security


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """Trust anchors, what is supported and how much work a question may cost, seconds of patience for one try."""

    anchors: Anchors = ROOT
    rules: Rules = field(default_factory=Rules)
    patience: float = 5.0
    lifetimes: Lifetimes = field(default_factory=Lifetimes)


@dataclass(frozen=True, slots=True)
class _Way:
    """Whom to ask, and whether over TCP only."""

    server: Server
    only_tcp: bool = False


class LocalValidator:
    """Asks resolvers and judges what they say. One for each process."""

    def __init__(
        self,
        settings: LocalSettings,
        now: Callable[[], datetime],
        on_event: Callable[[str, Mapping[str, Any]], None] = lambda _name, _fields: None,
        shared: SharedKeys | None = None,
    ) -> None:
        self._settings = settings
        self._now = now
        self._tell = on_event
        self._zones = Zones(shared, settings.anchors, settings.rules, on_event)
        self._turns = Turns()
        self._asking: dict[tuple[_Way, Question], asyncio.Task[Reply]] = {}

    async def ask(
        self, server: Server, question: Question, again: Server | None = None, old: Answer | None = None
    ) -> Answer:
        """Answer a question by what one resolver gives; `again` is asked after it before anything is bogus.

        What ends with an `old` answer is proven anew, else a new one could not hold any longer.
        """
        outcome = await self.judge(server, question, again, old)
        if outcome.failure is Failure.INDETERMINATE:  # there was more to do than the rules allow
            story = {"question": str(question), "resolver": str(server), "text": outcome.why}
            self._tell("resolver.limit", story)
        return answer_of(question, outcome, str(server), self._now(), self._settings.lifetimes)

    async def judge(
        self, server: Server, question: Question, again: Server | None = None, old: Answer | None = None
    ) -> Outcome:
        """Ask, ask for whatever the proof needs, and give the outcome with its chain, all within `Rules.time`."""
        limit = self._settings.rules.time.total_seconds()
        try:
            async with asyncio.timeout(limit):
                outcome = await self._proven(server, question, again or server, old)
        except TimeoutError:
            why = f"{question}: {server} took more than {limit:g} s for one question, with all that its proof needs"
            return Outcome(Status.INDETERMINATE, self._now(), (), why, None, Failure.TIMEOUT)
        await self._zones.share()
        return outcome

    async def _proven(self, server: Server, question: Question, again: Server, old: Answer | None) -> Outcome:
        """Ask, and before anything is bogus once more: over TCP, and past what is kept of the zone that it broke at.

        Both times count against one budget. The second time gives another verdict by a whole proof only: without an
        answer, or over the budget, the first stands (RFC 4035 section 5.4).
        """
        budget = Budget(self._settings.rules)
        known: Known = self._zones.known if old is None else self._zones.beyond(_names(old), old.expires + SECOND)
        outcome = await self._judged(_Way(server), question, budget, known)
        if old is not None:
            self._zones.keep(known)
        if outcome.status is not Status.BOGUS:
            return outcome
        broken = dns.name.from_text(outcome.links[-1].zone)
        known = self._zones.beyond([broken.parent()] if broken != dns.name.root else [], self._now())
        second = await self._judged(_Way(again, only_tcp=True), question, budget, known)
        if second.status not in {Status.SECURE, Status.INSECURE}:
            return outcome
        self._zones.keep(known)
        first = replace(outcome.links[-1], text=f"{outcome.why}; asked again over TCP at {again}")
        return replace(second, links=(first, *second.links))

    async def _judged(self, way: _Way, question: Question, budget: Budget, known: Known) -> Outcome:
        reply = await self._fetch(way, question)
        if known is self._zones.known and isinstance(reply, Response):
            await self._zones.fetch(_places(question, reply), self._now())
        work = validate(question, reply, self._settings.anchors, budget, self._now(), known)
        signers = _signers(reply)
        ahead: dict[Question, asyncio.Task[Reply]] = {}
        slices = Slices(self._turns)
        go_on = partial(next, work)
        try:
            while True:
                async with slices:
                    wanted = go_on()
                if wanted is None:
                    slices.pause()
                    go_on = partial(next, work)
                    continue
                # the keys of a zone that signed are what will be wanted next; once, as names of signers cost nothing
                if wanted.rdtype == "DS" and wanted.name in signers and not ahead:
                    keys = Question(wanted.name, "DNSKEY")
                    ahead[keys] = self._asked(way, keys)
                reply = await (asyncio.shield(ahead[wanted]) if wanted in ahead else self._fetch(way, wanted))
                go_on = partial(work.send, reply)
        except StopIteration as done:
            outcome: Outcome = done.value
            return outcome

    def is_switched_off(self, question: Question) -> bool:
        """Tell whether the name lies at or below a negative trust anchor that is in force."""
        anchors = self._settings.anchors
        try:
            return bool(anchors.negative) and bool(anchors.negative_for(dns.name.from_text(question.name), self._now()))
        except dns.exception.DNSException:  # it is no name; whoever asks for it will be told
            return False

    async def forget(self) -> None:
        """Forget what was proven of zones, for other processes, too."""
        await self._zones.forget()

    async def _fetch(self, way: _Way, question: Question) -> Reply:
        return await asyncio.shield(self._asked(way, question))

    def _asked(self, way: _Way, question: Question) -> asyncio.Task[Reply]:
        """Ask, or join those who wait for the same."""
        key = (way, question)
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._exchange(way, question))
            task.add_done_callback(lambda _task: self._asking.pop(key, None))
        return task

    async def _exchange(self, way: _Way, question: Question) -> Reply:
        try:
            response = await exchange(
                way.server, question, patience=self._settings.patience, checking_disabled=True,
                most_records=self._settings.rules.records, only_tcp=way.only_tcp,
            )  # fmt: skip
        except NoResponse as error:
            return Unanswered(error.failure, str(error))
        failure = failure_of(response)
        if failure is not None:
            return Unanswered(failure, f"{way.server} answered {failure.upper()}")
        return Response.of(response)


def _signers(reply: Reply) -> frozenset[str]:
    """Name the zones that the signatures in a response are by, if they are: nothing is believed of them yet."""
    if not isinstance(reply, Response):
        return frozenset()
    return frozenset(
        text_of(signature.signer)
        for rrset in (*reply.answer, *reply.authority)
        if rrset.rdtype == dns.rdatatype.RRSIG
        for signature in rrset
    )


def _places(question: Question, reply: Response) -> Iterator[dns.name.Name]:
    """Give names at or above which the zones are that a response needs for its proof."""
    yield dns.name.from_text(question.name)
    yield from map(dns.name.from_text, sorted(_signers(reply)))
    yield from (rrset.name for rrset in reply.answer)


def _names(answer: Answer) -> Iterator[dns.name.Name]:
    """Give the names at which the records of an answer stand."""
    yield dns.name.from_text(answer.question.name)
    if not isinstance(answer, Failed):
        yield from map(dns.name.from_text, answer.aliases)


def answer_of(question: Question, outcome: Outcome, source: str, now: datetime, lifetimes: Lifetimes) -> Answer:
    """Turn an outcome into an answer."""
    chain = tuple(line(link) for link in outcome.links)
    match outcome.status:
        case Status.BOGUS:
            ede = () if outcome.code is None else (ExtendedError(outcome.code, outcome.why),)
            return Failed(question, Failure.BOGUS, outcome.why, outcome.expires, ede, (Proof.VALIDATOR,), source, chain)
        case Status.INDETERMINATE:
            failure = outcome.failure or Failure.INDETERMINATE
            return Failed(question, failure, outcome.why, now + lifetimes.failed, (), (), source, chain)
        case Status.SECURE | Status.INSECURE:
            pass
    security = Security.SECURE if outcome.status is Status.SECURE else Security.INSECURE
    aliases = tuple(text_of(name) for name in outcome.aliases)
    canonical = aliases[-1] if aliases else question.name
    if outcome.rrset is None:
        until = min(outcome.expires, now + lifetimes.absent)
        return Absent(question, security, outcome.nxdomain, canonical, aliases, until, source, chain)
    until = min(outcome.expires, now + lifetimes.found)
    return Found(question, security, records_of(outcome.rrset), canonical, aliases, until, source, chain)


def line(link: Link) -> str:
    """Write one step of a chain as a line."""
    return f"{link.zone}: {link.what}: {link.status}: {link.text}"
