"""Asking for runs, stopping them, waiting for them."""

from __future__ import annotations

import binascii
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from routinectl import clock
from routinectl.core.event import Event
from routinectl.core.projection import history_line
from routinectl.core.units import to_iso
from routinectl.engine.recover import recover
from routinectl.errors import BusyError, DeadlineError, NotFoundError
from routinectl.files import run_logs, watch
from routinectl.operations.session import Session


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a request: its run id, and its line of the ledger once it is answered."""

    run: str
    line: Mapping[str, Any] | None


def record(session: Session, make: Callable[[], Sequence[Event]]) -> list[Event]:
    """Record what `make` says in the journal's critical section, and wake a serve."""
    events = session.engine.record(make, session.now)
    watch.poke(session.layout)
    return events


def request(
    session: Session, routine_id: str, *, by: str, force: bool = False, payload: Mapping[str, Any] | None = None, mode: str = "normal",
    tree: str = "",
) -> str:  # fmt: skip
    """Ask for a run now and return its id; the request is durable, and a serve (or `attend`) answers it.

    Raises DefinitionError when the routine has never been good.
    """
    session.good(routine_id)
    run_id = f"{session.now:%Y%m%dT%H%M%SZ}-r{binascii.hexlify(os.urandom(6)).decode()}"
    data: dict[str, Any] = {"at": to_iso(session.now), "request": run_id, "by": by}
    if force:
        data["force"] = True
    if payload is not None:
        data["payload"] = dict(payload)
    if mode != "normal":
        data["mode"] = mode
    if tree:
        data["tree"] = tree
    ask(session, routine_id, [data])
    return run_id


def ask(session: Session, routine_id: str, requests: Sequence[Mapping[str, Any]]) -> None:
    """Record requests, and answer them here where no serve lives."""
    session.append(*(Event("run.requested", routine_id, data) for data in requests))
    if not session.serve_lives:
        session.world.dirty.intersection_update({routine_id})
        session.engine.settle([routine_id], session.now)


def wait(session: Session, routine_id: str, run_id: str, *, limit: timedelta | None = None,
         on_turn: Callable[[], None] = lambda: None) -> Asked:  # fmt: skip
    """Wait until a request is answered and its run has ended. Raises DeadlineError after `limit`."""
    found: list[Mapping[str, Any]] = []

    def listen(events: Sequence[Event]) -> None:
        for event in events:
            if event.subject == routine_id and run_id in (event.data.get("run"), event.data.get("request")):
                line = history_line(event) if event.type != "run.retrying" else None
                if line is not None:
                    found.append(line)

    session.engine.listeners.append(listen)
    deadline = clock.awake() + limit.total_seconds() if limit else None
    try:
        if not is_open(session, routine_id, run_id):
            return Asked(run_id, line_of(session, routine_id, run_id))
        while not found:
            if deadline is not None and clock.awake() > deadline:
                raise DeadlineError(f"{run_id} has not ended in the time given; it goes on", f"routinectl logs {routine_id} -f")
            attend(session, timedelta(milliseconds=20))
            on_turn()
    finally:
        session.engine.listeners.remove(listen)
    return Asked(run_id, found[0])


def attend(session: Session, patience: timedelta) -> None:
    """Take in what happens to runs, for a moment: from the keeper where no serve lives, from the journal else."""
    now = clock.now()
    keeping = session.engine.keeping
    if session.serve_lives:
        clock.pause(patience.total_seconds())
        session.engine.hear()
        return
    if keeping.wire is None:
        clock.pause(patience.total_seconds())
        if session.world.running:
            recover(session.engine, now)
    elif clock.wait([keeping.wire.fileno()], patience.total_seconds()):
        session.engine.listen(now)
    session.engine.hear()
    waiting = [name for name in session.engine.next_waiting() if name in session.world.dirty]
    waiting += [name for name in session.world.thawed if _retry_is_due(session, name, now)]
    if waiting:
        session.engine.settle(waiting, now)


def is_open(session: Session, routine_id: str, run_id: str) -> bool:
    """Say whether a run goes on, waits for its next attempt, or has been asked for and not answered yet."""
    standing = session.standing(routine_id)
    return run_id in standing.runs or run_id in standing.requests


def _retry_is_due(session: Session, name: str, now: datetime) -> bool:
    return any(run.retry_at is not None and run.retry_at <= now for run in session.standing(name).runs.values())


def line_of(session: Session, routine_id: str, run_id: str) -> Mapping[str, Any] | None:
    """Return the ledger's line of a run or request that is answered already."""
    from routinectl.operations.history import lines

    return next((line for line in reversed(lines(session, routine_id)) if line.get("run") == run_id), None)


def cancel(session: Session, routine_id: str, run_id: str | None, *, by: str) -> list[str]:
    """Stop the runs of a routine (or one of them), with their grace; returns which. Raises NotFoundError, BusyError."""
    standing = session.standing(routine_id)
    if run_id is not None and run_id not in standing.runs:
        raise NotFoundError(f"{run_id} is not running", f"routinectl history {routine_id}")
    chosen = [run_id] if run_id else list(standing.runs)
    if not session.serve_lives:
        session.engine.keeping.find()
        if chosen and session.engine.keeping.wire is None:
            raise BusyError("the run is not in reach: no keeper answers", "routinectl doctor")
    session.append(*(Event("run.cancel_requested", routine_id, {"at": to_iso(session.now), "run": item, "by": by}) for item in chosen))
    return chosen


def output_of(session: Session, routine_id: str, run_id: str) -> Path:
    """Return the file that holds what a run printed: that of its last attempt. Raises NotFoundError when there is none (any more)."""
    going = session.standing(routine_id).runs.get(run_id)
    path = session.layout.run(routine_id, going.key if going is not None else run_id) / "out"
    if "/" in run_id or not run_logs.is_name(run_id) or not path.exists():
        raise NotFoundError(f"{routine_id} has no output of a run '{run_id}'", f"routinectl logs {routine_id} --list")
    return path
