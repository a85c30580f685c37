"""Durations, sizes and instants as text, in both directions.

A duration is a number with a unit (`90s`, `5m`, `2h`, `1d12h`, `2 hours`); a size is bytes or `512MiB`/`10MB`;
an instant is ISO 8601 in UTC with a `Z`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = timedelta(days=3660)

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_UNIT_WORDS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
    "w": ("w", "wk", "wks", "week", "weeks"),
}
UNITS = {word: unit for unit, words in _UNIT_WORDS.items() for word in words}
_PART = re.compile(r"([0-9]{1,12})[ ]*([a-z]+)", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,15})[ ]*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB|K|M|G)?", re.ASCII)
_SIZE_UNITS = {
    "B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4,
    "K": 1024, "M": 1024**2, "G": 1024**3,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4,
}  # fmt: skip


def parse_duration(text: str) -> timedelta:
    """Return the duration a person wrote (`90m`, `1d12h`, `2 hours`, `0`).

    Raises ValueError, naming what is wrong: no unit, an unknown unit, a part out of place, or more than ten years.
    """
    cleaned = text.strip().lower()
    if not cleaned:
        raise ValueError("an empty duration; write a number and a unit, such as 90m")
    if cleaned == "0":
        return timedelta()
    seconds, position = 0, 0
    for part in _PART.finditer(cleaned):
        if cleaned[position : part.start()].strip():
            break
        unit = UNITS.get(part[2])
        if unit is None:
            raise ValueError(f"'{part[2]}' is not a unit of time; the units are s, m, h, d, w")
        seconds += int(part[1]) * _SECONDS[unit]
        position = part.end()
    if position == 0 or cleaned[position:].strip():
        raise ValueError(f"'{text.strip()}' is not a duration; write whole numbers with units, such as 90m or 1d12h")
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"'{text.strip()}' is longer than ten years")
    return timedelta(seconds=seconds)


def format_duration(value: timedelta | float) -> str:
    """Return the shortest exact spelling (`1d12h`, `90s` as `1m30s`, `0s`); parts of a second are rounded off."""
    left = round(value.total_seconds() if isinstance(value, timedelta) else value)
    sign = "-" if left < 0 else ""
    left, text = abs(left), ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            text += f"{count}{unit}"
    return sign + (text or "0s")


def duration_words(seconds: int) -> str:
    """Return an interval as people say it: `90 minutes`, `2 hours`, `1 day 12 hours`."""
    for size, word in ((604800, "week"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        count, rest = divmod(seconds, size)
        if count and not rest:
            return f"{count} {word}{'s' if count > 1 else ''}"
        if count and size == 3600 and rest % 60 == 0 and seconds < 6 * 3600:
            return f"{seconds // 60} minutes"
        if count and size > 1:
            return f"{count} {word}{'s' if count > 1 else ''} {duration_words(rest)}"
    return "0 seconds"


def format_size(count: int) -> str:
    """Return bytes as `parse_size` reads them, in the largest unit that leaves a whole number (`2KiB`, `1500`)."""
    unit = next((unit for unit in ("TiB", "GiB", "MiB", "KiB") if count and count % _SIZE_UNITS[unit] == 0), "")
    return f"{count // _SIZE_UNITS[unit]}{unit}" if unit else str(count)


def parse_size(text: str | int) -> int:
    """Return a size in bytes (`512MiB`, `10MB`, `4096`). Raises ValueError when it is not one."""
    if isinstance(text, int):
        return text
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a size; write bytes or a number with a unit, such as 10MiB")
    return int(match[1]) * _SIZE_UNITS[match[2] or "B"]


def to_iso(instant: datetime) -> str:
    """Return an aware instant in UTC with a `Z`; microseconds only where there are some."""
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    return instant.isoformat()[:-6] + "Z"


def from_iso(text: str) -> datetime:
    """Return the aware UTC instant of a text that `to_iso` (or another ISO 8601 writer) made."""
    return datetime.fromisoformat(text).astimezone(UTC)


def from_epoch(seconds: float) -> datetime:
    """Return the aware UTC instant of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def to_epoch(instant: datetime) -> int:
    """Return whole seconds since 1970, rounded down: a fire is after `instant` exactly if it is after this."""
    delta = instant - EPOCH
    return delta.days * 86400 + delta.seconds
