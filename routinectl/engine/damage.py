"""What a damaged journal costs: its damaged lines, and the certainty of what they may have answered.

A line that cannot be read may have been a claim. So the slots that are unanswered up to the next intact line are not
run: the newest of each routine is held for a person's review, the others are missed. A line that is gone altogether is
noticed by the gap in the numbers.
"""

from __future__ import annotations

from datetime import datetime

from routinectl.core.event import Event
from routinectl.core.units import from_iso, to_iso
from routinectl.engine.engine import Engine


def answer_damage(engine: Engine, now: datetime) -> None:
    """Record damage that nobody has recorded yet, and what follows from it."""

    def make() -> list[Event]:
        events: list[Event] = []
        for item in engine.world.unrecorded_damage():
            through = from_iso(item.through) if item.through else now
            data = {"at": to_iso(now), "segment": item.segment, "offset": item.offset, "bytes": item.size,
                    "missing": item.missing, "through": to_iso(through)}  # fmt: skip
            for name in engine.world.ids():
                events += _doubt(engine, name, through, now)
            events.append(Event("journal.damaged", "", data))
        for size in engine.world.journal.torn:
            events.append(Event("journal.damaged", "", {"at": to_iso(now), "segment": 0, "offset": 0, "torn": size}))
        engine.world.journal.torn.clear()
        return events

    engine.record(make, now)


def _doubt(engine: Engine, name: str, through: datetime, now: datetime) -> list[Event]:
    routine, mark = engine.world.routine(name), engine.world.standing(name).mark
    if routine is None or mark is None or not routine.enabled or not routine.schedule:
        return []
    newest = routine.schedule.last_n(mark, through, 1)
    if not newest:
        return []
    events = []
    before = routine.schedule.previous(newest[0])
    if before is not None and before > mark:
        count = routine.schedule.count(mark, before)
        data = {"at": to_iso(now), "reason": "damaged", "after": to_iso(mark), "through": to_iso(before), "count": count}
        events.append(Event("slot.missed", name, data))
    events.append(Event("slot.held", name, {"at": to_iso(now), "slot": to_iso(newest[0]), "reason": "damaged"}))
    return events
