"""After a crash, an upgrade or a reboot: find out what became of every run that has no end on record.

The rows are `core.recovery.judge`; here is where the evidence comes from. Recovery is the same whether serve starts, a
command finds work that nobody minded, or the keeper dies under a living serve.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from routinectl.core.decision import Start
from routinectl.core.event import Event
from routinectl.core.recovery import Evidence, judge
from routinectl.core.standing import Request, Run
from routinectl.core.units import to_iso
from routinectl.engine.engine import Engine, facts_of
from routinectl.files import lease, run_logs
from routinectl.process import proc


def recover(engine: Engine, now: datetime) -> list[tuple[str, Run]]:
    """Bring every open run on record; return those that live without their keeper and must be watched."""
    engine.keeping.find()
    hello = engine.keeping.hello if engine.keeping.wire is not None else {}
    dead = engine.keeping.is_dead()
    if not engine.world.running and not hello and not (dead and engine.keeping.records()):
        return []
    if hello:
        engine.take([hello], now)
    records = {item["ended"]["run"]: item["ended"] for item in engine.keeping.records() if "ended" in item}
    known = {item["run"] for item in hello.get("alive", ())} | set(hello.get("ending", ()))
    watched: list[tuple[str, Run]] = []
    again: list[tuple[str, Run]] = []

    def make() -> list[Event]:
        events = []
        for run_id, name in sorted(engine.world.running.items()):
            run = engine.world.standing(name).runs[run_id]
            fate = judge(_evidence(engine, name, run, records, run_id in known or not dead))
            if fate == "ended":
                events.append(engine.end_of(name, run, records[run_id]))
            elif fate == "interrupted":
                events.append(interrupted(name, run, now))
            elif fate == "watch":
                watched.append((name, run))
            elif fate == "start":
                again.append((name, run))
        return events

    engine.record(make, now)
    if dead:
        engine.keeping.forget_log()
    _start_again(engine, again, now)
    return watched


def _evidence(engine: Engine, name: str, run: Run, records: Mapping[str, Any], keeper_knows: bool) -> Evidence:
    alive = bool(run.pid) and run.boot == engine.boot and proc.is_alive(run.pid, run.start_time)
    return Evidence(
        run.id in records,
        alive or lease.held(engine.layout, name, run.lease),
        keeper_knows,
        run_logs.has_started(engine.layout, name, run.id),
        run.boot == engine.boot,
    )


def interrupted(name: str, run: Run, now: datetime) -> Event:
    """Return the end of a run that nobody saw."""
    data = facts_of(run, run.id) | {"at": to_iso(now), "outcome": "interrupted", "exit_code": None,
                                    "message": "its end was not seen"}  # fmt: skip
    return Event("run.ended", name, data)


def _start_again(engine: Engine, runs: list[tuple[str, Run]], now: datetime) -> None:
    """Start claimed runs that provably never began, under their own ids; too late ones are recorded as not started."""
    entries, locks, refused = [], [], []
    for name, run in runs:
        routine = engine.world.routine(name)
        late = routine is None or now - run.due > routine.window(run.slot or run.due)
        taken = None if late else lease.take(engine.layout, name, run.lease + 1, range(run.lease))
        if taken is None or routine is None:
            refused.append((name, run, "it was claimed, and found too late to be started"))
            continue
        prepared = engine.prepare(name)
        request = Request(run.request, run.due, "", payload=run.payload) if run.request else None
        start = Start(name, run.due, run.reason, slot=run.slot, request=request)
        if prepared.fault:
            taken[1].close()
            refused.append((name, run, prepared.fault))
            continue
        entries.append(engine.entry(start, routine, prepared, run.id, now))
        locks.append(taken[1])
    if entries:
        engine.send(entries, locks)
    engine.append(
        [Event("run.ended", name, {**interrupted(name, run, now).data, "outcome": "not_started", "message": why})
         for name, run, why in refused], now)  # fmt: skip
