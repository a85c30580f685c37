"""What a run must bring to count as succeeded, beyond an exit code of 0.

The engine gathers what is to be seen of an ended run (`Evidence`); `unmet` says, in words and with the value found, the
first expectation that it does not meet. A run that ended with an unexpected code, or was stopped, is not asked further.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from routinectl.core.units import format_duration, parse_duration, parse_size, to_iso

_DURATION = re.compile(r"\s*(<|<=|>|>=)\s*([0-9].*)")
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """A file that must be there: newer than the run's slot or start, and of a size. `path` as in the definition."""

    path: str
    newer_than: str = ""
    min_size: int = 0


@dataclass(frozen=True, slots=True)
class Judge:
    """A second command that judges the result: its exit code 0 is a yes."""

    argv: tuple[str, ...]
    timeout: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Expect:
    """The expectations of a definition. `duration` is (operator, limit)."""

    exit_codes: frozenset[int] = frozenset({0})
    output: str = ""
    output_not: str = ""
    file: ExpectedFile | None = None
    duration: tuple[str, timedelta] | None = None
    judge: Judge | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is seen of an ended run. A match is the text found, None where nothing was asked or nothing found."""

    exit_code: int | None
    output_match: str | None = None
    output_not_match: str | None = None
    file_size: int | None = None
    file_changed: datetime | None = None
    reference: datetime | None = None
    took: timedelta = timedelta()
    judge_status: int | None = None
    judge_said: str = ""


NOTHING = Expect()


def read(doc: Mapping[str, Any]) -> Expect:
    """Return the expectations of a definition. Raises ValueError for what cannot be read, re.error for a bad pattern."""
    file = doc.get("file")
    duration = doc.get("duration")
    found = _DURATION.fullmatch(duration) if duration is not None else None
    if duration is not None and found is None:
        raise ValueError(f"duration '{duration}' is no comparison; write such as '< 10m'")
    command = doc.get("command")
    if isinstance(command, Mapping):
        judge: Judge | None = Judge(_words(command["run"]), parse_duration(command.get("timeout", "1m")))
    else:
        judge = Judge(_words(command)) if command is not None else None
    return Expect(
        frozenset(doc.get("exit_codes", (0,))),
        _pattern(doc.get("output", "")),
        _pattern(doc.get("output_not", "")),
        ExpectedFile(file["path"], file.get("newer_than", ""), parse_size(file.get("min_size", 0))) if file else None,
        (found[1], parse_duration(found[2])) if found else None,
        judge,
    )


def _words(command: str | list[str]) -> tuple[str, ...]:
    return ("/bin/sh", "-c", command) if isinstance(command, str) else tuple(command)


def _pattern(text: str) -> str:
    """Return a pattern without the slashes that people may put around it. Raises re.error."""
    pattern = text[1:-1] if len(text) > 1 and text.startswith("/") and text.endswith("/") else text
    re.compile(pattern)
    return pattern


def unmet(expect: Expect, seen: Evidence) -> str:
    """Return what is not as expected, empty when everything is."""
    if seen.exit_code not in expect.exit_codes:
        return f"exit code {seen.exit_code}, expected {' or '.join(map(str, sorted(expect.exit_codes)))}"
    if expect.output and seen.output_match is None:
        return f"nothing in the output matches /{expect.output}/"
    if expect.output_not and seen.output_not_match is not None:
        return f"the output has '{seen.output_not_match[:_SHOWN]}', which /{expect.output_not}/ forbids"
    return _file(expect.file, seen) or _duration(expect.duration, seen.took) or _judged(expect.judge, seen)


def _file(expected: ExpectedFile | None, seen: Evidence) -> str:
    if expected is None:
        return ""
    if seen.file_size is None:
        return f"the file {expected.path} is not there"
    if seen.file_size < expected.min_size:
        return f"the file {expected.path} has {seen.file_size} bytes, expected are at least {expected.min_size}"
    if expected.newer_than and seen.reference is not None and seen.file_changed is not None and seen.file_changed < seen.reference:
        when = to_iso(seen.file_changed.replace(microsecond=0))
        return f"the file {expected.path} was last changed at {when}, before the {expected.newer_than} ({to_iso(seen.reference)})"
    return ""


def _duration(expected: tuple[str, timedelta] | None, took: timedelta) -> str:
    if expected is None:
        return ""
    operator, limit = expected
    good = {"<": took < limit, "<=": took <= limit, ">": took > limit, ">=": took >= limit}[operator]
    return "" if good else f"it took {took.total_seconds():.1f}s, expected is {operator} {format_duration(limit)}"


def _judged(judge: Judge | None, seen: Evidence) -> str:
    if judge is None or seen.judge_status == 0:
        return ""
    if seen.judge_status is None:
        return f"'{' '.join(judge.argv)[:_SHOWN]}' could not judge it{': ' + seen.judge_said if seen.judge_said else ''}"
    number = seen.judge_status & 0x7F
    how = f"ended by signal {number}" if number else f"exited with {seen.judge_status >> 8}"
    return f"'{' '.join(judge.argv)[-_SHOWN:]}' {how}{': ' + seen.judge_said if seen.judge_said else ''}"
