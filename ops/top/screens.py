"""The other screens of the live view: one destination in full, and the keys."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from ops.destinations import Destinations
from ops.inert import inert
from ops.top.detail import lines
from ops.top.table import COLUMNS
from pipeline.spine import Spine, utc_now
from pipeline.store.connection import StoreFull, StoreUnavailable


class DetailScreen(Screen[None]):
    """One destination; the application looks again in its turn."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,backspace", "app.pop_screen", "back")]
    CSS = """
    #name { height: 1; text-style: bold; }
    #away { height: auto; color: $text-error; }
    VerticalScroll { height: 1fr; }
    #back { height: 1; color: $text-muted; }
    """

    def __init__(self, spine: Spine, name: str) -> None:
        super().__init__()
        self._spine = spine
        self._destination = name
        self._laid_out = False

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static(inert(self._destination), id="name", markup=False)
        yield Static("", id="away", markup=False)
        with VerticalScroll():
            yield Static("looking ...", id="text", markup=False)
        yield Static("esc back   arrows scroll   p pause   q quit", id="back", markup=False)

    async def on_mount(self) -> None:
        """Look for the first time, also while the rest is paused."""
        self._laid_out = True
        self.query_one(VerticalScroll).focus()
        try:
            await self.look()
        except (StoreUnavailable, StoreFull) as error:
            self.query_one("#text", Static).update(inert(str(error)))

    async def look(self) -> None:
        """Look again. Raises `StoreUnavailable`."""
        detail = await Destinations(self._spine).detail(self._destination)
        if self._laid_out and detail is not None:
            self.query_one("#text", Static).update("\n".join(lines(detail, utc_now())))
            self.query_one("#away", Static).update("")

    def tell(self, text: str) -> None:
        """Say that Redis is away; empty: it is not."""
        if self._laid_out:
            self.query_one("#away", Static).update(text)


_HELP = """\
Sort, and once more the other way round: {sorts}
/      only destinations whose name holds a text
enter  all about a destination
esc    back, and no filter
p      pause, and go on
q      quit

Rates above are those of the last half minute, and of a destination those of the last five minutes. "next" says when \
the first mail is due again, or when that is over which keeps the mail.

Without a filter these are the destinations with the most mail that waits, and those that mail went to last."""


class HelpScreen(ModalScreen[None]):
    """The keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,enter", "app.pop_screen", "back")]
    CSS = """
    HelpScreen { align: center middle; }
    #help { width: 72; max-width: 100%; height: auto; padding: 1 2; border: round $primary; background: $surface; }
    """

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        sorts = ", ".join(f"{column.key} {column.title}" for column in COLUMNS)
        yield Static(_HELP.format(sorts=sorts), id="help", markup=False)
