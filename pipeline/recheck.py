"""Excluded domains, tried with DANE: one by one, without mail, so that no exclusion outlives its reason unseen.

Every ten minutes one of the clocks takes the exclusion whose last try is longest ago, if that is `recheck.every` or
more, looks where its mail would go, and tries that with DANE (`pipeline.trial`). If DANE passes now and did not before,
an event tells of it, and an entry that is to last until then ends. Patterns that name more than one domain cannot be
tried. A try that raises is a fault of ours (`stage.error`), and counts as a try.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from pipeline import log
from pipeline.spine import Spine
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.rechecks import RecheckStore, Tried
from stages.destination import Destination, RouteKind, TlsLevel
from stages.exclude import Exclusion
from stages.message import Address, Content, Envelope, Origin, Recipient, RecipientId
from stages.pattern import ANY, Pattern
from stages.route import RouteTable, way

TURN = timedelta(minutes=10)  # between two tries, over all domains and clocks


def destination_of(pattern: str, table: RouteTable, now: datetime) -> Destination | None:
    """Tell where mail for an excluded mailbox or domain would go by DANE; None if nowhere, or otherwise."""
    parsed = Pattern.parse(pattern)
    domain = parsed.only_domain
    if not domain:
        return None
    name = "postmaster" if ANY in parsed.local else parsed.local
    recipient = Recipient(RecipientId("RECHECK/0"), Address(name, domain, f"{name}@{domain}"))
    route = way(table, Envelope(None, now, Origin("send"), Content(0)), recipient).route
    if route is None or route.kind is RouteKind.LOCAL or route.tls is not TlsLevel.DANE:
        return None
    return Destination(route.kind, route.name, route.port, route.tls)


class ExclusionWatch:
    """Tries excluded domains; one for each clock."""

    def __init__(self, spine: Spine, now: Callable[[], datetime]) -> None:
        self._spine = spine
        self._now = now
        self._store = RecheckStore(spine.redis)
        self._due: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        """Tell whether it is time to ask whose turn it is."""
        if self._spine.config.recheck.pause is None:
            return False
        if self._due is not None and self._due - TURN <= now < self._due:  # a clock may be put back
            return False
        self._due = now + TURN
        return True

    async def look(self) -> None:
        """Try one, if it is our turn. Raises nothing: there is another turn."""
        try:
            if await self._store.claim(TURN):
                await self._turn()
        except (StoreUnavailable, StoreFull):
            return  # the clock meets it too, and tells of it
        except Exception as error:  # noqa: BLE001 - whatever it is, due mail must not wait for it
            log.emit("stage.error", level="error", stage="recheck", group="", error=repr(error))

    async def _turn(self) -> None:
        config, now = self._spine.config, self._now()
        entries = await self._spine.exclusions.beside(config.exclusions())
        live = {entry.pattern: entry for entry in entries if entry.is_live(now)}
        tries = await self._store.tries()
        await self._store.forget(tries.keys() - live.keys())
        chosen = self._chosen(tuple(live.values()), tries, now)
        if chosen is None:
            return
        entry, destination = chosen
        before = tries.get(entry.pattern)
        # noted before it is done: what breaks us must not be tried at every turn
        await self._store.keep(entry.pattern, Tried(now, before is not None and before.passes, "not tried to the end"))
        why = await self._tried(destination)
        await self._store.keep(entry.pattern, Tried(now, not why, why))
        if why:
            return
        if before is None or not before.passes or entry.until_passing:
            log.emit(
                "exclusion.passes", level="warning", pattern=entry.pattern, destination=destination.key,
                owner=entry.owner, reason=entry.reason, ends=entry.until_passing,
            )  # fmt: skip
        if entry.until_passing and await self._spine.exclusions.end(entry, self._now()):
            log.emit("exclusion.changed", action="end", pattern=entry.pattern, origin=entry.origin, who="clock")

    def _chosen(
        self, entries: Sequence[Exclusion], tries: dict[str, Tried], now: datetime
    ) -> tuple[Exclusion, Destination] | None:
        """Choose the entry whose last try is longest ago, with where its mail goes; None if none is due."""
        table, pause = self._spine.config.route_table(), self._spine.config.recheck.pause
        never = datetime.min.replace(tzinfo=now.tzinfo)
        last = {pattern: tried.at for pattern, tried in tries.items()}
        for entry in sorted(entries, key=lambda entry: last.get(entry.pattern, never)):
            at = last.get(entry.pattern, never)
            if pause is None or (at != never and at <= now < at + pause):  # a clock may be put back
                return None
            destination = destination_of(entry.pattern, table, now)
            if destination is not None:
                return entry, destination
        return None

    async def _tried(self, destination: Destination) -> str:
        # what tries takes more memory than all that a clock does otherwise, and most exclude nobody
        from pipeline.trial import tried  # noqa: PLC0415

        return await tried(self._spine, destination, self._now)
