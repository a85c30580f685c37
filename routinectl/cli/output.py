"""How answers look: tables and JSON on standard output, talk and errors on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from routinectl.cli import context
from routinectl.core.units import format_duration, from_iso
from routinectl.errors import DefinitionError, RoutinectlError

ENVELOPE = 1
_COLOURS = {"red": "31", "green": "32", "yellow": "33", "grey": "90", "cyan": "36", "bold": "1"}
_OF_OUTCOME = {"succeeded": "green", "quiet": "green", "active": "green", "failed": "red", "timed_out": "red", "invalid": "red",
               "interrupted": "red", "not_started": "red", "missed": "yellow", "skipped": "yellow", "held": "yellow",
               "paused": "yellow", "cancelled": "yellow", "disabled": "grey", "completed": "grey"}  # fmt: skip


def say(text: str, end: str = "\n") -> None:
    """Talk to a person: standard error, so that it never mixes with data. Where nobody listens, what was asked is done all the same."""
    try:
        print(text, end=end, file=sys.stderr, flush=True)
    except OSError:
        forget(sys.stderr)


def forget(stream: TextIO) -> None:
    """Write what is still to be flushed to nowhere, so that the interpreter does not complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def write(text: str) -> None:
    """Write data."""
    print(text)


def data(kind: str, value: Any) -> None:
    """Write data for tools: one JSON object with a version, the kind and the data."""
    print(json.dumps({"schema": ENVELOPE, "kind": kind, "data": value}, ensure_ascii=False, indent=2))


def line(value: Mapping[str, Any]) -> None:
    """Write one line of JSON."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def table(rows: Iterable[Sequence[Any]], headers: Sequence[str]) -> None:
    """Write a table for people."""
    from tabulate import tabulate

    print(tabulate([[str(cell) if cell is not None else "-" for cell in row] for row in rows], headers=headers,
                   tablefmt="plain", disable_numparse=True))  # fmt: skip


def columns(rows: Iterable[Sequence[str]], headers: Sequence[str]) -> None:
    """Write a long table with the same look, without tabulate, whose import and care a list of thousands would feel.

    Colours do not count as width.
    """
    lines = [list(headers), *(list(row) for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    for cells in lines:
        padded = [cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)]
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _width(cell: str) -> int:
    if "\x1b" not in cell:
        return len(cell)
    return sum(len(part.partition("m")[2]) if index else len(part) for index, part in enumerate(cell.split("\x1b[")))


def paint(text: str, colour: str, stream: Any = None) -> str:
    """Return text in a colour, where that may be."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if context.colours(stream) else text


def word(text: str, stream: Any = None) -> str:
    """Return a status or outcome in its colour."""
    return paint(text, _OF_OUTCOME[text], stream) if text in _OF_OUTCOME else text


def safe(text: str) -> str:
    """Return text without control characters: names and messages are data, and may try to play with the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def instant(text: str | None, zone: str = "UTC", now: datetime | None = None) -> str:
    """Return an instant in its zone, named, and how far away it is."""
    if not text:
        return "-"
    moment = from_iso(text)
    local = moment.astimezone(ZoneInfo(zone or "UTC"))
    shown = f"{local:%Y-%m-%d %H:%M:%S}" if local.second else f"{local:%Y-%m-%d %H:%M}"
    name = local.tzname() or ""
    if name[:1] in "+-" or not name:
        name = zone
    return f"{shown} {name}" + (f" ({distance(moment, now)})" if now else "")


def with_zone(words: str, zone: str) -> str:
    """Return a schedule in words with its zone, once."""
    return words if f"({zone})" in words else f"{words} ({zone})"


def distance(moment: datetime, now: datetime) -> str:
    """Return how far an instant is from now, in words: `in 3h`, `2d ago`."""
    seconds = (moment - now).total_seconds()
    size = abs(seconds)
    step = 86400 if size >= 10 * 86400 else 3600 if size >= 36 * 3600 else 60 if size >= 3600 else 1
    text = format_duration(size // step * step) if size >= 1 else "0s"
    return f"in {text}" if seconds > 0 else f"{text} ago"


def error(problem: RoutinectlError) -> None:
    """Write an error as every error looks: what and where, then something to paste."""
    head = paint("Error", "red", sys.stderr)
    problems = problem.problems if isinstance(problem, DefinitionError) else ()
    if problems:
        for item in problems:
            say(f"{head}: {safe(item.message)}" + (f" ({item.where})" if item.where else ""))
            if item.hint:
                say(f"Hint: {safe(item.hint)}")
        return
    say(f"{head}: {safe(problem.message)}")
    if problem.hint:
        say(f"Hint: {safe(problem.hint)}")
