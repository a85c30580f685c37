"""The table of all routines. It draws the lines that are seen and no others, so that ten thousand rows cost what forty do.

(textual's own DataTable holds a widget's worth of state for each cell, and takes seconds to filter as many.)
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from routinectl.tui import show
from routinectl.tui.show import Row

Column = tuple[str, str, int]
_RUNS, _BADGES, _AGO, _ALL_RUNS = 92, 104, 124, 144  # cells from which on there is room for these columns


def columns(width: int) -> list[Column]:
    """Return key, title and width of the columns that fit."""
    fixed = {"status": 11, "next": 9, "last": 11}
    fixed |= {"ago": 8} if width >= _AGO else {}
    fixed |= {"runs": 30 if width >= _ALL_RUNS else 15} if width >= _RUNS else {}
    fixed |= {"badges": 12 + (width - _BADGES) // 5} if width >= _BADGES else {}
    free = max(width - sum(fixed.values()) - len(fixed) - 3, 20)
    sizes = fixed | {"name": free * 9 // 20, "when": free - free * 9 // 20}
    return [(key, key.upper(), sizes[key]) for key in ("status", "name", "when", "next", "last", "ago", "runs", "badges") if key in sizes]


class Head(Widget):
    """The titles of the columns."""

    def render_line(self, y: int) -> Strip:
        """Return the one line of it."""
        style = self.rich_style
        text = " " + " ".join(show.fit(title, width) for _, title, width in columns(self.size.width))
        return Strip([Segment(text, style + Style(bold=True))]).adjust_cell_length(self.size.width, style)


class RoutineTable(ScrollView, can_focus=True):
    """Rows, one of them under the cursor."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--good", "table--bad", "table--warn", "table--calm", "table--accent", "table--cursor", "table--blurred",
    }  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False), Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False), Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "jump(0)", "First", show=False), Binding("end,G", "jump(-1)", "Last", show=False),
        Binding("enter", "open", "Open", show=False),
    ]  # fmt: skip
    cursor: reactive[int] = reactive(0)

    class Moved(Message):
        """The cursor is on another routine."""

    class Opened(Message):
        """A routine was opened."""

    def __init__(self) -> None:
        super().__init__(id="table")
        self.rows: list[Row] = []
        self._made: dict[tuple[str, bool, bool], tuple[Style, dict[str, Style]]] = {}
        self.now = datetime.now().astimezone()

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    def put(self, rows: list[Row]) -> None:
        """Show these rows; the cursor stays on the routine it is on."""
        before = self.current["id"] if self.current else ""
        self.rows = rows
        self.virtual_size = Size(self.size.width, len(rows))
        found = next((number for number, row in enumerate(rows) if row["id"] == before), None)
        self.cursor = found if found is not None else max(min(self.cursor, len(rows) - 1), 0)
        self.refresh()
        if (self.current["id"] if self.current else "") != before:
            self.post_message(self.Moved())

    def tick(self, now: datetime) -> None:
        """Count down."""
        self.now = now
        self.refresh()

    # -- moving

    def watch_cursor(self) -> None:
        """Keep the cursor in sight."""
        self.scroll_to_region(Region(0, self.cursor, 1, 1), animate=False)
        self.refresh()

    def _go(self, number: int) -> None:
        if self.rows and number != self.cursor:
            self.cursor = max(min(number, len(self.rows) - 1), 0)
            self.post_message(self.Moved())

    def action_move(self, step: int) -> None:
        """Move the cursor by so many rows."""
        self._go(self.cursor + step)

    def action_page(self, step: int) -> None:
        """Move the cursor by a page."""
        self._go(self.cursor + step * max(self.size.height - 1, 1))

    def action_jump(self, where: int) -> None:
        """Move the cursor to the first row, or to the last."""
        self._go(where if where >= 0 else len(self.rows) - 1)

    def action_open(self) -> None:
        """Open the routine under the cursor."""
        if self.current:
            self.post_message(self.Opened())

    def on_click(self, event: events.Click) -> None:
        """Choose with one click, open with two."""
        number = event.y + int(self.scroll_offset.y)
        if number < len(self.rows):
            self._go(number)
            if event.chain == 2:
                self.action_open()

    def on_resize(self) -> None:
        """Fit the columns to the new width."""
        self.virtual_size = Size(self.size.width, len(self.rows))

    # -- drawing

    def render_line(self, y: int) -> Strip:
        """Return a line of what is seen."""
        number = y + int(self.scroll_offset.y)
        width = self.size.width
        here = number == self.cursor
        base, tones = self._styles(here=here)
        if number >= len(self.rows):
            return Strip.blank(width, base)
        segments = [Segment(" ", base)]
        for key, _, size in columns(width):
            segments += [*self._cell(key, self.rows[number], size, base, tones), Segment(" ", base)]
        return Strip(segments).simplify().adjust_cell_length(width, base)

    def _cell(self, key: str, row: Row, size: int, base: Style, tones: dict[str, Style]) -> list[Segment]:
        found, left = [], size
        for text, tone in self._parts(key, row):
            piece = show.line(text)
            if cell_len(piece) > left:
                piece = show.fit(piece, left)
            found.append(Segment(piece, tones[tone] if tone else base))
            left -= cell_len(piece)
            if left <= 0:
                break
        return [*found, Segment(" " * max(left, 0), base)]

    def _styles(self, *, here: bool) -> tuple[Style, dict[str, Style]]:
        """Return the style of a line, and that of each tone in it; put together once for a theme, for every line asks."""
        key = (self.app.theme, here, self.has_focus)
        if key not in self._made:
            base = self.rich_style
            if here:
                base = self.get_component_rich_style("table--cursor" if self.has_focus else "table--blurred")
            tones = {}
            for tone in (show.GOOD, show.BAD, show.WARN, show.CALM, show.ACCENT):
                colour = self.get_component_rich_style(f"table--{tone}", partial=True).color
                tones[tone] = base + (Style(bold=True) if here else Style(color=colour))
            self._made[key] = (base, tones)
        return self._made[key]

    def _parts(self, key: str, row: Row) -> list[tuple[str, str]]:
        """Return the texts of a cell, each with its tone."""
        if key == "status":
            sign, word = show.status(row)
            return [(f"{sign} {word}", show.ACCENT if row["running"] else show.tone(row["status"]))]
        if key == "name":
            outside = "external" in row["badges"] and self.size.width < _BADGES
            return [("↗ ", show.WARN), (row["name"], "")] if outside else [(row["name"], "")]
        if key == "when":
            return [(row["describe"] or row["schedule"], "" if row["enabled"] else show.CALM)]
        if key == "next":
            return [(show.until(row["next_fire_at"], self.now) or "-", "" if row["next_fire_at"] else show.CALM)]
        if key == "last":
            return [(show.words(row["last_outcome"]) or "-", show.tone(row["last_outcome"]))]
        if key == "ago":
            return [(show.ago(row["last_run_at"], self.now).removesuffix(" ago") or "-", show.CALM)]
        if key == "runs":
            most = 30 if self.size.width >= _ALL_RUNS else 15
            return show.spark(row["recent"], most)
        found: list[tuple[str, str]] = []
        for text, tone in show.badges(row):
            found += [(text, tone), (" ", "")]
        return found
