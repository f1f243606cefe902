"""The watch over our own domains: what senders that do DANE will find there, told of before their mail stands still.

At each interval of `[own]` one of the clocks looks at every domain and host by `delivery.inspection`, keeps the TLSA
record sets it sees (`danepipe tlsa guard` reads them), and writes an event when what is found changes, at the first
look, and once a day as long as anything is wrong. A look that raises is a fault of ours (`stage.error`), and the next
interval looks again.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import assert_never

from delivery.findings import Finding, Level, findings, worst
from delivery.inspection import Means, inspect
from delivery.signatures import Signed
from pipeline import log
from pipeline.config import Config
from pipeline.spine import Spine
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.published import PublishedStore, Told
from stages.answer import Found
from stages.dane import tlsa_question
from stages.destination import Destination, RouteKind
from stages.resolve import Survey

AGAIN = timedelta(days=1)  # after which what is still wrong is told of once more


def owned(config: Config) -> tuple[Destination, ...]:
    """Name what `[own]` says is ours."""
    port = config.smtp.port
    domains = [Destination(RouteKind.MX, name, port) for name in config.own.domains]
    return (*domains, *(Destination(RouteKind.HOST, name, port) for name in config.own.hosts))


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


class OwnWatch:
    """Looks at our own domains; one for each clock."""

    def __init__(self, spine: Spine, now: Callable[[], datetime]) -> None:
        self._spine = spine
        self._now = now
        self._store = PublishedStore(spine.redis)
        self._due: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        """Tell whether it is time to ask whose turn it is; that is asked at most once in a tenth of the interval."""
        if not self._spine.config.own.domains and not self._spine.config.own.hosts:
            return False
        pause = self._spine.config.own.interval / 10
        if self._due is not None and self._due - pause <= now < self._due:  # a clock may be put back
            return False
        self._due = now + pause
        return True

    async def look(self) -> None:
        """Look at everything, if it is our turn. Raises nothing: the next interval looks again."""
        try:
            if await self._store.claim(self._spine.config.own.interval):
                await self._look()
        except (StoreUnavailable, StoreFull):
            return  # the clock meets it too, and tells of it
        except Exception as error:  # noqa: BLE001 - whatever it is, due mail must not wait for it
            log.emit("stage.error", level="error", stage="watch", group="", error=repr(error))

    async def _look(self) -> None:
        config = self._spine.config
        resolver = self._spine.resolver()
        try:
            means = Means(resolver, config.smtp_settings(), config.dns.timeout.total_seconds(), self._now)
            for destination in owned(config):
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
