"""The watch over our own domains: what senders that do DANE will find there, told of before their mail stands still.

At each interval of `[own]` one of the clocks looks at every domain and host (`pipeline.looking`). A look that raises is
a fault of ours (`stage.error`), and the next interval looks again.
"""

from collections.abc import Callable
from datetime import datetime

from pipeline import log
from pipeline.config import Config
from pipeline.spine import Spine
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.published import PublishedStore
from stages.destination import Destination, RouteKind


def owned(config: Config) -> tuple[Destination, ...]:
    """Name what `[own]` says is ours."""
    port = config.smtp.port
    domains = [Destination(RouteKind.MX, name, port) for name in config.own.domains]
    return (*domains, *(Destination(RouteKind.HOST, name, port) for name in config.own.hosts))


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
        # what looks takes more memory than all that a clock does otherwise, and most have no domains to look at
        from pipeline.looking import Look  # noqa: PLC0415

        await Look(self._spine, self._store, self._now).at_all(owned(self._spine.config))
