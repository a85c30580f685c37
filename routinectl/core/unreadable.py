"""Why a text is not YAML, said from the text around the place where the reader gave up.

Nothing here hangs on the words of a library: they differ between libyaml, PyYAML's own reader and their versions. Only
the two places that they all give are used: where the reader stopped, and where what it was reading begins. What cannot
be recognised is told in the reader's words, with a hint that is true of every such fault.
"""

from __future__ import annotations

import re
from typing import NamedTuple

NOT_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PAIRS = {"[": "]", "{": "}"}
_BEGINS = {"*": "an alias", "&": "an anchor", "!": "a tag"}
_RULES = "every [ needs its ], every { its }, every quote its second one; keys of one block stand in one column"


class Told(NamedTuple):
    """A fault in words, with what would mend it, and the index of the character where it is."""

    message: str
    hint: str
    at: int


def tell(text: str, index: int, began: int | None, words: str) -> Told:
    """Return what is wrong at `index`, where the reader stopped; `began` is where what it was reading began."""
    page = _Page(text, index, began)
    if page.here == "\t" or (not page.before.strip() and "\t" in page.before):
        return Told("a tab where YAML wants spaces", "indent with spaces", index)
    for look in (_quote, _sign, _open, _colon, _missing_colon, _stray, _after_the_end, _column):
        found = look(page)
        if found:
            message, hint, *at = found
            return Told(f"not YAML: {message}", hint, at[0] if at else index)
    return Told(f"not YAML: {words}", _RULES, index)


class _Page:
    """The text, and the line where the reader stopped, cut there."""

    def __init__(self, text: str, index: int, began: int | None) -> None:
        self.text, self.index = text, index
        self.began = index if began is None else began
        self.first = _line_start(text, index)
        self.before, self.line = text[self.first : index], _line(text, index)
        self.here, self.start = text[index : index + 1], text[self.began : self.began + 1]
        self.at_the_end = not text[index:].strip()

    def place(self, index: int) -> str:
        """Return line and column as errors write them."""
        return f"{self.text.count(chr(10), 0, index) + 1}:{index - _line_start(self.text, index) + 1}"


_Found = tuple[str, str] | tuple[str, str, int] | None


def _quote(page: _Page) -> _Found:
    if page.start not in ("'", '"') or page.began == page.index:
        return None
    escape = page.text.rfind("\\", max(page.began, page.index - 10), page.index + 1)  # readers stop in it, or up to 10 characters later
    if page.start == '"' and escape >= 0:
        return (
            f"{page.text[escape : escape + 2]} means nothing here",
            "between single quotes a \\ is itself; between double ones it is \\\\",
            escape,
        )
    return f"the {page.start} of {page.place(page.began)} has no second one", f"end it with {page.start}"


def _sign(page: _Page) -> _Found:
    """A sign that means something to YAML at the beginning of a text, and was meant as itself."""
    for at in (page.began, page.index, page.index - 1):
        sign = page.text[at : at + 1]
        if not sign or at < page.first or not _stands_alone(page.text, at):
            continue
        hint = f"quote it: {_quoted(page.text, at)}"
        if sign in "@`%":
            return f"no text begins with {sign} unless it is quoted", hint
        if sign in _BEGINS:
            return f"an unquoted {sign} begins {_BEGINS[sign]}", hint
        if sign in "|>" and page.index > at:
            return f"after {sign} a text begins on the next line", f"begin it there, or {hint}"
    return None


def _open(page: _Page) -> _Found:
    """A list or mapping in brackets: never closed, or without a comma."""
    if page.start not in _PAIRS or page.began == page.index:
        return None
    close, where = _PAIRS[page.start], page.place(page.began)
    if page.at_the_end:
        return f"the {page.start} of {where} has no {close}", f"end it with {close}"
    hint = f"between two items stands a comma, after the last one {close}; quote a text that holds , : [ ] {{ or }}"
    return f"the {page.start} of {where} wants a comma or its {close} here", hint


def _colon(page: _Page) -> _Found:
    if page.here != ":":
        return None
    key = re.match(r"(?:- +)*(?:[^\s#'\"][^:]*?|\"[^\"]*\"|'[^']*'): +", page.line.strip())
    value = page.first + len(page.line) - len(page.line.lstrip()) + key.end() if key else page.index
    if value < page.index:
        return "a second ': ' in one line", f"quote the text after the first one: {_quoted(page.text, value)}"
    above = [line for line in page.text[: page.first].splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if above and page.index - page.first < 1024:  # longer ones are no keys, wherever they stand
        hint = "write `key: value` on every line, keys of one block in one column; quote a text of several lines"
        return f"'{page.before.strip()[:60]}:' goes on with the text above it, '{above[-1].strip()[:60]}'", hint
    return None


def _missing_colon(page: _Page) -> _Found:
    """A line that should be a key: what was read began on an earlier line, as a text without `: `."""
    word = _line(page.text, page.began)[page.began - _line_start(page.text, page.began) :].strip()
    if page.began >= page.first or page.start in "[{'\"-" or re.search(r":(\s|$)", word):
        return None
    return f"'{word[:60]}' is no `key: value`", "a key ends with a colon and a blank, `key: value`", page.began


def _stray(page: _Page) -> _Found:
    if page.here and page.here in "]},":
        if page.before.rstrip().endswith((":", "-")):
            return f"no text begins with {page.here} unless it is quoted", f"quote it: {_quoted(page.text, page.index)}"
        return f"this {page.here} belongs to nothing", "remove it, or quote the text that holds it"
    return None


def _after_the_end(page: _Page) -> _Found:
    """Text after the quote or bracket that ends a value."""
    said = page.before.rstrip()
    if not said or said[-1] not in "'\"]}" or not page.here.strip():
        return None
    key = re.match(r"(\s*(?:- +)*(?:[^\s'\"\[{][^:]*: +)?)", page.before)
    start = page.first + (key.end() if key else 0)
    return f"the text ends with {said[-1]}, and goes on", f"quote the whole of it: {_quoted(page.text, start)}"


def _column(page: _Page) -> _Found:
    if page.here == "-" and page.before.strip():
        return "a list begins on a line of its own", f"quote it, if it is a text: {_quoted(page.text, page.index)}"
    if page.before.strip() or page.at_the_end or page.began >= page.first:
        return None
    if len(page.before) != page.began - _line_start(page.text, page.began):
        return f"nothing above this line begins in column {len(page.before) + 1}", "keys of one block stand in one column"
    if (page.here == "-") != (page.start == "-"):
        one, other = ("a list item", "keys") if page.here == "-" else ("a key", "list items")
        return f"{one} stands among {other}", "indent it below the key it belongs to"
    return None


def _stands_alone(text: str, index: int) -> bool:
    """Say whether a token can begin here: after a blank, a bracket or a comma."""
    return index == 0 or text[index - 1] in " \t\n\r[{,"


def _quoted(text: str, start: int) -> str:
    """Return the line of a text with what begins at `start` in quotes, ready to be pasted."""
    first, line = _line_start(text, start), _line(text, start)
    head, rest = line[: start - first], line[start - first :]
    within = sum(head.count(sign) for sign in "[{") > sum(head.count(sign) for sign in "]}")
    comment = re.search(r"\s+#.*$", rest)
    end = re.search(r"[,\]}]", rest) if within else comment
    word = rest[: end.start()] if end else rest
    tail = rest[len(word.rstrip()) :] if end else ""
    return f"{head.lstrip()}{_in_quotes(word.strip())}{tail}"


def _in_quotes(word: str) -> str:
    if len(word) > 2 and word[0] == word[-1] and word[0] in "'\"":
        word = word[1:-1]
    if '"' in word or "\\" in word:
        return "'" + word.replace("'", "''") + "'"
    return f'"{word}"'


def _line_start(text: str, index: int) -> int:
    return max(text.rfind(sign, 0, index) for sign in "\n\r\x85\u2028\u2029") + 1


def _line(text: str, index: int) -> str:
    return (text[_line_start(text, index) :].splitlines() or [""])[0]
