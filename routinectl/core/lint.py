"""What is legal but suspicious in a definition: findings with stable codes, each with the real date where there is one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from routinectl.core import notice
from routinectl.core.problem import Path, did_you_mean
from routinectl.core.reaction import After, Message, Webhook
from routinectl.core.routine import Routine
from routinectl.core.schedule.cron import Cron
from routinectl.core.schedule.next_time import TimeTrigger
from routinectl.core.schedule.zone import load
from routinectl.core.settings import Settings
from routinectl.core.units import duration_words, format_duration, to_epoch

CODES = {
    "day-or-weekday": "both day fields are restricted: cron takes either",
    "dst-gap": "a slot falls into an hour that the clock skips",
    "dst-fold": "a slot falls into an hour that the clock repeats",
    "uneven-step": "a step does not divide its field, so the last interval is shorter",
    "after-of-another": "it follows a routine of another owner, and does not fire",
    "same-action": "two routines run the same action",
    "secret-in-env": "a value in env looks like a secret",
    "no-timeout": "no timeout is set; the default of 1h applies",
    "dense-triggers": "the triggers together fire more often than limits.min_interval",
    "no-triggers": "it has no trigger and is run by hand only",
    "cooldown-swallows": "the cooldown is longer than the time between two slots",
    "quiet-swallows": "the quiet hours cover every slot",
    "jitter-beyond-interval": "the jitter is longer than the time between two slots",
    "catch-up-replace": "a catch-up runs slots one after another, and concurrency replace stops the one before",
    "retry-overlaps": "the retries last longer than the time between two slots",
    "no-cooldown": "whoever sends messages or calls the webhook decides how often it runs",
    "unknown-target": "a notice would go to a target that routinectl.yaml does not have",
    "lower-bound": "a budget is kept by samples on this machine, which may see too little",
    "sla-too-tight": "successes are promised more often than it fires",
}
_SAMPLE = 60  # slots that are looked at for what contradicts the schedule
_YEAR = 370 * 86400
_SECRET_NAME = re.compile(r"(PASS(WORD|WD)?|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIALS?)$", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"(gh[pousr]_\w{20,}|sk-[\w-]{20,}|AKIA[0-9A-Z]{16}|-----BEGIN|xox[abp]-\w{10,}|://[^/\s:]+:[^@/\s]+@)")
_STEP = re.compile(r"(\*|[0-9]+(?:-[0-9]+)?)/([0-9]+)")
_FIELDS = (("minute", 60), ("hour", 24))


@dataclass(frozen=True, slots=True)
class Finding:
    """One suspicion about a routine, at a path of its definition."""

    routine: str
    code: str
    message: str
    path: Path = ()
    hint: str = ""


def findings(routine: Routine, doc: Mapping[str, Any], settings: Settings, now: datetime) -> Iterator[Finding]:
    """Yield what is suspicious about one routine of a workspace with these settings."""
    name = routine.id
    if "timeout" not in doc:
        yield Finding(name, "no-timeout", "no timeout is set, so a run may take 1h", (), "timeout: 10m")
    for key, value in (routine.action.env or {}).items():
        if value and (_SECRET_NAME.search(key) or _SECRET_VALUE.search(value)):
            message = f"action.env.{key} looks like a secret, and everybody who may read the file may read it"
            yield Finding(
                name, "secret-in-env", message, ("action", "env", key), f"secrets: {{{key}: {{file: workspace:secrets/{key.lower()}}}}}"
            )
    if not doc.get("triggers"):
        yield Finding(name, "no-triggers", CODES["no-triggers"], (), "triggers: [{daily: '09:00'}]")
    for index, trigger in enumerate(routine.schedule.triggers):
        if isinstance(trigger.rule, Cron):
            yield from _cron(name, trigger, trigger.rule, ("triggers", index), to_epoch(now))
    yield from _dense(routine, settings.min_interval, now)
    yield from _unbounded(routine, settings)
    yield from _targets(name, doc, settings)
    yield from _contradictions(routine, now)


def _unbounded(routine: Routine, settings: Settings) -> Iterator[Finding]:
    if routine.cooldown or settings.max_fires_per_hour is not None:
        return
    for item in routine.reactions:
        if isinstance(item, (Message, Webhook)):
            yield Finding(routine.id, "no-cooldown", f"{item.words}: {CODES['no-cooldown']}", ("triggers",), "cooldown: 1m")
            return


def _targets(name: str, doc: Mapping[str, Any], settings: Settings) -> Iterator[Finding]:
    known = settings.notify.targets
    for block in notice.blocks(doc) if "notify" in doc else ():
        for target in block.to:
            if target not in known:
                hint = did_you_mean(target, known) or f"notify: {{targets: {{{target}: ...}}}}    # in routinectl.yaml"
                yield Finding(name, "unknown-target", f"there is no target '{target}' in routinectl.yaml", ("notify",), hint)


def across(routines: Iterable[Routine], owners: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is suspicious about several routines together; `owners` says whose each is."""
    seen: dict[str, str] = {}
    for routine in routines:
        for before in [item.routine for item in routine.reactions if isinstance(item, After)]:
            if owners.get(before, owners[routine.id]) != owners[routine.id]:
                message = f"{before} belongs to {owners[before]}, and {routine.id} follows routines of its owner only: it does not fire"
                yield Finding(routine.id, "after-of-another", message, ("triggers",), f"owner: {owners[before]}")
        action = routine.action
        key = repr((action.argv, action.line, action.entrypoint, action.args, action.payload, action.env))
        local = any(part.startswith("./") for part in (*action.argv[:1], action.line)) or action.entrypoint
        if local:
            key += routine.id  # a relative program is another file in another folder
        if key in seen:
            yield Finding(
                routine.id,
                "same-action",
                f"{routine.id} and {seen[key]} run the same action",
                ("action",),
                "several triggers in one routine",
            )
        seen.setdefault(key, routine.id)


def _cron(name: str, trigger: TimeTrigger, cron: Cron, path: Path, now: int) -> Iterator[Finding]:
    if cron.either_day:
        message = f"'{cron.text}' fires on the days of the month and also on the weekdays: cron takes either, not both"
        yield Finding(name, "day-or-weekday", message, path, "one of the two day fields as *, and a check in the command")
    for field, (unit, size) in zip(cron.text.split(), _FIELDS, strict=False):
        for body, step in _STEP.findall(field):
            first, _, last = body.partition("-")
            span = size if body == "*" or not last else int(last) - int(first) + 1
            if body == "*" and span % int(step):
                message = f"'{field}' in '{cron.text}': {step} does not divide {size}, so the last interval of each {_of(unit)} is shorter"
                yield Finding(name, "uneven-step", message, path, f"every: {step}{unit[0]}")
    yield from _changes(name, trigger, cron, path, now)


def _of(unit: str) -> str:
    return "hour" if unit == "minute" else "day"


def _changes(name: str, trigger: TimeTrigger, cron: Cron, path: Path, now: int) -> Iterator[Finding]:
    """Look at the changes of the zone's clock within a year, and what falls into them."""
    utc = load("UTC")
    before = None
    told: set[str] = set()
    for stretch in trigger.zone.forward(now):
        if before is not None and stretch.start > now:
            if stretch.start > now + _YEAR:
                return
            skipped = (stretch.start + before.offset, stretch.start + stretch.offset)
            repeated = (skipped[1], skipped[0])
            code, (low, high) = ("dst-gap", skipped) if skipped[0] < skipped[1] else ("dst-fold", repeated)
            wall = cron.next_after(low - 1, utc)
            if wall is not None and wall < high and code not in told:
                told.add(code)
                yield _change(name, trigger, cron, path, code, wall)
        before = stretch


def _change(name: str, trigger: TimeTrigger, cron: Cron, path: Path, code: str, wall: int) -> Finding:
    shown = datetime.fromtimestamp(wall, load("UTC").info).strftime("%Y-%m-%d %H:%M")
    if code == "dst-gap":
        then = "it does not fire then" if cron.wildcard else "it fires once, right after the gap"
        message = f"'{cron.text}': {shown} does not exist in {trigger.zone.name} (the clock goes forward); {then}"
    else:
        then = "it fires in both" if cron.wildcard else "it fires the first time only"
        message = f"'{cron.text}': {shown} comes twice in {trigger.zone.name} (the clock goes back); {then}"
    return Finding(name, code, message, path, "an hour that exists once on every day, or timezone: UTC")


def _contradictions(routine: Routine, now: datetime) -> Iterator[Finding]:
    """Yield policies that work against each other or against the schedule, each with its figures."""
    name = routine.id
    if routine.misfire.policy == "catch_up" and routine.concurrency == "replace":
        yield Finding(name, "catch-up-replace", CODES["catch-up-replace"], ("concurrency", "policy"), "policy: queue_one")
    slots = routine.schedule.upcoming(now, _SAMPLE)
    gaps = [later - earlier for earlier, later in itertools.pairwise(slots)]
    if slots and routine.quiet_hours is not None and all(routine.quiet_hours.until(routine.due(slot), routine.zone) for slot in slots):
        message = f"the quiet hours cover each of the next {len(slots)} slots"
        yield Finding(name, "quiet-swallows", message, ("quiet_hours",), "an hour of the schedule outside of them")
    if not gaps:
        return
    longest, shortest = max(gaps), min(gaps)
    between = duration_words(int(longest.total_seconds()))
    if routine.cooldown > longest:
        message = (
            f"the cooldown ({format_duration(routine.cooldown)}) is longer than the {between} between slots, so slots are skipped for ever"
        )
        yield Finding(name, "cooldown-swallows", message, ("cooldown",), f"cooldown: {format_duration(shortest / 2)}")
    if routine.offset > shortest:
        message = f"the jitter moves it by {format_duration(routine.offset)}, and its slots are {duration_words(int(shortest.total_seconds()))} apart"
        yield Finding(name, "jitter-beyond-interval", message, ("jitter",), f"jitter: {format_duration(shortest / 2)}")
    waits = sum((routine.retry.wait(attempt) for attempt in range(1, routine.retry.attempts)), timedelta())
    if waits > longest:
        message = (
            f"its retries wait {format_duration(waits)} in all, and its slots are {between} apart: slots meanwhile are refused or wait"
        )
        yield Finding(name, "retry-overlaps", message, ("retry",), "fewer attempts, or a smaller max_delay")
    if routine.sla.success_within is not None and routine.sla.success_within < longest:
        message = f"a success is promised every {format_duration(routine.sla.success_within)}, and its slots are up to {between} apart"
        yield Finding(name, "sla-too-tight", message, ("sla", "success_within"), f"success_within: {format_duration(longest * 1.1)}")


def _dense(routine: Routine, min_interval: int, now: datetime) -> Iterator[Finding]:
    if len(routine.schedule.triggers) < 2:
        return
    fires = routine.schedule.upcoming(now, 50)
    gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(fires)]
    if gaps and min(gaps) < min_interval:
        message = f"its triggers together fire {duration_words(int(min(gaps)))} apart, below limits.min_interval"
        yield Finding(routine.id, "dense-triggers", message, ("triggers",), "one trigger less")
