"""DNSSEC: destinations a second that are proven here, beside those that a local Unbound vouches for, and hostile zones.

A destination is the MX, address and TLSA records of a signed domain. Its zones are in the lab's nameserver, which is a
process of its own, and so is Unbound: rates are those of one processor that does nothing but what this process did,
so that neither they nor other work on the machine counts. Each figure is the median of some rounds. Hostile zones cost
one question each, with everything this process does for it.
"""

import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from delivery.dnssec.anchors import Anchors
from delivery.local import LocalSettings, LocalValidator
from delivery.nameserver import Server, exchange
from delivery.resolver import DnsSettings, Resolver
from delivery.responses import Lifetimes, read
from ops.bench.figures import Figure, NotHere, median
from ops.bench.hostile import STORIES, serve_hostile, until_closed
from ops.bench.processes import tree_use
from ops.lab.certificates import CertificateAuthority
from ops.lab.nameserver import Nameserver
from ops.lab.scenario import TLD, Certificate, Scenario
from ops.lab.unbound import NoUnbound, Unbound
from ops.lab.world import utc_now
from ops.lab.zones import Placed, build
from stages.answer import Absent, Answer, Failed, Question, Security

DOMAINS, ROUNDS = 200, 5
_AT_ONCE = 20
_START_LIMIT = 120  # seconds
_PORT = 25
_NOTE = 90  # characters
_WARM = Question(f"ns.{TLD}", "A")  # asking it makes the keys of the root and of the TLD known


@dataclass(frozen=True, slots=True)
class Far:
    """A nameserver in another process, and the trust anchor of what it serves."""

    server: Server
    anchors: Anchors
    text: str


def serve_lab(pipe: Connection, domains: int) -> None:
    """Serve so many signed domains until told to stop. All show one certificate, which nobody looks at."""

    async def main() -> None:
        with tempfile.TemporaryDirectory(prefix="danepipe-bench-") as name:
            identity = CertificateAuthority(Path(name), utc_now()).issue("mx", Certificate())
        scenarios = [Scenario(f"d{number}", "a domain to ask for") for number in range(domains)]
        placed = [
            Placed(one, one.hosts[0], f"127.77.{number // 200}.{number % 200 + 10}", identity)
            for number, one in enumerate(scenarios)
        ]
        tree = build(scenarios, placed, _PORT)
        nameserver = Nameserver(tree.zones)
        await nameserver.open()
        pipe.send((nameserver.port, tree.anchor))
        await until_closed(pipe)
        await nameserver.close()

    asyncio.run(main())


@contextmanager
def far(serve: Callable[..., None], *arguments: object) -> Iterator[Far]:
    """Run a nameserver in a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, *arguments))
    process.start()
    there.close()  # so that an end of the process shows
    try:
        if not here.poll(_START_LIMIT):
            raise RuntimeError("the nameserver did not start")
        port, anchor = here.recv()
        yield Far(Server("127.0.0.1", port), Anchors.parse(anchor), anchor)
    finally:
        here.close()
        process.join(_START_LIMIT)


def questions(number: int, *, both: bool = False) -> tuple[tuple[Question, ...], ...]:
    """Give what is asked of a destination, in the rounds of a survey; `both`: for IPv6 addresses, too."""
    domain = f"d{number}.{TLD}"
    addresses = (Question(f"mx.{domain}", "A"), *((Question(f"mx.{domain}", "AAAA"),) if both else ()))
    return (Question(domain, "MX"),), addresses, (Question(f"_{_PORT}._tcp.mx.{domain}", "TLSA"),)


def _must_be_secure(answer: Answer) -> None:
    if isinstance(answer, Failed) or answer.security is not Security.SECURE:
        raise RuntimeError(f"{answer.question} is not secure: {answer}")
    if isinstance(answer, Absent) and answer.question.rdtype != "AAAA":
        raise RuntimeError(f"{answer.question} is not there")


Ask = Callable[[Question], Awaitable[Answer]]


async def _survey(ask: Ask, number: int, *, both: bool) -> None:
    for wave in questions(number, both=both):
        for answer in await asyncio.gather(*map(ask, wave)):
            _must_be_secure(answer)


async def _all(piece: Callable[[int], Awaitable[None]], domains: int) -> float:
    """Do something for each domain, some at once; gives the processor seconds that this process used for one."""
    waiting = iter(range(domains))

    async def work() -> None:
        for number in waiting:
            await piece(number)

    started = time.process_time()
    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    return (time.process_time() - started) / domains


# Destinations


@asynccontextmanager
async def _resolver(settings: DnsSettings) -> AsyncIterator[Resolver]:
    resolver = Resolver(settings, now=utc_now)
    try:
        _must_be_secure(await resolver.ask(_WARM))
        yield resolver
    finally:
        await resolver.aclose()


async def uncached(settings: DnsSettings, domains: int, *, both: bool = False) -> float:
    """Ask for destinations of which nothing is known; gives processor seconds of one."""
    async with _resolver(settings) as resolver:
        return await _all(lambda number: _survey(resolver.ask, number, both=both), domains)


async def cached(settings: DnsSettings, domains: int) -> float:
    """Ask for destinations that the process remembers; gives processor seconds of one."""
    async with _resolver(settings) as resolver:
        await _all(lambda number: _survey(resolver.ask, number, both=False), domains)
        return median([await _all(lambda number: _survey_all(resolver, number), domains) for _ in range(3)])


async def _survey_all(resolver: Resolver, number: int) -> None:
    for (question,) in questions(number):
        _must_be_secure(await resolver.ask(question))


async def with_unbound(there: Far, domains: int, directory: Path) -> tuple[float, float]:
    """Ask the same of a new Unbound whose AD bit counts; gives processor seconds of one here, and of one in Unbound."""
    unbound = Unbound(directory, there.text, there.server.port)
    try:
        await unbound.open()
    except NoUnbound as error:
        raise NotHere(str(error)) from error
    try:
        before = _of_unbound()
        settings = DnsSettings((Server("127.0.0.1", unbound.port),), "trusted")
        return await uncached(settings, domains), (_of_unbound() - before) / domains
    finally:
        await unbound.close()


def _of_unbound() -> float:
    return sum(use.processor for use in tree_use(os.getpid()) if use.name == "unbound")


# Single questions


async def warm(there: Far, domains: int) -> tuple[float, float]:
    """Ask for addresses in zones whose keys are known; gives processor seconds of one, validated and only read."""
    lifetimes = Lifetimes()
    validator = LocalValidator(LocalSettings(there.anchors, lifetimes=lifetimes), utc_now)

    def address(number: int) -> Question:
        return questions(number)[1][0]

    async def prove(number: int) -> None:
        _must_be_secure(await validator.ask(there.server, address(number)))

    async def believe(number: int) -> None:
        response = await exchange(there.server, address(number), patience=5, checking_disabled=True)
        answer = read(address(number), response, secure=True, now=utc_now(), lifetimes=lifetimes, source="")
        _must_be_secure(answer)

    await _all(prove, domains)  # now the zones are known
    return await _all(prove, domains), await _all(believe, domains)


async def hostile(there: Far, rounds: int = ROUNDS) -> Sequence[Figure]:
    """Ask each hostile zone one question, the keys of the root known; each round with a new validator."""
    taken: dict[str, list[float]] = {story.name: [] for story in STORIES}
    said: dict[str, str] = {}
    for _ in range(rounds):
        validator = LocalValidator(LocalSettings(there.anchors), utc_now)
        await validator.ask(there.server, Question(".", "SOA"))
        for story in STORIES:
            started = time.process_time()
            outcome = await validator.judge(there.server, story.question)
            taken[story.name].append(time.process_time() - started)
            why = outcome.why.removeprefix(f"{story.question}: ")
            said[story.name] = f"{outcome.status}: {why}"[:_NOTE] if why else str(outcome.status)
    return [Figure(f"hostile: {name}", 1000 * median(times), "ms", said[name]) for name, times in taken.items()]


# All of it


async def _rates(there: Far, domains: int, rounds: int) -> list[Figure]:
    ours = DnsSettings((there.server,), "local", there.anchors)
    known = await cached(ours, domains)
    plain, wide, proven, believed = [], [], [], []
    for _ in range(rounds):
        plain.append(await uncached(ours, domains))
        wide.append(await uncached(ours, domains, both=True))
        one, other = await warm(there, domains)
        proven.append(one)
        believed.append(other)
    added = median([one - other for one, other in zip(proven, believed, strict=True)])
    return [
        Figure("cached, MX A TLSA", 1 / known, "destinations/s", "goal 5,000"),
        Figure("uncached, MX A TLSA, proven here", 1 / median(plain), "destinations/s", "goal 150; TLD warm"),
        Figure("uncached, MX A AAAA TLSA, proven here", 1 / median(wide), "destinations/s", "as delivery asks"),
        Figure("a question, chain warm, proven here", 1000 * median(proven), "ms", "one record, one signature"),
        Figure("of that, validation", 1000 * added, "ms", "goal below 1"),
    ]


async def _beside(there: Far, domains: int, rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="danepipe-bench-") as name:
        taken = [await with_unbound(there, domains, Path(name)) for _ in range(rounds)]
    here, in_unbound = (median([one[place] for one in taken]) for place in (0, 1))
    note = f"and {1000 * in_unbound:.2f} ms each in Unbound: {1 / (here + in_unbound):.0f}/s for both"
    return [Figure("uncached, MX A TLSA, by the word of Unbound", 1 / here, "destinations/s", note)]


def run(domains: int = DOMAINS, rounds: int = ROUNDS) -> list[Figure]:
    """Measure all. Raises `NotHere` without Unbound or /proc."""
    with far(serve_lab, domains) as there:
        figures = asyncio.run(_rates(there, domains, rounds))
        figures[3:3] = asyncio.run(_beside(there, domains, rounds))
    with far(serve_hostile) as there:
        return [*figures, *asyncio.run(hostile(there, rounds))]
