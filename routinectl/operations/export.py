"""Writing routines for other schedulers: crontab lines and systemd units.

What would be read otherwise than it is meant is refused, with its place in the file. What the other system does not keep
is named, in the file and to whoever asked: every key of a definition is one that is carried (`CARRIED`), or it is named.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from routinectl.core import crontab as cron_lines
from routinectl.core import document, legible, unit
from routinectl.core.problem import Path, Problem
from routinectl.core.routine import Routine
from routinectl.core.schedule.cron import Cron
from routinectl.core.schedule.interval import Interval
from routinectl.core.schedule.moment import Moment
from routinectl.core.schedule.next_time import TimeTrigger
from routinectl.core.schedule.read import KINDS
from routinectl.core.schedule.zone import Zone
from routinectl.core.units import from_epoch, to_epoch, to_iso
from routinectl.engine import launch
from routinectl.errors import CannotSayError, DefinitionError
from routinectl.files import definitions
from routinectl.files.layout import Layout

_BOTH = frozenset({"schema", "name", "description", "timezone", "triggers", "action", "action.command", "action.shell", "action.python",
                   "action.workdir", "action.env", "action.umask"})  # fmt: skip
CARRIED = {"crontab": _BOTH, "systemd": _BOTH | {"timeout", "kill_grace", "leftovers"}}
_IMPLIED: Mapping[str, Any] = {"timeout": "1h", "misfire": {"policy": "run_once"}, "concurrency": {"policy": "forbid"}, "leftovers": "kill"}
_NEAREST = {
    "crontab": {"timeout": "timeout(1) would", "concurrency": "flock -n would"},
    "systemd": {"misfire": "Persistent= is the nearest", "jitter": "RandomizedDelaySec= is the nearest", "concurrency": "a second start waits for the first"},
}  # fmt: skip
_AS_WRITTEN: Mapping[str, Any] = {"enabled": True, "idempotent": False, "approval": "none"}  # says nothing, so nothing is lost
_SHOWN = 120  # characters of a value
_YEARS = 3  # for which the offsets of a zone are looked at


@dataclass(frozen=True, slots=True)
class Exported:
    """Files by name (a crontab has no name), and what they do not keep, in words."""

    files: dict[str, str]
    not_kept: list[str] = field(default_factory=list)


def crontab(layout: Layout, routine: Routine, doc: Mapping[str, Any], now: datetime) -> Exported:
    """Return crontab lines for a routine. Raises CannotSayError where a cron would do something else."""
    with _placed(layout, routine.id):
        zone = _one_zone(routine)
        _require_lines(layout, routine)
        lines = []
        for index, trigger in _timed(routine, doc):
            with _about("triggers", index):
                when = _fields(trigger, now)
            with _about("action", "command"):
                lines.append(cron_lines.entry(when, command_line(layout, routine)))
        not_kept = [*missing(doc, "crontab"), *_late_anchors(routine, now),
                    f"timezone: {zone.name} (cronie obeys CRON_TZ; Debian's cron ignores it, and fires by the clock of its machine)"]  # fmt: skip
    if not routine.enabled:
        lines = [cron_lines.comment(line) for line in lines]
    head = [cron_lines.comment(text) for text in (routine.name, str(doc.get("description", ""))) if text]
    said = [cron_lines.comment(f"cron does not keep {text}") for text in not_kept]
    text = "\n".join([*head, *said, cron_lines.setting("CRON_TZ", zone.name), *lines]) + "\n"
    return Exported({"": text}, not_kept)


def systemd(layout: Layout, routine: Routine, doc: Mapping[str, Any], now: datetime) -> Exported:
    """Return the units of a routine: `name.service` and `name.timer`. Raises CannotSayError where systemd would do something else."""
    with _placed(layout, routine.id):
        calendars: list[str] = []
        for index, trigger in _timed(routine, doc):
            with _about("triggers", index):
                calendars += _calendar(trigger, now)
        with _about("action", "workdir"):
            folder = unit.path("WorkingDirectory", layout.resolve(routine.id, routine.action.workdir))
        with _about("action", "command"):
            command = unit.shell("ExecStart", command_line(layout, routine))
        not_kept = [*missing(doc, "systemd"), *_late_anchors(routine, now)]
    named = f"routinectl-{routine.id}"
    head = [*(unit.comment(f"systemd does not keep {text}") for text in not_kept), "[Unit]", unit.words("Description", routine.name), ""]
    service = [
        *head, "[Service]", "Type=oneshot", folder, command, f"TimeoutStartSec={_milliseconds(routine.timeout.total_seconds())}",
        f"TimeoutStopSec={_milliseconds(routine.kill_grace.total_seconds())}", *(["KillMode=process"] if routine.keep_leftovers else []),
    ]  # fmt: skip
    timer = [*head, "[Timer]", *calendars, "AccuracySec=1s",
             f"Persistent={'false' if routine.misfire.policy == 'skip' else 'true'}", "", "[Install]", "WantedBy=timers.target"]  # fmt: skip
    return Exported({f"{named}.service": "\n".join(service) + "\n", f"{named}.timer": "\n".join(timer) + "\n"}, not_kept)


def _milliseconds(seconds: float) -> str:
    """Return a time limit for systemd, for which 0 would be none."""
    return f"{math.ceil(seconds)}" if seconds >= 1 else f"{max(round(seconds * 1000), 1)}ms"


# -- what is run


def command_line(layout: Layout, routine: Routine) -> str:
    """Return the command of a routine for a shell, in its folder and with its environment. Raises CannotSayError for what asks a model."""
    action = routine.action
    if action.kind in ("prompt", "agent"):
        raise CannotSayError(
            f"only routinectl keeps {action.kind} runs on their leash", f"routinectl -w {layout.root} run-now {routine.id}"
        )
    argv = [action.shell, "-c", action.line.rstrip("\n")] if action.line else launch.command_of(layout, routine, action)
    if "=" in argv[0]:
        raise CannotSayError(f"env would take the program {argv[0]} for a variable", "put it into a script: command: [./run.sh]")
    # `env` in front of it: a shell would take `echo` or `time` for its own.
    settings = "".join(f"{key}={shlex.quote(value)} " for key, value in (action.env or {}).items())
    umask = f"umask {action.umask:04o} && " if action.umask is not None else ""
    folder = layout.resolve(routine.id, action.workdir)
    return f"{umask}cd {shlex.quote(folder)} && env {settings}{shlex.join(argv)}"


def _require_lines(layout: Layout, routine: Routine) -> None:
    """Raise CannotSayError for the part of a command that is no line."""
    action = routine.action
    with _about("action", "command"):
        for word in action.argv or (action.line.rstrip("\n"),):
            cron_lines.one_line(word)
    with _about("action", "workdir"):
        cron_lines.one_line(layout.resolve(routine.id, action.workdir))
    for key, value in (action.env or {}).items():
        with _about("action", "env", key):
            cron_lines.one_line(value)


# -- when


def _timed(routine: Routine, doc: Mapping[str, Any]) -> list[tuple[int, TimeTrigger]]:
    """Return the time triggers with their places in the definition. Raises CannotSayError when there is none."""
    places = [index for index, trigger in enumerate(doc.get("triggers", ())) if any(kind in trigger for kind in KINDS)]
    if not places:
        raise CannotSayError(f"{routine.id} has no trigger of time, so there is nothing to write", "--format bundle")
    return list(zip(places, routine.schedule.triggers, strict=True))


def _one_zone(routine: Routine) -> Zone:
    zones = {trigger.zone.name: trigger.zone for trigger in routine.schedule.triggers} or {routine.zone.name: routine.zone}
    if len(zones) > 1:
        with _about("triggers"):
            raise CannotSayError(
                f"a crontab has one time zone, and these triggers have {' and '.join(sorted(zones))}",
                "--format systemd, which has one for each",
            )
    return next(iter(zones.values()))


def _fields(trigger: TimeTrigger, now: datetime) -> str:
    rule = trigger.rule
    if isinstance(rule, Cron):
        return cron_lines.fields(rule)
    if isinstance(rule, Interval) and rule.step % 60 == 0 and 3600 % rule.step == 0:
        local = {(rule.anchor + offset) % rule.step for offset in _offsets(trigger.zone, to_epoch(now))}
        if len(local) == 1 and (first := local.pop()) % 60 == 0:
            return _minutes(first // 60, rule.step // 60)
    raise CannotSayError(f"cron cannot say '{trigger.text}'", "--format systemd, or in routinectl: every: 15m")


def _offsets(zone: Zone, begin: int) -> set[int]:
    """Return the UTC offsets of a zone in the years to come: an interval keeps its minutes only where they differ by whole steps."""
    end = begin + _YEARS * 366 * 86400
    return {stretch.offset for stretch in itertools.takewhile(lambda stretch: stretch.start < end, zone.forward(begin))}


def _minutes(first: int, step: int) -> str:
    if step == 1:
        return "* * * * *"
    return f"*/{step} * * * *" if first == 0 and step < 60 else f"{','.join(map(str, range(first, 60, step)))} * * * *"


def _calendar(trigger: TimeTrigger, now: datetime) -> list[str]:
    rule = trigger.rule
    if isinstance(rule, Cron):
        return unit.calendar(rule, trigger.zone.name)
    if isinstance(rule, Interval):
        return [unit.comment(trigger.text), *unit.interval(rule)]
    assert isinstance(rule, Moment)
    if rule.epoch <= to_epoch(now):
        return [unit.comment(f"over: {trigger.text}")]
    return [f"OnCalendar={from_epoch(rule.epoch):%Y-%m-%d %H:%M:%S} UTC"]


# -- what is lost


def missing(doc: Mapping[str, Any], form: str) -> list[str]:
    """Return everything of a definition that another system does not keep, each with its value."""
    whole = {**_IMPLIED, **doc}
    parts = {key: value for key, value in whole.items() if key not in ("action", "triggers")}
    parts |= {f"action.{key}": value for key, value in whole.get("action", {}).items()}
    found = [(key, value) for key, value in parts.items() if key not in CARRIED[form] and _AS_WRITTEN.get(key) != value]
    found += [("triggers", trigger) for trigger in whole.get("triggers", ()) if not any(kind in trigger for kind in KINDS)]
    nearest = _NEAREST[form]
    words = [f"{key}: {_value(value)}{f' ({nearest[key]})' if key in nearest else ''}" for key, value in found]
    return [*words, "the variables of a run, PATH among them (routinectl env ID)"]


def _late_anchors(routine: Routine, now: datetime) -> list[str]:
    """Return the intervals that begin later: other systems have no beginning."""
    rules = [(trigger.text, trigger.rule) for trigger in routine.schedule.triggers]
    return [f"anchor: {text} begins at {to_iso(from_epoch(rule.anchor))}" for text, rule in rules
            if isinstance(rule, Interval) and rule.anchor > to_epoch(now)]  # fmt: skip


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return legible.line(text, _SHOWN)


# -- where


@contextlib.contextmanager
def _about(*path: str | int) -> Iterator[None]:
    """Say which part of a definition an error is about."""
    try:
        yield
    except CannotSayError as error:
        error.path = path
        raise


@contextlib.contextmanager
def _placed(layout: Layout, routine_id: str) -> Iterator[None]:
    """Add the place in the file to an error, where the file is there and good."""
    try:
        yield
    except CannotSayError as error:
        raise CannotSayError(f"{error.message}{_where(layout, routine_id, error.path)}", error.hint) from None


def _where(layout: Layout, routine_id: str, path: Path) -> str:
    label = definitions.relative(layout, layout.definition(routine_id))
    try:
        marks = document.places(definitions.read_bytes(layout, routine_id))
    except (DefinitionError, OSError):
        return ""
    return f" ({document.locate(Problem('', path), marks, label).where})"
