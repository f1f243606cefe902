"""The live view: an application of Textual over a spine, which looks again every few seconds.

It changes nothing. While Redis is away the screen stays as it was and says so, and goes on by itself. All texts are
inert, and none is read as markup.
"""

import asyncio
from typing import ClassVar

from rich.text import Text
from textual import events, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Input, Sparkline, Static

from ops.inert import inert
from ops.top.header import alert_line, queue_line, rate_line
from ops.top.screens import DetailScreen, HelpScreen
from ops.top.snapshot import Snapshot, look
from ops.top.table import COLUMNS, ordered, widths
from pipeline.spine import Spine
from pipeline.store.connection import StoreFull, StoreUnavailable

_PADDING = 1
_KEYS = "sort: underlined letter   / filter   enter open   p pause   ? help   q quit"


class Top(App[None]):
    """The screen with the table. `interval`: seconds between two looks."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", "quit", priority=False),
        Binding("slash", "filter", "filter"),
        Binding("p", "pause", "pause"),
        Binding("question_mark", "help", "help"),
        Binding("escape", "unfilter", "no filter"),
        *(Binding(column.key, f"sort('{column.key}')", f"sort by {column.title}") for column in COLUMNS),
    ]
    CSS = """
    #queue, #rates, #keys { height: 1; }
    #keys { color: $text-muted; }
    #alert { height: auto; max-height: 3; color: $text-error; }
    #curves { height: 2; }
    .curve { width: 1fr; height: 2; margin: 0 1 0 0; }
    .curve Static { height: 1; color: $text-muted; }
    Sparkline { height: 1; width: 1fr; }
    .name { width: 12; height: 2; color: $text-muted; }
    DataTable { height: 1fr; scrollbar-size-vertical: 1; }
    #sought { height: 1; border: none; display: none; }
    """

    def __init__(self, spine: Spine, interval: float = 2.0, *, sort: str = "b", sought: str = "") -> None:
        super().__init__()
        self.spine = spine
        self.interval = interval
        self.away = ""
        self.paused = False
        self._sort = next(column for column in COLUMNS if column.key == sort)
        self._turned = False
        self._sought = sought
        self._seen: Snapshot | None = None
        self._again = asyncio.Event()
        self._width = 80

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static("looking ...", id="queue", markup=False)
        yield Static("", id="rates", markup=False)
        yield Static("", id="alert", markup=False)
        with Horizontal(id="curves"):
            yield Static("accepted/s\n15 minutes", classes="name", markup=False)
            yield Sparkline([], classes="curve", id="accepted")
            yield Static("delivered/s\n15 minutes", classes="name", markup=False)
            yield Sparkline([], classes="curve", id="delivered")
        yield DataTable(id="table", cursor_type="row", cell_padding=_PADDING, zebra_stripes=True)
        yield Input(self._sought, placeholder="part of a name, then enter; esc: all", id="sought", compact=True)
        yield Static(_KEYS, id="keys", markup=False)

    def on_mount(self) -> None:
        """Begin to look."""
        self.title = "danepipe top"
        self._columns()
        self.table.focus()
        self._keep_looking()

    @property
    def table(self) -> "DataTable[Text]":
        """Give the table, also while another screen is shown."""
        return self.screen_stack[0].query_one("#table", DataTable)

    @work(exclusive=True)
    async def _keep_looking(self) -> None:
        while True:
            self._again.clear()
            if not self.paused:
                await self._look()
            try:
                async with asyncio.timeout(self.interval):
                    await self._again.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        try:
            seen = await look(self.spine, self._sought)
            if isinstance(self.screen, DetailScreen):
                await self.screen.look()
        except (StoreUnavailable, StoreFull) as error:
            self.away = inert(str(error))
            if isinstance(self.screen, DetailScreen):
                self.screen.tell(self.away)
        else:
            self._seen, self.away = seen, ""
        self._show()

    # What is shown

    def _show(self) -> None:
        below, seen = self.screen_stack[0], self._seen
        told = []
        if self.away:
            since = "" if seen is None else f"; this is what was seen at {seen.at:%H:%M:%S} UTC"
            told.append(f"{self.away}{since}")
        if self.paused:
            told.append("paused: p goes on")
        if seen is not None:
            told += [alert_line(seen)] if alert_line(seen) else []
            below.query_one("#queue", Static).update(queue_line(seen))
            below.query_one("#rates", Static).update(rate_line(seen))
            below.query_one("#accepted", Sparkline).data = seen.accepted
            below.query_one("#delivered", Sparkline).data = seen.delivered
            self._rows(seen, self._chosen(), self.table.scroll_y)
        below.query_one("#alert", Static).update("\n".join(told))
        keys = f"only names with {inert(self._sought)!r}   esc: all of them" if self._sought else _KEYS
        below.query_one("#keys", Static).update(keys)

    def _columns(self) -> None:
        table = self.table
        table.clear(columns=True)
        room = self._width - 2 * _PADDING * len(COLUMNS) - 1  # and a bar to scroll
        for column, width in zip(COLUMNS, widths(room), strict=True):
            title = Text(column.title, no_wrap=True, overflow="ellipsis")
            place = column.title.index(column.key)
            title.stylize("underline", place, place + 1)
            if column is self._sort:
                title.append("▲" if self._turned == column.falling else "▼")
            table.add_column(title, width=width, key=column.key)

    def _lay_out(self) -> None:
        at, top = self._chosen(), self.table.scroll_y
        self._columns()
        if self._seen is not None:
            self._rows(self._seen, at, top)

    def _rows(self, seen: Snapshot, at: str, top: float) -> None:
        table = self.table
        table.clear()
        rows = ordered(seen.rows, self._sort, turned=self._turned)
        for row in rows:
            cells = (
                Text(
                    column.text(row, seen.at), no_wrap=True, overflow="ellipsis",
                    justify="right" if column.right else "left",
                )
                for column in COLUMNS
            )  # fmt: skip
            table.add_row(*cells, key=row.destination)
        for place, row in enumerate(rows):
            if row.destination == at:
                table.move_cursor(row=place, scroll=False)
        table.scroll_to(y=top, animate=False)

    def _chosen(self) -> str:
        table = self.table
        if not table.row_count:
            return ""
        return str(table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value)

    def on_resize(self, event: events.Resize) -> None:
        """Share the columns anew."""
        self._width = event.size.width
        self._lay_out()

    # What is asked for

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        """Let the keys of the table work only where it is shown."""
        return len(self.screen_stack) == 1 or action not in {"sort", "filter", "unfilter", "help"}

    def action_sort(self, key: str) -> None:
        """Sort by a column; once more, the other way round."""
        column = next(column for column in COLUMNS if column.key == key)
        self._turned = not self._turned if column is self._sort else False
        self._sort = column
        self._lay_out()

    def action_pause(self) -> None:
        """Stop looking, or go on."""
        self.paused = not self.paused
        self._again.set()
        self._show()

    def action_help(self) -> None:
        """Tell the keys."""
        self.push_screen(HelpScreen())

    def action_filter(self) -> None:
        """Ask for a part of a name."""
        field = self.query_one("#sought", Input)
        field.display = True
        field.focus()

    def action_unfilter(self) -> None:
        """Show all again."""
        self._seek("")
        self.query_one("#sought", Input).value = ""

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the part of a name."""
        self._seek(event.value.strip())

    def _seek(self, text: str) -> None:
        self.query_one("#sought", Input).display = False
        self.table.focus()
        self._sought, self.paused = text, False
        self._again.set()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show a destination in full."""
        self.push_screen(DetailScreen(self.spine, str(event.row_key.value)))
        self._again.set()
