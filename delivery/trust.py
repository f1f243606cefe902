"""Whether a resolver may be believed: where it is, and whether it still tells secure, insecure and bogus apart.

`examine` asks one resolver the canaries and says of each whether the answer was what a validating resolver gives. A
resolver that validates nothing, that lost its trust anchor, or that cannot reach the root fails; a bogus canary whose
name is gone proves nothing either way and is only told of.
"""

import asyncio
import ipaddress
from dataclasses import dataclass
from enum import StrEnum

import dns.flags
import dns.message
import dns.rcode

from delivery.nameserver import NoResponse, Server, exchange
from delivery.responses import extended_errors
from stages.answer import Question

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


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

    @property
    def passed(self) -> bool:
        """Tell whether its word on security counts."""
        return self.trusted and all(outcome.passed for outcome in self.outcomes)

    @property
    def fault(self) -> str:
        """Say why it does not count; empty if it does."""
        if not self.trusted:
            return (
                f"the resolver {self.server} is neither on loopback nor named in dns.trust, "
                "so its word on DNSSEC is not believed"
            )
        failed = [str(outcome) for outcome in self.outcomes if not outcome.passed]
        return f"the resolver {self.server} fails its self-test: {'; '.join(failed)}" if failed else ""


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
