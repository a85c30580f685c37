"""One routine: at a glance beside the table, or whole on a page of its own."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Footer, Static, TabbedContent, TabPane

from routinectl.tui import show
from routinectl.tui.doing import Doing
from routinectl.tui.show import BAD, CALM, WARN, Row
from routinectl.tui.source import Fault

Tones = dict[str, str]
_RUNS = 200


def glance(row: Row, found: Row | None, why: Row | None, tones: Tones, now: Any) -> Text:
    """Return what is to be said of a routine: status, words, next fires, why it did not run, what a run may do."""
    text = Text().append(show.clean(row["name"]), "bold").append("\n")
    if row["description"]:
        text.append(show.clean(row["description"]) + "\n", tones[CALM])
    sign, word = show.status(row)
    text.append(f"{sign} {word}", tones[show.tone(row["status"])])
    for badge, tone in show.badges(row):
        text.append(f"  {badge}", tones[tone])
    if row["reason"] and row["status"] != "active":
        text.append(f"\n{show.clean(row['reason'])}", tones[show.tone(row["status"])])
    text.append("\n\n").append("When  ", tones[CALM]).append(show.clean(row["describe"] or row["schedule"]))
    text.append(f"  {row['timezone']}\n", tones[CALM])
    if row["recent"]:
        text.append("Runs  ", tones[CALM])
        for bar, tone in show.spark(row["recent"]):
            text.append(bar, tones[tone])
        text.append(f"  {show.words(row['last_outcome'])} {show.ago(row['last_run_at'], now)}\n", tones[show.tone(row["last_outcome"])])
    if found is None:
        return text
    _heading(text, "Next fires")
    for fire in found["next"]:
        text.append(f"  {show.local(fire['due'], row['timezone'])}  ").append(f"in {show.until(fire['due'], now)}", tones[CALM])
        text.append(f"  {fire['note']}\n" if fire.get("note") else "\n", tones[WARN])
    if not found["next"]:
        text.append("  none planned\n", tones[CALM])
    if found["problems"]:
        _heading(text, "Faults")
        for item in found["problems"]:
            said = item if isinstance(item, str) else f"{item['message']}" + (f"  Hint: {item['hint']}" if item.get("hint") else "")
            text.append(f"  {show.clean(said)}\n", tones[BAD])
    if why is not None:
        _heading(text, "Why it last ran" if why["verdict"] == "ran" else "Why it did not run")
        rule = f"{why['rule']}: {why.get('value')}" if why.get("rule") else ""
        for label, value in (("slot", show.local(why.get("slot"), row["timezone"])), ("reason", show.words(why.get("reason"))), ("rule", rule),
                             ("at", why.get("place")), ("helps", why.get("remedy"))):  # fmt: skip
            if value:
                text.append(f"  {label:<7}", tones[CALM]).append(f"{show.clean(str(value))}\n")
    if found["cannot_start"]:
        _heading(text, "A run could not start now")
        text.append(f"  {show.clean(found['cannot_start'])}\n", tones[BAD])
    _heading(text, "Facts")
    agent = found.get("agent")
    facts = (("may", found["may"]), ("agent", f"{agent['model']}: {', '.join(agent['tools'])}" if agent else ""), ("owner", row["owner"]), ("file", found["file"]),
             ("runs", str(found["run_count"])), ("timeout", (found["definition"] or {}).get("timeout", "")))  # fmt: skip
    for label, value in facts:
        if value:
            text.append(f"  {label:<8}", tones[CALM]).append(f"{show.clean(str(value))}\n")
    return text


def _heading(text: Text, title: str) -> None:
    text.append(f"\n{title}\n", "bold")


class DetailPage(Doing):
    """Everything about one routine."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "Back"), Binding("e", "edit", "Edit"), Binding("r", "run", "Run now"), Binding("R", "run_with", "Run with input", show=False), Binding("p", "pause", "Pause/resume"),
        Binding("space", "switch", "On/off", show=False), Binding("d", "delete", "Delete"), Binding("a", "approve", "Approve"), Binding("x", "deny", "Deny", show=False),
        *(Binding(str(number), f"show('{tab}')", show=False) for number, tab in enumerate(("overview", "definition", "runs", "waiting"), 1)),
        Binding("question_mark", "app.help", "Help"),
    ]  # fmt: skip

    def __init__(self, name: str) -> None:
        super().__init__()
        self.routine_id = name
        self._lines: list[Row] = []

    @property
    def row(self) -> Row | None:
        """The row of this routine."""
        return self.tui.rows.get(self.routine_id)

    def compose(self) -> ComposeResult:
        """Make the page."""
        yield Static(id="detail-top")
        with TabbedContent(initial="overview"):
            with TabPane("1 Overview", id="overview"), VerticalScroll():
                yield Static(id="glance")
            with TabPane("2 Definition", id="definition"), VerticalScroll():
                yield Static(id="text")
            with TabPane("3 Runs", id="runs"):
                yield DataTable(id="runs-table", cursor_type="row", zebra_stripes=True)
            with TabPane("4 Waiting and budget", id="waiting"), VerticalScroll():
                yield Static(id="asked")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Draw it."""
        self.query_one("#runs-table", DataTable).add_columns("Outcome", "Started", "Took", "Why")
        self.draw()

    def told(self) -> None:
        """Draw it anew."""
        self.draw()

    @work(exclusive=True)
    async def draw(self) -> None:
        """Ask for everything, and show it."""
        path, row = f"/routines/{self.routine_id}", self.row
        if row is None:
            self.query_one("#glance", Static).update("It is deleted. What it did stays on record.")
            return
        try:
            found, text, history, proposals, budgets = await asyncio.gather(
                self.ask("GET", path), self.ask("GET", f"{path}/definition"), self.ask("GET", f"{path}/history", query={"limit": str(_RUNS)}),
                self.ask("GET", "/proposals"), self.ask("GET", "/budgets"))  # fmt: skip
            whole = [
                await self.ask("GET", f"/proposals/{item['proposal']}") for item in proposals["items"] if item["routine"] == self.routine_id
            ]
        except Fault as fault:
            self.tell(fault)
            return
        tones = self.tui.tones
        sign, word = show.status(row)
        top = Text().append(show.clean(row["name"]), "bold").append(f"   {sign} {word}", tones[show.tone(row["status"])])
        self.query_one("#detail-top", Static).update(
            top.append(f"   next {show.until(row['next_fire_at'], self.tui.now) or '-'}", tones[CALM])
        )
        self.query_one("#glance", Static).update(glance(row, found, await self.why(), tones, self.tui.now))
        self.query_one("#text", Static).update(show.definition(text["text"], text["problems"], tones))
        self._show_runs(found["running"], history["items"], row["timezone"])
        self.query_one("#asked", Static).update(
            _asked(row, found, whole, [item for item in budgets["items"] if item["id"] == self.routine_id], tones)
        )

    async def why(self) -> Row | None:
        """Return why the last slot is as it is, None where there is nothing to say."""
        try:
            said: Row = await self.ask("GET", f"/routines/{self.routine_id}/why")
        except Fault:
            return None
        return said

    def _show_runs(self, running: list[Row], lines: list[Row], zone: str) -> None:
        table, tones = self.query_one("#runs-table", DataTable), self.tui.tones
        self._lines = [*({"run": item["run"], "verdict": "ran"} for item in running), *reversed(lines)]
        before = table.cursor_row
        table.clear()
        for item in running:
            table.add_row(Text("running", tones[show.ACCENT]), show.local(item["since"], zone), "", "")
        for line in reversed(lines):
            what = line.get("outcome") or line["verdict"]
            took = ""
            if line.get("started_at") and line.get("completed_at"):
                took = show.span((show.instant(line["completed_at"]) - show.instant(line["started_at"])).total_seconds())
            said = " · ".join(
                filter(
                    None,
                    ["" if line["verdict"] == "ran" else show.words(line.get("reason")), line.get("message") or line.get("detail") or ""],
                )
            )
            table.add_row(
                Text(show.words(what), tones[show.tone(what)]),
                show.local(line.get("started_at") or line.get("slot") or line.get("completed_at"), zone),
                took,
                Text(show.clean(said)),
            )
        table.move_cursor(row=min(before, max(table.row_count - 1, 0)))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open a run."""
        from routinectl.tui.run import RunPage

        line = self._lines[event.cursor_row]
        if line["verdict"] == "ran" and line.get("run"):
            self.app.push_screen(RunPage(self.routine_id, str(line["run"])))
        else:
            self.notify("There was no run: this slot did not start one.")

    def action_show(self, tab: str) -> None:
        """Choose a page."""
        self.query_one(TabbedContent).active = tab
        if tab == "runs":
            self.query_one("#runs-table").focus()

    def action_edit(self) -> None:
        """Edit it."""
        self.tui.edit(self.routine_id)

    def gone(self) -> None:
        """Go back: there is nothing here any more."""
        self.app.pop_screen()


def _asked(row: Row, found: Row, proposals: list[Row], budgets: list[Row], tones: Tones) -> Text:
    text = Text()
    if row["status"] == "draft":
        text.append("A draft: it fires once a person activates it (a).\n", tones[WARN])
    if found.get("pending_approval"):
        asked = found["pending_approval"]
        text.append(
            f"Waits for approval ({show.words(asked['mode'])}), until {show.local(asked.get('expires'), row['timezone'])}: a approves, x denies.\n",
            tones[WARN],
        )
    for item in proposals:
        text.append(f"\n{show.words(item['what'])}", "bold").append(f"  proposed by {item['by']}  {item['proposal']}\n", tones[CALM])
        if item.get("reason"):
            text.append(f"{show.clean(item['reason'])}\n")
        if item.get("patch"):
            text.append_text(show.diff(item["patch"], tones))
        text.append("Answer it under w (what waits).\n", tones[CALM])
    if budgets:
        text.append("\nBudgets of the day\n", "bold")
        text.append_text(bars(budgets, tones))
    return text if text.plain else Text("Nothing waits for a person, and it has no budget of the day.", tones[CALM])


def bars(budgets: list[Row], tones: Tones) -> Text:
    """Return budgets as bars: used, reserved, cap, and what the day would come to."""
    text = Text()
    for item in budgets:
        share = min((item["used"] + item["reserved"]) / item["cap"], 1.0) if item["cap"] else 1.0
        full = round(share * 24)
        text.append(f"  {show.fit(item['id'], 22)} {show.fit(show.words(item['what']), 9)} ").append(
            "█" * full, tones[BAD] if share >= 1 else tones[show.ACCENT]
        )
        text.append("░" * (24 - full), tones[CALM]).append(f"  {item['words']['used']:>8} of {item['words']['cap']:<8}")
        forecast = item["forecast"]
        text.append(
            f"  the day would come to {item['words']['forecast']}\n" if forecast is not None else "\n",
            tones[WARN] if (forecast or 0) > item["cap"] else tones[CALM],
        )
    return text
