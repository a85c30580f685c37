"""What a schema cannot see in a definition: zones, schedules, paths, secrets, and keys this version does not keep.

`check` returns every fault at once. A key that a later version will enforce is refused, never ignored: a definition
that asks for an approval or for quiet hours must not run without them.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from routinectl.core import expect, model_checks, pattern, permissions, quiet_hours, reaction
from routinectl.core.problem import Path, Problem, did_you_mean, path_text
from routinectl.core.reaction import CHANNEL
from routinectl.core.routine import ID, Doc
from routinectl.core.schedule import zone as zones
from routinectl.core.schedule.moment import parse_bound
from routinectl.core.schedule.read import KINDS, Reading, read_trigger
from routinectl.core.schedule.zone import Zone
from routinectl.core.settings import Settings
from routinectl.core.units import format_duration, parse_duration, parse_size
from routinectl.errors import DefinitionError, ScheduleError, ZoneError

_DURATIONS: dict[Path, tuple[timedelta, timedelta]] = {
    ("jitter",): (timedelta(), timedelta(days=1)),
    ("cooldown",): (timedelta(), timedelta(days=366)),
    ("timeout",): (timedelta(seconds=1), timedelta(days=366)),
    ("kill_grace",): (timedelta(), timedelta(hours=1)),
    ("misfire", "grace"): (timedelta(), timedelta(days=366)),
    ("misfire", "window"): (timedelta(), timedelta(days=3660)),
    ("dedup_window",): (timedelta(seconds=1), timedelta(days=366)),
    ("budget", "cpu"): (timedelta(seconds=1), timedelta(days=366)),
    ("budget", "per_day", "cpu"): (timedelta(seconds=1), timedelta(days=366)),
    ("budget", "per_day", "wall"): (timedelta(seconds=1), timedelta(days=366)),
    ("retry", "delay"): (timedelta(), timedelta(days=30)),
    ("retry", "max_delay"): (timedelta(), timedelta(days=30)),
    ("approval", "expires"): (timedelta(minutes=1), timedelta(days=366)),
    ("sla", "success_within"): (timedelta(seconds=1), timedelta(days=3660)),
    ("sla", "start_within"): (timedelta(seconds=1), timedelta(days=3660)),
    ("sla", "run_within"): (timedelta(seconds=1), timedelta(days=3660)),
}
_SIZES: dict[Path, tuple[str, str, str]] = {
    ("budget", "output"): ("1KiB", "1TiB", "10MiB"),
    ("budget", "memory"): ("16MiB", "1TiB", "512MiB"),
    ("budget", "per_day", "output"): ("1KiB", "1TiB", "100MiB"),
}


def check(doc: Doc, reading: Reading, settings: Settings) -> list[Problem]:
    """Return every fault of an effective document that its schema accepts, in the order of the checks."""
    try:
        zone = zones.load(doc["timezone"])
    except ScheduleError as error:
        return [Problem(error.message, ("timezone",), error.hint), *_others(doc, settings)]
    return [*_triggers(doc, replace(reading, zone=zone)), *_bounds(doc, zone), *_others(doc, settings)]


def _others(doc: Doc, settings: Settings) -> Iterator[Problem]:
    yield from _durations(doc)
    yield from _concurrency(doc)
    yield from _quiet_hours(doc, ())
    yield from _notify(doc)
    yield from _policies(doc, settings.pools)
    yield from _calendar(doc)
    yield from _expect(doc)
    yield from _action(doc["action"])
    yield from permissions.faults(doc)
    yield from model_checks.check(doc, settings)
    yield from _sizes(doc)
    day = doc.get("budget", {}).get("per_day", {})
    if "approximate" in day and "cpu" not in day:
        yield Problem(
            "budget.per_day.approximate is about budget.per_day.cpu, which is not set", ("budget", "per_day", "approximate"), "cpu: 10m"
        )


def _triggers(doc: Doc, reading: Reading) -> Iterator[Problem]:
    for index, trigger in enumerate(doc.get("triggers", ())):
        path: Path = ("triggers", index)
        others = [kind for kind in reaction.KINDS if kind in trigger]
        if others:
            yield from _other_trigger(trigger, others[0], path)
            continue
        try:
            read_trigger(trigger, reading)
        except ScheduleError as error:
            kinds = [kind for kind in KINDS if kind in trigger]
            at = "timezone" if isinstance(error, ZoneError) else kinds[0] if len(kinds) == 1 else ""
            yield Problem(error.message, (*path, at) if at else path, error.hint)


def _other_trigger(trigger: Doc, kind: str, path: Path) -> Iterator[Problem]:
    """Yield the faults of a trigger that is no time."""
    if len(trigger) > 1:
        second = next(key for key in trigger if key != kind)
        yield Problem(
            f"a trigger is one reason to fire; {kind} and {second} are two", (*path, second), "write each as a trigger of its own"
        )
    if kind == "after" and not ID.fullmatch(trigger["after"]["routine"]):
        yield Problem(f"'{trigger['after']['routine']}' is no routine's id", (*path, "after", "routine"), "after: {routine: backup}")
    if kind == "webhook" and "file" in trigger["webhook"].get("secret", {}):
        yield from _inside(trigger["webhook"]["secret"]["file"], (*path, "webhook", "secret", "file"))
    if kind == "file":
        yield from _file(trigger["file"], (*path, "file"))
    if kind == "message":
        yield from _message(trigger["message"], (*path, "message"))


def _file(file: Doc, path: Path) -> Iterator[Problem]:
    if "settle" in file:
        try:
            settle = parse_duration(file["settle"])
        except ValueError as error:
            yield Problem(f"settle: {error}", (*path, "settle"), "settle: 2s")
        else:
            if not timedelta() <= settle <= timedelta(hours=1):
                yield Problem(f"settle is {file['settle']}; allowed is between 0s and 1h", (*path, "settle"), "settle: 2s")
    for index, text in enumerate(file["paths"]):
        if "\0" in text:
            yield Problem("a path holds a NUL character", (*path, "paths", index), "paths: ['inbox/*.pdf']")


def _message(message: Doc, path: Path) -> Iterator[Problem]:
    if not CHANNEL.fullmatch(message["channel"]):
        hint = "message: {channel: signal}"
        yield Problem(f"'{message['channel']}' is no name of a channel: letters, digits, -, _ and .", (*path, "channel"), hint)
    if "pattern" in message:
        yield from _pattern(message["pattern"], (*path, "pattern"), "pattern: '(?i)\\burgent\\b'")


def _pattern(text: str, path: Path, example: str) -> Iterator[Problem]:
    """Check a pattern that meets what others have written: RE2 reads it, so that none can stall anything."""
    try:
        fault = pattern.check(text)
    except DefinitionError as error:
        yield Problem(error.message, path, error.hint)
    else:
        if fault:
            yield Problem(f"the pattern cannot be read: {fault}", path, f"RE2's syntax: no lookaround, no backreferences; {example}")


def _bounds(doc: Doc, zone: Zone) -> Iterator[Problem]:
    instants: dict[str, int] = {}
    for key in ("start", "end"):
        if key in doc:
            try:
                instants[key] = parse_bound(doc[key], zone)
            except ScheduleError as error:
                yield Problem(f"{key}: {error.message}", (key,), error.hint)
    if len(instants) == 2 and instants["start"] >= instants["end"]:
        yield Problem("end is not after start, so it would never fire", ("end",), "end is exclusive; choose a later date")


def _at(doc: Doc, path: Path) -> Any:
    """Return what stands at a path of a document, None where nothing does."""
    value: Any = doc
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _durations(doc: Doc) -> Iterator[Problem]:
    for path, (least, most) in _DURATIONS.items():
        value = _at(doc, path)
        if value is None:
            continue
        try:
            duration = parse_duration(value)
        except ValueError as error:
            yield Problem(f"{path_text(path)}: {error}", path, f"{path[-1]}: 10m")
            continue
        if not least <= duration <= most:
            limits = f"between {format_duration(least)} and {format_duration(most)}"
            yield Problem(f"{path_text(path)} is {value}; allowed is {limits}", path, f"{path[-1]}: {format_duration(most)}")


def _concurrency(doc: Doc) -> Iterator[Problem]:
    concurrency = doc.get("concurrency", {})
    policy, most = concurrency.get("policy", "forbid"), concurrency.get("max")
    if policy == "allow" and most is not None and most < 2:
        yield Problem("concurrency.policy allow needs max of at least 2", ("concurrency", "max"), "max: 2")
    if policy != "allow" and most not in (None, 1):
        hint = "policy: allow"
        yield Problem(f"concurrency.max {most} contradicts the policy {policy}", ("concurrency", "max"), hint)


def _quiet_hours(doc: Doc, above: Path) -> Iterator[Problem]:
    if "quiet_hours" not in doc:
        return
    path, hint = (*above, "quiet_hours"), 'quiet_hours: {start: "22:00", end: "07:00"}'
    try:
        quiet_hours.read(doc["quiet_hours"])
    except ScheduleError as error:
        yield Problem(f"quiet_hours: {error.message}", path, hint)
    except ValueError as error:
        yield Problem(f"quiet_hours: {error}", path, hint)


def _notify(doc: Doc) -> Iterator[Problem]:
    written = doc.get("notify", {})
    blocks = [((), written)] if isinstance(written, dict) else [((index,), item) for index, item in enumerate(written)]
    for index, block in blocks:
        path: Path = ("notify", *index)
        yield from _quiet_hours(block, path)
        quiet = block.get("quiet_hours", {})
        if "timezone" in quiet:
            try:
                zones.load(quiet["timezone"])
            except ScheduleError as error:
                yield Problem(error.message, (*path, "quiet_hours", "timezone"), error.hint)
        urgent = quiet.get("allow_urgent")
        if isinstance(urgent, str):
            yield from _pattern(urgent, (*path, "quiet_hours", "allow_urgent"), "allow_urgent: '(?i)payment'")


def _calendar(doc: Doc) -> Iterator[Problem]:
    calendar = doc.get("calendar")
    if calendar is None:
        return
    if not calendar.keys() & {"exclude", "only"}:
        yield Problem("a calendar names the days: exclude, only, or both", ("calendar",), "calendar: {exclude: [{weekends: true}]}")
    if not doc.get("triggers"):
        yield Problem("a calendar judges time triggers, and there is none", ("calendar",), "remove calendar")


def _expect(doc: Doc) -> Iterator[Problem]:
    if "expect" not in doc:
        return
    try:
        found = expect.read(doc["expect"])
    except re.error as error:
        yield Problem(f"expect: the pattern cannot be read: {error}", ("expect",), "output: /backup complete/")
    except ValueError as error:
        yield Problem(f"expect: {error}", ("expect",), "expect: {duration: '< 10m'}")
    else:
        if found.file is not None:
            yield from _inside(found.file.path, ("expect", "file", "path"))
        proposes = doc.get("permissions", {}).get("level") == "propose_edits"
        for key in [key for key in ("file", "command") if proposes and key in doc["expect"]]:
            message = f"expect.{key} looks at the workspace, which a run at propose_edits does not change"
            yield Problem(message, ("expect", key), "have the command itself look, and end with a code")


def _policies(doc: Doc, pools: Collection[str]) -> Iterator[Problem]:
    """Refuse policies that cannot do what they say."""
    triggers = doc.get("triggers", ())
    if "dedup_window" in doc and triggers and not any(kind in trigger for trigger in triggers for kind in ("webhook", "message")):
        yield Problem("dedup_window judges payloads, and time triggers have none", ("dedup_window",), "remove dedup_window; cooldown: 5m")
    if "interrupted" in doc.get("retry", {}).get("on", ()) and not doc.get("idempotent"):
        yield Problem(
            "an interrupted run may have done its work; it is tried again only with idempotent: true", ("retry", "on"), "idempotent: true"
        )
    pool = doc.get("pool")
    if pool is not None and pool not in pools:
        known = did_you_mean(pool, pools) if pools else ""
        yield Problem(
            f"the pool '{pool}' is not among limits.pools of routinectl.yaml", ("pool",), known or f"limits: {{pools: {{{pool}: 1}}}}"
        )


def _action(action: Doc) -> Iterator[Problem]:
    kinds = [kind for kind in ("command", "python", "prompt", "agent") if kind in action]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none of them"
        yield Problem(f"an action has exactly one of command, python, prompt, agent; found {found}", ("action",),
                      "action: {command: [./review.sh]}")  # fmt: skip
    command = action.get("command")
    if isinstance(command, list) and not command[0].strip():
        yield Problem("the program of the command is empty", ("action", "command", 0), "command: [./review.sh]")
    if isinstance(command, str) and not command.strip():
        yield Problem("the command is empty", ("action", "command"), "command: ./review.sh")
    for path, text in _texts(action):
        if "\0" in text:
            yield Problem(f"{path_text(path)} holds a NUL character, which no program can be given", path, "")
    if "shell" in action and not isinstance(command, str):
        yield Problem("shell is only for a command that is one string", ("action", "shell"), "remove shell")
    yield from _environment(action)
    yield from _inside(action.get("workdir", "."), ("action", "workdir"))


def _texts(action: Doc) -> Iterator[tuple[Path, str]]:
    command = action.get("command")
    if isinstance(command, str):
        yield ("action", "command"), command
    elif command:
        yield from ((("action", "command", index), word) for index, word in enumerate(command))
    yield from ((("action", "env", key), value) for key, value in action.get("env", {}).items() if isinstance(value, str))
    yield ("action", "workdir"), action.get("workdir", ".")


def _environment(action: Doc) -> Iterator[Problem]:
    env, secrets = action.get("env", {}), action.get("secrets", {})
    for group, names in (("env", env), ("secrets", secrets)):
        for key in names:
            if key.startswith("ROUTINE_"):
                yield Problem(f"action.{group}.{key}: names that begin with ROUTINE_ are routinectl's own",
                              ("action", group, key), "choose another name")  # fmt: skip
    for key in env.keys() & secrets.keys():
        yield Problem(f"{key} is given in env and in secrets", ("action", "secrets", key), "keep one of the two")
    for key, reference in secrets.items():
        if "file" in reference:
            yield from _inside(reference["file"], ("action", "secrets", key, "file"))


def _inside(text: str, path: Path) -> Iterator[Problem]:
    """Refuse a relative path that leaves the workspace; an absolute one is somebody's clear wish."""
    base = "" if text.startswith("workspace:") else "routines/id/"
    relative = text.removeprefix("workspace:")
    if base and relative.startswith("/"):
        return
    if relative.startswith("/") or posixpath.normpath(base + relative).startswith(".."):
        yield Problem(f"{path_text(path)} '{text}' leaves the workspace", path, "write an absolute path if that is meant")


def _sizes(doc: Doc) -> Iterator[Problem]:
    for path, (least, most, example) in _SIZES.items():
        size = _at(doc, path)
        if size is None:
            continue
        try:
            if not parse_size(least) <= parse_size(size) <= parse_size(most):
                yield Problem(f"{path_text(path)} is {size}; allowed is between {least} and {most}", path, f"{path[-1]}: {example}")
        except ValueError as error:
            yield Problem(f"{path_text(path)}: {error}", path, f"{path[-1]}: {example}")
