"""After a crash, an upgrade or a reboot: find out what became of every run that has no end on record.

The rows are `core.recovery.judge`; here is where the evidence comes from. Recovery is the same whether serve starts, a
command finds work that nobody minded, or the keeper dies under a living serve.
"""

from __future__ import annotations

from datetime import datetime

from routinectl.core import gates, legible
from routinectl.core.event import Event
from routinectl.core.record import facts_of
from routinectl.core.recovery import Evidence, judge
from routinectl.core.standing import Request, Run, run_of
from routinectl.core.units import from_iso, to_iso
from routinectl.core.wish import Start
from routinectl.engine.engine import Engine
from routinectl.engine.launch import CannotStart
from routinectl.errors import in_words
from routinectl.files import atomic, lease, run_logs
from routinectl.files.lock import Lock
from routinectl.process import leavings, proc


def recover(engine: Engine, now: datetime) -> list[tuple[str, Run]]:
    """Bring every open run on record; return those that live without their keeper and must be watched.

    Where a keeper lives that does not know a run, it is asked a second time after the run's lease was seen free: what
    ended in between is in the second greeting, so a run handed over by another process at this moment is not misjudged.
    """
    engine.keeping.close()
    first = _look(engine, now)
    if not first.get("interrupted") or engine.keeping.wire is None:
        return _settle(engine, first, now)
    engine.keeping.close()
    return _settle(engine, _look(engine, now), now)


Fates = dict[str, list[tuple[str, Run]]]


def _look(engine: Engine, now: datetime) -> Fates:
    """Ask the keeper, record the ends it tells of, and judge the other open runs."""
    engine.keeping.find_or_outlive()
    hello = engine.keeping.hello if engine.keeping.wire is not None else {}
    dead = engine.keeping.is_dead()
    records = engine.keeping.records() if dead else []
    if hello:
        engine.take([hello], now)
    elif records:
        here = {key for key, name in engine.world.running.items() if engine.world.standing(name).runs[run_of(key)].boot == engine.boot}
        started = [item["started"] for item in records if "started" in item and item["started"]["run"] in here]
        engine.take([{"alive": started, "ended": [item["ended"] for item in records if "ended" in item]}], now)
    if dead and records:
        engine.keeping.forget_log()
    known = {item["run"] for item in hello.get("alive", ())} | set(hello.get("ending", ()))
    unclear = not dead and not hello  # it is being started, or on its way out
    fates: Fates = {}
    for key, name in sorted(engine.world.running.items()):
        run = engine.world.standing(name).runs[run_of(key)]
        fates.setdefault(judge(_evidence(engine, name, run, unclear or key in known)), []).append((name, run))
    return fates


def _settle(engine: Engine, fates: Fates, now: datetime) -> list[tuple[str, Run]]:
    """Record what nobody saw end, start what never began, and return what must be watched."""

    def make() -> list[Event]:
        return [interrupted(engine, name, run, now, left[run.key]) for name, run in lost if run.key in engine.world.running]

    lost = fates.get("interrupted", ())
    left = {run.key: left_by(engine, name, run) for name, run in lost}
    if lost:
        engine.record(make, now)
    if fates.get("start"):
        _start_again(engine, fates["start"], now)
    return fates.get("watch", [])


def _evidence(engine: Engine, name: str, run: Run, keeper_knows: bool) -> Evidence:
    started, same_boot = run_logs.has_started(engine.layout, name, run.key), run.boot == engine.boot
    alive = bool(run.pid) and same_boot and proc.is_alive(run.pid, run.start_time)
    if not run.pid and same_boot and started and not keeper_knows:
        alive = proc.bears(run.id)  # the keeper died before it could tell whom it had started
    return Evidence(
        False,  # runs with an exit record have their end on record by now
        alive or lease.held(engine.layout, name, run.lease),
        keeper_knows,
        started,
        same_boot,
    )


def left_by(engine: Engine, name: str, run: Run) -> str:
    """Say what may not be let out of what a run has left; its next attempt must not begin before that is known."""
    folder = engine.layout.run(name, run.key)
    if not (run.facts.get("confinement") and (folder / leavings.ASKED).exists()):
        return ""
    try:
        return str(leavings.settle(str(folder)).get("message", ""))
    except OSError as error:
        return f"what it left cannot be looked at: {in_words(error)}"


def interrupted(engine: Engine, name: str, run: Run, now: datetime, left: str) -> Event:
    """Return the end of an attempt that nobody saw; `left` is what `left_by` says of it."""
    message = "; ".join(filter(None, ["its end was not seen", legible.line(left)]))
    data = {"at": to_iso(now), "outcome": "interrupted", "exit_code": None, "message": message}
    return engine.ending(name, run, facts_of(run, run.id) | data)


def _start_again(engine: Engine, runs: list[tuple[str, Run]], now: datetime) -> None:
    """Start claimed runs that provably never began, under their own ids; too late ones are recorded as not started.

    Whoever claimed them may have died, or met a failing disk, before the claim was durable: nothing starts before it is.
    """
    engine.world.journal.sync()
    entries: list[bytes] = []
    locks: list[Lock] = []
    refused = []
    try:
        for name, run in runs:
            why = _enter_again(engine, name, run, now, entries, locks)
            if why:
                refused.append((name, run, why))
    except BaseException:
        for item in locks:
            item.close()  # else their runs would seem to be alive
        raise
    if entries:
        engine.send(entries, locks)
    engine.append(
        [Event("run.ended", name, facts_of(run, run.id) | {"at": to_iso(now), "outcome": "not_started", "exit_code": None, "message": why})
         for name, run, why in refused], now)  # fmt: skip


def _enter_again(engine: Engine, name: str, run: Run, now: datetime, entries: list[bytes], locks: list[Lock]) -> str:
    """Add what the keeper needs to start a run again, its lease first; or return why it is not started."""
    routine = engine.world.routine(name)
    late = routine is None or now - run.due > routine.window(run.slot or run.due)
    try:
        taken = None if late else lease.take(engine.layout, name, run.lease + 1, range(run.lease))
    except OSError as error:
        if atomic.concerns_all(error):
            raise
        return in_words(error)
    if taken is None or routine is None:
        return "it was claimed, and found too late to be started"
    locks.append(taken[1])
    request = _request_of(run)
    if request and request.tree and gates.is_bound(routine, engine.world.standing(name)):
        locks.pop().close()
        return "it has the files of another commit, and only approved ones may run"
    prepared = engine.prepare_as_it_was(name, request.tree, now)[1] if request and request.tree else engine.prepare(name)
    if prepared.fault:
        locks.pop().close()
        return prepared.fault
    start = Start(name, run.due, run.reason, slot=run.slot, request=request, retry=run if run.attempt > 1 else None)
    try:
        entries.append(engine.entry(start, routine, prepared, run.key, now))
    except CannotStart as error:
        locks.pop().close()
        return str(error)
    except OSError as error:
        if atomic.concerns_all(error):
            raise
        locks.pop().close()
        return in_words(error)
    return ""


def _request_of(run: Run) -> Request | None:
    """Return what was asked for, as far as starting it again needs that."""
    if run.request is None:
        return None
    slot = run.facts.get("for_slot")
    return Request(run.request, run.due, "", payload=run.payload, slot=from_iso(slot) if slot else None, tree=run.facts.get("tree", ""))
