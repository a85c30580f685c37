"""A routine as a value: its definition after validation, with the workspace's defaults merged in.

`effective` makes the plain document that the journal carries; `build` makes the value the engine works with out of it.
Only documents that `checks.check` found free of faults are built.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from routinectl.core import agent, budget, calendar, expect, permissions, prompt, quiet_hours, reaction, retry, sla
from routinectl.core.agent import Job
from routinectl.core.budget import Budget
from routinectl.core.calendar import Calendar, Days
from routinectl.core.expect import Expect
from routinectl.core.permissions import Permissions
from routinectl.core.prompt import Prompt
from routinectl.core.quiet_hours import QuietHours
from routinectl.core.reaction import Reaction
from routinectl.core.retry import Retry
from routinectl.core.schedule import zone as zones
from routinectl.core.schedule.jitter import offset_of
from routinectl.core.schedule.moment import parse_bound
from routinectl.core.schedule.next_time import Schedule, TimeTrigger
from routinectl.core.schedule.read import KINDS, Reading, read_trigger
from routinectl.core.schedule.zone import Zone
from routinectl.core.settings import Settings
from routinectl.core.sla import Sla
from routinectl.core.units import parse_duration, parse_size, to_epoch

ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
RESERVED_IDS = frozenset({"events"})
DEFAULT_WINDOW = timedelta(hours=24)
DEFAULT_TIMEOUT = timedelta(hours=1)
Doc = Mapping[str, Any]


def is_id(text: object) -> bool:
    """Say whether a routine may be called so."""
    return isinstance(text, str) and ID.fullmatch(text) is not None and text not in RESERVED_IDS


@dataclass(frozen=True, slots=True)
class Misfire:
    """What happens to slots that could not start in time. `window` None: 24 h or one interval, whichever is longer."""

    policy: str = "run_once"
    grace: timedelta = timedelta(minutes=1)
    max: int = 3
    window: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """When a person is asked (none, before_enable, before_first_run, every_run), and how long the question stays open."""

    when: str = "none"
    expires: timedelta = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Action:
    """What a run does. `argv` for a command list, `line` for the shell, `entrypoint` for a Python function."""

    kind: str
    argv: tuple[str, ...] = ()
    line: str = ""
    shell: str = "/bin/sh"
    entrypoint: str = ""
    args: Mapping[str, Any] | None = None
    interpreter: str = ""
    prompt: Prompt | None = None
    job: Job | None = None
    output: str = ""
    overwrite: bool = False
    payload: Mapping[str, Any] | None = None
    workdir: str = "."
    env: Mapping[str, str] | None = None
    secrets: Mapping[str, tuple[str, str]] | None = None
    stdin_payload: bool = False
    umask: int | None = None


@dataclass(frozen=True, slots=True)
class Routine:
    """One definition in force. Durations are timedeltas, sizes bytes; `offset` is the routine's own jitter."""

    id: str
    name: str
    enabled: bool
    zone: Zone
    schedule: Schedule
    offset: timedelta
    misfire: Misfire
    concurrency: str
    parallel: int
    cooldown: timedelta
    timeout: timedelta
    kill_grace: timedelta
    keep_leftovers: bool
    max_runs: int | None
    output_cap: int
    action: Action
    excluded: Schedule | None = None  # the slots on days that its calendar excludes; `schedule` has the others
    calendar: Calendar | None = None
    quiet_hours: QuietHours | None = None
    dedup_window: timedelta = timedelta()
    retry: Retry = retry.NEVER
    idempotent: bool = False
    pause_after_failures: int | None = None
    runs_per_day: int | None = None
    notices_per_day: int | None = None
    work_per_day: Mapping[str, float] = field(default_factory=dict)  # of `budget.WORK`, what all runs of a day may use
    approximate: bool = False  # whether CPU time of a day may be a lower bound
    approval: Approval = Approval()
    sla: Sla = sla.NONE
    expect: Expect = expect.NOTHING
    pool: str = ""
    priority: str = "normal"
    tags: tuple[str, ...] = ()
    permissions: Permissions = permissions.FULL
    spending: Budget = budget.NONE  # of tokens and money
    cpu: timedelta | None = None  # CPU time of one run
    memory: int | None = None  # bytes, of one run
    reactions: tuple[Reaction, ...] = ()  # the triggers that are no time

    @property
    def hosted(self) -> bool:
        """Whether a process of ours stands around a run: to ask a model, or to propose what a program has edited."""
        return self.action.prompt is not None or self.action.job is not None or self.permissions.level == "propose_edits"

    @property
    def work(self) -> dict[str, float]:
        """What one run may use by itself, of `budget.WORK`."""
        own = {"wall": self.timeout.total_seconds(), "output": float(self.output_cap)}
        return own if self.cpu is None else own | {"cpu": self.cpu.total_seconds()}

    @property
    def others(self) -> list[str]:
        """The triggers that are no time, in words."""
        return [reaction.words for reaction in self.reactions]

    def due(self, slot: datetime) -> datetime:
        """Return when a slot is due: its nominal instant plus the routine's jitter offset."""
        return slot + self.offset

    def window(self, slot: datetime) -> timedelta:
        """Return how late a slot may still be run."""
        if self.misfire.window is not None:
            return self.misfire.window
        following = self.schedule.next_after(slot)
        return max(DEFAULT_WINDOW, following - slot) if following else DEFAULT_WINDOW


def effective(routine_id: str, doc: Doc, settings: Settings) -> dict[str, Any]:
    """Return a definition with the workspace's defaults merged in; mappings are merged key by key."""
    merged = dict(doc)
    merged.setdefault("name", routine_id)
    merged.setdefault("timezone", settings.timezone)
    if settings.owner:
        merged.setdefault("owner", settings.owner)
    for key, value in settings.defaults.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = {**value, **merged[key]}
        else:
            merged.setdefault(key, value)
    return merged


def build(routine_id: str, doc: Doc, now: datetime) -> Routine:
    """Return the routine of an effective document; relative phrases are read at `now`, the revision's instant.

    Raises ScheduleError when a zone or trigger that was good is no longer (a tz database may lose a zone).
    """
    zone = zones.load(doc["timezone"])
    days = calendar.read(doc["calendar"], zone) if "calendar" in doc else None
    triggers = time_triggers(doc, Reading(zone, to_epoch(now), 1, past=True))
    start = parse_bound(doc["start"], zone) if "start" in doc else None
    end = parse_bound(doc["end"], zone) if "end" in doc else None
    texts = sorted(f"{trigger.text} {trigger.zone.name}" for trigger in triggers)
    concurrency = doc.get("concurrency", {})
    policy = concurrency.get("policy", "forbid")
    caps = doc.get("budget", {})
    return Routine(
        id=routine_id,
        name=doc["name"],
        enabled=doc.get("enabled", True),
        zone=zone,
        schedule=Schedule(triggers, start, end, Days(days, excluded=False) if days else None),
        excluded=Schedule(triggers, start, end, Days(days, excluded=True)) if days else None,
        calendar=days,
        offset=offset_of(routine_id, texts, _duration(doc, "jitter", timedelta())),
        misfire=_misfire(doc.get("misfire", {})),
        concurrency=policy,
        parallel=int(concurrency.get("max", 2)) if policy == "allow" else 1,
        cooldown=_duration(doc, "cooldown", timedelta()),
        timeout=_duration(doc, "timeout", DEFAULT_TIMEOUT),
        kill_grace=_duration(doc, "kill_grace", timedelta(seconds=10)),
        keep_leftovers=doc.get("leftovers") == "keep",
        max_runs=doc.get("max_runs"),
        output_cap=parse_size(caps.get("output", "10MiB")),
        action=_action(doc["action"]),
        quiet_hours=quiet_hours.read(doc["quiet_hours"]) if "quiet_hours" in doc else None,
        dedup_window=_duration(doc, "dedup_window", timedelta()),
        retry=retry.read(doc.get("retry", {})),
        idempotent=doc.get("idempotent", False),
        pause_after_failures=doc.get("pause_after_failures"),
        runs_per_day=caps.get("per_day", {}).get("runs"),
        notices_per_day=caps.get("per_day", {}).get("notices"),
        work_per_day=budget.read_work(caps),
        approximate=caps.get("per_day", {}).get("approximate", False),
        approval=_approval(doc.get("approval", "none")),
        sla=sla.read(doc.get("sla", {})),
        expect=expect.read(doc["expect"]) if "expect" in doc else expect.NOTHING,
        pool=doc.get("pool", ""),
        priority=doc.get("priority", "normal"),
        tags=tuple(doc.get("tags", ())),
        permissions=permissions.read(doc),
        spending=budget.read(caps),
        cpu=parse_duration(caps["cpu"]) if "cpu" in caps else None,
        memory=parse_size(caps["memory"]) if "memory" in caps else None,
        reactions=reaction.read(doc),
    )


def time_triggers(doc: Doc, reading: Reading) -> tuple[TimeTrigger, ...]:
    """Return the time triggers of a definition, in its order."""
    return tuple(read_trigger(trigger, reading) for trigger in _timed(doc))


def _timed(doc: Doc) -> list[Doc]:
    return [trigger for trigger in doc.get("triggers", ()) if any(kind in trigger for kind in KINDS)]


def schedule_key(doc: Doc) -> list[Any]:
    """Return what of a definition makes its slots: a change of this is an edit of the schedule, nothing else is."""
    return [_timed(doc), doc.get("timezone"), doc.get("start"), doc.get("end"),
            calendar.meaning(doc["calendar"]) if "calendar" in doc else None]  # fmt: skip


def _duration(doc: Doc, key: str, default: timedelta) -> timedelta:
    return parse_duration(doc[key]) if key in doc else default


def _misfire(doc: Doc) -> Misfire:
    return Misfire(
        doc.get("policy", "run_once"),
        _duration(doc, "grace", timedelta(minutes=1)),
        int(doc.get("max", 3)),
        parse_duration(doc["window"]) if "window" in doc else None,
    )


def _approval(doc: Any) -> Approval:
    if isinstance(doc, str):
        return Approval(doc)
    return Approval(doc.get("when", "none"), _duration(doc, "expires", Approval().expires))


def _action(doc: Doc) -> Action:
    env = {key: _text(value) for key, value in doc.get("env", {}).items()}
    secrets = {key: next(iter(reference.items())) for key, reference in doc.get("secrets", {}).items()}
    umask = int(doc["umask"], 8) if "umask" in doc else None
    shared: dict[str, Any] = {
        "payload": doc.get("payload"), "workdir": doc.get("workdir", "."), "env": env, "secrets": secrets,
        "stdin_payload": doc.get("stdin") == "payload", "umask": umask, "output": doc.get("output", ""),
        "overwrite": doc.get("overwrite", False),
    }  # fmt: skip
    if "cli" in doc.get("agent", {}):
        return Action("agent", argv=(*doc["agent"]["cli"], doc["agent"]["task"]), **shared)
    if "agent" in doc:
        return Action("agent", job=agent.read(doc["agent"]), **shared)
    if "prompt" in doc:
        return Action("prompt", prompt=prompt.read(doc["prompt"]), **shared)
    if "python" in doc:
        python = doc["python"]
        return Action("python", entrypoint=python["entrypoint"], args=python.get("args"),
                      interpreter=python.get("interpreter", ""), **shared)  # fmt: skip
    command = doc["command"]
    if isinstance(command, str):
        return Action("command", line=command, shell=doc.get("shell", "/bin/sh"), **shared)
    return Action("command", argv=tuple(command), **shared)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
