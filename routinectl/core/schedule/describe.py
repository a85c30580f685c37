"""Schedules in words, in English, without guessing: what cannot be said shortly is said field by field."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from routinectl.core.schedule.cron import Cron, bits
from routinectl.core.schedule.interval import Interval
from routinectl.core.schedule.moment import Moment
from routinectl.core.schedule.next_time import Schedule, TimeTrigger
from routinectl.core.schedule.zone import Zone
from routinectl.core.units import duration_words

DAY_NAMES = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTH_NAMES = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
               "November", "December")  # fmt: skip
_ORDINALS = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth"}
_MANY_TIMES = 6


def describe(schedule: Schedule, others: Iterable[str] = ()) -> str:
    """Return a schedule in words: its triggers joined by `; and`, and after them those that are no time (`others`)."""
    return "; and ".join([*map(describe_trigger, schedule.triggers), *others]) or "by hand only"


def describe_trigger(trigger: TimeTrigger) -> str:
    """Return one time trigger in words, with its zone where that matters."""
    rule = trigger.rule
    if isinstance(rule, Interval):
        return f"every {_without_one(duration_words(rule.step))}"
    if isinstance(rule, Moment):
        return f"once at {_local(rule.epoch, trigger.zone)}"
    return describe_cron(rule)


def describe_cron(cron: Cron) -> str:
    """Return a cron expression in words: `at 09:00, Monday to Friday`."""
    minute, hour, dom, month, dow = cron.text.split()
    parts = [_times(cron, minute, hour)]
    days = _days(cron, dom, dow)
    if days:
        parts.append(days)
    months = _months(month)
    if months:
        parts.append(months)
    if parts[0].startswith("at ") and not days and not months:
        return f"every day {parts[0]}"
    return ", ".join(parts)


def _local(epoch: int, zone: Zone) -> str:
    moment = datetime.fromtimestamp(epoch, zone.info)
    return f"{moment:%Y-%m-%d %H:%M:%S} ({zone.name})" if moment.second else f"{moment:%Y-%m-%d %H:%M} ({zone.name})"


def _without_one(text: str) -> str:
    return text[2:] if text.startswith("1 ") and text.count(" ") == 1 else text


def _times(cron: Cron, minute: str, hour: str) -> str:
    every_minute, every_hour = minute in ("*", "*/1"), hour in ("*", "*/1")
    if every_minute and every_hour:
        return "every minute"
    times = cron.times_of_day()
    plain = not _step_of(minute) and not minute.startswith("*") and not _step_of(hour) and not hour.startswith("*")
    if plain and len(times) <= _MANY_TIMES:
        return "at " + _join([f"{time // 60:02d}:{time % 60:02d}" for time in times])
    return _minutes(minute) if every_hour else _hours(cron, minute, hour)


def _minutes(text: str) -> str:
    if text == "0":
        return "every hour, on the hour"
    if text.isdigit():
        return f"every hour at minute {int(text)}"
    return _field_words(text, "minute", lambda value: str(int(value)))


def _hours(cron: Cron, minute: str, hour: str) -> str:
    each = "every minute" if minute in ("*", "*/1") else ""
    stepped = _step_of(hour)
    if stepped and minute.isdigit():
        at = "" if int(minute) == 0 else f" at minute {int(minute)}"
        return _field_words(hour, "hour", _clock) + at
    if minute.isdigit() and "-" in hour and "," not in hour and not stepped:
        first, last = bits(cron.hours)[0], bits(cron.hours)[-1]
        return f"every hour from {first:02d}:{int(minute):02d} to {last:02d}:{int(minute):02d}"
    what = each or (f"at minute {int(minute)}" if minute.isdigit() else _field_words(minute, "minute", str))
    if hour.isdigit():
        return f"{what} of the hour {_clock(hour)}"
    if "-" in hour and "," not in hour and not stepped:
        low, high = hour.split("-")
        return f"{what} from {_clock(low)} to {int(high):02d}:59"
    if stepped:
        return f"{what}, {_field_words(hour, 'hour', _clock)}"
    return f"{what} of the hours {_join([_clock(str(value)) for value in bits(cron.hours)])}"


def _clock(hour: str) -> str:
    return f"{int(hour):02d}:00"


def _step_of(text: str) -> int:
    return int(text.rpartition("/")[2]) if "/" in text and "," not in text else 0


def _field_words(text: str, unit: str, say: object) -> str:
    assert callable(say)
    step = _step_of(text)
    body = text.partition("/")[0]
    if step:
        every = f"every {step} {unit}s" if step > 1 else f"every {unit}"
        if body in ("*", "0"):
            return every
        if "-" in body:
            low, high = body.split("-")
            return f"{every} from {'' if unit == 'hour' else unit + ' '}{say(low)} to {say(high)}"
        return f"{every} from {'' if unit == 'hour' else unit + ' '}{say(body)} on"
    if "-" in text and "," not in text:
        low, high = text.split("-")
        return f"every {unit} from {say(low)} to {say(high)}"
    if text == "*":
        return f"every {unit}"
    return f"at {unit}s {_join([_range_words(item, say) for item in text.split(',')])}"


def _range_words(item: str, say: object) -> str:
    assert callable(say)
    body, _, step = item.partition("/")
    words = " to ".join(say(end) if end.isdigit() else end for end in body.split("-"))
    return f"{words} in steps of {step}" if step else words


def _days(cron: Cron, dom: str, dow: str) -> str:
    dates = "" if dom in ("*", "?", "*/1") else _dates(cron, dom)
    weekdays = "" if dow in ("*", "?", "*/1") else _weekdays(cron, dow)
    if dates and weekdays:
        return f"{dates} or {weekdays}" if cron.either_day else f"{dates}, if it is {weekdays.removeprefix('on ')}"
    return dates or weekdays


def _dates(cron: Cron, dom: str) -> str:
    step = _step_of(dom)
    if step and dom.startswith("*"):
        return f"every {step} days from the 1st of the month"
    days = [_nth(day) for day in bits(cron.doms)]
    if cron.last_dom:
        days.append("last day")
    if "-" in dom and "," not in dom and not step:
        return f"on the {days[0]} to the {days[-1]} of the month"
    return f"on the {_join(days)} of the month"


def _weekdays(cron: Cron, dow: str) -> str:
    days = bits(cron.dows)
    said: list[str] = []
    if days == [1, 2, 3, 4, 5]:
        said.append("Monday to Friday")
    elif days == [0, 6]:
        said.append("Saturday and Sunday")
    elif _step_of(dow) == 0 and "-" in dow and "," not in dow and len(days) > 2:
        start = next(day for day in days if (day - 1) % 7 not in days) if len(days) < 7 else 0
        said.append(f"{DAY_NAMES[start]} to {DAY_NAMES[(start + len(days) - 1) % 7]}")
    elif days:
        week = sorted(days, key=lambda day: (day + 6) % 7)
        said.append(("on " if not cron.nths else "") + _join([DAY_NAMES[day] for day in week]))
    said += [f"on the {_ORDINALS[nth]} {DAY_NAMES[day]} of the month" for day, nth in sorted(cron.nths)]
    said += [f"on the last {DAY_NAMES[day]} of the month" for day in bits(cron.last_dows)]
    return _join(said)


def _months(month: str) -> str:
    if month in ("*", "*/1"):
        return ""
    step = _step_of(month)
    if step and month.startswith("*"):
        return f"every {step} months from January"
    names = [_month_range(item) for item in month.split(",")]
    return f"in {_join(names)}"


def _month_range(item: str) -> str:
    body, _, step = item.partition("/")
    ends = [MONTH_NAMES[int(end) - 1] if end.isdigit() else _full_month(end) for end in body.split("-")]
    words = " to ".join(ends)
    return f"{words} in steps of {step} months" if step else words


def _full_month(name: str) -> str:
    return next(full for full in MONTH_NAMES if full.lower().startswith(name.lower()))


def _nth(day: int) -> str:
    suffix = "th" if 10 <= day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{suffix}"


def _join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
