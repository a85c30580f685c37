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

from routinectl.core.budget import Amount
from routinectl.core.event import Event
from routinectl.core.routine import schedule_key
from routinectl.core.units import from_iso, to_iso
from routinectl.core.verdict import FAILURES, GOOD

_HEARD = 64  # requests of triggers that are remembered, so that none is made twice after a crash
RECENT = 30  # runs whose outcomes a glance shows
APART = ("test", "replay")  # modes of runs that say nothing about the routine's own work
RELEASED = "released"  # a hold that a person let go after review: it starts like one that waited for a place


@dataclass(slots=True)
class Hold:
    """A slot that waits: for a place, its turn in a catch-up, the end of quiet hours (`until`), or a person."""

    slot: datetime
    reason: str
    since: datetime
    until: datetime | None = None


@dataclass(slots=True)
class Request:
    """A run that somebody asked for. `force` passes cooldown, quiet hours and dedup; `hold` says what it waits for, if not for a place."""

    id: str
    at: datetime
    by: str
    force: bool = False
    payload: Mapping[str, Any] | None = None
    hold: str = ""
    until: datetime | None = None
    mode: str = "normal"  # normal, test, replay, backfill
    slot: datetime | None = None  # the past slot that a backfill makes up for
    tree: str = ""  # the folder that stands in for the workspace: the files of another commit
    trigger: str = ""  # what asked, if no person did: `after backup`; its first word is the kind
    chain: Mapping[str, Any] = field(default_factory=dict)  # the run it all began with, and how many followed since


@dataclass(slots=True)
class Run:
    """A run that was claimed and whose end is not on record. `lease` numbers its lease file, `boot` is when it was claimed.

    With `retry_at`, the attempt before has failed and `attempt`, the next one, waits for that instant: it holds no lease.
    """

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
    attempt: int = 1
    retry_at: datetime | None = None
    last_end: Mapping[str, Any] | None = None

    @property
    def key(self) -> str:
        """The name of this attempt, and of its folder: the run's id, with the attempt's number from the second on."""
        return self.id if self.attempt == 1 else f"{self.id}.{self.attempt}"


def run_of(key: str) -> str:
    """Return the run's id of an attempt's name (see `Run.key`)."""
    return key.partition(".")[0]


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
    excluded_mark: datetime | None = None  # the mark of the slots on days that the calendar excludes
    invalid: dict[str, Any] | None = None
    paused: dict[str, Any] | None = None
    holds: dict[datetime, Hold] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    run_count: int = 0
    used_up_at: datetime | None = None  # since when `max_runs` is used up
    failures: int = 0
    last_start: datetime | None = None
    last_run: str = ""
    last_good: str = ""
    last_outcome: str = ""
    last_result: str = ""
    last_run_at: datetime | None = None
    last_good_at: datetime | None = None
    forgiven: int = 0  # failures before the last resume
    watched_since: datetime | None = None  # from when on a success is expected
    overdue: dict[str, str] = field(default_factory=dict)  # broken promise -> since when
    approval: dict[str, Any] | None = None  # the last question to a person, with its `state`
    proposals: dict[str, dict[str, Any]] = field(default_factory=dict)  # what an agent would like a person to do
    maker: str = ""  # which agent, by which run, made it; empty: a person
    draft: dict[str, Any] | None = None  # an agent made it, and no person has activated it
    vouched: list[str] = field(default_factory=list)  # fingerprints that came through routinectl
    untrusted: bool = False
    dedup: dict[str, str] = field(default_factory=dict)  # payload -> when it last started a run
    day: list[Any] = field(default_factory=list)  # the last day (of its zone) with a start, and how many
    hour: list[Any] = field(default_factory=list)  # the last hour (UTC) with a start, and how many
    spent: dict[str, dict[str, Any]] = field(default_factory=dict)  # by day of its zone: tokens, cost, and what calls have reserved
    worked: dict[str, dict[str, Any]] = field(default_factory=dict)  # by day of its zone: what runs used of `budget.WORK`, and reserve
    recent: str = ""  # how the last `RECENT` runs ended, the newest last: the first letter of each outcome
    heard: list[str] = field(default_factory=list)  # what the last requests of triggers that are no time came from
    position: tuple[str, str] = ("", "")  # id and time of the last event folded

    @property
    def enabled(self) -> bool:
        """Whether the definition in force is enabled."""
        return self.doc is not None and self.doc.get("enabled", True) is True

    @property
    def used_up(self) -> bool:
        """Whether there were as many runs as `max_runs` allows: from then on the routine has no slots."""
        most = (self.doc or {}).get("max_runs")
        return most is not None and self.run_count >= most

    @property
    def is_open(self) -> bool:
        """Whether anything waits or goes on, or needs a person."""
        asked = self.approval is not None and self.approval["state"] == "requested"
        return bool(self.runs or self.requests or self.holds or self.draft or self.proposals or self.overdue or self.invalid or asked)

    def spent_on(self, day: str) -> Amount:
        """Return what models were asked for on a day of the routine's zone (known only where a budget of the day counts it)."""
        found = self.spent.get(day)
        if found is None:
            return Amount()
        held = found["reserved"].values()
        return Amount(found["tokens"] + sum(item[0] for item in held), found["cost"] + sum(item[1] for item in held))

    def worked_on(self, day: str) -> dict[str, float]:
        """Return what runs have used of a day of the routine's zone and still reserve, of `budget.WORK` (where a budget of the day counts it)."""
        found = self.worked.get(day)
        if found is None:
            return {}
        parts = [found["used"], *found["reserved"].values()]
        return {kind: sum(part.get(kind, 0.0) for part in parts) for kind in dict.fromkeys(kind for part in parts for kind in part)}

    def reserved_by(self, run: str) -> dict[str, float]:
        """Return what a run that goes on has reserved of its day, of `budget.WORK`."""
        return next((day["reserved"][run] for day in self.worked.values() if run in day["reserved"]), {})

    def runs_on(self, day: str) -> int:
        """Return how many runs were started on a day of the routine's zone (known only where a budget counts them)."""
        return self.day[1] if self.day and self.day[0] == day else 0

    def runs_in(self, hour: str) -> int:
        """Return how many runs were started in an hour (UTC)."""
        return self.hour[1] if self.hour and self.hour[0] == hour else 0

    def fold(self, event: Event) -> None:
        """Take one event of this routine in. An unknown kind changes nothing but the version."""
        self.version += 1
        self.position = (event.id, event.time)
        folder = _FOLDERS.get(event.type)
        if folder is not None:
            folder(self, event)

    def advance(self, instant: datetime) -> None:
        """Move the marks forwards, never back: every slot up to here is answered, or never was."""
        self.answer(instant, excluded=False)
        self.answer(instant, excluded=True)

    def answer(self, through: datetime, *, excluded: bool) -> None:
        """Move one of the two marks forwards: that of the excluded days, or that of all others."""
        if excluded:
            self.excluded_mark = max(self.excluded_mark or through, through)
        else:
            self.mark = max(self.mark or through, through)


def _at(event: Event) -> datetime:
    return from_iso(event.data.get("at") or event.time)


def _created(standing: Standing, event: Event) -> None:
    at = _at(event)
    restarted = standing.deleted or standing.doc is None
    previous = standing.doc or {}
    if restarted:
        standing.run_count = standing.failures = standing.forgiven = 0
        standing.approval, standing.watched_since = None, at
        standing.overdue.clear()
        standing.created_at = at
        standing.deleted = False
        standing.paused = None if standing.doc is not None else standing.paused
    standing.doc = dict(event.data["definition"])
    standing.fingerprint = event.data["fingerprint"]
    standing.updated_at, standing.invalid = at, None
    standing.untrusted = bool(event.data.get("untrusted"))
    if event.data.get("draft"):
        standing.draft = event.data["draft"]
    rescheduled = restarted or schedule_key(previous) != schedule_key(standing.doc)
    if rescheduled or not standing.revised_at:
        standing.advance(max([at, *_answered_until(standing, previous)]))
        standing.revised_at = at
    standing.revision = event.id
    _use_up(standing, at)


def _use_up(standing: Standing, at: datetime) -> None:
    """Keep since when `max_runs` is used up; where it is no more, slots count from now on."""
    if standing.used_up:
        standing.used_up_at = standing.used_up_at or at
    elif standing.used_up_at is not None:
        standing.used_up_at = None
        standing.advance(at)


def _answered_until(standing: Standing, previous: Mapping[str, Any]) -> list[datetime]:
    """Return up to where slots are answered, which a clock set back may have put after an edit: they are not answered again.

    The slots that a calendar moves to the day before are answered ahead of their time, and say nothing of others.
    """
    ahead = previous.get("calendar", {}).get("on_excluded") == "previous_day"
    return [mark for mark in (standing.mark, None if ahead else standing.excluded_mark) if mark is not None]


def _enabled(standing: Standing, event: Event) -> None:
    if standing.doc is not None:
        standing.doc = {**standing.doc, "enabled": event.type == "routine.enabled"}
    standing.updated_at = standing.watched_since = _at(event)
    standing.advance(_at(event))


def _deleted(standing: Standing, event: Event) -> None:
    standing.deleted, standing.invalid, standing.maker = True, None, ""
    standing.requests.clear()
    standing.proposals.clear()
    standing.advance(_at(event))


def _paused(standing: Standing, event: Event) -> None:
    standing.paused = {key: event.data[key] for key in ("at", "until", "reason", "by") if event.data.get(key)}


def _resumed(standing: Standing, event: Event) -> None:
    standing.paused = None
    standing.forgiven = standing.failures
    standing.watched_since = _at(event)


def _invalid(standing: Standing, event: Event) -> None:
    standing.invalid = {"at": to_iso(_at(event)), "problems": event.data["problems"]}


def _answered(standing: Standing, event: Event) -> None:
    data = event.data
    if "request" in data:
        request = standing.requests.pop(data["request"], None)
        if request is not None and request.trigger.startswith("file "):
            # Refused changes are offered again, and then under the same name.
            standing.heard = [happening for happening in standing.heard if happening != happening_of(request.id)]
    elif "slot" in data:
        slot = from_iso(data["slot"])
        if standing.holds.pop(slot, None) is None:  # what was held is behind its mark
            standing.answer(slot, excluded=bool(data.get("excluded")))
    else:
        standing.answer(from_iso(data["through"]), excluded=bool(data.get("excluded")))


def _held(standing: Standing, event: Event) -> None:
    if "request" in event.data:
        _hold_request(standing, event, event.data["reason"])
        return
    slot = from_iso(event.data["slot"])
    if slot not in standing.holds:
        standing.answer(slot, excluded=bool(event.data.get("excluded")))
    standing.holds[slot] = Hold(slot, event.data["reason"], _at(event), _until(event))


def _hold_request(standing: Standing, event: Event, reason: str) -> None:
    request = standing.requests.get(event.data["request"])
    if request is not None:
        request.hold, request.until = reason, _until(event)


def _until(event: Event) -> datetime | None:
    return from_iso(event.data["until"]) if event.data.get("until") else None


def _released(standing: Standing, event: Event) -> None:
    if "request" in event.data:
        _hold_request(standing, event, RELEASED)
        return
    hold = standing.holds.get(from_iso(event.data["slot"]))
    if hold is not None:
        hold.reason, hold.until = RELEASED, None


def request_of(event: Event) -> Request:
    """Return the request that a `run.requested` tells of."""
    data = event.data
    return Request(
        data["request"], _at(event), data.get("by", ""), bool(data.get("force")), data.get("payload"),
        mode=data.get("mode", "normal"), slot=from_iso(data["for_slot"]) if data.get("for_slot") else None,
        tree=data.get("tree", ""), trigger=data.get("trigger", ""), chain=data.get("chain", {}))  # fmt: skip


def happening_of(request: str) -> str:
    """Return the part of a trigger's request id that comes from what happened, not from when it was heard."""
    return request.rpartition("-")[2]


def _requested(standing: Standing, event: Event) -> None:
    request = request_of(event)
    standing.requests[request.id] = request
    if request.trigger:
        standing.heard = [*standing.heard[1 - _HEARD :], happening_of(request.id)]


def _claimed(standing: Standing, event: Event) -> None:
    data = event.data
    if data.get("attempt", 1) > 1:
        _claimed_again(standing, event)
        return
    slot = from_iso(data["slot"]) if data.get("slot") else None
    at = _at(event)
    if slot is not None and standing.holds.pop(slot, None) is None:
        standing.answer(slot, excluded=False)
    request = data.get("request")
    if request:
        standing.requests.pop(request, None)
    standing.runs[data["run"]] = Run(
        data["run"], slot, request, data["lease"], at, from_iso(data["due"]), data["reason"], data.get("trigger", ""),
        data["timeout"], data["kill_grace"], boot=data.get("boot", ""), payload=data.get("payload"),
        facts={key: data[key] for key in _CLAIM_FACTS if data.get(key)})  # fmt: skip
    standing.last_run = data["run"]
    _work_reserved(standing, data)
    if data.get("mode") in APART:
        return
    standing.run_count += 1
    standing.last_start = at
    _use_up(standing, at)
    _count(standing, event)
    if standing.approval is not None and standing.approval.get("mode") == "every_run":
        standing.approval = None  # it was good for this one run


def _claimed_again(standing: Standing, event: Event) -> None:
    _work_reserved(standing, event.data)
    run = standing.runs.get(event.data["run"])
    if run is not None:
        run.attempt, run.lease, run.boot = event.data["attempt"], event.data["lease"], event.data.get("boot", "")
        run.claimed_at, run.retry_at, run.started_at, run.pid = _at(event), None, None, 0
        standing.last_start = run.claimed_at


def _count(standing: Standing, event: Event) -> None:
    data = event.data
    hour = str(data.get("at") or event.time)[:13]
    standing.hour = [hour, standing.runs_in(hour) + 1]
    if "day" in data:
        standing.day = [data["day"], standing.runs_on(data["day"]) + 1]
    if "dedup" in data:
        now = _at(event)
        standing.dedup = {key: at for key, at in standing.dedup.items() if (now - from_iso(at)).total_seconds() < data["dedup"][1]}
        standing.dedup[data["dedup"][0]] = to_iso(now)


_CLAIM_FACTS = ("revision", "fingerprint", "content", "commit", "mode", "detail", "for_slot", "tree", "chain", "confinement")


def _work_reserved(standing: Standing, data: Mapping[str, Any]) -> None:
    if "reserved" in data:
        standing.worked.setdefault(data["day"], {"used": {}, "reserved": {}})["reserved"][data["run"]] = data["reserved"]
        for old in sorted(standing.worked)[:-_DAYS_KEPT]:
            del standing.worked[old]


def _work_done(standing: Standing, data: Mapping[str, Any]) -> None:
    """Take in what an attempt has used; what is not known counts as all that it had reserved."""
    for day in standing.worked.values():
        reserved = day["reserved"].pop(data["run"], None)
        for kind, most in (reserved or {}).items():
            day["used"][kind] = round(day["used"].get(kind, 0.0) + _use(data, kind, most), 3)


def _use(data: Mapping[str, Any], kind: str, most: float) -> float:
    if data["outcome"] == "not_started":
        return 0.0
    if kind == "wall":
        return (from_iso(data["at"]) - from_iso(data["started_at"])).total_seconds() if data.get("started_at") else most
    found = data.get("cpu_seconds" if kind == "cpu" else "output_bytes")
    stopped = str(data.get("detail", "")).rpartition(".")[2] == kind  # for it: a hundredth that is left is no reason for one more run
    return most if found is None or (stopped and found < most) else float(found)


def _retrying(standing: Standing, event: Event) -> None:
    run = standing.runs.get(event.data["run"])
    _work_done(standing, event.data)
    if run is not None:
        run.attempt, run.retry_at = event.data["next_attempt"], from_iso(event.data["retry_at"])
        run.last_end = {key: event.data.get(key) for key in ("outcome", "exit_code", "signal", "message")}
        run.started_at, run.pid = None, 0
        standing.last_outcome, standing.last_run_at = event.data["outcome"], _at(event)


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
    _settle_rest(standing, data["run"])
    _work_done(standing, data)
    standing.last_run, standing.last_outcome = data["run"], data["outcome"]
    standing.last_result, standing.last_run_at = data.get("message") or "", _at(event)
    if data.get("mode") in APART:
        return
    standing.recent = (standing.recent + data["outcome"][0])[-RECENT:]
    if data["outcome"] in GOOD:
        standing.last_good, standing.last_good_at = data["run"], _at(event)
    standing.failures = standing.failures + 1 if data["outcome"] in FAILURES else 0
    standing.forgiven = min(standing.forgiven, standing.failures)


_DAYS_KEPT = 3  # of what was spent: a run that began yesterday still settles


def _reserved(standing: Standing, event: Event) -> None:
    data = event.data
    day = standing.spent.setdefault(data["day"], {"tokens": 0, "cost": 0.0, "reserved": {}})
    day["reserved"][data["call"]] = [data["tokens"], data["cost"] or 0.0]
    for old in sorted(standing.spent)[:-_DAYS_KEPT]:
        del standing.spent[old]


def _settled(standing: Standing, event: Event) -> None:
    data = event.data
    day = standing.spent.get(data["day"])
    if day is not None and day["reserved"].pop(data["call"], None) is not None:
        day["tokens"] += data["tokens"]
        day["cost"] += data["cost"] or 0.0


def _settle_rest(standing: Standing, run: str) -> None:
    """What a run reserved and never settled counts as spent: its last call may have been answered."""
    for day in standing.spent.values():
        for call in [call for call in day["reserved"] if call.partition("/")[0].partition(".")[0] == run]:
            tokens, cost = day["reserved"].pop(call)
            day["tokens"] += tokens
            day["cost"] += cost


def _breached(standing: Standing, event: Event) -> None:
    standing.overdue[event.data["promise"]] = event.data["since"]


def _recovered(standing: Standing, event: Event) -> None:
    standing.overdue.clear()


def _asked(standing: Standing, event: Event) -> None:
    data = event.data
    standing.approval = {
        "state": "requested",
        "at": data["at"],
        "content": data["content"],
        "mode": data["mode"],
        "expires": data["expires"],
    }


def _granted(standing: Standing, event: Event) -> None:
    data = event.data
    mode = (standing.approval or {}).get("mode", "")
    standing.approval = {"state": "granted", "content": data["content"], "mode": data.get("mode", mode),
                         **{key: data[key] for key in ("at", "by", "note", "until") if data.get(key)}}  # fmt: skip
    standing.draft = None


def _refused(standing: Standing, event: Event) -> None:
    state = event.type.partition(".")[2]
    standing.approval = {**(standing.approval or {"content": "", "mode": ""}), "state": state,
                         **{key: event.data[key] for key in ("at", "by", "note") if event.data.get(key)}}  # fmt: skip


def _drafted(standing: Standing, event: Event) -> None:
    standing.draft = {"at": event.data["at"], "by": event.data["by"]}
    if standing.doc is None or standing.deleted:
        standing.maker = event.data["by"]  # it was not there before


def _activated(standing: Standing, event: Event) -> None:
    standing.draft = None
    standing.advance(_at(event))


def _proposed(standing: Standing, event: Event) -> None:
    data = event.data
    standing.proposals[data["proposal"]] = {key: value for key, value in data.items() if key != "proposal"}


def _proposal_answered(standing: Standing, event: Event) -> None:
    standing.proposals.pop(event.data["proposal"], None)


def _vouched(standing: Standing, event: Event) -> None:
    standing.vouched = [*standing.vouched, event.data["fingerprint"]][-20:]
    if event.data["fingerprint"] == standing.fingerprint:
        standing.untrusted = False


_FOLDERS = {
    "routine.created": _created, "routine.updated": _created, "routine.enabled": _enabled, "routine.disabled": _enabled,
    "routine.deleted": _deleted, "routine.paused": _paused, "routine.resumed": _resumed, "routine.invalid": _invalid,
    "slot.skipped": _answered, "slot.missed": _answered, "slot.held": _held,
    "slot.released": _released,
    "run.requested": _requested, "run.claimed": _claimed, "run.started": _started, "run.adopted": _started,
    "run.cancel_requested": _cancel_requested, "run.ended": _ended, "run.retrying": _retrying,
    "sla.breached": _breached, "sla.recovered": _recovered,
    "approval.requested": _asked, "approval.granted": _granted, "approval.denied": _refused, "approval.expired": _refused,
    "routine.drafted": _drafted, "routine.activated": _activated, "routine.vouched": _vouched,
    "budget.reserved": _reserved, "budget.settled": _settled,
    "proposal.created": _proposed, "proposal.applied": _proposal_answered, "proposal.rejected": _proposal_answered,
}  # fmt: skip

_INSTANTS = (
    "used_up_at",
    "revised_at",
    "created_at",
    "updated_at",
    "mark",
    "excluded_mark",
    "last_start",
    "last_run_at",
    "last_good_at",
    "watched_since",
)


def to_plain(standing: Standing) -> dict[str, Any]:
    """Return a standing as JSON data; members at their default are left out."""
    plain: dict[str, Any] = {"id": standing.id, "version": standing.version}
    for item in fields(Standing):
        value = getattr(standing, item.name)
        if value in (None, "", 0, False) or value in ({}, [], ("", "")):
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
    values["holds"] = {hold.slot: hold for hold in _members(Hold, values.get("holds", ()), "slot", "since", "until")}
    values["requests"] = {item.id: item for item in _members(Request, values.get("requests", ()), "at", "until", "slot")}
    runs = _members(Run, values.get("runs", ()), "slot", "claimed_at", "due", "started_at", "retry_at")
    values["runs"] = {run.id: run for run in runs}
    return Standing(**values)


def _members(kind: Any, plain: Any, *instants: str) -> list[Any]:
    if kind is Run:
        plain = [{"slot": None, "request": None, **member} for member in plain]
    return [kind(**{key: from_iso(value) if key in instants and value else value for key, value in member.items()}) for member in plain]
