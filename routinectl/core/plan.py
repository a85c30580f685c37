"""What a change of definitions means: routines added and removed, fires gained and lost, powers widened.

Compares two sets of effective documents; where they come from (two commits, a commit and the files) is not seen here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from routinectl.core import permissions
from routinectl.core.problem import path_text
from routinectl.core.routine import build
from routinectl.core.units import parse_duration, parse_size

Doc = Mapping[str, Any]
SPAN = timedelta(days=30)
_LEVELS = {name: rank for rank, name in enumerate(permissions.LEVELS)}
_EXTERNAL = {name: rank for rank, name in enumerate(permissions.EXTERNAL)}
_MODES = {"every_run": 0, "before_first_run": 1, "before_enable": 1, "none": 2}


@dataclass(frozen=True, slots=True)
class Difference:
    """A key that changed; None where it is not given. `widens`: it may do more, or is asked less."""

    key: str
    before: Any
    after: Any
    widens: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one routine: added, removed or changed, with its fires in the next 30 days before and after."""

    id: str
    kind: str
    fires_before: int
    fires_after: int
    differences: tuple[Difference, ...] = ()

    @property
    def widens(self) -> bool:
        """Whether any difference gives it more power."""
        return any(item.widens for item in self.differences)


def plan(before: Mapping[str, Doc], after: Mapping[str, Doc], now: datetime, runs: Mapping[str, int] | None = None) -> list[Change]:
    """Return what changes between two sets of effective definitions, by id; equal ones are left out.

    `runs` are those that there were: there are no more fires than `max_runs` leaves.
    """
    runs = runs or {}
    found = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        kind = "added" if old is None else "removed" if new is None else "changed"
        differences = tuple(_differences(old or {}, new or {})) if new is not None else ()
        found.append(Change(name, kind, _fires(name, old, now, runs.get(name, 0)), _fires(name, new, now, runs.get(name, 0)), differences))
    return found


def _fires(name: str, doc: Doc | None, now: datetime, runs: int) -> int:
    if doc is None or not doc.get("enabled", True):
        return 0
    routine = build(name, doc, now)
    count = routine.schedule.count(now, now + SPAN)
    if routine.excluded is not None and routine.calendar is not None and routine.calendar.on_excluded != "skip":
        count += routine.excluded.count(now, now + SPAN)  # they fire on another day
    return count if routine.max_runs is None else min(count, max(routine.max_runs - runs, 0))


def _differences(old: Doc, new: Doc) -> list[Difference]:
    before, after = _flat(old), _flat(new)
    found = []
    for path in sorted(before.keys() | after.keys(), key=str):
        was, is_now = before.get(path), after.get(path)
        if was != is_now and path[:2] != ("calendar", "resolved"):
            key = path_text(path)
            found.append(Difference(key, was, is_now, _widens(key, was, is_now, new=not old)))
    return found


def _flat(doc: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return the leaves of a document; a list is one leaf, because people read it as one."""
    if not isinstance(doc, Mapping):
        return {path: doc}
    return {key: value for name, item in doc.items() for key, value in _flat(item, (*path, name)).items()}


def _widens(key: str, was: Any, now: Any, *, new: bool) -> bool:
    """Say whether a change lets a routine do more than before: levels, paths, network, effects, secrets, approvals, budgets."""
    if key == "permissions.level":
        return not new and _LEVELS.get(now, 2) > _LEVELS.get(was, 2)
    if key == "permissions.external":
        return _EXTERNAL.get(now, 0) > _EXTERNAL.get(was, 0)
    if key == "permissions.network":
        return bool(now) and was is not None
    if key in ("permissions.read", "permissions.write", "permissions.tools"):
        return not set(now or ()) <= set(was or ())
    if key.startswith("action.secrets."):
        return now is not None
    if key in ("approval", "approval.when"):
        return not new and _MODES.get(now or "none", 2) > _MODES.get(was or "none", 2)
    return key.startswith("budget.") and not new and was is not None and (now is None or _amount(now) > _amount(was))


def _amount(text: Any) -> float:
    """Return a cap of a budget as a number: it is one, a size or a duration."""
    if isinstance(text, (int, float)):
        return text
    try:
        return float(parse_size(text))
    except ValueError:
        return parse_duration(text).total_seconds()


def summary(changes: list[Change]) -> dict[str, int]:
    """Return the totals: routines by kind, fires gained and lost in 30 days, changes that widen."""
    return {
        **{kind: sum(item.kind == kind for item in changes) for kind in ("added", "removed", "changed")},
        "fires_gained": sum(max(item.fires_after - item.fires_before, 0) for item in changes),
        "fires_lost": sum(max(item.fires_before - item.fires_after, 0) for item in changes),
        "widening": sum(item.widens for item in changes),
    }
