"""The ledger of a routine, or of all: one line for each final verdict and each ended run."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from routinectl.core.projection import history_line
from routinectl.engine.project import rebuild, unprojected
from routinectl.files import projections
from routinectl.operations.session import Session

Line = dict[str, Any]


def lines(session: Session, routine_id: str, *, last: int = 0) -> list[Line]:
    """Return the lines of one routine (at least the `last` so many), oldest first: what is written, and what is not yet."""
    if not projections.history_path(session.layout, routine_id).exists() and session.standing(routine_id).run_count:
        rebuild(session.world, routine_id)
    found = projections.read_history(session.layout, routine_id, last=last)
    known = {line.get("event") for line in found}
    fresh = [history_line(event) for event in unprojected(session.world) if event.subject == routine_id]
    return found + [line for line in fresh if line is not None and line["event"] not in known]


def history(session: Session, names: list[str], *, limit: int, since: datetime | None, outcome: str | None) -> list[Line]:
    """Return the last lines of these routines, oldest first; `outcome` is an outcome, or skipped, missed."""
    found: list[Line] = []
    last = limit if since is None and outcome is None else 0
    for name in names:
        for line in lines(session, name, last=last):
            if since is not None and line.get("completed_at", "") < since.isoformat():
                continue
            if outcome and outcome not in (line.get("outcome"), line.get("verdict")):
                continue
            found.append({"id": name, **{key: value for key, value in line.items() if value is not None}})
    found.sort(key=lambda line: str(line.get("completed_at", "")))
    return found[-limit:] if limit else found
