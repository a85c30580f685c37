"""The list of all routines for faces that stay open: computed once, then kept up to date by what has happened since."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from routinectl.core.decision import to_review
from routinectl.core.event import Event
from routinectl.core.schedule.describe import describe
from routinectl.core.units import to_iso
from routinectl.operations.access import owner_of
from routinectl.operations.look import row_of
from routinectl.operations.session import Session

Row = dict[str, Any]
_KINDS = ("command", "python", "prompt", "agent")


class Overview:
    """The rows of one session. `heard` belongs to the listeners of its engine.

    Whoever shows them asks again with the `position` he was told, and gets what has changed since. A position is good
    for this overview only: another process, or another session, counts anew.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._rows: dict[str, Row] = {}
        self._changed: dict[str, int] = {}  # when a row last changed, also one that is gone
        self._owners: dict[str, str] = {}  # of those that are gone
        self._stale = set(session.world.ids())
        self._name, self._count = secrets.token_hex(4), 0

    @property
    def position(self) -> str:
        """How far whoever has asked now knows them."""
        return f"{self._name}.{self._count}"

    def heard(self, events: Sequence[Event]) -> None:
        """Take note of what has happened."""
        self._stale.update(event.subject for event in events if event.subject)

    def rows(self) -> list[Row]:
        """Return the rows as of now, in the order of their ids."""
        self._refresh()
        return [self._rows[name] for name in sorted(self._rows)]

    def since(self, position: str) -> tuple[list[Row], dict[str, str]] | None:
        """Return the rows that have changed since a position, and those that are gone with their owners; None: ask for all."""
        self._refresh()
        name, _, count = position.partition(".")
        if name != self._name or not (count.isascii() and count.isdigit()):
            return None
        names = sorted(name for name, at in self._changed.items() if at > int(count[:18]))
        return [self._rows[name] for name in names if name in self._rows], {
            name: self._owners.get(name, "") for name in names if name not in self._rows
        }

    def _refresh(self) -> None:
        """Compute anew what an event was about, and what time has changed: fires that are past, pauses that are over."""
        now = to_iso(self._session.now)
        self._stale.update(name for name, row in self._rows.items() if row["changes_at"] and row["changes_at"] <= now)
        self._count += bool(self._stale)
        for name in sorted(self._stale):
            self._put(name)
        self._stale.clear()

    def _put(self, name: str) -> None:
        row = self._row(name)
        before = self._rows.get(name)
        if row is None:
            gone = self._rows.pop(name, None)
            if gone is not None:
                self._owners[name] = gone["owner"]
                self._changed[name] = self._count
        elif row != before:
            self._rows[name] = row
            self._changed[name] = self._count

    def _row(self, name: str) -> Row | None:
        if name not in self._session.world:
            return None
        standing, routine = self._session.world.glimpse(name)
        row = row_of(standing, routine, self._session.now)
        if row is None:
            return None
        action = (standing.doc or {}).get("action", {})
        paused = standing.paused or {}
        changes = [text for text in (row["next_fire_at"], paused.get("until")) if text]
        return row | {
            "owner": owner_of(self._session, standing),
            "describe": describe(routine.schedule, routine.others) if routine else "",
            "timezone": routine.zone.name if routine else "",
            "recent": standing.recent,
            "action": next((kind for kind in _KINDS if kind in action), ""),
            "agent": action.get("agent", {}).get("use", "") if isinstance(action.get("agent"), dict) else "",
            "proposals": len(standing.proposals),
            "reviews": to_review(standing),
            "held": sorted({hold.reason for hold in standing.holds.values()}),
            "paused_until": paused.get("until"),
            "changes_at": min(changes, default=None),
        }
