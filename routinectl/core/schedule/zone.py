"""IANA time zones as stretches of constant offset.

All the rules about clock changes are stated on these stretches, so that none of them needs to ask a library what a
local time "means" while the clock is being changed. Everything here is in whole seconds since 1970 (UTC).
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from routinectl.core.problem import did_you_mean
from routinectl.errors import ZoneError

CORRECTION = 3 * 3600  # a jump of three hours or more is a correction of the clock, not daylight saving (cronie)
FIRST_YEAR, LAST_YEAR = 1970, 9000
_DAY = 86400
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", re.ASCII)
_NOT_ZONES = frozenset({"localtime", "posixrules", "Factory", "leapseconds", "tzdata.zi", "zone.tab"})


@dataclass(frozen=True, slots=True)
class Stretch:
    """Instants in [start, end) that share one UTC offset.

    `gap_from` is the local second at which the clock jumped forward at `start` (the local times from there to
    `start + offset` were skipped); `seen_until` is the local second up to which local times at the beginning of this
    stretch had already passed before the clock went back. Both are None where there is nothing to make up for.
    """

    start: int
    end: int
    offset: int
    gap_from: int | None = None
    seen_until: int | None = None


class Zone:
    """A time zone by its IANA name; make one with `load`."""

    def __init__(self, name: str, info: zoneinfo.ZoneInfo) -> None:
        self.name = name
        self.info = info
        self._years: dict[int, tuple[Stretch, ...]] = {}

    def __repr__(self) -> str:
        return f"Zone({self.name!r})"

    def offset_at(self, epoch: int) -> int:
        """Return the UTC offset in seconds that is in force at an instant."""
        delta = datetime.fromtimestamp(epoch, self.info).utcoffset()
        return 0 if delta is None else delta.days * _DAY + delta.seconds

    def stretches(self, year: int) -> tuple[Stretch, ...]:
        """Return the stretches of one UTC year, in order; they are clipped at its ends."""
        known = self._years.get(year)
        if known is None:
            known = self._years[year] = self._find(year)
        return known

    def forward(self, epoch: int) -> Iterator[Stretch]:
        """Yield the stretch that holds an instant, then the following ones."""
        for year in range(max(_year_of(epoch), FIRST_YEAR), LAST_YEAR):
            for stretch in self.stretches(year):
                if stretch.end > epoch:
                    yield stretch

    def backward(self, epoch: int) -> Iterator[Stretch]:
        """Yield the stretch that holds an instant, then the earlier ones."""
        for year in range(min(_year_of(epoch), LAST_YEAR), FIRST_YEAR - 1, -1):
            for stretch in reversed(self.stretches(year)):
                if stretch.start <= epoch:
                    yield stretch

    def _find(self, year: int) -> tuple[Stretch, ...]:
        """Find the changes of offset in a year by daily probes, then exactly by halving.

        No zone has changed its offset twice within a day since 1970 (a test looks at all of them). The hours before
        the year are probed too, for the local times that a change just before it made ambiguous.
        """
        first, last = _year_start(year), _year_start(year + 1)
        changes: list[tuple[int, int, int]] = []
        probe = max(first - CORRECTION, 0)
        before = self.offset_at(probe)
        while probe < last:
            following = min(probe + _DAY, last) if probe >= first else first
            after = self.offset_at(following)
            if after != before:
                changes.append((self._halve(probe, following, before), before, after))
                before = after
            probe = following
        stretches: list[Stretch] = []
        start, offset = first, self.offset_at(first)
        gap_from = seen_until = None
        for at, old, new in changes:
            if at > first and at < last:
                stretches.append(Stretch(start, at, offset, gap_from, seen_until))
            if at >= last:
                break
            gap_from = at + old if 0 < new - old < CORRECTION and at >= first else None
            seen_until = at + old if 0 < old - new < CORRECTION else None
            start, offset = max(at, first), new
        stretches.append(Stretch(start, last, offset, gap_from, seen_until))
        return tuple(stretches)

    def _halve(self, low: int, high: int, before: int) -> int:
        while high - low > 1:
            middle = (low + high) // 2
            if self.offset_at(middle) == before:
                low = middle
            else:
                high = middle
        return high


def _year_of(epoch: int) -> int:
    return datetime.fromtimestamp(epoch, UTC).year


@lru_cache(maxsize=512)
def _year_start(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())


@lru_cache(maxsize=256)
def load(name: str) -> Zone:
    """Return the zone of an IANA name.

    Raises ScheduleError for a name that is unknown, is only a region, or is one of the files that `zoneinfo` would
    load as if it were a zone (`localtime`, `posixrules`, `Factory`, `right/...`).
    """
    if name in _NOT_ZONES or name.startswith(("right/", "posix/")) or not _NAME.fullmatch(name):
        raise _unknown(name)
    try:
        return Zone(name, zoneinfo.ZoneInfo(name))
    except (KeyError, ValueError, OSError):
        raise _unknown(name) from None


def _unknown(name: str) -> ZoneError:
    known = zoneinfo.available_timezones() - _NOT_ZONES
    if not known:
        return ZoneError(
            f"time zone '{name}' cannot be found: this system has no time zone data",
            "python3 -m pip install tzdata",
        )
    lasts = {zone.rpartition("/")[2]: zone for zone in sorted(known)}
    guess = did_you_mean(name, known) or did_you_mean(lasts.get(name.strip().title().replace(" ", "_"), ""), known)
    return ZoneError(
        f"time zone '{name}' is not an IANA name",
        guess or "use a name such as Europe/Berlin or UTC; `timedatectl list-timezones` prints them all",
    )
