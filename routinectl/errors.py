"""Every error a person can meet.

    RoutinectlError                 exit 1    an operation failed, or a check found something
    ├── CannotSayError              exit 1    another system has no words for what a routine does
    ├── UsageError                  exit 2    the request itself makes no sense
    │   └── ExistsError             exit 2    there is one of that id or name already
    ├── NotFoundError               exit 3    no such routine, run or file
    ├── BusyError                   exit 75   somebody else holds it; try later
    ├── DeniedError                 exit 77   not allowed, or an approval is needed
    ├── DefinitionError             exit 78   a definition or a setting is wrong (all its faults at once)
    │   ├── UnreadableError         exit 78   a definition that the system does not let us read, for now
    │   └── ScheduleError           exit 78   a time expression that cannot be read or never fires
    │       └── ZoneError           exit 78   its time zone is none
    └── DeadlineError               exit 124  it took too long

An error says what and where, and may carry a hint: something to paste. The exit codes are sysexits where one fits
(`routinectl-exit-codes(7)`). Errors never end with a full stop after an id, so a double click copies the id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from routinectl.core.problem import Problem


def in_words(error: OSError) -> str:
    """Return what the system says of a path, for people: `PATH: what is wrong`, without a number."""
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error.strerror or str(error)


class RoutinectlError(Exception):
    """An operation failed. `hint` is something to paste, or empty."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class CannotSayError(RoutinectlError):
    """Another system has no words for what a routine does, or would take them otherwise; `path` is the part of its definition."""

    path: tuple[str | int, ...] = ()


class UsageError(RoutinectlError):
    """The request itself makes no sense: wrong options, or options that exclude each other."""

    exit_code = 2


class ExistsError(UsageError):
    """There is one of that id or name already."""


class NotFoundError(RoutinectlError):
    """There is no such routine, run or file."""

    exit_code = 3


class BusyError(RoutinectlError):
    """Somebody else holds what is needed; the same command may work later."""

    exit_code = 75


class DeniedError(RoutinectlError):
    """A rule does not allow it, or a person must approve it first."""

    exit_code = 77


class DefinitionError(RoutinectlError):
    """A definition or a setting is wrong; `problems` names every fault with its place, `sources` files that may mend it."""

    exit_code = 78

    def __init__(self, message: str, hint: str = "", problems: Sequence[Problem] = (), sources: Sequence[str] = ()) -> None:
        super().__init__(message, hint)
        self.problems = tuple(problems)
        self.sources = tuple(sources)


class UnreadableError(DefinitionError):
    """The system does not let us read a definition; that may pass while the file stays as it is."""


class ScheduleError(DefinitionError):
    """A time expression cannot be read, never fires, or fires too often."""


class ZoneError(ScheduleError):
    """A time zone is none, or this system has no data of it."""


class DeadlineError(RoutinectlError):
    """What was waited for did not happen in the time given."""

    exit_code = 124
