"""When a schedule fires: for any text a person may write, for a trigger's object form, and for a routine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from routinectl.core import foreign
from routinectl.core.schedule import zone as zones
from routinectl.core.schedule.describe import describe_trigger
from routinectl.core.schedule.moment import parse_moment
from routinectl.core.schedule.next_time import Schedule, TimeTrigger
from routinectl.core.schedule.read import Reading, meaning_of, read_trigger
from routinectl.core.schedule.zone import Zone
from routinectl.core.units import from_epoch, to_epoch
from routinectl.errors import RoutinectlError, ScheduleError, UsageError

MOST = 10_000


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a preview takes where nothing is said: the zone, the instant, the limit of the workspace."""

    timezone: str
    now: datetime
    min_interval: int
    count: int = 5


def preview(
    schedule: str | Mapping[str, Any], defaults: Defaults, *, timezone: str | None, after: str | None, count: int | None
) -> dict[str, Any]:
    """Return what a schedule means and when it fires next. Raises ScheduleError as a definition would, UsageError else."""
    zone = zones.load(timezone or defaults.timezone)
    epoch = _after(after, zone, defaults.now)
    trigger = read_trigger(schedule, Reading(zone, epoch, defaults.min_interval))
    number = defaults.count if count is None else count
    if not 0 <= number <= MOST:
        raise UsageError(f"count is {number}; allowed is 0 to {MOST}", "--count 5")
    return {**meaning_of(trigger), "describe": describe_trigger(trigger), "next": fires(trigger, epoch, number)}


def fires(trigger: TimeTrigger, epoch: int, count: int) -> list[str]:
    """Return the next fires of a trigger as ISO 8601 in its zone."""
    slots = Schedule((trigger,)).upcoming(from_epoch(epoch), count)
    return [slot.astimezone(trigger.zone.info).isoformat() for slot in slots]


def _after(text: str | None, zone: Zone, now: datetime) -> int:
    if text is None:
        return to_epoch(now)
    try:
        return parse_moment(text, zone)
    except ScheduleError as error:
        raise UsageError(f"after: {error.message}", error.hint) from None


def answer(line: str, defaults: Defaults) -> dict[str, Any]:
    """Return the answer to one line of a batch; a fault is an answer too."""
    try:
        asked = foreign.parse(line)
        check_types(asked)
        schedule, count = asked["schedule"], asked.get("count")
        return preview(schedule, defaults, timezone=asked.get("timezone"), after=asked.get("after"), count=count)
    except RoutinectlError as error:
        return {"error": {"message": error.message, "hint": error.hint}}
    except ValueError as error:
        return {"error": {"message": f"not JSON: {error}", "hint": '{"schedule": "0 9 * * *"}'}}


def check_types(asked: object) -> None:
    """Raise UsageError or ScheduleError unless this is what may be asked, as JSON: a schedule, timezone, after, count."""
    if not isinstance(asked, dict) or "schedule" not in asked:
        raise UsageError("what is asked is a JSON object with a schedule", '{"schedule": "0 9 * * *"}')
    unknown = asked.keys() - {"schedule", "timezone", "after", "count"}
    if unknown:
        raise UsageError(f"unknown key '{min(unknown)}'", "schedule, timezone, after, count")
    count = asked.get("count")
    if not isinstance(asked["schedule"], (str, dict)):
        raise ScheduleError("schedule is text or a mapping", '{"schedule": "0 9 * * *"}')
    for key in ("timezone", "after"):
        if not isinstance(asked.get(key), (str, type(None))):
            raise UsageError(f"{key} is text", '{"timezone": "Europe/Berlin"}')
    if count is not None and (not isinstance(count, int) or isinstance(count, bool)):
        raise UsageError("count is a whole number", '{"count": 5}')
