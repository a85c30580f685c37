"""Running something again: past slots that did not run, and past runs with the input they had."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from routinectl.core import record
from routinectl.core.units import to_iso
from routinectl.errors import NotFoundError, UsageError
from routinectl.files import run_logs
from routinectl.operations import runs
from routinectl.operations.history import lines
from routinectl.operations.session import Session
from routinectl.process import git

MOST = 1000


def backfill_id(routine_id: str, slot: datetime) -> str:
    """Return the id of the run that makes up for a slot: made from the slot, so that no slot is made up for twice."""
    return record.named(slot, routine_id, "b")


def missing(session: Session, name: str, start: datetime, end: datetime) -> list[datetime]:
    """Return the past slots in [start, end) that neither ran nor were made up for, oldest first.

    Slots are those of the schedule in force now. Raises UsageError when the span is empty or not past.
    """
    session.good(name)
    if not start < end <= session.now:
        raise UsageError(
            "a backfill is about the past: --from before --to, and --to not after now", f"routinectl backfill {name} --from 7d"
        )
    routine, standing = session.routine(name), session.standing(name)
    assert routine is not None
    ran = {line.get("slot") for line in lines(session, name) if line["verdict"] == "ran"} | {to_iso(slot) for slot in standing.holds}
    known = {line.get("run") for line in lines(session, name)} | set(standing.requests) | set(standing.runs)
    ran |= {to_iso(run.slot) for run in standing.runs.values() if run.slot}
    before = datetime.fromtimestamp(start.timestamp() - 1, start.tzinfo)
    found = routine.schedule.walk(before, datetime.fromtimestamp(end.timestamp() - 1, end.tzinfo))
    return [slot for slot in found if to_iso(slot) not in ran and backfill_id(name, slot) not in known]


def backfill(session: Session, name: str, slots: list[datetime], *, by: str) -> list[str]:
    """Ask for a run of each slot, under an id of the slot; they run one after another. Returns the ids.

    Raises UsageError for more slots than anybody means.
    """
    if len(slots) > MOST:
        raise UsageError(f"{len(slots)} slots are more than the {MOST} that one backfill takes", "--limit 100")
    at = to_iso(session.now)
    asked = [{"at": at, "request": backfill_id(name, slot), "by": by, "mode": "backfill", "for_slot": to_iso(slot)} for slot in slots]
    if asked:
        runs.ask(session, name, asked)
    return [str(item["request"]) for item in asked]


def replay(session: Session, run: str, *, by: str, at_commit: bool = False) -> tuple[str, str]:
    """Run a past run again, with the payload it had; returns (routine, id of the new run).

    With `at_commit`, by the definition and files of the commit that the run is recorded with, in a folder of their own.
    Raises NotFoundError for a run that no ledger knows, UsageError for the beginning of several, and for a run without
    a commit.
    """
    found = [(name, line) for name in session.alive() for line in lines(session, name) if str(line.get("run") or "").startswith(run)]
    known = sorted({(name, str(line["run"])) for name, line in found if line["verdict"] == "ran"})
    if not known:
        raise NotFoundError(f"no ledger knows a run '{run}'", "routinectl history")
    if len(known) > 1:
        raise UsageError(f"'{run}' could be {', '.join(item for _, item in known[:5])}", f"routinectl replay {known[0][1]}")
    name, run_id = known[0]
    payload: Mapping[str, Any] | None = run_logs.payload(session.layout.run(name, run_id))
    commit = next((str(line["commit"]) for owner, line in found if owner == name and line.get("run") == run_id and line.get("commit")), "")
    tree = _tree(session, run_id, commit) if at_commit else ""
    return name, runs.request(session, name, by=by, payload=payload, mode="replay", force=True, tree=tree)


def _tree(session: Session, run_id: str, commit: str) -> str:
    """Return a fresh folder with the workspace's files as a commit has them."""
    if not commit:
        raise UsageError(f"no commit is on record for {run_id}: the workspace was not in git", f"routinectl replay {run_id}")
    target = session.layout.trees / f"{run_id}-{session.now:%H%M%S%f}"
    fault = git.export(session.layout.root, commit, target)
    if fault:
        raise NotFoundError(f"git cannot give the files of {commit[:12]}: {fault}", f"git show {commit[:12]}")
    return str(target)
