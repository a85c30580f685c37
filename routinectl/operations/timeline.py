"""What happened and what is to come, of many routines on one axis of equal cells: for pictures, so that it is bounded."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from routinectl.core import upcoming
from routinectl.core.units import from_epoch, from_iso, to_epoch, to_iso
from routinectl.errors import UsageError
from routinectl.operations.history import lines
from routinectl.operations.session import Session

Row = dict[str, Any]
MOST_CELLS = 400
_MOST_DAYS = 366
_MOST_IN_A_CELL = 20  # fires that are counted in one cell; more of them are shown as so many
_GRAVE = ("failed", "timed_out", "over_budget", "interrupted", "denied", "not_started", "missed", "cancelled", "held", "skipped",
          "running", "succeeded", "quiet", "planned")  # fmt: skip


def _check(start: datetime, end: datetime, cells: int) -> None:
    """Raise UsageError for a window that cannot be drawn."""
    if not start < end <= start + timedelta(days=_MOST_DAYS):
        raise UsageError(f"a timeline goes from one instant to a later one, at most {_MOST_DAYS} days", "from=...&to=...")
    if not 0 < cells <= MOST_CELLS:
        raise UsageError(f"cells is {cells}; allowed is 1 to {MOST_CELLS}", "cells=96")


def timeline(session: Session, names: list[str], start: datetime, end: datetime, cells: int) -> Row:
    """Return a row for each routine: of each cell that is not empty its number, the gravest thing in it, and how many things.

    `load` says of each cell how many starts are planned in its fullest minute, of all these routines; `places` how many
    runs there may be at once. Raises UsageError for a window that cannot be drawn.
    """
    _check(start, end, cells)
    axis = _Axis(start, end, cells)
    minutes: Counter[int] = Counter()
    rows = []
    for name in names:
        found = _past(session, name, axis)
        for cell, dues in _planned(session, name, axis).items():
            minutes.update({int(due.timestamp()) // 60 for due in dues})
            found.setdefault(cell, []).extend(["planned"] * len(dues))
        marks = [[cell, min(kinds, key=_gravity), len(kinds)] for cell, kinds in sorted(found.items())]
        rows.append({"id": name, "name": (session.standing(name).doc or {}).get("name", name), "marks": marks})
    load = [0] * cells
    for minute, count in minutes.items():
        full = axis.cell(from_epoch(max(minute * 60, to_epoch(start))))
        if full is not None:
            load[full] = max(load[full], count)
    return {"from": to_iso(start), "to": to_iso(end), "now": to_iso(session.now), "cells": cells, "rows": rows, "load": load,
            "places": session.settings.max_concurrent_runs}  # fmt: skip


def _gravity(kind: str) -> int:
    return _GRAVE.index(kind) if kind in _GRAVE else 0


class _Axis:
    """A span of time in equal cells."""

    def __init__(self, start: datetime, end: datetime, cells: int) -> None:
        self.start, self.end, self.cells = start, end, cells
        self.step = (end - start) / cells

    def cell(self, at: datetime) -> int | None:
        """Return the cell of an instant; None outside."""
        return min(int((at - self.start) / self.step), self.cells - 1) if self.start <= at < self.end else None

    def begin(self, cell: int) -> datetime:
        """Return when a cell begins."""
        return self.start + cell * self.step


def _past(session: Session, name: str, axis: _Axis) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}

    def put(at: str | datetime | None, kind: str) -> None:
        cell = axis.cell(from_iso(at) if isinstance(at, str) else at) if at else None
        if cell is not None:
            found.setdefault(cell, []).append(kind)

    if axis.start < session.now:
        for line in lines(session, name):
            put(line.get("started_at") or line.get("slot") or line.get("completed_at"), str(line.get("outcome") or line["verdict"]))
    standing = session.standing(name)
    for run in standing.runs.values():
        put(run.started_at or run.claimed_at, "running")
    for hold in standing.holds.values():
        put(hold.slot, "held")
    return found


def _planned(session: Session, name: str, axis: _Axis) -> dict[int, list[datetime]]:
    """Return the fires that are to come in each cell, about `_MOST_IN_A_CELL` at most."""
    routine, standing = session.routine(name), session.standing(name)
    found: dict[int, list[datetime]] = {}
    if routine is None or not upcoming.fires_as_it_stands(routine, standing):
        return found
    at = max(axis.start, session.now, standing.mark or session.now)
    runs = standing.run_count
    while at < axis.end:
        fires, _ = upcoming.fires(routine, at, _MOST_IN_A_CELL, runs)
        if not fires:
            break
        for fire in fires:
            cell = axis.cell(fire.due)
            if cell is not None:
                found.setdefault(cell, []).append(fire.due)
        runs += len(fires)
        last = axis.cell(fires[-1].due)
        if last is None:
            break
        # A cell that is full is left: a routine of every second must not cost more than its cells.
        at = max(fires[-1].slot, axis.begin(last + 1) - timedelta(seconds=1)) if len(found[last]) >= _MOST_IN_A_CELL else fires[-1].slot
    return found
