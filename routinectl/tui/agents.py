"""Saved agents and the budgets of the day: what each may do, who uses it, what is used up."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Footer, Static

from routinectl.tui import show
from routinectl.tui.base import Page
from routinectl.tui.detail import Tones, bars
from routinectl.tui.show import BAD, CALM, WARN, Row
from routinectl.tui.source import Fault


class AgentsPage(Page):
    """One text: agents, then budgets."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "Back"),
        Binding("question_mark", "app.help", "Help"),
    ]

    def compose(self) -> ComposeResult:
        """Make the page."""
        with VerticalScroll(id="agents"):
            yield Static(id="agents-text")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Draw it."""
        self.draw()

    def told(self) -> None:
        """Draw it anew."""
        self.draw()

    @work(exclusive=True)
    async def draw(self) -> None:
        """Ask for both, and show them."""
        try:
            agents, budgets = await asyncio.gather(self.ask("GET", "/agents"), self.ask("GET", "/budgets"))
        except Fault as fault:
            self.tell(fault)
            return
        tones = self.tui.tones
        text = Text().append("Agents\n\n", "bold")
        for item in agents["items"]:
            text.append_text(_agent(item, tones))
        if not agents["items"]:
            text.append("None yet. Write agents/reviewer/AGENT.md, try it with routinectl agents run reviewer.\n\n", tones[CALM])
        text.append("Budgets of the day\n\n", "bold").append_text(bars(budgets["items"], tones))
        if not budgets["items"]:
            text.append("None. A routine may have one: budget: {per_day: {runs: 24, tokens: 100000, cpu: 1h}}\n", tones[CALM])
        self.query_one("#agents-text", Static).update(text)


def _agent(item: Row, tones: Tones) -> Text:
    """Return what an agent is and may do, or what is wrong with it."""
    text = Text("  ").append(show.clean(item["name"]), "bold")
    text.append(f"  {show.clean(item['description'])}\n" if item["description"] else "\n", tones[CALM])
    if not item["valid"]:
        for problem in item["problems"]:
            text.append(f"    {show.clean(problem['where'])}: {show.clean(problem['message'])}\n", tones[BAD])
        return text.append("\n")
    caps = ", ".join(f"{key} {value}" for key, value in item["budget"].items() if key != "per_day")
    facts = (("model", item["model"]), ("tools", ", ".join(item["tools"]) or "none"), ("may", item["may"]), ("budget", caps),
             ("used by", ", ".join(item["routines"]) or "no routine"))  # fmt: skip
    for name, value in facts:
        if value:
            lines = show.clean(str(value)).split("; ")
            text.append(f"    {name:<9}", tones[CALM]).append(";\n             ".join(lines) + "\n")
    if item["external"] != "none":
        text.append("    its runs may have effects outside this machine\n", tones[WARN])
    return text.append("\n")
