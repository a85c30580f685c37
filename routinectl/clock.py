"""The only reader of time, and the only sleeper.

`now` is the wall clock, aware and in UTC: slots are measured against it. `boot` counts seconds since the machine
started, time asleep included: deadlines are measured against it, because nobody can set it. `awake` stands still while
the machine sleeps; the difference between the two says how long it slept.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_MOST_OF_SELECT = 1024
_TIMEX_BYTES = 256  # more than struct timex has on any Linux
_TIME_ERROR = 5  # what adjtimex answers when nothing keeps the clock
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # macOS: its monotonic clock counts sleep already


def now() -> datetime:
    """Return the wall clock as an aware UTC instant."""
    return datetime.now(UTC)


def boot() -> float:
    """Return seconds since the machine started, time asleep included."""
    return time.clock_gettime(_BOOT)


def awake() -> float:
    """Return seconds on a clock that nobody can set and that stands still in sleep."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def pause(seconds: float) -> None:
    """Sleep in a command that waits for somebody else (never in the daemon, which waits for its wakes)."""
    select.select([], [], [], seconds)


def wait(fds: Sequence[int], seconds: float) -> list[int]:
    """Sleep until one of these descriptors can be read, at most so long; return those that can.

    select sleeps to the microsecond where poll rounds up to whole milliseconds; poll takes descriptors that select cannot.
    """
    if max(fds) < _MOST_OF_SELECT:
        return select.select(fds, [], [], seconds)[0]
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(seconds * 1000)]


def synchronised() -> bool:
    """Say whether the kernel knows that a time service keeps this clock (Linux; elsewhere False).

    Setting the clock by hand clears that, and a time service sets it again once it has corrected the clock: adjtimex(2).
    """
    import ctypes

    try:
        return ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)) in range(_TIME_ERROR)
    except (OSError, AttributeError):
        return False


@dataclass(frozen=True, slots=True)
class Reading:
    """The three clocks, read together."""

    wall: datetime
    boot: float
    awake: float


def read() -> Reading:
    """Return the three clocks as of now."""
    return Reading(now(), boot(), awake())


@dataclass(frozen=True, slots=True)
class Jump:
    """What happened to the wall clock between two readings: a step in seconds, and seconds asleep."""

    step: float
    asleep: float


def compare(before: Reading, after: Reading) -> Jump:
    """Return how far the wall clock moved against the boot clock, and how long the machine slept."""
    elapsed = after.boot - before.boot
    return Jump((after.wall - before.wall).total_seconds() - elapsed, elapsed - (after.awake - before.awake))
