"""One look at our own domains: what is found there is told of, and what was published is kept.

Every domain and host is looked at by `delivery.inspection`; the TLSA record sets that are seen are kept (`danepipe tlsa
guard` reads them). An event tells of what is found when that changes, at the first look, and once a day as long as
anything is wrong.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import assert_never

from delivery.findings import Finding, Level, findings, worst
from delivery.inspection import Means, inspect
from delivery.signatures import Signed
from pipeline import log
from pipeline.outfit import resolver_of
from pipeline.spine import Spine
from pipeline.store.published import PublishedStore, Told
from stages.answer import Found
from stages.dane import tlsa_question
from stages.destination import Destination
from stages.resolve import Survey

AGAIN = timedelta(days=1)  # after which what is still wrong is told of once more


def ttl_of(found: Survey, host: str, signed: Sequence[Signed], base: str, now: datetime) -> timedelta:
    """Give how long a cache may hold the TLSA records of a host: the TTL that is signed, else what is left of it.

    Of several record sets on the way (aliases) the longest counts.
    """
    question = tlsa_question(found.destination.port, base or host)
    answer = found.answers.get(question)
    if not isinstance(answer, Found):
        return timedelta(0)
    names = {question.name, answer.canonical, *answer.aliases}
    ttls = [one.ttl for one in signed if one.name in names and one.rdtype in {"TLSA", "CNAME"}]
    return max([answer.expires - now, *ttls])


class Look:
    """A look, for the clock whose turn it is."""

    def __init__(self, spine: Spine, store: PublishedStore, now: Callable[[], datetime]) -> None:
        self._spine = spine
        self._store = store
        self._now = now

    async def at_all(self, destinations: Iterable[Destination]) -> None:
        """Look at each. Raises `StoreUnavailable`, `StoreFull`."""
        config = self._spine.config
        resolver = resolver_of(self._spine)
        try:
            means = Means(resolver, config.smtp_settings(), config.dns.timeout.total_seconds(), self._now)
            for destination in destinations:
                await self._look_at(destination, means)
        finally:
            await resolver.aclose()

    async def _look_at(self, destination: Destination, means: Means) -> None:
        seen = await inspect(destination, self._spine.config.policy_for(destination), means)
        for one in seen.hosts:
            ttl = ttl_of(seen.survey, one.host.name, seen.signed, one.found.base, seen.made)
            await self._store.observe(one.host.name, destination.port, one.found.records, ttl, seen.made)
        await self._judge(destination, findings(seen, self._spine.config.own.warn))

    async def _judge(self, destination: Destination, found: tuple[Finding, ...]) -> None:
        """Tell of what was found, unless that was told before."""
        level, now = worst(found), self._now()
        codes = tuple(sorted({f"{one.host} {one.code}" for one in found if one.level is not Level.NOTE}))
        before = await self._store.told(destination.key)
        if before is not None and before.codes == codes and (not codes or now - before.at < AGAIN):
            return
        _tell_of(level, destination.name, found)
        await self._store.tell(destination.key, Told(codes, now))


def _tell_of(level: Level, domain: str, found: tuple[Finding, ...]) -> None:
    text = "; ".join(filter(None, (f"{one.host} {one.text}".strip() for one in found if one.level is level)))
    rows = [{"level": str(one.level), "code": one.code, "host": one.host, "text": one.text} for one in found]
    match level:
        case Level.FAILS:
            log.emit("tlsa.failing", level="error", domain=domain, text=text, findings=rows)
        case Level.UNSEEN:
            log.emit("tlsa.unseen", level="warning", domain=domain, text=text, findings=rows)
        case Level.SOON:
            log.emit("tlsa.expiring", level="warning", domain=domain, text=text, findings=rows)
        case Level.NOTE:
            log.emit("tlsa.fine", domain=domain, text=text, findings=rows)
        case _:
            assert_never(level)
