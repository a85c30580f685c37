"""The app: the table of all routines, what is live, and the way to every other screen."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import Screen
from textual.theme import Theme
from textual.widgets import Footer, Input, Static

from routinectl import clock
from routinectl.process import editor
from routinectl.tui import show
from routinectl.tui.agents import AgentsPage
from routinectl.tui.ask import Help
from routinectl.tui.base import Page
from routinectl.tui.detail import DetailPage, glance
from routinectl.tui.doing import Doing
from routinectl.tui.form import FormPage
from routinectl.tui.show import Row
from routinectl.tui.source import Fault, Source
from routinectl.tui.table import Head, RoutineTable
from routinectl.tui.timeline import TimelinePage
from routinectl.tui.waiting import WaitingPage

_POLL_SECONDS = 1.0
_PAGE = 1000
_SIDE = 140  # cells from which on there is a pane beside the table
_LAST = "9999"
_NEEDS = ("invalid", "draft", "pending_approval")
FILTERS = ("all", "needs a look", "active", "paused", "disabled", "draft", "pending_approval", "invalid")
ORDERS = ("next fire", "name", "last run", "status")

THEMES = (
    Theme("routinectl-dark", primary="#7fb0f5", secondary="#a3aec0", accent="#7fb0f5", success="#6fcf97", warning="#f0bd6a", error="#ff9a91",
          foreground="#e6eaf1", background="#12161d", surface="#1a2029", panel="#2a3240", boost="#212835", dark=True),
    Theme("routinectl-light", primary="#1f5fbf", secondary="#566175", accent="#1f5fbf", success="#1a7a45", warning="#8a5200", error="#b3261e",
          foreground="#1b2230", background="#ffffff", surface="#f5f6f8", panel="#e3e8ef", boost="#e6effb", dark=False),
)  # fmt: skip
_TONES = {show.GOOD: "success", show.BAD: "error", show.WARN: "warning", show.CALM: "secondary", show.ACCENT: "accent"}


def needs_a_look(row: Row) -> bool:
    """Say whether a person should look at a routine: it waits for one, is broken or overdue, or its last run was not good."""
    return (
        row["status"] in _NEEDS
        or bool(row["proposals"] or row["reviews"])
        or "OVERDUE" in row["badges"]
        or show.tone(row["last_outcome"]) == show.BAD
    )


def order(rows: list[Row], by: str) -> list[Row]:
    """Return rows in an order; what has nothing to be ordered by comes last."""
    if by == "name":
        return sorted(rows, key=lambda row: (row["name"].casefold(), row["id"]))
    if by == "last run":
        return sorted(rows, key=lambda row: row["last_run_at"] or "", reverse=True)
    if by == "status":
        return sorted(rows, key=lambda row: (not needs_a_look(row), row["status"], row["id"]))
    return sorted(rows, key=lambda row: (row["next_fire_at"] or _LAST, row["id"]))


class MainPage(Doing):
    """The table, its search, and (where there is room) the routine under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New"), Binding("e", "edit", "Edit"), Binding("r", "run", "Run"), Binding("R", "run_with", "Run with input", show=False), Binding("p", "pause", "Pause"),
        Binding("d", "delete", "Delete"), Binding("a", "approve", "Approve"), Binding("x", "deny", "Deny", show=False),
        Binding("space", "switch", "On/off", show=False), Binding("slash", "search", "Search", key_display="/"), Binding("f", "filter", "Filter", show=False),
        Binding("s", "sort", "Sort", show=False), Binding("t", "timeline", "Time"), Binding("w", "waiting", "Waits"), Binding("b", "agents", "Agents", show=False),
        Binding("question_mark", "app.help", "Help", key_display="?"), Binding("q", "app.quit", "Quit", show=False),
        Binding("escape", "clear", "Show all", show=False),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._filter = FILTERS[0]
        self._order = ORDERS[0]
        self._seen = ""

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        return self.query_one(RoutineTable).current

    def compose(self) -> ComposeResult:
        """Make the page."""
        yield Static(id="top")
        yield Static(id="bar")
        yield Input(placeholder="/ search", id="search", compact=True)
        with Horizontal():
            with Vertical():
                yield Head()
                yield RoutineTable()
                yield Static(id="empty")
            with VerticalScroll(id="side", can_focus=False):
                yield Static(id="side-text")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Begin with the table."""
        self.query_one(RoutineTable).focus()
        self.told()

    def on_resize(self) -> None:
        """Show the pane where there is room."""
        self.set_class(self.size.width >= _SIDE, "wide")

    def told(self) -> None:
        """Show what has changed."""
        self.draw()
        self.glance()

    def draw(self) -> None:
        """Show the rows that are asked for."""
        text = self.query_one("#search", Input).value.casefold()
        rows = [row for row in self.tui.rows.values() if self._fits(row, text)]
        table, empty = self.query_one(RoutineTable), self.query_one("#empty", Static)
        table.now = self.tui.now
        table.put(order(rows, self._order))
        table.display, empty.display = bool(rows), not rows
        if not rows:
            none = f"{self.tui.none or 'No routines yet'}.\n\nn makes the first one." if self.tui.loaded else "Reading the workspace…"
            empty.update("Nothing fits. Esc shows all." if self.tui.rows else none)
        self.draw_top()

    def _fits(self, row: Row, text: str) -> bool:
        fits = needs_a_look(row) if self._filter == "needs a look" else self._filter in ("all", row["status"])
        return fits and (not text or text in self.tui.text_of(row))

    def draw_top(self) -> None:
        """Say where one is, what is shown, and whether it is live."""
        tui, tones = self.tui, self.tui.tones
        shown, total = len(self.query_one(RoutineTable).rows), len(tui.rows)
        text = Text().append("routinectl ", "bold").append(tui.title_of_workspace, tones[show.ACCENT])
        noun = "routine" if total == 1 else "routines"
        text.append(f"   {total} {noun}" if shown == total else f"   {shown} of {total} {noun}")
        text.append(f"   {show.words(self._filter)}   by {self._order}", tones[show.CALM])
        waiting = sum(row["status"] in ("draft", "pending_approval") for row in tui.rows.values()) + sum(
            row["proposals"] + bool(row["reviews"]) for row in tui.rows.values()
        )
        if waiting:
            text.append(f"   {waiting} waiting (w)", tones[show.WARN])
        self.query_one("#top", Static).update(text)
        bar = self.query_one("#bar", Static)
        said = ""
        if tui.away:
            said = f"Stale since {tui.away.astimezone():%H:%M:%S}: {tui.trouble}"
        elif tui.loaded and not tui.serve_alive:
            said = "No serve runs: nothing fires by itself." + (" What you start here is minded here." if tui.source.local else "")
        bar.update(Text(said))
        bar.display = bool(said)
        bar.set_class(tui.away is not None, "away")

    def tick(self) -> None:
        """Count down."""
        self.query_one(RoutineTable).tick(self.tui.now)

    @work(exclusive=True, group="glance")
    async def glance(self) -> None:
        """Show the routine under the cursor in the pane, once the cursor rests."""
        row, pane = self.row, self.query_one("#side-text", Static)
        if row is None or not self.has_class("wide"):
            pane.update("")
            return
        if row["id"] != self._seen:
            pane.update(glance(row, None, None, self.tui.tones, self.tui.now))
            await asyncio.sleep(0.15)
        self._seen = row["id"]
        try:
            found = await self.ask("GET", f"/routines/{row['id']}")
        except Fault:
            return
        pane.update(glance(row, found, None, self.tui.tones, self.tui.now))

    # -- keys

    @on(Input.Changed, "#search")
    def searched(self) -> None:
        """Filter as one types."""
        self.draw()

    @on(Input.Submitted, "#search")
    def found(self) -> None:
        """Go on in the table."""
        self.query_one(RoutineTable).focus()

    @on(RoutineTable.Moved)
    def moved(self) -> None:
        """Show another routine in the pane."""
        self.glance()

    @on(RoutineTable.Opened)
    def opened(self) -> None:
        """Open the routine under the cursor."""
        if self.row:
            self.app.push_screen(DetailPage(self.row["id"]))

    def action_search(self) -> None:
        """Search."""
        self.query_one("#search").focus()

    def action_clear(self) -> None:
        """Show all."""
        self.query_one("#search", Input).value = ""
        self._filter = FILTERS[0]
        self.query_one(RoutineTable).focus()
        self.draw()

    def action_filter(self) -> None:
        """Go to the next filter."""
        self._filter = FILTERS[(FILTERS.index(self._filter) + 1) % len(FILTERS)]
        self.draw()

    def action_sort(self) -> None:
        """Go to the next order."""
        self._order = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]
        self.draw()

    def action_new(self) -> None:
        """Make a routine."""
        self.app.push_screen(FormPage())

    def action_edit(self) -> None:
        """Edit the routine under the cursor."""
        if self.row:
            self.tui.edit(self.row["id"])

    def action_agents(self) -> None:
        """Show the saved agents, and the budgets of the day."""
        self.app.push_screen(AgentsPage())

    def action_timeline(self) -> None:
        """Show the rows of the table on one axis."""
        self.app.push_screen(TimelinePage(self.query_one(RoutineTable).rows))

    def action_waiting(self) -> None:
        """Show what waits for a person."""
        self.app.push_screen(WaitingPage())


class Tui(App[None]):
    """The app over one source."""

    CSS_PATH = "app.tcss"
    TITLE = "routinectl"
    ENABLE_COMMAND_PALETTE = True

    def __init__(self, source: Source, *, now: datetime | None = None) -> None:
        super().__init__()
        self.source = source
        self.rows: dict[str, Row] = {}
        self.none = ""  # why there are no rows
        self.loaded = False
        self.serve_alive = True
        self.title_of_workspace = source.where
        self.away: datetime | None = None  # since when nobody answers
        self.trouble = ""
        self._position = ""
        self._skew = timedelta()
        self._wishes = 0  # polls that are wanted
        self._polling = False
        self._texts: dict[str, tuple[Row, str]] = {}
        self._fixed = now
        self.first_theme = THEMES[0].name

    @property
    def now(self) -> datetime:
        """The instant, by the clock of the source."""
        return self._fixed or clock.now() + self._skew

    @property
    def tones(self) -> dict[str, str]:
        """The colours of the theme, by what they mean."""
        found = self.theme_variables
        return {tone: found[name] for tone, name in _TONES.items()}

    def text_of(self, row: Row) -> str:
        """Return what a search looks through, made once for a row."""
        known = self._texts.get(row["id"])
        if known is None or known[0] is not row:
            parts = [row["id"], row["name"], row["description"], row["describe"], *row["tags"], row["agent"]]
            known = self._texts[row["id"]] = (row, "\n".join(parts).casefold())
        return known[1]

    def on_mount(self) -> None:
        """Begin."""
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self.first_theme
        self.push_screen(MainPage())
        self.set_interval(1.0, self.tick)
        self.set_interval(_POLL_SECONDS, self.poll)
        self.poll()

    def on_unmount(self) -> None:
        """End the session."""
        self.source.close()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Return the commands of the palette."""
        yield from super().get_system_commands(screen)
        main = next((item for item in self.screen_stack if isinstance(item, MainPage)), None)
        if main is not None and screen is main:
            for key, title, text in (("new", "New routine", "Make a routine"), ("edit", "Edit", "Edit the routine under the cursor"), ("run", "Run now", "Run it now"), ("run_with", "Run with input", "Run it now with an input of its own"),
                                     ("pause", "Pause or resume", "Stop firing it for a while"), ("switch", "Enable or disable", "Change enabled"), ("delete", "Delete", "Delete it, after asking"),
                                     ("approve", "Approve", "Approve what it asks for, activate a draft"), ("deny", "Deny", "Deny what it asks for"), ("timeline", "Timeline", "All routines on one axis"),
                                     ("waiting", "Waiting", "What waits for a person"), ("agents", "Agents and budgets", "What each may do, what is used up"), ("filter", "Next filter", "Show others"), ("sort", "Next order", "Sort otherwise")):  # fmt: skip
                yield SystemCommand(title, text, getattr(main, f"action_{key}"))

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Help())

    def tick(self) -> None:
        """Count down."""
        for screen in self.screen_stack:
            if isinstance(screen, MainPage) and screen.is_current and screen.alive:
                screen.tick()

    # -- keeping up

    @work(group="poll")
    async def poll(self) -> None:
        """Ask what has changed, and tell the screens. One at a time: who is interrupted would have heard, and told nobody."""
        self._wishes += 1
        while not self._polling and self._wishes:
            self._polling, self._wishes = True, 0
            try:
                await self._hear()
            finally:
                self._polling = False

    async def _hear(self) -> None:
        try:
            changed = await asyncio.to_thread(self._ask)
        except Fault as fault:
            self.away = self.away or clock.now()
            self.trouble = str(fault)
            changed = False
            if fault.status == 401:
                self.exit(message=f"Error: {fault}\nHint: {fault.hint}", return_code=77)
                return
        else:
            changed = changed or self.away is not None
            self.away = None
        for screen in self.screen_stack:
            if isinstance(screen, Page) and screen.alive:
                if isinstance(screen, MainPage):
                    screen.draw_top()
                if changed:
                    screen.told()

    def _ask(self) -> bool:
        """Bring the rows up to date; say whether anything changed."""
        me = self.source.request("GET", "/me")
        alive, self.serve_alive, self.title_of_workspace = self.serve_alive, me["serve_alive"], me["workspace"]
        self._skew = show.instant(me["now"]) - clock.now()
        news: Row = self.source.request("GET", "/routines", query={"since": self._position}) if self._position else {"whole": True}
        if news["whole"]:
            self._load()
            return True
        rows = {name: row for name, row in self.rows.items() if name not in news["gone"]}
        rows.update({row["id"]: row for row in news["items"]})
        self.rows, self._position, self.none = rows, news["position"], news["none"]
        return bool(news["items"] or news["gone"] or alive != self.serve_alive)

    def _load(self) -> None:
        rows: dict[str, Row] = {}
        cursor, position = "", ""
        while True:
            page = self.source.request("GET", "/routines", query={"limit": str(_PAGE), **({"cursor": cursor} if cursor else {})})
            rows.update({row["id"]: row for row in page["items"]})
            position = position or page["position"]
            cursor = page["next"]
            if not cursor:
                break
        self.rows, self._position, self.none, self.loaded = rows, position, page["none"], True

    # -- editing

    def edit(self, name: str) -> None:
        """Open the form of a routine."""
        self.push_screen(FormPage(name))

    def in_editor(self, text: str) -> str | None:
        """Return what a person made of a text in his editor; None when the editor failed. The terminal is the editor's meanwhile."""
        command = editor.command()
        if not command:
            self.notify("There is no editor: EDITOR=nano routinectl tui", severity="error")
            return None
        with tempfile.TemporaryDirectory(prefix="routinectl-") as folder:
            path = Path(folder) / "ROUTINE.yaml"
            path.write_text(text)
            if editor.run(command, path) != 0:
                self.notify(f"{command} failed; nothing was changed", severity="error", markup=False)
                return None
            return path.read_text(errors="replace")
