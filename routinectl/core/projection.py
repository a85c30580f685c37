"""What people and tools are shown of a routine: its status, its state.json, and the lines of its history.

Output, never input: nothing here is read back to decide anything.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from routinectl.core import permissions, upcoming
from routinectl.core.event import Event
from routinectl.core.routine import Routine
from routinectl.core.schedule.describe import describe
from routinectl.core.standing import Hold, Standing
from routinectl.core.units import to_iso

_LINE_KEYS = (
    "run", "slot", "after", "count", "verdict", "outcome", "reason", "trigger", "detail", "attempt", "nominal", "due",
    "started_at", "completed_at", "exit_code", "signal", "message", "iterations", "tokens", "cost", "cpu_seconds",
    "max_rss", "result", "fingerprint", "revision", "commit", "mode", "rule", "value", "excluded",
)  # fmt: skip


def status_of(standing: Standing, routine: Routine | None, now: datetime) -> tuple[str, str]:
    """Return a routine's status and the reason for it, in words (empty for an active one)."""
    if standing.deleted:
        return "disabled", "deleted"
    if standing.draft is not None:
        return "draft", f"made by {standing.draft.get('by', 'an agent')}; routinectl approve {standing.id}"
    if standing.invalid is not None:
        problems = standing.invalid["problems"]
        return "invalid", problems[0]["message"] if problems else ""
    if routine is None:
        return "invalid", "it cannot be read any more"
    if not routine.enabled:
        return "disabled", "enabled: false"
    if standing.paused is not None:
        until = standing.paused.get("until")
        reason = standing.paused.get("reason", "")
        return "paused", " ".join(filter(None, [reason, f"until {until}" if until else ""]))
    if standing.approval is not None and standing.approval["state"] == "requested":
        return "pending_approval", f"{standing.approval['mode']}; routinectl approve {standing.id}"
    if is_completed(standing, routine, now):
        return "completed", f"max_runs: {routine.max_runs} are used up" if standing.used_up else "no slot is left"
    return "active", ""


def is_completed(standing: Standing, routine: Routine, now: datetime) -> bool:
    """Say whether nothing is to come: `max_runs` is used up, or only time triggers and no future slot; no hold, no request, no run."""
    if standing.holds or standing.runs or standing.requests:
        return False
    if standing.used_up:
        return True
    if not routine.schedule or routine.reactions:
        return False
    after = min(standing.mark, now) if standing.mark else now
    return routine.schedule.next_after(after) is None


def next_fire(routine: Routine, standing: Standing, now: datetime) -> dict[str, str] | None:
    """Return the next fire, nominal and due, in UTC and in the routine's zone; None when there is none."""
    if not upcoming.fires_as_it_stands(routine, standing) or standing.used_up:
        return None
    slot = routine.schedule.next_after(max(now - routine.offset, standing.mark or now - routine.offset))
    due = routine.due(slot) if slot is not None else None
    found = [(due, slot)] if due is not None and slot is not None else []
    found += [(hold.until, slot) for slot, hold in standing.holds.items() if hold.reason == "calendar" and hold.until is not None]
    if routine.excluded is not None:
        after = max(now, standing.excluded_mark or now)
        found += [
            (item.moved + routine.offset, item.slot) for item in upcoming.excluded(routine, after, due) if item.moved and item.moved > now
        ]
    if not found:
        return None
    wake, nominal = min(found)
    return {"nominal": to_iso(nominal), "due": to_iso(wake), "local": wake.astimezone(routine.zone.info).isoformat(),
            "timezone": routine.zone.name}  # fmt: skip


def state(standing: Standing, routine: Routine | None, now: datetime) -> dict[str, Any]:
    """Return the content of state.json."""
    status, reason = status_of(standing, routine, now)
    event_id, time = standing.position
    return {
        "schema": 1,
        "id": standing.id,
        "name": routine.name if routine else standing.id,
        "status": status,
        "reason": reason,
        "schedule": describe(routine.schedule, routine.others) if routine else "",
        "timezone": routine.zone.name if routine else "",
        "next_fire_at": next_fire(routine, standing, now) if routine else None,
        "last_run_at": _iso(standing.last_run_at),
        "last_outcome": standing.last_outcome or None,
        "last_result": standing.last_result or None,
        "last_run": standing.last_run or None,
        "run_count": standing.run_count,
        "consecutive_failures": standing.failures,
        "running": [running(standing, run_id) for run_id in standing.runs],
        "held": [held(hold) for hold in standing.holds.values()],
        "pending_approval": standing.approval if standing.approval and standing.approval["state"] == "requested" else None,
        "paused": standing.paused,
        "overdue": bool(standing.overdue),
        "badges": badges(standing, routine),
        "position": {"event": event_id, "time": time},
        "created_at": _iso(standing.created_at),
        "updated_at": _iso(standing.updated_at),
    }


def badges(standing: Standing, routine: Routine | None) -> list[str]:
    """Return the short signs that every face shows beside a routine's status."""
    found = []
    if standing.overdue:
        found.append("OVERDUE")
    if standing.approval is not None and standing.approval["state"] == "requested":
        found.append("approval")
    if routine is not None and standing.doc is not None and permissions.outward(standing.doc):
        found.append("external")
    return found


def running(standing: Standing, run_id: str) -> dict[str, Any]:
    """Return what is known of a run that goes on: since when, and until when at the latest."""
    run = standing.runs[run_id]
    since = run.started_at or run.claimed_at
    found = {"run": run.id, "since": to_iso(since), "until": to_iso(datetime.fromtimestamp(since.timestamp() + run.timeout, since.tzinfo)),
             "pid": run.pid or None, "trigger": run.trigger}  # fmt: skip
    if run.attempt > 1:
        found["attempt"] = run.attempt
    if run.retry_at is not None:
        found |= {"until": None, "retry_at": to_iso(run.retry_at)}
    return found


def held(hold: Hold) -> dict[str, Any]:
    """Return what is known of a slot that waits."""
    found: dict[str, Any] = {"slot": to_iso(hold.slot), "reason": hold.reason, "since": to_iso(hold.since)}
    if hold.until is not None:
        found["until"] = to_iso(hold.until)
    return found


def history_line(event: Event) -> dict[str, Any] | None:
    """Return the ledger's line for an event that ends something: a final verdict, or the end of a run."""
    data = event.data
    if event.type in ("run.ended", "run.retrying"):
        facts = dict(data) | {"verdict": "ran", "nominal": data.get("slot"), "completed_at": data["at"]}
        if event.type == "run.retrying":
            facts["detail"] = f"attempt {data['next_attempt']} follows at {data['retry_at']}"
    elif event.type in ("slot.skipped", "slot.missed"):
        verdict = event.type.partition(".")[2]
        facts = dict(data) | {"verdict": verdict, "slot": data.get("slot") or data.get("through"), "completed_at": data["at"]}
        facts["run"] = data.get("request")
    elif event.type == "run.claimed" and "collapsed" in data:
        interval = data["collapsed"]
        facts = {**interval, "verdict": "missed", "reason": "collapsed", "slot": interval["through"], "completed_at": data["at"],
                 "detail": f"answered by {data['run']}"}  # fmt: skip
    else:
        return None
    facts.setdefault("mode", "normal")
    return {"event": event.id, **{key: facts.get(key) for key in _LINE_KEYS}}


def _iso(instant: datetime | None) -> str | None:
    return to_iso(instant) if instant else None
