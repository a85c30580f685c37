"""Writes a journal of many runs into a workspace, or times folding and deciding; asked by run.py.

python benchmarks/journal.py WORKSPACE RUNS      two events a run, a fifth of them of the routine r00000
python benchmarks/journal.py WORKSPACE --fold    microseconds to fold an event and decide about one routine
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from routinectl.core.decision import decide
from routinectl.core.event import Event
from routinectl.core.units import to_iso
from routinectl.engine.world import World
from routinectl.files.layout import Layout

BATCH = 1000


def write(layout: Layout, runs: int) -> None:
    """Append claims and ends of runs, and leave neither checkpoint nor ledgers behind."""
    world = World(layout)
    world.load()
    names = world.ids()
    began = datetime.now(UTC) - timedelta(seconds=runs)
    for first in range(0, runs, BATCH // 2):
        events = []
        for number in range(first, min(first + BATCH // 2, runs)):
            name = names[0] if number % 5 == 0 else names[1 + number % (len(names) - 1)]
            at, run = to_iso(began + timedelta(seconds=number)), f"n{number:07d}"
            data = {"at": at, "run": run, "due": at, "reason": "requested", "attempt": 1, "lease": 0, "timeout": 60.0, "kill_grace": 1.0,
                    "request": run, "trigger": "manual", "fingerprint": "f" * 64}  # fmt: skip
            events.append(Event("run.claimed", name, data))
            events.append(Event("run.ended", name, {**data, "outcome": "succeeded", "exit_code": 0, "message": "well"}))
        with world.journal.transaction():
            world.journal.append(events, datetime.now(UTC))
    world.journal.sync()
    for path in (layout.checkpoint, layout.base):
        path.unlink(missing_ok=True)


def fold_and_decide(layout: Layout) -> str:
    """Return how long a fold of one event and one decision take."""
    world = World(layout)
    world.load()
    name = world.ids()[1]
    standing, routine, now = world.standing(name), world.routine(name), datetime.now(UTC)
    assert routine is not None
    event = Event("run.requested", name, {"at": to_iso(now), "request": "q", "by": "me"}, "e", to_iso(now), 1)
    answer = Event("slot.skipped", name, {"at": to_iso(now), "request": "q", "reason": "overlap"}, "e", to_iso(now), 2)
    times = []
    for _ in range(5000):
        began = time.perf_counter()
        standing.fold(event)
        decide(routine, standing, now)
        times.append(time.perf_counter() - began)
        standing.fold(answer)
    return f"Fold and decide for one routine: {sorted(times)[len(times) // 2] * 1e6:.0f} us (median)."


if __name__ == "__main__":
    place = Layout(Path(sys.argv[1]))
    if sys.argv[2] == "--fold":
        print(fold_and_decide(place))
    else:
        write(place, int(sys.argv[2]))
