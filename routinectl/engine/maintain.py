"""Maintenance: when upkeep is due, and taking in what it found.

It is done by a child process, started when nothing is due for a while, so that it never delays a fire; each time is one
event with its findings.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from routinectl import clock
from routinectl.core.event import Event
from routinectl.core.settings import Maintenance
from routinectl.core.units import to_iso
from routinectl.files.layout import Layout
from routinectl.process.supervisor import Helper

_FIRST = 60.0  # seconds after the start before anything is kept up
_QUIET = 5.0  # seconds in which nothing may be due
_HOURS = {"hourly": 3600.0, "daily": 86400.0, "weekly": 7 * 86400.0}


class Maintainer:
    """What upkeep is due when, and the one helper that does it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.helper: Helper | None = None
        self.next = dict.fromkeys(("retention", "audit", "memory"), clock.awake() + _FIRST)

    def consider(self, wanted: Maintenance, idle_for: float) -> None:
        """Start what is due, if there is time for it: `idle_for` are the seconds until something else is."""
        if self.helper is not None or idle_for < _QUIET:
            return
        awake = clock.awake()
        often = {"retention": wanted.retention, "audit": wanted.audit, "memory": "daily" if wanted.memory else "off"}
        due = [task for task, at in self.next.items() if at <= awake and often[task] != "off"]
        if due:
            self.helper = Helper("routinectl.operations.upkeep", [str(self.layout.root), *due])
            for task in due:
                self.next[task] = awake + _HOURS[often[task]]

    def finish(self, now: datetime) -> Event | None:
        """Return the event of what the helper found, once it has ended; None before."""
        answer = self.helper.answer() if self.helper is not None else None
        if answer is None:
            return None
        self.helper = None
        try:
            found: dict[str, Any] = json.loads(answer)
        except ValueError:
            found = {"failed": answer[-200:].decode(errors="replace") or "the helper said nothing"}
        return Event("maintenance.done", "", {"at": to_iso(now), **found})

    def close(self) -> None:
        """Stop the helper; what it did not do is done another time."""
        if self.helper is not None:
            self.helper.stop()
