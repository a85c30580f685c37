"""On which lines the keys of a YAML text stand, so that a change leaves every other line as a person wrote it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from routinectl.core import document
from routinectl.core.document import Marks
from routinectl.core.problem import Path

_LINE = re.compile(r"[^\r\n\x85\u2028\u2029]*(?:\r\n|[\r\n\x85\u2028\u2029])|[^\r\n\x85\u2028\u2029]+$")  # as libyaml counts them
_NOTHING = re.compile(r"[ \t]*(#.*)?")


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a key and its value stand, lines counted from 0: what is `above` (comments on it), the key, the line after the end; and how far in."""

    above: int
    key: int
    end: int
    indent: int


def split(raw: bytes) -> list[str]:
    """Return the lines of a text, each with its end."""
    return _LINE.findall(raw.decode())


def spots(raw: bytes) -> dict[Path, Spot]:
    """Return the spot of every key that has its lines for itself: in block style, down to where something else begins."""
    lines, marks = split(raw), document.places(raw)
    found: dict[Path, Spot] = {}
    below: list[tuple[Path, Spot]] = [((), Spot(0, -1, len(lines), 0))]
    while below:
        path, whole = below.pop()
        for child, spot in _children(lines, marks, path, whole):
            found[child] = spot
            below.append((child, spot))
    return found


def _children(lines: list[str], marks: Marks, path: Path, whole: Spot) -> Iterator[tuple[Path, Spot]]:
    keys = sorted((place, child) for child, place in marks.items() if child[:-1] == path and child and isinstance(child[-1], str))
    starts = [line - 1 for (line, _), _ in keys]
    if not starts or len(set(starts)) != len(starts) or starts[0] == whole.key:
        return  # there are none, they are in flow style, or in an item of a list
    above = starts[0]
    for ((line, column), child), last in zip(keys, [*starts[1:], whole.end], strict=True):
        end = last
        while end > line and _NOTHING.fullmatch(lines[end - 1].rstrip("\r\n")):
            end -= 1
        yield child, Spot(above, line - 1, end, column - 1)
        above = end
