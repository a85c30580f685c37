"""One run: what is known of it, and its output as it comes."""

from __future__ import annotations

import asyncio
import codecs
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, RichLog, Static

from routinectl.tui import show
from routinectl.tui.ask import Ask
from routinectl.tui.base import Page
from routinectl.tui.show import Row
from routinectl.tui.source import Fault

_CALM = 0.3  # seconds between two looks


class RunPage(Page):
    """A run, from the wish for it to its end."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "app.pop_screen", "Back"), Binding("c", "cancel", "Stop it")]

    def __init__(self, name: str, run: str) -> None:
        super().__init__()
        self.routine_id, self.run_id = name, run
        self._state: Row = {}

    def compose(self) -> ComposeResult:
        """Make the page."""
        yield Static(id="run-head")
        yield RichLog(id="log", wrap=True, auto_scroll=True)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Begin to follow."""
        self.query_one("#log").focus()
        self.follow()

    @work(exclusive=True)
    async def follow(self) -> None:
        """Show the run and what it prints, until it has ended."""
        offset, rest = 0, ""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while True:
            try:
                self._state = await self.ask("GET", f"/routines/{self.routine_id}/runs/{self.run_id}")
                ended = self._state["state"] == "ended"
                self._draw_head()
                while data := await self._more(offset):
                    offset += len(data)
                    rest = self._write(rest + show.clean(decoder.decode(data)))
            except Fault as fault:
                if fault.status:
                    self.tell(fault)
                    return
                ended = False  # the server is away for a moment
            if ended:
                if rest:
                    self._log.write(rest)
                if not offset:
                    self._log.write(Text("It printed nothing.", self.tui.tones[show.CALM]))
                return
            await asyncio.sleep(_CALM)

    @property
    def _log(self) -> RichLog:
        return self.query_one("#log", RichLog)

    async def _more(self, offset: int) -> bytes:
        try:
            return await asyncio.to_thread(self.tui.source.output, self.routine_id, self.run_id, offset)
        except Fault as fault:
            if fault.status == 404:
                return b""  # it has not started yet, or its output was removed
            raise
        finally:
            if not self.alive:
                raise asyncio.CancelledError

    def _write(self, text: str) -> str:
        """Write whole lines; return what comes after them."""
        *lines, rest = text.split("\n")
        for line in lines:
            self._log.write(Text(line))
        return rest

    def _draw_head(self) -> None:
        state, tones, now = self._state, self.tui.tones, self.tui.now
        word = state.get("outcome") or state["state"]
        row = self.tui.rows.get(self.routine_id, {})
        text = Text().append(str(row.get("name", self.routine_id)), "bold").append(f"  run {self.run_id}\n", tones[show.CALM])
        text.append(f"{show.words(word)}", tones[show.tone(word)])
        since = state.get("started_at") or state.get("since")
        if since:
            text.append(f"   started {show.local(since, row.get('timezone', ''))} ({show.ago(since, now)})", tones[show.CALM])
        if state["state"] == "ended" and state.get("started_at") and state.get("completed_at"):
            took = (show.instant(state["completed_at"]) - show.instant(state["started_at"])).total_seconds()
            text.append(f"   took {show.span(took)}", tones[show.CALM])
        if state.get("exit_code") is not None:
            text.append(f"   exit code {state['exit_code']}", tones[show.CALM])
        if state["state"] == "waiting":
            text.append(f"   waits: {show.words(state['reason'])}", tones[show.WARN])
        if state.get("message") and word not in ("succeeded", "quiet"):  # of a good run it is the last line of its output
            text.append(f"\n{show.clean(state['message'])}")
        self.query_one("#run-head", Static).update(text)

    @work
    async def action_cancel(self) -> None:
        """Stop it, after asking."""
        if self._state.get("state") != "running":
            self.notify("It does not run.")
        elif (
            await self.app.push_screen_wait(
                Ask("Stop this run?", "It is asked to end, and killed when it does not.", "Stop it", danger=True)
            )
            is not None
        ):
            body = {"run": self.run_id}
            await self.attempt(lambda: self.tui.source.request("POST", f"/routines/{self.routine_id}/cancel", body), "It is asked to stop")
