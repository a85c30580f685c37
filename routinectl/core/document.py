"""YAML as definitions use it: plain data and the place of every fault, by the YAML 1.2 core rules.

What differs from PyYAML's own loaders: `10:30`, `on` and `yes` stay text (YAML 1.1 makes 630 and True of them), a key
twice is a fault, and so are anchors, aliases, tags, a second document, more than 64 KiB and more than 50 levels. The
text is read from libyaml's events with a stack of our own, so depth costs no recursion. Places are collected only when
somebody asks for them: a good file never pays for its error messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from routinectl.core.problem import Path, Problem, path_text
from routinectl.errors import DefinitionError

MAX_BYTES = 64 * 1024
MAX_DEPTH = 50

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER_START = frozenset("0123456789+-.")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_OTHER_BASE = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?", re.ASCII)
_WORDS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_ABSENT: Any = object()
Marks = dict[Path, tuple[int, int]]


class _Fault(Exception):
    def __init__(self, message: str, mark: Any, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.mark, self.hint = message, mark, hint


def read(raw: bytes, file: str = "") -> Any:
    """Return the plain data of one YAML (or JSON) document.

    Raises DefinitionError with the place of the first fault that makes the text unreadable; faults of what it says
    are found later, all together.
    """
    return _compose(_decode(raw, file), file, None)


def places(raw: bytes) -> Marks:
    """Return the (line, column), from 1, of every key and item; of a good document only (see `read`)."""
    marks: Marks = {}
    _compose(_decode(raw, ""), "", marks)
    return marks


def spans(raw: bytes) -> dict[Path, tuple[int, int, int]]:
    """Return where every plain or quoted scalar value stands: first and last character, and the line of its key, from 0."""
    spans: dict[Path, tuple[int, int, int]] = {}
    builder = _Builder({})
    builder.spans = spans
    builder.build(yaml.parse(_decode(raw, ""), Loader=_LOADER))
    return spans


def locate(problem: Problem, marks: Marks, file: str) -> Problem:
    """Return the problem with file, line and column: of its path, or of the nearest path above that has a place."""
    path = problem.path
    while path and path not in marks:
        path = path[:-1]
    line, column = marks.get(path, (1, 1))
    return Problem(problem.message, problem.path, problem.hint, file, line, column)


def scalar(text: str) -> Any:
    """Return what a plain (unquoted) scalar means: null, a boolean, a number, else the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _NUMBER_START:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _OTHER_BASE.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


def _decode(raw: bytes, file: str) -> str:
    if len(raw) > MAX_BYTES:
        raise _error(f"the file has {len(raw)} bytes; a definition has at most {MAX_BYTES // 1024} KiB", file, 1, 1,
                     "keep long texts in files of their own beside it")  # fmt: skip
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _error("the file is UTF-16; definitions are UTF-8", file, 1, 1, f"iconv -f UTF-16 -t UTF-8 {file}")
    if raw.startswith(b"\xef\xbb\xbf"):
        raise _error("the file begins with a byte order mark; definitions are plain UTF-8", file, 1, 1,
                     f"sed -i '1s/^\\xEF\\xBB\\xBF//' {file}")  # fmt: skip
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise _error(f"byte 0x{raw[error.start]:02x} is not UTF-8", file, before.count(b"\n") + 1, column,
                     "save the file as UTF-8") from None  # fmt: skip


def _error(message: str, file: str, line: int, column: int, hint: str) -> DefinitionError:
    problem = Problem(message, (), hint, file, line, column)
    return DefinitionError(str(problem) if not file else f"{message} ({problem.where})", hint, [problem])


def _compose(text: str, file: str, marks: Marks | None) -> Any:
    try:
        events = yaml.parse(text, Loader=_LOADER)
        return _Builder(marks).build(events)
    except _Fault as fault:
        line, column = fault.mark.line + 1, fault.mark.column + 1
        raise _error(fault.message, file, line, column, fault.hint) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message, hint = _syntax(error, text, line)
        raise _error(message, file, line, column, hint) from None
    except yaml.YAMLError as error:
        message = str(error).splitlines()[0]
        at = re.search(r"position ([0-9]+)", str(error))
        before = text[: int(at[1])] if at else ""
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        raise _error(f"not YAML: {message}", file, line, column, "remove the control character") from None


def _syntax(error: yaml.MarkedYAMLError, text: str, line: int) -> tuple[str, str]:
    problem = error.problem or "cannot be read"
    lines = text.splitlines()
    content = lines[line - 1] if line <= len(lines) else ""
    indent = content[: len(content) - len(content.lstrip())]
    if "\t" in indent or "'\\t'" in problem or "\t" in problem:
        return "a tab where YAML wants spaces", "indent with spaces"
    if "alias" in (error.context or "") or "'*'" in problem:
        return "not YAML: an unquoted * begins an alias", f"quote it: {_quoted(content)}"
    if "cannot start any token" in problem:
        return f"not YAML: {problem}", f"quote it: {_quoted(content)}"
    if "mapping values are not allowed" in problem:
        return "not YAML: a second ': ' in one line", f"quote the text after the first one: {_quoted(content)}"
    context = f" {error.context}" if error.context else ""
    return f"not YAML: {problem}{context}", ""


def _quoted(line: str) -> str:
    key, colon, value = line.strip().partition(":")
    return f'{key}: "{value.strip()}"' if colon else f'"{line.strip()}"'


class _Builder:
    """Builds plain data from parser events. One frame per open collection: container, pending key, path."""

    def __init__(self, marks: Marks | None) -> None:
        self.marks = marks
        self.stack: list[tuple[Any, Path]] = []
        self.key: Any = _ABSENT
        self.keys: list[Any] = []
        self.spans: dict[Path, tuple[int, int, int]] | None = None

    def build(self, events: Iterator[Any]) -> Any:
        root: Any = _ABSENT
        for event in events:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                value = self._scalar(event)
                if self.stack:
                    self._put(value, event)
                else:
                    root = value
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                container = self._open({} if kind is yaml.MappingStartEvent else [], event)
                root = container if root is _ABSENT else root
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self.stack.pop()
                self.key = self.keys.pop()
            elif kind is yaml.AliasEvent:
                raise _Fault(f"an alias (*{event.anchor}); definitions have none", event.start_mark, "write the value out")
            elif kind is yaml.DocumentStartEvent and root is not _ABSENT:
                raise _Fault("a second document begins; one file holds one routine", event.start_mark, "remove the ---")
        return None if root is _ABSENT else root

    def _scalar(self, event: Any) -> Any:
        self._refuse_extras(event)
        text: str = event.value
        if self.stack and self.key is _ABSENT and type(self.stack[-1][0]) is dict:
            return text
        return scalar(text) if event.implicit[0] else text

    def _refuse_extras(self, event: Any) -> None:
        if event.anchor is not None:
            raise _Fault(f"an anchor (&{event.anchor}); definitions have none", event.start_mark, "write the value out")
        if event.tag is not None:
            raise _Fault(f"a tag ({event.tag}); definitions have none", event.start_mark, "remove the tag")

    def _open(self, container: Any, event: Any) -> Any:
        self._refuse_extras(event)
        if len(self.stack) >= MAX_DEPTH:
            raise _Fault(f"nested more than {MAX_DEPTH} levels deep", event.start_mark, "flatten it")
        path: Path = ()
        if self.stack:
            path = self._put(container, event)
        self.keys.append(self.key)
        self.stack.append((container, path))
        self.key = _ABSENT
        return container

    def _put(self, value: Any, event: Any) -> Path:
        """Store a value in the open collection; a scalar that stands where a key is wanted becomes the pending key."""
        container, path = self.stack[-1]
        if type(container) is list:
            here = (*path, len(container))
            container.append(value)
            if self.marks is not None:
                self.marks[here] = (event.start_mark.line + 1, event.start_mark.column + 1)
            return here
        if self.key is _ABSENT:
            if type(value) is not str:
                raise _Fault("a key must be plain text", event.start_mark, "write `key: value`")
            if value in container:
                where = f" in {path_text(path)}" if path else ""
                raise _Fault(f"the key '{value}' stands twice{where}", event.start_mark, "keep one of the two")
            self.key = value
            container[value] = None
            if self.marks is not None:
                self.marks[(*path, value)] = (event.start_mark.line + 1, event.start_mark.column + 1)
            return path
        container[self.key] = value
        here = (*path, self.key)
        kind: Any = type(event)
        if self.spans is not None and self.marks is not None and kind is yaml.ScalarEvent and event.style not in ("|", ">"):
            self.spans[here] = (event.start_mark.index, event.end_mark.index, self.marks[here][0] - 1)
        self.key = _ABSENT
        return here
