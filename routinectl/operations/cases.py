"""Tests of routines: `cases/*.yaml` in a routine's folder say what must come of its definition, and it is played.

A case has a span of time and an assumed world, and what is expected of it: verdicts of single slots, counts, or both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from routinectl.core import document, simulate
from routinectl.core.problem import did_you_mean
from routinectl.core.schedule.moment import parse_bound
from routinectl.core.schedule.zone import Zone
from routinectl.core.simulate import Assumed, Mark, Outage
from routinectl.core.units import from_epoch, parse_duration, to_iso
from routinectl.errors import DefinitionError, RoutinectlError, ScheduleError, in_words
from routinectl.files import regular
from routinectl.operations.session import Session

_KEYS = ("name", "from", "to", "runtime", "outages", "expect")
_EXPECT = ("ran", "skipped", "missed", "held", "slots")
_EXAMPLE = 'from: "2026-12-21"; to: "2026-12-28"; expect: {ran: 4, slots: {"2026-12-25T09:00": "skipped: calendar"}}'


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one case: its faults, in words; none when it passed."""

    routine: str
    case: str
    faults: tuple[str, ...]


def run(session: Session, names: Sequence[str]) -> list[Result]:
    """Return what comes of every case of these routines."""
    paths = ((name, path) for name in names for path in sorted((session.layout.folder(name) / "cases").glob("*.yaml")))
    return [_case(session, name, path) for name, path in paths]


def _case(session: Session, name: str, path: Path) -> Result:
    label = str(path.relative_to(session.layout.root))
    doc, routine = session.standing(name).doc, session.routine(name)
    if doc is None or routine is None or session.standing(name).invalid is not None:
        return Result(name, label, (f"{name} has no good definition",))
    try:
        case = document.read(regular.read(path, document.MAX_BYTES), label)
        _check(case)
        assumed = _assumed(case, routine.zone)
        marks = simulate.play(name, {**doc, "enabled": True}, assumed)
        faults = [*_counts(case["expect"], marks), *_slots(case["expect"].get("slots", {}), marks, routine.zone)]
    except (RoutinectlError, ValueError, OSError) as error:
        message = (
            error.problems[0].message
            if isinstance(error, DefinitionError) and error.problems
            else in_words(error)
            if isinstance(error, OSError)
            else str(error)
        )
        return Result(name, label, (f"the case cannot be read: {message}",))
    return Result(name, label, tuple(faults))


def _check(case: Any) -> None:
    if not isinstance(case, Mapping) or not isinstance(case.get("expect"), Mapping) or not {"from", "to"} <= case.keys():
        raise ValueError(f"a case has from, to and expect, such as {_EXAMPLE}")
    for group, known in ((case, _KEYS), (case["expect"], _EXPECT)):
        for key in group:
            if key not in known:
                raise ValueError(f"unknown key '{key}'; {did_you_mean(str(key), known) or ', '.join(known)}")


def _assumed(case: Mapping[str, Any], zone: Zone) -> Assumed:
    outages = tuple(sorted((_outage(str(text), zone) for text in case.get("outages", ())), key=lambda item: item.start))
    took = parse_duration(str(case.get("runtime", "1m")))
    return Assumed(_moment(case["from"], zone), _moment(case["to"], zone), {}, outages, took.total_seconds())


def _outage(text: str, zone: Zone) -> Outage:
    first, _, last = text.partition("..")
    return Outage(_moment(first, zone), _moment(last, zone))


def _moment(text: Any, zone: Zone) -> datetime:
    try:
        return from_epoch(parse_bound(str(text), zone))
    except ScheduleError as error:
        raise ValueError(error.message) from None


def _counts(expect: Mapping[str, Any], marks: list[Mark]) -> list[str]:
    found = simulate.counts(marks)
    return [f"{key}: expected {expect[key]}, found {found[key]}" for key in found if key in expect and expect[key] != found[key]]


def _slots(expected: Mapping[str, str], marks: list[Mark], zone: Zone) -> list[str]:
    """Compare the last word on each slot, as `verdict` or `verdict: reason`."""
    faults = []
    for text, wanted in expected.items():
        slot = _moment(text, zone)
        said = [mark for mark in marks if mark.slot == slot] or [
            mark for mark in marks if mark.slot is None and mark.count > 1 and slot <= mark.at < slot + timedelta(days=366)
        ]
        found = f"{said[-1].verdict}: {said[-1].reason}" if said else "no slot"
        if wanted not in (found, found.partition(":")[0]):
            faults.append(f"{to_iso(slot)}: expected {wanted}, found {found}")
    return faults
