"""Whether a resolver may be believed: where it is, and whether it still tells secure, insecure and bogus apart.

`examine` asks one resolver the canaries and says of each whether the answer was what a validating resolver gives. A
resolver that validates nothing, that lost its trust anchor, or that cannot reach the root fails; a bogus canary whose
name is gone proves nothing either way and is only told of.
"""

import asyncio
import functools
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal

import dns.flags
import dns.message
import dns.rcode

from delivery.nameserver import NoResponse, Server, exchange
from delivery.responses import extended_errors
from stages.answer import Absent, Answer, Failed, Failure, Found, Question, Security

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Source(StrEnum):
    """Where security comes from: the AD bit of a resolver, our own validation, or both, which must agree."""

    TRUSTED = "trusted"
    LOCAL = "local"
    BOTH = "both"


class Expected(StrEnum):
    """What a canary must be answered with."""

    SECURE = "secure"
    ABSENT = "secure denial"
    INSECURE = "insecure"
    BOGUS = "bogus"


@dataclass(frozen=True, slots=True)
class Canary:
    """A question whose right answer is known."""

    question: Question
    expected: Expected


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a canary. `stale`: the canary itself is no longer fit to prove anything."""

    canary: Canary
    got: str
    passed: bool
    stale: bool = False

    def __str__(self) -> str:
        """Give a sentence."""
        verdict = "as it should be" if self.passed else f"expected {self.canary.expected}"
        return f"{self.canary.question}: {self.got}, {verdict}{' (canary out of date)' if self.stale else ''}"


@dataclass(frozen=True, slots=True)
class Examination:
    """All outcomes at one resolver."""

    server: Server
    outcomes: tuple[Outcome, ...]
    trusted: bool
    source: Source = Source.TRUSTED
    also: str = ""  # what another way to get security found wrong with it

    @property
    def passed(self) -> bool:
        """Tell whether answers from it count."""
        return self.trusted and all(outcome.passed for outcome in self.outcomes)

    @property
    def fault(self) -> str:
        """Say why they do not count; empty if they do."""
        fault = self._fault()
        return f"{fault}; {self.also}" if fault and self.also else fault

    @property
    def why(self) -> str:
        """Say why its answers count in this way, or why they do not count."""
        return self.fault or self.also or "passes its self-test"

    def differs(self, later: "Examination") -> bool:
        """Tell whether what was believed because of this one is no longer believed because of a later one."""
        return self.passed and (not later.passed or later.source is not self.source)

    def told(self, unvalidated: Mapping[str, datetime]) -> dict[str, object]:
        """Give the fields of event `resolver.canary`; `unvalidated` are the names where validation is switched off."""
        text = self.fault or f"passes its self-test{f'; proven here, since {self.also}' if self.also else ''}"
        off = [f"{name} until {until:%Y-%m-%dT%H:%MZ}" for name, until in unvalidated.items()]
        return {
            "resolver": str(self.server), "source": str(self.source), "passed": self.passed,
            "text": f"{text}; not validated: {', '.join(off)}" if off else text,
            "canaries": [str(outcome) for outcome in self.outcomes],
        }  # fmt: skip

    def _fault(self) -> str:
        if not self.trusted:
            return (
                f"the resolver {self.server} is neither on loopback nor named in dns.trust, "
                "so its word on DNSSEC is not believed"
            )
        failed = [str(outcome) for outcome in self.outcomes if not outcome.passed]
        what = "gives no answers that can be proven" if self.source is Source.LOCAL else "fails its self-test"
        return f"the resolver {self.server} {what}: {'; '.join(failed)}" if failed else ""


async def examine(
    server: Server, canaries: tuple[Canary, ...], networks: tuple[Network, ...], patience: float
) -> Examination:
    """Ask one resolver all canaries at once, each twice if the first try gets no response."""
    if not server.is_trusted(networks):
        return Examination(server, (), trusted=False)
    outcomes = await asyncio.gather(*(_try(server, canary, patience) for canary in canaries))
    return Examination(server, tuple(outcomes), trusted=True)


async def _try(server: Server, canary: Canary, patience: float) -> Outcome:
    outcome = await _ask(server, canary, patience)
    return outcome if outcome.passed else await _ask(server, canary, patience)


async def _ask(server: Server, canary: Canary, patience: float) -> Outcome:
    try:
        response = await exchange(server, canary.question, patience=patience)
    except NoResponse as error:
        return Outcome(canary, str(error), passed=False)
    code = response.rcode()
    authentic = bool(response.flags & dns.flags.AD)
    answered = code == dns.rcode.NOERROR and bool(response.answer)
    denied = code == dns.rcode.NXDOMAIN or (code == dns.rcode.NOERROR and not response.answer)
    word = "secure" if authentic else "without AD"
    got = f"{dns.rcode.to_text(code)} {word}" if answered or denied else _error_text(response)
    match canary.expected:
        case Expected.SECURE:
            return Outcome(canary, got, passed=answered and authentic)
        case Expected.ABSENT:
            return Outcome(canary, got, passed=denied and authentic)
        case Expected.INSECURE:
            return Outcome(canary, got, passed=(answered or denied) and not authentic)
        case Expected.BOGUS:
            gone = denied  # the name is no longer there: no proof, no alarm
            return Outcome(canary, got, passed=gone or code == dns.rcode.SERVFAIL, stale=gone)


def _error_text(response: dns.message.Message) -> str:
    text = dns.rcode.to_text(response.rcode())
    codes = ", ".join(f"EDE {error.code} {error.text}".strip() for error in extended_errors(response))
    return f"{text} ({codes})" if codes else text


async def examine_local(
    server: Server, canaries: tuple[Canary, ...], ask: Callable[[Server, Question], Awaitable[Answer]]
) -> Examination:
    """Prove the canaries ourselves, each tried twice: the resolver need not be trusted, only pass all records."""

    async def one(canary: Canary) -> Outcome:
        outcome = _proven(canary, await ask(server, canary.question))
        return outcome if outcome.passed else _proven(canary, await ask(server, canary.question))

    outcomes = await asyncio.gather(*(one(canary) for canary in canaries))
    return Examination(server, tuple(outcomes), trusted=True, source=Source.LOCAL)


def _proven(canary: Canary, answer: Answer) -> Outcome:
    match answer:
        case Failed(failure=failure, text=text):
            got = f"{failure} ({text})"
            return Outcome(canary, got, passed=canary.expected is Expected.BOGUS and failure is Failure.BOGUS)
        case Found(security=security):
            got, denied = f"{security}", False
        case Absent(security=security, nxdomain=nxdomain):
            got, denied = f"{security} {'nxdomain' if nxdomain else 'nodata'}", True
    secure = security is Security.SECURE
    match canary.expected:
        case Expected.SECURE:
            return Outcome(canary, got, passed=secure and not denied)
        case Expected.ABSENT:
            return Outcome(canary, got, passed=secure and denied)
        case Expected.INSECURE:
            return Outcome(canary, got, passed=not secure)
        case Expected.BOGUS:  # the name is no longer there: no proof, no alarm
            return Outcome(canary, got, passed=denied, stale=denied)


async def examine_as(
    ways: Literal["auto", "trusted", "local", "both"],
    server: Server,
    canaries: tuple[Canary, ...],
    networks: tuple[Network, ...],
    patience: float,
    ask: Callable[[Server, Question], Awaitable[Answer]],
) -> Examination:
    """Find out which way to get security works with a resolver (`dns.validation`)."""
    by_word = functools.partial(examine, server, canaries, networks, patience)
    by_proof = functools.partial(examine_local, server, canaries, ask)
    match ways:
        case "local":
            return await by_proof()
        case "trusted":
            return await by_word()
        case "both":
            return together(*await asyncio.gather(by_word(), by_proof()))
        case "auto":
            trusted = await by_word()
            return trusted if trusted.passed else replace(await by_proof(), also=trusted.fault)


def together(trusted: Examination, local: Examination) -> Examination:
    """Give the examination of a resolver whose AD bit and whose records must both hold."""
    outcomes = (*trusted.outcomes, *local.outcomes)
    return replace(trusted, outcomes=outcomes, source=Source.BOTH)
