"""The one door to DNS: a question in, an answer out, with how far it may be believed.

Security comes from the AD bit of a validating resolver, believed only on loopback or where the operator says so, and
only while the resolver passes its self-test: one begun after a bogus answer came, or shortly before any other. When
one no longer passes, what was kept of answers is thrown away. While none passes, every answer is `Failed(SUSPENDED)`:
mail waits, nothing is downgraded, nothing bounces. A question for which security does not matter (DANE is off or does
not apply: `needs_security=False`) is answered all the same, as insecure. SERVFAIL is asked again with CD=1 and read
with its extended errors, to tell bogus from broken (RFC 4035 section 3.2.2, RFC 8914). `ask` never raises for what
DNS does.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import dns.flags
import dns.message
import dns.rcode

from delivery.agreement import agreed
from delivery.dnssec.anchors import ROOT, Anchors
from delivery.dnssec.limits import DEFAULT, Rules
from delivery.doubt import doubt
from delivery.kept import Kept, Key, SharedCache
from delivery.local import LocalSettings, LocalValidator
from delivery.nameserver import NoResponse, Server, exchange, fetch, system_servers
from delivery.plain import read_plain
from delivery.responses import Lifetimes, extended_errors, failure_of, rcode_failure, read
from delivery.trust import Canary, Examination, Expected, Source, examine_as
from delivery.zonekeys import SharedKeys
from stages.answer import Answer, Failed, Failure, Proof, Question
from stages.status import EDE_BOGUS, ede_text


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """Resolvers (none: the system's), networks whose AD bit is believed, patience for one try, tries, canaries.

    `vouch` is how old the self-test may be on which a new answer rests.
    """

    servers: tuple[Server, ...] = ()
    validation: Literal["auto", "trusted", "local", "both"] = "auto"
    anchors: Anchors = ROOT
    rules: Rules = DEFAULT
    trust: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    timeout: timedelta = timedelta(seconds=5)
    attempts: int = 3
    canaries: tuple[Canary, ...] = (Canary(Question(".", "SOA"), Expected.SECURE),)
    vouch: timedelta = timedelta(seconds=10)
    lifetimes: Lifetimes = field(default_factory=Lifetimes)


class Resolver:
    """Asks, keeps answers for their lifetime, and watches over its resolvers. One for each process."""

    def __init__(
        self,
        settings: DnsSettings,
        *,
        now: Callable[[], datetime],
        shared: SharedCache | None = None,
        shared_keys: SharedKeys | None = None,
        on_event: Callable[[str, Mapping[str, Any]], None] = lambda _name, _fields: None,
    ) -> None:
        self._settings = settings
        self._servers = settings.servers or system_servers()
        self._now = now
        self._tell = on_event
        self._kept = Kept(shared, now, on_event)
        self._asking: dict[Key, asyncio.Task[Answer]] = {}
        self._examined: dict[Server, Examination] = {}
        patience = settings.timeout.total_seconds()
        local = LocalSettings(settings.anchors, settings.rules, patience, settings.lifetimes)
        self._local = LocalValidator(local, now, on_event, shared_keys)
        self._checking = asyncio.Lock()
        self._checked: datetime | None = None  # when the latest self-test began
        self._suspended = ""

    # Trust

    @property
    def suspended(self) -> str:
        """Say why no answer counts at present; empty if answers count."""
        return self._suspended

    @property
    def examined(self) -> tuple[Examination, ...]:
        """Give the last examination of each resolver."""
        return tuple(self._examined.values())

    async def check(self) -> tuple[Examination, ...]:
        """Examine all resolvers now, and tell of what has changed."""
        async with self._checking:
            return await self._check()

    async def _check(self) -> tuple[Examination, ...]:
        began = self._now()
        found = await asyncio.gather(*(self._examine(server) for server in self._servers))
        self._checked = began
        if any(self._examined[one.server].differs(one) for one in found if one.server in self._examined):
            await self._forget()  # nobody knows since when it has been wrong
        for one in found:
            before = self._examined.get(one.server)
            self._examined[one.server] = one
            if before is None or (before.source, before.fault) != (one.source, one.fault):
                self._tell("resolver.canary", one.told(self._settings.anchors.in_force(began)))
        faults = [one.fault for one in found if not one.passed]
        before_all = self._suspended
        if not found:
            self._suspended = "there is no resolver: set dns.servers (and no nameserver is in /etc/resolv.conf)"
        else:
            self._suspended = "; ".join(faults) if len(faults) == len(found) else ""
        if self._suspended and self._suspended != before_all:
            self._tell("resolver.suspended", {"text": f"mail that DANE concerns waits: {self._suspended}"})
        elif before_all and not self._suspended:
            self._tell("resolver.restored", {"text": "answers count again"})
        return tuple(found)

    async def _examine(self, server: Server) -> Examination:
        settings = self._settings
        patience = settings.timeout.total_seconds()
        return await examine_as(
            settings.validation, server, settings.canaries, settings.trust, patience, self._local.ask
        )

    async def _forget(self) -> None:
        await self._kept.clear()
        await self._local.forget()

    async def _is_vouched_for(self, server: Server, source: Source, answer: Answer) -> bool:
        """Tell whether a resolver passes a self-test begun after a bogus answer, or shortly before any other answer.

        What came by one way is not vouched for by another: where the AD bit fails, our own validation may still work.
        """
        if isinstance(answer, Failed) and answer.failure is not Failure.BOGUS:
            return True  # it only makes mail wait
        oldest = self._now() - (timedelta(0) if isinstance(answer, Failed) else self._settings.vouch)
        if self._checked is None or self._checked < oldest:
            async with self._checking:
                if self._checked is None or self._checked < oldest:
                    await self._check()
        return self._examined[server].passed and self._examined[server].source is source

    async def run_checks(self, interval: timedelta, told: Callable[[datetime], None] = lambda _ended: None) -> None:
        """Examine at once and then at intervals (every few seconds while suspended), until cancelled.

        `told` hears of the end of each.
        """
        while True:
            await self.check()
            told(self._now())
            soon = min(interval, timedelta(seconds=5)) if self._suspended else interval
            await asyncio.sleep(soon.total_seconds())

    async def _examined_once(self) -> None:
        if not self._examined and not self._suspended:
            async with self._checking:
                if not self._examined and not self._suspended:
                    await self._check()

    # Questions

    async def ask(self, question: Question, *, needs_security: bool = True, afresh: bool = False) -> Answer:
        """Answer from the cache, the shared cache or a resolver; callers with the same question share one asking.

        `afresh`: ask a resolver whatever is kept, and keep that instead unless it is a failure. A resolver may answer
        from its own cache, with what is left of the TTL.
        """
        await self._examined_once()
        if self._suspended and needs_security:
            return Failed(question, Failure.SUSPENDED, self._suspended, self._now())
        secured = needs_security or not self._suspended
        key = (question, secured)
        known, is_due = self._kept.take(key)
        if afresh:
            return await self._fetch(key, known, afresh=True)
        if known is None:
            return await asyncio.shield(self._asked(key))
        if is_due:
            self._asked(key, known)  # in the background
        return known

    def _asked(self, key: Key, old: Answer | None = None) -> asyncio.Task[Answer]:
        """Ask, or join those who wait for the same; `old` is an answer that still holds, so that nobody waits."""
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._fetch(key, old))
            task.add_done_callback(lambda _task: self._asking.pop(key, None))
        return task

    @property
    def _shares(self) -> bool:
        """Tell whether answers are proven here, which costs; a resolver that is believed keeps what it says itself."""
        return any(one.passed and one.source is not Source.TRUSTED for one in self._examined.values())

    async def _fetch(self, key: Key, old: Answer | None, *, afresh: bool = False) -> Answer:
        question, secured = key
        shares = secured and self._shares
        answer = await self._kept.fetch(question, old) if shares and not afresh else None
        if answer is None:
            answer = await self._from_servers(question, old, secured=secured)
            if shares:
                await self._kept.share(answer)
        self._kept.put(key, answer, old)
        return answer

    def drop(self, questions: Iterable[Question]) -> None:
        """Forget what this process keeps of some answers; what is shared stays."""
        self._kept.drop(questions)

    def _order(self, *, secured: bool) -> tuple[Server, ...]:
        """Give the resolvers to ask: where security matters, only those that pass their self-test."""
        if not secured:
            return self._servers
        return tuple(server for server in self._servers if server in self._examined and self._examined[server].passed)

    async def _from_servers(self, question: Question, old: Answer | None, *, secured: bool) -> Answer:
        lifetimes = self._settings.lifetimes
        failed = Failed(question, Failure.NETWORK, "no resolver is left to ask", self._now() + lifetimes.failed)
        for attempt in range(self._settings.attempts):
            servers = self._order(secured=secured)
            if not servers:
                break
            server = servers[attempt % len(servers)]
            source = self._examined[server].source if secured else Source.TRUSTED
            answer = await self._from_server(server, question, source, old, secured=secured)
            if secured and not await self._is_vouched_for(server, source, answer):
                continue
            if not isinstance(answer, Failed) or answer.failure in {Failure.BOGUS, Failure.CHAIN}:
                return answer
            failed = answer
            if answer.failure in {Failure.SERVFAIL, Failure.INDETERMINATE} and len(servers) == 1:
                break  # the resolver has tried for us
        if secured and self._suspended:
            return Failed(question, Failure.SUSPENDED, self._suspended, self._now())
        return failed

    async def _from_server(
        self, server: Server, question: Question, source: Source, old: Answer | None, *, secured: bool
    ) -> Answer:
        """Ask one resolver, in the way that its self-test has shown to work."""
        # a self-test gets no such help: it is about one resolver
        again = next((other for other in self._order(secured=True) if other != server), server)
        if source is Source.LOCAL or (secured and self._local.is_switched_off(question)):
            return await self._local.ask(server, question, again, old)
        if source is Source.TRUSTED:
            return await self._by_word(server, question, secured=secured)
        said, proven = await asyncio.gather(
            self._by_word(server, question, secured=True), self._local.ask(server, question, again, old)
        )
        answer = agreed(said, proven, self._now() + self._settings.lifetimes.failed)
        if isinstance(answer, Failed) and answer is not said and answer is not proven:
            story = {"question": str(question), "resolver": str(server), "text": answer.text}
            self._tell("resolver.disagreement", story)
        return answer

    async def _by_word(self, server: Server, question: Question, *, secured: bool) -> Answer:
        """Ask a resolver whose AD bit is believed, if `secured`."""
        patience = self._settings.timeout.total_seconds()
        lifetimes, source = self._settings.lifetimes, str(server)
        until = self._now() + lifetimes.failed
        try:
            fetched = await fetch(server, question, patience=patience)
            now = self._now()
            plain = read_plain(question, fetched.wire, secured=secured, now=now, lifetimes=lifetimes, source=source)
            if plain is not None:
                return plain
            response = fetched.message()
        except NoResponse as error:
            return Failed(question, error.failure, str(error), until, resolver=source)
        failure = failure_of(response)
        errors = extended_errors(response)
        if failure is None:
            authentic = secured and bool(response.flags & dns.flags.AD)
            return read(question, response, secure=authentic, now=now, lifetimes=lifetimes, source=source)
        text = f"{server} answered {dns.rcode.to_text(response.rcode())}" + "".join(
            f", EDE {error.code} ({ede_text(error.code)}{': ' if error.text else ''}{error.text})" for error in errors
        )
        made = Failed(question, failure, text, until, errors, (), source)
        if failure is not Failure.SERVFAIL:
            return made
        return await self._bogus_or_broken(server, question, made)

    async def _bogus_or_broken(self, server: Server, question: Question, failed: Failed) -> Failed:
        """Find out whether validation failed: the answer is there with CD=1, or the resolver says so by an EDE.

        Where the keys to validate with are not to be had, nothing is known (RFC 4035 section 4.3: indeterminate).
        """
        patience = self._settings.timeout.total_seconds()
        proofs: list[Proof] = []
        unchecked: dns.message.Message | None = None
        with contextlib.suppress(NoResponse):  # no second answer proves nothing
            unchecked = await exchange(server, question, patience=patience, checking_disabled=True)
            if rcode_failure(unchecked) is None:
                proofs.append(Proof.CD_REQUERY)
        codes = {error.code for error in failed.ede if error.code in EDE_BOGUS}
        if codes:
            proofs.append(Proof.EDE)
        if not proofs:
            return failed
        why = await doubt(server, question, unchecked, codes, patience)
        if why:
            return replace(failed, failure=Failure.INDETERMINATE, text=f"{failed.text}; not proven bogus: {why}")
        said = "with checking disabled there is an answer" if Proof.CD_REQUERY in proofs else "no answer with CD=1"
        return replace(failed, failure=Failure.BOGUS, text=f"{failed.text}; {said}", proofs=tuple(proofs))

    async def aclose(self) -> None:
        """End what is still being asked."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
