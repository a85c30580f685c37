"""Where a routine stands: its events, folded.

`Standing.fold` is the only way a standing changes, so a replay of the journal gives the same standing as having been
there. `to_plain` and `from_plain` carry it through a checkpoint. All instants are aware UTC datetimes.

The mark: every slot up to it is answered. It only moves forwards; a slot at or before it can start only if it is an
open hold. That, and nothing about leases or clocks, is why a slot never runs twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from routinectl.core.event import Event
from routinectl.core.routine import schedule_key
from routinectl.core.units import from_iso, to_iso
from routinectl.core.verdict import FAILURES

RELEASED = "released"  # a hold that a person let go after review: it starts like one that waited for a place


@dataclass(slots=True)
class Hold:
    """A slot that waits for something: capacity, its turn in a catch-up, or a person's review."""

    slot: datetime
    reason: str
    since: datetime


@dataclass(slots=True)
class Request:
    """A run that somebody asked for. `force` passes cooldown; `hold` says what it waits for: `review`, or `released` from it."""

    id: str
    at: datetime
    by: str
    force: bool = False
    payload: Mapping[str, Any] | None = None
    hold: str = ""


@dataclass(slots=True)
class Run:
    """A run that was claimed and whose end is not on record. `lease` numbers its lease file, `boot` is when it was claimed."""

    id: str
    slot: datetime | None
    request: str | None
    lease: int
    claimed_at: datetime
    due: datetime
    reason: str
    trigger: str
    timeout: float
    kill_grace: float
    started_at: datetime | None = None
    pid: int = 0
    start_time: int = 0
    boot: str = ""
    cancel: str = ""
    payload: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Standing:
    """One routine, as its events tell. `version` counts the events folded."""

    id: str
    version: int = 0
    doc: dict[str, Any] | None = None
    revision: str = ""
    revised_at: datetime | None = None
    fingerprint: str = ""
    deleted: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None
    mark: datetime | None = None
    invalid: dict[str, Any] | None = None
    paused: dict[str, Any] | None = None
    holds: dict[datetime, Hold] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    run_count: int = 0
    failures: int = 0
    last_start: datetime | None = None
    last_run: str = ""
    last_good: str = ""
    last_outcome: str = ""
    last_result: str = ""
    last_run_at: datetime | None = None
    position: tuple[str, str] = ("", "")  # id and time of the last event folded

    @property
    def enabled(self) -> bool:
        """Whether the definition in force is enabled."""
        return self.doc is not None and self.doc.get("enabled", True) is True

    def fold(self, event: Event) -> None:
        """Take one event of this routine in. An unknown kind changes nothing but the version."""
        self.version += 1
        self.position = (event.id, event.time)
        folder = _FOLDERS.get(event.type)
        if folder is not None:
            folder(self, event)

    def advance(self, instant: datetime) -> None:
        """Move the mark forwards, never back."""
        if self.mark is None or instant > self.mark:
            self.mark = instant


def _at(event: Event) -> datetime:
    return from_iso(event.data.get("at") or event.time)


def _created(standing: Standing, event: Event) -> None:
    at = _at(event)
    restarted = standing.deleted or standing.doc is None
    previous = standing.doc or {}
    if restarted:
        standing.run_count = standing.failures = 0
        standing.created_at = at
        standing.deleted = False
        standing.paused = None if standing.doc is not None else standing.paused
    standing.doc = dict(event.data["definition"])
    standing.fingerprint = event.data["fingerprint"]
    standing.updated_at, standing.invalid = at, None
    rescheduled = restarted or schedule_key(previous) != schedule_key(standing.doc)
    if rescheduled or not standing.revised_at:
        standing.advance(at)
        standing.revised_at = at
    standing.revision = event.id


def _enabled(standing: Standing, event: Event) -> None:
    if standing.doc is not None:
        standing.doc = {**standing.doc, "enabled": event.type == "routine.enabled"}
    standing.updated_at = _at(event)
    standing.advance(_at(event))


def _deleted(standing: Standing, event: Event) -> None:
    standing.deleted, standing.invalid = True, None
    standing.requests.clear()
    standing.advance(_at(event))


def _paused(standing: Standing, event: Event) -> None:
    standing.paused = {key: event.data[key] for key in ("at", "until", "reason", "by") if event.data.get(key)}


def _resumed(standing: Standing, event: Event) -> None:
    standing.paused = None


def _invalid(standing: Standing, event: Event) -> None:
    standing.invalid = {"at": to_iso(_at(event)), "problems": event.data["problems"]}


def _answered(standing: Standing, event: Event) -> None:
    data = event.data
    if "request" in data:
        standing.requests.pop(data["request"], None)
    elif "slot" in data:
        slot = from_iso(data["slot"])
        standing.holds.pop(slot, None)
        standing.advance(slot)
    else:
        standing.advance(from_iso(data["through"]))


def _held(standing: Standing, event: Event) -> None:
    if "request" in event.data:
        _hold_request(standing, event, event.data["reason"])
        return
    slot = from_iso(event.data["slot"])
    standing.holds[slot] = Hold(slot, event.data["reason"], _at(event))
    standing.advance(slot)


def _hold_request(standing: Standing, event: Event, reason: str) -> None:
    request = standing.requests.get(event.data["request"])
    if request is not None:
        request.hold = reason


def _released(standing: Standing, event: Event) -> None:
    if "request" in event.data:
        _hold_request(standing, event, RELEASED)
        return
    hold = standing.holds.get(from_iso(event.data["slot"]))
    if hold is not None:
        hold.reason = RELEASED


def _requested(standing: Standing, event: Event) -> None:
    data = event.data
    standing.requests[data["request"]] = Request(
        data["request"], _at(event), data.get("by", ""), bool(data.get("force")), data.get("payload"))  # fmt: skip


def _claimed(standing: Standing, event: Event) -> None:
    data = event.data
    slot = from_iso(data["slot"]) if data.get("slot") else None
    at = _at(event)
    if slot is not None:
        standing.holds.pop(slot, None)
        standing.advance(slot)
    request = data.get("request")
    if request:
        standing.requests.pop(request, None)
    standing.runs[data["run"]] = Run(
        data["run"], slot, request, data["lease"], at, from_iso(data["due"]), data["reason"], data.get("trigger", ""),
        data["timeout"], data["kill_grace"], boot=data.get("boot", ""), payload=data.get("payload"),
        facts={key: data[key] for key in _CLAIM_FACTS if data.get(key)})  # fmt: skip
    standing.run_count += 1
    standing.last_start = at
    standing.last_run = data["run"]


_CLAIM_FACTS = ("revision", "fingerprint", "content", "commit")


def _started(standing: Standing, event: Event) -> None:
    run = standing.runs.get(event.data["run"])
    if run is not None:
        run.started_at, run.pid = _at(event), event.data["pid"]
        run.start_time, run.boot = event.data["start_time"], event.data["boot"]


def _cancel_requested(standing: Standing, event: Event) -> None:
    run = standing.runs.get(event.data["run"])
    if run is not None:
        run.cancel = event.data.get("by") or "somebody"


def _ended(standing: Standing, event: Event) -> None:
    data = event.data
    if standing.runs.pop(data["run"], None) is None:
        return
    standing.last_run, standing.last_outcome = data["run"], data["outcome"]
    standing.last_result, standing.last_run_at = data.get("message") or "", _at(event)
    if data["outcome"] in ("succeeded", "quiet"):
        standing.last_good = data["run"]
    standing.failures = standing.failures + 1 if data["outcome"] in FAILURES else 0


_FOLDERS = {
    "routine.created": _created, "routine.updated": _created, "routine.enabled": _enabled, "routine.disabled": _enabled,
    "routine.deleted": _deleted, "routine.paused": _paused, "routine.resumed": _resumed, "routine.invalid": _invalid,
    "slot.skipped": _answered, "slot.missed": _answered, "slot.held": _held,
    "slot.released": _released,
    "run.requested": _requested, "run.claimed": _claimed, "run.started": _started, "run.adopted": _started,
    "run.cancel_requested": _cancel_requested, "run.ended": _ended,
}  # fmt: skip

_INSTANTS = ("revised_at", "created_at", "updated_at", "mark", "last_start", "last_run_at")


def to_plain(standing: Standing) -> dict[str, Any]:
    """Return a standing as JSON data; members at their default are left out."""
    plain: dict[str, Any] = {"id": standing.id, "version": standing.version}
    for item in fields(Standing):
        value = getattr(standing, item.name)
        if value in (None, "", 0, False) or value in ({}, ("", "")):
            continue
        plain[item.name] = to_iso(value) if item.name in _INSTANTS else value
    for name in ("holds", "requests", "runs"):
        if name in plain:
            plain[name] = [_member(member) for member in plain[name].values()]
    return plain


def _member(member: Any) -> dict[str, Any]:
    plain = asdict(member)
    return {key: to_iso(value) if isinstance(value, datetime) else value for key, value in plain.items() if value is not None}


def from_plain(plain: Mapping[str, Any]) -> Standing:
    """Return the standing that `to_plain` wrote."""
    values = dict(plain)
    for name in _INSTANTS:
        if name in values:
            values[name] = from_iso(values[name])
    values["position"] = tuple(values.get("position", ("", "")))
    values["holds"] = {hold.slot: hold for hold in _members(Hold, values.get("holds", ()), "slot", "since")}
    values["requests"] = {item.id: item for item in _members(Request, values.get("requests", ()), "at")}
    runs = _members(Run, values.get("runs", ()), "slot", "claimed_at", "due", "started_at")
    values["runs"] = {run.id: run for run in runs}
    return Standing(**values)


def _members(kind: Any, plain: Any, *instants: str) -> list[Any]:
    if kind is Run:
        plain = [{"slot": None, "request": None, **member} for member in plain]
    return [kind(**{key: from_iso(value) if key in instants and value else value for key, value in member.items()}) for member in plain]
