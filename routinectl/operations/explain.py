"""Saying why: for a slot, a run or an instant, past or future; what decided, the values, the line of the file, the way out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from routinectl.core import decision, document, projection
from routinectl.core.problem import Problem
from routinectl.core.routine import Routine
from routinectl.core.standing import Standing, from_plain, to_plain
from routinectl.core.units import from_epoch, from_iso, to_iso
from routinectl.core.verdict import remedy
from routinectl.core.wish import Hold, Skip, Start, Wish
from routinectl.errors import DefinitionError, NotFoundError, RoutinectlError
from routinectl.files import definitions
from routinectl.operations.history import lines
from routinectl.operations.session import Session

Line = dict[str, Any]


@dataclass(slots=True)
class Explanation:
    """Why something did or did not happen. `verdict` is ran, skipped, missed, held, running, waiting, future or none.

    `expected` says of a future slot what would be decided if nothing changed until then. `place` is file:line:column of
    the key that made the rule, where the file still says what was in force.
    """

    id: str
    verdict: str
    slot: str | None = None
    reason: str = ""
    rule: str = ""
    value: Any = None
    values: dict[str, Any] = field(default_factory=dict)
    place: str = ""
    remedy: str = ""
    line: Line | None = None
    run: Line | None = None
    since: str | None = None
    until: str | None = None
    expected: list[str] = field(default_factory=list)
    next: Line | None = None

    def plain(self) -> Line:
        """Return it as JSON data; what is not known is left out."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "", [], {})}


def explain(session: Session, name: str, *, at: datetime | None = None, run: str | None = None) -> Explanation:
    """Return why the slot at an instant, a run, or (without either) the last thing that did not happen, is as it is.

    Raises NotFoundError for a run nobody knows, RoutinectlError when there is no slot at the instant.
    """
    if run is not None:
        found = _of_run(session, name, run)
    elif at is not None:
        found = _of_slot(session, name, at)
    else:
        found = _last(session, name)
    return _placed(session, found)


def _of_run(session: Session, name: str, run: str) -> Explanation:
    standing = session.standing(name)
    for line in reversed(lines(session, name)):
        if str(line.get("run", "")).startswith(run):
            return _of_line(name, line)
    going = next((item for item in standing.runs.values() if item.id.startswith(run)), None)
    if going is not None:
        return Explanation(name, "running", _iso(going.slot), going.reason, run=projection.running(standing, going.id))
    request = next((item for item in standing.requests.values() if item.id.startswith(run)), None)
    if request is None:
        raise NotFoundError(f"{name} has no run '{run}'", f"routinectl history {name}")
    return Explanation(name, "waiting", None, request.hold or "capacity", since=to_iso(request.at), until=_iso(request.until))


def _of_slot(session: Session, name: str, at: datetime) -> Explanation:
    standing, routine = session.standing(name), session.routine(name)
    for line in reversed(lines(session, name)):
        if _answers(line, at, routine):
            found = _of_line(name, line)
            found.slot = to_iso(at)
            return found
    hold = standing.holds.get(at)
    if hold is not None:
        return Explanation(
            name, "held", to_iso(at), hold.reason, since=to_iso(hold.since), until=_iso(hold.until), next=_next(session, name)
        )
    going = next((run for run in standing.runs.values() if run.slot == at), None)
    if going is not None:
        return Explanation(name, "running", to_iso(at), going.reason, run=projection.running(standing, going.id))
    if routine is None or not _has_slot(routine, at):
        raise RoutinectlError(f"{name} has no slot at {to_iso(at)}", _nearest(session, name, at))
    if standing.mark is not None and at <= standing.mark:
        return Explanation(name, "none", to_iso(at))
    if standing.used_up and at > (standing.used_up_at or standing.mark or at):
        raise RoutinectlError(f"{name} has no slot at {to_iso(at)}: its max_runs, {routine.max_runs}, is used up",
                              f"routinectl edit {name} --set max_runs={standing.run_count + 1}")  # fmt: skip
    return Explanation(name, "future", to_iso(at), expected=_expected(session, routine, standing, at))


def _last(session: Session, name: str) -> Explanation:
    standing = session.standing(name)
    if standing.holds:
        slot = max(standing.holds)
        return _of_slot(session, name, slot)
    waiting = next(iter(standing.requests), None)
    if waiting is not None:
        return _of_run(session, name, waiting)
    found = lines(session, name)
    refused = [line for line in found if line["verdict"] != "ran"] or found
    if not refused:
        return Explanation(name, "none", next=_next(session, name))
    return _of_line(name, refused[-1])


def _of_line(name: str, line: Line) -> Explanation:
    return Explanation(
        name, line["verdict"], line.get("slot"), str(line.get("reason") or ""), line.get("rule") or "", line.get("value"), line=line
    )


def _placed(session: Session, found: Explanation) -> Explanation:
    """Add where the rule stands in the file, if the file still says what is in force, and what would have to change."""
    found.remedy = remedy(found.reason if found.verdict != "running" else "", found.id)
    path = _path_of(found)
    if path:
        file = session.layout.definition(found.id)
        label = definitions.relative(session.layout, file)
        try:
            marks = document.places(definitions.read_bytes(session.layout, found.id))
        except (DefinitionError, OSError):
            return found
        if path[:1] in marks:
            found.place = document.locate(Problem("", path), marks, label).where
    return found


def _path_of(found: Explanation) -> tuple[str, ...]:
    rules = {"late": "misfire", "collapsed": "misfire", "catch_up_limit": "misfire", "catch_up": "misfire", "overlap": "concurrency",
             "review": "misfire"}  # fmt: skip
    text = found.rule or rules.get(found.reason, "")
    return tuple(text.split(".")) if text and not text.startswith("limits") else ()


def _expected(session: Session, routine: Routine, standing: Standing, at: datetime) -> list[str]:
    """Return what would be decided at a future slot, if nothing changed and every run had ended by then."""
    then = from_plain(to_plain(standing))
    then.runs.clear()
    before = routine.schedule.previous(at)
    if before is not None:
        then.answer(before, excluded=False)
    wishes = decision.decide(routine, then, routine.due(at), session.engine.facts(routine, standing))
    return [text for wish in wishes if (text := _wish_words(wish, at))] or _standing_in_the_way(standing, routine)


def _wish_words(wish: Wish, at: datetime) -> str:
    if isinstance(wish, Start) and wish.slot == at:
        return "it starts"
    if isinstance(wish, Hold) and wish.slot == at:
        until = f" until {to_iso(wish.until)}" if wish.until else ""
        return f"held: {wish.reason}{until}"
    if isinstance(wish, Skip) and wish.slot == at:
        return f"{'missed' if wish.missed else 'skipped'}: {wish.reason}"
    return ""


def _standing_in_the_way(standing: Standing, routine: Routine) -> list[str]:
    if standing.draft is not None:
        return ["nothing: it is a draft"]
    if not routine.enabled:
        return ["nothing: it is disabled"]
    if standing.paused is not None:
        return ["skipped: paused"]
    return ["skipped: invalid"] if standing.invalid is not None else []


def _has_slot(routine: Routine, at: datetime) -> bool:
    before = from_epoch(at.timestamp() - 1)
    return any(half is not None and half.count(before, at) for half in (routine.schedule, routine.excluded))


def _answers(line: Mapping[str, Any], at: datetime, routine: Routine | None) -> bool:
    stamp = to_iso(at)
    if line.get("after"):
        inside = from_iso(str(line["after"])) < at <= from_iso(str(line.get("slot")))
        if not inside or routine is None or routine.calendar is None:
            return inside
        return bool(routine.calendar.why(routine.calendar.day_of(at))) == bool(line.get("excluded"))
    return line.get("slot") == stamp


def _nearest(session: Session, name: str, at: datetime) -> str:
    routine = session.routine(name)
    slot = routine.schedule.next_after(at) if routine else None
    return f"routinectl why {name} --at {to_iso(slot)}" if slot else f"routinectl history {name}"


def _next(session: Session, name: str) -> Line | None:
    routine = session.routine(name)
    return projection.next_fire(routine, session.standing(name), session.now) if routine else None


def _iso(instant: datetime | None) -> str | None:
    return to_iso(instant) if instant is not None else None
