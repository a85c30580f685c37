"""Looking: the list of routines, the status of the workspace, everything about one routine."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from routinectl.core import decision, permissions, projection, reaction, upcoming
from routinectl.core.routine import Routine
from routinectl.core.schedule.describe import describe
from routinectl.core.standing import Standing
from routinectl.core.units import from_epoch, from_iso, to_iso
from routinectl.engine import launch
from routinectl.files import lease, run_logs
from routinectl.operations import access, limits
from routinectl.operations.history import lines
from routinectl.operations.session import Session, View, sees_all

Row = dict[str, Any]
_BACKWARDS = 5.0
_LATE_SECONDS = 5.0
_OTHER_WAKES = {"sla", "calendar"}  # with these keys, the next wake need not be the next fire
_NOT_PLAIN = {
    "deleted",
    "invalid",
    "paused",
    "draft",
    "proposals",
    "approval",
    "overdue",
    "runs",
    "requests",
    "holds",
}  # a look at more than the text is needed


def rows(session: View) -> list[Row]:
    """Return a row for each routine: id, status, schedule as written, next fire, last outcome."""
    found = []
    for name in session.world.ids():
        row = _row(session, name)
        if row is not None:
            row["owner"] = row["owner"] or session.settings.default_owner
            found.append(row)
    return found


def _row(session: View, name: str) -> Row | None:
    """Return a row; a frozen routine is told from its text alone, because a list of thousands must be quick."""
    frozen = session.world.frozen.get(name)
    if frozen is not None:
        _, wake, _, text = frozen.split(b"\t", 3)
        plain = json.loads(text)
        doc = plain.get("doc") or {}
        if doc and wake != b"-" and not plain.keys() & _NOT_PLAIN and not doc.keys() & _OTHER_WAKES:
            due = from_epoch(float(wake))
            if due > session.now:
                enabled = plain["doc"].get("enabled", True)
                return _fields(name, plain["doc"], "active" if enabled else "disabled", "", to_iso(due) if enabled else None,
                               plain.get("last_outcome", ""), plain.get("last_run_at"), len(plain.get("runs", ())))  # fmt: skip
    return row_of(session.standing(name), session.routine(name), session.now)


def row_of(standing: Standing, routine: Routine | None, now: datetime) -> Row | None:
    """Return the row of one routine, None when it is gone."""
    name = standing.id
    if standing.deleted or (standing.doc is None and standing.invalid is None):
        return None
    status, reason = projection.status_of(standing, routine, now)
    fire = projection.next_fire(routine, standing, now) if routine else None
    last = to_iso(standing.last_run_at) if standing.last_run_at else None
    return _fields(
        name, standing.doc or {}, status, reason, fire["due"] if fire else None, standing.last_outcome, last, len(standing.runs)
    ) | {"badges": projection.badges(standing, routine)}


def _fields(name: str, doc: Row, status: str, reason: str, due: str | None, outcome: str, last: str | None, running: int) -> Row:
    return {"id": name, "name": doc.get("name", name), "status": status, "reason": reason, "schedule": written(doc),
            "timezone": doc.get("timezone", ""), "next_fire_at": due, "last_outcome": outcome or None, "last_run_at": last,
            "running": running, "tags": doc.get("tags", []), "badges": [], "owner": doc.get("owner", ""),
            "enabled": doc.get("enabled", True), "description": doc.get("description", "")}  # fmt: skip


def written(doc: Row) -> str:
    """Return the triggers of a definition, as short as they are written."""
    parts = []
    for trigger in doc.get("triggers", ()):
        if "weekly" in trigger:
            weekly = trigger["weekly"]
            parts.append(f"weekly {','.join(map(str, weekly['days']))} {weekly['time']}")
            continue
        kind = next((key for key in ("cron", "every", "daily", "at", "schedule") if key in trigger), None)
        if kind:
            parts.append(trigger[kind] if kind in ("cron", "schedule") else f"{kind} {trigger[kind]}")
    parts += [item.label for item in reaction.read(doc)]
    return "; ".join(parts) or "by hand"


def idle(session: Session, name: str) -> tuple[str, str]:
    """Return why nothing of a routine fires though somebody may think so (it is broken, or a draft), and the command that helps; else nothing."""
    standing = session.standing(name)
    if standing.invalid is not None:
        fault = next((item["message"] for item in standing.invalid.get("problems", ())), "it cannot be read")
        last = "; what is told is of its last good revision" if standing.doc is not None else ""
        return f"{name} is broken, and nothing of it fires: {fault}{last}", f"routinectl validate {name}"
    if standing.draft is not None:
        return f"{name} is a draft, and nothing of it fires until a person approves it", f"routinectl approve {name}"
    return "", ""


def status(session: Session) -> Row:
    """Return the state of the workspace: is a serve alive, what runs, what is next, what is broken, what is held.

    Routines that are not there for the one who asks are neither named nor counted.
    """
    found = rows(session)
    if session.sees is not sees_all:
        found = [row for row in found if session.sees(session.world.glimpse(row["id"])[0])]
    serve = session.world.workspace.get("serve.started")
    upcoming = sorted((row for row in found if row["next_fire_at"]), key=lambda row: str(row["next_fire_at"]))
    return {
        "workspace": str(session.layout.root),
        "now": to_iso(session.now),
        "serve": {"alive": session.serve_lives, "pid": serve.data["pid"] if serve and session.serve_lives else None,
                  "since": serve.data["at"] if serve and session.serve_lives else None},
        "routines": {state: sum(row["status"] == state for row in found) for state in dict.fromkeys(row["status"] for row in found)},
        "running": running(session),
        "next": [{"id": row["id"], "due": row["next_fire_at"], "timezone": row["timezone"]} for row in upcoming[:5]],
        "broken": [{"id": row["id"], "problems": (session.standing(row["id"]).invalid or {}).get("problems", [])}
                   for row in found if row["status"] == "invalid"],
        "held": [{"id": name, "slot": to_iso(hold.slot), "reason": hold.reason}
                 for name in _thawed(session) for hold in session.standing(name).holds.values()],
        "last": [{key: row[key] for key in ("id", "last_outcome", "last_run_at")}
                 for row in sorted((row for row in found if row["last_run_at"]), key=lambda row: str(row["last_run_at"]))[-5:]],
        "clock": {"suspect": _ahead(session) > _BACKWARDS, "journal_ahead_seconds": max(round(_ahead(session)), 0)},
        "max_concurrent_runs": session.settings.max_concurrent_runs,
        "health": health(session),
    }  # fmt: skip


def health(session: Session) -> list[Row]:
    """Return what needs a person or time, each with how many and the command that mends it."""
    standings = [session.standing(name) for name in _thawed(session)]
    holds = [hold for standing in standings for hold in standing.holds.values()]
    late = _late(session)
    found = (
        ("late", "slots are due and not decided", len(late), "routinectl serve" if not session.serve_lives else "routinectl doctor"),
        ("review", "slots or requests wait for review", sum(map(decision.to_review, standings)), "routinectl review"),
        ("approval", "routines wait for an approval", sum(_waits(standing) for standing in standings), "routinectl approvals"),
        ("proposals", "proposals of agents wait for a person", sum(len(standing.proposals) for standing in standings), "routinectl proposals"),
        ("backlog", "slots wait for a place", sum(hold.reason in ("capacity", "pool") for hold in holds), "limits in routinectl.yaml"),
        ("overdue", "routines are overdue", sum(bool(standing.overdue) for standing in standings), "routinectl list"),
        ("broken", "definitions are broken", sum(standing.invalid is not None and not standing.deleted for standing in standings),
         "routinectl validate"),
    )  # fmt: skip
    return [{"kind": kind, "what": what, "count": count, "command": command} for kind, what, count, command in found if count]


def _late(session: Session) -> list[str]:
    """Return the routines with a slot that is due and not decided. A session that stays open knows wakes of before: they are asked anew."""
    before = session.now - timedelta(seconds=_LATE_SECONDS)
    due = [name for name, wake in session.world.wakes.items() if wake < before.timestamp() and session.sees(session.standing(name))]
    return [name for name in due if _is_late(session, name, before)]


def _is_late(session: Session, name: str, before: datetime) -> bool:
    routine = session.routine(name)
    wake = decision.next_wake(routine, session.standing(name), session.now) if routine is not None else None
    return wake is not None and wake < before


def _waits(standing: Standing) -> bool:
    asked = standing.approval
    return standing.draft is not None or (asked is not None and asked["state"] == "requested")


def _ahead(session: Session) -> float:
    """Return by how many seconds the journal is ahead of the clock."""
    last = session.world.journal.last_time
    return (from_iso(last) - session.now).total_seconds() if last else 0.0


def _thawed(session: Session) -> list[str]:
    """Return the routines that may have something open, of those that are there for the one who asks; frozen ones that do are thawed when they are read."""
    return sorted(name for name in list(session.world.thawed) if session.sees(session.standing(name)))


def running(session: Session) -> list[Row]:
    """Return the runs that go on."""
    names = [name for name in _thawed(session) if session.standing(name).runs]
    return [{"id": name, **projection.running(session.standing(name), run_id)} for name in names for run_id in session.standing(name).runs]


def show(session: Session, name: str) -> Row:
    """Return everything about one routine: definition in force, standing, next fires, last runs, leases, fingerprints."""
    standing, routine = session.standing(name), session.routine(name)
    fires: list[Row] = []
    if routine is not None and upcoming.fires_as_it_stands(routine, standing):
        due, _ = upcoming.fires(routine, _from(standing, session), 5, standing.run_count)
        fires = fires_in(routine, [(item.slot, item.due) for item in due], session.now)
    parallel = routine.parallel if routine else 1
    return {
        **projection.state(standing, routine, session.now),
        "owner": access.owner_of(session, standing),
        "words": describe(routine.schedule, routine.others) if routine else "",
        "agent": _agent(session, standing.doc or {}),
        "may": permissions.words(routine.permissions) if routine else "",
        "lower_bound": limits.words(routine, limits.here()) if routine else "",
        "definition": standing.doc,
        "problems": (standing.invalid or {}).get("problems", []),
        "cannot_start": launch.fault_of(session.layout, session.settings, routine) if routine else "",
        "next": fires,
        "memory_bytes": run_logs.tree_size(session.layout.folder(name) / "memory"),
        "jitter_seconds": int(routine.offset.total_seconds()) if routine else 0,
        "last": lines(session, name)[-5:],
        "leases": [{"number": number, "held": lease.held(session.layout, name, number)} for number in range(parallel)],
        "fingerprint": standing.fingerprint,
        "content": session.engine.content_of(routine, standing) if routine is not None else "",
        "revision": standing.revision,
        "mark": to_iso(standing.mark) if standing.mark else None,
        "file": str(session.layout.definition(name).relative_to(session.layout.root)),
    }


def _agent(session: Session, doc: Row) -> Row | None:
    """Return the saved agent that a routine uses: where it is, its model and tools, and what it would be granted by itself."""
    found = doc.get("action", {}).get("agent", {}).get("resolved")
    if found is None:
        return None
    file = str(session.layout.agent(found["agent"]).relative_to(session.layout.root))
    return {"file": file, **{key: found[key] for key in ("model", "tools", "max_iterations", "max_tokens", "granted")}}


def _from(standing: Standing, session: Session) -> datetime:
    return max(standing.mark, session.now) if standing.mark else session.now


def fires_in(routine: Routine, fires: list[tuple[datetime, datetime]], now: datetime) -> list[Row]:
    """Return fires (nominal, due) as they are shown, in UTC and in the routine's zone, with a note where the clocks change before one."""
    found = []
    before = now.astimezone(routine.zone.info).utcoffset()
    for nominal, due in fires:
        local = due.astimezone(routine.zone.info)
        note = "" if local.utcoffset() == before or before is None else f"the clocks change before it, to UTC{local.isoformat()[-6:]}"
        found.append({"nominal": to_iso(nominal), "due": to_iso(due), "local": local.isoformat(), **({"note": note} if note else {})})
        before = local.utcoffset()
    return found
