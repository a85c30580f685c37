"""Making and changing a routine: a form that says as one types what it means and when it fires, or the YAML itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Checkbox, Footer, Input, Label, Select, Static, TabbedContent, TabPane, TextArea

from routinectl.tui import show
from routinectl.tui.base import Page
from routinectl.tui.show import BAD, CALM, WARN, Row
from routinectl.tui.source import Fault

_PATIENCE = 0.25  # seconds after the last key before it is checked
_KINDS = {"command": "a command", "prompt": "a prompt to a model", "agent": "a saved agent"}
_TEXTS = ("name", "description", "timezone", "timeout")
_LINES = {**{key: key for key in _TEXTS}, "triggers": "when", "payload": "payload"}  # fields that are one line


def _field(label: str, field: Widget) -> ComposeResult:
    with Horizontal(classes="field"):
        yield Label(label)
        yield field


class FormPage(Page):
    """The form of a routine; without a name, of a new one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", priority=True), Binding("ctrl+s", "save", "Save", priority=True), Binding("ctrl+e", "editor", "In your editor", priority=True),
        Binding("ctrl+t", "turn", "Form/YAML", priority=True),
    ]  # fmt: skip

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self.routine_id = name
        self._before = self._base = self._text = self._etag = ""  # the file; what the form changes; what comes of it
        self._form: Row = {}  # what the form shows of it, and what may be changed
        self._filled: Row = {}  # what the fields said when they were filled
        self._checked: Row = {}
        self._first: tuple[object, ...] = ()
        self.ready = self._touched = False
        self._settle = 0

    @property
    def yaml(self) -> bool:
        """Whether the YAML is in sight."""
        return self.query_one(TabbedContent).active == "yaml"

    def compose(self) -> ComposeResult:
        """Make the page."""
        yield Static(id="form-title")
        with Horizontal():
            with TabbedContent(initial="form", id="form-tabs"):
                with TabPane("Form", id="form"), VerticalScroll(can_focus=False):
                    yield from self._fields()
                with TabPane("YAML", id="yaml"):
                    if not self.routine_id:
                        yield Input(placeholder="id: lower-case letters, digits and -", id="id")
                    yield TextArea.code_editor("", language=None, id="text", show_line_numbers=True, tab_behavior="indent")
            with VerticalScroll(id="preview-box", can_focus=False):
                yield Static(id="preview")
        yield Footer(show_command_palette=False, compact=True)

    def _fields(self) -> ComposeResult:
        yield from _field("Name", Input(placeholder="Nightly backup", id="name", compact=True))
        yield from _field("Description", Input(placeholder="what it is for", id="description", compact=True))
        yield from _field("When", Input(placeholder="weekdays at 9:30, every 15m, */10 8-18 * * *", id="when", compact=True))
        yield from _field("Time zone", Input(placeholder="that of the workspace", id="timezone", compact=True))
        yield from _field("It does", Select(_choices(_KINDS), value="command", allow_blank=False, id="kind", compact=True))
        yield from _field("", Select([("-", "-")], value="-", allow_blank=False, id="agent", compact=True))
        yield from _field("", TextArea(id="action-text", compact=True))
        yield from _field("Timeout", Input(placeholder="10m", id="timeout", compact=True))
        yield from _field("Payload", Input(placeholder='{"day": "monday"}, may be empty', id="payload", compact=True))
        yield from _field("", Checkbox("Enabled", value=True, id="enabled", compact=True))

    @work
    async def on_mount(self) -> None:
        """Fill it in."""
        title = f"[b]Edit[/b] {self.routine_id}" if self.routine_id else "[b]New routine[/b]"
        self.query_one("#form-title", Static).update(f"{title}   ctrl+s saves, ctrl+t turns to the YAML and back")
        try:
            if self.routine_id:
                self._checked = await self.ask("GET", f"/routines/{self.routine_id}/definition")
                self._before = self._base = self._checked["text"]
                self._etag = self._checked["etag"]
            else:
                self._checked = await self.ask("POST", "/check", {"id": "new-routine", "form": {}})
        except Fault as fault:
            self.tell(fault)
            self.app.pop_screen()
            return
        self._text = self._checked["text"]
        if self._checked["doc"] is None:
            self.query_one(TabbedContent).active = "yaml"
        else:
            self._fill(self._checked["form"])
        self.query_one("#text", TextArea).load_text(self._text)
        self.query_one("#text" if self.yaml else "#name").focus()
        self._begin()

    def _begin(self) -> None:
        """Listen to what is typed from here on."""
        self._first = self._said()
        self.ready = True
        self.check()

    def _said(self) -> tuple[object, ...]:
        """Return what stands in the fields."""
        fields = (*self.query(Input), *self.query(Select), *self.query(Checkbox))
        return (*(item.value for item in fields if item.id), *(area.text for area in self.query(TextArea)))

    def on_resize(self) -> None:
        """Use every line of a low terminal."""
        self.set_class(self.size.height < 32, "low")

    def _fill(self, form: Row) -> None:
        """Put what the form shows of the definition into the fields; what it does not show whole cannot be changed, and says why."""
        self._form = form
        for key, name in _LINES.items():
            field = self._input(name)
            field.value, field.disabled = form[key]["text"].replace("\n", " "), not form[key]["editable"]
            field.tooltip = form[key]["why"] or None
        action = form["action"]
        kind = str(action["kind"])
        select = self.query_one("#kind", Select)
        select.set_options(_choices(action["kinds"]) if action["editable"] else [(action["why"], kind)])
        select.value, select.disabled = kind, len(action["kinds"]) < 2
        chooser = self.query_one("#agent", Select)
        names = action["agents"] or ["-"]
        used = (action["value"] or {}).get("use")
        chooser.set_options([(name, name) for name in names])
        chooser.value = used if used in names else names[0]
        self._show_agents(kind)
        area = self.query_one("#action-text", TextArea)
        area.load_text(action["text"])
        area.read_only = not action["editable"]
        box = self.query_one("#enabled", Checkbox)
        box.value, box.disabled = form["enabled"]["value"] is not False, not form["enabled"]["editable"]
        self._filled = self._fields_now()

    def _show_agents(self, kind: str) -> None:
        row = self.query_one("#agent").parent
        if row is not None:
            row.display = kind == "agent"

    def _input(self, key: str) -> Input:
        return self.query_one(f"#{key}", Input)

    # -- what it says now

    def changes(self) -> Row:
        """Return the fields that say something else than when they were filled: nothing else is ever written."""
        return {key: value for key, value in self._fields_now().items() if value != self._filled[key] and self._form[key]["editable"]}

    def _fields_now(self) -> Row:
        kind, agent = (str(self.query_one(name, Select).value) for name in ("#kind", "#agent"))
        action = {"kind": kind, "text": self.query_one("#action-text", TextArea).text, "use": agent if kind == "agent" else ""}
        lines = {key: self._input(name).value.strip() for key, name in _LINES.items()}
        return {**lines, "action": action, "enabled": self.query_one("#enabled", Checkbox).value}

    # -- checking as one types

    @on(Input.Changed)
    @on(TextArea.Changed)
    @on(Select.Changed)
    @on(Checkbox.Changed)
    def changed(self, event: Any) -> None:
        """Check it, once no more keys come."""
        if event.control.id == "kind":
            self._show_agents(event.control.value)
        if not self.ready:
            return
        self._touched = self._touched or self._said() != self._first
        self._settle += 1
        mine = self._settle
        self.set_timer(_PATIENCE, lambda: self.check() if mine == self._settle else None)

    @work(exclusive=True, group="check")
    async def check(self) -> None:
        """Say what it means and when it fires, or what is wrong with it."""
        await self._check()

    async def _check(self) -> None:
        try:
            self._checked = await self.ask("POST", "/check", {"id": self.routine_id or "new-routine", **self._asked()})
        except Fault as fault:
            self._checked = {"good": False, "problems": [{"message": str(fault), "hint": fault.hint}]}
        self._show()

    def _asked(self) -> Row:
        """Return what is to be checked: a text, or what the form changes of one; a new definition has none yet."""
        if self.yaml:
            return {"text": self.query_one("#text", TextArea).text}
        return {"form": self.changes(), **({"text": self._base} if self._base else {})}

    def _show(self) -> None:
        found, tones = self._checked, self.tui.tones
        text = Text().append("What it means\n", "bold")
        if found.get("words"):
            text.append(f"{found['words']}", tones[show.ACCENT]).append(f"  {found['timezone']}\n\n", tones[CALM])
            for fire in found["next"]:
                text.append(f"{show.local(fire['due'], found['timezone'])}  ").append(show.until(fire["due"], self.tui.now), tones[CALM])
                text.append(f"\n  {fire['note']}\n" if fire.get("note") else "\n", tones[WARN])
            if not found["next"]:
                text.append("no fire is planned\n", tones[CALM])
        if found.get("external"):
            text.append("\n↗ its runs may have effects outside this machine\n", tones[WARN])
        if found.get("may"):
            text.append(f"\na run may: {found['may']}\n", tones[CALM])
        for key, field in self._form.items() if not self.yaml else ():
            if not field["editable"]:
                text.append(f"\n{key} stays as it is: {show.clean(field['why'])}; ctrl+t turns to the YAML\n", tones[CALM])
        problems = found.get("problems", [])
        if not self._touched and not self.routine_id:
            problems = [item for item in problems if item.get("path") not in ("name", "action.command")]
        for item in problems:
            where = f"line {item['line']}: " if item.get("line") and self.yaml else f"{item['path']}: " if item.get("path") else ""
            text.append(f"\n✗ {where}{show.clean(item['message'])}\n", tones[BAD])
            if item.get("hint"):
                text.append(f"  Hint: {show.clean(item['hint'])}\n", tones[CALM])
        self.query_one("#preview", Static).update(text)

    # -- the two faces

    @work
    async def action_turn(self) -> None:
        """Turn to the YAML, or back to the form."""
        tabs = self.query_one(TabbedContent)
        if not self.yaml:
            await self._check()
            self._text = self._checked.get("text") or self._text
            self.ready = False
            self.query_one("#text", TextArea).load_text(self._text)
            tabs.active = "yaml"
            self.query_one("#text").focus()
        else:
            await self._check()
            if not isinstance(self._checked.get("doc"), dict):
                self.notify("The form cannot show a text that is no YAML mapping.", severity="warning")
                return
            self._base, self.ready = self.query_one("#text", TextArea).text, False
            self._fill(self._checked["form"])
            tabs.active = "form"
            self.query_one("#name").focus()
        self._begin()

    @work
    async def action_editor(self) -> None:
        """Go on in the editor of the person ($VISUAL, $EDITOR)."""
        if not self.yaml:
            self.action_turn()
            await asyncio.sleep(0)
            await self.workers.wait_for_complete([worker for worker in self.workers if worker.name == "action_turn"])
        area = self.query_one("#text", TextArea)
        with self.app.suspend():
            text = self.tui.in_editor(area.text)
        if text is not None:
            area.load_text(text)
            self._touched = True
            self.check()

    # -- keeping it

    @work
    async def action_save(self) -> None:
        """Write it, if it is good."""
        self._touched = True
        await self._check()
        match = {"If-Match": self._etag} if self.routine_id else {"If-None-Match": "*"}
        try:
            found = await self._save(match)
        except Fault as fault:
            self._checked["problems"] = fault.problems or self._checked.get("problems", [])
            self._show()
            if fault.status == 412:
                self.notify("Somebody else changed it meanwhile. Copy your text, and open it again.", severity="error", timeout=10)
            else:
                self.tell(fault)
            return
        self.notify(
            f"{found['name']} is {'saved' if self.routine_id else 'made'}{', as a draft' if found['status'] == 'draft' else ''}",
            markup=False,
        )
        self.tui.poll()
        self.app.pop_screen()

    async def _save(self, match: dict[str, str]) -> Row:
        if self.yaml:
            name = self.routine_id or self._input("id").value.strip()
            if not name:
                raise Fault(400, {"detail": "a new routine needs an id", "hint": "my-backup, above the text"})
            text = self.query_one("#text", TextArea).text
            found: Row = await self.ask("PUT", f"/routines/{name}/definition", {"text": text}, None, match)
            return found
        if not isinstance(self._checked.get("doc"), dict):
            raise Fault(422, {"detail": "nothing is written: it cannot be read as it stands", "errors": self._checked["problems"]})
        if not self.routine_id:
            made: Row = await self.ask("POST", "/routines", self._checked["doc"])
            return made
        text = self._checked["text"]  # what was previewed, byte for byte
        if text == self._before:
            return {"name": self.routine_id, "status": ""}
        changed: Row = await self.ask("PUT", f"/routines/{self.routine_id}/definition", {"text": text}, None, match)
        return changed

    @work
    async def action_leave(self) -> None:
        """Go back; ask first, where something would be lost."""
        from routinectl.tui.ask import Ask

        if (
            self._touched
            and await self.app.push_screen_wait(Ask("Leave without saving?", "What you typed is lost.", "Leave", danger=True)) is None
        ):
            return
        self.app.pop_screen()


def _choices(kinds: Iterable[str]) -> list[tuple[str, str]]:
    return [(_KINDS[kind], kind) for kind in kinds]
