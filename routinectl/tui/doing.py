"""What a person does to a routine, from any screen: each asks where it matters, in words."""

from __future__ import annotations

import secrets
from typing import Any

from textual import work

from routinectl.core import foreign
from routinectl.tui.ask import Ask
from routinectl.tui.base import Page
from routinectl.tui.show import Row, words
from routinectl.tui.source import Fault

_PAUSES = [("One hour", "1h"), ("Four hours", "4h"), ("A day", "1d"), ("A week", "7d"), ("Until it is resumed", "forever")]


def _once() -> dict[str, str]:
    return {"Idempotency-Key": secrets.token_hex(16)}


class Doing(Page):
    """A page on which routines are acted on. `row` says which one is meant."""

    @property
    def row(self) -> Row | None:
        """The row of the routine that is meant."""
        return None

    def gone(self) -> None:
        """Hear that the routine was deleted from here."""

    @work
    async def action_run(self) -> None:
        """Run it now."""
        await self.run_now()

    @work
    async def action_run_with(self) -> None:
        """Run it with an input that is asked for."""
        row = self.row
        if row is None:
            return
        text = "It is merged over the payload of its definition, for this run alone."
        said = await self.app.push_screen_wait(Ask(f"Run {row['name']} with input", text, "Run it", note='JSON, such as {"day": "monday"}'))
        try:
            body = {"payload": foreign.parse(said)} if said else {}
        except ValueError as error:
            self.notify(f"That is no JSON: {error}. Nothing ran.", severity="error", markup=False)
            return
        if said is not None:
            await self.run_now(body)

    @work
    async def action_pause(self) -> None:
        """Pause or resume it."""
        await self.pause_or_resume()

    @work
    async def action_switch(self) -> None:
        """Enable or disable it."""
        await self.switch()

    @work
    async def action_delete(self) -> None:
        """Delete it, after asking."""
        if await self.delete():
            self.gone()

    @work
    async def action_approve(self) -> None:
        """Approve it, or activate a draft."""
        await self.approve()

    @work
    async def action_deny(self) -> None:
        """Deny it."""
        await self.deny()

    async def _post(self, path: str, done: str, body: dict[str, Any] | None = None) -> bool:
        headers = _once()
        return await self.attempt(lambda: self.tui.source.request("POST", path, body or {}, None, headers), done)

    async def run_now(self, body: dict[str, Any] | None = None) -> None:
        """Ask for a run, and show it."""
        row = self.row
        if row is None:
            return
        from routinectl.tui.run import RunPage

        try:
            found = await self.ask("POST", f"/routines/{row['id']}/run_now", body or {}, None, _once())
        except Fault as fault:
            self.tell(fault)
            return
        self.tui.poll()
        self.app.push_screen(RunPage(row["id"], found["run"]))

    async def pause_or_resume(self) -> None:
        """Pause it, for as long as is chosen, or let it fire again."""
        row = self.row
        if row is None:
            return
        if row["status"] == "paused":
            await self._post(f"/routines/{row['id']}/resume", f"{row['name']} fires again")
            return
        text = "No slot fires while it is paused; each is on record as skipped.\nRuns that go on are not stopped."
        lasting = await self.app.push_screen_wait(Ask(f"Pause {row['name']}?", text, "Pause", choices=_PAUSES))
        if lasting is not None:
            await self._post(f"/routines/{row['id']}/pause", f"{row['name']} is paused", {} if lasting == "forever" else {"for": lasting})

    async def switch(self) -> None:
        """Enable or disable it."""
        row = self.row
        if row is None:
            return
        path, body = f"/routines/{row['id']}/toggle", {"enabled": not row["enabled"]}
        done = f"{row['name']} is {'disabled' if row['enabled'] else 'enabled'}"
        await self.attempt(lambda: self.tui.source.request("PATCH", path, body), done)

    async def delete(self) -> bool:
        """Delete it after asking; return whether it is gone."""
        row = self.row
        if row is None:
            return False
        text = f"The folder routines/{row['id']}/ is removed, with its memory.\nWhat it did stays on record."
        if await self.app.push_screen_wait(Ask(f"Delete {row['name']}?", text, "Delete it", danger=True)) is None:
            return False
        return await self.attempt(lambda: self.tui.source.request("DELETE", f"/routines/{row['id']}"), f"{row['name']} is deleted")

    async def approve(self) -> bool:
        """Approve what it asks for, or activate a draft."""
        row = self.row
        if row is None:
            return False
        draft = row["status"] == "draft"
        text = "It holds for exactly the definition and files it has now.\nWhen they change, it is asked for again."
        title, yes = (f"Activate {row['name']}?", "Activate it") if draft else (f"Approve {row['name']}?", "Approve it")
        note = await self.app.push_screen_wait(Ask(title, text, yes, note="A note for the record (may be empty)"))
        done = f"{row['name']} is {'active' if draft else 'approved'}"
        return note is not None and await self._post(f"/routines/{row['id']}/approve", done, {"note": note} if note else {})

    async def deny(self) -> bool:
        """Deny what it asks for."""
        row = self.row
        if row is None:
            return False
        text = "What waits is skipped, on record as denied. The next slot asks again."
        note = await self.app.push_screen_wait(Ask(f"Deny {row['name']}?", text, "Deny it", danger=True, note="Why (may be empty)"))
        return note is not None and await self._post(
            f"/routines/{row['id']}/deny", f"{row['name']} is denied", {"note": note} if note else {}
        )

    async def answer_review(self, item: Row, *, run: bool) -> bool:
        """Have what waits for review run, or dismiss it, after asking."""
        if run:
            asked = Ask(f"Run {item['id']} now?", "Of several slots the newest runs,\nand the older ones are answered by it.", "Run it")
        else:
            asked = Ask(
                f"Dismiss what waits of {item['id']}?", "It does not run, and is on record as dismissed.", "Dismiss it", danger=True
            )
        if await self.app.push_screen_wait(asked) is None:
            return False
        return await self._post(f"/routines/{item['id']}/review", f"{item['id']} will run" if run else "It is dismissed", {"run": run})

    async def answer_proposal(self, item: Row, *, apply: bool) -> bool:
        """Apply or reject a proposal, after asking."""
        text = f"{words(item['what'])} for {item['routine']}, proposed by {item['by']}."
        if apply:
            note = await self.app.push_screen_wait(Ask("Apply this proposal?", f"{text}\nIt is done once.", "Apply it"))
        else:
            note = await self.app.push_screen_wait(Ask("Reject this proposal?", text, "Reject it", danger=True, note="Why (may be empty)"))
        verb, done = ("apply", "It is done") if apply else ("reject", "It is rejected")
        return note is not None and await self._post(f"/proposals/{item['proposal']}/{verb}", done, {"note": note} if note else {})
