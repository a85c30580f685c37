"""Phrases: `every weekday at 9am`, `in 2 hours`, `last friday of the month at 16:00`.

A phrase is read whole or refused; nothing is guessed. What it means is a cron line, an interval or one moment, and
`add` writes that meaning into the definition. The table FORMS is the grammar.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from routinectl.core.schedule.moment import add_days, local_moment, parse_time
from routinectl.core.schedule.zone import Zone, load
from routinectl.core.units import UNITS
from routinectl.errors import ScheduleError

LONGEST_PHRASE = 200
EXAMPLES = "every weekday at 9am; every 90 minutes; on the 1st of every month at 12:00; tomorrow at 9:00"

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty-five": 45, "ninety": 90,
    "a": 1, "an": 1,
}  # fmt: skip
_ORDINALS = {"first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4}
_DAYS = {
    word: number
    for number, words in enumerate(
        ("sunday sun", "monday mon", "tuesday tues tue", "wednesday weds wed", "thursday thurs thur thu",
         "friday fri", "saturday sat")
    )
    for word in words.split()
}  # fmt: skip
_MONTHS = {
    word: number
    for number, words in enumerate(
        ("january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
         "september sept sep", "october oct", "november nov", "december dec"), start=1
    )
    for word in words.split()
}  # fmt: skip

_TIME = r"(?:noon|midday|midnight|[0-9]{1,2}(?::[0-9]{2})?(?: ?(?:am|pm|a|p))?)"
_CLOCK = r"(?:noon|midday|midnight|[0-9]{1,2}:[0-9]{2}(?: ?(?:am|pm|a|p))?|[0-9]{1,2} ?(?:am|pm|a|p))"
_TIMES = rf"{_TIME}(?:(?:,| and|, and) (?:at )?{_TIME})*"
_NUMBER = r"(?:[0-9]+|" + "|".join(sorted(_NUMBERS, key=len, reverse=True)) + ")"
_UNIT = "(?:" + "|".join(sorted(UNITS, key=len, reverse=True)) + ")"
_DAY = "(?:" + "|".join(sorted(_DAYS, key=len, reverse=True)) + ")"
_MONTH = "(?:" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + ")"
_NTH_DAY = r"[0-9]{1,2}(?:st|nd|rd|th)?"
_ORDINAL = r"(?:first|second|third|fourth|1st|2nd|3rd|4th|last)"
_OF_MONTH = r"(?: (?:of|in) (?:the|every|each|a) month| every month| each month)"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a phrase means: exactly one of `cron`, `seconds` (an interval) and `at` (seconds since 1970)."""

    zone: Zone
    cron: str = ""
    seconds: int = 0
    at: int | None = None


@dataclass(frozen=True, slots=True)
class _Context:
    """What a form's builder may need: the times of day that were said, the zone and the `now` it is read at."""

    times: tuple[tuple[int, int], ...]
    zone: Zone
    now: int

    def cron(self, days: str) -> Meaning:
        """Return a cron line for the times said (midnight when none was) on `days` (dom month dow)."""
        times = sorted(set(self.times or ((0, 0),)))
        minutes, hours = {minute for _, minute in times}, {hour for hour, _ in times}
        if len(minutes) * len(hours) != len(times):
            raise ScheduleError("one cron line cannot hold these times: their minutes differ", "write one trigger for each time")
        minute = ",".join(map(str, sorted(minutes)))
        return Meaning(self.zone, cron=f"{minute} {','.join(map(str, sorted(hours)))} {days}")

    def once(self, day: datetime) -> Meaning:
        """Return the single moment of the time said on a local day; refused when none was said or it is past."""
        if len(self.times) != 1:
            raise ScheduleError("this needs exactly one time of day", "tomorrow at 9:00")
        wall = day.replace(hour=self.times[0][0], minute=self.times[0][1])
        return self.future(local_moment(wall, self.zone, f"{wall:%Y-%m-%dT%H:%M}"))

    def future(self, at: int) -> Meaning:
        if at <= self.now:
            raise ScheduleError("that moment is in the past", EXAMPLES)
        return Meaning(self.zone, at=at)

    def today(self) -> datetime:
        """Return the local midnight of today, naive."""
        local = datetime.fromtimestamp(self.now, self.zone.info).replace(tzinfo=None)
        return local.replace(hour=0, minute=0, second=0, microsecond=0)


def parse(text: str, zone: Zone, now: int) -> Meaning:
    """Return what a phrase means, read at the instant `now` (seconds since 1970) in `zone`.

    Raises ScheduleError when any part of it is not understood.
    """
    if len(text) > LONGEST_PHRASE:
        raise ScheduleError(f"a phrase of {len(text)} characters; {LONGEST_PHRASE} are read at most", EXAMPLES)
    phrase = " ".join(text.strip().rstrip(".").split())
    if not phrase:
        raise ScheduleError("an empty schedule", EXAMPLES)
    in_zone = re.search(r" in ([A-Z][A-Za-z_]+/[A-Za-z_/+-]+|UTC)$", phrase)
    if in_zone:
        zone, phrase = load(in_zone[1]), phrase[: in_zone.start()]
    phrase = phrase.lower()
    _refuse_ambiguous(phrase, text)
    rest, times = _split_times(phrase)
    context = _Context(times, zone, now)
    for pattern, build in FORMS:
        match = re.fullmatch(pattern, rest)
        if match:
            return build(match, context)
    raise _not_understood(text)


def _not_understood(text: str) -> ScheduleError:
    shown = text.strip() if len(text) < 80 else text.strip()[:77] + "..."
    return ScheduleError(f"no schedule can be read from '{shown}'", EXAMPLES)


def _refuse_ambiguous(phrase: str, text: str) -> None:
    if re.search(r"\bbi-?(weekly|monthly)\b", phrase):
        raise ScheduleError(f"'{text}' may mean twice in one or once in two", "every 2 weeks")
    if re.search(r"\bevery (?:other|second|2nd) (week|month|year|day|weekend|" + "|".join(_DAYS) + r")\b", phrase) and not (
        _OF_MONTH_RE.search(phrase)
    ):
        raise ScheduleError(f"'{text}': every other day or week has no fixed dates", "every 2 weeks   (an interval, with an anchor)")


_OF_MONTH_RE = re.compile(_OF_MONTH)


def _split_times(phrase: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Take the times of day out of a phrase, wherever they stand, and return the rest and the times."""
    for pattern in (rf"^(?P<rest>.*?),? at (?P<times>{_TIMES})$", rf"^(?P<rest>.+?),? (?P<times>{_CLOCK})$",
                    rf"^at (?P<times>{_TIMES}) (?P<rest>.+)$", rf"^(?P<times>{_CLOCK}) (?P<rest>.+)$"):  # fmt: skip
        match = re.fullmatch(pattern, phrase)
        if match and not (pattern.endswith(rf"{_CLOCK})$") and match["rest"].endswith((" and", ",", " in", " every"))):
            words = re.split(r",? and (?:at )?|, (?:at )?", match["times"])
            return match["rest"], tuple(parse_time(word) for word in words if word)
    return phrase, ()


def _number(word: str) -> int:
    return _NUMBERS[word] if word in _NUMBERS else int(word)


def _interval(match: re.Match[str], context: _Context) -> Meaning:
    unit = UNITS[match["unit"]]
    count = _number(match["n"] or "1")
    if match["half"]:
        if unit not in ("m", "h", "d"):
            raise ScheduleError("half of what?", "every 30 minutes")
        return _plain_interval(_UNIT_SECONDS[unit] // 2, context)
    if match["other"]:
        count = 2
    if count == 0:
        raise ScheduleError("an interval of zero never ends", "every 5 minutes")
    if count * _UNIT_SECONDS[unit] > 3660 * 86400:
        raise ScheduleError(f"an interval of {count} {match['unit']} is longer than ten years", "every 30 days")
    if unit == "d" and count == 1 and (context.times or not match["n"]):
        return context.cron("* * *")
    if unit == "w" and not match["n"] and not context.times:
        raise ScheduleError("which day of the week?", "every monday at 9:00")
    if context.times:
        raise ScheduleError("an interval has no time of day", "every day at 9:00")
    return _plain_interval(count * _UNIT_SECONDS[unit], context)


def _plain_interval(seconds: int, context: _Context) -> Meaning:
    if context.times:
        raise ScheduleError("an interval has no time of day", "every day at 9:00")
    return Meaning(context.zone, seconds=seconds)


def _hourly_at(match: re.Match[str], context: _Context) -> Meaning:
    minute, step = int(match["minute"]), _number(match["n"] or "1")
    if minute > 59:
        raise ScheduleError(f"minute {minute} is outside 0-59", "every hour at :05")
    if step < 1 or 24 % step:
        raise ScheduleError(f"{step} hours do not divide a day", f"every {step} hours")
    return Meaning(context.zone, cron=f"{minute} {'*' if step == 1 else f'*/{step}'} * * *")


def _minutes_on_days(match: re.Match[str], context: _Context) -> Meaning:
    step = _number(match["n"])
    if step < 1 or step > 59 or 60 % step or context.times:
        raise ScheduleError(f"{step} minutes do not divide an hour, so days cannot be combined with it", EXAMPLES)
    return Meaning(context.zone, cron=f"{'*' if step == 1 else f'*/{step}'} * * * {_weekdays(match['days'])}")


def _every_day(match: re.Match[str], context: _Context) -> Meaning:
    return context.cron("* * *")


def _times_a_day(match: re.Match[str], context: _Context) -> Meaning:
    wanted = {"once": 1, "twice": 2}.get(match["n"]) or _number(match["n"].split()[0])
    if len(context.times) != wanted:
        raise ScheduleError(f"'{match[0]}' needs {wanted} time{'s' if wanted > 1 else ''} of day", "every day at 9:00 and 21:00")
    return context.cron("* * *")


def _weekdays(text: str) -> str:
    """Return the weekday field of `monday and friday`, `weekdays`, `mon-fri`, `monday through friday`."""
    if re.fullmatch(r"(?:weekday|working day|work day|workday|business day)s?", text):
        return "1-5"
    if re.fullmatch("weekends?", text):
        return "0,6"
    through = re.fullmatch(rf"(?:from )?({_DAY})(?: ?- ?| to | through | thru )({_DAY})", text)
    if through:
        first, last = _DAYS[through[1]], _DAYS[through[2]]
        return f"{first}-{last}" if first < last else f"{first}-{last or 7}" if not last else f"{first}-6,0-{last}"
    days = sorted({_DAYS[word.rstrip("s") if word.rstrip("s") in _DAYS else word] for word in re.split(r",? and |, ", text)})
    return ",".join(map(str, days))


def _on_days(match: re.Match[str], context: _Context) -> Meaning:
    return context.cron(f"* * {_weekdays(match['days'])}")


def _monthly(match: re.Match[str], context: _Context) -> Meaning:
    days = sorted({_day_number(word) for word in re.split(r",? and (?:the )?|, (?:the )?", match["days"])})
    return context.cron(f"{','.join(map(str, days))} * *")


def _every_n_months(match: re.Match[str], context: _Context) -> Meaning:
    step = _number(match["n"])
    if step < 1 or step > 6 or 12 % step:
        raise ScheduleError(f"{step} months do not divide a year", "every 3 months on the 1st at 9:00")
    return context.cron(f"{_day_number(match['days'])} {'*' if step == 1 else f'*/{step}'} *")


def _day_number(word: str) -> int:
    number = int(re.sub(r"\D", "", word))
    if not 1 <= number <= 31:
        raise ScheduleError(f"day {number} is in no month: the days are 1-31", "on the 1st of every month at 9:00")
    return number


def _last_day(match: re.Match[str], context: _Context) -> Meaning:
    return context.cron("L * *")


def _nth_weekday(match: re.Match[str], context: _Context) -> Meaning:
    day = _DAYS[match["day"]]
    return context.cron(f"* * {day}L" if match["nth"] == "last" else f"* * {day}#{_ORDINALS[match['nth']]}")


def _yearly(match: re.Match[str], context: _Context) -> Meaning:
    month, day = _MONTHS[match["month"]], _day_number(match["dom"])
    if day > (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]:
        raise ScheduleError(f"{match['month']} {day} never comes", "every february 28th at noon")
    return context.cron(f"{day} {month} *")


def _shortcut(match: re.Match[str], context: _Context) -> Meaning:
    days = {"daily": "* * *", "weekly": "* * 0", "monthly": "1 * *", "yearly": "1 1 *", "annually": "1 1 *"}[match[0]]
    if context.times and match[0] != "daily":
        raise ScheduleError(f"'{match[0]}' at a time, but on which day?", "every monday at 9:00")
    return context.cron(days)


def _hourly(match: re.Match[str], context: _Context) -> Meaning:
    return Meaning(context.zone, cron="0 * * * *")


def _in(match: re.Match[str], context: _Context) -> Meaning:
    unit, count = UNITS[match["unit"]], _number(match["n"])
    if context.times and unit not in ("d", "w"):
        raise ScheduleError("either a delay or a time of day, not both", "in 2 hours")
    if count * _UNIT_SECONDS[unit] > 3660 * 86400:
        raise ScheduleError(f"{count} {match['unit']} is more than ten years ahead", "in 30 days")
    if unit in ("d", "w"):
        days = count * (7 if unit == "w" else 1)
        if context.times:
            return context.once(context.today() + timedelta(days=days))
        return context.future(add_days(context.now, days, context.zone))
    return context.future(context.now + count * _UNIT_SECONDS[unit])


def _today(match: re.Match[str], context: _Context) -> Meaning:
    return context.once(context.today() + timedelta(days=1 if match[0] == "tomorrow" else 0))


def _coming_day(match: re.Match[str], context: _Context) -> Meaning:
    today = context.today()
    ahead = (_DAYS[match["day"]] - (today.weekday() + 1)) % 7
    if ahead == 0 and match["which"] != "next":
        try:
            return context.once(today)
        except ScheduleError:
            ahead = 7
    return context.once(today + timedelta(days=ahead or 7))


def _on_date(match: re.Match[str], context: _Context) -> Meaning:
    try:
        day = datetime.fromisoformat(match["date"])
    except ValueError:
        raise ScheduleError(f"the date {match['date']} does not exist", "on 2026-12-24 at 18:00") from None
    return context.once(day)


_DAY_LIST = rf"{_DAY}s?(?:(?:,| and|, and) {_DAY}s?)*"
_DAY_SET = (
    rf"(?:{_DAY_LIST}|(?:from )?{_DAY}(?: ?- ?| to | through | thru ){_DAY}"
    r"|(?:weekday|working day|work day|workday|business day)s?|weekends?)"
)
_DAY_SET_PLURAL = (
    rf"(?:{_DAY}s(?:(?:,| and|, and) {_DAY}s)*|{_DAY}(?: ?- ?| to | through | thru ){_DAY}"
    r"|(?:weekday|working day|workday|business day)s|weekends)"
)
_NTH_LIST = rf"{_NTH_DAY}(?:(?:,| and|, and) (?:the )?{_NTH_DAY})*"
_NTH_SUFFIXED = r"[0-9]{1,2}(?:st|nd|rd|th)"
Builder = Callable[[re.Match[str], _Context], Meaning]
FORMS: tuple[tuple[str, Builder], ...] = (
    (rf"(?:every|each) (?P<half>half (?:an )?)?(?P<other>other )?(?:(?P<n>{_NUMBER}) ?)?(?P<unit>{_UNIT})", _interval),
    (rf"(?:every|each) (?:(?P<n>{_NUMBER}) )?hours? at (?:minute )?:?(?P<minute>[0-9]{{1,2}})", _hourly_at),
    (r"hourly at :(?P<minute>[0-9]{2})(?P<n>)", _hourly_at),
    (rf"every (?P<n>{_NUMBER}) (?:minutes?|mins?) on (?P<days>{_DAY_SET})", _minutes_on_days),
    (r"hourly", _hourly),
    (r"daily|weekly|monthly|yearly|annually", _shortcut),
    (r"(?:every|each) (?:single )?day", _every_day),
    (rf"(?P<n>once|twice|{_NUMBER} times) (?:a|per|every|each) day", _times_a_day),
    (rf"(?:every|each|on every|on each) (?P<days>{_DAY_SET})", _on_days),
    (rf"(?:on )?(?P<days>{_DAY_SET_PLURAL})", _on_days),
    (rf"(?:weekly|(?:every|each) week) on (?P<days>{_DAY_SET})", _on_days),
    (rf"(?:on )?(?:the )?(?P<days>{_NTH_LIST})(?: day)?{_OF_MONTH}", _monthly),
    (rf"(?:every|each) (?P<days>{_NTH_SUFFIXED})(?: day)?(?: of the month)?", _monthly),
    (rf"(?:(?:every|each) month|monthly) on (?:the )?(?P<days>{_NTH_LIST})", _monthly),
    (rf"every (?P<n>{_NUMBER}) months on the (?P<days>{_NTH_DAY})", _every_n_months),
    (rf"(?:on )?(?:the |every )?last day{_OF_MONTH}", _last_day),
    (r"(?:(?:every|each) month|monthly) on the last day", _last_day),
    (rf"(?:on )?(?:the |every |each )?(?P<nth>{_ORDINAL}) (?P<day>{_DAY}){_OF_MONTH}", _nth_weekday),
    (rf"(?:(?:every|each) month|monthly) on the (?P<nth>{_ORDINAL}) (?P<day>{_DAY})", _nth_weekday),
    (rf"(?:every|each) (?P<month>{_MONTH}) (?:the )?(?P<dom>{_NTH_DAY})", _yearly),
    (rf"(?:every|each) (?P<dom>{_NTH_SUFFIXED})(?: of)? (?P<month>{_MONTH})", _yearly),
    (rf"(?:yearly|annually|(?:every|each) year) on (?P<month>{_MONTH}) (?:the )?(?P<dom>{_NTH_DAY})", _yearly),
    (rf"(?:yearly|annually|(?:every|each) year) on (?:the )?(?P<dom>{_NTH_SUFFIXED})(?: of)? (?P<month>{_MONTH})", _yearly),
    (rf"in (?P<n>{_NUMBER}) ?(?P<unit>{_UNIT})", _in),
    (r"today|tomorrow", _today),
    (rf"(?P<which>next|on|this) (?P<day>{_DAY})", _coming_day),
    (r"on (?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})", _on_date),
)
