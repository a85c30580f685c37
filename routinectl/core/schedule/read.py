"""Reading time triggers: the one way from what a person wrote to a rule, for definitions and previews alike.

A trigger is written as an object with one key (`cron`, `every`, `daily`, `weekly`, `at`, `schedule`); `schedule` holds
any text: a cron line, an @shortcut, `every 90m`, an ISO moment or a phrase.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from routinectl.core.problem import did_you_mean
from routinectl.core.schedule import cron
from routinectl.core.schedule.interval import Interval
from routinectl.core.schedule.moment import Moment, looks_like_moment, parse_moment, parse_time
from routinectl.core.schedule.next_time import Rule, TimeTrigger
from routinectl.core.schedule.zone import Zone, load
from routinectl.core.units import duration_words, from_epoch, parse_duration, to_iso
from routinectl.errors import ScheduleError

KINDS = ("cron", "every", "daily", "weekly", "at", "schedule")
DEFAULT_MIN_INTERVAL = 30
_WEEKDAY_WORDS = {word: number for number, name in enumerate(
    ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")) for word in (name, name[:3])}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """How triggers are to be read: the routine's zone, the instant phrases start from, and the limits in force.

    `past` says whether a single moment may lie before `now`: it may in a stored definition, not in a new one.
    """

    zone: Zone
    now: int
    min_interval: int = DEFAULT_MIN_INTERVAL
    past: bool = False


def read_trigger(value: Mapping[str, Any] | str, reading: Reading) -> TimeTrigger:
    """Return the rule of a time trigger.

    Raises ScheduleError when it cannot be read, never fires, fires more often than `min_interval`, or (unless
    `reading.past`) is a single moment that is over.
    """
    if isinstance(value, str):
        value = {"schedule": value}
    kinds = [key for key in KINDS if key in value]
    if len(kinds) != 1:
        raise ScheduleError(f"a time trigger has exactly one of {', '.join(KINDS)}", '{"cron": "0 9 * * MON-FRI"}')
    kind = kinds[0]
    allowed = {kind, "timezone", *(("anchor",) if kind == "every" else ())}
    for key in value:
        if key not in allowed:
            raise ScheduleError(f"unknown key '{key}' in a '{kind}' trigger", _allowed(str(key), allowed))
    zone = load(value["timezone"]) if "timezone" in value else reading.zone
    trigger = _READERS[kind](value, zone, reading)
    _check(trigger, reading)
    return trigger


def _allowed(key: str, allowed: set[str]) -> str:
    return did_you_mean(key, allowed) or f"its keys are {', '.join(sorted(allowed))}; another kind of trigger is another item: - every: 2h"


def meaning_of(trigger: TimeTrigger) -> dict[str, Any]:
    """Return what a trigger means as plain data: kind and cron, seconds or at, with its zone."""
    rule, zone = trigger.rule, trigger.zone
    if isinstance(rule, cron.Cron):
        return {"kind": "cron", "cron": rule.text, "timezone": zone.name}
    if isinstance(rule, Interval):
        return {"kind": "every", "seconds": rule.step, "timezone": zone.name}
    at = datetime.fromtimestamp(rule.epoch, zone.info).isoformat()
    return {"kind": "at", "at": at, "timezone": zone.name}


def definite(trigger: TimeTrigger) -> dict[str, Any]:
    """Return the trigger as a definition should hold it, with nothing left to the moment of reading."""
    rule = trigger.rule
    if isinstance(rule, cron.Cron):
        return {"cron": rule.text}
    if isinstance(rule, Interval):
        return {"every": duration_words(rule.step) if rule.step % 60 else _compact(rule.step), "anchor": _iso(rule.anchor)}
    return {"at": datetime.fromtimestamp(rule.epoch, trigger.zone.info).isoformat(timespec="seconds" if rule.epoch % 60 else "minutes")}


def _compact(seconds: int) -> str:
    for unit, size in (("w", 604800), ("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _iso(epoch: int) -> str:
    return to_iso(from_epoch(epoch))


def _cron(value: Mapping[str, Any], zone: Zone, reading: Reading) -> TimeTrigger:
    rule = cron.parse(_text(value["cron"], "cron"))
    return TimeTrigger(rule, zone, f"cron {rule.text}")


def _every(value: Mapping[str, Any], zone: Zone, reading: Reading) -> TimeTrigger:
    text = _text(value["every"], "every")
    try:
        seconds = int(parse_duration(text).total_seconds())
    except ValueError as error:
        raise ScheduleError(f"every '{text}': {error}", "every: 90m") from None
    anchor = parse_moment(_text(value["anchor"], "anchor"), zone) if "anchor" in value else 0
    return _interval(seconds, anchor, zone)


def _interval(seconds: int, anchor: int, zone: Zone) -> TimeTrigger:
    if seconds <= 0:
        raise ScheduleError("an interval of zero never ends", "every: 5m")
    return TimeTrigger(Interval(seconds, anchor), zone, f"every {_compact(seconds)} anchor {_iso(anchor)}")


def _daily(value: Mapping[str, Any], zone: Zone, reading: Reading) -> TimeTrigger:
    hour, minute = parse_time(_text(value["daily"], "daily"))
    return _cron({"cron": f"{minute} {hour} * * *"}, zone, reading)


def _weekly(value: Mapping[str, Any], zone: Zone, reading: Reading) -> TimeTrigger:
    form = value["weekly"]
    if not isinstance(form, Mapping) or set(form) != {"days", "time"}:
        raise ScheduleError("weekly wants days and a time", 'weekly: {days: [mon, wed], time: "18:30"}')
    days = form["days"]
    if not isinstance(days, list) or not days:
        raise ScheduleError("weekly wants a list of weekdays", "days: [mon, wed]")
    hour, minute = parse_time(_text(form["time"], "time"))
    numbers = sorted({parse_weekday(day) for day in days})
    return _cron({"cron": f"{minute} {hour} * * {','.join(map(str, numbers))}"}, zone, reading)


def parse_weekday(value: str | int) -> int:
    """Return the number of a weekday (Sunday is 0) from a name, three letters of it, or 0-7."""
    text = str(value).strip().lower()
    if text in _WEEKDAY_WORDS:
        return _WEEKDAY_WORDS[text]
    if re.fullmatch(r"[0-7]", text):
        return int(text) % 7
    raise ScheduleError(
        f"'{value}' is not a weekday; the weekdays are mon, tue, wed, thu, fri, sat, sun (or 0-7)",
        did_you_mean(text, _WEEKDAY_WORDS),
    )


def _at(value: Mapping[str, Any], zone: Zone, reading: Reading) -> TimeTrigger:
    epoch = parse_moment(_text(value["at"], "at"), zone)
    if epoch <= reading.now and not reading.past:
        raise ScheduleError(f"at '{value['at']}' is in the past", "choose a moment that is still to come")
    return TimeTrigger(Moment(epoch), zone, f"at {_iso(epoch)}")


def _schedule(value: Mapping[str, Any], zone: Zone, reading: Reading) -> TimeTrigger:
    text = _text(value["schedule"], "schedule")
    cleaned = " ".join(text.split())
    if cleaned.startswith("@") or _looks_like_cron(cleaned):
        return _cron({"cron": cleaned}, zone, reading)
    if looks_like_moment(cleaned):
        return _at({"at": cleaned}, zone, reading)
    compact = re.fullmatch(r"every ((?:[0-9]+ ?[a-z]+ ?)+)", cleaned.lower())
    if compact and len(re.findall(r"[0-9]+", compact[1])) > 1:
        return _every({"every": compact[1]}, zone, reading)
    from routinectl.core.schedule import phrase  # dozens of patterns, which most starts never need

    meaning = phrase.parse(text, zone, reading.now)
    if meaning.cron:
        return _cron({"cron": meaning.cron}, meaning.zone, reading)
    if meaning.seconds:
        return _interval(meaning.seconds, 0, meaning.zone)
    assert meaning.at is not None
    return TimeTrigger(Moment(meaning.at), meaning.zone, f"at {_iso(meaning.at)}")


def _looks_like_cron(text: str) -> bool:
    """Say whether a text should be judged (and refused) as a cron line: fields of cron's alphabet only."""
    fields = text.split()
    return (
        len(fields) > 1
        and all(re.match(r"[0-9*?]", field) for field in fields[:2])
        and not re.match(r"[0-9]{1,2}(st|nd|rd|th|:)", fields[0])
    )


_READERS = {"cron": _cron, "every": _every, "daily": _daily, "weekly": _weekly, "at": _at, "schedule": _schedule}


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise ScheduleError(f"{key} must be text, not {type(value).__name__}", f'{key}: "..."')
    return value


def _check(trigger: TimeTrigger, reading: Reading) -> None:
    rule: Rule = trigger.rule
    if isinstance(rule, cron.Cron):
        cron.check_fires(rule, trigger.zone, min(reading.now, 4_000_000_000))
        gap = cron.shortest_gap(rule)
    elif isinstance(rule, Interval):
        gap = rule.step
    else:
        return
    if gap < reading.min_interval:
        raise ScheduleError(
            f"the interval of {duration_words(gap)} is below the minimum of {duration_words(reading.min_interval)}",
            "a person may lower `limits.min_interval` in routinectl.yaml, down to 1s",
        )
