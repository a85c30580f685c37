"""Laws of schedules, checked against a slow oracle that walks the clock minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from routinectl.core.schedule.cron import parse
from routinectl.core.schedule.interval import Interval
from routinectl.core.schedule.jitter import offset_of
from routinectl.core.schedule.moment import Moment
from routinectl.core.schedule.next_time import Schedule, TimeTrigger
from routinectl.core.schedule.read import Reading, read_trigger
from routinectl.core.schedule.zone import load
from routinectl.core.units import from_epoch
from routinectl.errors import ScheduleError

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "America/Havana",
    "Asia/Kathmandu",
    "Pacific/Apia",
]
# Weeks in which some zone changes its clock, and quiet ones.
STARTS = [
    "2024-03-08",
    "2024-03-30",
    "2024-10-05",
    "2024-10-26",
    "2024-11-02",
    "2024-04-06",
    "2024-02-27",
    "2024-12-30",
    "2024-07-01",
    "2011-12-28",
]


def field(low: int, high: int):
    value = st.integers(low, high)
    span = st.tuples(value, value).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(st.one_of(st.just("*"), span), st.integers(1, max(high - low, 1))).map(lambda pair: f"{pair[0]}/{pair[1]}")
    item = st.one_of(value.map(str), span, stepped)
    return st.one_of(st.just("*"), st.just("*"), item, st.lists(item, min_size=2, max_size=3).map(",".join))


CRONS = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)).map(" ".join)


def members(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for item in text.split(","):
        body, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if body == "*" else body).partition("-")
        top = int(last) if last else high if step else int(first)
        found |= set(range(int(first), top + 1, int(step or 1)))
    return found


def oracle(text: str, zone: str, start: datetime, days: int) -> list[datetime]:
    """Return the fires in (start, start + days] by looking at every minute of the wall clock, as cronie's page says."""
    minute, hour, dom, month, dow = text.split()
    minutes, hours, doms, months = members(minute, 0, 59), members(hour, 0, 23), members(dom, 1, 31), members(month, 1, 12)
    dows = members(dow, 0, 6)
    wildcard = minute.startswith("*") or hour.startswith("*")
    either = not dom.startswith("*") and not dow.startswith("*")

    def matches(wall: datetime) -> bool:
        in_dom, in_dow = wall.day in doms, (wall.isoweekday() % 7) in dows
        day = (in_dom or in_dow) if either else (in_dom and in_dow)
        return wall.minute in minutes and wall.hour in hours and wall.month in months and day

    info = ZoneInfo(zone)
    found: set[datetime] = set()
    instant = start - timedelta(days=2)
    end = start + timedelta(days=days)
    previous = instant.astimezone(info).replace(tzinfo=None)
    seen_until = previous
    while instant < end:
        instant += timedelta(minutes=1)
        wall = instant.astimezone(info).replace(tzinfo=None)
        gap = wall - previous - timedelta(minutes=1)
        if wildcard or abs(gap) >= timedelta(hours=3):
            seen_until = wall
            if matches(wall):
                found.add(instant)
        else:
            skipped, at = False, previous + timedelta(minutes=1)
            while gap > timedelta() and at < wall:
                skipped = skipped or matches(at)
                at += timedelta(minutes=1)
            if (wall > seen_until and matches(wall)) or skipped:
                found.add(instant)
            seen_until = max(seen_until, wall)
        previous = wall
    return sorted(fire for fire in found if start < fire <= end)


@settings(max_examples=120, deadline=None)
@given(CRONS, st.sampled_from(ZONES), st.sampled_from(STARTS), st.integers(0, 86399))
@example("30 2 * * *", "America/New_York", "2024-03-08", 0)
@example("*/20 1-2 * * *", "Australia/Lord_Howe", "2024-10-05", 0)
@example("0 0 * * *", "America/Havana", "2024-11-02", 0)
def test_fires_are_those_of_the_oracle(text, zone, day, second):
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00") + timedelta(seconds=second)
    schedule = Schedule((TimeTrigger(parse(text), load(zone), ""),))
    end = start + timedelta(days=3)
    expected = oracle(text, zone, start.replace(second=0), 3)
    expected = [fire for fire in expected if start < fire <= end]

    assert list(schedule.walk(start, end)) == expected
    assert schedule.count(start, end) == len(expected)
    assert schedule.last_n(start, end, 3) == expected[-3:]


RULES = st.one_of(
    CRONS.map(parse),
    st.tuples(st.integers(1, 10**6), st.integers(0, 2 * 10**9)).map(lambda pair: Interval(*pair)),
    st.integers(10**9, 2 * 10**9).map(Moment),
)
TRIGGERS = st.lists(
    st.tuples(RULES, st.sampled_from(ZONES)).map(lambda pair: TimeTrigger(pair[0], load(pair[1]), "")), min_size=1, max_size=3
)
INSTANTS = st.integers(1_000_000_000, 2_000_000_000).map(from_epoch)


@settings(max_examples=200, deadline=None)
@given(TRIGGERS, INSTANTS)
def test_next_is_strictly_increasing_and_restarting_anywhere_goes_on_the_same(triggers, start):
    schedule = Schedule(tuple(triggers))
    fires = schedule.upcoming(start, 8)

    assert all(earlier < later for earlier, later in zip([start, *fires], fires, strict=False))
    for index in range(1, len(fires)):
        between = fires[index - 1] + (fires[index] - fires[index - 1]) / 2
        assert schedule.upcoming(between.replace(microsecond=0), 2)[: len(fires) - index][:1] == fires[index : index + 1]


@settings(max_examples=200, deadline=None)
@given(TRIGGERS, INSTANTS)
def test_next_and_previous_are_inverse(triggers, start):
    schedule = Schedule(tuple(triggers))
    fires = schedule.upcoming(start, 5)
    assume(len(fires) > 1)

    assert [schedule.previous(later) for later in fires[1:]] == fires[:-1]
    assert schedule.count(fires[0], fires[-1]) == len(fires) - 1


@settings(max_examples=100, deadline=None)
@given(TRIGGERS, INSTANTS, st.integers(1, 10**6), st.integers(1, 10**6))
def test_bounds_only_take_away(triggers, start, low, span):
    begin, end = int(start.timestamp()) + low, int(start.timestamp()) + low + span
    free, bounded = Schedule(tuple(triggers)), Schedule(tuple(triggers), begin, end)
    inside = [fire for fire in free.upcoming(from_epoch(begin - 1), 20) if fire < from_epoch(end)]

    assert bounded.upcoming(start, 20)[: len(inside)] == inside
    assert all(from_epoch(begin) <= fire < from_epoch(end) for fire in bounded.upcoming(start, 20))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 23), st.integers(0, 59), st.sampled_from(ZONES), st.integers(2005, 2035))
def test_a_change_of_the_clock_neither_loses_nor_doubles_a_daily_slot(hour, minute, zone, year):
    """One fire for every date of the zone (Samoa skipped one date as a whole)."""
    schedule = Schedule((TimeTrigger(parse(f"{minute} {hour} * * *"), load(zone), ""),))
    start, end = datetime(year, 1, 1, 12, tzinfo=UTC), datetime(year, 12, 30, 12, tzinfo=UTC)
    count = schedule.count(start, end)

    assert abs(count - (end - start).days) <= (1 if zone == "Pacific/Apia" and year == 2011 else 0), count


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
@example("* * * * *\n")
@example("*/0 * * * *")
@example("every 99999999999999 weeks")
@example("２ * * * *")
@example("at 25 o'clock")
def test_any_text_is_read_or_refused_with_a_reason(text):
    reading = Reading(load("Europe/Berlin"), 1_750_000_000, 1)
    try:
        trigger = read_trigger(text, reading)
    except ScheduleError as error:
        assert error.message
        return
    assert Schedule((trigger,)).next_after(from_epoch(reading.now)) is not None


def test_jitter_is_stable_and_below_its_limit():
    offsets = {offset_of(name, ["cron 0 9 * * *"], timedelta(minutes=2)) for name in map(str, range(50))}

    assert len(offsets) > 20
    assert all(timedelta() <= offset < timedelta(minutes=2) for offset in offsets)
    assert offset_of("a", ["x"], timedelta(minutes=2)) == offset_of("a", ["x"], timedelta(minutes=2))
    assert offset_of("a", ["x"], timedelta()) == timedelta()


@pytest.mark.parametrize("years", [1, 40])
def test_a_long_downtime_is_counted_and_not_walked(years):
    schedule = Schedule((TimeTrigger(parse("* * * * *"), load("Europe/Berlin"), ""),))
    start = datetime(2000, 1, 1, tzinfo=UTC)
    end = start.replace(year=2000 + years)

    assert schedule.count(start, end) == (end - start).total_seconds() // 60
    assert schedule.last_n(start, end, 2) == [end - timedelta(minutes=1), end]
