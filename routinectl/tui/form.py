"""Making and changing a routine: a form that says as one types what it means and when it fires, or the YAML itself."""

from __future__ import annotations

import asyncio
import json
from copy import deepcopy
from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Checkbox, Footer, Input, Label, Select, Static, TabbedContent, TabPane, TextArea

from routinectl.core import foreign
from routinectl.tui import show
from routinectl.tui.base import Page
from routinectl.tui.show import BAD, CALM, WARN, Row
from routinectl.tui.source import Fault

_PATIENCE = 0.25  # seconds after the last key before it is checked
_KINDS = [("a command", "command"), ("a prompt to a model", "prompt"), ("a saved agent", "agent")]
_OTHER = "other"
_TEXTS = ("name", "description", "timezone", "timeout")


def schedule_text(triggers: list[Row]) -> str | None:
    """Return a schedule as one would type it, None for what only YAML can say."""
    if not triggers:
        return ""
    if len(triggers) > 1 or len(triggers[0]) > 1:
        return None
    ((kind, value),) = triggers[0].items()
    if kind in ("cron", "schedule"):
        return str(value)
    if kind == "daily":
        return f"daily at {value}"
    if kind == "every":
        return f"every {value}"
    if kind == "weekly" and isinstance(value, dict) and isinstance(value.get("days"), list):
        return f"every {' and '.join(map(str, value['days']))} at {value.get('time')}"
    return None


def merge_patch(before: Row, after: Row) -> Row:
    """Return the JSON merge patch (RFC 7396) that makes one document of the other."""
    found: Row = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            inner = merge_patch(old, value)
            if inner:
                found[key] = inner
        elif value != old:
            found[key] = value
    return found


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
        self._before: Row = {}  # the definition as its file says it
        self._doc: Row = {"triggers": [{"schedule": "every day at 9"}], "timeout": "10m", "action": {"command": ""}}
        self._text = self._etag = ""
        self._when: str | None = ""
        self._action: tuple[str, str] = ("command", "")
        self._agents: list[str] = []
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
        yield from _field("It does", Select(_KINDS, value="command", allow_blank=False, id="kind", compact=True))
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
            agents = await self.ask("GET", "/agents")
            if self.routine_id:
                found = await self.ask("GET", f"/routines/{self.routine_id}/definition")
                self._doc, self._text, self._etag = found["doc"] or {}, found["text"], found["etag"]
                self._before = deepcopy(self._doc)
                self._checked = found
        except Fault as fault:
            self.tell(fault)
            self.app.pop_screen()
            return
        self._agents = [item["name"] for item in agents["items"] if item["valid"]]
        self._fill()
        if self.routine_id and self._checked["doc"] is None:
            self.query_one(TabbedContent).active = "yaml"
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

    def _fill(self) -> None:
        """Put what the definition says into the fields."""
        doc = self._doc
        for key in _TEXTS:
            self._input(key).value = str(doc.get(key, ""))
        triggers = doc.get("triggers") or []
        self._when = schedule_text(triggers) if isinstance(triggers, list) else None
        self._input("when").value = self._when if self._when is not None else "more than this form shows; see the YAML"
        self._input("when").disabled = self._when is None
        action = doc.get("action") if isinstance(doc.get("action"), dict) else {}
        self._action = _action_of(action or {})
        kind, text = self._action
        choices = [choice for choice in _KINDS if choice[1] != "agent" or self._agents or kind == "agent"]
        select = self.query_one("#kind", Select)
        select.set_options([*choices, ("more than this form shows; see the YAML", _OTHER)] if kind == _OTHER else choices)
        select.value, select.disabled = kind, kind == _OTHER
        used = str((action or {}).get("agent", {}).get("use", "")) if kind == "agent" else ""
        names = self._agents or ([used] if used else ["-"])
        chooser = self.query_one("#agent", Select)
        chooser.set_options([(name, name) for name in names])
        chooser.value = used if used in names else names[0]
        self._show_agents(kind)
        area = self.query_one("#action-text", TextArea)
        area.load_text(text)
        area.display = kind != _OTHER
        payload = (action or {}).get("payload")
        self._input("payload").value = json.dumps(payload) if payload else ""
        self.query_one("#enabled", Checkbox).value = doc.get("enabled", True) is not False

    def _show_agents(self, kind: str) -> None:
        row = self.query_one("#agent").parent
        if row is not None:
            row.display = kind == "agent"

    def _input(self, key: str) -> Input:
        return self.query_one(f"#{key}", Input)

    # -- what it says now

    def wanted(self) -> Row:
        """Return the definition as the form says it; what the form does not show stays as it is. Raises ValueError for a payload that is no JSON."""
        found = deepcopy(self._doc)
        for key in _TEXTS:
            value = self._input(key).value.strip()
            if value:
                found[key] = value
            else:
                found.pop(key, None)
        when = self._input("when").value.strip()
        if self._when is not None and when != self._when:
            found["triggers"] = [{"schedule": when}] if when else []
        if not found.get("triggers"):
            found.pop("triggers", None)
        kind = str(self.query_one("#kind", Select).value)
        if kind != _OTHER:
            found["action"] = self._action_wanted(found.get("action") or {}, kind)
        if not self.query_one("#enabled", Checkbox).value:
            found["enabled"] = False
        elif "enabled" in found:
            found["enabled"] = True
        return found

    def _action_wanted(self, old: Row, kind: str) -> Row:
        text = self.query_one("#action-text", TextArea).text
        rest = {key: value for key, value in old.items() if key != "payload"}
        kept = rest if kind in rest else {}
        if kind == "prompt":
            made = {**kept, "prompt": {**kept.get("prompt", {}), "text": text}}
        elif kind == "agent":
            made = {**kept, "agent": {**kept.get("agent", {}), "use": str(self.query_one("#agent", Select).value), "task": text}}
        else:
            made = kept if kept and (kind, text) == self._action else {**kept, "command": text}
        payload = self._input("payload").value.strip()
        return {**made, "payload": foreign.parse(payload)} if payload else made

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
            body = {"text": self.query_one("#text", TextArea).text} if self.yaml else self._asked()
        except ValueError as error:
            self._checked = {
                "good": False,
                "problems": [{"path": "action.payload", "message": f"the payload is no JSON: {error}", "hint": '{"day": "monday"}'}],
            }
        else:
            try:
                self._checked = await self.ask("POST", "/check", {"id": self.routine_id or "new-routine", **body})
            except Fault as fault:
                self._checked = {"good": False, "problems": [{"message": str(fault), "hint": fault.hint}]}
        self._show()

    def _asked(self) -> Row:
        """Return what is to be checked of the form: a change of the file, so that its comments stay, or a new definition."""
        return {"patch": merge_patch(self._before, self.wanted())} if self._before else {"definition": self.wanted()}

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
            self._text, self._doc, self.ready = self.query_one("#text", TextArea).text, self._checked["doc"], False
            self._fill()
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
        except ValueError:
            return  # the payload; it is told in the preview
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
        if not self.routine_id:
            made: Row = await self.ask("POST", "/routines", self.wanted())
            return made
        # What was changed in the YAML before one came back to the form is in the form's definition, and so in the patch.
        patch = merge_patch(self._before, self.wanted())
        changed: Row = await self.ask("PATCH", f"/routines/{self.routine_id}", patch, None, match)
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


def _action_of(action: Row) -> tuple[str, str]:
    """Return what an action is to the form: its kind, and its text."""
    command = action.get("command")
    if isinstance(command, str):
        return "command", command
    if isinstance(command, list):
        return "command", " ".join(map(str, command))
    prompt, agent = action.get("prompt"), action.get("agent")
    if isinstance(prompt, dict) and "text" in prompt:
        return "prompt", str(prompt["text"])
    if isinstance(agent, dict) and "use" in agent:
        return "agent", str(agent.get("task", ""))
    return _OTHER, ""
