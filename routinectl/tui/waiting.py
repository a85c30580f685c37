"""What waits for a person: drafts, approvals, slots to review, proposals with their changes; each is answered here."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from routinectl.tui import show
from routinectl.tui.doing import Doing
from routinectl.tui.show import CALM, WARN, Row
from routinectl.tui.source import Fault


class WaitingPage(Doing):
    """A list of what waits, and beside it what one would say yes to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "Back"), Binding("a", "yes", "Approve, apply, run"), Binding("x", "no", "Deny, reject"),
        Binding("question_mark", "app.help", "Help"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._items: list[Row] = []

    @property
    def item(self) -> Row | None:
        """What the cursor is on."""
        number = self.query_one(OptionList).highlighted
        return self._items[number] if number is not None and number < len(self._items) else None

    @property
    def row(self) -> Row | None:
        """The routine it is about."""
        item = self.item
        return self.tui.rows.get(item.get("id") or item["routine"]) if item else None

    def compose(self) -> ComposeResult:
        """Make the page."""
        with Horizontal():
            yield OptionList(id="waiting-list")
            with VerticalScroll(id="waiting-text"):
                yield Static(id="waiting-what")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Draw it."""
        self.query_one(OptionList).focus()
        self.draw()

    def told(self) -> None:
        """Draw it anew."""
        self.draw()

    @work(exclusive=True)
    async def draw(self) -> None:
        """Ask what waits, and list it."""
        try:
            asked, proposed, held = await asyncio.gather(
                self.ask("GET", "/approvals"), self.ask("GET", "/proposals"), self.ask("GET", "/reviews"))  # fmt: skip
        except Fault as fault:
            self.tell(fault)
            return
        self._items = [*asked["items"], *_by_routine(held["items"]), *proposed["items"]]
        found = self.query_one(OptionList)
        before = found.highlighted or 0
        found.clear_options()
        for item in self._items:
            found.add_option(Option(self._line(item)))
        found.highlighted = min(before, len(self._items) - 1) if self._items else None
        if not self._items:
            text = (
                Text()
                .append("Nothing waits.\n\n", "bold")
                .append("Drafts of agents, runs that need approval, proposed changes and slots to review come here.", self.tui.tones[CALM])
            )
            self.query_one("#waiting-what", Static).update(text)

    def _line(self, item: Row) -> Text:
        name = item.get("id") or item["routine"]
        text = Text().append(str(self.tui.rows.get(name, {}).get("name", name)), "bold")
        return text.append(f"\n{show.words(item['what'])}, {show.ago(item['at'], self.tui.now)}")

    @work(exclusive=True, group="what")
    async def on_option_list_option_highlighted(self) -> None:
        """Show what one would say yes to."""
        item, tones = self.item, self.tui.tones
        if item is None:
            return
        try:
            if "proposal" in item:
                whole = await self.ask("GET", f"/proposals/{item['proposal']}")
                text = (
                    Text()
                    .append(f"{show.words(item['what'])} for {item['routine']}\n", "bold")
                    .append(f"proposed by {item['by']}\n", tones[CALM])
                )
                if item.get("reason"):
                    text.append(f"{show.clean(item['reason'])}\n")
                text.append("\n")
                for key, value in {**item.get("arguments", {}), **(item.get("payload") or {})}.items():
                    text.append(f"{show.clean(str(key))}  ", tones[CALM]).append(f"{show.clean(str(value))}\n")
                text.append_text(show.diff(whole.get("patch") or "", tones))
            elif "reviews" in item:
                text = Text().append("to review\n\n", "bold")
                for one in item["reviews"]:
                    text.append(f"{one.get('slot') or one['request']}\n").append(f"  {one['words']}\n", tones[CALM])
            else:
                found = await self.ask("GET", f"/routines/{item['id']}/definition")
                what = "a draft: it fires once a person activates it" if item["what"] == "draft" else f"approval {show.words(item['what'])}"
                text = Text().append(f"{what}\n", "bold")
                text.append(f"{found['words']}  {found['timezone']}\na run may: {found['may']}\n", tones[CALM])
                text.append("its runs may have effects outside this machine\n\n" if found.get("external") else "\n", tones[WARN])
                text.append_text(show.definition(found["text"], found["problems"], tones))
        except Fault as fault:
            text = Text(str(fault), tones[show.BAD])
        self.query_one("#waiting-what", Static).update(text)

    @work
    async def action_yes(self) -> None:
        """Approve, activate or apply it."""
        item = self.item
        if item is not None:
            await self._answer(item, yes=True)
            self.draw()

    @work
    async def action_no(self) -> None:
        """Deny or reject it."""
        item = self.item
        if item is not None:
            await self._answer(item, yes=False)
            self.draw()

    async def _answer(self, item: Row, *, yes: bool) -> None:
        if "proposal" in item:
            await self.answer_proposal(item, apply=yes)
        elif "reviews" in item:
            await self.answer_review(item, run=yes)
        else:
            await (self.approve() if yes else self.deny())


def _by_routine(found: list[Row]) -> list[Row]:
    """Return what waits for review as one item for each routine."""
    items: dict[str, Row] = {}
    for one in found:
        item = items.setdefault(one["id"], {"id": one["id"], "what": "review", "at": one["since"], "reviews": []})
        item["reviews"].append(one)
    return list(items.values())
