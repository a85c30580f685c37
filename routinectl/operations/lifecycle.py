"""Enabling, disabling, pausing, resuming and removing routines."""

from __future__ import annotations

import contextlib
import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

from routinectl import clock
from routinectl.core import decision
from routinectl.core.event import Event
from routinectl.core.record import event_of
from routinectl.core.units import to_iso
from routinectl.core.wish import Skip
from routinectl.errors import BusyError, UsageError
from routinectl.files import atomic, editing
from routinectl.operations import runs, write
from routinectl.operations.session import Session, require_idle

_PATIENCE = 60.0


def set_enabled(session: Session, routine_id: str, enabled: bool) -> bool:
    """Write `enabled` into the definition; return whether that changed anything."""
    if session.standing(routine_id).enabled == enabled and session.routine(routine_id) is not None:
        return False
    written = write.edit(session, routine_id, {("enabled",): enabled})
    return written.changed


def pause(session: Session, routine_id: str, *, until: datetime | None, reason: str, by: str) -> None:
    """Stop firing a routine until it is resumed (or `until`), on record. Raises UsageError when that is in the past."""
    if until is not None and until <= session.now:
        raise UsageError("the pause would end before it begins", "routinectl pause ID --for 2h")
    data = {"at": to_iso(session.now), "by": by}
    if until is not None:
        data["until"] = to_iso(until)
    if reason:
        data["reason"] = reason
    session.append(Event("routine.paused", routine_id, data))


def resume(session: Session, routine_id: str, *, by: str) -> bool:
    """Let a paused routine fire again; the slots of the pause get their verdict. Returns whether it was paused."""

    def make() -> list[Event]:
        standing, routine = session.standing(routine_id), session.routine(routine_id)
        if standing.paused is None:
            return []
        wishes = decision.end_pause(routine, standing, session.now) if routine is not None else []
        events = [event_of(wish, session.now) for wish in wishes if isinstance(wish, Skip)]
        return [*events, Event("routine.resumed", routine_id, {"at": to_iso(session.now), "by": by})]

    return bool(runs.record(session, make))


def remove(session: Session, routine_id: str, *, cancel: bool = False, keep_history: bool = False, by: str = "") -> str:
    """Remove a routine's folder (of a link the link alone); its events stay. Returns where it was moved to, with `keep_history`.

    Raises BusyError when a run goes on and is not to be cancelled (or does not end).
    """
    if session.standing(routine_id).runs:
        if not cancel:
            require_idle(session.standing(routine_id))
        runs.cancel(session, routine_id, None, by=by)
        _wait_until_idle(session, routine_id)
    folder = session.layout.folder(routine_id)
    kept = ""
    with editing.lock(session.layout):
        if keep_history:
            archive = session.layout.root / "removed"
            archive.mkdir(exist_ok=True)
            target = archive / f"{routine_id}-{session.now:%Y%m%dT%H%M%SZ}"
            os.rename(folder, target)
            kept = str(target.relative_to(session.layout.root))
        else:
            _remove(folder, session.layout.definition(routine_id))
        atomic.sync_folder(session.layout.routines)
    session.look_at(routine_id)
    write.commit(session, routine_id, "remove")
    return kept


def _remove(folder: Path, definition: Path) -> None:
    if folder.is_symlink():  # what it leads to is not ours
        folder.unlink()
        return
    # The definition goes first and durably: whatever happens after that, the routine is gone.
    with contextlib.suppress(FileNotFoundError, IsADirectoryError):
        os.unlink(definition)
    atomic.sync_folder(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _wait_until_idle(session: Session, routine_id: str) -> None:
    deadline = clock.awake() + _PATIENCE
    while session.standing(routine_id).runs:
        if clock.awake() > deadline:
            raise BusyError(f"a run of {routine_id} does not end", "routinectl status --running")
        runs.attend(session, timedelta(milliseconds=50))
