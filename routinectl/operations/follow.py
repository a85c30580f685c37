"""What a process beside serve needs: to follow the journal, to hear through standard input that there is news, and to speak."""

from __future__ import annotations

import json
import os
import select

from routinectl import clock
from routinectl.core.event import Event
from routinectl.core.units import to_iso
from routinectl.files import journal
from routinectl.files.layout import Layout
from routinectl.operations.session import Session

_CALM = 0.2  # seconds in which news is gathered


class Follower:
    """A session, and what is new since it was last asked. `begin_after` says where to begin; close it."""

    def __init__(self, layout: Layout) -> None:
        self.session = Session(layout)
        self._news: list[Event] = []

    def beginning(self) -> int:
        """Return the number of the event after which those begin that nobody followed before: the start of the serve that lives, or now."""
        started = self.session.world.workspace.get("serve.started")
        return started.seq if started is not None and self.session.serve_lives else self.session.world.journal.seq

    def begin_after(self, seq: int) -> None:
        """Follow from the event after this one."""
        through = self.session.world.journal.seq
        self._news = [event for event in journal.read_after(self.session.layout, seq) if event.seq <= through]
        self.session.engine.listeners.append(self._news.extend)

    def take(self) -> list[Event]:
        """Return the events since the last time, with the session folded up to them."""
        self.session.refresh()
        found, self._news[:] = list(self._news), []
        return found

    def close(self) -> None:
        """End the session."""
        self.session.close()


def say(text: str) -> None:
    """Say something that is no event, as serve says such things: standard output is serve's standard error here."""
    as_json = os.environ.get("ROUTINECTL_LOG_FORMAT", "").lower() == "json"
    print(json.dumps({"time": to_iso(clock.now()), "kind": "note", "message": text}) if as_json else text, flush=True)


def wait(patience: float) -> bool:
    """Wait for news, or so many seconds; say whether to go on: not when whoever started us is gone."""
    if select.select([0], [], [], patience)[0]:
        if not os.read(0, 65536):
            return False
        clock.pause(_CALM)
    return True
