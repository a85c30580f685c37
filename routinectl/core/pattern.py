"""Patterns over messages and notices, on RE2: time linear in the text whatever the pattern, and all patterns of a channel in one pass.

RE2 has no lookaround and no backreferences: that is the price of never stalling (DESIGN 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from routinectl.errors import DefinitionError

NEEDED = "pip install 'routinectl[messages]'"
_MEMORY = 64 << 20  # bytes for the automaton of a channel's patterns; RE2 slows down rather than take more


def _re2() -> Any:
    try:
        import re2
    except ImportError:
        raise DefinitionError("patterns over messages and notices need google-re2, which is not installed", NEEDED) from None
    return re2


def _options() -> Any:
    options = _re2().Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    return options


def check(pattern: str) -> str:
    """Return what is wrong with a pattern, in words; empty when RE2 can read it. Raises DefinitionError without RE2."""
    re2 = _re2()
    try:
        re2.compile(pattern, _options())
    except re2.error as error:
        text = error.args[0] if error.args else "it cannot be read"
        return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return ""


class Patterns:
    """Several patterns over the same texts. An empty pattern finds itself in every text."""

    def __init__(self, patterns: Sequence[str]) -> None:
        re2 = _re2()
        self._sources = list(patterns)
        self._set = re2.Set.SearchSet(_options())
        try:
            for pattern in self._sources:
                self._set.Add(pattern)
            self._set.Compile()
        except re2.error:
            self._set = None  # together they are too large: one after another, then

    def matching(self, text: str) -> list[int]:
        """Return the numbers of the patterns found in a text, in order."""
        if self._set is None:
            re2, options = _re2(), _options()
            return [number for number, pattern in enumerate(self._sources) if re2.search(pattern, text, options)]
        return sorted(self._set.Match(text) or ())

    def groups(self, number: int, text: str) -> dict[str, str]:
        """Return the named groups of the first place where a pattern is found; groups without a part in it are left out."""
        found = _re2().search(self._sources[number], text, _options())
        return {name: value for name, value in found.groupdict().items() if value is not None} if found else {}
