"""What the screens share: asking the source without the terminal standing still, and saying what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from textual.screen import Screen

from routinectl.tui.source import Data, Fault

if TYPE_CHECKING:
    from routinectl.tui.app import Tui

T = TypeVar("T")


class Page(Screen[None]):
    """A screen of the app."""

    @property
    def tui(self) -> Tui:
        """The app."""
        from routinectl.tui.app import Tui

        assert isinstance(self.app, Tui)
        return self.app

    @property
    def alive(self) -> bool:
        """Whether it is there with all that is on it: not before it was made, and not after it was left."""
        return self.is_mounted and self.is_attached and self.app.is_running and self.display  # shown: not being taken away

    async def ask(self, method: str, path: str, body: Data | None = None, query: Mapping[str, str] | None = None,
                  headers: Mapping[str, str] | None = None) -> Any:  # fmt: skip
        """Return the data of an answer. Raises Fault. What asks for a page that is gone meanwhile ends here."""
        try:
            return await asyncio.to_thread(self.tui.source.request, method, path, body, query, headers)
        finally:
            if not self.alive:
                raise asyncio.CancelledError

    async def attempt(self, doing: Callable[[], Any], done: str = "") -> bool:
        """Do something that asks the source; say what became of it, and return whether it was done."""
        try:
            await asyncio.to_thread(doing)
        except Fault as fault:
            self.tell(fault)
            return False
        if done:
            self.notify(done, markup=False)
        self.tui.poll()
        return True

    def tell(self, fault: Fault) -> None:
        """Say what could not be done, and what would help."""
        lines = [str(fault), *(item["message"] for item in fault.problems), f"Hint: {fault.hint}" if fault.hint else ""]
        self.notify("\n".join(filter(None, dict.fromkeys(lines))), severity="error", timeout=10, markup=False)

    def told(self) -> None:
        """Hear that routines have changed."""
