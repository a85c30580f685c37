"""All routines on one axis: what happened before now, what is planned after it, and where it comes all at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Footer, Static

from routinectl.tui import show
from routinectl.tui.base import Page
from routinectl.tui.show import ACCENT, BAD, CALM, GOOD, WARN, Row
from routinectl.tui.source import Fault

_ZOOMS = (("6 hours", 6, 6), ("24 hours", 24, 24), ("7 days", 168, 168), ("90 days", 2160, 720))
_NAME = 24  # cells of a routine's name
_LEVELS = " ▁▂▃▄▅▆▇█"
_MARKS = {GOOD: "█", BAD: "█", WARN: "▓", CALM: "▒", ACCENT: "┃"}
_AT_ONCE = 100  # routines that the source tells of in one answer


class Lanes(ScrollView, can_focus=True):
    """A lane for each routine, drawn where it is seen; below the axis and the load."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"table--good", "table--bad", "table--warn", "table--calm", "table--accent"}

    def __init__(self) -> None:
        super().__init__(id="lanes")
        self.names: list[Row] = []
        self.found: dict[str, list[list[int | str]]] = {}
        self.middle = 0

    @property
    def cells(self) -> int:
        """How many cells the axis has."""
        return max(self.size.width - _NAME - 1, 10)

    def put(self, names: list[Row], found: dict[str, list[list[int | str]]], middle: int) -> None:
        """Show these routines."""
        self.names, self.found, self.middle = names, found, middle
        self.virtual_size = Size(self.size.width, len(names))
        self.refresh()

    def seen(self) -> list[Row]:
        """Return the routines that are in sight."""
        first = int(self.scroll_offset.y)
        return self.names[first : first + min(self.size.height + 5, _AT_ONCE)]

    def render_line(self, y: int) -> Strip:
        """Return one lane."""
        number = y + int(self.scroll_offset.y)
        base, width = self.rich_style, self.size.width
        if number >= len(self.names):
            return Strip.blank(width, base)
        row = self.names[number]
        marks = {int(cell): str(kind) for cell, kind, _ in self.found.get(row["id"], [])}
        segments = [Segment(show.fit(row["name"], _NAME) + " ", base)]
        for cell in range(self.cells):
            kind = marks.get(cell)
            tone = show.tone(kind) if kind else ACCENT
            sign = _MARKS[tone] if kind else "│" if cell == self.middle else " "
            colour = self.get_component_rich_style(f"table--{tone if kind or cell == self.middle else CALM}", partial=True).color
            segments.append(Segment(sign, base + Style(color=colour, dim=not kind and cell != self.middle)))
        return Strip(segments).simplify().adjust_cell_length(width, base)


class TimelinePage(Page):
    """The timeline of the routines that the table shows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,t", "app.pop_screen", "Back"), Binding("plus,equals_sign,right", "zoom(-1)", "Closer", key_display="+"),
        Binding("minus,left", "zoom(1)", "Wider", key_display="-"), Binding("question_mark", "app.help", "Help"),
    ]  # fmt: skip

    def __init__(self, names: list[Row]) -> None:
        super().__init__()
        self._names = sorted(names, key=lambda row: (row["next_fire_at"] is None, row["id"]))
        self._zoom = 1
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """Make the page."""
        yield Static(id="timeline-head")
        yield Static(id="timeline-axis")
        yield Lanes()
        yield Static(id="timeline-legend")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Draw it, and go on while one scrolls."""
        self.query_one(Lanes).focus()
        self.set_interval(0.5, self.keep)
        self.call_after_refresh(self.draw)

    def told(self) -> None:
        """Draw it anew."""
        self._shown = ()

    def action_zoom(self, step: int) -> None:
        """Show more or less time."""
        self._zoom = max(min(self._zoom + step, len(_ZOOMS) - 1), 0)
        self.draw()

    def keep(self) -> None:
        """Ask anew where other routines have come in sight, or a cell of time is over."""
        lanes = self.query_one(Lanes)
        _, before, after = _ZOOMS[self._zoom]
        cell = int(self.tui.now.timestamp() / ((before + after) * 3600 / lanes.cells))
        wanted = (self._zoom, lanes.cells, cell, *(row["id"] for row in lanes.seen()))
        if wanted != self._shown and lanes.size.width:
            self._shown = wanted
            self.draw()

    @work(exclusive=True)
    async def draw(self) -> None:
        """Ask for the lanes in sight."""
        lanes = self.query_one(Lanes)
        title, before, after = _ZOOMS[self._zoom]
        now = self.tui.now.replace(microsecond=0)
        start, end = now - timedelta(hours=before), now + timedelta(hours=after)
        lanes.names = self._names
        query = {
            "from": _iso(start),
            "to": _iso(end),
            "cells": str(min(lanes.cells, 400)),
            "ids": ",".join(row["id"] for row in lanes.seen()),
        }
        try:
            found = await self.ask("GET", "/timeline", query=query)
        except Fault as fault:
            self.tell(fault)
            return
        step = (end - start) / found["cells"]
        lanes.put(self._names, {row["id"]: row["marks"] for row in found["rows"]}, int((now - start) / step))
        tones = self.tui.tones
        head = self.query_one("#timeline-head", Static)
        head.update(f"[b]Timeline[/b]  {title} before and after {now.astimezone():%a %H:%M}, local time")
        self.query_one("#timeline-axis", Static).update(_axis(start, step, found, tones))
        parts = ((GOOD, "succeeded"), (BAD, "failed or missed"), (WARN, "skipped or held"), (CALM, "quiet"), (ACCENT, "planned"))
        legend = Text()
        for tone, word in parts:
            legend.append(f"{_MARKS[tone]} ", tones[tone]).append(f"{word}   ", tones[CALM])
        if any(count > found["places"] for count in found["load"]):
            legend.append(f"red starts: more in one minute than the {found['places']} places", tones[BAD])
        self.query_one("#timeline-legend", Static).update(legend)


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _axis(start: datetime, step: timedelta, found: Row, tones: dict[str, str]) -> Text:
    """Return the hours (or days) along the axis, and below them how many start in one minute."""
    length = step * found["cells"]
    days = length > timedelta(days=4)
    every = timedelta(days=-(-length.days // 8)) if days else timedelta(hours=max(-(-int(length.total_seconds()) // 3600 // 8), 1))
    at = start.astimezone().replace(minute=0, second=0) + timedelta(hours=1)
    at = at.replace(hour=0) + timedelta(days=1) if days else at
    times = [" "] * found["cells"]
    while (cell := int((at - start) / step)) < found["cells"] - 6:
        times[cell : cell + 6] = list(f"{at:%d %b}" if days else f"{at:%H:%M} ")[:6]
        at += every
    text = Text(" " * (_NAME + 1)).append("".join(times)[: found["cells"]], tones[CALM]).append("\n")
    text.append(show.fit("starts in one minute", _NAME) + " ", tones[CALM])
    top = max(*found["load"], 1)
    for count in found["load"]:
        level = _LEVELS[-(-count * (len(_LEVELS) - 1) // top)] if count else " "
        text.append(level, tones[BAD if count > found["places"] else ACCENT])
    return text
