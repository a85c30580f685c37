"""From libyaml's events to plain data: the half of `document` that costs an import, used only when there is YAML to read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from routinectl.core.document import MAX_DEPTH, Marks, Spans, error, scalar
from routinectl.core.problem import Path, path_text

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ABSENT: Any = object()


class _Fault(Exception):
    def __init__(self, message: str, mark: Any, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.mark, self.hint = message, mark, hint


def compose(text: str, file: str, marks: Marks | None = None, spans: Spans | None = None) -> Any:
    """Return the plain data of a text; fill `marks` and `spans` where they are wanted. Raises DefinitionError."""
    try:
        events = yaml.parse(text, Loader=_LOADER)
        return _Builder(marks, spans).build(events)
    except _Fault as fault:
        line, column = fault.mark.line + 1, fault.mark.column + 1
        raise error(fault.message, file, line, column, fault.hint) from None
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message, hint = _syntax(fault, text, line)
        raise error(message, file, line, column, hint) from None
    except yaml.YAMLError as fault:
        message = str(fault).splitlines()[0]
        at = re.search(r"position ([0-9]+)", str(fault))
        before = text[: int(at[1])] if at else ""
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        raise error(f"not YAML: {message}", file, line, column, "remove the control character") from None


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
    missing = "every [ needs its ], every { its }, every quote its second one; keys of one block stand in one column"
    return f"not YAML: {problem}{context}", missing


def _quoted(line: str) -> str:
    key, colon, value = line.strip().partition(":")
    return f'{key}: "{value.strip()}"' if colon else f'"{line.strip()}"'


class _Builder:
    """Builds plain data from parser events. One frame per open collection: container, pending key, path."""

    def __init__(self, marks: Marks | None, spans: Spans | None) -> None:
        self.marks, self.spans = marks, spans
        self.stack: list[tuple[Any, Path]] = []
        self.key: Any = _ABSENT
        self.keys: list[Any] = []

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
