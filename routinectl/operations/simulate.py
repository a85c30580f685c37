"""Playing the routines of a workspace forward: the assumptions, from options and the ledger; the result, as data."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from routinectl.core import simulate
from routinectl.core.simulate import Assumed, Mark, Outage
from routinectl.core.units import from_iso, to_iso
from routinectl.errors import UsageError
from routinectl.operations.history import lines
from routinectl.operations.session import Session

_MOST_LISTED = 10


@dataclass(frozen=True, slots=True)
class Played:
    """What would happen: the marks of each routine, under the assumptions."""

    assumed: Assumed
    marks: dict[str, list[Mark]]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        most, when = simulate.peak(self.marks, self.assumed)
        return {
            "from": to_iso(self.assumed.start),
            "to": to_iso(self.assumed.end),
            "outages": [{"from": to_iso(item.start), "to": to_iso(item.end)} for item in self.assumed.outages],
            "routines": {name: {**simulate.counts(marks), "reasons": _reasons(marks)} for name, marks in self.marks.items()},
            "peak": {"runs": most, "at": to_iso(when) if when else None},
            "collisions": [{"at": to_iso(at), "routines": names} for at, names in simulate.collisions(self.marks)[:_MOST_LISTED]],
        }


def _reasons(marks: Sequence[Mark]) -> dict[str, int]:
    found: dict[str, int] = {}
    for mark in marks:
        key = f"{mark.verdict}: {mark.reason}"
        found[key] = found.get(key, 0) + mark.count
    return found


def play(
    session: Session, names: Sequence[str], start: datetime, end: datetime, outages: Sequence[Outage], runtime: timedelta | None
) -> Played:
    """Return what the routines would do from `start` to `end`; `runtime` None takes the median of each one's ledger.

    Raises UsageError when the end is not after the start.
    """
    if end <= start:
        raise UsageError("--to is not after --from", "routinectl simulate --from 2026-12-01 --to 2027-01-01")
    docs = {name: doc for name in names if (doc := session.standing(name).doc) is not None and session.standing(name).invalid is None}
    known = {} if runtime is not None else {name: found for name in docs if (found := _median(session, name)) is not None}
    default = runtime.total_seconds() if runtime is not None else 60.0
    assumed = Assumed(start, end, known, tuple(sorted(outages, key=lambda item: item.start)), default)
    return Played(assumed, {name: simulate.play(name, doc, assumed) for name, doc in docs.items()})


def _median(session: Session, name: str) -> float | None:
    took = [
        (from_iso(line["completed_at"]) - from_iso(line["started_at"])).total_seconds()
        for line in lines(session, name)[-100:]
        if line.get("started_at") and line.get("completed_at") and line.get("outcome")
    ]
    return statistics.median(took) if took else None
