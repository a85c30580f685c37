"""What lies above a screen: a question before something is done, and the help."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Select, Static


class Ask(ModalScreen[str | None]):
    """A question. It is answered with the note or choice (which may be empty), or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "no", "No")]

    def __init__(
        self, title: str, text: str, yes: str, *, danger: bool = False, note: str = "", choices: list[tuple[str, str]] | None = None
    ) -> None:
        super().__init__()
        self._title, self._text, self._yes, self._danger, self._note, self._choices = title, text, yes, danger, note, choices

    def compose(self) -> ComposeResult:
        """Make the question."""
        with Vertical(id="ask"):
            yield Label(self._title, id="ask-title", markup=False)
            yield Label(self._text, markup=False)
            if self._choices:
                yield Select(self._choices, value=self._choices[0][1], allow_blank=False, id="ask-choice")
            if self._note:
                yield Input(placeholder=self._note, id="ask-note")
            with Horizontal(id="ask-buttons"):
                yield Button(self._yes, variant="error" if self._danger else "primary", id="yes")
                yield Button("Cancel", id="no")

    def on_mount(self) -> None:
        """Begin where one would: at the choice or note, else at the button; of what cannot be undone, at the one that does nothing."""
        self.query_one("#ask-choice" if self._choices else "#ask-note" if self._note else "#no" if self._danger else "#yes").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        self._answer(yes=event.button.id == "yes")

    def on_input_submitted(self) -> None:
        """Take Enter in the note as yes."""
        self._answer(yes=True)

    def _answer(self, *, yes: bool) -> None:
        if not yes:
            self.dismiss(None)
        elif self._choices:
            self.dismiss(str(self.query_one("#ask-choice", Select).value))
        else:
            self.dismiss(self.query_one("#ask-note", Input).value if self._note else "")

    def action_no(self) -> None:
        """Do nothing."""
        self.dismiss(None)


HELP = (
    ("In the table", (
        ("↑ ↓  PgUp PgDn  Home End", "move; a click chooses, two open"), ("Enter", "open the routine"), ("/", "search as you type; Esc shows all"), ("f  s", "next filter, next order"),
        ("n  e", "new, edit"), ("r  R", "run now; run with input"), ("p", "pause or resume"), ("space", "enable or disable"), ("d", "delete, after asking"), ("a  x", "approve or activate; deny"),
        ("t  w", "timeline; what waits for a person"), ("b", "agents, and the budgets of the day"), ("Ctrl+P", "every command by name, and other themes"), ("q", "leave"))),
    ("In a routine", (("1 2 3 4", "its pages"), ("Enter", "on a run: its output, as it comes"), ("Esc", "back"))),
    ("Signs", (
        ("● ▶ ‖ ○", "active, running, paused, disabled"), ("✎ ? ✗ ✓", "draft, waits for approval, broken, completed"),
        ("↗", "its runs may have effects outside this machine"), ("▂▂█▂", "the last runs: low and green is good, tall and red is not"))),
)  # fmt: skip


class Help(ModalScreen[None]):
    """The keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        """Make the page."""
        with VerticalScroll(id="help"):
            yield Static(_help())


def _help() -> Text:
    text = Text()
    for title, keys in HELP:
        text.append(f"\n{title}\n", "bold")
        for key, what in keys:
            text.append(f"  {key:<26}").append(f"{what}\n", "dim")
    return text
