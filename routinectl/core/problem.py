"""One fault of a file: where it is, what was found, what is allowed, and what to paste instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault at `path` (keys and indexes from the root); line and column count from 1, 0 means the whole file."""

    message: str
    path: Path = ()
    hint: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    @property
    def where(self) -> str:
        """`file:line:column`, as far as it is known, so that an editor can jump there."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.file else self.message


def did_you_mean(found: str, allowed: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the closest allowed word, or an empty string when none is close."""
    words = list(allowed)
    close = difflib.get_close_matches(found, words, n=1, cutoff=0.6)
    if not close:
        folded = {word.casefold(): word for word in words}
        close = [folded[found.casefold()]] if found.casefold() in folded else []
    return f"did you mean '{close[0]}'?" if close else ""


def path_text(path: Path) -> str:
    """Return a path as people write it: `triggers[0].cron`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text
